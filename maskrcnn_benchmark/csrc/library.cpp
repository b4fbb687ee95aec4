// Every operator of the package, once. Kernels register themselves against these schemas in cpu/ and cuda/; fake
// kernels, autograd and autocast do so in maskrcnn_benchmark/ops. This file is also the Python module `_C`: loading it
// registers the operators, and it has upstream's functions.

#include <Python.h>

#include <torch/csrc/stable/library.h>

#include <cstring>
#include <string>

#include "source_hash.h"

STABLE_TORCH_LIBRARY(maskrcnn_benchmark, m) {
  // features: L maps [N, C, H_l, W_l]; rois: [K, 5] (image index, x1, y1, x2, y2) in image pixels; levels: [K] int64.
  m.def(
      "multiscale_roi_align(Tensor[] features, Tensor rois, Tensor? levels, float[] scales, int[2] output_size, "
      "int sampling_ratio, bool aligned) -> Tensor");
  // sizes: N, C, H_0, W_0, H_1, W_1, ...
  m.def(
      "multiscale_roi_align_backward(Tensor grad, Tensor rois, Tensor? levels, SymInt[] sizes, float[] scales, "
      "int[2] output_size, int sampling_ratio, bool aligned, bool channels_last) -> Tensor[]");
  // boxes: [N, 4] xyxy with inclusive corners; groups: [N] int64, boxes of different groups never suppress each other.
  m.def(
      "batched_nms(Tensor boxes, Tensor scores, Tensor? groups, float iou_threshold, int max_output) -> Tensor");
  // The same without a result whose size depends on values: the indices of all boxes by descending score [N], and which of
  // these stay [N]. Who asks for the best `most` of each group alone (negative: for all) may be told that the others go.
  m.def(
      "suppress(Tensor boxes, Tensor scores, Tensor? groups, float iou_threshold, int most=-1) -> (Tensor, Tensor)");

  // Deformable convolution; composed of the two operators below and matrix products in ops/deform_conv_op.py.
  // input: [N, C, H, W]; offset: [N, 2 * groups * kh * kw, OH, OW] (y, x of each kernel position); mask: half as many.
  m.def(
      "deform_conv2d(Tensor input, Tensor offset, Tensor? mask, Tensor weight, Tensor? bias, int[2] stride, "
      "int[2] padding, int[2] dilation, int groups, int deformable_groups) -> Tensor");
  // To input, offset and mask (if sampling_grads) and to weight (if weight_grad); the others come back empty.
  m.def(
      "deform_conv2d_backward(Tensor grad, Tensor input, Tensor offset, Tensor? mask, Tensor weight, int[2] stride, "
      "int[2] padding, int[2] dilation, int groups, int deformable_groups, bool sampling_grads, bool weight_grad) -> "
      "(Tensor, Tensor, Tensor, Tensor)");
  // pixels: [N, H, W, C]; columns: [R, kh * kw, C], the samples of R of the N * OH * OW output pixels from first_row on.
  m.def(
      "deform_im2col(Tensor pixels, Tensor offset, Tensor? mask, int[2] kernel, int[2] stride, int[2] padding, "
      "int[2] dilation, int deformable_groups, int first_row, Tensor(a!) columns) -> ()");
  // grad_pixels is added to; grad_offset and grad_mask are written, in the places of these output pixels.
  m.def(
      "deform_col2im(Tensor grad_columns, Tensor pixels, Tensor offset, Tensor? mask, int[2] kernel, int[2] stride, "
      "int[2] padding, int[2] dilation, int deformable_groups, int first_row, Tensor(a!) grad_pixels, "
      "Tensor(b!) grad_offset, Tensor(c!)? grad_mask) -> ()");

  // input: [N, C, H, W]; rois: [K, 5]. Returns the maxima [K, C, *output_size] and where they lie: int32, y * W + x or -1.
  m.def("roi_pool(Tensor input, Tensor rois, float spatial_scale, int[2] output_size) -> (Tensor, Tensor)");
  // sizes: N, C, H, W.
  m.def("roi_pool_backward(Tensor grad, Tensor argmax, Tensor rois, SymInt[] sizes) -> Tensor");
  // logits: [N, C]; targets: [N] int32 or int64, the class 1 to C, 0 for background, negative for ignored rows.
  m.def("sigmoid_focal_loss(Tensor logits, Tensor targets, float gamma, float alpha) -> Tensor");
  m.def("sigmoid_focal_loss_backward(Tensor grad, Tensor logits, Tensor targets, float gamma, float alpha) -> Tensor");
  // data: [N, out_channels * group_size^2, H, W]; offset: [K, 2 * classes, part_size, part_size]. Returns the averages
  // [K, out_channels, out_size, out_size] and the samples in each, int32 [K, classes, out_size, out_size].
  m.def(
      "deform_psroi_pooling(Tensor data, Tensor rois, Tensor offset, float spatial_scale, int out_size, "
      "int out_channels, bool no_trans, int group_size, int part_size, int sample_per_part, float trans_std) -> "
      "(Tensor, Tensor)");
  // Returns the gradients of data and offset.
  m.def(
      "deform_psroi_pooling_backward(Tensor grad, Tensor data, Tensor rois, Tensor offset, Tensor count, "
      "float spatial_scale, int out_size, int out_channels, bool no_trans, int group_size, int part_size, "
      "int sample_per_part, float trans_std) -> (Tensor, Tensor)");

  // x: [B, C, H, W]; weights [D, C, 1, 1] (out: [C, D, 1, 1]). Returns the map and, for the backward pass, x x^T
  // [B, C, C] and its lowest DCT frequencies [B, C, K]; both are empty for maps of few positions. Its kernels are matrix
  // products, written in Python (layers/non_local).
  m.def(
      "efficient_non_local(Tensor x, Tensor theta_weight, Tensor theta_bias, Tensor phi_weight, Tensor phi_bias, "
      "Tensor g_weight, Tensor g_bias, Tensor out_weight, Tensor out_bias, int dct_size) -> (Tensor, Tensor, Tensor)");
  // Returns the gradients of x and the eight parameters.
  m.def(
      "efficient_non_local_backward(Tensor grad, Tensor x, Tensor theta_weight, Tensor theta_bias, Tensor phi_weight, "
      "Tensor phi_bias, Tensor g_weight, Tensor g_bias, Tensor out_weight, Tensor out_bias, Tensor gram, "
      "Tensor spectrum, int dct_size) -> "
      "(Tensor, Tensor, Tensor, Tensor, Tensor, Tensor, Tensor, Tensor, Tensor)");

  // A 3 x 3 convolution of stride 1 and padding 1 of x: [B, C, H, W] by Winograd's F(4 x 4, 3 x 3), to [B, outputs, H, W];
  // weight: [36, ceil(outputs / 16), C, 16]. In ops/winograd.py, of the next; CPU only.
  m.def("winograd_conv2d(Tensor x, Tensor weight, Tensor? bias, int outputs, bool relu=False) -> Tensor");
  // pixels: [N, H, W, C]; result: [N, H, W, outputs].
  m.def("winograd_filter(Tensor pixels, Tensor weight, Tensor? bias, bool relu, Tensor(a!) result) -> ()");
  // The transforms, for the gradient of the weights.
  // pixels: [N, H, W, C]; tiles: [36, T, C], of T of the N * ceil(H / 4) * ceil(W / 4) tiles from first_tile on.
  m.def("winograd_inputs(Tensor pixels, int first_tile, Tensor(a!) tiles) -> ()");
  // Of gradients of the output: pixels: [N, H, W, O]; tiles: [36, T, O].
  m.def("winograd_gradients(Tensor pixels, int first_tile, Tensor(a!) tiles) -> ()");

  // input: [..., I]; weight: [O, I]. In ops/onednn.py; CPU only.
  m.def("onednn_linear(Tensor input, Tensor weight, Tensor? bias) -> Tensor");
}

namespace {

// Upstream's functions, `_C.roi_align_forward` and so on, for forks that call them: they are written in Python, in the
// module ops.legacy of the package that `module` belongs to. That package may have another name than ours.
PyObject* legacy_function(const char* module_name, PyObject* name) {
  const char* dot = std::strrchr(module_name, '.');
  const std::string package = dot == nullptr ? "maskrcnn_benchmark" : std::string(module_name, dot);
  PyObject* legacy = PyImport_ImportModule((package + ".ops.legacy").c_str());
  if (legacy == nullptr) {
    return nullptr;
  }
  PyObject* find = PyObject_GetAttrString(legacy, "function");
  Py_DECREF(legacy);
  PyObject* found = find == nullptr ? nullptr : PyObject_CallFunctionObjArgs(find, name, nullptr);
  Py_XDECREF(find);
  return found;
}

PyObject* find_function(PyObject* module, PyObject* name) {
  const char* module_name = PyModule_GetName(module);
  const char* text = PyUnicode_AsUTF8AndSize(name, nullptr);
  if (module_name == nullptr || text == nullptr) {
    return nullptr;
  }
  // The import machinery itself asks for names with two underscores, while the package is being imported.
  if (text[0] != '_') {
    return legacy_function(module_name, name);
  }
  PyErr_Format(PyExc_AttributeError, "%s has no attribute %R", module_name, name);
  return nullptr;
}

PyMethodDef methods[] = {{"__getattr__", find_function, METH_O, "Finds upstream's functions (PEP 562)."},
                         {nullptr, nullptr, 0, nullptr}};

PyModuleDef module_definition = {
    PyModuleDef_HEAD_INIT, "_C", "Native operators of maskrcnn_benchmark.", -1, methods, nullptr, nullptr, nullptr,
    nullptr};

}  // namespace

PyMODINIT_FUNC PyInit__C(void) {
  PyObject* module = PyModule_Create(&module_definition);
  if (module == nullptr) {
    return nullptr;
  }
#ifdef MRB_WITH_CUDA
  const long with_cuda = 1;
#else
  const long with_cuda = 0;
#endif
  if (PyModule_AddStringConstant(module, "SOURCE_HASH", MRB_SOURCE_HASH) < 0 ||
      PyModule_AddIntConstant(module, "WITH_CUDA", with_cuda) < 0) {
    Py_DECREF(module);
    return nullptr;
  }
  return module;
}
