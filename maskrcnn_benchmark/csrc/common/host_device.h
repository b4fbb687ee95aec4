// Marks arithmetic that the C++ and the CUDA compiler both translate.
#pragma once

#if defined(__CUDACC__)
#define MRB_HOST_DEVICE __host__ __device__ __forceinline__
#elif defined(__GNUC__)
#define MRB_HOST_DEVICE inline __attribute__((always_inline))
#else
#define MRB_HOST_DEVICE inline
#endif
