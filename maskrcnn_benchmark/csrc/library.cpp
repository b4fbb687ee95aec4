// Every operator of the package, once. Kernels register themselves against these schemas in cpu/ and cuda/; fake
// kernels, autograd and autocast do so in maskrcnn_benchmark/layers. This file is also the Python module `_C`, which
// exists to be imported: loading it registers the operators.

#include <Python.h>

#include <torch/csrc/stable/library.h>

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
}

namespace {

PyModuleDef module_definition = {
    PyModuleDef_HEAD_INIT, "_C", "Native operators of maskrcnn_benchmark.", -1, nullptr, nullptr, nullptr, nullptr,
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
