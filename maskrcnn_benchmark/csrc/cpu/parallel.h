// Sharing unequal pieces of work over torch's threads (torch.set_num_threads).
#pragma once

#include <torch/csrc/stable/ops.h>

#include <algorithm>
#include <atomic>
#include <cstdint>

namespace maskrcnn {

// Runs work(i) for i < count, where work = make_worker() is made once per thread and may hold scratch memory. Each thread
// takes the next `portion` indices as it becomes free. At most max_workers threads take part: a thread that is woken for
// a few microseconds of work costs more than it brings, and far more on a busy machine.
template <typename Make>
void share_out(int64_t count, int64_t portion, int64_t max_workers, const Make& make_worker) {
  std::atomic<int64_t> next{0};
  const int64_t portions = (count + portion - 1) / portion;
  const int64_t workers = std::min({static_cast<int64_t>(torch::stable::get_num_threads()), portions, max_workers});
  torch::stable::parallel_for(0, workers, 1, [&](int64_t begin, int64_t end) {
    for (int64_t worker = begin; worker < end; ++worker) {
      auto work = make_worker();
      for (int64_t start; (start = portion * next.fetch_add(1)) < count;) {
        for (int64_t i = start; i < std::min(start + portion, count); ++i) {
          work(i);
        }
      }
    }
  });
}

}  // namespace maskrcnn
