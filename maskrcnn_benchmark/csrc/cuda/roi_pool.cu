// roi_pool on CUDA: one thread per output element, the map read by its strides.

#include "../common/roi_pool.h"
#include "launch.h"

namespace maskrcnn {
namespace {

template <typename T>
struct Map {
  const T* data;
  int64_t image_stride, channel_stride, row_stride, column_stride;
  int64_t images, channels;
  int height, width;
};

template <typename T>
__global__ void __launch_bounds__(kThreads)
    pool_kernel(Map<T> map, const compute_t<T>* rois, compute_t<T> scale, int bins_y, int bins_x, int64_t count,
                T* output, int32_t* argmax) {
  using A = compute_t<T>;
  const int64_t step = static_cast<int64_t>(gridDim.x) * blockDim.x;
  for (int64_t i = static_cast<int64_t>(blockIdx.x) * blockDim.x + threadIdx.x; i < count; i += step) {
    const Division plane_of = divide(i, bins_x * bins_y), roi_of = divide(plane_of.quotient, map.channels);
    const int bin = static_cast<int>(plane_of.remainder), row = bin / bins_x, column = bin % bins_x;
    const int64_t channel = roi_of.remainder;
    const A* roi = rois + 5 * roi_of.quotient;
    A best = A(0);
    int32_t place = -1;
    if (roi[0] >= A(0) && roi[0] < static_cast<A>(map.images)) {
      const T* plane = map.data + static_cast<int64_t>(roi[0]) * map.image_stride + channel * map.channel_stride;
      const PixelRange y = pooled_pixels(roi[2], roi[4], scale, row, bins_y, map.height);
      const PixelRange x = pooled_pixels(roi[1], roi[3], scale, column, bins_x, map.width);
      for (int v = y.begin; v < y.end; ++v) {
        for (int u = x.begin; u < x.end; ++u) {
          const A value = static_cast<A>(plane[v * map.row_stride + u * map.column_stride]);
          if (place < 0 || value > best || value != value) {
            best = value;
            place = v * map.width + u;
          }
        }
      }
    } else {
      best = std::numeric_limits<A>::quiet_NaN();
    }
    output[i] = static_cast<T>(best);
    argmax[i] = place;
  }
}

// sums: [N, C, area]
template <typename T>
__global__ void __launch_bounds__(kThreads)
    scatter_kernel(const T* grad, const int32_t* argmax, const compute_t<T>* rois, int64_t images, int64_t channels,
                   int64_t area, int64_t bins, int64_t count, compute_t<T>* sums) {
  using A = compute_t<T>;
  const int64_t step = static_cast<int64_t>(gridDim.x) * blockDim.x;
  for (int64_t i = static_cast<int64_t>(blockIdx.x) * blockDim.x + threadIdx.x; i < count; i += step) {
    const auto [roi, channel] = divide(divide(i, bins).quotient, channels);
    const A image = rois[5 * roi];
    const int64_t place = argmax[i];
    if (image >= A(0) && image < static_cast<A>(images) && place >= 0 && place < area) {
      atomicAdd(sums + (static_cast<int64_t>(image) * channels + channel) * area + place, static_cast<A>(grad[i]));
    }
  }
}

template <typename T>
void launch_pool(const Tensor& input, const Tensor& rois, double spatial_scale, Tensor& output, Tensor& argmax) {
  using A = compute_t<T>;
  const Map<T> map{input.const_data_ptr<T>(),
                   input.stride(0), input.stride(1), input.stride(2), input.stride(3),
                   input.size(0), input.size(1), static_cast<int>(input.size(2)), static_cast<int>(input.size(3))};
  pool_kernel<T><<<blocks_for(output.numel()), kThreads, 0, current_stream(output)>>>(
      map, rois.const_data_ptr<A>(), static_cast<A>(spatial_scale), static_cast<int>(output.size(2)),
      static_cast<int>(output.size(3)), output.numel(), output.mutable_data_ptr<T>(),
      argmax.mutable_data_ptr<int32_t>());
  STD_CUDA_KERNEL_LAUNCH_CHECK();
}

template <typename T>
void launch_scatter(const Tensor& grad, const Tensor& argmax, const Tensor& rois, Tensor& sums) {
  using A = compute_t<T>;
  scatter_kernel<T><<<blocks_for(grad.numel()), kThreads, 0, current_stream(grad)>>>(
      grad.const_data_ptr<T>(), argmax.const_data_ptr<int32_t>(), rois.const_data_ptr<A>(), sums.size(0), sums.size(1),
      sums.size(2) * sums.size(3), grad.size(2) * grad.size(3), grad.numel(), sums.mutable_data_ptr<A>());
  STD_CUDA_KERNEL_LAUNCH_CHECK();
}

std::tuple<Tensor, Tensor> forward(const Tensor& input, const Tensor& rois, double spatial_scale,
                                   const std::vector<int64_t>& output_size) {
  check_roi_pool(input, rois, output_size);
  const torch::stable::accelerator::DeviceGuard guard(input.get_device_index());
  const std::vector<int64_t> shape{rois.size(0), input.size(1), output_size[0], output_size[1]};
  Tensor output = torch::stable::new_empty(input, shape);
  Tensor argmax = torch::stable::new_empty(input, shape, ScalarType::Int);
  if (output.numel() > 0) {
    const Tensor boxes = to_dense(rois, compute_type(input));
    dispatch_floating(input.scalar_type(), [&](auto zero) {
      launch_pool<decltype(zero)>(input, boxes, spatial_scale, output, argmax);
    });
  }
  return {output, argmax};
}

Tensor backward(const Tensor& grad, const Tensor& argmax, const Tensor& rois, const std::vector<int64_t>& sizes) {
  check_roi_pool_gradient(grad, argmax, rois, sizes);
  const torch::stable::accelerator::DeviceGuard guard(grad.get_device_index());
  Tensor sums = torch::stable::new_zeros(grad, sizes, compute_type(grad));
  const Tensor dense = torch::stable::contiguous(grad), places = torch::stable::contiguous(argmax);
  if (dense.numel() > 0 && sums.numel() > 0) {
    const Tensor boxes = to_dense(rois, compute_type(grad));
    dispatch_floating(grad.scalar_type(),
                      [&](auto zero) { launch_scatter<decltype(zero)>(dense, places, boxes, sums); });
  }
  return torch::stable::to(sums, grad.scalar_type());
}

}  // namespace

STABLE_TORCH_LIBRARY_IMPL(maskrcnn_benchmark, CUDA, m) {
  m.impl("roi_pool", TORCH_BOX(&forward));
  m.impl("roi_pool_backward", TORCH_BOX(&backward));
}

}  // namespace maskrcnn
