// Winograd's minimal filtering F(4 x 4, 3 x 3) on the CPU: tiles are transformed, multiplied with the weights and transformed
// back in a thread's cache.

#include <algorithm>
#include <optional>
#include <vector>

#include "../common/checks.h"
#include "parallel.h"
#include "simd.h"
#include "winograd_transforms.h"

namespace maskrcnn {
namespace {

constexpr int64_t kTilesPerThread = 4;
constexpr int64_t kTiles = 72;  // that a thread transforms and multiplies at a time
constexpr int64_t kPart = 10;   // tiles that take as long as reading all weights for some of them
constexpr int kPanel = 16;      // outputs whose weights lie together
constexpr int kDepth = 128;     // inputs that are summed at a time: less rounding than of all in one sum
constexpr int kRoom = 12;       // tiles are taken in multiples of this
// Registers for sums: of 16, or of 32 on aarch64 and with AVX-512.
#if defined(__aarch64__)
template <int Bytes>
constexpr int kSums = 24;
#else
template <int Bytes>
constexpr int kSums = Bytes == 64 ? 24 : 12;
#endif

// target: [Rows, Panels * kPanel of kGroup] = rows: [Rows, depth of row_step] times as many panels: [depth, kPanel], at steps of
// panel_step, or added to what is there.
template <typename T, int Bytes, int Rows, int Panels>
MRB_INLINE void multiply(const T* rows, int64_t row_step, const T* panel, int64_t panel_step, int64_t depth,
                         bool is_added, T* target) {
  using V = lanes_t<T, Bytes>;
  constexpr int kOfPanel = kPanel / kLanes<T, Bytes>, kVectors = Panels * kOfPanel;
  V totals[Rows][kVectors] = {};
  for (int64_t k = 0; k < depth; ++k) {
    V factors[kVectors];
#pragma GCC unroll 8
    for (int v = 0; v < kVectors; ++v) {
      factors[v] = load<V>(panel + v / kOfPanel * panel_step + k * kPanel + v % kOfPanel * kLanes<T, Bytes>);
    }
#pragma GCC unroll 24
    for (int r = 0; r < Rows; ++r) {
#pragma GCC unroll 8
      for (int v = 0; v < kVectors; ++v) totals[r][v] += rows[r * row_step + k] * factors[v];
    }
  }
#pragma GCC unroll 24
  for (int r = 0; r < Rows; ++r) {
#pragma GCC unroll 8
    for (int v = 0; v < kVectors; ++v) {
      T* place = target + r * kGroup + v * kLanes<T, Bytes>;
      if (is_added) totals[r][v] += load<V>(place);
      store(place, totals[r][v]);
    }
  }
}

// Asks for part `index` of `parts` of what lies at `begin`: the last of them have asked for all of it.
template <typename T>
MRB_INLINE void prefetch_part(const T* begin, int64_t size, int64_t index, int64_t parts) {
  const int64_t end = size * (index + 1) / parts;
  for (int64_t i = size * index / parts; i < end; i += 64 / sizeof(T)) MRB_PREFETCH_L2(begin + i);
}

template <typename T, typename S>
struct Filter {
  const S* pixels;
  const T *weight, *bias;  // weight: [36, panels, C, kPanel]
  S* result;
  Grid from, to;
  int64_t panels;
  bool relu;
};

template <typename T, typename S>
struct FilterTiles {
  // `count` tiles from tile `first` on. `tiles` and `products` have room for the 36 of each, at steps of `tile_stride` and
  // `product_stride`, and for a multiple of kRoom tiles.
  template <int Bytes>
  static MRB_INLINE void run(const Filter<T, S>* filter, int64_t first, int64_t count, T* tiles, int64_t tile_stride,
                             T* products, int64_t product_stride) {
    constexpr int kVectors = kPanel / kLanes<T, Bytes>;
    constexpr int kTogether = kVectors * 2 * kRoom <= kSums<Bytes> ? 2 : 1;  // panels that share the loads of the tiles
    constexpr int kRows = std::max(std::min(kSums<Bytes> / (kVectors * kTogether), kRoom), 1);
    constexpr int kPanels = kGroup / kPanel;
    const int64_t depth = filter->from.channels, size = depth * kPanel;
    const int64_t steps = (depth + kDepth - 1) / kDepth * ((count + kRows - 1) / kRows);
    TransformInputs<T>::template run<Bytes, S>(filter->pixels, &filter->from, first, 0, count, tile_stride, tiles);
    for (int64_t group = 0; group < filter->panels; group += kPanels) {
      const int64_t end = std::min<int64_t>(group + kPanels, filter->panels);
      for (int k = 0; k < kIn * kIn; ++k) {
        const T *rows = tiles + k * tile_stride, *panels = filter->weight + k * filter->panels * size;
        const T* next_rows = k + 1 < kIn * kIn ? rows + tile_stride : nullptr;
        const auto times = [&](auto together, int64_t p) MRB_INLINE_LAMBDA {
          constexpr int kNow = decltype(together)::value;
          const T* panel = panels + p * size;
          const T* next_panel =
              p + kNow < end ? panel + kNow * size : next_rows ? panels + (filter->panels + group) * size : nullptr;
          T* target = products + k * product_stride + (p - group) * kPanel;
          int64_t step = 0;
          for (int64_t d = 0; d < depth; d += kDepth) {
            for (int64_t row = 0; row < count; row += kRows, ++step) {
              // What comes next lies too far apart for the processor to foresee it.
              if (next_panel) prefetch_part(next_panel, kNow * size, step, steps);
              if (next_rows) {
                prefetch_part(next_rows, count * depth, (p - group) * steps + kNow * step, kPanels * steps);
              }
              multiply<T, Bytes, kRows, kNow>(rows + row * depth + d, depth, panel + d * kPanel, size,
                                              std::min<int64_t>(kDepth, depth - d), d > 0, target + row * kGroup);
            }
          }
        };
        int64_t p = group;
        for (; p + kTogether <= end; p += kTogether) times(std::integral_constant<int, kTogether>{}, p);
        for (; p < end; ++p) times(std::integral_constant<int, 1>{}, p);
      }
      transform_outputs<T, Bytes>(products, product_stride, filter->bias, filter->to, first, count, group * kPanel,
                                  filter->relu, filter->result);
    }
  }
};

void check_pixels(const char* name, const Tensor& pixels) {
  MRB_CHECK(pixels.dim() == 4 && pixels.is_contiguous(), name, ": pixels must be a contiguous [N, H, W, C], got ",
            shape_of(pixels));
}

// Calls work(T{}, S{}): what is computed in, and what maps are stored in.
template <typename Work>
void of_type(const char* name, ScalarType dtype, bool is_narrow_allowed, const Work& work) {
  if (dtype == ScalarType::Double) return work(double{}, double{});
  if (dtype == ScalarType::Float) return work(float{}, float{});
  if (is_narrow_allowed && dtype == ScalarType::BFloat16) return work(float{}, c10::BFloat16{});
  if (is_narrow_allowed && dtype == ScalarType::Half) return work(float{}, c10::Half{});
  MRB_CHECK(false, name, ": pixels must be float32 or float64", is_narrow_allowed ? " or of 16 bits" : "", ", got ",
            torch::headeronly::toString(dtype));
}

// Checks what the transforms take: pixels [N, H, W, C] and numbers [36, T, C], dense but for the first step, of the tiles from
// first_tile on.
Grid check(const char* name, const Tensor& pixels, const Tensor& tiles, int64_t first_tile) {
  check_pixels(name, pixels);
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

template <template <typename> class Transform>
void to_tiles(const char* name, const Tensor& pixels, int64_t first_tile, Tensor& tiles) {
  const Grid grid = check(name, pixels, tiles, first_tile);
  of_type(name, pixels.scalar_type(), false, [&](auto zero, auto) {
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

// At most kTiles, and a multiple of kRoom: so many tiles that the thread with most of them has as few as possible.
int64_t tiles_at_a_time(int64_t count) {
  const int64_t threads = torch::stable::get_num_threads();
  int64_t best = kTiles, least = INT64_MAX;
  for (int64_t size = kTiles; size > 0; size -= kRoom) {
    const int64_t parts = (count + size - 1) / size, rounds = (parts + threads - 1) / threads;
    const int64_t last = parts % threads == 1 || threads == 1 ? count - (parts - 1) * size : size;  // of the last round
    const int64_t most = (rounds - 1) * size + (last + kRoom - 1) / kRoom * kRoom + rounds * kPart;
    if (most < least) best = size, least = most;
  }
  return best;
}

void filter(const Tensor& pixels, const Tensor& weight, const std::optional<Tensor>& bias, bool relu, Tensor result) {
  check_pixels("winograd_filter", pixels);
  check_pixels("winograd_filter", result);
  const Grid from(pixels), to(result);
  const auto dtype = pixels.scalar_type(), wide = dtype == ScalarType::Double ? dtype : ScalarType::Float;
  const int64_t panels = (to.channels + kPanel - 1) / kPanel;
  MRB_CHECK(result.scalar_type() == dtype && result.size(0) == pixels.size(0) && to.height == from.height &&
                to.width == from.width,
            "winograd_filter: the result must have the size and type of the pixels, got ", shape_of(result), " for ",
            shape_of(pixels));
  MRB_CHECK(weight.dim() == 4 && weight.is_contiguous() && weight.size(0) == kIn * kIn && weight.size(1) == panels &&
                weight.size(2) == from.channels && weight.size(3) == kPanel && weight.scalar_type() == wide,
            "winograd_filter: weight must be a contiguous [36, ", panels, ", ", from.channels,
            ", 16] of the pixels' type (float32 for 16 bits), got ", shape_of(weight));
  MRB_CHECK(!bias || (bias->dim() == 1 && bias->is_contiguous() && bias->size(0) == to.channels &&
                      bias->scalar_type() == wide),
            "winograd_filter: bias must be a contiguous [", to.channels, "] of the pixels' type (float32 for 16 bits), got ",
            shape_of(*bias));
  const int64_t count = pixels.size(0) * to.rows * to.columns, size = tiles_at_a_time(count);
  of_type("winograd_filter", dtype, true, [&](auto zero, auto stored) {
    using T = decltype(zero);
    using S = decltype(stored);
    const Filter<T, S> job{pixels.template const_data_ptr<S>(), weight.template const_data_ptr<T>(),
                           bias ? bias->template const_data_ptr<T>() : nullptr, result.template mutable_data_ptr<S>(),
                           from, to, panels, relu};
    // One line of the cache lies between the 36: at steps of a power of two all of a tile's numbers would have to share the
    // few places in the cache that such addresses have.
    const int64_t tile_stride = size * from.channels + 64 / sizeof(T), product_stride = size * kGroup + 64 / sizeof(T);
    share_out((count + size - 1) / size, 1, count, [&] {
      // Zeros, so that rows without a tile are numbers.
      return [&, tiles = std::vector<T>(kIn * kIn * tile_stride),
              products = std::vector<T>(kIn * kIn * product_stride)](int64_t part) mutable {
        run_vectorised<FilterTiles<T, S>>(&job, part * size, std::min(size, count - part * size), tiles.data(), tile_stride,
                                       products.data(), product_stride);
      };
    });
  });
}

}  // namespace

STABLE_TORCH_LIBRARY_IMPL(maskrcnn_benchmark, CPU, m) {
  m.impl("winograd_inputs", TORCH_BOX(&inputs));
  m.impl("winograd_gradients", TORCH_BOX(&gradients));
  m.impl("winograd_filter", TORCH_BOX(&filter));
}

}  // namespace maskrcnn
