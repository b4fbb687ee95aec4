"""COCO's format, one JSON file, and LVIS, whose images are named by their addresses."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

from maskrcnn_benchmark.data.datasets.coco_categories import has_placeholder, says_placeholder, without_placeholder
from maskrcnn_benchmark.data.datasets.coco_entries import matching_id
from maskrcnn_benchmark.data.datasets.coco_tree import load_coco
from maskrcnn_benchmark.data.datasets.image_names import ImageNames
from maskrcnn_benchmark.data.formats.content import Content, Originals, single
from maskrcnn_benchmark.data.formats.files import single_file
from maskrcnn_benchmark.utils.files import read_json, write_json
from maskrcnn_benchmark.utils.progress_bar import progress_bar

LISTS = ("images", "categories", "annotations")
OTHER_SIZE = "images whose size is not the one that the file says, left out"


def recognises(path: Path) -> bool:
    """Whether this is a file in COCO's format, also one that lacks "categories", of which `read` says so."""
    if path.suffix.lower() != ".json" or not path.is_file():
        return False
    try:
        content = read_json(path)
    except ValueError:
        return False
    return isinstance(content, dict) and "images" in content and bool({"categories", "annotations"} & set(content))


def read(path: str, images: str = "", split: str = "", classes: Sequence[str] = ()) -> Content:
    """A set from its file.

    Args:
        images: folder of the images; by default that of the file.
        split: not known to this form.
        classes: only these categories, in this order. Without them the content's `originals` are what the file has.

    Raises FileNotFoundError or ValueError with a sentence.
    """
    if split:
        raise ValueError(f"A file in COCO's format has no splits; leave SPLIT {split!r} out and name the split's file.")
    content = Content(images or str(Path(path).parent))
    coco = load_coco(
        path, useless=False, lost=lambda what, where: content.notes.add(f"{what}, left out", f"{path}: {where}")
    )
    content.annotated = "annotations" in coco.dataset
    categories = sorted(coco.cats.values(), key=lambda category: category["id"])
    used = {matching_id(annotation.get("category_id")) for annotation in coco.anns.values()}
    # Not by the objects alone, as in training: a split may have none of a class that another has, and classes are counted alike.
    is_placeholder = says_placeholder(categories) and 0 not in used
    if is_placeholder or has_placeholder(categories, used):
        does = (
            "says that it is no class, left out"
            if is_placeholder
            else "no object has, kept; trainings take it for no class"
        )
        content.notes.add(f"category 0, which {does}", f"{path}: {next(c['name'] for c in categories if c['id'] == 0)}")
    categories = without_placeholder(categories, is_placeholder)
    if classes:
        by_name = {category["name"]: category for category in categories}
        unknown = [name for name in classes if name not in by_name]
        if unknown:
            raise ValueError(f"{path} has no category {unknown[0]!r}; it has {', '.join(by_name)}.")
        categories = [by_name[name] for name in classes]
    numbers = {category["id"]: i for i, category in enumerate(categories, start=1)}
    content.categories = [{**category, "id": numbers[category["id"]]} for category in categories]
    others = {key: value for key, value in coco.dataset.items() if key not in LISTS}
    originals = Originals(categories={new: old for old, new in numbers.items()}, others=others)
    content.originals = None if classes else originals
    names = ImageNames(content.root, lambda: (str(image["file_name"]) for image in coco.imgs.values()))
    for image_id in progress_bar(sorted(coco.imgs), desc="reading annotations", unit="image", leave=False):
        described = coco.imgs[image_id]
        image = None
        with single(content.notes):
            image = _add_image(content, described, names, f"{path}: image {image_id}")
        if image is None:
            continue
        originals.images[image["id"]] = image_id
        originals.fields[image["id"]] = {key: value for key, value in described.items() if key not in image}
        for annotation in coco.imgToAnns.get(image_id, []):
            if annotation.get("category_id") in numbers and annotation.get("bbox"):
                kept = {k: v for k, v in annotation.items() if k not in ("id", "image_id", "category_id", "bbox")}
                content.add(image, numbers[annotation["category_id"]], annotation["bbox"], **kept)
                originals.annotations[content.annotations[-1]["id"]] = annotation["id"]
            else:
                content.notes.add(
                    "annotations without a box or of other categories, left out", f"{path}: {annotation.get('id')}"
                )
    if not content.images and content.notes.counts[OTHER_SIZE]:
        raise ValueError(content.notes.places[OTHER_SIZE][0])
    return content


def _add_image(content: Content, described: dict, names: ImageNames, where: str) -> dict | None:
    """The entry of an image; None for one of another size than the file says, as in training."""
    file, size = _file_name(described, content.root, names), (described.get("width"), described.get("height"))
    if not Path(content.root, file).is_file():
        return content.add_image(file, size if all(size) else None)  # type: ignore[arg-type]
    try:
        return content.add_annotated(file, size, where)
    except ValueError as error:
        content.notes.add(OTHER_SIZE, str(error))
        return None


def _file_name(image: dict, root: str, names: ImageNames) -> str:
    """LVIS has addresses alone, .../train2017/000000391895.jpg, whose folder counts where it is one of `root`."""
    tail = "/".join(str(image.get("coco_url") or "").split("/")[-2:])
    return (
        tail if tail and Path(root, tail).is_file() else names.find(str(image["file_name"])) or str(image["file_name"])
    )


def replaced(content: Content, out: str) -> list[Path]:
    """The file that `write` writes."""
    return [single_file(out, "annotations.json")]


def write(content: Content, out: str) -> str:
    """One file, `out` (or annotations.json in the folder `out`), with the ids of the file that the content is from, if it is one
    of this format; returns its path."""
    (file,) = replaced(content, out)
    file.parent.mkdir(parents=True, exist_ok=True)
    write_json(str(file), _as_it_was(content, content.originals) if content.originals else content.as_coco())
    return str(file)


def _as_it_was(content: Content, originals: Originals) -> dict:
    result = {
        **originals.others,
        "images": [{**originals.fields[i["id"]], **i, "id": originals.images[i["id"]]} for i in content.images],
        "categories": [{**c, "id": originals.categories[c["id"]]} for c in content.categories],
    }
    if content.annotated:
        result["annotations"] = [
            {
                **a,
                "id": originals.annotations[a["id"]],
                "image_id": originals.images[a["image_id"]],
                "category_id": originals.categories[a["category_id"]],
            }
            for a in content.annotations
        ]
    return result
