// Argument checks. A failed one reaches Python as a RuntimeError (what TORCH_CHECK raises) that names what was received.
#pragma once

#include <torch/csrc/stable/library.h>
#include <torch/csrc/stable/ops.h>
#include <torch/csrc/stable/tensor.h>
#include <torch/headeronly/core/ScalarType.h>
#include <torch/headeronly/util/BFloat16.h>
#include <torch/headeronly/util/Half.h>
#include <torch/headeronly/util/shim_utils.h>

#include <sstream>
#include <stdexcept>
#include <string>

namespace maskrcnn {

using torch::headeronly::ScalarType;
using torch::stable::Tensor;

template <typename... Parts>
std::string concatenate(const Parts&... parts) {
  std::ostringstream text;
  ((text << parts), ...);
  return text.str();
}

inline std::string shape_of(const Tensor& tensor) {
  std::ostringstream text;
  text << "[";
  for (int64_t dim = 0; dim < tensor.dim(); ++dim) {
    text << (dim == 0 ? "" : ", ") << tensor.size(dim);
  }
  text << "]";
  return text.str();
}

inline bool is_floating(const Tensor& tensor) {
  switch (tensor.scalar_type()) {
    case ScalarType::Float:
    case ScalarType::Double:
    case ScalarType::Half:
    case ScalarType::BFloat16:
      return true;
    default:
      return false;
  }
}

inline bool same_device(const Tensor& a, const Tensor& b) {
  return a.is_cuda() == b.is_cuda() && a.is_cpu() == b.is_cpu() && a.get_device_index() == b.get_device_index();
}

// Type in which the operators compute: float64 stays, every narrower type is widened to float32.
inline ScalarType compute_type(const Tensor& tensor) {
  return tensor.scalar_type() == ScalarType::Double ? ScalarType::Double : ScalarType::Float;
}

// Calls work(T{}) for the C++ type T of a tensor that passed MRB_CHECK_FLOATING.
template <typename Work>
void dispatch_floating(ScalarType dtype, const Work& work) {
  switch (dtype) {
    case ScalarType::Double:
      return work(double{});
    case ScalarType::Half:
      return work(c10::Half{});
    case ScalarType::BFloat16:
      return work(c10::BFloat16{});
    default:
      return work(float{});
  }
}

inline Tensor to_dense(const Tensor& tensor, ScalarType dtype) {
  return torch::stable::contiguous(torch::stable::to(tensor, dtype));
}

}  // namespace maskrcnn

#define MRB_CHECK(condition, ...)                                       \
  do {                                                                  \
    if (!(condition)) {                                                 \
      throw std::runtime_error(maskrcnn::concatenate(__VA_ARGS__)); \
    }                                                                   \
  } while (false)

#define MRB_CHECK_FLOATING(tensor, operator_name, name)                                                             \
  MRB_CHECK(maskrcnn::is_floating(tensor), operator_name, ": ", name, " must be float32, float64, float16 or "      \
            "bfloat16, got ", torch::headeronly::toString((tensor).scalar_type()))

#define MRB_CHECK_SAME_DEVICE(a, b, operator_name, names) \
  MRB_CHECK(maskrcnn::same_device(a, b), operator_name, ": ", names, " must be on the same device")
