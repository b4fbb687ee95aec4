"""A detector as a program of tensors: one image in, boxes, labels, scores and masks out."""

import contextlib
import copy
import io
import os
import sys
import traceback
from typing import Any

import torch
import torch.nn.functional as F
from torch import Tensor, nn
from torch.export import Dim, ExportedProgram

from maskrcnn_benchmark.layers.non_local import EfficientNonLocal
from maskrcnn_benchmark.modeling.optimize import fold_norms
from maskrcnn_benchmark.structures.image_list import ImageList

PACKAGE, TORCH = (os.path.dirname(os.path.dirname(os.path.abspath(path))) for path in (__file__, torch.export.__file__))
MAX_SIDE = 4096  # longest side of an image that a program takes, pixels


class ExportableDetector(nn.Module):
    """The test-time detector of one image, from the pixels of a file that has been scaled to the network's size.

    Shape: uint8 Tensor[H, W, 3], RGB -> boxes float Tensor[N, 4] (xyxy, pixels of that image, both corners inside the box),
    labels int64 Tensor[N] (from 1), scores float Tensor[N] (descending) and, of a model with masks, masks float
    Tensor[N, 1, M, M] in [0, 1], each over its box. N may be 0.

    The model's own modules do everything; channels, mean, deviation and padding are those of the configuration.

    Args:
        model: what `build_detection_model` returns; it stays as it is.
        cfg: its configuration.
    """

    mean: Tensor
    std: Tensor

    def __init__(self, model: nn.Module, cfg: Any):
        super().__init__()
        _check_exportable(model, cfg)
        detector: Any = copy.deepcopy(model).eval().requires_grad_(False)
        fold_norms(detector)
        for module in detector.modules():
            if isinstance(module, EfficientNonLocal):
                module.literal = True  # equation 9 in operators that every runtime has, still linear in the positions
        if getattr(detector, "roi_heads", None):
            # How many regions there are is found at run time, and inductor then takes every convolution's result for
            # contiguous, which it is of contiguous weights (see files._write_package).
            detector.roi_heads.to(memory_format=torch.contiguous_format)
        self.detector = detector
        self.names = ("boxes", "labels", "scores", *(("masks",) if cfg.MODEL.MASK_ON else ()))
        self.multiple = max(cfg.DATALOADER.SIZE_DIVISIBILITY, 1)
        # A map of one position is another program: the compiler of sizes takes 1 for a constant. ONNX has no such limit.
        self.min_side = max(detector.rpn.anchor_generator.strides) + 1
        self.to_bgr255 = cfg.INPUT.TO_BGR255
        device = next(detector.parameters()).device
        for name, values in (("mean", cfg.INPUT.PIXEL_MEAN), ("std", cfg.INPUT.PIXEL_STD)):
            self.register_buffer(name, torch.tensor(values, device=device)[:, None, None])

    def forward(self, image: Tensor) -> tuple[Tensor, ...]:
        height, width = image.shape[:2]
        pixels = image.permute(2, 0, 1).float()
        pixels = pixels[[2, 1, 0]] if self.to_bgr255 else pixels / 255
        pixels = (pixels - self.mean) / self.std
        # Of positive numbers alone: ONNX divides towards zero.
        right, below = ((side + self.multiple - 1) // self.multiple * self.multiple - side for side in (width, height))
        padded = F.pad(pixels[None], (0, right, 0, below))
        (found,) = self.detector(ImageList(padded, [(height, width)]))
        fields = {"boxes": found.bbox, **{name: found.get_field(name) for name in ("labels", "scores")}}
        if "masks" in self.names:
            fields["masks"] = found.get_field("mask")
        return tuple(fields[name] for name in self.names)


def _check_exportable(model: nn.Module, cfg: Any) -> None:
    """Raise ValueError for what has no exported form."""
    reasons = {
        "MODEL.KEYPOINT_ON": cfg.MODEL.KEYPOINT_ON,  # regions are enlarged in groups of similar size
        "TEST.BBOX_AUG.ENABLED": cfg.TEST.BBOX_AUG.ENABLED,
        "MODEL.ROI_MASK_HEAD.POSTPROCESS_MASKS": cfg.MODEL.MASK_ON and cfg.MODEL.ROI_MASK_HEAD.POSTPROCESS_MASKS,
        "MODEL.RPN_ONLY": cfg.MODEL.RPN_ONLY and not cfg.MODEL.RETINANET_ON,
        "MODEL.RESNETS.STAGE_WITH_DCN": any(cfg.MODEL.RESNETS.STAGE_WITH_DCN),
    }
    for key, is_set in reasons.items():
        if is_set:
            raise ValueError(f"Models with {key} cannot be exported; set it to False, or use the model in Python.")
    if not hasattr(getattr(model, "rpn", None), "anchor_generator"):
        raise ValueError(
            f"{type(model).__name__} has no `rpn.anchor_generator`, whose strides tell how small an image may be: a detector "
            "without it cannot be exported; use it in Python."
        )


def export_program(model: nn.Module, cfg: Any) -> ExportedProgram:
    """The detector as a torch.export program for images of any size from `ExportableDetector.min_side` to MAX_SIDE.

    Its operators are PyTorch's and this package's own: whoever runs it imports `maskrcnn_benchmark.layers` first. Raises
    ValueError for a module from elsewhere that torch.export cannot trace.
    """
    exportable = ExportableDetector(model, cfg)
    device = next(exportable.parameters()).device
    low = exportable.min_side
    image = torch.zeros(2 * low + 64, 2 * low + 96, 3, dtype=torch.uint8, device=device)
    sizes = {0: Dim("height", min=low, max=MAX_SIDE), 1: Dim("width", min=low, max=MAX_SIDE)}
    said = io.StringIO()  # torch prints the graph that it has so far where it fails: pages that say nothing to most
    try:
        with torch.no_grad(), contextlib.redirect_stderr(said):
            program = torch.export.export(
                exportable,
                (image,),
                dynamic_shapes={"image": sizes},
                strict=False,
                # What it cannot prove of symbolic sizes it checks when it runs.
                prefer_deferred_runtime_asserts_over_guards=True,
            )
    except Exception as error:
        _blame(error)
        sys.stderr.write(said.getvalue())
        raise
    sys.stderr.write(said.getvalue())
    return program


def _blame(error: Exception) -> None:
    """Raise ValueError that names the line of a module from elsewhere in which the tracing ended, if it was in one."""
    frames = traceback.extract_tb(error.__traceback__)
    inside = [frame.filename == os.path.abspath(__file__) and frame.name == "forward" for frame in frames]
    if True not in inside:
        return
    folders = (PACKAGE + os.sep, TORCH + os.sep)
    elsewhere = [f for f in frames[inside.index(True) :] if not os.path.abspath(f.filename).startswith(folders)]
    if elsewhere:
        line = elsewhere[-1]
        reason = next((said.strip() for said in str(error).splitlines() if said.strip()), type(error).__name__)
        raise ValueError(
            f"torch.export cannot trace {line.name} in {line.filename}, line {line.lineno}, `{line.line}` "
            f"({reason.rstrip('.')}). "
            "Numbers that depend on the image, such as how many boxes there are, must not become Python numbers there: take "
            "boxes.shape[0] instead of len(boxes), torch.where instead of if, and neither .item(), .tolist() nor NumPy. Or "
            "use the model in Python."
        ) from error
