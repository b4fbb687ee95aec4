"""The part of a detector whose work follows from shapes alone: what proposals there are depends on the image, and here their
number is given. A model without data (on the meta device) takes a twentieth of a second for it, and no memory.
"""

from __future__ import annotations

import math
from collections import Counter, defaultdict
from collections.abc import Callable, Iterable
from dataclasses import dataclass
from typing import Any
from weakref import WeakKeyDictionary

import torch
from torch import Tensor, nn
from torch.utils.flop_counter import FlopCounterMode
from torch.utils.module_tracker import ModuleTracker

from maskrcnn_benchmark.analysis import flops  # noqa: F401 (registers the formulas)
from maskrcnn_benchmark.modeling.detector import build_detection_model
from maskrcnn_benchmark.modeling.roi_heads.parts import has_two_steps, heads_by_name
from maskrcnn_benchmark.structures.bounding_box import BoxList

Size = tuple[int, int]  # height, width in pixels
ByModule = dict[str, float]  # "" is the whole model


@dataclass(frozen=True)
class Regions:
    """How many regions of an image the box head looks at, and how many the heads after it do."""

    proposals: int
    detections: int

    @classmethod
    def in_testing(cls, cfg) -> Regions:
        """As many as the configuration allows."""
        rpn, heads = cfg.MODEL.RPN, cfg.MODEL.ROI_HEADS
        proposals = rpn.FPN_POST_NMS_TOP_N_TEST if rpn.USE_FPN else rpn.POST_NMS_TOP_N_TEST
        return cls(proposals, min(proposals, heads.DETECTIONS_PER_IMG) if heads.DETECTIONS_PER_IMG > 0 else proposals)

    @classmethod
    def in_training(cls, cfg) -> Regions:
        """As many as are drawn for the losses, positive ones as far as they may be."""
        heads = cfg.MODEL.ROI_HEADS
        return cls(heads.BATCH_SIZE_PER_IMAGE, int(heads.BATCH_SIZE_PER_IMAGE * heads.POSITIVE_FRACTION))


def build_without_data(cfg) -> nn.Module:
    """The configured detector on the meta device, for testing."""
    with torch.device("meta"):
        return build_detection_model(cfg).eval()


def forward_by_shapes(model: Any, size: Size, regions: Regions, call: Callable[..., Any]) -> None:
    """Backbone, RPN head and the RoI heads up to their predictions, each through `call(path, module, *inputs)`.

    A head of one's own, whose parts are not known, is called as a whole, as in testing, with `may_stop`: see `_outputs`.
    """
    if not hasattr(model, "backbone") or not hasattr(getattr(model, "rpn", None), "head"):
        raise ValueError(
            f"What a detector costs is counted part by part, and {type(model).__name__} lacks `backbone` or `rpn.head`: give it "
            "these attributes."
        )
    height, width = size
    device = next(model.parameters()).device
    layout = getattr(model, "layout", torch.contiguous_format)
    image = torch.zeros(1, 3, height, width, device=device).contiguous(memory_format=layout)
    features = call("backbone", model.backbone, image)
    call("rpn.head", model.rpn.head, features)
    for path, head in heads_by_name(model).items():
        count = regions.proposals if path in ("roi_heads", "roi_heads.box") else regions.detections
        boxes = BoxList(torch.zeros(count, 4, device=device), (width, height))
        if has_two_steps(head):
            pooled = call(f"{path}.feature_extractor", head.feature_extractor, features, [boxes])
            call(f"{path}.predictor", head.predictor, pooled)
            continue
        if path not in ("roi_heads", "roi_heads.box"):  # what the box head adds
            boxes.add_field("scores", boxes.bbox[:, 0])
            boxes.add_field("labels", torch.ones(count, dtype=torch.int64, device=device))
        was_training = head.training
        call(path, head.eval(), features, [boxes], may_stop=True)
        head.train(was_training)


def heads_as_a_whole(model: nn.Module) -> list[str]:
    """The heads that `forward_by_shapes` calls as a whole, with their classes: "roi_heads.box (MyHead)"."""
    heads = heads_by_name(model).items()
    return [f"{path} ({type(head).__name__})" for path, head in heads if not has_two_steps(head)]


def _outputs(module: nn.Module, inputs: tuple, may_stop: bool) -> Any:
    """What a module returns; None if it `may_stop` and, on the meta device, asks what its numbers are."""
    try:
        return module(*inputs)
    except (RuntimeError, TypeError) as error:
        if not (may_stop and "meta" in str(error).lower()):
            raise
        return None


class FlopCount:
    """Counts the FLOPs of detectors, 2 a multiply-add, module by module.

    A part that was counted before, in this model or another, is not run again: modules that print alike do the same work
    on inputs of the same shape.
    """

    def __init__(self) -> None:
        self._known: dict[tuple, tuple[ByModule, Any]] = {}
        self._printed: WeakKeyDictionary[nn.Module, str] = WeakKeyDictionary()

    @torch.no_grad()
    def by_module(self, model: nn.Module, size: Size, regions: Regions) -> ByModule:
        """FLOPs in testing on one image of this size, of every module that does any and of those around it."""
        counts: ByModule = defaultdict(int)

        def call(path: str, module: nn.Module, *inputs: Any, may_stop: bool = False) -> Any:
            if type(module) is nn.Sequential:
                for name, child in module.named_children():
                    inputs = (call(f"{path}.{name}", child, *inputs),)
                return inputs[0]
            part, outputs = self._part(module, inputs, may_stop)
            _add(counts, path, part)
            return outputs

        forward_by_shapes(model, size, regions, call)
        return dict(counts)

    def mean(self, model: nn.Module, sizes: Iterable[Size], regions: Regions) -> ByModule:
        """The average of `by_module` over images of these sizes."""
        total: ByModule = defaultdict(int)
        distinct = Counter(sizes)
        for size, times in distinct.items():
            for name, value in self.by_module(model, size, regions).items():
                total[name] += value * times
        return {name: value / distinct.total() for name, value in total.items()}

    def _part(self, module: nn.Module, inputs: tuple, may_stop: bool) -> tuple[ByModule, Any]:
        if module not in self._printed:
            self._printed[module] = str(module)
        key = (self._printed[module], _shapes(inputs))
        if key not in self._known:
            with FlopCounterMode(display=False) as counter:
                outputs = _outputs(module, inputs, may_stop)
            flops = {name: sum(by_operator.values()) for name, by_operator in counter.get_flop_counts().items()}
            self._known[key] = _within(module, flops), outputs
        return self._known[key]


def saved_for_backward(model: nn.Module, size: Size, regions: Regions) -> ByModule:
    """Bytes that a training step keeps from its forward pass for the backward one, by the module that is running.

    Every storage counts once and whole, for the module that keeps it first; parameters and buffers do not count, and what
    the losses keep is left out. On the meta device, attention ("nl") keeps its N x N matrix; on others a fused kernel may not.
    """
    seen = {t.untyped_storage()._cdata for t in (*model.parameters(), *model.buffers())}
    total: ByModule = defaultdict(int)
    kept = []  # a storage that is gone could lend its address to another

    def call(path: str, module: nn.Module, *inputs: Any, may_stop: bool = False) -> Any:
        saved: ByModule = defaultdict(int)

        def keep(tensor: Tensor) -> Tensor:
            storage = tensor.untyped_storage()
            if storage._cdata not in seen:
                seen.add(storage._cdata)
                kept.append(tensor)
                for name in tracker.parents:
                    saved[name] += storage.nbytes()
            return tensor

        with ModuleTracker() as tracker, torch.autograd.graph.saved_tensors_hooks(keep, lambda tensor: tensor):
            outputs = _outputs(module, inputs, may_stop)
        kept.append(outputs)
        _add(total, path, _within(module, saved))
        return outputs

    was_training = model.training
    try:
        with torch.enable_grad():
            forward_by_shapes(model.train(), size, regions, call)
    finally:
        model.train(was_training)
    return dict(total)


def _within(part: nn.Module, tracked: ByModule) -> ByModule:
    """By name within a part that was called: trackers begin with its class, and say "Global" for the whole.

    A container whose modules were called one by one gets their sum.
    """
    root = f"{type(part).__name__}."
    counts = {name.removeprefix(root): value for name, value in tracked.items() if name.startswith(root)}
    not_called = {parent for name in counts for parent in _parents(name)[1:]} - set(counts)
    for parent in sorted(not_called, key=lambda name: -name.count(".")):
        counts[parent] = sum(value for name, value in counts.items() if name.rpartition(".")[0] == parent)
    return {"": tracked.get("Global", 0), **counts}


def _add(total: ByModule, path: str, part: ByModule) -> None:
    for name, value in part.items():
        total[f"{path}.{name}".rstrip(".")] += value
    for parent in _parents(path):
        total[parent] += part[""]


def _parents(path: str) -> list[str]:
    """Of "a.b.c": "a.b", "a" and ""."""
    parts = path.split(".")
    return [".".join(parts[:n]) for n in range(len(parts))]


def _shapes(inputs: Any) -> tuple:
    if isinstance(inputs, Tensor):
        return tuple(inputs.shape)
    return (math.inf, len(inputs)) if isinstance(inputs, BoxList) else tuple(_shapes(i) for i in inputs)
