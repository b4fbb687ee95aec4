// deform_psroi_pooling on CUDA: one thread per output element, the map read by its strides.

#include <limits>

#include "../common/deform_psroi.h"
#include "launch.h"

namespace maskrcnn {
namespace {

// An output element, and the map and the offset that it reads.
template <typename A>
struct Element {
  const A* roi;
  int64_t index, category, channel;  // channel: of the map
  int row, column;
  int64_t offset, count;  // where its horizontal offset and its sample count lie
  bool valid;             // its image exists
};

template <typename A>
__device__ Element<A> element_of(int64_t i, const PsroiSettings& s, const A* rois) {
  const int64_t bins = static_cast<int64_t>(s.bins) * s.bins;
  const auto [plane, bin] = divide(i, bins);
  const auto [k, top] = divide(plane, s.channels);
  const int column = static_cast<int>(bin % s.bins), row = static_cast<int>(bin / s.bins);
  const int64_t category = divide(top, s.channels_per_class()).quotient;
  const int64_t channel = (top * s.groups + s.group_of(row)) * s.groups + s.group_of(column);
  const A* roi = rois + 5 * k;
  return {roi, k, category, channel, row, column, s.shifted ? s.offset_of(k, category, row, column) : 0,
          (k * s.classes + category) * bins + bin, roi[0] >= A(0) && roi[0] < static_cast<A>(s.images)};
}

// Calls visit(y, x) for the samples of a bin that are on the map.
template <typename A, typename Visit>
__device__ void visit_samples(const PsroiSettings& s, const PsroiBin<A>& bin, const Visit& visit) {
  for (int i = 0; i < s.samples; ++i) {
    const PsroiSample<A> y = psroi_sample(bin.y + static_cast<A>(i) * bin.step_y, s.height);
    for (int j = 0; y.inside && j < s.samples; ++j) {
      const PsroiSample<A> x = psroi_sample(bin.x + static_cast<A>(j) * bin.step_x, s.width);
      if (x.inside) {
        visit(y, x);
      }
    }
  }
}

template <typename T>
struct Map {
  const T* data;
  int64_t image_stride, channel_stride, row_stride, column_stride;
};

template <typename T>
__global__ void __launch_bounds__(kThreads)
    pool_kernel(Map<T> map, const compute_t<T>* rois, const compute_t<T>* offset, PsroiSettings s, int64_t total,
                T* output, int32_t* counts) {
  using A = compute_t<T>;
  const int64_t step = static_cast<int64_t>(gridDim.x) * blockDim.x;
  for (int64_t i = static_cast<int64_t>(blockIdx.x) * blockDim.x + threadIdx.x; i < total; i += step) {
    const Element<A> element = element_of(i, s, rois);
    const PsroiBin<A> bin = psroi_bin(s, element.roi, offset + element.offset, element.row, element.column);
    A sum = A(0);
    int count = 0;
    if (element.valid) {
      const T* plane =
          map.data + static_cast<int64_t>(element.roi[0]) * map.image_stride + element.channel * map.channel_stride;
      visit_samples(s, bin, [&](const PsroiSample<A>& y, const PsroiSample<A>& x) {
        const T *low = plane + y.low * map.row_stride, *high = plane + y.high * map.row_stride;
        const int64_t left = x.low * map.column_stride, right = x.high * map.column_stride;
        const A above = (A(1) - x.fraction) * static_cast<A>(low[left]) + x.fraction * static_cast<A>(low[right]);
        const A below = (A(1) - x.fraction) * static_cast<A>(high[left]) + x.fraction * static_cast<A>(high[right]);
        sum += (A(1) - y.fraction) * above + y.fraction * below;
        ++count;
      });
    }
    const bool placed = element.valid && bin.finite();
    const A average = count > 0 ? sum / static_cast<A>(count) : A(0);
    output[i] = static_cast<T>(placed ? average : std::numeric_limits<A>::quiet_NaN());
    counts[element.count] = count;  // every channel of a class writes the same number
  }
}

// sums: [N, C * groups^2, H, W], offset_sums: like offset.
template <typename T>
__global__ void __launch_bounds__(kThreads)
    scatter_kernel(const compute_t<T>* grad, Map<T> map, const compute_t<T>* rois, const compute_t<T>* offset,
                   const int32_t* counts, PsroiSettings s, int64_t total, compute_t<T>* sums,
                   compute_t<T>* offset_sums) {
  using A = compute_t<T>;
  const int64_t step = static_cast<int64_t>(gridDim.x) * blockDim.x;
  const int64_t area = static_cast<int64_t>(s.height) * s.width;
  for (int64_t i = static_cast<int64_t>(blockIdx.x) * blockDim.x + threadIdx.x; i < total; i += step) {
    const Element<A> element = element_of(i, s, rois);
    const int count = counts[element.count];
    if (!element.valid || count <= 0) {
      continue;
    }
    const PsroiBin<A> bin = psroi_bin(s, element.roi, offset + element.offset, element.row, element.column);
    const int64_t image = static_cast<int64_t>(element.roi[0]);
    const T* plane = map.data + image * map.image_stride + element.channel * map.channel_stride;
    A* target = sums + (image * s.channels * s.groups * s.groups + element.channel) * area;
    const A value = grad[i] / static_cast<A>(count);
    A slope_x = A(0), slope_y = A(0);
    visit_samples(s, bin, [&](const PsroiSample<A>& y, const PsroiSample<A>& x) {
      A* low = target + static_cast<int64_t>(y.low) * s.width;
      A* high = target + static_cast<int64_t>(y.high) * s.width;
      atomicAdd(low + x.low, value * (A(1) - y.fraction) * (A(1) - x.fraction));
      atomicAdd(low + x.high, value * (A(1) - y.fraction) * x.fraction);
      atomicAdd(high + x.low, value * y.fraction * (A(1) - x.fraction));
      atomicAdd(high + x.high, value * y.fraction * x.fraction);
      if (s.shifted) {
        const T *above = plane + y.low * map.row_stride, *below = plane + y.high * map.row_stride;
        const int64_t left = x.low * map.column_stride, right = x.high * map.column_stride;
        const A a = static_cast<A>(above[left]), b = static_cast<A>(above[right]);
        const A c = static_cast<A>(below[left]), d = static_cast<A>(below[right]);
        slope_x += (A(1) - y.fraction) * (b - a) + y.fraction * (d - c);
        slope_y += (A(1) - x.fraction) * (c - a) + x.fraction * (d - b);
      }
    });
    if (s.shifted) {
      atomicAdd(offset_sums + element.offset, value * slope_x * bin.unit_x);
      atomicAdd(offset_sums + element.offset + s.parts * s.parts, value * slope_y * bin.unit_y);
    }
  }
}

template <typename T>
Map<T> describe(const Tensor& data) {
  return {data.const_data_ptr<T>(), data.stride(0), data.stride(1), data.stride(2), data.stride(3)};
}

template <typename T>
void launch_pool(const Tensor& data, const Tensor& rois, const Tensor& offset, const PsroiSettings& settings,
                 Tensor& output, Tensor& counts) {
  using A = compute_t<T>;
  pool_kernel<T><<<blocks_for(output.numel()), kThreads, 0, current_stream(output)>>>(
      describe<T>(data), rois.const_data_ptr<A>(), offset.const_data_ptr<A>(), settings, output.numel(),
      output.mutable_data_ptr<T>(), counts.mutable_data_ptr<int32_t>());
  STD_CUDA_KERNEL_LAUNCH_CHECK();
}

template <typename T>
void launch_scatter(const Tensor& grad, const Tensor& data, const Tensor& rois, const Tensor& offset,
                    const Tensor& counts, const PsroiSettings& settings, Tensor& sums, Tensor& offset_sums) {
  using A = compute_t<T>;
  scatter_kernel<T><<<blocks_for(grad.numel()), kThreads, 0, current_stream(grad)>>>(
      grad.const_data_ptr<A>(), describe<T>(data), rois.const_data_ptr<A>(), offset.const_data_ptr<A>(),
      counts.const_data_ptr<int32_t>(), settings, grad.numel(), sums.mutable_data_ptr<A>(),
      offset_sums.mutable_data_ptr<A>());
  STD_CUDA_KERNEL_LAUNCH_CHECK();
}

std::tuple<Tensor, Tensor> forward(const Tensor& data, const Tensor& rois, const Tensor& offset, double spatial_scale,
                                   int64_t out_size, int64_t out_channels, bool no_trans, int64_t group_size,
                                   int64_t part_size, int64_t sample_per_part, double trans_std) {
  const auto settings = psroi_settings(data, rois, offset, spatial_scale, out_size, out_channels, no_trans, group_size,
                                       part_size, sample_per_part, trans_std);
  const torch::stable::accelerator::DeviceGuard guard(data.get_device_index());
  Tensor output = torch::stable::new_empty(data, std::vector<int64_t>{rois.size(0), out_channels, out_size, out_size});
  Tensor counts = torch::stable::new_zeros(
      data, std::vector<int64_t>{rois.size(0), settings.classes, out_size, out_size}, ScalarType::Int);
  if (output.numel() > 0) {
    const Tensor boxes = to_dense(rois, compute_type(data));
    const Tensor shifts = settings.shifted ? to_dense(offset, compute_type(data)) : boxes;
    dispatch_floating(data.scalar_type(), [&](auto zero) {
      launch_pool<decltype(zero)>(data, boxes, shifts, settings, output, counts);
    });
  }
  return {output, counts};
}

std::tuple<Tensor, Tensor> backward(const Tensor& grad, const Tensor& data, const Tensor& rois, const Tensor& offset,
                                    const Tensor& count, double spatial_scale, int64_t out_size, int64_t out_channels,
                                    bool no_trans, int64_t group_size, int64_t part_size, int64_t sample_per_part,
                                    double trans_std) {
  const auto settings = psroi_settings(data, rois, offset, spatial_scale, out_size, out_channels, no_trans, group_size,
                                       part_size, sample_per_part, trans_std);
  check_psroi_gradient(grad, count, rois, settings);
  const torch::stable::accelerator::DeviceGuard guard(data.get_device_index());
  const ScalarType dtype = compute_type(data);
  Tensor sums = torch::stable::new_zeros(data, data.sizes(), dtype);
  Tensor offset_sums = torch::stable::new_zeros(offset, offset.sizes(), dtype);
  if (grad.numel() > 0) {
    const Tensor dense = to_dense(grad, dtype), boxes = to_dense(rois, dtype), counts = torch::stable::contiguous(count);
    const Tensor shifts = settings.shifted ? to_dense(offset, dtype) : boxes;
    dispatch_floating(data.scalar_type(), [&](auto zero) {
      launch_scatter<decltype(zero)>(dense, data, boxes, shifts, counts, settings, sums, offset_sums);
    });
  }
  return {torch::stable::to(sums, data.scalar_type()), torch::stable::to(offset_sums, offset.scalar_type())};
}

}  // namespace

STABLE_TORCH_LIBRARY_IMPL(maskrcnn_benchmark, CUDA, m) {
  m.impl("deform_psroi_pooling", TORCH_BOX(&forward));
  m.impl("deform_psroi_pooling_backward", TORCH_BOX(&backward));
}

}  // namespace maskrcnn
