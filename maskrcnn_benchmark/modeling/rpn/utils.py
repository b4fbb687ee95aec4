from torch import Tensor

from maskrcnn_benchmark.modeling.utils import cat


def permute_and_flatten(layer: Tensor, N: int, A: int, C: int, H: int, W: int) -> Tensor:
    """Tensor[N, A * C, H, W] -> Tensor[N, H * W * A, C], the order of the anchors."""
    return layer.view(N, A, C, H, W).permute(0, 3, 4, 1, 2).reshape(N, -1, C)


def concat_box_prediction_layers(box_cls: list[Tensor], box_regression: list[Tensor]) -> tuple[Tensor, Tensor]:
    """Predictions of all levels in anchor order, image after image.

    Args:
        box_cls: Tensor[N, A * C, H_l, W_l] for each level.
        box_regression: Tensor[N, A * 4, H_l, W_l] for each level.

    Returns:
        Tensor[N * sum(H_l * W_l * A), C] and Tensor[N * sum(H_l * W_l * A), 4].
    """
    classes, boxes = [], []
    for cls, box in zip(box_cls, box_regression, strict=True):
        n, channels, height, width = cls.shape
        anchors = box.shape[1] // 4
        classes.append(permute_and_flatten(cls, n, anchors, channels // anchors, height, width))
        boxes.append(permute_and_flatten(box, n, anchors, 4, height, width))
    return cat(classes, dim=1).flatten(0, 1), cat(boxes, dim=1).flatten(0, 1)
