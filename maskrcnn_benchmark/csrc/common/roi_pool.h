// The bins of RoIPool (Fast R-CNN, arXiv:1504.08083, section 2.1), and what the CPU and the CUDA entry check.
//
// A RoI's corners are rounded to whole feature pixels, both included. Its extent is divided into equal bins, whose edges
// are rounded outwards, so neighbouring bins may share pixels; what lies outside the map is cut off.
#pragma once

#include <cmath>
#include <cstdint>
#include <limits>
#include <vector>

#include "checks.h"
#include "host_device.h"

namespace maskrcnn {

struct PixelRange {
  int begin;
  int end;
};

// `value` as a pixel of a map of `length` pixels; written so that NaN becomes 0.
template <typename T>
MRB_HOST_DEVICE int clip_pixel(T value, int length) {
  return value > T(0) ? (value < static_cast<T>(length) ? static_cast<int>(value) : length) : 0;
}

// Pixels of one bin along one axis. low, high: the RoI's corners in image pixels.
template <typename T>
MRB_HOST_DEVICE PixelRange pooled_pixels(T low, T high, T scale, int bin, int bins, int length) {
  const T start = std::round(low * scale), last = std::round(high * scale);
  const T extent = last - start + T(1) > T(1) ? last - start + T(1) : T(1);
  const T bin_size = extent / static_cast<T>(bins);
  const T begin = std::floor(static_cast<T>(bin) * bin_size) + start;
  const T end = std::ceil(static_cast<T>(bin + 1) * bin_size) + start;
  return {clip_pixel(begin, length), clip_pixel(end, length)};
}

inline void check_roi_pool(const Tensor& input, const Tensor& rois, const std::vector<int64_t>& output_size) {
  const char* op = "roi_pool";
  MRB_CHECK(input.dim() == 4, op, ": input must have shape [N, C, H, W], got ", shape_of(input));
  MRB_CHECK_FLOATING(input, op, "input");
  MRB_CHECK(rois.dim() == 2 && rois.size(1) == 5, op,
            ": rois must have shape [K, 5] (image index, x1, y1, x2, y2), got ", shape_of(rois));
  MRB_CHECK_FLOATING(rois, op, "rois");
  MRB_CHECK_SAME_DEVICE(input, rois, op, "input and rois");
  MRB_CHECK(output_size.size() == 2 && output_size[0] > 0 && output_size[1] > 0, op,
            ": output_size must be two positive integers (height, width)");
  MRB_CHECK(input.size(2) * input.size(3) <= std::numeric_limits<int32_t>::max(), op,
            ": a map of more than 2^31 - 1 pixels cannot be indexed, got ", shape_of(input));
}

inline void check_roi_pool_gradient(const Tensor& grad, const Tensor& argmax, const Tensor& rois,
                                    const std::vector<int64_t>& sizes) {
  const char* op = "roi_pool_backward";
  MRB_CHECK_FLOATING(grad, op, "grad");
  MRB_CHECK(sizes.size() == 4, op, ": sizes must be N, C, H, W, got ", sizes.size(), " numbers");
  MRB_CHECK(rois.dim() == 2 && rois.size(1) == 5, op, ": rois must have shape [K, 5], got ", shape_of(rois));
  MRB_CHECK(grad.dim() == 4 && grad.size(0) == rois.size(0) && grad.size(1) == sizes[1], op,
            ": grad must have the shape of the pooled output, got ", shape_of(grad));
  MRB_CHECK(argmax.scalar_type() == ScalarType::Int && shape_of(argmax) == shape_of(grad), op,
            ": argmax must be int32 of the shape of grad, got ", torch::headeronly::toString(argmax.scalar_type()),
            " of shape ", shape_of(argmax));
  MRB_CHECK_SAME_DEVICE(grad, argmax, op, "grad and argmax");
  MRB_CHECK_SAME_DEVICE(grad, rois, op, "grad and rois");
}

}  // namespace maskrcnn
