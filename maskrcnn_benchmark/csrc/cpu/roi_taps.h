// The RoIs of a call in the order in which the CPU visits them, and the pixels that each reads.
#pragma once

#include <algorithm>
#include <tuple>

#include "../common/roi_align.h"
#include "axis_taps.h"

namespace maskrcnn {

template <typename A>
struct PlacedRoi {
  int64_t index;  // among the caller's RoIs
  int64_t level;
  int64_t image;
  const A* box;  // image, x1, y1, x2, y2
  bool finite;
};

template <typename A>
std::vector<PlacedRoi<A>> place_rois(const RoiAlignOptions& options, int64_t images) {
  const A* rois = options.rois.template const_data_ptr<A>();
  const int64_t* levels = options.level_data();
  const auto num_levels = static_cast<int64_t>(options.scales.size());
  std::vector<PlacedRoi<A>> placed;
  placed.reserve(options.num_rois());
  for (int64_t k = 0; k < options.num_rois(); ++k) {
    const A* roi = rois + 5 * k;
    const int64_t level = levels ? levels[k] : 0;
    MRB_CHECK(roi[0] >= A(0) && roi[0] < static_cast<A>(images), "roi_align: RoI ", k, " names image ",
              roi[0], " in a batch of ", images);
    MRB_CHECK(level >= 0 && level < num_levels, "roi_align: RoI ", k, " names level ", level, " of ",
              num_levels);
    placed.push_back({k, level, static_cast<int64_t>(roi[0]), roi, roi_is_finite(roi)});
  }
  std::sort(placed.begin(), placed.end(), [](const PlacedRoi<A>& a, const PlacedRoi<A>& b) {
    return std::make_tuple(!a.finite, a.level, a.image, a.finite ? a.box[2] : A(0), a.index) <
           std::make_tuple(!b.finite, b.level, b.image, b.finite ? b.box[2] : A(0), b.index);
  });
  return placed;
}

template <typename A>
struct RoiTaps {
  AxisTaps<A> y;
  AxisTaps<A> x;

  void build(const PlacedRoi<A>& roi, const RoiAlignOptions& options, int height, int width) {
    const A scale = static_cast<A>(options.scales[roi.level]);
    y.build(roi_axis(roi.box[2], roi.box[4], scale, options.bins_y, options.sampling_ratio, options.aligned),
            options.bins_y, height);
    x.build(roi_axis(roi.box[1], roi.box[3], scale, options.bins_x, options.sampling_ratio, options.aligned),
            options.bins_x, width);
  }
};

}  // namespace maskrcnn
