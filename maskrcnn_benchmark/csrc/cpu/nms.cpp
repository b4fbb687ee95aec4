// suppress and batched_nms on the CPU.
//
// A box is kept unless a kept box of its group, with a higher score, overlaps it by more than the threshold. So each box
// is compared with the boxes kept so far, which lie in five dense arrays and end the comparison at the first hit.

#if defined(__clang__)
#pragma clang fp contract(off)
#elif defined(__GNUC__)
#pragma GCC optimize("fp-contract=off")  // see product() in common/box_iou.h
#endif

#include <algorithm>
#include <limits>

#include "../common/box_iou.h"
#include "../common/nms.h"
#include "parallel.h"
#include "simd.h"

namespace maskrcnn {
namespace {

constexpr int64_t kChunk = 64;   // kept boxes compared between two looks at the result
constexpr int64_t kBlock = 512;  // boxes shared out over the threads at a time
constexpr int64_t kComparisonsPerThread = 1 << 19;  // about 50 microseconds: less is not worth waking a thread for

// Boxes as five arrays, padded with boxes that overlap nothing so that a chunk may reach past the end.
template <typename T>
struct BoxArrays {
  explicit BoxArrays(int64_t capacity)
      : x1(capacity + kChunk, std::numeric_limits<T>::infinity()), y1(capacity + kChunk, T(0)),
        x2(capacity + kChunk, -std::numeric_limits<T>::infinity()), y2(capacity + kChunk, T(0)),
        area(capacity + kChunk, T(1)) {}

  void push_back(const T* box) {
    x1[size] = box[0];
    y1[size] = box[1];
    x2[size] = box[2];
    y2[size] = box[3];
    area[size] = box_area(box[0], box[1], box[2], box[3]);
    ++size;
  }

  std::vector<T> x1, y1, x2, y2, area;
  int64_t size = 0;
};

template <typename T>
MRB_INLINE bool overlaps_any(const T* box, const BoxArrays<T>& kept, int64_t begin, T threshold) {
  const T bx1 = box[0], by1 = box[1], bx2 = box[2], by2 = box[3];
  const T b_area = box_area(bx1, by1, bx2, by2);
  for (int64_t first = begin; first < kept.size; first += kChunk) {
    const T *x1 = kept.x1.data() + first, *y1 = kept.y1.data() + first, *x2 = kept.x2.data() + first;
    const T *y2 = kept.y2.data() + first, *area = kept.area.data() + first;
    int hits = 0;
    for (int64_t i = 0; i < kChunk; ++i) {
      hits |= box_iou(x1[i], y1[i], x2[i], y2[i], area[i], bx1, by1, bx2, by2, b_area) > threshold ? 1 : 0;
    }
    if (hits) {
      return true;
    }
  }
  return false;
}

// alive[i] of boxes begin to end becomes false where a box kept before this block overlaps them.
template <typename T>
struct CompareWithKept {
  template <int>
  MRB_INLINE static void run(const T* boxes, int64_t begin, int64_t end, const BoxArrays<T>* kept, T threshold,
                             uint8_t* alive) {
    for (int64_t i = begin; i < end; ++i) {
      alive[i] = !overlaps_any(boxes + 4 * i, *kept, 0, threshold);
    }
  }
};

// Keeps the boxes of a block that are still alive, in order, comparing them with those of the block kept before them.
template <typename T>
struct KeepInOrder {
  template <int>
  MRB_INLINE static void run(const T* boxes, int64_t begin, int64_t end, BoxArrays<T>* kept, T threshold, int64_t limit,
                             uint8_t* alive) {
    const int64_t before = kept->size;
    for (int64_t i = begin; i < end; ++i) {
      alive[i] = alive[i] && kept->size < limit && !overlaps_any(boxes + 4 * i, *kept, before, threshold);
      if (alive[i]) {
        kept->push_back(boxes + 4 * i);
      }
    }
  }
};

// One group. Blocks follow one another; the comparison with earlier blocks, where the time goes, runs on all threads.
template <typename T>
void keep_group(const T* boxes, int64_t count, T threshold, int64_t limit, uint8_t* alive) {
  BoxArrays<T> kept(count);
  for (int64_t begin = 0; begin < count; begin += kBlock) {
    const int64_t end = std::min(begin + kBlock, count);
    if (kept.size >= limit) {
      std::fill(alive + begin, alive + count, uint8_t(0));
      return;
    }
    const int64_t grain = kComparisonsPerThread / std::max<int64_t>(kept.size, 1);
    torch::stable::parallel_for(begin, end, std::max<int64_t>(grain, 1), [&](int64_t first, int64_t last) {
      run_vectorised<CompareWithKept<T>>(boxes, first, last, static_cast<const BoxArrays<T>*>(&kept), threshold, alive);
    });
    run_vectorised<KeepInOrder<T>>(boxes, begin, end, &kept, threshold, limit, alive);
  }
}

// First position of every group, and one past the last.
std::vector<int64_t> group_bounds(const std::optional<Tensor>& groups, int64_t count) {
  std::vector<int64_t> bounds{0};
  if (groups) {
    const int64_t* group = groups->const_data_ptr<int64_t>();
    for (int64_t i = 1; i < count; ++i) {
      if (group[i] != group[i - 1]) {
        bounds.push_back(i);
      }
    }
  }
  bounds.push_back(count);
  return bounds;
}

template <typename T>
void keep_all(const NmsOrder& order, double iou_threshold, int64_t limit, std::vector<uint8_t>& alive) {
  const T* boxes = order.boxes.const_data_ptr<T>();
  const auto count = static_cast<int64_t>(alive.size());
  const auto bounds = group_bounds(order.groups, count);
  const auto num_groups = static_cast<int64_t>(bounds.size()) - 1;
  int64_t largest = 0, comparisons = 0;
  for (int64_t g = 0; g < num_groups; ++g) {
    const int64_t size = bounds[g + 1] - bounds[g];
    largest = std::max(largest, size);
    comparisons += size * size / 2;
  }
  auto keep = [&](int64_t g) {
    keep_group(boxes + 4 * bounds[g], bounds[g + 1] - bounds[g], static_cast<T>(iou_threshold), limit,
               alive.data() + bounds[g]);
  };
  if (2 * largest > count) {  // one group dominates: threads share its boxes instead of the groups
    for (int64_t g = 0; g < num_groups; ++g) {
      keep(g);
    }
    return;
  }
  share_out(num_groups, 1, 1 + comparisons / kComparisonsPerThread, [&] { return keep; });
}

// Which boxes stay, [count] by rank; of each group at most `limit`.
Tensor keep_by_rank(const NmsOrder& order, double iou_threshold, int64_t limit) {
  const int64_t count = order.boxes.size(0);
  std::vector<uint8_t> alive(count, 1);
  if (order.boxes.scalar_type() == ScalarType::Double) {
    keep_all<double>(order, iou_threshold, limit, alive);
  } else {
    keep_all<float>(order, iou_threshold, limit, alive);
  }
  Tensor kept = torch::stable::new_empty(order.boxes, std::vector<int64_t>{count}, ScalarType::Bool);
  bool* by_rank = kept.mutable_data_ptr<bool>();
  const int64_t* rank = order.rank ? order.rank->const_data_ptr<int64_t>() : nullptr;
  for (int64_t i = 0; i < count; ++i) {
    by_rank[rank ? rank[i] : i] = alive[i] != 0;
  }
  return kept;
}

std::tuple<Tensor, Tensor> suppress(const Tensor& boxes, const Tensor& scores, const std::optional<Tensor>& groups,
                                    double iou_threshold, int64_t most) {
  check_nms("nms", boxes, scores, groups, iou_threshold);
  const NmsOrder order = order_boxes(boxes, scores, groups);
  return {order.by_score, keep_by_rank(order, iou_threshold, most >= 0 ? most : boxes.size(0))};
}

Tensor batched_nms(const Tensor& boxes, const Tensor& scores, const std::optional<Tensor>& groups, double iou_threshold,
                   int64_t max_output) {
  check_nms("nms", boxes, scores, groups, iou_threshold);
  const NmsOrder order = order_boxes(boxes, scores, groups);
  const int64_t limit = max_output >= 0 ? max_output : boxes.size(0);
  return select_kept(order, keep_by_rank(order, iou_threshold, limit), max_output);
}

}  // namespace

STABLE_TORCH_LIBRARY_IMPL(maskrcnn_benchmark, CPU, m) {
  m.impl("batched_nms", TORCH_BOX(&batched_nms));
  m.impl("suppress", TORCH_BOX(&suppress));
}

}  // namespace maskrcnn
