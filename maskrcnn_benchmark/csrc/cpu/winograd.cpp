// The transforms of Winograd's minimal filtering F(4 x 4, 3 x 3) on the CPU; the products between them are matrix
// products (ops/winograd.py). A pixel is C consecutive numbers, and all arithmetic runs along them.

#include <algorithm>

#include "../common/checks.h"
#include "simd.h"

namespace maskrcnn {
namespace {

constexpr int kIn = 6, kOut = 4;  // numbers along a side of a tile, before and after; tiles of inputs overlap by two
constexpr int64_t kTilesPerThread = 4;

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
template <typename V, typename T>
MRB_INLINE V pixel(const T* map, const Grid& grid, int64_t y, int64_t x, int64_t c, bool is_new) {
  if (y < 0 || y >= grid.height || x < 0 || x >= grid.width) return V{};
  const T* place = map + (y * grid.width + x) * grid.channels + c;
  if (is_new && c * sizeof(T) % 64 == 0 && x + kOut < grid.width) MRB_PREFETCH(place + kOut * grid.channels);
  return load<V>(place);
}

template <typename T>
struct TransformInputs {
  // tiles: [36, T, C] with a step of `stride` between the 36, from tile `first` on; this call fills those from `begin` to
  // `end` after it.
  template <int Bytes>
  static MRB_INLINE void run(const T* pixels, const Grid* grid, int64_t first, int64_t begin, int64_t end,
                             int64_t stride, T* tiles) {
    for (int64_t index = begin; index < end; ++index) {
      const Place place = grid->place(first + index);
      const int64_t y0 = place.y - 1, x0 = place.x - 1;
      const T* map = pixels + place.map;
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

template <typename T>
struct TransformOutputs {
  template <int Bytes>
  static MRB_INLINE void run(const T* products, const T* bias, const Grid* grid, int64_t first, int64_t begin,
                             int64_t end, int64_t stride, T* pixels) {
    for (int64_t index = begin; index < end; ++index) {
      const Place place = grid->place(first + index);
      const int64_t y0 = place.y, x0 = place.x;
      T* map = pixels + place.map;
      const T* source = products + index * grid->channels;
      const int64_t height = std::min<int64_t>(kOut, grid->height - y0), width = std::min<int64_t>(kOut, grid->width - x0);
      along_channels<T, Bytes>(grid->channels, [&](auto zero, int64_t c) MRB_INLINE_LAMBDA {
        using V = decltype(zero);
        V values[kIn], lines[kIn * kOut], tile[kOut * kOut];
        for (int i = 0; i < kIn; ++i) {
          for (int j = 0; j < kIn; ++j) values[j] = load<V>(source + (i * kIn + j) * stride + c);
          transform<T>(kOutputTransform, values, 1, lines + i * kOut, 1);
        }
        for (int j = 0; j < kOut; ++j) transform<T>(kOutputTransform, lines + j, kOut, tile + j, kOut);
        const V shift = bias == nullptr ? zero : load<V>(bias + c);
        for (int64_t i = 0; i < height; ++i) {
          for (int64_t j = 0; j < width; ++j) {
            V value = tile[i * kOut + j];
            value += shift;
            store(map + ((y0 + i) * grid->width + x0 + j) * grid->channels + c, value);
          }
        }
      });
    }
  }
};

// The derivative of TransformOutputs: what gradients of the outputs are to the products.
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

// Checks what all transforms take: pixels [N, H, W, C] and numbers [36, T, C], dense but for the first step, of the tiles from
// first_tile on.
Grid check(const char* name, const Tensor& pixels, const Tensor& tiles, int64_t first_tile) {
  MRB_CHECK(pixels.dim() == 4 && pixels.is_contiguous(), name, ": pixels must be a contiguous [N, H, W, C], got ",
            shape_of(pixels));
  MRB_CHECK(pixels.scalar_type() == ScalarType::Float || pixels.scalar_type() == ScalarType::Double, name,
            ": pixels must be float32 or float64, got ", torch::headeronly::toString(pixels.scalar_type()));
  const Grid grid(pixels);
  MRB_CHECK(tiles.dim() == 3 && tiles.size(0) == kIn * kIn && tiles.size(2) == grid.channels &&
                tiles.scalar_type() == pixels.scalar_type(),
            name, ": tiles must be [36, T, C] with the pixels' channels and type, got ", shape_of(tiles));
  MRB_CHECK((tiles.stride(2) == 1 || tiles.size(2) == 1) && (tiles.stride(1) == tiles.size(2) || tiles.size(1) == 1) &&
                tiles.stride(0) >= tiles.size(1) * tiles.size(2),
            name, ": each of the 36 of the tiles must be contiguous, and none may overlap another");
  MRB_CHECK(first_tile >= 0 && first_tile + tiles.size(1) <= pixels.size(0) * grid.rows * grid.columns, name,
            ": the maps have ", pixels.size(0) * grid.rows * grid.columns, " tiles, got ", tiles.size(1), " from ",
            first_tile, " on");
  return grid;
}

template <typename Work>
void of_type(ScalarType dtype, const Work& work) {
  dtype == ScalarType::Double ? work(double{}) : work(float{});
}

template <template <typename> class Transform>
void to_tiles(const char* name, const Tensor& pixels, int64_t first_tile, Tensor& tiles) {
  const Grid grid = check(name, pixels, tiles, first_tile);
  of_type(pixels.scalar_type(), [&](auto zero) {
    using T = decltype(zero);
    const T* source = pixels.template const_data_ptr<T>();
    T* target = tiles.template mutable_data_ptr<T>();
    const int64_t stride = tiles.stride(0);
    torch::stable::parallel_for(0, tiles.size(1), kTilesPerThread, [&](int64_t begin, int64_t end) {
      run_vectorised<Transform<T>>(source, &grid, first_tile, begin, end, stride, target);
    });
  });
}

void inputs(const Tensor& pixels, int64_t first_tile, Tensor tiles) {
  to_tiles<TransformInputs>("winograd_inputs", pixels, first_tile, tiles);
}

void gradients(const Tensor& pixels, int64_t first_tile, Tensor tiles) {
  to_tiles<TransformGradients>("winograd_gradients", pixels, first_tile, tiles);
}

void outputs(const Tensor& products, const std::optional<Tensor>& bias, int64_t first_tile, Tensor pixels) {
  const Grid grid = check("winograd_outputs", pixels, products, first_tile);
  MRB_CHECK(!bias || (bias->dim() == 1 && bias->is_contiguous() && bias->size(0) == grid.channels &&
                      bias->scalar_type() == pixels.scalar_type()),
            "winograd_outputs: bias must be a contiguous [", grid.channels, "] of the pixels' type, got ",
            shape_of(*bias));
  of_type(pixels.scalar_type(), [&](auto zero) {
    using T = decltype(zero);
    const T* source = products.template const_data_ptr<T>();
    const T* shift = bias ? bias->template const_data_ptr<T>() : nullptr;
    T* target = pixels.template mutable_data_ptr<T>();
    const int64_t stride = products.stride(0);
    torch::stable::parallel_for(0, products.size(1), kTilesPerThread, [&](int64_t begin, int64_t end) {
      run_vectorised<TransformOutputs<T>>(source, shift, &grid, first_tile, begin, end, stride, target);
    });
  });
}

}  // namespace

STABLE_TORCH_LIBRARY_IMPL(maskrcnn_benchmark, CPU, m) {
  m.impl("winograd_inputs", TORCH_BOX(&inputs));
  m.impl("winograd_gradients", TORCH_BOX(&gradients));
  m.impl("winograd_outputs", TORCH_BOX(&outputs));
}

}  // namespace maskrcnn
