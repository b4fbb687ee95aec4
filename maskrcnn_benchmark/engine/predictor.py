"""Detection in pictures and videos of one's own."""

import logging
import os
from collections import deque
from collections.abc import Iterable, Iterator, Sequence
from numbers import Integral, Real
from typing import Any

import numpy as np
import torch
from PIL import Image
from torch import Tensor
from yacs.config import CfgNode

from maskrcnn_benchmark.config.checks import check_config
from maskrcnn_benchmark.config.node import ConfigError
from maskrcnn_benchmark.config.unread import forget_reads, warn_of_unread
from maskrcnn_benchmark.config.whole import cfg as defaults
from maskrcnn_benchmark.data.auto_tiles import choose_tiles
from maskrcnn_benchmark.data.categories import Given, find_categories
from maskrcnn_benchmark.data.large_images import LargeImage, is_large, open_large
from maskrcnn_benchmark.data.pictures import to_bgr, to_picture
from maskrcnn_benchmark.data.transforms import build_transforms
from maskrcnn_benchmark.engine.loading import find_weights, load_detector, name_of_weights, optimize
from maskrcnn_benchmark.engine.precision import autocast
from maskrcnn_benchmark.engine.results import to_original_image
from maskrcnn_benchmark.engine.test_time_augmentation import make_box_augmentation
from maskrcnn_benchmark.engine.tiled_detection import TiledDetection, make_tiled_detection
from maskrcnn_benchmark.structures.bounding_box import BoxList
from maskrcnn_benchmark.structures.image_list import to_image_list
from maskrcnn_benchmark.utils.video import Video, is_video
from maskrcnn_benchmark.visualization import draw_detections

logger = logging.getLogger(__name__)

DRAWN_SIDE = 4096  # pixels along the longer side of the drawing of a LargeImage


class Predictor:
    """A trained detector that takes pictures as they come.

        predictor = Predictor("configs/enl/faster_rcnn_R_50_FPN_3enl_td.yaml", "runs/3enl/model_final.pth")
        detections = predictor("street.jpg")            # BoxList: bbox, "scores", "labels", perhaps "rle", "keypoints"
        predictor.coco(detections)                      # dictionaries for JSON
        cv2.imwrite("drawn.png", predictor.draw("street.jpg", detections))
        for frame, detections in predictor.video("traffic.mp4"): ...

    Args:
        cfg: a configuration, or the path of its file; it is not changed, nor is the global one.
        weights: a file, a URL or a catalog name as in MODEL.WEIGHT. Default: the last checkpoint in OUTPUT_DIR, or
            MODEL.WEIGHT. Half-precision weights become float32.
        threshold: the least score of a detection.
        classes: only these are detected: names, or ids of the data set (those in `coco`).
        top_k: at most so many in a picture, the best.
        device: default MODEL.DEVICE, or the CPU where there is no GPU.
        batch_size: pictures of one size that go through the model together. Default: TEST.IMS_PER_BATCH on a GPU, else 1.
            Pictures of different sizes never share a batch, so what is found does not depend on it.
        labels: names of the classes, or the categories of a COCO file; see `data.categories.find_categories`.
        require_weights: whether to refuse to predict without any; otherwise the model keeps its initial weights.
        opts: changes of the configuration, [key, value, key, value, ...]; without a GPU
            ["TEST.OPTIMIZE", True, "DTYPE", "bfloat16", "MODEL.COMPILE", True] is several times as fast, once compiled.

    Attributes: model, cfg, device, categories (names and ids of the labels), transforms (PIL image, BoxList -> the
    network's input, BoxList).

    Raises ConfigError, CheckpointError or OSError with a sentence.
    """

    def __init__(
        self,
        cfg: Any,
        weights: str | os.PathLike[str] | None = "",
        *,
        threshold: float = 0.5,
        classes: Iterable[str | int] | None = None,
        top_k: int | None = None,
        device: str | torch.device | None = None,
        batch_size: int | None = None,
        labels: Given | None = None,
        require_weights: bool = True,
        opts: Sequence[Any] = (),
    ):
        named = name_of_weights(weights)
        self.cfg = _configuration(cfg, opts)
        self.device = _device(self.cfg.MODEL.DEVICE if device is None else str(device), insist=device is not None)
        self.cfg.MODEL.DEVICE = str(self.device)
        choose_tiles(self.cfg)
        self.cfg.freeze()
        forget_reads(self.cfg)
        _check_numbers(threshold, top_k=top_k, batch_size=batch_size)
        self.threshold, self.top_k = threshold, top_k
        on_gpu = self.device.type != "cpu"
        self.batch_size = batch_size or (self.cfg.TEST.IMS_PER_BATCH if on_gpu else 1)
        self.weights = find_weights(self.cfg, named)
        model = load_detector(self.cfg, named, self.device, require_weights=require_weights)
        self.model = optimize(self.cfg, model)
        self.categories = find_categories(self.cfg, self.weights, labels, getattr(model, "class_names", None))
        self.classes = None if classes is None else self.categories.labels(classes)
        self.transforms = build_transforms(self.cfg, is_train=False)
        is_augmented = self.cfg.TEST.BBOX_AUG.ENABLED
        self._views = make_box_augmentation(self.cfg) if is_augmented else make_tiled_detection(self.cfg)
        self._said_shrunk = False
        warn_of_unread(self.cfg, is_train=False, what="prediction")

    def __call__(self, images: Any) -> Any:
        """Detections in the pixels of the pictures as they are.

        Args:
            images: a path, a uint8 array [H, W, 3] (BGR, as OpenCV reads it), a tensor [3, H, W] (RGB, uint8 or from 0 to
                1) or a PIL image; a list or batch ([N, H, W, 3], [N, 3, H, W]) of these; an iterator of these; or a video's
                path or a stream's address.

        Returns:
            A BoxList on the CPU, best first, with "scores" Tensor[N], "labels" Tensor[N] from 1, and what the model's heads
            add: "rle" (COCO's run-length encoded masks), "keypoints". For a list a list of these; for an iterator or a video
            an iterator.
        """
        if is_video(images):
            return (found for _, found in self.video(images))
        if isinstance(images, (np.ndarray, Tensor)) and images.ndim == 4:
            images = list(images)
        if isinstance(images, (list, tuple)):
            return [found for _, found in self.stream(images)]
        if isinstance(images, Iterator):
            return (found for _, found in self.stream(images))
        return next(self.stream([images]))[1]

    def read(self, source: Any) -> Image.Image | LargeImage:
        """One picture of any kind in `data.pictures.KINDS` as `detect` takes it; a file of more pixels than are decoded at once
        elsewhere as a LargeImage. Raises BrokenImageError, ValueError or TypeError."""
        if isinstance(source, LargeImage):
            return source
        if isinstance(source, (str, os.PathLike)) and is_large(os.fspath(source)):
            large = open_large(os.fspath(source))
            if not isinstance(self._views, TiledDetection) and not self._said_shrunk:
                self._said_shrunk = True
                logger.warning(
                    "The image %s of %s pixels is looked at as a whole, made as small as INPUT.MIN_SIZE_TEST and "
                    "MAX_SIZE_TEST ask for; so are others as large. INPUT.TILES.TEST True with a SIZE, 800 for example, looks at "
                    "its parts.",
                    large.name,
                    f"{large.width} x {large.height}",
                )
            return large
        return to_picture(source)

    def stream(self, images: Iterable[Any]) -> Iterator[tuple[Any, BoxList]]:
        """(picture as it came, detections) one after another; never more than a batch of pictures is held."""
        waiting: deque[tuple[Any, Image.Image | LargeImage]] = deque()
        for source in images:
            picture = self.read(source)
            if waiting and (waiting[0][1].size != picture.size or len(waiting) == self.batch_size):
                yield from self._detect(waiting)
            waiting.append((source, picture))
            if len(waiting) == self.batch_size:
                yield from self._detect(waiting)
        if waiting:
            yield from self._detect(waiting)

    def video(self, source: str | os.PathLike[str] | int) -> Iterator[tuple[np.ndarray, BoxList]]:
        """(frame, detections) of a video file, a camera's number or a stream's address; frames are BGR."""
        with Video(source) as video:
            yield from self.stream(video)

    def _detect(self, waiting: deque[Any]) -> Iterator[tuple[Any, BoxList]]:
        batch = list(waiting)
        waiting.clear()
        pictures = [picture for _, picture in batch]
        for (source, picture), raw in zip(batch, self.detect(pictures), strict=True):
            yield source, self.finish(raw, picture.size)

    def detect(
        self, pictures: Sequence[Image.Image | LargeImage], tiled: TiledDetection | None = None
    ) -> list[BoxList]:
        """All that the model finds in RGB pictures, in pixels of the network's input, masks as Tensor[N, 1, M, M].

        `tiled`: how pictures are cut, in place of what the configuration says.
        """
        views = tiled or self._views
        if views is None:
            return self.detect_inputs([self.network_input(picture) for picture in pictures])
        with torch.inference_mode(), autocast(self.cfg, self.device):
            found = views.detect(self.model, pictures, self.device)
        return [_with_scores(boxlist) for boxlist in found]

    def detect_inputs(self, inputs: Sequence[Tensor]) -> list[BoxList]:
        """The same of what `network_input` made of the pictures, each Tensor[3, H, W]."""
        with torch.inference_mode(), autocast(self.cfg, self.device):
            found = self.model(to_image_list(list(inputs), self.cfg.DATALOADER.SIZE_DIVISIBILITY).to(self.device))
        return [_with_scores(boxlist) for boxlist in found]

    def finish(self, raw: BoxList, size: tuple[int, int]) -> BoxList:
        """What `__call__` returns, of one picture's part of `detect`; `size` is the picture's (width, height)."""
        return to_original_image(self.select(raw), *size)

    def network_input(self, picture: Any) -> Tensor:
        """A picture, resized and normalised: Tensor[3, H, W] on the CPU."""
        image: Any = picture if isinstance(picture, LargeImage) else to_picture(picture)
        return self.transforms(image, BoxList(torch.zeros(0, 4), image.size))[0]

    def select(self, found: BoxList) -> BoxList:
        """The detections of `classes` above `threshold`, best first, at most `top_k`."""
        scores, labels = found.get_field("scores"), found.get_field("labels")
        wanted = scores >= self.threshold
        if self.classes is not None:
            wanted &= torch.isin(labels, torch.tensor(self.classes, device=labels.device))
        order = scores.argsort(descending=True, stable=True)
        return found[order[wanted[order]][: self.top_k]]

    def caption(self, label: int, score: float) -> str:
        return f"{self.categories.name(label)} {score:.2f}"

    def coco(self, detections: BoxList, image_id: Any = 0) -> list[dict[str, Any]]:
        """The detections of a picture as COCO results, ready for JSON: "image_id", "category_id", "bbox" (x, y, width, height),
        "score", and perhaps "segmentation" (compressed RLE) and "keypoints" (x, y, 1 of each in turn)."""
        columns = {"bbox": detections.convert("xywh").bbox.tolist(), "score": detections.get_field("scores").tolist()}
        if detections.has_field("rle"):
            columns["segmentation"] = detections.get_field("rle")
        if detections.has_field("keypoints"):
            columns["keypoints"] = detections.get_field("keypoints").keypoints.flatten(1).tolist()
        ids = [self.categories.id(label) for label in detections.get_field("labels").tolist()]
        return [
            {"image_id": image_id, "category_id": category, **{key: values[i] for key, values in columns.items()}}
            for i, category in enumerate(ids)
        ]

    def draw(self, image: Any, detections: BoxList) -> np.ndarray:
        """The picture with its detections: uint8 [H, W, 3], BGR; a small one is enlarged, a LargeImage reduced."""
        if isinstance(image, LargeImage):
            scale = DRAWN_SIDE / max(image.size)
            image = image.resize(tuple(max(round(side * scale), 1) for side in image.size))  # type: ignore[arg-type]
            detections = _without_masks(detections).resize(image.size)
        return draw_detections(to_bgr(image), detections, self.caption)


def _without_masks(detections: BoxList) -> BoxList:
    """Masks are of the image's size, which is too large to draw them in."""
    return detections.copy_with_fields([name for name in detections.fields() if name != "rle"])


def _with_scores(found: BoxList) -> BoxList:
    """A region proposal network's boxes are of one class."""
    if not found.has_field("scores"):
        found.add_field("scores", found.get_field("objectness"))
        found.add_field("labels", torch.ones(len(found), dtype=torch.int64, device=found.bbox.device))
    return found


def _check_numbers(threshold: Any, **counts: Any) -> None:
    if not (isinstance(threshold, Real) and 0 <= float(threshold) <= 1):
        raise ConfigError(f"The threshold is the least score of a detection, from 0 to 1; got {threshold!r}.")
    for name, count in counts.items():
        if count is not None and not (isinstance(count, Integral) and int(count) >= 1):
            raise ConfigError(
                f"top_k and batch_size (--top-k, --batch-size) must be whole numbers, 1 or more; got {name} {count!r}."
            )


def _configuration(cfg: Any, opts: Sequence[Any]) -> Any:
    if not isinstance(cfg, (str, os.PathLike, CfgNode)):
        raise ConfigError(f"A configuration is one of this package's, or the path of its file; got {cfg!r}.")
    if not isinstance(opts, (list, tuple)):
        raise ConfigError(f"opts are changes of the configuration, [key, value, key, value, ...]; got {opts!r}.")
    if isinstance(cfg, (str, os.PathLike)):
        path, cfg = os.fspath(cfg), defaults.clone()
        cfg.defrost()
        cfg.merge_from_file(path)
    else:
        cfg = cfg.clone()
        cfg.defrost()
    cfg.merge_from_list(list(opts))
    check_config(cfg)
    cfg.MODEL.ROI_MASK_HEAD.POSTPROCESS_MASKS = False  # they are pasted into the picture as it is, after the selection
    return cfg


def _device(name: str, insist: bool) -> torch.device:
    if name.startswith("cuda") and not torch.cuda.is_available():
        said = f"torch {torch.__version__} finds no GPU here"
        if insist:
            raise ConfigError(f"The device is {name!r}, but {said}; take 'cpu'.")
        logger.info("%s: the CPU computes (MODEL.DEVICE is %s).", said, name)
        return torch.device("cpu")
    try:
        return torch.device(name)
    except RuntimeError:
        raise ConfigError(f"{name!r} is no device; there are 'cpu' and 'cuda', 'cuda:0' and so on.") from None
