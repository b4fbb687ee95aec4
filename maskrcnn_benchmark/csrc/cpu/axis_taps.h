// The bilinear samples of one RoI along one axis, merged: per bin, the pixels it reads and the weight of each.
//
// A bin's value is sum_y sum_x weight_y weight_x pixel[y][x]. Neighbouring samples share pixels, so merging them first
// leaves fewer products than visiting four pixels a sample (three rows instead of four at the usual two samples a bin,
// g + 1 instead of 2g where the number of samples adapts to the bin).
#pragma once

#include <cstdint>
#include <vector>

#include "../common/roi_geometry.h"

namespace maskrcnn {

template <typename T>
struct Tap {
  int64_t pixel;
  T weight;
};

template <typename T>
class AxisTaps {
 public:
  void build(const RoiAxis<T>& axis, int bins, int length) {
    taps_.clear();
    first_.assign(1, 0);
    const T share = T(1) / static_cast<T>(axis.samples > 0 ? axis.samples : 1);
    for (int bin = 0; bin < bins; ++bin) {
      for (int i = 0; i < axis.samples; ++i) {
        const LinearSample<T> sample = linear_sample(axis, bin, i, length);
        if (sample.inside) {
          add(sample.low, sample.low_weight * share);
          add(sample.high, sample.high_weight * share);
        }
      }
      first_.push_back(taps_.size());
    }
  }

  const Tap<T>* begin(int bin) const { return taps_.data() + first_[bin]; }
  const Tap<T>* end(int bin) const { return taps_.data() + first_[bin + 1]; }
  int64_t count(int bin) const { return static_cast<int64_t>(first_[bin + 1] - first_[bin]); }

 private:
  void add(int pixel, T weight) {
    if (weight == T(0)) {
      return;
    }
    // Samples advance along the axis, so a pixel seen before in this bin is one of the last two.
    const size_t start = first_.back();
    for (size_t back = 1; back <= 2 && taps_.size() >= start + back; ++back) {
      Tap<T>& tap = taps_[taps_.size() - back];
      if (tap.pixel == pixel) {
        tap.weight += weight;
        return;
      }
    }
    taps_.push_back({pixel, weight});
  }

  std::vector<Tap<T>> taps_;
  std::vector<size_t> first_;  // of each bin, and one past the last
};

}  // namespace maskrcnn
