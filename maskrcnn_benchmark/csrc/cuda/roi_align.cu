// multiscale_roi_align on CUDA: one thread per output element, every level in one launch, maps read by their strides.

#include <limits>

#include "../common/roi_align.h"
#include "../common/roi_geometry.h"
#include "launch.h"

namespace maskrcnn {
namespace {

using torch::headeronly::MemoryFormat;

template <typename T>
struct Level {
  T* map;
  int64_t image_stride, channel_stride, row_stride, column_stride;
  int height, width;
  double scale;
};

// Passed to the kernels by value.
template <typename T>
struct Pyramid {
  Level<T> level[kMaxLevels];
  int num_levels;
  int64_t images, channels;
};

struct Bins {
  int rows, columns, sampling_ratio;
  bool aligned;
};

template <typename T>
Pyramid<T> describe(const std::vector<Tensor>& maps, const std::vector<double>& scales) {
  Pyramid<T> pyramid{};
  pyramid.num_levels = static_cast<int>(maps.size());
  pyramid.images = maps[0].size(0);
  pyramid.channels = maps[0].size(1);
  for (size_t l = 0; l < maps.size(); ++l) {
    const Tensor& map = maps[l];
    pyramid.level[l] = {const_cast<T*>(static_cast<const T*>(map.const_data_ptr())),
                        map.stride(0), map.stride(1), map.stride(2), map.stride(3),
                        static_cast<int>(map.size(2)), static_cast<int>(map.size(3)), scales[l]};
  }
  return pyramid;
}

struct Element {
  int64_t roi, channel;
  int row, column;
  int64_t offset;  // in the [K, C, rows, columns] output
};

// Neighbouring threads read neighbouring addresses: channels where maps are channels_last, otherwise columns.
template <bool ChannelsLast>
__device__ Element element_of(int64_t index, int64_t channels, const Bins& bins) {
  const int64_t area = static_cast<int64_t>(bins.rows) * bins.columns;
  const auto [roi, within] = divide(index, channels * area);
  const Division inner = divide(within, ChannelsLast ? channels : area);
  const int64_t channel = ChannelsLast ? inner.remainder : inner.quotient;
  const int bin = static_cast<int>(ChannelsLast ? inner.quotient : inner.remainder);
  return {roi, channel, bin / bins.columns, bin % bins.columns, (roi * channels + channel) * area + bin};
}

// The level of a RoI, or -1 for a RoI without a place: such a RoI must not lead to an address outside the maps.
template <typename T, typename A>
__device__ int level_of(const Pyramid<T>& pyramid, const A* roi, const int64_t* levels, int64_t k) {
  const int64_t level = levels == nullptr ? 0 : levels[k];
  const bool valid = level >= 0 && level < pyramid.num_levels && roi[0] >= A(0) &&
                     roi[0] < static_cast<A>(pyramid.images) && roi_is_finite(roi);
  return valid ? static_cast<int>(level) : -1;
}

// Calls visit(pixel, weight) for every pixel that the element's bin reads, with its share in the bin's average. A share of
// zero reads nothing, as on the CPU: infinity times zero would be NaN.
template <typename T, typename A, typename Visit>
__device__ void visit_pixels(const Level<T>& level, const A* roi, const Element& element, const Bins& bins,
                             const Visit& visit) {
  const A scale = static_cast<A>(level.scale);
  const RoiAxis<A> y_axis = roi_axis(roi[2], roi[4], scale, bins.rows, bins.sampling_ratio, bins.aligned);
  const RoiAxis<A> x_axis = roi_axis(roi[1], roi[3], scale, bins.columns, bins.sampling_ratio, bins.aligned);
  T* map = level.map + static_cast<int64_t>(roi[0]) * level.image_stride + element.channel * level.channel_stride;
  const A share = A(1) / (static_cast<A>(y_axis.samples) * static_cast<A>(x_axis.samples));
  const auto read = [&visit](T* pixel, A weight) {
    if (weight != A(0)) {
      visit(pixel, weight);
    }
  };
  for (int i = 0; i < y_axis.samples; ++i) {
    const LinearSample<A> y = linear_sample(y_axis, element.row, i, level.height);
    if (!y.inside) {
      continue;
    }
    T* low_row = map + y.low * level.row_stride;
    T* high_row = map + y.high * level.row_stride;
    for (int j = 0; j < x_axis.samples; ++j) {
      const LinearSample<A> x = linear_sample(x_axis, element.column, j, level.width);
      if (!x.inside) {
        continue;
      }
      const int64_t low = x.low * level.column_stride, high = x.high * level.column_stride;
      read(low_row + low, share * y.low_weight * x.low_weight);
      read(low_row + high, share * y.low_weight * x.high_weight);
      read(high_row + low, share * y.high_weight * x.low_weight);
      read(high_row + high, share * y.high_weight * x.high_weight);
    }
  }
}

template <typename T, bool ChannelsLast>
__global__ void __launch_bounds__(kThreads)
    pool_kernel(Pyramid<const T> pyramid, const compute_t<T>* rois, const int64_t* levels, Bins bins, int64_t count,
                T* output) {
  using A = compute_t<T>;
  const int64_t step = static_cast<int64_t>(gridDim.x) * blockDim.x;
  for (int64_t i = static_cast<int64_t>(blockIdx.x) * blockDim.x + threadIdx.x; i < count; i += step) {
    const Element element = element_of<ChannelsLast>(i, pyramid.channels, bins);
    const A* roi = rois + 5 * element.roi;
    const int level = level_of(pyramid, roi, levels, element.roi);
    A sum = level < 0 ? std::numeric_limits<A>::quiet_NaN() : A(0);
    if (level >= 0) {
      visit_pixels(pyramid.level[level], roi, element, bins,
                   [&sum](const T* pixel, A weight) { sum += weight * static_cast<A>(*pixel); });
    }
    output[element.offset] = static_cast<T>(sum);
  }
}

template <typename T, bool ChannelsLast>
__global__ void __launch_bounds__(kThreads)
    scatter_kernel(const T* grad, const compute_t<T>* rois, const int64_t* levels, Bins bins, int64_t count,
                   Pyramid<compute_t<T>> pyramid) {
  using A = compute_t<T>;
  const int64_t step = static_cast<int64_t>(gridDim.x) * blockDim.x;
  for (int64_t i = static_cast<int64_t>(blockIdx.x) * blockDim.x + threadIdx.x; i < count; i += step) {
    const Element element = element_of<ChannelsLast>(i, pyramid.channels, bins);
    const A* roi = rois + 5 * element.roi;
    const int level = level_of(pyramid, roi, levels, element.roi);
    if (level >= 0) {
      const A value = static_cast<A>(grad[element.offset]);
      visit_pixels(pyramid.level[level], roi, element, bins,
                   [value](A* pixel, A weight) { atomicAdd(pixel, weight * value); });
    }
  }
}

template <typename T, bool ChannelsLast>
void launch_pool(const std::vector<Tensor>& features, const RoiAlignOptions& options, Tensor& output) {
  const Bins bins{options.bins_y, options.bins_x, options.sampling_ratio, options.aligned};
  const auto pyramid = describe<const T>(features, options.scales);
  const auto* rois = options.rois.template const_data_ptr<compute_t<T>>();
  pool_kernel<T, ChannelsLast><<<blocks_for(output.numel()), kThreads, 0, current_stream(output)>>>(
      pyramid, rois, options.level_data(), bins, output.numel(), output.template mutable_data_ptr<T>());
  STD_CUDA_KERNEL_LAUNCH_CHECK();
}

template <typename T, bool ChannelsLast>
void launch_scatter(const Tensor& grad, const RoiAlignOptions& options, const std::vector<Tensor>& sums) {
  const Bins bins{options.bins_y, options.bins_x, options.sampling_ratio, options.aligned};
  const auto pyramid = describe<compute_t<T>>(sums, options.scales);
  const auto* rois = options.rois.template const_data_ptr<compute_t<T>>();
  scatter_kernel<T, ChannelsLast><<<blocks_for(grad.numel()), kThreads, 0, current_stream(grad)>>>(
      grad.template const_data_ptr<T>(), rois, options.level_data(), bins, grad.numel(), pyramid);
  STD_CUDA_KERNEL_LAUNCH_CHECK();
}

Tensor forward(const std::vector<Tensor>& features, const Tensor& rois, const std::optional<Tensor>& levels,
               const std::vector<double>& scales, const std::vector<int64_t>& output_size, int64_t sampling_ratio,
               bool aligned) {
  check_features(features, scales);
  const torch::stable::accelerator::DeviceGuard guard(features[0].get_device_index());
  const auto options = roi_align_options(features[0], rois, levels, scales, output_size, sampling_ratio, aligned);
  Tensor output = torch::stable::new_empty(
      features[0], std::vector<int64_t>{options.num_rois(), features[0].size(1), output_size[0], output_size[1]});
  if (output.numel() > 0) {
    const bool channels_last = features[0].stride(1) == 1;
    dispatch_floating(output.scalar_type(), [&](auto zero) {
      using T = decltype(zero);
      channels_last ? launch_pool<T, true>(features, options, output) : launch_pool<T, false>(features, options, output);
    });
  }
  return output;
}

std::vector<Tensor> backward(const Tensor& grad, const Tensor& rois, const std::optional<Tensor>& levels,
                             const std::vector<int64_t>& sizes, const std::vector<double>& scales,
                             const std::vector<int64_t>& output_size, int64_t sampling_ratio, bool aligned,
                             bool channels_last) {
  check_gradient(grad, rois, sizes, scales, output_size);
  const torch::stable::accelerator::DeviceGuard guard(grad.get_device_index());
  const auto options = roi_align_options(grad, rois, levels, scales, output_size, sampling_ratio, aligned);
  const auto format = channels_last ? MemoryFormat::ChannelsLast : MemoryFormat::Contiguous;
  std::vector<Tensor> sums;
  for (size_t level = 0; level < scales.size(); ++level) {
    Tensor sum = torch::stable::empty(
        std::vector<int64_t>{sizes[0], sizes[1], sizes[2 + 2 * level], sizes[3 + 2 * level]}, compute_type(grad),
        std::nullopt, grad.device(), std::nullopt, format);
    sums.push_back(torch::stable::zero_(sum));
  }
  const Tensor dense = torch::stable::contiguous(grad);
  if (dense.numel() > 0 && sums[0].numel() > 0) {
    dispatch_floating(grad.scalar_type(), [&](auto zero) {
      using T = decltype(zero);
      channels_last ? launch_scatter<T, true>(dense, options, sums) : launch_scatter<T, false>(dense, options, sums);
    });
  }
  for (Tensor& sum : sums) {
    sum = torch::stable::to(sum, grad.scalar_type());
  }
  return sums;
}

}  // namespace

STABLE_TORCH_LIBRARY_IMPL(maskrcnn_benchmark, CUDA, m) {
  m.impl("multiscale_roi_align", TORCH_BOX(&forward));
  m.impl("multiscale_roi_align_backward", TORCH_BOX(&backward));
}

}  // namespace maskrcnn
