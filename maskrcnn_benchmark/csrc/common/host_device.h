// What arithmetic that the C++ and the CUDA compiler both translate has in common.
#pragma once

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

}  // namespace maskrcnn
