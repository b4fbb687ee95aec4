// Intersection over union of boxes whose corners are inclusive pixels.
#pragma once

#include "host_device.h"

namespace maskrcnn {

// A box from x1 to x2 covers x2 - x1 + 1 pixels. The same 1 as in maskrcnn_benchmark.structures.
constexpr int kInclusivePixel = 1;

// Multiplications whose result must not be fused into a following addition, so that a pair of boxes right at the
// threshold is decided alike by every processor. (The C++ side is compiled without contraction, see cpu/nms.cpp.)
template <typename T>
MRB_HOST_DEVICE T product(T a, T b) {
#if defined(__CUDA_ARCH__)
  if constexpr (sizeof(T) == sizeof(float)) {
    return __fmul_rn(a, b);
  } else {
    return __dmul_rn(a, b);
  }
#else
  return a * b;
#endif
}

template <typename T>
MRB_HOST_DEVICE T box_area(T x1, T y1, T x2, T y2) {
  return product(x2 - x1 + T(kInclusivePixel), y2 - y1 + T(kInclusivePixel));
}

template <typename T>
MRB_HOST_DEVICE T box_iou(T ax1, T ay1, T ax2, T ay2, T a_area, T bx1, T by1, T bx2, T by2, T b_area) {
  const T left = ax1 > bx1 ? ax1 : bx1, top = ay1 > by1 ? ay1 : by1;
  const T right = ax2 < bx2 ? ax2 : bx2, bottom = ay2 < by2 ? ay2 : by2;
  T width = right - left + T(kInclusivePixel), height = bottom - top + T(kInclusivePixel);
  width = width > T(0) ? width : T(0);
  height = height > T(0) ? height : T(0);
  const T intersection = product(width, height);
  return intersection / (a_area + b_area - intersection);
}

}  // namespace maskrcnn
