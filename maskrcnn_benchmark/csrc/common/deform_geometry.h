// Where deformable convolution samples its input (Dai et al. 2017, arXiv:1703.06211; the mask: Zhu et al. 2019,
// arXiv:1811.11168).
//
// An output pixel reads one bilinear sample for each kernel position, displaced by a learned offset and, with a mask,
// scaled by a learned factor. Forward and backward, CPU and CUDA, all take positions and weights from here.
#pragma once

#include <cmath>
#include <cstdint>
#include <limits>

#include "host_device.h"

namespace maskrcnn {

// A map [N, channels, rows, columns] of any memory layout.
template <typename T>
struct StridedMap {
  T* data;
  int64_t image_stride, channel_stride, row_stride, column_stride;

  MRB_HOST_DEVICE T& at(int64_t image, int64_t channel, int row, int column) const {
    return data[image * image_stride + channel * channel_stride + row * row_stride + column * column_stride];
  }
};

// One call: sizes in pixels, and where each output pixel finds its offsets. Passed to CUDA kernels by value.
template <typename A>
struct DeformWindow {
  int height, width;
  int64_t channels;
  int out_height, out_width;
  int kernel_height, kernel_width;
  int stride_y, stride_x, padding_y, padding_x, dilation_y, dilation_x;
  int groups;  // of channels; each has its own offsets
  StridedMap<const A> offset;
  StridedMap<const A> mask;  // data is null without one

  MRB_HOST_DEVICE int positions() const { return kernel_height * kernel_width; }
  MRB_HOST_DEVICE int64_t group_channels() const { return channels / groups; }
};

struct OutputPixel {
  int64_t image;
  int row, column;
};

// row: index among the N * OH * OW output pixels.
template <typename A>
MRB_HOST_DEVICE OutputPixel output_pixel(const DeformWindow<A>& window, int64_t row) {
  const Division of_image = divide(row, static_cast<int64_t>(window.out_height) * window.out_width);
  const Division of_row = divide(of_image.remainder, window.out_width);
  return {of_image.quotient, static_cast<int>(of_row.quotient), static_cast<int>(of_row.remainder)};
}

// Two neighbours along one axis, their weights and the weights' derivatives. A neighbour outside the map counts as a
// pixel of value zero: its weight is zero, and its index names some pixel that exists.
template <typename A>
struct AxisSample {
  int low, high;
  A low_weight, high_weight;
  A low_slope, high_slope;
};

// position: strictly between -1 and length.
template <typename A>
MRB_HOST_DEVICE AxisSample<A> axis_sample(A position, int length) {
  const int low = static_cast<int>(std::floor(position));
  const A fraction = position - static_cast<A>(low);
  const bool has_low = low >= 0, has_high = low + 1 < length;
  return {has_low ? low : 0,
          has_high ? low + 1 : length - 1,
          has_low ? A(1) - fraction : A(0),
          has_high ? fraction : A(0),
          has_low ? A(-1) : A(0),
          has_high ? A(1) : A(0)};
}

// The four pixels of one sample (indices into the image's H * W) and their weights, without the mask.
template <typename A>
struct DeformSample {
  bool inside;  // otherwise the sample is `outside_value` and has no gradient
  A outside_value;
  A mask;
  int64_t pixel[4];
  A weight[4];
  A slope_y[4], slope_x[4];  // derivatives of the weights by the sample's position
};

template <typename A>
MRB_HOST_DEVICE DeformSample<A> deform_sample(const DeformWindow<A>& window, const OutputPixel& output, int group,
                                              int position) {
  const int64_t channel = static_cast<int64_t>(group) * window.positions() + position;
  const int kernel_row = position / window.kernel_width, kernel_column = position % window.kernel_width;
  const A y = static_cast<A>(output.row * window.stride_y - window.padding_y + kernel_row * window.dilation_y) +
              window.offset.at(output.image, 2 * channel, output.row, output.column);
  const A x = static_cast<A>(output.column * window.stride_x - window.padding_x + kernel_column * window.dilation_x) +
              window.offset.at(output.image, 2 * channel + 1, output.row, output.column);
  DeformSample<A> sample{};
  sample.mask = window.mask.data == nullptr ? A(1) : window.mask.at(output.image, channel, output.row, output.column);
  sample.inside = y > A(-1) && y < static_cast<A>(window.height) && x > A(-1) && x < static_cast<A>(window.width);
  if (!sample.inside) {
    // An offset that is not a number must not pass for one that leads outside.
    sample.outside_value = y == y && x == x ? A(0) : std::numeric_limits<A>::quiet_NaN();
    return sample;
  }
  const AxisSample<A> rows = axis_sample(y, window.height), columns = axis_sample(x, window.width);
  for (int i = 0; i < 4; ++i) {
    const bool high_row = i >= 2, high_column = i % 2 == 1;
    const A row_weight = high_row ? rows.high_weight : rows.low_weight;
    const A column_weight = high_column ? columns.high_weight : columns.low_weight;
    sample.pixel[i] = static_cast<int64_t>(high_row ? rows.high : rows.low) * window.width +
                      (high_column ? columns.high : columns.low);
    sample.weight[i] = row_weight * column_weight;
    sample.slope_y[i] = (high_row ? rows.high_slope : rows.low_slope) * column_weight;
    sample.slope_x[i] = (high_column ? columns.high_slope : columns.low_slope) * row_weight;
  }
  return sample;
}

// Derivatives of one sample by its position and mask, summed over channels: products[i] is the sum over channels of
// gradient times pixel i.
template <typename A>
struct DeformGradient {
  A y, x, mask;
};

template <typename A>
MRB_HOST_DEVICE DeformGradient<A> deform_gradient(const DeformSample<A>& sample, const A* products) {
  DeformGradient<A> gradient{A(0), A(0), A(0)};
  for (int i = 0; i < 4; ++i) {
    gradient.y += sample.mask * sample.slope_y[i] * products[i];
    gradient.x += sample.mask * sample.slope_x[i] * products[i];
    gradient.mask += sample.weight[i] * products[i];
  }
  return gradient;
}

// Where the gradients by the offsets and the mask go; mask.data is null without one.
template <typename A>
struct DeformGradientMaps {
  StridedMap<A> offset;
  StridedMap<A> mask;

  MRB_HOST_DEVICE void write(const DeformWindow<A>& window, const OutputPixel& output, int group, int position,
                             const DeformGradient<A>& gradient) const {
    const int64_t channel = static_cast<int64_t>(group) * window.positions() + position;
    offset.at(output.image, 2 * channel, output.row, output.column) = gradient.y;
    offset.at(output.image, 2 * channel + 1, output.row, output.column) = gradient.x;
    if (mask.data != nullptr) {
      mask.at(output.image, channel, output.row, output.column) = gradient.mask;
    }
  }
};

}  // namespace maskrcnn
