// Sigmoid focal loss (Lin et al. 2017, arXiv:1708.02002, equation 5) of one logit, and what its entries check.
//
// With z = x for the class that is the target and z = -x for every other one, p = sigmoid(z):
//   loss = weight * (1 - p)^gamma * -log(p),   weight = alpha or 1 - alpha.
// Both logarithms are softplus functions, -log(p) = softplus(-z) and -log(1 - p) = softplus(z), so nothing overflows or
// cancels however large the logit.
#pragma once

#include <cmath>
#include <cstdint>
#include <cstring>
#include <type_traits>

#include "checks.h"
#include "host_device.h"

namespace maskrcnn {

// exp(x) for x <= 0, to a few units in the last place; 0 below the smallest normal number. Straight arithmetic, so that
// the compiler can run it on whole vectors: x = n ln 2 + r, and the series of exp(r) for |r| <= ln(2) / 2.
template <typename T>
MRB_HOST_DEVICE T exp_nonpositive(T x) {
#if defined(__CUDA_ARCH__)
  return exp(x);
#else
  constexpr bool wide = sizeof(T) == sizeof(double);
  using bits_t = std::conditional_t<wide, uint64_t, uint32_t>;
  constexpr int mantissa = wide ? 52 : 23, bias = wide ? 1023 : 127, terms = wide ? 13 : 7;
  constexpr T lowest = wide ? T(-708) : T(-87);
  // Adding 1.5 * 2^mantissa rounds to an integer, which then lies in the lowest bits of the sum.
  constexpr T magic = wide ? T(6755399441055744.0) : T(12582912.0);
  // ln 2 in two parts, the first with so few bits that n times it is exact.
  constexpr T ln2_high = T(0x1.62ep-1), ln2_low = T(0x1.0bfbe8e7bcd5ep-15);
  const T shifted = x * T(1.4426950408889634) + magic;
  const T n = shifted - magic;
  const T r = (x - n * ln2_high) - n * ln2_low;
  T sum = T(1);
  for (int k = terms; k > 0; --k) {
    sum = T(1) + sum * r * (T(1) / static_cast<T>(k));
  }
  bits_t bits;
  std::memcpy(&bits, &shifted, sizeof(bits));
  bits = (bits << mantissa) + (bits_t(bias) << mantissa);
  T power;
  std::memcpy(&power, &bits, sizeof(power));
  return x < lowest ? T(0) : sum * power;
#endif
}

// log(1 + e) for 0 <= e <= 1, by the series of 2 atanh(s) with s = e / (2 + e) <= 1/3.
template <typename T>
MRB_HOST_DEVICE T log1p_unit(T e) {
#if defined(__CUDA_ARCH__)
  return log1p(e);
#else
  constexpr int terms = sizeof(T) == sizeof(double) ? 15 : 7;
  const T s = e / (T(2) + e), square = s * s;
  T sum = T(0);
  for (int k = terms; k >= 0; --k) {
    sum = sum * square + T(1) / static_cast<T>(2 * k + 1);
  }
  return T(2) * s * sum;
#endif
}

template <typename T>
struct FocalTerms {
  T probability;   // p
  T complement;    // 1 - p, without cancellation
  T surprise;      // -log(p)
  T modulation;    // (1 - p)^gamma
};

template <typename T>
MRB_HOST_DEVICE FocalTerms<T> focal_terms(T z, T gamma) {
  const T e = exp_nonpositive(z < T(0) ? z : -z);
  const T log_term = log1p_unit(e), large = T(1) / (T(1) + e), small = e / (T(1) + e);
  const bool negative = z < T(0);
  return {negative ? small : large, negative ? large : small, log_term - (negative ? z : T(0)),
          exp_nonpositive(-gamma * (log_term + (negative ? T(0) : z)))};
}

template <typename T>
MRB_HOST_DEVICE T focal_loss(T z, T weight, T gamma) {
  const FocalTerms<T> terms = focal_terms(z, gamma);
  return weight * terms.modulation * terms.surprise;
}

// d loss / d z
template <typename T>
MRB_HOST_DEVICE T focal_slope(T z, T weight, T gamma) {
  const FocalTerms<T> terms = focal_terms(z, gamma);
  return -weight * terms.modulation * (gamma * terms.probability * terms.surprise + terms.complement);
}

inline void check_focal_loss(const Tensor& logits, const Tensor& targets, double gamma) {
  const char* op = "sigmoid_focal_loss";
  MRB_CHECK(logits.dim() == 2, op, ": logits must have shape [N, C], got ", shape_of(logits));
  MRB_CHECK_FLOATING(logits, op, "logits");
  const bool integer = targets.scalar_type() == ScalarType::Int || targets.scalar_type() == ScalarType::Long;
  MRB_CHECK(integer && targets.dim() == 1 && targets.size(0) == logits.size(0), op,
            ": targets must be int32 or int64 of shape [", logits.size(0), "], one per row of logits, got ",
            torch::headeronly::toString(targets.scalar_type()), " of shape ", shape_of(targets));
  MRB_CHECK_SAME_DEVICE(logits, targets, op, "logits and targets");
  MRB_CHECK(gamma >= 0, op, ": gamma must not be negative, got ", gamma);
}

inline void check_focal_gradient(const Tensor& grad, const Tensor& logits) {
  const char* op = "sigmoid_focal_loss_backward";
  MRB_CHECK(grad.dim() == 2 && grad.size(0) == logits.size(0) && grad.size(1) == logits.size(1), op,
            ": grad must have the shape of logits ", shape_of(logits), ", got ", shape_of(grad));
  MRB_CHECK_FLOATING(grad, op, "grad");
  MRB_CHECK_SAME_DEVICE(grad, logits, op, "grad and logits");
}

}  // namespace maskrcnn
