from maskrcnn_benchmark.data.transforms import transforms as T


def build_transforms(cfg, is_train: bool = True) -> T.Compose:
    """What the INPUT keys describe; nothing random for testing."""
    source = cfg.INPUT
    steps: list = []
    if is_train:
        jitter = (source.BRIGHTNESS, source.CONTRAST, source.SATURATION, source.HUE)
        if any(jitter):
            steps.append(T.ColorJitter(*jitter))
        steps.append(T.Resize(source.MIN_SIZE_TRAIN, source.MAX_SIZE_TRAIN))
        steps.append(T.RandomHorizontalFlip(source.HORIZONTAL_FLIP_PROB_TRAIN))
        steps.append(T.RandomVerticalFlip(source.VERTICAL_FLIP_PROB_TRAIN))
    else:
        steps.append(T.Resize(source.MIN_SIZE_TEST, source.MAX_SIZE_TEST))
    steps += [T.ToTensor(), T.Normalize(source.PIXEL_MEAN, source.PIXEL_STD, source.TO_BGR255)]
    return T.Compose(steps)
