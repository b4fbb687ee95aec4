// Where RoIAlign samples a feature map (Mask R-CNN, arXiv:1703.06870, section 3).
//
// A RoI is cut into bins, and every bin is averaged over a grid of bilinear samples. The vertical position of a sample
// depends on its row alone and the horizontal one on its column alone, so a sample's weights are a product of two
// one-dimensional ones. Forward and backward, CPU and CUDA, all take their positions and weights from here.
#pragma once

#include <cmath>
#include <cstdint>

#include "host_device.h"

namespace maskrcnn {

// One axis of one RoI, in feature-map pixels.
template <typename T>
struct RoiAxis {
  T start;      // coordinate of the first bin's edge
  T bin_size;   // extent of one bin
  int samples;  // samples of each bin along this axis
};

// low, high: the RoI's corners in image pixels. `aligned` shifts by half a pixel, so that pixel centres lie at .5;
// without it a RoI is at least one feature pixel long.
template <typename T>
MRB_HOST_DEVICE RoiAxis<T> roi_axis(T low, T high, T scale, int bins, int sampling_ratio, bool aligned) {
  const T offset = aligned ? T(0.5) : T(0);
  const T start = low * scale - offset;
  T extent = (high * scale - offset) - start;
  if (!aligned && extent < T(1)) {
    extent = T(1);
  }
  const T bin_size = extent / static_cast<T>(bins);
  int samples = sampling_ratio;
  if (sampling_ratio <= 0) {
    // The bound keeps the conversion defined for absurd boxes; no feature map is that large.
    const T wanted = std::ceil(bin_size);
    samples = wanted > T(0) ? static_cast<int>(wanted < T(65536) ? wanted : T(65536)) : 0;
  }
  return {start, bin_size, samples};
}

// Two neighbouring pixels and their weights; both weights are zero for a sample outside the map.
template <typename T>
struct LinearSample {
  int low;
  int high;
  T low_weight;
  T high_weight;
  bool inside;
};

template <typename T>
MRB_HOST_DEVICE LinearSample<T> linear_sample(const RoiAxis<T>& axis, int bin, int sample, int length) {
  T position = axis.start + static_cast<T>(bin) * axis.bin_size +
               (static_cast<T>(sample) + T(0.5)) * axis.bin_size / static_cast<T>(axis.samples);
  // Up to one pixel outside the map the border pixel is repeated; also false for NaN.
  if (!(position >= T(-1) && position <= static_cast<T>(length))) {
    return {0, 0, T(0), T(0), false};
  }
  position = position < T(0) ? T(0) : position;
  const int low = static_cast<int>(position);
  if (low >= length - 1) {
    return {length - 1, length - 1, T(1), T(0), true};
  }
  const T fraction = position - static_cast<T>(low);
  return {low, low + 1, T(1) - fraction, fraction, true};
}

// A RoI that names no image, no level or no finite place pools to NaN instead of to some other RoI's values.
template <typename T>
MRB_HOST_DEVICE bool roi_is_finite(const T* roi) {
  const T sum = (roi[1] - roi[1]) + (roi[2] - roi[2]) + (roi[3] - roi[3]) + (roi[4] - roi[4]);
  return sum == T(0);
}

}  // namespace maskrcnn
