// How kernels are launched: on the current stream of the tensor's device, one thread per element, with an error check.
#pragma once

#include <cuda_runtime.h>
#include <torch/csrc/inductor/aoti_torch/c/shim.h>
#include <torch/csrc/stable/accelerator.h>
#include <torch/csrc/stable/macros.h>

#include <algorithm>

#include "../common/checks.h"

namespace maskrcnn {

constexpr int kThreads = 256;

inline cudaStream_t current_stream(const Tensor& tensor) {
  void* stream = nullptr;
  TORCH_ERROR_CODE_CHECK(aoti_torch_get_current_cuda_stream(tensor.get_device_index(), &stream));
  return static_cast<cudaStream_t>(stream);
}

// Blocks for a loop in which each block takes one of `count` pieces of work, then strides on.
inline unsigned blocks_of(int64_t count) { return static_cast<unsigned>(std::clamp<int64_t>(count, 1, 1 << 20)); }

// Blocks for a loop that strides over `count` elements, one for each thread.
inline unsigned blocks_for(int64_t count) { return blocks_of((count + kThreads - 1) / kThreads); }

}  // namespace maskrcnn
