// Turning tiles [bins, channels], as the CPU kernels compute them, into output [channels, bins] and back.
#pragma once

#include <algorithm>
#include <cstdint>

namespace maskrcnn {

// target[c][r] = source[r][c], walked in squares so that both sides stay in the first-level cache.
template <typename From, typename To>
void transpose(const From* source, int64_t source_stride, int64_t rows, int64_t columns, To* target,
               int64_t target_stride) {
  constexpr int64_t square = 16;
  for (int64_t c0 = 0; c0 < columns; c0 += square) {
    const int64_t c1 = std::min(c0 + square, columns);
    for (int64_t r = 0; r < rows; ++r) {
      for (int64_t c = c0; c < c1; ++c) {
        target[c * target_stride + r] = static_cast<To>(source[r * source_stride + c]);
      }
    }
  }
}

}  // namespace maskrcnn
