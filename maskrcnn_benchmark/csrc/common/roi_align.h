// What the CPU and the CUDA entry of multiscale_roi_align share: the checks and the normalised arguments.
#pragma once

#include <optional>
#include <vector>

#include "checks.h"

namespace maskrcnn {

constexpr int kMaxLevels = 16;

struct RoiAlignOptions {
  Tensor rois;                   // [K, 5] dense, in the compute type
  std::optional<Tensor> levels;  // [K] int64 dense; none: every RoI reads level 0
  std::vector<double> scales;    // [L] feature pixels per image pixel
  int bins_y;
  int bins_x;
  int sampling_ratio;
  bool aligned;

  int64_t num_rois() const { return rois.size(0); }
  const int64_t* level_data() const { return levels ? levels->const_data_ptr<int64_t>() : nullptr; }
};

// `like` is a feature map or a gradient: it gives the device and the compute type.
inline RoiAlignOptions roi_align_options(const Tensor& like, const Tensor& rois, const std::optional<Tensor>& levels,
                                         const std::vector<double>& scales, const std::vector<int64_t>& output_size,
                                         int64_t sampling_ratio, bool aligned) {
  const char* op = "roi_align";
  MRB_CHECK(rois.dim() == 2 && rois.size(1) == 5, op,
            ": rois must have shape [K, 5] (image index, x1, y1, x2, y2), got ", shape_of(rois));
  MRB_CHECK_FLOATING(rois, op, "rois");
  MRB_CHECK_SAME_DEVICE(like, rois, op, "features and rois");
  MRB_CHECK(output_size.size() == 2 && output_size[0] > 0 && output_size[1] > 0, op,
            ": output_size must be two positive integers (height, width)");
  MRB_CHECK(levels.has_value() || scales.size() == 1, op, ": ", scales.size(), " feature levels need a `levels` tensor");
  std::optional<Tensor> dense_levels;
  if (levels.has_value()) {
    MRB_CHECK(levels->dim() == 1 && levels->size(0) == rois.size(0) && levels->scalar_type() == ScalarType::Long, op,
              ": levels must be int64 of shape [", rois.size(0), "], one per RoI, got ",
              torch::headeronly::toString(levels->scalar_type()), " of shape ", shape_of(*levels));
    MRB_CHECK_SAME_DEVICE(rois, *levels, op, "rois and levels");
    dense_levels = torch::stable::contiguous(*levels);
  }
  return {to_dense(rois, compute_type(like)), dense_levels, scales, static_cast<int>(output_size[0]),
          static_cast<int>(output_size[1]), static_cast<int>(sampling_ratio), aligned};
}

inline void check_features(const std::vector<Tensor>& features, const std::vector<double>& scales) {
  const char* op = "roi_align";
  MRB_CHECK(!features.empty() && features.size() <= kMaxLevels, op, ": expected 1 to ", kMaxLevels,
            " feature levels, got ", features.size());
  MRB_CHECK(features.size() == scales.size(), op, ": expected one scale per feature level, got ", scales.size(),
            " scales for ", features.size(), " levels");
  const Tensor& first = features[0];
  MRB_CHECK_FLOATING(first, op, "features");
  for (const Tensor& map : features) {
    MRB_CHECK(map.dim() == 4, op, ": features must have shape [N, C, H, W], got ", shape_of(map));
    MRB_CHECK(map.size(0) == first.size(0) && map.size(1) == first.size(1), op,
              ": all levels must have the same N and C, got ", shape_of(first), " and ", shape_of(map));
    MRB_CHECK(map.scalar_type() == first.scalar_type(), op, ": all levels must have the same dtype, got ",
              torch::headeronly::toString(first.scalar_type()), " and ",
              torch::headeronly::toString(map.scalar_type()));
    MRB_CHECK_SAME_DEVICE(first, map, op, "all levels");
    MRB_CHECK(map.size(2) > 0 && map.size(3) > 0, op, ": features must not have an empty height or width, got ",
              shape_of(map));
  }
}

// sizes: N, C, then height and width of each level.
inline void check_gradient(const Tensor& grad, const Tensor& rois, const std::vector<int64_t>& sizes,
                           const std::vector<double>& scales, const std::vector<int64_t>& output_size) {
  const char* op = "roi_align_backward";
  MRB_CHECK_FLOATING(grad, op, "grad");
  MRB_CHECK(!scales.empty() && scales.size() <= kMaxLevels && sizes.size() == 2 + 2 * scales.size(), op,
            ": sizes must hold N, C and the height and width of each of the ", scales.size(), " levels, got ",
            sizes.size(), " numbers");
  for (size_t i = 2; i < sizes.size(); ++i) {
    MRB_CHECK(sizes[i] > 0, op, ": features must not have an empty height or width, got ", sizes[i]);
  }
  MRB_CHECK(grad.dim() == 4 && output_size.size() == 2 && grad.size(0) == rois.size(0) && grad.size(1) == sizes[1] &&
                grad.size(2) == output_size[0] && grad.size(3) == output_size[1],
            op, ": grad must have the shape of the pooled output, got ", shape_of(grad));
}

}  // namespace maskrcnn
