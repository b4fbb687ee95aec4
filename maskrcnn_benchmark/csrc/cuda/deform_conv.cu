// deform_im2col and deform_col2im on CUDA. A pixel is C consecutive numbers, so neighbouring threads take neighbouring
// channels: all of them read the same offsets, and their reads and writes of pixels and columns coalesce.

#include "../common/deform_conv.h"
#include "launch.h"

namespace maskrcnn {
namespace {

constexpr int kWarp = 32;

// One sample of each deformable group, whose channels the lanes of a warp share out.
struct Sample {
  int group, position;
  int64_t column;  // row * positions + position; row: of columns, [rows, positions, C]
  OutputPixel output;
};

template <typename A>
__device__ Sample sample_of(const DeformWindow<A>& window, int64_t index, int64_t first_row) {
  const auto [column, group] = divide(index, window.groups);
  const auto [row, position] = divide(column, window.positions());
  return {static_cast<int>(group), static_cast<int>(position), column, output_pixel(window, first_row + row)};
}

// One warp per sample.
template <typename T>
__global__ void __launch_bounds__(kThreads)
    sample_kernel(DeformWindow<compute_t<T>> window, const T* pixels, int64_t first_row, int64_t samples, T* columns) {
  using A = compute_t<T>;
  const int64_t channels = window.channels, per_group = window.group_channels();
  const int64_t step = static_cast<int64_t>(gridDim.x) * (blockDim.x / kWarp);
  for (int64_t i = static_cast<int64_t>(blockIdx.x) * (blockDim.x / kWarp) + threadIdx.x / kWarp; i < samples;
       i += step) {
    const Sample place = sample_of(window, i, first_row);
    const DeformSample<A> sample = deform_sample(window, place.output, place.group, place.position);
    const T* image = pixels + place.output.image * window.height * window.width * channels + place.group * per_group;
    T* column = columns + place.column * channels + place.group * per_group;
    for (int64_t c = threadIdx.x % kWarp; c < per_group; c += kWarp) {
      A value = sample.outside_value;
      if (sample.inside) {
        value = A(0);
        for (int corner = 0; corner < 4; ++corner) {
          value += sample.weight[corner] * static_cast<A>(image[sample.pixel[corner] * channels + c]);
        }
      }
      column[c] = static_cast<T>(sample.mask * value);
    }
  }
}

template <typename A>
__device__ A warp_sum(A value) {
  for (int distance = kWarp / 2; distance > 0; distance /= 2) {
    value += __shfl_down_sync(0xffffffffu, value, distance);
  }
  return value;  // in the first lane
}

// One warp per sample.
template <typename T>
__global__ void __launch_bounds__(kThreads)
    differentiate_kernel(DeformWindow<compute_t<T>> window, const T* pixels, const T* grad_columns, int64_t first_row,
                         int64_t samples, compute_t<T>* grad_pixels, DeformGradientMaps<compute_t<T>> grads) {
  using A = compute_t<T>;
  const int lane = static_cast<int>(threadIdx.x) % kWarp;
  const int64_t channels = window.channels, per_group = window.group_channels();
  const int64_t step = static_cast<int64_t>(gridDim.x) * (blockDim.x / kWarp);
  for (int64_t i = static_cast<int64_t>(blockIdx.x) * (blockDim.x / kWarp) + threadIdx.x / kWarp; i < samples;
       i += step) {
    const auto [group, position, column, output] = sample_of(window, i, first_row);
    const DeformSample<A> sample = deform_sample(window, output, group, position);
    A products[4] = {A(0), A(0), A(0), A(0)};
    if (sample.inside) {  // the same for the whole warp
      const int64_t image = output.image * window.height * window.width * channels + group * per_group;
      const T* grad = grad_columns + column * channels + group * per_group;
      for (int64_t c = lane; c < per_group; c += kWarp) {
        const A g = static_cast<A>(grad[c]);
        for (int corner = 0; corner < 4; ++corner) {
          const int64_t place = image + sample.pixel[corner] * channels + c;
          products[corner] += g * static_cast<A>(pixels[place]);
          const A weight = sample.mask * sample.weight[corner];
          if (weight != A(0)) {
            atomicAdd(grad_pixels + place, weight * g);
          }
        }
      }
      for (A& product : products) {
        product = warp_sum(product);
      }
    }
    if (lane == 0) {
      grads.write(window, output, group, position, deform_gradient(sample, products));
    }
  }
}

void im2col(const Tensor& pixels, const Tensor& offset, const std::optional<Tensor>& mask,
            const std::vector<int64_t>& kernel, const std::vector<int64_t>& stride,
            const std::vector<int64_t>& padding, const std::vector<int64_t>& dilation, int64_t deformable_groups,
            int64_t first_row, Tensor columns) {
  const DeformArguments arguments{kernel, stride, padding, dilation, deformable_groups, first_row};
  check_deform("deform_conv", columns, pixels, offset, mask, arguments);
  if (columns.numel() == 0) {
    return;
  }
  const torch::stable::accelerator::DeviceGuard guard(pixels.get_device_index());
  dispatch_floating(pixels.scalar_type(), [&](auto zero) {
    using T = decltype(zero);
    const auto window = deform_window<compute_t<T>>(pixels, offset, mask, arguments);
    const int64_t samples = columns.size(0) * columns.size(1) * deformable_groups;
    sample_kernel<T><<<blocks_for(samples * kWarp), kThreads, 0, current_stream(pixels)>>>(
        window, pixels.template const_data_ptr<T>(), first_row, samples, columns.template mutable_data_ptr<T>());
    STD_CUDA_KERNEL_LAUNCH_CHECK();
  });
}

void col2im(const Tensor& grad_columns, const Tensor& pixels, const Tensor& offset, const std::optional<Tensor>& mask,
            const std::vector<int64_t>& kernel, const std::vector<int64_t>& stride,
            const std::vector<int64_t>& padding, const std::vector<int64_t>& dilation, int64_t deformable_groups,
            int64_t first_row, Tensor grad_pixels, Tensor grad_offset, std::optional<Tensor> grad_mask) {
  const DeformArguments arguments{kernel, stride, padding, dilation, deformable_groups, first_row};
  check_deform("deform_conv", grad_columns, pixels, offset, mask, arguments);
  check_deform_gradients(grad_pixels, grad_offset, grad_mask, pixels, offset, mask);
  if (grad_columns.numel() == 0) {
    return;
  }
  const torch::stable::accelerator::DeviceGuard guard(pixels.get_device_index());
  dispatch_floating(pixels.scalar_type(), [&](auto zero) {
    using T = decltype(zero);
    using A = compute_t<T>;
    const auto window = deform_window<A>(pixels, offset, mask, arguments);
    const DeformGradientMaps<A> grads{strided_map<A>(grad_offset), strided_map<A>(grad_mask)};
    const int64_t samples = grad_columns.size(0) * grad_columns.size(1) * deformable_groups;
    differentiate_kernel<T><<<blocks_for(samples * kWarp), kThreads, 0, current_stream(pixels)>>>(
        window, pixels.template const_data_ptr<T>(), grad_columns.template const_data_ptr<T>(), first_row, samples,
        grad_pixels.template mutable_data_ptr<A>(), grads);
    STD_CUDA_KERNEL_LAUNCH_CHECK();
  });
}

}  // namespace

STABLE_TORCH_LIBRARY_IMPL(maskrcnn_benchmark, CUDA, m) {
  m.impl("deform_im2col", TORCH_BOX(&im2col));
  m.impl("deform_col2im", TORCH_BOX(&col2im));
}

}  // namespace maskrcnn
