// The transforms of Winograd's minimal filtering F(4 x 4, 3 x 3): maps to tiles and back. A pixel is C consecutive numbers, and
// all arithmetic runs along them.
#pragma once

#include <algorithm>
#include <cstdint>

#include "../common/checks.h"
#include "simd.h"

namespace maskrcnn {

constexpr int kIn = 6, kOut = 4;  // numbers along a side of a tile, before and after; tiles of inputs overlap by two
constexpr int kGroup = 64;        // outputs between two transforms: their products stay in the cache

// For the points 0, 1, -1, 2, -2 and infinity.
constexpr float kInputTransform[kIn][kIn] = {{4, 0, -5, 0, 1, 0},  {0, -4, -4, 1, 1, 0}, {0, 4, -4, -1, 1, 0},
                                             {0, -2, -1, 2, 1, 0}, {0, 2, -1, -2, 1, 0}, {0, 4, 0, -5, 0, 1}};
constexpr float kOutputTransform[kOut][kIn] = {
    {1, 1, 1, 1, 1, 0}, {0, 1, -1, 2, -2, 0}, {0, 1, 1, 4, 4, 0}, {0, 1, -1, 8, -8, 1}};
// That of the outputs, transposed.
constexpr float kGradientTransform[kIn][kOut] = {{1, 0, 0, 0},  {1, 1, 1, 1},   {1, -1, 1, -1},
                                                 {1, 2, 4, 8},  {1, -2, 4, -8}, {0, 0, 0, 1}};

// target[r] = sum_k matrix[r][k] source[k], unrolled, so that factors of 0 and 1 cost nothing.
template <typename T, typename V, int Rows, int Columns>
MRB_INLINE void transform(const float (&matrix)[Rows][Columns], const V* source, int source_stride, V* target,
                          int target_stride) {
#pragma GCC unroll 6
  for (int r = 0; r < Rows; ++r) {
    V total{};
#pragma GCC unroll 6
    for (int k = 0; k < Columns; ++k) {
      if (matrix[r][k] != 0) total += static_cast<T>(matrix[r][k]) * source[k * source_stride];
    }
    target[r * target_stride] = total;
  }
}

// Where a tile's outputs begin: in its map, and that map among the others.
struct Place {
  int64_t y, x, map;
};

// Maps [N, H, W, C] and the grid of their tiles.
struct Grid {
  int64_t height, width, channels, rows, columns;

  Place place(int64_t tile) const {
    const int64_t row = tile / columns;
    return {row % rows * kOut, tile % columns * kOut, row / rows * height * width * channels};
  }

  Grid(const Tensor& pixels)
      : height(pixels.size(1)), width(pixels.size(2)), channels(pixels.size(3)), rows((height + kOut - 1) / kOut),
        columns((width + kOut - 1) / kOut) {}
};

// Calls work(V{}, c) for vectors of channels and then for single ones.
template <typename T, int Bytes, typename Work>
MRB_INLINE void along_channels(int64_t channels, const Work& work) {
  int64_t c = 0;
  for (; c + kLanes<T, Bytes> <= channels; c += kLanes<T, Bytes>) work(lanes_t<T, Bytes>{}, c);
  for (; c < channels; ++c) work(T{}, c);
}

// Pixel (y, x) of a map from channel c on; zero outside of it. Where a line of the cache begins, that of the tile to the
// right is asked for too: the pixels of a tile are more streams than the processor follows by itself.
template <typename V, typename S>
MRB_INLINE V pixel(const S* map, const Grid& grid, int64_t y, int64_t x, int64_t c, bool is_new) {
  if (y < 0 || y >= grid.height || x < 0 || x >= grid.width) return V{};
  const S* place = map + (y * grid.width + x) * grid.channels + c;
  if (is_new && c * sizeof(S) % 64 == 0 && x + kOut < grid.width) MRB_PREFETCH(place + kOut * grid.channels);
  return load<V>(place);
}

template <typename T>
struct TransformInputs {
  // tiles: [36, T, C] with a step of `stride` between the 36, from tile `first` on; this call fills those from `begin` to
  // `end` after it. S: what a pixel is stored in.
  template <int Bytes, typename S>
  static MRB_INLINE void run(const S* pixels, const Grid* grid, int64_t first, int64_t begin, int64_t end,
                             int64_t stride, T* tiles) {
    for (int64_t index = begin; index < end; ++index) {
      const Place place = grid->place(first + index);
      const int64_t y0 = place.y - 1, x0 = place.x - 1;
      const S* map = pixels + place.map;
      T* target = tiles + index * grid->channels;
      along_channels<T, Bytes>(grid->channels, [&](auto zero, int64_t c) MRB_INLINE_LAMBDA {
        using V = decltype(zero);
        V values[kIn], lines[kIn * kIn], tile[kIn * kIn];
        for (int i = 0; i < kIn; ++i) {
          for (int j = 0; j < kIn; ++j) values[j] = pixel<V>(map, *grid, y0 + i, x0 + j, c, j >= kIn - kOut);
          transform<T>(kInputTransform, values, 1, lines + i * kIn, 1);
        }
        for (int j = 0; j < kIn; ++j) transform<T>(kInputTransform, lines + j, kIn, tile + j, kIn);
        for (int k = 0; k < kIn * kIn; ++k) store(target + k * stride + c, tile[k]);
      });
    }
  }
};

// Outputs of some of the channels, from products [36, T, kGroup] with a step of `stride` between the 36.
template <typename T, int Bytes, typename S>
MRB_INLINE void transform_outputs(const T* products, int64_t stride, const T* bias, const Grid& grid, int64_t first,
                                  int64_t count, int64_t first_channel, bool relu, S* pixels) {
  const int64_t channels = std::min<int64_t>(kGroup, grid.channels - first_channel);
  for (int64_t index = 0; index < count; ++index) {
    const Place place = grid.place(first + index);
    const int64_t y0 = place.y, x0 = place.x;
    S* map = pixels + place.map + first_channel;
    const T* source = products + index * kGroup;
    const int64_t height = std::min<int64_t>(kOut, grid.height - y0), width = std::min<int64_t>(kOut, grid.width - x0);
    along_channels<T, Bytes>(channels, [&](auto zero, int64_t c) MRB_INLINE_LAMBDA {
      using V = decltype(zero);
      V values[kIn], lines[kIn * kOut], tile[kOut * kOut];
      for (int i = 0; i < kIn; ++i) {
        for (int j = 0; j < kIn; ++j) values[j] = load<V>(source + (i * kIn + j) * stride + c);
        transform<T>(kOutputTransform, values, 1, lines + i * kOut, 1);
      }
      for (int j = 0; j < kOut; ++j) transform<T>(kOutputTransform, lines + j, kOut, tile + j, kOut);
      const V shift = bias == nullptr ? zero : load<V>(bias + first_channel + c);
      for (int64_t i = 0; i < height; ++i) {
        for (int64_t j = 0; j < width; ++j) {
          V value = tile[i * kOut + j];
          value += shift;
          if (relu) value = not_below_zero(value);
          store(map + ((y0 + i) * grid.width + x0 + j) * grid.channels + c, value);
        }
      }
    });
  }
}

// The derivative of transform_outputs: what gradients of the outputs are to the products.
template <typename T>
struct TransformGradients {
  template <int Bytes>
  static MRB_INLINE void run(const T* gradients, const Grid* grid, int64_t first, int64_t begin, int64_t end,
                             int64_t stride, T* tiles) {
    for (int64_t index = begin; index < end; ++index) {
      const Place place = grid->place(first + index);
      const int64_t y0 = place.y, x0 = place.x;
      const T* map = gradients + place.map;
      T* target = tiles + index * grid->channels;
      along_channels<T, Bytes>(grid->channels, [&](auto zero, int64_t c) MRB_INLINE_LAMBDA {
        using V = decltype(zero);
        V values[kOut], lines[kOut * kIn], tile[kIn * kIn];
        for (int i = 0; i < kOut; ++i) {
          for (int j = 0; j < kOut; ++j) values[j] = pixel<V>(map, *grid, y0 + i, x0 + j, c, true);
          transform<T>(kGradientTransform, values, 1, lines + i * kIn, 1);
        }
        for (int j = 0; j < kIn; ++j) transform<T>(kGradientTransform, lines + j, kIn, tile + j, kIn);
        for (int k = 0; k < kIn * kIn; ++k) store(target + k * stride + c, tile[k]);
      });
    }
  }
};

}  // namespace maskrcnn
