// sigmoid_focal_loss on CUDA: one thread per element.

#include "../common/focal_loss.h"
#include "launch.h"

namespace maskrcnn {
namespace {

template <typename T, bool Backward>
__global__ void __launch_bounds__(kThreads)
    focal_kernel(const T* logits, const T* grad, const int64_t* targets, int64_t count, int64_t classes,
                 compute_t<T> gamma, compute_t<T> alpha, T* result) {
  using A = compute_t<T>;
  const int64_t step = static_cast<int64_t>(gridDim.x) * blockDim.x;
  for (int64_t i = static_cast<int64_t>(blockIdx.x) * blockDim.x + threadIdx.x; i < count; i += step) {
    const auto [row, column] = divide(i, classes);
    const int64_t target = targets[row];
    A value = A(0);
    if (target >= 0) {
      const bool right = target == column + 1;
      const A sign = right ? A(1) : A(-1), weight = right ? alpha : A(1) - alpha;
      const A z = sign * static_cast<A>(logits[i]);
      if constexpr (Backward) {
        value = sign * focal_slope(z, weight, gamma) * static_cast<A>(grad[i]);
      } else {
        value = focal_loss(z, weight, gamma);
      }
    }
    result[i] = static_cast<T>(value);
  }
}

template <typename T, bool Backward>
void launch(const Tensor& logits, const Tensor& grad, const Tensor& targets, double gamma, double alpha,
            Tensor& result) {
  using A = compute_t<T>;
  focal_kernel<T, Backward><<<blocks_for(result.numel()), kThreads, 0, current_stream(result)>>>(
      logits.const_data_ptr<T>(), grad.const_data_ptr<T>(), targets.const_data_ptr<int64_t>(), result.numel(),
      logits.size(1), static_cast<A>(gamma), static_cast<A>(alpha), result.mutable_data_ptr<T>());
  STD_CUDA_KERNEL_LAUNCH_CHECK();
}

template <bool Backward>
Tensor elementwise(const Tensor& logits, const Tensor* grad, const Tensor& targets, double gamma, double alpha) {
  const torch::stable::accelerator::DeviceGuard guard(logits.get_device_index());
  const Tensor dense = torch::stable::contiguous(logits), classes = to_dense(targets, ScalarType::Long);
  Tensor result = torch::stable::new_empty(logits, std::vector<int64_t>{logits.size(0), logits.size(1)});
  if (result.numel() > 0) {
    const Tensor dense_grad = Backward ? to_dense(*grad, logits.scalar_type()) : dense;
    dispatch_floating(logits.scalar_type(), [&](auto zero) {
      launch<decltype(zero), Backward>(dense, dense_grad, classes, gamma, alpha, result);
    });
  }
  return result;
}

Tensor forward(const Tensor& logits, const Tensor& targets, double gamma, double alpha) {
  check_focal_loss(logits, targets, gamma);
  return elementwise<false>(logits, nullptr, targets, gamma, alpha);
}

Tensor backward(const Tensor& grad, const Tensor& logits, const Tensor& targets, double gamma, double alpha) {
  check_focal_loss(logits, targets, gamma);
  check_focal_gradient(grad, logits);
  return elementwise<true>(logits, &grad, targets, gamma, alpha);
}

}  // namespace

STABLE_TORCH_LIBRARY_IMPL(maskrcnn_benchmark, CUDA, m) {
  m.impl("sigmoid_focal_loss", TORCH_BOX(&forward));
  m.impl("sigmoid_focal_loss_backward", TORCH_BOX(&backward));
}

}  // namespace maskrcnn
