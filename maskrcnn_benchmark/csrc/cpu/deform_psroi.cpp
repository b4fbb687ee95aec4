// deform_psroi_pooling on the CPU.
//
// Maps are read as [N, H * W, groups^2, C], where C are the output's channels: what a bin reads of a pixel is then a run of
// consecutive numbers, whatever the groups.

#include <limits>

#include "parallel.h"
#include "psroi_bins.h"
#include "rois_by_image.h"
#include "simd.h"
#include "transpose.h"

namespace maskrcnn {
namespace {

// target[0 .. count) = share * sum of weight * pixel[0 .. count). stride: numbers from one pixel to the next.
template <typename T>
struct AverageBin {
  using A = compute_t<T>;

  template <int>
  MRB_INLINE static void run(const T* image, int64_t width, int64_t stride, int64_t count, const BinTaps<A>* y_taps,
                             const BinTaps<A>* x_taps, A share, A* target) {
    for (int64_t c = 0; c < count; ++c) {
      target[c] = A(0);
    }
    for (const BinTap<A>& y : y_taps->taps) {
      for (const BinTap<A>& x : x_taps->taps) {
        const T* pixel = image + (y.pixel * width + x.pixel) * stride;
        const A weight = share * y.weight * x.weight;
        for (int64_t c = 0; c < count; ++c) {
          target[c] += weight * widen(pixel[c]);
        }
      }
    }
  }
};

template <typename A>
struct ScatterBin {
  template <int>
  MRB_INLINE static void run(A* image, int64_t width, int64_t stride, int64_t count, const BinTaps<A>* y_taps,
                             const BinTaps<A>* x_taps, A share, const A* grad) {
    for (const BinTap<A>& y : y_taps->taps) {
      for (const BinTap<A>& x : x_taps->taps) {
        A* pixel = image + (y.pixel * width + x.pixel) * stride;
        const A weight = share * y.weight * x.weight;
        for (int64_t c = 0; c < count; ++c) {
          pixel[c] += weight * grad[c];
        }
      }
    }
  }
};

// slopes: how fast sum(grad * samples) changes with the horizontal and the vertical position of the bin.
template <typename T>
struct SlopeOfBin {
  using A = compute_t<T>;

  template <int Bytes>
  MRB_INLINE static void run(const T* image, int64_t width, int64_t stride, int64_t count, const BinTaps<A>* y_taps,
                             const BinTaps<A>* x_taps, const A* grad, A* slopes) {
    constexpr int64_t lanes = kLanes<A, Bytes>;
    for (const BinTap<A>& y : y_taps->taps) {
      for (const BinTap<A>& x : x_taps->taps) {
        const T* pixel = image + (y.pixel * width + x.pixel) * stride;
        A partial[lanes] = {}, product = A(0);
        int64_t c = 0;
        for (; c + lanes <= count; c += lanes) {
          for (int64_t lane = 0; lane < lanes; ++lane) {
            partial[lane] += grad[c + lane] * widen(pixel[c + lane]);
          }
        }
        for (; c < count; ++c) {
          product += grad[c] * widen(pixel[c]);
        }
        for (int64_t lane = 0; lane < lanes; ++lane) {
          product += partial[lane];
        }
        slopes[0] += y.weight * x.slope * product;
        slopes[1] += y.slope * x.weight * product;
      }
    }
  }
};

// [N, C * groups^2, H, W] to [N, H * W, groups^2, C], dense.
Tensor channels_inside(const Tensor& data, const PsroiSettings& s) {
  const std::vector<int64_t> shape{s.images, s.channels, static_cast<int64_t>(s.groups) * s.groups,
                                   static_cast<int64_t>(s.height) * s.width};
  return torch::stable::contiguous(torch::stable::transpose(torch::stable::reshape(data, shape), 1, 3));
}

template <typename T>
void pool_all(const Tensor& maps, const Tensor& rois, const Tensor& offset, const PsroiSettings& s, Tensor& output,
              Tensor& counts) {
  using A = compute_t<T>;
  const int64_t bins = static_cast<int64_t>(s.bins) * s.bins, stride = maps.size(2) * maps.size(3);
  const int64_t image_size = maps.size(1) * stride, run = s.channels_per_class(), width = s.width;
  const A *boxes = rois.const_data_ptr<A>(), *shifts = s.shifted ? offset.const_data_ptr<A>() : nullptr;
  rois_by_image("deform_psroi_pooling", boxes, rois.size(0), s.images);  // the check
  const T* pixels = maps.const_data_ptr<T>();
  T* result = output.mutable_data_ptr<T>();
  int32_t* samples = counts.mutable_data_ptr<int32_t>();
  share_out(rois.size(0), 1, rois.size(0), [&] {
    return [&, walk = BinWalk<A>(s, boxes, shifts), tile = std::vector<A>(bins * s.channels)](int64_t k) mutable {
      const T* image = pixels + static_cast<int64_t>(boxes[5 * k]) * image_size;
      walk(k, [&](int64_t category, int64_t bin, int64_t group, const BinTaps<A>& y, const BinTaps<A>& x,
                  const PsroiBin<A>& place) {
        const int count = y.inside * x.inside;
        samples[(k * s.classes + category) * bins + bin] = count;
        A* target = tile.data() + bin * s.channels + category * run;
        if (!place.finite()) {
          std::fill_n(target, run, std::numeric_limits<A>::quiet_NaN());
          return;
        }
        run_vectorised<AverageBin<T>>(image + group * s.channels + category * run, width, stride, run, &y, &x,
                                      count > 0 ? A(1) / static_cast<A>(count) : A(0), target);
      });
      transpose(tile.data(), s.channels, bins, s.channels, result + k * s.channels * bins, bins);
    };
  });
}

// grad: [K, bins^2, C]. Each task owns some channels of one image and adds its RoIs in order: the same sum each time.
template <typename A>
void scatter_all(const Tensor& grad, const Tensor& rois, const Tensor& offset, const PsroiSettings& s, Tensor& sums) {
  const int64_t bins = static_cast<int64_t>(s.bins) * s.bins, stride = sums.size(2) * sums.size(3);
  const int64_t image_size = sums.size(1) * stride, run = s.channels_per_class(), width = s.width;
  const A *boxes = rois.const_data_ptr<A>(), *shifts = s.shifted ? offset.const_data_ptr<A>() : nullptr;
  const A* values = grad.const_data_ptr<A>();
  A* target = sums.mutable_data_ptr<A>();
  const auto members = rois_by_image("deform_psroi_pooling_backward", boxes, rois.size(0), s.images);
  const int64_t wanted = (torch::stable::get_num_threads() + s.images - 1) / s.images;
  const int64_t line = 64 / sizeof(A);  // blocks of channels as long as they can be, in whole cache lines
  const int64_t block = std::max<int64_t>(line, ((s.channels + wanted - 1) / wanted + line - 1) / line * line);
  const int64_t blocks = (s.channels + block - 1) / block;
  share_out(s.images * blocks, 1, s.images * blocks, [&] {
    return [&, walk = BinWalk<A>(s, boxes, shifts)](int64_t task) mutable {
      const int64_t image = task / blocks, first = task % blocks * block, last = std::min(first + block, s.channels);
      for (const int64_t k : members[image]) {
        walk(k, [&](int64_t category, int64_t bin, int64_t group, const BinTaps<A>& y, const BinTaps<A>& x,
                    const PsroiBin<A>&) {
          const int64_t begin = std::max(first, category * run), end = std::min(last, (category + 1) * run);
          if (begin < end && y.inside * x.inside > 0) {
            run_vectorised<ScatterBin<A>>(target + image * image_size + group * s.channels + begin, width, stride,
                                          end - begin, &y, &x, A(1) / static_cast<A>(y.inside * x.inside),
                                          values + (k * bins + bin) * s.channels + begin);
          }
        });
      }
    };
  });
}

// Each task owns the offsets of one RoI; bins of the same part add to the same offset.
template <typename T>
void slopes_all(const Tensor& grad, const Tensor& maps, const Tensor& rois, const Tensor& offset,
                const PsroiSettings& s, Tensor& sums) {
  using A = compute_t<T>;
  const int64_t bins = static_cast<int64_t>(s.bins) * s.bins, stride = maps.size(2) * maps.size(3);
  const int64_t image_size = maps.size(1) * stride, run = s.channels_per_class(), width = s.width;
  const A *boxes = rois.const_data_ptr<A>(), *shifts = offset.const_data_ptr<A>();
  const A* values = grad.const_data_ptr<A>();
  const T* pixels = maps.const_data_ptr<T>();
  A* target = sums.mutable_data_ptr<A>();
  share_out(rois.size(0), 1, rois.size(0), [&] {
    return [&, walk = BinWalk<A>(s, boxes, shifts)](int64_t k) mutable {
      const T* image = pixels + static_cast<int64_t>(boxes[5 * k]) * image_size;
      walk(k, [&](int64_t category, int64_t bin, int64_t group, const BinTaps<A>& y, const BinTaps<A>& x,
                  const PsroiBin<A>& place) {
        const int count = y.inside * x.inside;
        if (count == 0) {
          return;
        }
        A slopes[2] = {};
        run_vectorised<SlopeOfBin<T>>(image + group * s.channels + category * run, width, stride, run, &y, &x,
                                      values + (k * bins + bin) * s.channels + category * run,
                                      static_cast<A*>(slopes));
        A* sum = target + s.offset_of(k, category, static_cast<int>(bin / s.bins), static_cast<int>(bin % s.bins));
        sum[0] += slopes[0] * place.unit_x / static_cast<A>(count);
        sum[s.parts * s.parts] += slopes[1] * place.unit_y / static_cast<A>(count);
      });
    };
  });
}

std::tuple<Tensor, Tensor> forward(const Tensor& data, const Tensor& rois, const Tensor& offset, double spatial_scale,
                                   int64_t out_size, int64_t out_channels, bool no_trans, int64_t group_size,
                                   int64_t part_size, int64_t sample_per_part, double trans_std) {
  const auto settings = psroi_settings(data, rois, offset, spatial_scale, out_size, out_channels, no_trans, group_size,
                                       part_size, sample_per_part, trans_std);
  Tensor output = torch::stable::new_empty(data, std::vector<int64_t>{rois.size(0), out_channels, out_size, out_size});
  Tensor counts = torch::stable::new_zeros(
      data, std::vector<int64_t>{rois.size(0), settings.classes, out_size, out_size}, ScalarType::Int);
  if (output.numel() > 0) {
    const Tensor maps = channels_inside(data, settings), boxes = to_dense(rois, compute_type(data));
    const Tensor shifts = settings.shifted ? to_dense(offset, compute_type(data)) : boxes;
    dispatch_floating(data.scalar_type(),
                      [&](auto zero) { pool_all<decltype(zero)>(maps, boxes, shifts, settings, output, counts); });
  }
  return {output, counts};
}

std::tuple<Tensor, Tensor> backward(const Tensor& grad, const Tensor& data, const Tensor& rois, const Tensor& offset,
                                    const Tensor& count, double spatial_scale, int64_t out_size, int64_t out_channels,
                                    bool no_trans, int64_t group_size, int64_t part_size, int64_t sample_per_part,
                                    double trans_std) {
  const auto s = psroi_settings(data, rois, offset, spatial_scale, out_size, out_channels, no_trans, group_size,
                                part_size, sample_per_part, trans_std);
  check_psroi_gradient(grad, count, rois, s);
  const ScalarType dtype = compute_type(data);
  const int64_t area = static_cast<int64_t>(s.height) * s.width, groups = group_size * group_size;
  Tensor sums = torch::stable::new_zeros(data, std::vector<int64_t>{s.images, area, groups, out_channels}, dtype);
  Tensor offset_sums = torch::stable::new_zeros(offset, offset.sizes(), dtype);
  if (grad.numel() > 0) {
    const std::vector<int64_t> flat{rois.size(0), out_channels, out_size * out_size};
    const Tensor tiles = to_dense(torch::stable::transpose(torch::stable::reshape(grad, flat), 1, 2), dtype);
    const Tensor maps = channels_inside(data, s), boxes = to_dense(rois, dtype);
    const Tensor shifts = s.shifted ? to_dense(offset, dtype) : boxes;
    dispatch_floating(data.scalar_type(), [&](auto zero) {
      using T = decltype(zero);
      scatter_all<compute_t<T>>(tiles, boxes, shifts, s, sums);
      if (s.shifted) {
        slopes_all<T>(tiles, maps, boxes, shifts, s, offset_sums);
      }
    });
  }
  const Tensor planes = torch::stable::reshape(torch::stable::transpose(sums, 1, 3), data.sizes());
  return {to_dense(planes, data.scalar_type()), torch::stable::to(offset_sums, offset.scalar_type())};
}

}  // namespace

STABLE_TORCH_LIBRARY_IMPL(maskrcnn_benchmark, CPU, m) {
  m.impl("deform_psroi_pooling", TORCH_BOX(&forward));
  m.impl("deform_psroi_pooling_backward", TORCH_BOX(&backward));
}

}  // namespace maskrcnn
