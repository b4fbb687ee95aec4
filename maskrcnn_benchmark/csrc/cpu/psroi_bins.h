// The bins of deformable position-sensitive RoIs as the CPU visits them, and the pixels that each reads.
//
// A bin's samples form a grid, so its weights are products of one vertical and one horizontal weight, and samples that
// share pixels are merged along each axis first.
#pragma once

#include <cstdint>
#include <vector>

#include "../common/deform_psroi.h"

namespace maskrcnn {

template <typename A>
struct BinTap {
  int64_t pixel;
  A weight;  // the sum over samples
  A slope;   // the derivative of the weight by the samples' position
};

// The samples of one bin along one axis, merged by pixel.
template <typename A>
struct BinTaps {
  std::vector<BinTap<A>> taps;
  int inside;  // samples on the map

  void build(A start, A step, int samples, int length) {
    taps.clear();
    inside = 0;
    for (int i = 0; i < samples; ++i) {
      const PsroiSample<A> sample = psroi_sample(start + static_cast<A>(i) * step, length);
      if (sample.inside) {
        const bool between = sample.high != sample.low;
        add(sample.low, A(1) - sample.fraction, between ? A(-1) : A(0));
        if (between) {
          add(sample.high, sample.fraction, A(1));
        }
        ++inside;
      }
    }
  }

  void add(int pixel, A weight, A slope) {
    // Samples advance along the axis, so a pixel seen before is one of the last two.
    for (size_t back = 1; back <= 2 && back <= taps.size(); ++back) {
      BinTap<A>& tap = taps[taps.size() - back];
      if (tap.pixel == pixel) {
        tap.weight += weight;
        tap.slope += slope;
        return;
      }
    }
    taps.push_back({pixel, weight, slope});
  }
};

// Calls visit(category, bin, group, taps_y, taps_x, PsroiBin) for every bin of RoI k.
template <typename A>
class BinWalk {
 public:
  BinWalk(const PsroiSettings& settings, const A* rois, const A* offset)
      : settings_(settings), rois_(rois), offset_(offset) {}

  template <typename Visit>
  void operator()(int64_t k, const Visit& visit) {
    const PsroiSettings& s = settings_;
    for (int64_t category = 0; category < s.classes; ++category) {
      for (int row = 0; row < s.bins; ++row) {
        for (int column = 0; column < s.bins; ++column) {
          const A* shift = s.shifted ? offset_ + s.offset_of(k, category, row, column) : nullptr;
          const PsroiBin<A> bin = psroi_bin(s, rois_ + 5 * k, shift, row, column);
          y_.build(bin.y, bin.step_y, s.samples, s.height);
          x_.build(bin.x, bin.step_x, s.samples, s.width);
          const int64_t group = static_cast<int64_t>(s.group_of(row)) * s.groups + s.group_of(column);
          visit(category, static_cast<int64_t>(row) * s.bins + column, group, y_, x_, bin);
        }
      }
    }
  }

 private:
  const PsroiSettings settings_;
  const A* rois_;
  const A* offset_;
  BinTaps<A> y_, x_;
};

}  // namespace maskrcnn
