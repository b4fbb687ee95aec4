// The RoIs of each image of a batch, and the check that there is no other image named.
#pragma once

#include <cstdint>
#include <vector>

#include "../common/checks.h"

namespace maskrcnn {

// rois: [count, 5], the image first. Each image's RoIs keep their order.
template <typename A>
std::vector<std::vector<int64_t>> rois_by_image(const char* operator_name, const A* rois, int64_t count,
                                                int64_t images) {
  std::vector<std::vector<int64_t>> members(images);
  for (int64_t k = 0; k < count; ++k) {
    const A image = rois[5 * k];
    MRB_CHECK(image >= A(0) && image < static_cast<A>(images), operator_name, ": RoI ", k, " names image ", image,
              " in a batch of ", images);
    members[static_cast<int64_t>(image)].push_back(k);
  }
  return members;
}

}  // namespace maskrcnn
