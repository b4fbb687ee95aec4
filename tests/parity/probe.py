"""What a detector computes with weights that are a function of their names, as numbers that can be compared.

The weights, the synthetic images and the settings are those with which the files in golden/ were made.
"""

from __future__ import annotations

import zlib
from pathlib import Path
from typing import Any

import numpy as np
import torch
from torch import Tensor, nn

from maskrcnn_benchmark.config import cfg as defaults
from maskrcnn_benchmark.structures.bounding_box import BoxList
from maskrcnn_benchmark.structures.image_list import ImageList, to_image_list
from maskrcnn_benchmark.structures.keypoint import PersonKeypoints
from maskrcnn_benchmark.structures.segmentation_mask import SegmentationMask

CONFIGS = Path(__file__).parents[2] / "configs"
# With every anchor and proposal drawn, the losses depend on no random choice.
SETTINGS = {
    "MODEL.DEVICE": "cpu",
    "INPUT.MIN_SIZE_TEST": 320,
    "INPUT.MAX_SIZE_TEST": 533,
    "MODEL.RPN.BATCH_SIZE_PER_IMAGE": 1_000_000,
    "MODEL.ROI_HEADS.BATCH_SIZE_PER_IMAGE": 1_000_000,
}
# Of proposals that go through a network one by one: more of them show nothing that these do not, and take minutes.
FEW_PROPOSALS = {"MODEL.RPN.POST_NMS_TOP_N_TRAIN": 100, "MODEL.RPN.POST_NMS_TOP_N_TEST": 100}
ONE_BY_ONE = ("e2e_faster_rcnn_R_50_C4_1x", "e2e_faster_rcnn_fbnet")
# Variance times fan-in of convolutions and linear layers whose name holds the word; 2 for the others.
GAINS = {"fpn_": 0.5, "cls_score": 0.35, "cls_logits": 0.35, "bbox_pred": 0.005}
PIXEL_GAIN = 2 / 60**2  # of the layer that sees pixels, which are of the order of 60
IMAGE_SIZES = ((352, 256), (240, 320))  # width, height
OBJECTS = 6
SHOWN = 30  # detections listed one by one


def load_config(name: str):
    """The configuration of configs/**/NAME.yaml with its SETTINGS; of two of a name, the one that is not in a folder."""
    cfg = defaults.clone()
    path = min(CONFIGS.rglob(f"{name}.yaml"), key=lambda path: len(path.parts))
    cfg.merge_from_file(str(path))
    settings = {**SETTINGS, **(FEW_PROPOSALS if name in ONE_BY_ONE else {})}
    cfg.merge_from_list([word for pair in settings.items() for word in pair])
    cfg.freeze()
    return cfg


def named_weight(key: str, shape: tuple[int, ...]) -> np.ndarray:
    """The value of the state-dict entry `key`: noise seeded by its name, of a size that keeps activations near one."""
    noise = np.random.RandomState(zlib.crc32(key.encode())).standard_normal(shape).astype(np.float32)
    kind = key.rpartition(".")[2]
    if kind == "running_var":
        return 1 + 0.1 * np.abs(noise)
    if kind == "running_mean":
        return 0.1 * noise
    if kind == "bias":
        return 0.02 * noise
    if len(shape) == 1:  # the scale of a norm layer; small where a residual branch ends
        return (0.3 if "bn3" in key else 1.0) * (1 + 0.1 * noise)
    sees_pixels = shape[1] == 3 and key.endswith(("conv1.weight", "first.conv.weight"))
    gain = PIXEL_GAIN if sees_pixels else next((g for word, g in GAINS.items() if word in key), 2.0)
    return noise * np.sqrt(gain / np.prod(shape[1:]))


@torch.no_grad()
def set_weights(model: nn.Module) -> None:
    for key, value in model.state_dict().items():
        if value.is_floating_point() and "anchor" not in key:
            value.copy_(torch.from_numpy(named_weight(key, tuple(value.shape)).astype(np.float32)))


def synthetic_sample(seed: int, num_classes: int, keypoints: bool = False) -> tuple[Tensor, BoxList]:
    """Eight cosine waves a channel, and OBJECTS boxes with a diamond (and 17 keypoints) in each: Tensor[3, H, W], BoxList."""
    width, height = IMAGE_SIZES[seed]
    random = np.random.RandomState(seed)
    # Cycles per row and per column, and phase, of each of three times eight waves.
    fy, fx, phase = np.moveaxis(random.uniform(0, 0.2, (3, 8, 3)), -1, 0)[..., None, None]
    waves = np.cos(2 * np.pi * (fy * np.arange(height)[:, None] + fx * np.arange(width) + 5 * phase))
    image = torch.from_numpy((20 * waves).sum(axis=1)).float()

    extent = np.exp(random.uniform(np.log(12), np.log(160), (OBJECTS, 2)))
    limit = np.array((width - 1, height - 1))
    corner = np.stack([random.uniform(0, np.maximum(room, 1)) for room in (limit - extent).T], axis=1)
    boxes = np.concatenate((corner, np.minimum(corner + extent, limit)), axis=1).astype(np.float32)
    target = BoxList(torch.from_numpy(boxes), (width, height))
    target.add_field("labels", torch.from_numpy(random.randint(1, num_classes, OBJECTS)))
    diamonds = [
        [[(x1 + x2) / 2, y1, x2, (y1 + y2) / 2, (x1 + x2) / 2, y2, x1, (y1 + y2) / 2]]
        for x1, y1, x2, y2 in boxes.tolist()
    ]
    target.add_field("masks", SegmentationMask(diamonds, (width, height)))
    if keypoints:
        corners, place = boxes[:, None, :2], random.uniform(0.1, 0.9, (OBJECTS, 17, 2))
        points = corners + place * (boxes[:, None, 2:] - corners)
        visible = np.full((OBJECTS, 17, 1), 2.0)
        points = np.concatenate((points, visible), axis=2).astype(np.float32)
        target.add_field("keypoints", PersonKeypoints(torch.from_numpy(points), (width, height)))
    return image, target


def coco_samples(folder: Path, cfg) -> tuple[list[tuple[Tensor, BoxList]], dict[str, Any]]:
    """The first two images of a COCO folder as the network sees them, and which these are."""
    from maskrcnn_benchmark.data.datasets import COCODataset
    from maskrcnn_benchmark.data.transforms import build_transforms

    dataset = COCODataset(
        str(folder / "annotations" / "instances_val2017.json"),
        str(folder / "val2017"),
        remove_images_without_annotations=True,
        transforms=build_transforms(cfg, is_train=False),
    )
    facts = {"dataset_len": len(dataset), "image_ids": [dataset.get_img_info(i)["id"] for i in range(2)]}
    return [dataset[i][:2] for i in range(2)], facts


def batch(samples: list[tuple[Tensor, BoxList]], cfg) -> tuple[ImageList, list[BoxList]]:
    images, targets = zip(*samples, strict=True)
    return to_image_list(images, cfg.DATALOADER.SIZE_DIVISIBILITY), list(targets)


def summary(tensor: Tensor) -> dict[str, Any]:
    """Number of entries, their mean, mean magnitude and five of them."""
    values = tensor.detach().double().flatten()
    picked = np.linspace(0, len(values) - 1, 5).astype(int)
    return {
        "n": len(values),
        "mean": values.mean().item(),
        "abs": values.abs().mean().item(),
        "pick": values[picked].tolist(),
    }


def describe_model(model: nn.Module) -> dict[str, int]:
    entries = [f"{key} {tuple(value.shape)}" for key, value in sorted(model.state_dict().items())]
    return {
        "params": sum(p.numel() for p in model.parameters()),
        "trainable": sum(p.numel() for p in model.parameters() if p.requires_grad),
        "keys": len(entries),
        "keys_crc": zlib.crc32("\n".join(entries).encode()),
    }


def describe_batch(images: ImageList, targets: list[BoxList]) -> dict[str, Any]:
    return {
        "input": summary(images.tensors),
        "image_sizes": [list(map(int, size)) for size in images.image_sizes],
        "targets": [{"boxes": summary(t.bbox), "labels": t.get_field("labels").tolist()} for t in targets],
    }


def describe_detections(detections: BoxList) -> dict[str, Any]:
    """Detections by descending score; proposals (which have no scores) in the order in which they came."""
    facts: dict[str, Any] = {"n": len(detections), "fields": sorted(detections.fields())}
    if detections.has_field("scores"):
        detections = detections[detections.get_field("scores").argsort(descending=True, stable=True)]
        scores = detections.get_field("scores")
        facts["scores"], facts["score_sum"] = scores[:SHOWN].tolist(), scores.double().sum().item()
        facts["labels"] = detections.get_field("labels")[:SHOWN].tolist()
        if detections.has_field("mask"):
            facts["masks"] = summary(detections.get_field("mask"))
        if detections.has_field("keypoints"):
            facts["keypoints"] = summary(detections.get_field("keypoints").keypoints)
    facts["boxes"] = detections.bbox[:SHOWN].tolist()
    facts["boxes_abs"] = detections.bbox.double().abs().mean().item()
    return facts


@torch.no_grad()
def describe_inference(model: nn.Module, images: ImageList) -> dict[str, Any]:
    model.eval()
    features = model.backbone(images.tensors)
    proposals, _ = model.rpn(images, features, None)
    return {
        "features": [summary(f) for f in features],
        "proposals": [{"n": len(p), "boxes": summary(p.bbox), "all": p.bbox.tolist()} for p in proposals],
        "detections": [describe_detections(d) for d in model(images)],
    }


def describe_training(model: nn.Module, images: ImageList, targets: list[BoxList]) -> dict[str, Any]:
    """Losses, and the norm of each parameter's gradient."""
    model.train()
    model.zero_grad(set_to_none=True)
    losses = model(images, targets)
    sum(losses.values()).backward()
    return {
        "losses": {name: loss.item() for name, loss in losses.items()},
        "grads": {n: p.grad.double().norm().item() for n, p in model.named_parameters() if p.grad is not None},
    }
