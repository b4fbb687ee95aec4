// What suppress and batched_nms share on the CPU and on CUDA: the checks, the order in which boxes are visited, the result.
#pragma once

#include <array>
#include <optional>
#include <tuple>

#include "checks.h"

namespace maskrcnn {

inline Tensor stable_argsort(const Tensor& values, bool descending) {
  std::array<StableIValue, 4> stack{
      torch::stable::detail::from(values), torch::stable::detail::from(std::optional<bool>(true)),
      torch::stable::detail::from(int64_t{0}), torch::stable::detail::from(descending)};
  TORCH_ERROR_CODE_CHECK(torch_call_dispatcher("aten::sort", "stable", stack.data(), TORCH_ABI_VERSION));
  torch::stable::detail::to<Tensor>(stack[0]);  // the sorted values, taken over only to be released
  return torch::stable::detail::to<Tensor>(stack[1]);
}

inline Tensor take_rows(const Tensor& values, const Tensor& indices) {
  std::array<StableIValue, 3> stack{torch::stable::detail::from(values), torch::stable::detail::from(int64_t{0}),
                                    torch::stable::detail::from(indices)};
  TORCH_ERROR_CODE_CHECK(torch_call_dispatcher("aten::index_select", "", stack.data(), TORCH_ABI_VERSION));
  return torch::stable::detail::to<Tensor>(stack[0]);
}

inline Tensor take_where(const Tensor& values, const Tensor& mask) {
  std::array<StableIValue, 2> stack{torch::stable::detail::from(values), torch::stable::detail::from(mask)};
  TORCH_ERROR_CODE_CHECK(torch_call_dispatcher("aten::masked_select", "", stack.data(), TORCH_ABI_VERSION));
  return torch::stable::detail::to<Tensor>(stack[0]);
}

inline void check_nms(const char* op, const Tensor& boxes, const Tensor& scores, const std::optional<Tensor>& groups,
                      double iou_threshold) {
  MRB_CHECK(boxes.dim() == 2 && boxes.size(1) == 4, op, ": boxes must have shape [N, 4] (x1, y1, x2, y2), got ",
            shape_of(boxes));
  MRB_CHECK_FLOATING(boxes, op, "boxes");
  MRB_CHECK(scores.dim() == 1 && scores.size(0) == boxes.size(0), op, ": scores must have shape [", boxes.size(0),
            "], one per box, got ", shape_of(scores));
  MRB_CHECK_FLOATING(scores, op, "scores");
  MRB_CHECK_SAME_DEVICE(boxes, scores, op, "boxes and scores");
  MRB_CHECK(iou_threshold >= 0, op, ": iou_threshold must not be negative, got ", iou_threshold);
  if (groups.has_value()) {
    MRB_CHECK(groups->dim() == 1 && groups->size(0) == boxes.size(0) && groups->scalar_type() == ScalarType::Long, op,
              ": groups must be int64 of shape [", boxes.size(0), "], one per box, got ",
              torch::headeronly::toString(groups->scalar_type()), " of shape ", shape_of(*groups));
    MRB_CHECK_SAME_DEVICE(boxes, *groups, op, "boxes and groups");
  }
}

// Boxes of one group lie side by side, each group in descending order of score; equal scores keep the caller's order.
struct NmsOrder {
  Tensor by_score;               // [N] ranks -> the caller's indices
  std::optional<Tensor> rank;    // [N] positions -> ranks; none: they are the same (one group)
  std::optional<Tensor> groups;  // [N] the group at each position
  Tensor boxes;                  // [N, 4] at each position, in the compute type
};

inline NmsOrder order_boxes(const Tensor& boxes, const Tensor& scores, const std::optional<Tensor>& groups) {
  const Tensor by_score = stable_argsort(scores, /*descending=*/true);
  const Tensor wide = to_dense(boxes, compute_type(boxes));
  if (!groups.has_value()) {
    return {by_score, std::nullopt, std::nullopt, take_rows(wide, by_score)};
  }
  const Tensor ranked_groups = take_rows(*groups, by_score);
  const Tensor rank = stable_argsort(ranked_groups, /*descending=*/false);
  return {by_score, rank, take_rows(ranked_groups, rank), take_rows(wide, take_rows(by_score, rank))};
}

// kept: [N] bool by rank. Returns the caller's indices in descending order of score, at most max_output if that is >= 0.
inline Tensor select_kept(const NmsOrder& order, const Tensor& kept, int64_t max_output) {
  Tensor indices = take_where(order.by_score, kept);
  const bool cut = max_output >= 0 && indices.size(0) > max_output;
  return cut ? torch::stable::clone(torch::stable::narrow(indices, 0, 0, max_output)) : indices;
}

}  // namespace maskrcnn
