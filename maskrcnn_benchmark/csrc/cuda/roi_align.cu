// multiscale_roi_align on CUDA: every level in one launch, maps read by their strides. Maps whose channels lie side by side are
// read several channels at once and in tiles, others with a thread for each output element.

#include <algorithm>
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
};

// Neighbouring threads have neighbouring columns, of the output and in the maps.
__device__ Element element_of(int64_t index, int64_t channels, const Bins& bins) {
  const int64_t area = static_cast<int64_t>(bins.rows) * bins.columns;
  const auto [roi, within] = divide(index, channels * area);
  const auto [channel, bin] = divide(within, area);
  return {roi, channel, static_cast<int>(bin) / bins.columns, static_cast<int>(bin) % bins.columns};
}

constexpr int kTileChannels = 32, kTileBins = 60;

// Some channels of some bins of one RoI, which one block pools. Threads side by side read channels that lie side by side, and
// write bins that lie side by side; shared memory turns one order into the other.
struct Tile {
  int64_t roi, channel, bin;  // of its first element
  int channels, bins;
};

// How the output is cut into tiles; those of a RoI have as equal numbers of bins as can be.
struct Tiles {
  int64_t channels, area;
  int64_t channel_pieces, bin_pieces, count;
  int piece_bins;

  Tiles(int64_t rois, int64_t channels, const Bins& bins)
      : channels(channels), area(static_cast<int64_t>(bins.rows) * bins.columns) {
    channel_pieces = (channels + kTileChannels - 1) / kTileChannels;
    bin_pieces = (area + kTileBins - 1) / kTileBins;
    piece_bins = static_cast<int>((area + bin_pieces - 1) / bin_pieces);
    count = rois * channel_pieces * bin_pieces;
  }

  __device__ Tile at(int64_t index) const {
    const auto [roi_and_channels, bin_piece] = divide(index, bin_pieces);
    const auto [roi, channel_piece] = divide(roi_and_channels, channel_pieces);
    const int64_t channel = channel_piece * kTileChannels, bin = bin_piece * piece_bins;
    return {roi, channel, bin, smaller(channels - channel, kTileChannels), smaller(area - bin, piece_bins)};
  }

  // Of [K, C, rows, columns]: the place of one of a tile's elements, which are counted bin by bin within a channel.
  __device__ int64_t offset(const Tile& tile, int channel, int bin) const {
    return (tile.roi * channels + tile.channel + channel) * area + tile.bin + bin;
  }

  __device__ static int smaller(int64_t left, int most) { return left < most ? static_cast<int>(left) : most; }
};

// As many values as one load brings.
template <typename T, int Count>
struct alignas(Count * sizeof(T)) Pack {
  T values[Count];
};

// The level of a RoI, or -1 for a RoI without a place: such a RoI must not lead to an address outside the maps.
template <typename T, typename A>
__device__ int level_of(const Pyramid<T>& pyramid, const A* roi, const int64_t* levels, int64_t k) {
  const int64_t level = levels == nullptr ? 0 : levels[k];
  const bool valid = level >= 0 && level < pyramid.num_levels && roi[0] >= A(0) &&
                     roi[0] < static_cast<A>(pyramid.images) && roi_is_finite(roi);
  return valid ? static_cast<int>(level) : -1;
}

// Calls visit(pixel, weight) for every pixel that the element's bin reads, with its share in the bin's average. A share of
// zero reads nothing, as on the CPU: infinity times zero would be NaN. Offset holds every offset within a map of one channel.
template <typename Offset, typename T, typename A, typename Visit>
__device__ void visit_pixels(const Level<T>& level, const A* roi, const Element& element, const Bins& bins,
                             const Visit& visit) {
  const A scale = static_cast<A>(level.scale);
  const RoiAxis<A> y_axis = roi_axis(roi[2], roi[4], scale, bins.rows, bins.sampling_ratio, bins.aligned);
  const RoiAxis<A> x_axis = roi_axis(roi[1], roi[3], scale, bins.columns, bins.sampling_ratio, bins.aligned);
  T* map = level.map + static_cast<int64_t>(roi[0]) * level.image_stride + element.channel * level.channel_stride;
  const auto row_stride = static_cast<Offset>(level.row_stride);
  const auto column_stride = static_cast<Offset>(level.column_stride);
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
    T* low_row = map + y.low * row_stride;
    T* high_row = map + y.high * row_stride;
    for (int j = 0; j < x_axis.samples; ++j) {
      const LinearSample<A> x = linear_sample(x_axis, element.column, j, level.width);
      if (!x.inside) {
        continue;
      }
      const Offset low = x.low * column_stride, high = x.high * column_stride;
      read(low_row + low, share * y.low_weight * x.low_weight);
      read(low_row + high, share * y.low_weight * x.high_weight);
      read(high_row + low, share * y.high_weight * x.low_weight);
      read(high_row + high, share * y.high_weight * x.high_weight);
    }
  }
}

template <typename T, typename Offset>
__global__ void __launch_bounds__(kThreads)
    pool_elements(Pyramid<const T> pyramid, const compute_t<T>* rois, const int64_t* levels, Bins bins, int64_t count,
                  T* output) {
  using A = compute_t<T>;
  const int64_t step = static_cast<int64_t>(gridDim.x) * blockDim.x;
  for (int64_t i = static_cast<int64_t>(blockIdx.x) * blockDim.x + threadIdx.x; i < count; i += step) {
    const Element element = element_of(i, pyramid.channels, bins);
    const A* roi = rois + 5 * element.roi;
    const int level = level_of(pyramid, roi, levels, element.roi);
    A sum = level < 0 ? std::numeric_limits<A>::quiet_NaN() : A(0);
    if (level >= 0) {
      visit_pixels<Offset>(pyramid.level[level], roi, element, bins,
                           [&sum](const T* pixel, A weight) { sum += weight * static_cast<A>(*pixel); });
    }
    output[i] = static_cast<T>(sum);
  }
}

// The channels of every pixel lie side by side and begin at a multiple of Count values.
template <typename T, typename Offset, int Count>
__global__ void __launch_bounds__(kThreads)
    pool_tiles(Pyramid<const T> pyramid, const compute_t<T>* rois, const int64_t* levels, Bins bins, Tiles tiles,
               T* output) {
  using A = compute_t<T>;
  constexpr int kLanes = kTileChannels / Count;
  __shared__ A results[kTileBins][kTileChannels + 1];  // the one more keeps columns in different banks
  const int channel = static_cast<int>(threadIdx.x) % kLanes * Count;
  for (int64_t index = blockIdx.x; index < tiles.count; index += gridDim.x) {
    const Tile tile = tiles.at(index);
    const A* roi = rois + 5 * tile.roi;
    const int level = level_of(pyramid, roi, levels, tile.roi);
    const int bins_here = channel < tile.channels ? tile.bins : 0;
    for (int b = static_cast<int>(threadIdx.x) / kLanes; b < bins_here; b += kThreads / kLanes) {
      A sums[Count];
      for (A& sum : sums) {
        sum = level < 0 ? std::numeric_limits<A>::quiet_NaN() : A(0);
      }
      if (level >= 0) {
        const int bin = static_cast<int>(tile.bin) + b;
        const Element first{tile.roi, tile.channel + channel, bin / bins.columns, bin % bins.columns};
        visit_pixels<Offset>(pyramid.level[level], roi, first, bins, [&sums](const T* pixel, A weight) {
          const auto pack = *reinterpret_cast<const Pack<T, Count>*>(pixel);
          for (int c = 0; c < Count; ++c) {
            sums[c] += weight * static_cast<A>(pack.values[c]);
          }
        });
      }
      for (int c = 0; c < Count; ++c) {
        results[b][channel + c] = sums[c];
      }
    }
    __syncthreads();
    for (int i = threadIdx.x; i < tile.channels * tile.bins; i += kThreads) {
      const int c = i / tile.bins, b = i % tile.bins;
      output[tiles.offset(tile, c, b)] = static_cast<T>(results[b][c]);
    }
    __syncthreads();
  }
}

template <typename T, typename Offset>
__global__ void __launch_bounds__(kThreads)
    scatter_elements(const T* grad, const compute_t<T>* rois, const int64_t* levels, Bins bins, int64_t count,
                     Pyramid<compute_t<T>> pyramid) {
  using A = compute_t<T>;
  const int64_t step = static_cast<int64_t>(gridDim.x) * blockDim.x;
  for (int64_t i = static_cast<int64_t>(blockIdx.x) * blockDim.x + threadIdx.x; i < count; i += step) {
    const Element element = element_of(i, pyramid.channels, bins);
    const A* roi = rois + 5 * element.roi;
    const int level = level_of(pyramid, roi, levels, element.roi);
    if (level >= 0) {
      const A value = static_cast<A>(grad[i]);
      visit_pixels<Offset>(pyramid.level[level], roi, element, bins,
                           [value](A* pixel, A weight) { atomicAdd(pixel, weight * value); });
    }
  }
}

// A warp adds to channels that lie side by side.
template <typename T, typename Offset>
__global__ void __launch_bounds__(kThreads)
    scatter_tiles(const T* grad, const compute_t<T>* rois, const int64_t* levels, Bins bins, Tiles tiles,
                  Pyramid<compute_t<T>> pyramid) {
  using A = compute_t<T>;
  __shared__ A values[kTileBins][kTileChannels + 1];
  const int channel = static_cast<int>(threadIdx.x) % kTileChannels;
  for (int64_t index = blockIdx.x; index < tiles.count; index += gridDim.x) {
    const Tile tile = tiles.at(index);
    const A* roi = rois + 5 * tile.roi;
    const int level = level_of(pyramid, roi, levels, tile.roi);
    for (int i = threadIdx.x; i < tile.channels * tile.bins; i += kThreads) {
      const int c = i / tile.bins, b = i % tile.bins;
      values[b][c] = static_cast<A>(grad[tiles.offset(tile, c, b)]);
    }
    __syncthreads();
    const int bins_here = level >= 0 && channel < tile.channels ? tile.bins : 0;
    for (int b = static_cast<int>(threadIdx.x) / kTileChannels; b < bins_here; b += kThreads / kTileChannels) {
      const int bin = static_cast<int>(tile.bin) + b;
      const Element element{tile.roi, tile.channel + channel, bin / bins.columns, bin % bins.columns};
      const A value = values[b][channel];
      visit_pixels<Offset>(pyramid.level[level], roi, element, bins,
                           [value](A* pixel, A weight) { atomicAdd(pixel, weight * value); });
    }
    __syncthreads();
  }
}

constexpr int64_t kShort = std::numeric_limits<int32_t>::max();

// Whether 32 bits hold every offset within a map of one channel.
template <typename T>
bool has_short_offsets(const Pyramid<T>& pyramid) {
  return std::all_of(pyramid.level, pyramid.level + pyramid.num_levels, [](const Level<T>& level) {
    return (level.height - 1) * level.row_stride + (level.width - 1) * level.column_stride <= kShort;
  });
}

template <typename T>
bool has_channels_last(const Pyramid<T>& pyramid) {
  return std::all_of(pyramid.level, pyramid.level + pyramid.num_levels,
                     [](const Level<T>& level) { return level.channel_stride == 1; });
}

// Whether `count` channels can be read at once wherever a multiple of `count` channels begins.
template <typename T>
bool has_packs_of(int count, const Pyramid<T>& pyramid) {
  const auto fits = [count](int64_t stride) { return stride % count == 0; };
  return fits(pyramid.channels) &&
         std::all_of(pyramid.level, pyramid.level + pyramid.num_levels, [&](const Level<T>& level) {
           return fits(level.image_stride) && fits(level.row_stride) && fits(level.column_stride) &&
                  reinterpret_cast<uintptr_t>(level.map) % (count * sizeof(T)) == 0;
         });
}

template <typename T, typename Offset>
void launch_pool(const Pyramid<const T>& pyramid, const RoiAlignOptions& options, const Bins& bins, Tensor& output) {
  constexpr int kPack = 16 / sizeof(T);
  const auto* rois = options.rois.template const_data_ptr<compute_t<T>>();
  const int64_t *levels = options.level_data(), count = output.numel();
  auto* pooled = output.template mutable_data_ptr<T>();
  const cudaStream_t stream = current_stream(output);
  if (!has_channels_last(pyramid)) {
    const unsigned blocks = blocks_for(count);
    pool_elements<T, Offset><<<blocks, kThreads, 0, stream>>>(pyramid, rois, levels, bins, count, pooled);
    STD_CUDA_KERNEL_LAUNCH_CHECK();
    return;
  }
  const Tiles tiles(options.num_rois(), pyramid.channels, bins);
  const unsigned blocks = blocks_of(tiles.count);
  if (has_packs_of(kPack, pyramid)) {
    pool_tiles<T, Offset, kPack><<<blocks, kThreads, 0, stream>>>(pyramid, rois, levels, bins, tiles, pooled);
  } else {
    pool_tiles<T, Offset, 1><<<blocks, kThreads, 0, stream>>>(pyramid, rois, levels, bins, tiles, pooled);
  }
  STD_CUDA_KERNEL_LAUNCH_CHECK();
}

template <typename T, typename Offset>
void launch_scatter(const Tensor& grad, const RoiAlignOptions& options, const Bins& bins,
                    const Pyramid<compute_t<T>>& pyramid) {
  const auto* rois = options.rois.template const_data_ptr<compute_t<T>>();
  const auto* values = grad.template const_data_ptr<T>();
  const int64_t *levels = options.level_data(), count = grad.numel();
  const cudaStream_t stream = current_stream(grad);
  if (has_channels_last(pyramid)) {
    const Tiles tiles(options.num_rois(), pyramid.channels, bins);
    const unsigned blocks = blocks_of(tiles.count);
    scatter_tiles<T, Offset><<<blocks, kThreads, 0, stream>>>(values, rois, levels, bins, tiles, pyramid);
  } else {
    const unsigned blocks = blocks_for(count);
    scatter_elements<T, Offset><<<blocks, kThreads, 0, stream>>>(values, rois, levels, bins, count, pyramid);
  }
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
    const Bins bins{options.bins_y, options.bins_x, options.sampling_ratio, options.aligned};
    dispatch_floating(output.scalar_type(), [&](auto zero) {
      using T = decltype(zero);
      const auto pyramid = describe<const T>(features, options.scales);
      has_short_offsets(pyramid) ? launch_pool<T, int32_t>(pyramid, options, bins, output)
                                 : launch_pool<T, int64_t>(pyramid, options, bins, output);
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
    const Bins bins{options.bins_y, options.bins_x, options.sampling_ratio, options.aligned};
    dispatch_floating(grad.scalar_type(), [&](auto zero) {
      using T = decltype(zero);
      const auto pyramid = describe<compute_t<T>>(sums, options.scales);
      has_short_offsets(pyramid) ? launch_scatter<T, int32_t>(dense, options, bins, pyramid)
                                 : launch_scatter<T, int64_t>(dense, options, bins, pyramid);
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
