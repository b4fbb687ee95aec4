// What the CPU and the CUDA entries of deform_im2col and deform_col2im share: the checks and the normalised arguments.
#pragma once

#include <array>
#include <optional>
#include <vector>

#include "checks.h"
#include "deform_geometry.h"

namespace maskrcnn {

// The integer arguments of both operators.
struct DeformArguments {
  std::vector<int64_t> kernel, stride, padding, dilation;
  int64_t groups;
  int64_t first_row;
};

template <typename T>
StridedMap<T> strided_map(const Tensor& map) {
  return {const_cast<T*>(static_cast<const T*>(map.const_data_ptr())), map.stride(0), map.stride(1), map.stride(2),
          map.stride(3)};
}

template <typename T>
StridedMap<T> strided_map(const std::optional<Tensor>& map) {
  return map.has_value() ? strided_map<T>(*map) : StridedMap<T>{nullptr, 0, 0, 0, 0};
}

inline void check_deform_map(const char* op, const char* name, const Tensor& map, const Tensor& pixels,
                             const std::array<int64_t, 4>& shape) {
  MRB_CHECK(map.dim() == 4 && map.size(0) == shape[0] && map.size(1) == shape[1] && map.size(2) == shape[2] &&
                map.size(3) == shape[3],
            op, ": ", name, " must have shape [", shape[0], ", ", shape[1], ", ", shape[2], ", ", shape[3], "], got ",
            shape_of(map));
  MRB_CHECK(map.scalar_type() == compute_type(pixels), op, ": ", name, " must be ",
            torch::headeronly::toString(compute_type(pixels)), " for pixels of type ",
            torch::headeronly::toString(pixels.scalar_type()), ", got ",
            torch::headeronly::toString(map.scalar_type()));
  MRB_CHECK_SAME_DEVICE(pixels, map, op, concatenate("pixels and ", name));
}

// columns: the samples or their gradients, [R, kh * kw, C].
inline void check_deform(const char* op, const Tensor& columns, const Tensor& pixels, const Tensor& offset,
                         const std::optional<Tensor>& mask, const DeformArguments& arguments) {
  MRB_CHECK(pixels.dim() == 4 && pixels.is_contiguous(), op,
            ": pixels must be contiguous of shape [N, H, W, C], got ", shape_of(pixels));
  MRB_CHECK_FLOATING(pixels, op, "pixels");
  MRB_CHECK(pixels.size(1) > 0 && pixels.size(2) > 0, op, ": pixels must not have an empty height or width, got ",
            shape_of(pixels));
  const auto pair = [](const std::vector<int64_t>& values, int64_t least) {
    return values.size() == 2 && values[0] >= least && values[1] >= least;
  };
  MRB_CHECK(pair(arguments.kernel, 1) && pair(arguments.stride, 1) && pair(arguments.padding, 0) &&
                pair(arguments.dilation, 1),
            op, ": kernel, stride and dilation must be two positive integers, padding two that are not negative");
  MRB_CHECK(arguments.groups > 0 && pixels.size(3) % arguments.groups == 0, op, ": ", pixels.size(3),
            " channels cannot be split into ", arguments.groups, " deformable groups");
  MRB_CHECK(offset.dim() == 4, op, ": offset must have four dimensions, got ", shape_of(offset));
  const int64_t positions = arguments.kernel[0] * arguments.kernel[1], sampled = arguments.groups * positions;
  check_deform_map(op, "offset", offset, pixels, {pixels.size(0), 2 * sampled, offset.size(2), offset.size(3)});
  if (mask.has_value()) {
    check_deform_map(op, "mask", *mask, pixels, {pixels.size(0), sampled, offset.size(2), offset.size(3)});
  }
  const int64_t rows = offset.size(0) * offset.size(2) * offset.size(3);
  MRB_CHECK(columns.dim() == 3 && columns.size(1) == positions && columns.size(2) == pixels.size(3) &&
                columns.is_contiguous() && columns.scalar_type() == pixels.scalar_type(),
            op, ": columns must be contiguous of shape [R, ", positions, ", ", pixels.size(3),
            "] and of the pixels' type, got ", torch::headeronly::toString(columns.scalar_type()), " of shape ",
            shape_of(columns));
  MRB_CHECK_SAME_DEVICE(pixels, columns, op, "pixels and columns");
  MRB_CHECK(arguments.first_row >= 0 && arguments.first_row + columns.size(0) <= rows, op, ": rows ",
            arguments.first_row, " to ", arguments.first_row + columns.size(0), " reach beyond the ", rows,
            " output pixels");
}

inline void check_deform_gradients(const Tensor& grad_pixels, const Tensor& grad_offset,
                                   const std::optional<Tensor>& grad_mask, const Tensor& pixels, const Tensor& offset,
                                   const std::optional<Tensor>& mask) {
  const char* op = "deform_col2im";
  check_deform_map(op, "grad_pixels", grad_pixels, pixels,
                   {pixels.size(0), pixels.size(1), pixels.size(2), pixels.size(3)});
  MRB_CHECK(grad_pixels.is_contiguous(), op, ": grad_pixels must be contiguous");
  const std::array<int64_t, 4> shape{offset.size(0), offset.size(1), offset.size(2), offset.size(3)};
  check_deform_map(op, "grad_offset", grad_offset, pixels, shape);
  MRB_CHECK(mask.has_value() == grad_mask.has_value(), op, ": mask and grad_mask must both be given or both be None");
  if (mask.has_value()) {
    check_deform_map(op, "grad_mask", *grad_mask, pixels, {shape[0], shape[1] / 2, shape[2], shape[3]});
  }
}

template <typename A>
DeformWindow<A> deform_window(const Tensor& pixels, const Tensor& offset, const std::optional<Tensor>& mask,
                              const DeformArguments& arguments) {
  const auto small = [](int64_t value) { return static_cast<int>(value); };
  return {small(pixels.size(1)),
          small(pixels.size(2)),
          pixels.size(3),
          small(offset.size(2)),
          small(offset.size(3)),
          small(arguments.kernel[0]),
          small(arguments.kernel[1]),
          small(arguments.stride[0]),
          small(arguments.stride[1]),
          small(arguments.padding[0]),
          small(arguments.padding[1]),
          small(arguments.dilation[0]),
          small(arguments.dilation[1]),
          small(arguments.groups),
          strided_map<const A>(offset),
          strided_map<const A>(mask)};
}

}  // namespace maskrcnn
