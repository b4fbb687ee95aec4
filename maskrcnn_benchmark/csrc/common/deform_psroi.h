// Deformable position-sensitive RoI pooling (Dai et al. 2017, arXiv:1703.06211, section 2.2 and equation 6).
//
// A RoI is divided into bins x bins parts. Each part is shifted by its own learned fraction of the RoI's size, and
// averaged over samples x samples bilinear samples; those beyond the map do not count. Output channel c reads the input
// channel (c * groups + gy) * groups + gx of the group (gy, gx) that the bin lies in. Forward and backward, CPU and CUDA,
// take bins and samples from here.
#pragma once

#include <cmath>
#include <cstdint>
#include <tuple>

#include "checks.h"
#include "host_device.h"

namespace maskrcnn {

// Passed to the kernels by value.
struct PsroiSettings {
  int bins, groups, parts, samples;
  int64_t images, channels, classes;  // channels: of the output
  int height, width;
  bool shifted;  // false: no offsets
  double scale, trans_std;

  MRB_HOST_DEVICE int64_t channels_per_class() const { return channels / classes; }
  MRB_HOST_DEVICE int group_of(int bin) const { return bin * groups / bins; }
  MRB_HOST_DEVICE int part_of(int bin) const { return bin * parts / bins; }
  // Index in [K, 2 * classes, parts, parts] of a bin's horizontal offset; the vertical one lies parts * parts further.
  MRB_HOST_DEVICE int64_t offset_of(int64_t roi, int64_t category, int row, int column) const {
    return (((roi * classes + category) * 2) * parts + part_of(row)) * parts + part_of(column);
  }
};

// One bin: its first sample and the way to the next, in feature pixels, and the offsets' unit.
template <typename T>
struct PsroiBin {
  T x, y, step_x, step_y;
  T unit_x, unit_y;  // pixels by which an offset of 1 shifts the bin

  MRB_HOST_DEVICE bool finite() const { return (x - x) + (y - y) == T(0); }
};

// roi: image, x1, y1, x2, y2 in image pixels; offset: the horizontal one of this bin, read only if settings.shifted.
template <typename T>
MRB_HOST_DEVICE PsroiBin<T> psroi_bin(const PsroiSettings& settings, const T* roi, const T* offset, int row,
                                      int column) {
  const T scale = static_cast<T>(settings.scale), least = T(0.1);  // feature pixels
  const T left = std::round(roi[1]) * scale - T(0.5), right = (std::round(roi[3]) + T(1)) * scale - T(0.5);
  const T top = std::round(roi[2]) * scale - T(0.5), bottom = (std::round(roi[4]) + T(1)) * scale - T(0.5);
  const T width = right - left < least ? least : right - left, height = bottom - top < least ? least : bottom - top;
  const T bin_width = width / static_cast<T>(settings.bins), bin_height = height / static_cast<T>(settings.bins);
  const T unit_x = static_cast<T>(settings.trans_std) * width, unit_y = static_cast<T>(settings.trans_std) * height;
  T x = left + static_cast<T>(column) * bin_width, y = top + static_cast<T>(row) * bin_height;
  if (settings.shifted) {
    x += offset[0] * unit_x;
    y += offset[settings.parts * settings.parts] * unit_y;
  }
  const T samples = static_cast<T>(settings.samples);
  return {x, y, bin_width / samples, bin_height / samples, unit_x, unit_y};
}

// A sample along one axis: value = (1 - fraction) * pixel[low] + fraction * pixel[high]. At a whole coordinate low and
// high are the same pixel, so that the value's derivative there is zero, as in the original.
template <typename T>
struct PsroiSample {
  int low, high;
  T fraction;
  bool inside;
};

template <typename T>
MRB_HOST_DEVICE PsroiSample<T> psroi_sample(T position, int length) {
  if (!(position >= T(-0.5) && position <= static_cast<T>(length) - T(0.5))) {  // also for NaN
    return {0, 0, T(0), false};
  }
  const T last = static_cast<T>(length - 1);
  const T clamped = position < T(0) ? T(0) : (position > last ? last : position);
  const int low = static_cast<int>(clamped);
  const T fraction = clamped - static_cast<T>(low);
  return {low, fraction > T(0) ? low + 1 : low, fraction, true};
}

inline PsroiSettings psroi_settings(const Tensor& data, const Tensor& rois, const Tensor& offset, double spatial_scale,
                                    int64_t out_size, int64_t out_channels, bool no_trans, int64_t group_size,
                                    int64_t part_size, int64_t sample_per_part, double trans_std) {
  const char* op = "deform_psroi_pooling";
  MRB_CHECK(data.dim() == 4, op, ": data must have shape [N, C, H, W], got ", shape_of(data));
  MRB_CHECK_FLOATING(data, op, "data");
  MRB_CHECK(data.size(2) > 0 && data.size(3) > 0, op, ": data must not have an empty height or width, got ",
            shape_of(data));
  MRB_CHECK(rois.dim() == 2 && rois.size(1) == 5, op,
            ": rois must have shape [K, 5] (image index, x1, y1, x2, y2), got ", shape_of(rois));
  MRB_CHECK_FLOATING(rois, op, "rois");
  MRB_CHECK_SAME_DEVICE(data, rois, op, "data and rois");
  MRB_CHECK(out_size > 0 && out_channels >= 0 && group_size > 0 && part_size > 0 && sample_per_part > 0, op,
            ": out_size, group_size, part_size and sample_per_part must be positive, got ", out_size, ", ", group_size,
            ", ", part_size, " and ", sample_per_part);
  MRB_CHECK(data.size(1) == out_channels * group_size * group_size, op, ": data must have out_channels * group_size^2 = ",
            out_channels * group_size * group_size, " channels, got ", data.size(1));
  MRB_CHECK(trans_std >= 0 && trans_std <= 1, op, ": trans_std must lie between 0 and 1, got ", trans_std);
  int64_t classes = 1;
  if (!no_trans) {
    MRB_CHECK_FLOATING(offset, op, "offset");
    MRB_CHECK_SAME_DEVICE(data, offset, op, "data and offset");
    MRB_CHECK(offset.dim() == 4 && offset.size(0) == rois.size(0) && offset.size(1) >= 2 && offset.size(1) % 2 == 0 &&
                  offset.size(2) == part_size && offset.size(3) == part_size,
              op, ": offset must have shape [", rois.size(0), ", 2 * classes, ", part_size, ", ", part_size, "], got ",
              shape_of(offset));
    classes = offset.size(1) / 2;
    MRB_CHECK(out_channels % classes == 0, op, ": out_channels must be a multiple of the ", classes,
              " classes that offset has pairs of channels for, got ", out_channels);
  }
  return {static_cast<int>(out_size), static_cast<int>(group_size), static_cast<int>(part_size),
          static_cast<int>(sample_per_part), data.size(0), out_channels, classes, static_cast<int>(data.size(2)),
          static_cast<int>(data.size(3)), !no_trans, spatial_scale, trans_std};
}

inline void check_psroi_gradient(const Tensor& grad, const Tensor& count, const Tensor& rois,
                                 const PsroiSettings& settings) {
  const char* op = "deform_psroi_pooling_backward";
  const int64_t bins = settings.bins;
  MRB_CHECK(grad.dim() == 4 && grad.size(0) == rois.size(0) && grad.size(1) == settings.channels &&
                grad.size(2) == bins && grad.size(3) == bins,
            op, ": grad must have the shape of the pooled output, got ", shape_of(grad));
  MRB_CHECK_FLOATING(grad, op, "grad");
  MRB_CHECK_SAME_DEVICE(grad, rois, op, "grad and rois");
  MRB_CHECK(count.scalar_type() == ScalarType::Int && count.dim() == 4 && count.size(0) == rois.size(0) &&
                count.size(1) == settings.classes && count.size(2) == bins && count.size(3) == bins,
            op, ": count must be the int32 sample counts of the forward operator, got ",
            torch::headeronly::toString(count.scalar_type()), " of shape ", shape_of(count));
  MRB_CHECK_SAME_DEVICE(grad, count, op, "grad and count");
}

}  // namespace maskrcnn
