// sigmoid_focal_loss on the CPU: a sign per element says whether its class is the target, so that vectors need not care
// where a row ends; ignored rows are cleared afterwards.

#include <algorithm>
#include <vector>

#include "../common/focal_loss.h"
#include "parallel.h"
#include "simd.h"

namespace maskrcnn {
namespace {

constexpr int64_t kBlock = 256;           // elements at a time on the stack
constexpr int64_t kElementsPerTask = 4096;

template <typename A>
struct FocalSettings {
  A right;  // weight of the target class
  A wrong;
  A gamma;
};

// sign[i]: 1 where the class is the target, -1 elsewhere. result[i]: the loss or, backward, grad[i] times its derivative.
template <typename T, bool Backward>
struct FocalElements {
  using A = compute_t<T>;

  template <int>
  MRB_INLINE static void run(const T* logits, const T* grad, const A* sign, int64_t count, FocalSettings<A> settings,
                             T* result) {
    A value[kBlock];
    for (int64_t start = 0; start < count; start += kBlock) {
      const int64_t size = std::min(kBlock, count - start);
      for (int64_t i = 0; i < size; ++i) {
        const A s = sign[start + i], z = s * widen(logits[start + i]);
        const A weight = s > A(0) ? settings.right : settings.wrong;
        if constexpr (Backward) {
          value[i] = s * focal_slope(z, weight, settings.gamma) * widen(grad[start + i]);
        } else {
          value[i] = focal_loss(z, weight, settings.gamma);
        }
      }
      for (int64_t i = 0; i < size; ++i) {
        result[start + i] = static_cast<T>(value[i]);
      }
    }
  }
};

template <typename T, bool Backward>
void fill_rows(const T* logits, const T* grad, const int64_t* targets, int64_t rows, int64_t classes, double gamma,
               double alpha, T* result) {
  using A = compute_t<T>;
  const FocalSettings<A> settings{static_cast<A>(alpha), static_cast<A>(1 - alpha), static_cast<A>(gamma)};
  const int64_t portion = std::max<int64_t>(kElementsPerTask / classes, 1);
  const int64_t portions = (rows + portion - 1) / portion;
  torch::stable::parallel_for(0, portions, 4, [&](int64_t begin, int64_t end) {
    std::vector<A> sign(portion * classes);
    for (int64_t task = begin; task < end; ++task) {
      const int64_t first = task * portion, count = std::min(portion, rows - first), start = first * classes;
      std::fill(sign.begin(), sign.end(), A(-1));
      for (int64_t row = 0; row < count; ++row) {
        const int64_t target = targets[first + row];
        if (target >= 1 && target <= classes) {
          sign[row * classes + target - 1] = A(1);
        }
      }
      run_vectorised<FocalElements<T, Backward>>(logits + start, grad + start, static_cast<const A*>(sign.data()),
                                                 count * classes, settings, result + start);
      for (int64_t row = 0; row < count; ++row) {
        if (targets[first + row] < 0) {
          std::fill_n(result + start + row * classes, classes, static_cast<T>(0.0f));
        }
      }
    }
  });
}

template <bool Backward>
Tensor elementwise(const Tensor& logits, const Tensor* grad, const Tensor& targets, double gamma, double alpha) {
  const Tensor dense = torch::stable::contiguous(logits), classes = to_dense(targets, ScalarType::Long);
  Tensor result = torch::stable::new_empty(logits, std::vector<int64_t>{logits.size(0), logits.size(1)});
  if (result.numel() > 0) {
    const Tensor dense_grad = Backward ? to_dense(*grad, logits.scalar_type()) : dense;
    dispatch_floating(logits.scalar_type(), [&](auto zero) {
      using T = decltype(zero);
      fill_rows<T, Backward>(dense.const_data_ptr<T>(), dense_grad.const_data_ptr<T>(),
                             classes.const_data_ptr<int64_t>(), logits.size(0), logits.size(1), gamma, alpha,
                             result.mutable_data_ptr<T>());
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

STABLE_TORCH_LIBRARY_IMPL(maskrcnn_benchmark, CPU, m) {
  m.impl("sigmoid_focal_loss", TORCH_BOX(&forward));
  m.impl("sigmoid_focal_loss_backward", TORCH_BOX(&backward));
}

}  // namespace maskrcnn
