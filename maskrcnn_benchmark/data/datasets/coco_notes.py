"""What is said when a COCO file is loaded about what is wrong or missing in it."""

import logging

from maskrcnn_benchmark.data.datasets.coco_categories import without_placeholder
from maskrcnn_benchmark.data.datasets.coco_index import DEFECTS, CocoIndex
from maskrcnn_benchmark.utils.wording import counted

logger = logging.getLogger("maskrcnn_benchmark.data.datasets.coco")


def report(index: CocoIndex, name: str, only_trainable: bool, for_keypoints: bool = True) -> None:
    """One warning for each kind of defect of the file called `name`, of which all images or the trainable ones are used."""
    trainable = index.trainable if for_keypoints else index.with_objects
    meta, dropped = index.meta, index.dropped[:, 1]
    for defect, (reason, example) in enumerate(zip(DEFECTS, meta["dropped_ids"], strict=True)):
        count = int((dropped == defect).sum())
        if count:
            logger.warning(
                "%s: left out %s (%s), for example id %s.", name, counted(count, "annotation"), reason, example
            )
    if only_trainable and (left := int((~trainable).sum())):
        logger.info(
            "%s: %s of %d without objects to train on, left out (DATALOADER.FILTER_EMPTY_ANNOTATIONS).",
            name,
            counted(left, "image"),
            len(index.image_ids),
        )
    _note(name, meta["images"], 'left out {} without an "id", for example entry {}.', "image")
    if meta["image_ids"][0]:
        logger.warning(
            "%s: %s the id of another one; of several the last counts.",
            name,
            counted(meta["image_ids"][0], "image has", "images have"),
        )
    _note(
        name,
        meta["sizes"],
        '{} no usable "width" and "height"; they are read from the files, for example of id {}.',
        "image has",
        "images have",
    )
    _note(
        name,
        meta["area"],
        '{} no usable "area"; it is computed from the mask or the box, for example of id {}.',
        "annotation has",
        "annotations have",
    )
    _note(
        name,
        meta["iscrowd"],
        '{} no usable "iscrowd"; it is taken as 0, for example of id {}.',
        "annotation has",
        "annotations have",
    )
    entries = without_placeholder(meta["categories"], meta["placeholder"])
    numbered = [c for c in entries if "given_name" in c]
    if numbered:
        logger.warning(
            "%s: %s the name of another one and a number behind it here, for example id %s, %s.",
            name,
            counted(len(numbered), "category has", "categories have"),
            numbered[0]["id"],
            numbered[0]["name"],
        )
    if odd := meta["odd_keypoints"][0]:
        logger.warning(
            "%s: %s another number of keypoints than %s: taken as not labelled, for example of id %s.",
            name,
            counted(odd, "annotation has", "annotations have"),
            f"the others, {meta['num_keypoints']}" if meta["num_keypoints"] else "others",
            meta["odd_keypoints"][1][0],
        )
    if only_trainable and for_keypoints:
        few = (
            f"left out {{}} with fewer than {counted(meta['least_visible'], 'visible keypoint')}, for example id {{}}."
        )
        _note(name, meta["few_visible"], few, "image")


def _note(name: str, found: list, sentence: str, singular: str, plural: str = "") -> None:
    count, example = found
    if count:
        logger.warning("%s: %s", name, sentence.format(counted(count, singular, plural), example))
