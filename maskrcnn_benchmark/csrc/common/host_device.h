// What arithmetic that the C++ and the CUDA compiler both translate has in common.
#pragma once

#include <cstdint>

#if defined(__CUDACC__)
#define MRB_HOST_DEVICE __host__ __device__ __forceinline__
#elif defined(__GNUC__)
#define MRB_HOST_DEVICE inline __attribute__((always_inline))
#else
#define MRB_HOST_DEVICE inline
#endif

namespace maskrcnn {

// The type that values of type T are added up in.
template <typename T>
struct ComputeType {
  using type = float;
};
template <>
struct ComputeType<double> {
  using type = double;
};
template <typename T>
using compute_t = typename ComputeType<T>::type;

struct Division {
  int64_t quotient, remainder;
};

// Of numbers that are not negative. A GPU divides 64-bit numbers some ten times as slowly as 32-bit ones, and nearly all are
// small.
MRB_HOST_DEVICE Division divide(int64_t value, int64_t by) {
  if ((value | by) >> 32 == 0) {
    const auto small = static_cast<uint32_t>(value), divisor = static_cast<uint32_t>(by), quotient = small / divisor;
    return {quotient, small - quotient * divisor};
  }
  const int64_t quotient = value / by;
  return {quotient, value - quotient * by};
}

}  // namespace maskrcnn
