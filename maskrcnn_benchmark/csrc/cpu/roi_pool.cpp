// roi_pool on the CPU. The map is read channels_last, so that a pixel is compared with the maxima so far along C
// consecutive numbers, in vectors and without a branch; the [bins, C] tiles are transposed into the output once. Maps of
// few channels, and maps of which the RoIs cover so little that turning them around costs more, are read plane by plane.

#include <limits>

#include "../common/roi_pool.h"
#include "parallel.h"
#include "rois_by_image.h"
#include "simd.h"
#include "transpose.h"

namespace maskrcnn {
namespace {

using torch::headeronly::MemoryFormat;

constexpr int64_t kFewChannels = 16;

// value, where: [channels], of one bin that is not empty. A NaN counts as larger than any number.
template <typename T>
struct MaximumOfBin {
  using A = compute_t<T>;

  template <int>
  MRB_INLINE static void run(const T* image, int64_t width, int64_t channels, PixelRange y, PixelRange x, A* value,
                             int32_t* where) {
    constexpr int64_t block = 64;
    for (int64_t start = 0; start < channels; start += block) {
      const int64_t size = std::min(block, channels - start);
      A best[block];
      int32_t place[block];
      for (int64_t c = 0; c < block; ++c) {
        best[c] = -std::numeric_limits<A>::infinity();
        place[c] = static_cast<int32_t>(y.begin * width + x.begin);
      }
      for (int64_t row = y.begin; row < y.end; ++row) {
        for (int64_t column = x.begin; column < x.end; ++column) {
          const auto here = static_cast<int32_t>(row * width + column);
          const T* pixel = image + (row * width + column) * channels + start;
          if (size == block) {
            take_larger(pixel, block, here, best, place);
          } else {
            take_larger(pixel, size, here, best, place);
          }
        }
      }
      std::copy_n(best, size, value + start);
      std::copy_n(place, size, where + start);
    }
  }

  MRB_INLINE static void take_larger(const T* pixel, int64_t count, int32_t here, A* best, int32_t* place) {
    for (int64_t c = 0; c < count; ++c) {
      const A candidate = widen(pixel[c]);
      const bool larger = (candidate > best[c]) | (candidate != candidate);
      best[c] = larger ? candidate : best[c];
      place[c] = larger ? here : place[c];
    }
  }
};

// map: [N, H, W, C]
template <typename T>
void pool_all(const Tensor& map, const Tensor& rois, double spatial_scale, Tensor& output, Tensor& argmax) {
  using A = compute_t<T>;
  const int64_t channels = output.size(1), bins_y = output.size(2), bins_x = output.size(3), bins = bins_y * bins_x;
  const int64_t height = map.size(2), width = map.size(3), count = rois.size(0);
  const T* pixels = map.const_data_ptr<T>();
  const A* boxes = rois.const_data_ptr<A>();
  const A scale = static_cast<A>(spatial_scale);
  T* maxima = output.mutable_data_ptr<T>();
  int32_t* places = argmax.mutable_data_ptr<int32_t>();
  share_out(count, 4, count, [&] {
    return [&, value = std::vector<A>(bins * channels), where = std::vector<int32_t>(bins * channels)](
               int64_t k) mutable {
      const A* roi = boxes + 5 * k;
      const T* image = pixels + static_cast<int64_t>(roi[0]) * height * width * channels;
      for (int64_t bin = 0; bin < bins; ++bin) {
        const PixelRange y = pooled_pixels(roi[2], roi[4], scale, static_cast<int>(bin / bins_x),
                                           static_cast<int>(bins_y), static_cast<int>(height));
        const PixelRange x = pooled_pixels(roi[1], roi[3], scale, static_cast<int>(bin % bins_x),
                                           static_cast<int>(bins_x), static_cast<int>(width));
        if (y.begin < y.end && x.begin < x.end) {
          run_vectorised<MaximumOfBin<T>>(image, width, channels, y, x, value.data() + bin * channels,
                                          where.data() + bin * channels);
        } else {
          std::fill_n(value.begin() + bin * channels, channels, A(0));
          std::fill_n(where.begin() + bin * channels, channels, -1);
        }
      }
      transpose(value.data(), channels, bins, channels, maxima + k * channels * bins, bins);
      transpose(where.data(), channels, bins, channels, places + k * channels * bins, bins);
    };
  });
}

// map: [N, C, H, W]
template <typename T>
void pool_planes(const Tensor& map, const Tensor& rois, double spatial_scale, Tensor& output, Tensor& argmax) {
  using A = compute_t<T>;
  const int64_t channels = output.size(1), bins_y = output.size(2), bins_x = output.size(3), bins = bins_y * bins_x;
  const int64_t height = map.size(2), width = map.size(3);
  const T* pixels = map.const_data_ptr<T>();
  const A* boxes = rois.const_data_ptr<A>();
  T* maxima = output.mutable_data_ptr<T>();
  int32_t* places = argmax.mutable_data_ptr<int32_t>();
  torch::stable::parallel_for(0, rois.size(0), std::max<int64_t>(512 / channels, 1), [&](int64_t begin, int64_t end) {
    std::vector<PixelRange> rows(bins_y), columns(bins_x);
    for (int64_t task = begin * channels; task < end * channels; ++task) {
      const A *roi = boxes + 5 * (task / channels), scale = static_cast<A>(spatial_scale);
      if (task % channels == 0) {
        for (int i = 0; i < bins_y; ++i) {
          rows[i] = pooled_pixels(roi[2], roi[4], scale, i, static_cast<int>(bins_y), static_cast<int>(height));
        }
        for (int i = 0; i < bins_x; ++i) {
          columns[i] = pooled_pixels(roi[1], roi[3], scale, i, static_cast<int>(bins_x), static_cast<int>(width));
        }
      }
      const T* plane = pixels + (static_cast<int64_t>(roi[0]) * channels + task % channels) * height * width;
      for (int64_t bin = 0; bin < bins; ++bin) {
        const PixelRange y = rows[bin / bins_x], x = columns[bin % bins_x];
        int64_t place = -1;
        A best = A(0);
        for (int64_t row = y.begin; row < y.end; ++row) {
          for (int64_t column = x.begin; column < x.end; ++column) {
            const A candidate = static_cast<A>(plane[row * width + column]);
            if (place < 0 || candidate > best || candidate != candidate) {
              best = candidate;
              place = row * width + column;
            }
          }
        }
        maxima[task * bins + bin] = static_cast<T>(best);
        places[task * bins + bin] = static_cast<int32_t>(place);
      }
    }
  });
}

// Whether the RoIs read fewer pixels of an [N, C, H, W] map than there are.
template <typename A>
bool covers_little(const Tensor& map, const Tensor& rois, double spatial_scale) {
  const A *boxes = rois.const_data_ptr<A>(), scale = static_cast<A>(spatial_scale);
  int64_t pixels = 0;
  for (int64_t k = 0; k < rois.size(0); ++k) {
    const A* roi = boxes + 5 * k;
    const PixelRange y = pooled_pixels(roi[2], roi[4], scale, 0, 1, static_cast<int>(map.size(2)));
    const PixelRange x = pooled_pixels(roi[1], roi[3], scale, 0, 1, static_cast<int>(map.size(3)));
    pixels += static_cast<int64_t>(std::max(y.end - y.begin, 0)) * std::max(x.end - x.begin, 0);
  }
  return pixels < map.size(0) * map.size(2) * map.size(3);
}

// Each task owns one channel of one image and adds all its RoIs in order: no atomics, the same sum each time.
template <typename T>
void scatter_all(const Tensor& grad, const Tensor& argmax, const Tensor& rois, Tensor& sums) {
  using A = compute_t<T>;
  const int64_t images = sums.size(0), channels = sums.size(1), area = sums.size(2) * sums.size(3);
  const int64_t bins = grad.size(2) * grad.size(3), count = rois.size(0);
  const A* boxes = rois.const_data_ptr<A>();
  const auto members = rois_by_image("roi_pool_backward", boxes, count, images);
  const T* values = grad.const_data_ptr<T>();
  const int32_t* places = argmax.const_data_ptr<int32_t>();
  A* planes = sums.mutable_data_ptr<A>();
  share_out(images * channels, 4, images * channels, [&] {
    return [&](int64_t task) {
      const int64_t image = task / channels, channel = task % channels;
      A* plane = planes + task * area;
      std::fill_n(plane, area, A(0));
      for (const int64_t k : members[image]) {
        const int64_t first = (k * channels + channel) * bins;
        for (int64_t i = first; i < first + bins; ++i) {
          if (places[i] >= 0 && places[i] < area) {
            plane[places[i]] += static_cast<A>(values[i]);
          }
        }
      }
    };
  });
}

std::tuple<Tensor, Tensor> forward(const Tensor& input, const Tensor& rois, double spatial_scale,
                                   const std::vector<int64_t>& output_size) {
  check_roi_pool(input, rois, output_size);
  const std::vector<int64_t> shape{rois.size(0), input.size(1), output_size[0], output_size[1]};
  Tensor output = torch::stable::new_empty(input, shape);
  Tensor argmax = torch::stable::new_empty(input, shape, ScalarType::Int);
  if (output.numel() > 0) {
    const Tensor boxes = to_dense(rois, compute_type(input));
    dispatch_floating(input.scalar_type(), [&](auto zero) {
      using T = decltype(zero);
      using A = compute_t<T>;
      rois_by_image("roi_pool", boxes.const_data_ptr<A>(), rois.size(0), input.size(0));  // the check
      const bool channels_last = input.stride(1) == 1 && input.size(1) > 1;
      if (input.size(1) < kFewChannels || (!channels_last && covers_little<A>(input, boxes, spatial_scale))) {
        pool_planes<T>(torch::stable::contiguous(input), boxes, spatial_scale, output, argmax);
      } else {
        pool_all<T>(torch::stable::contiguous(input, MemoryFormat::ChannelsLast), boxes, spatial_scale, output, argmax);
      }
    });
  }
  return {output, argmax};
}

Tensor backward(const Tensor& grad, const Tensor& argmax, const Tensor& rois, const std::vector<int64_t>& sizes) {
  check_roi_pool_gradient(grad, argmax, rois, sizes);
  Tensor sums = torch::stable::new_empty(grad, sizes, compute_type(grad));
  if (sums.numel() > 0) {
    const Tensor dense = torch::stable::contiguous(grad), places = torch::stable::contiguous(argmax);
    const Tensor boxes = to_dense(rois, compute_type(grad));
    dispatch_floating(grad.scalar_type(),
                      [&](auto zero) { scatter_all<decltype(zero)>(dense, places, boxes, sums); });
  }
  return torch::stable::to(sums, grad.scalar_type());
}

}  // namespace

STABLE_TORCH_LIBRARY_IMPL(maskrcnn_benchmark, CPU, m) {
  m.impl("roi_pool", TORCH_BOX(&forward));
  m.impl("roi_pool_backward", TORCH_BOX(&backward));
}

}  // namespace maskrcnn
