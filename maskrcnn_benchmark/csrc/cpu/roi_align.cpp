// multiscale_roi_align on the CPU: every level of a feature pyramid in one call, forward and backward.
//
// Feature maps are read channels_last, so a pixel is C consecutive numbers and all arithmetic runs along them. A RoI's
// [bins, C] tile stays in cache and is transposed into the [C, bins] output once. RoIs are visited in the order of their
// place in the pyramid, since neighbours read the same pixels.

#include <algorithm>
#include <limits>

#include "../common/roi_align.h"
#include "parallel.h"
#include "roi_taps.h"
#include "simd.h"
#include "transpose.h"

namespace maskrcnn {
namespace {

using torch::headeronly::MemoryFormat;

template <typename T>
struct Pyramid {
  std::vector<T*> maps;  // [N, H, W, C] each
  std::vector<int> heights;
  std::vector<int> widths;
  int64_t images;
  int64_t channels;
};

// target[0 .. channels) = sum over the bin's taps of weight * pixel[0 .. channels)
template <typename V, int Vectors, typename T>
MRB_INLINE void pool_channels(const T* image, int64_t width, int64_t channels, const Tap<compute_t<T>>* y_begin,
                              const Tap<compute_t<T>>* y_end, const Tap<compute_t<T>>* x_begin,
                              const Tap<compute_t<T>>* x_end, compute_t<T>* target) {
  using A = compute_t<T>;
  constexpr int64_t step = sizeof(V) / sizeof(A);
  V sum[Vectors] = {};
  for (const Tap<A>* y = y_begin; y != y_end; ++y) {
    const T* row = image + y->pixel * width * channels;
    for (const Tap<A>* x = x_begin; x != x_end; ++x) {
      const T* pixel = row + x->pixel * channels;
      const A weight = y->weight * x->weight;
      for (int v = 0; v < Vectors; ++v) {
        sum[v] += weight * load<V>(pixel + v * step);
      }
    }
  }
  for (int v = 0; v < Vectors; ++v) {
    store(target + v * step, sum[v]);
  }
}

template <typename T>
struct PoolRoi {
  using A = compute_t<T>;

  // image: [H, W, C] of the RoI's level; tile: [bins, C]
  template <int Bytes>
  MRB_INLINE static void run(const T* image, int64_t width, int64_t channels, int bins_y, int bins_x,
                             const RoiTaps<A>* taps, A* tile) {
    using V = lanes_t<A, Bytes>;
    constexpr int64_t step = kLanes<A, Bytes>;
    constexpr int wide = 4;
    for (int by = 0; by < bins_y; ++by) {
      const Tap<A>*y0 = taps->y.begin(by), *y1 = taps->y.end(by);
      for (int bx = 0; bx < bins_x; ++bx, tile += channels) {
        const Tap<A>*x0 = taps->x.begin(bx), *x1 = taps->x.end(bx);
        int64_t c = 0;
        for (; c + wide * step <= channels; c += wide * step) {
          pool_channels<V, wide>(image + c, width, channels, y0, y1, x0, x1, tile + c);
        }
        for (; c + step <= channels; c += step) {
          pool_channels<V, 1>(image + c, width, channels, y0, y1, x0, x1, tile + c);
        }
        for (; c < channels; ++c) {
          A sum = 0;
          for (const Tap<A>* y = y0; y != y1; ++y) {
            for (const Tap<A>* x = x0; x != x1; ++x) {
              sum += y->weight * x->weight * static_cast<A>(image[(y->pixel * width + x->pixel) * channels + c]);
            }
          }
          tile[c] = sum;
        }
      }
    }
  }
};

template <typename T>
struct ScatterRoi {
  using A = compute_t<T>;

  // tile: [bins, block]; image: [H, W, channels] at the block's first channel
  template <int Bytes>
  MRB_INLINE static void run(A* image, int64_t width, int64_t channels, int64_t block, int bins_y, int bins_x,
                             const RoiTaps<A>* taps, const A* tile) {
    using V = lanes_t<A, Bytes>;
    for (int by = 0; by < bins_y; ++by) {
      for (int bx = 0; bx < bins_x; ++bx, tile += block) {
        for (const Tap<A>* y = taps->y.begin(by); y != taps->y.end(by); ++y) {
          for (const Tap<A>* x = taps->x.begin(bx); x != taps->x.end(bx); ++x) {
            A* pixel = image + (y->pixel * width + x->pixel) * channels;
            const A weight = y->weight * x->weight;
            int64_t c = 0;
            for (; c + kLanes<A, Bytes> <= block; c += kLanes<A, Bytes>) {
              V sum = load<V>(pixel + c);
              sum += weight * load<V>(tile + c);
              store(pixel + c, sum);
            }
            for (; c < block; ++c) {
              pixel[c] += weight * tile[c];
            }
          }
        }
      }
    }
  }
};

template <typename T>
void pool_all(const Pyramid<const T>& pyramid, const RoiAlignOptions& options, T* output) {
  using A = compute_t<T>;
  const int64_t bins = static_cast<int64_t>(options.bins_y) * options.bins_x;
  const int64_t channels = pyramid.channels;
  const auto placed = place_rois<A>(options, pyramid.images);
  const auto count = static_cast<int64_t>(placed.size());
  share_out(count, 4, count, [&] {
    return [&, taps = RoiTaps<A>(), tile = std::vector<A>(bins * channels)](int64_t i) mutable {
      const PlacedRoi<A>& roi = placed[i];
      T* target = output + roi.index * channels * bins;
      if (!roi.finite) {
        std::fill_n(target, channels * bins, static_cast<T>(std::numeric_limits<float>::quiet_NaN()));
        return;
      }
      const int height = pyramid.heights[roi.level], width = pyramid.widths[roi.level];
      taps.build(roi, options, height, width);
      const T* image = pyramid.maps[roi.level] + roi.image * height * width * channels;
      run_vectorised<PoolRoi<T>>(image, static_cast<int64_t>(width), channels, options.bins_y, options.bins_x,
                                 static_cast<const RoiTaps<A>*>(&taps), tile.data());
      transpose(tile.data(), channels, bins, channels, target, bins);
    };
  });
}

// Each task owns some channels of one image and adds all its RoIs in a fixed order: no atomics, the same sum each time.
template <typename T>
void scatter_all(const T* grad, const RoiAlignOptions& options, const Pyramid<compute_t<T>>& pyramid) {
  using A = compute_t<T>;
  const int64_t bins = static_cast<int64_t>(options.bins_y) * options.bins_x;
  const int64_t channels = pyramid.channels, images = pyramid.images;
  const auto placed = place_rois<A>(options, images);
  const int64_t threads = torch::stable::get_num_threads();
  const int64_t wanted_blocks = (threads + images - 1) / std::max<int64_t>(images, 1);
  const int64_t line = 64 / sizeof(A);  // blocks end on cache lines, so that no two threads write the same one
  const int64_t block_size = std::max<int64_t>(line, (channels / std::max<int64_t>(wanted_blocks, 1) + line - 1) / line * line);
  const int64_t blocks = (channels + block_size - 1) / block_size;
  share_out(images * blocks, 1, images * blocks, [&] {
    return [&, taps = RoiTaps<A>(), tile = std::vector<A>(bins * block_size)](int64_t task) mutable {
      const int64_t image = task / blocks, first = task % blocks * block_size;
      const int64_t block = std::min(block_size, channels - first);
      for (const PlacedRoi<A>& roi : placed) {
        if (roi.image != image || !roi.finite) {
          continue;
        }
        const int height = pyramid.heights[roi.level], width = pyramid.widths[roi.level];
        taps.build(roi, options, height, width);
        transpose(grad + (roi.index * channels + first) * bins, bins, block, bins, tile.data(), block);
        A* map = pyramid.maps[roi.level] + image * height * width * channels + first;
        run_vectorised<ScatterRoi<T>>(map, static_cast<int64_t>(width), channels, block, options.bins_y,
                                      options.bins_x, static_cast<const RoiTaps<A>*>(&taps),
                                      static_cast<const A*>(tile.data()));
      }
    };
  });
}

Tensor forward(const std::vector<Tensor>& features, const Tensor& rois, const std::optional<Tensor>& levels,
               const std::vector<double>& scales, const std::vector<int64_t>& output_size, int64_t sampling_ratio,
               bool aligned) {
  check_features(features, scales);
  const auto options = roi_align_options(features[0], rois, levels, scales, output_size, sampling_ratio, aligned);
  const int64_t channels = features[0].size(1);
  Tensor output = torch::stable::new_empty(
      features[0], std::vector<int64_t>{options.num_rois(), channels, output_size[0], output_size[1]});
  if (output.numel() == 0) {
    return output;
  }
  std::vector<Tensor> dense;
  for (const Tensor& map : features) {
    dense.push_back(torch::stable::contiguous(map, MemoryFormat::ChannelsLast));
  }
  dispatch_floating(output.scalar_type(), [&](auto zero) {
    using scalar_t = decltype(zero);
    Pyramid<const scalar_t> pyramid{{}, {}, {}, features[0].size(0), channels};
    for (const Tensor& map : dense) {
      pyramid.maps.push_back(map.template const_data_ptr<scalar_t>());
      pyramid.heights.push_back(static_cast<int>(map.size(2)));
      pyramid.widths.push_back(static_cast<int>(map.size(3)));
    }
    pool_all<scalar_t>(pyramid, options, output.template mutable_data_ptr<scalar_t>());
  });
  return output;
}

std::vector<Tensor> backward(const Tensor& grad, const Tensor& rois, const std::optional<Tensor>& levels,
                             const std::vector<int64_t>& sizes, const std::vector<double>& scales,
                             const std::vector<int64_t>& output_size, int64_t sampling_ratio, bool aligned,
                             bool channels_last) {
  check_gradient(grad, rois, sizes, scales, output_size);
  const auto options = roi_align_options(grad, rois, levels, scales, output_size, sampling_ratio, aligned);
  const ScalarType dtype = compute_type(grad);
  std::vector<Tensor> sums;
  for (size_t level = 0; level < scales.size(); ++level) {
    Tensor sum = torch::stable::empty(std::vector<int64_t>{sizes[0], sizes[1], sizes[2 + 2 * level], sizes[3 + 2 * level]},
                                      dtype, std::nullopt, grad.device(), std::nullopt, MemoryFormat::ChannelsLast);
    sums.push_back(torch::stable::zero_(sum));
  }
  const Tensor dense = torch::stable::contiguous(grad);
  if (dense.numel() > 0) {
    dispatch_floating(grad.scalar_type(), [&](auto zero) {
      using scalar_t = decltype(zero);
      using A = compute_t<scalar_t>;
      Pyramid<A> pyramid{{}, {}, {}, sizes[0], sizes[1]};
      for (const Tensor& sum : sums) {
        pyramid.maps.push_back(sum.template mutable_data_ptr<A>());
        pyramid.heights.push_back(static_cast<int>(sum.size(2)));
        pyramid.widths.push_back(static_cast<int>(sum.size(3)));
      }
      scatter_all<scalar_t>(dense.template const_data_ptr<scalar_t>(), options, pyramid);
    });
  }
  for (Tensor& sum : sums) {
    if (!channels_last || grad.scalar_type() != dtype) {
      const auto format = channels_last ? MemoryFormat::ChannelsLast : MemoryFormat::Contiguous;
      Tensor result = torch::stable::empty(sum.sizes(), grad.scalar_type(), std::nullopt, grad.device(), std::nullopt,
                                           format);
      sum = torch::stable::copy_(result, sum);
    }
  }
  return sums;
}

}  // namespace

STABLE_TORCH_LIBRARY_IMPL(maskrcnn_benchmark, CPU, m) {
  m.impl("multiscale_roi_align", TORCH_BOX(&forward));
  m.impl("multiscale_roi_align_backward", TORCH_BOX(&backward));
}

}  // namespace maskrcnn
