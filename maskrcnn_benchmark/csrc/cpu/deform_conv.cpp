// deform_im2col and deform_col2im on the CPU. A pixel is C consecutive numbers, and all arithmetic runs along them.

#include <algorithm>

#include "../common/deform_conv.h"
#include "parallel.h"
#include "simd.h"

namespace maskrcnn {
namespace {

constexpr int64_t kRowsPerThread = 8;  // output pixels; fewer are not worth waking a thread for

template <typename V, typename T>
MRB_INLINE void store_narrow(T* target, const V& value) {
  if constexpr (std::is_same_v<T, compute_t<T>>) {
    store(target, value);
  } else {
    constexpr int count = sizeof(V) / sizeof(float);
    float wide[count];
    store(wide, value);
    for (int i = 0; i < count; ++i) target[i] = static_cast<T>(wide[i]);
  }
}

// target[0 .. channels) = the sample's value in each channel
template <int Bytes, typename T>
MRB_INLINE void blend(const DeformSample<compute_t<T>>& sample, const T* group, int64_t stride, int64_t channels,
                      T* target) {
  using A = compute_t<T>;
  using V = lanes_t<A, Bytes>;
  constexpr int64_t step = kLanes<A, Bytes>;
  const T* corner[4];
  A weight[4];
  for (int i = 0; i < 4; ++i) {
    corner[i] = group + sample.pixel[i] * stride;
    weight[i] = sample.mask * sample.weight[i];
  }
  int64_t c = 0;
  for (; c + step <= channels; c += step) {
    V sum = weight[0] * load<V>(corner[0] + c);
    for (int i = 1; i < 4; ++i) sum += weight[i] * load<V>(corner[i] + c);
    store_narrow(target + c, sum);
  }
  for (; c < channels; ++c) {
    A sum = 0;
    for (int i = 0; i < 4; ++i) sum += weight[i] * static_cast<A>(corner[i][c]);
    target[c] = static_cast<T>(sum);
  }
}

template <typename T>
struct SampleRows {
  using A = compute_t<T>;

  // pixels: [N, H, W, C]; columns: [rows, positions, C] from first_row on
  template <int Bytes>
  MRB_INLINE static void run(const DeformWindow<A>* window, const T* pixels, int64_t first_row, int64_t begin,
                             int64_t end, T* columns) {
    const int64_t channels = window->channels, count = window->group_channels();
    const int positions = window->positions();
    for (int64_t row = begin; row < end; ++row) {
      const OutputPixel output = output_pixel(*window, first_row + row);
      const T* image = pixels + output.image * window->height * window->width * channels;
      for (int group = 0; group < window->groups; ++group) {
        for (int position = 0; position < positions; ++position) {
          const DeformSample<A> sample = deform_sample(*window, output, group, position);
          T* target = columns + (row * positions + position) * channels + group * count;
          if (sample.inside) {
            blend<Bytes>(sample, image + group * count, channels, count, target);
          } else {
            std::fill_n(target, count, static_cast<T>(sample.mask * sample.outside_value));
          }
        }
      }
    }
  }
};

// products[i] = sum over channels of gradient times pixel i of the sample
template <int Bytes, typename T>
MRB_INLINE void multiply_corners(const DeformSample<compute_t<T>>& sample, const T* group, int64_t stride,
                                 int64_t channels, const T* grad, compute_t<T>* products) {
  using A = compute_t<T>;
  using V = lanes_t<A, Bytes>;
  constexpr int step = kLanes<A, Bytes>;
  const T* corner[4];
  for (int i = 0; i < 4; ++i) corner[i] = group + sample.pixel[i] * stride;
  V sums[4] = {};
  int64_t c = 0;
  for (; c + step <= channels; c += step) {
    const V g = load<V>(grad + c);
    for (int i = 0; i < 4; ++i) sums[i] += g * load<V>(corner[i] + c);
  }
  for (int i = 0; i < 4; ++i) {
    A lanes[step], total = 0;
    store(lanes, sums[i]);
    for (int lane = 0; lane < step; ++lane) total += lanes[lane];
    for (int64_t rest = c; rest < channels; ++rest) {
      total += static_cast<A>(grad[rest]) * static_cast<A>(corner[i][rest]);
    }
    products[i] = total;
  }
}

template <typename T>
struct DifferentiatePositions {
  using A = compute_t<T>;

  template <int Bytes>
  MRB_INLINE static void run(const DeformWindow<A>* window, const T* pixels, const T* grad_columns, int64_t first_row,
                             int64_t begin, int64_t end, const DeformGradientMaps<A>* grads) {
    const int64_t channels = window->channels, count = window->group_channels();
    const int positions = window->positions();
    for (int64_t row = begin; row < end; ++row) {
      const OutputPixel output = output_pixel(*window, first_row + row);
      const T* image = pixels + output.image * window->height * window->width * channels;
      for (int group = 0; group < window->groups; ++group) {
        for (int position = 0; position < positions; ++position) {
          const DeformSample<A> sample = deform_sample(*window, output, group, position);
          A products[4] = {};
          if (sample.inside) {
            const T* grad = grad_columns + (row * positions + position) * channels + group * count;
            multiply_corners<Bytes>(sample, image + group * count, channels, count, grad, products);
          }
          grads->write(*window, output, group, position, deform_gradient(sample, products));
        }
      }
    }
  }
};

template <typename T>
struct ScatterRows {
  using A = compute_t<T>;

  // Adds to channels first to last of grad_pixels, [N, H, W, C], from rows begin to end of grad_columns.
  template <int Bytes>
  MRB_INLINE static void run(const DeformWindow<A>* window, const T* grad_columns, int64_t first_row, int64_t begin,
                             int64_t end, int64_t first, int64_t last, A* grad_pixels) {
    const int64_t channels = window->channels, count = window->group_channels();
    const int positions = window->positions();
    for (int64_t row = begin; row < end; ++row) {
      const OutputPixel output = output_pixel(*window, first_row + row);
      A* image = grad_pixels + output.image * window->height * window->width * channels;
      for (int64_t group = first / count; group * count < last; ++group) {
        const int64_t low = std::max(first, group * count), high = std::min(last, (group + 1) * count);
        for (int position = 0; position < positions; ++position) {
          const DeformSample<A> sample = deform_sample(*window, output, static_cast<int>(group), position);
          for (int i = 0; i < 4; ++i) {
            const A weight = sample.mask * sample.weight[i];
            if (sample.inside && weight != A(0)) {
              add_scaled<Bytes>(weight, grad_columns + (row * positions + position) * channels + low, high - low,
                         image + sample.pixel[i] * channels + low);
            }
          }
        }
      }
    }
  }

  // target[0 .. channels) += weight * source[0 .. channels)
  template <int Bytes>
  MRB_INLINE static void add_scaled(A weight, const T* source, int64_t channels, A* target) {
    using V = lanes_t<A, Bytes>;
    int64_t c = 0;
    for (; c + kLanes<A, Bytes> <= channels; c += kLanes<A, Bytes>) {
      V sum = load<V>(target + c);
      sum += weight * load<V>(source + c);
      store(target + c, sum);
    }
    for (; c < channels; ++c) target[c] += weight * static_cast<A>(source[c]);
  }
};

// Each thread owns some channels and adds all rows in their order: no atomics, the same sum each time.
template <typename T>
void scatter_all(const DeformWindow<compute_t<T>>& window, const T* grad_columns, int64_t first_row, int64_t rows,
                 compute_t<T>* grad_pixels) {
  using A = compute_t<T>;
  const int64_t line = 64 / sizeof(A);  // blocks end on cache lines, so that no two threads write the same one
  const int64_t threads = torch::stable::get_num_threads();
  const int64_t block = ((window.channels + threads - 1) / threads + line - 1) / line * line;
  const int64_t blocks = (window.channels + block - 1) / block;
  share_out(blocks, 1, blocks, [&] {
    return [&](int64_t task) {
      run_vectorised<ScatterRows<T>>(&window, grad_columns, first_row, int64_t{0}, rows, task * block,
                                     std::min((task + 1) * block, window.channels), grad_pixels);
    };
  });
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
  dispatch_floating(pixels.scalar_type(), [&](auto zero) {
    using T = decltype(zero);
    const auto window = deform_window<compute_t<T>>(pixels, offset, mask, arguments);
    const T* source = pixels.template const_data_ptr<T>();
    T* target = columns.template mutable_data_ptr<T>();
    torch::stable::parallel_for(0, columns.size(0), kRowsPerThread, [&](int64_t begin, int64_t end) {
      run_vectorised<SampleRows<T>>(&window, source, first_row, begin, end, target);
    });
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
  dispatch_floating(pixels.scalar_type(), [&](auto zero) {
    using T = decltype(zero);
    using A = compute_t<T>;
    const auto window = deform_window<A>(pixels, offset, mask, arguments);
    const DeformGradientMaps<A> grads{strided_map<A>(grad_offset), strided_map<A>(grad_mask)};
    const T* source = grad_columns.template const_data_ptr<T>();
    const T* values = pixels.template const_data_ptr<T>();
    const int64_t rows = grad_columns.size(0);
    torch::stable::parallel_for(0, rows, kRowsPerThread, [&](int64_t begin, int64_t end) {
      run_vectorised<DifferentiatePositions<T>>(&window, values, source, first_row, begin, end, &grads);
    });
    scatter_all<T>(window, source, first_row, rows, grad_pixels.template mutable_data_ptr<A>());
  });
}

}  // namespace

STABLE_TORCH_LIBRARY_IMPL(maskrcnn_benchmark, CPU, m) {
  m.impl("deform_im2col", TORCH_BOX(&im2col));
  m.impl("deform_col2im", TORCH_BOX(&col2im));
}

}  // namespace maskrcnn
