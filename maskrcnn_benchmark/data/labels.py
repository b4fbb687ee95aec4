"""Which label of a model stands for which category of a data set: by names, because ids and order differ between files."""

import itertools
import logging
from collections.abc import Mapping
from typing import Any

from maskrcnn_benchmark.config.node import ConfigError
from maskrcnn_benchmark.data.datasets.facts import class_names, labels_by_image
from maskrcnn_benchmark.utils.wording import listed

REMEDY = "Test with the annotations that belong to the model, or rename the classes in the files."

logger = logging.getLogger(__name__)


def parts_of(dataset: Any) -> list:
    """The data sets that one is joined from, or itself."""
    return list(getattr(dataset, "datasets", [dataset]))


def names_of(dataset: Any) -> dict[int, str]:
    """The name of each label, from 1; of joined data sets the first one's, to which the others were matched."""
    return class_names(parts_of(dataset)[0])


def set_class_names(model: Any, names: Mapping[int, str]) -> None:
    """Note what a model's labels are called, for `match_labels`."""
    model.class_names = dict(names)


def labelled_as(dataset: Any, known: Mapping[int, str], num_classes: int = 0) -> dict[int, str]:
    """Label a data set to train on as the weights do that the training starts from, where they have its classes in another order.

    Args:
        known: what the labels of the weights are called; empty if nobody knows.
        num_classes: the model's, without the background. Where it is that of `known`, the data may lack some of the classes.

    Returns:
        The name of each label from now on. Where the classes are others, that is said, and labels stay.
    """
    own = names_of(dataset)
    if not known or not own or own == dict(known):
        return own
    is_part = len(known) == num_classes and set(own.values()) < set(known.values())
    if is_part or sorted(own.values()) == sorted(known.values()):
        match_labels(dataset, known, "The training data")
        return dict(known)
    if len(own) == len(known):
        logger.warning(
            "The weights that the training starts from are of other classes (%s) than the data (%s): the layers that tell "
            "classes start from theirs, in this order.",
            listed(known.values(), 10),
            listed(own.values(), 10),
        )
    return own


def ids_of_labels(dataset: Any, names: Mapping[int, str]) -> dict[Any, str]:
    """The name of each label by the id that the data of a training give it, in the order of the labels: what labels.json says.

    A label that the data lack gets an id behind theirs.
    """
    first = parts_of(dataset)[0]
    known = getattr(first, "contiguous_category_id_to_json_id", None)
    ids = dict(known) if isinstance(known, Mapping) else {label: label for label in names}
    others = itertools.count(max((id for id in ids.values() if isinstance(id, int)), default=0) + 1)
    return {ids[label] if label in ids else next(others): names[label] for label in sorted(names)}


def keep_placeholder(dataset: Any, num_classes: int) -> None:
    """Give the category that stands for no class (`has_placeholder`) a label too where the model counts it: upstream's models do.

    Args:
        num_classes: the model's, with the background.
    """
    for part in parts_of(dataset):
        if getattr(part, "placeholder", False) and num_classes == part.num_classes + 1:
            part.set_labels(sorted([*part.json_category_id_to_contiguous_id, part.placeholder_id]))


def match_labels(dataset: Any, names: Mapping[int, str], name: str) -> None:
    """Label the categories of a data set as the model does whose classes are called `names`.

    Categories of the same name are taken for the same, also where that differs in capitals. A class that the data set lacks is
    left out of its mean, and that is said. Raises ConfigError for objects of a class that the model does not know, and where no
    class is known.

    Args:
        name: of the data set, for messages.
    """
    for part in parts_of(dataset):
        own = class_names(part)
        if not own or not names or own == dict(names):
            continue
        if hasattr(part, "set_classes"):
            _set_classes(part, own, names, name)
            continue
        if not hasattr(part, "set_labels") or not hasattr(part, "contiguous_category_id_to_json_id"):
            _check_order(own, names, name)
            continue
        key = _key(own, names)
        ids = {key(own[label]): id for label, id in part.contiguous_category_id_to_json_id.items()}
        known = {key(n) for n in names.values()}
        used = set(labels_by_image(part)[0].tolist())
        unknown = [own[label] for label in own if key(own[label]) not in known and label in used]
        if unknown:
            raise _unknown(name, unknown, names)
        if not known & set(ids):
            raise ConfigError(
                f"None of the classes of {name} ({listed(own.values())}) is one that the model knows: "
                f"{listed(names.values(), 20)}. {REMEDY}"
            )
        part.set_labels([ids.get(key(names[label])) if label in names else None for label in range(1, max(names) + 1)])
        lacking = [n for n in names.values() if key(n) not in ids]
        if lacking:
            logger.warning(
                "%s has no category %s, which the model knows: left out of the mean. The others are matched by name.",
                name,
                listed(lacking),
            )
        else:
            logger.info("%s: categories are matched with the model's by name; ids or order differ.", name)


def _unknown(name: str, unknown: list[str], names: Mapping[int, str]) -> ConfigError:
    return ConfigError(
        f"{name} has objects of {listed(unknown)}, which the model does not know. It knows: {listed(names.values(), 20)}. "
        f"{REMEDY}"
    )


def _set_classes(part: Any, own: Mapping[int, str], names: Mapping[int, str], name: str) -> None:
    """`match_labels` of a data set whose objects name their classes."""
    key = _key(own, names)
    known = {key(n) for n in names.values()}
    unknown = [n for n in own.values() if key(n) not in known]
    if unknown:
        raise _unknown(name, unknown, names)
    part.set_classes([names.get(label, f"class {label}") for label in range(1, max(names) + 1)])
    lacking = [n for n in names.values() if key(n) not in {key(o) for o in own.values()}]
    if lacking:
        logger.warning("%s has no objects of %s, which the model knows: left out of the mean.", name, listed(lacking))


def _key(own: Mapping[int, str], names: Mapping[int, str]) -> Any:
    """What is compared of a name: not its capitals, unless two classes differ in them alone."""

    def loose(name: str) -> str:
        return name.strip().casefold()

    is_clear = all(len({loose(n) for n in of.values()}) == len(of) for of in (own, names))
    return loose if is_clear else str


def _check_order(own: Mapping[int, str], names: Mapping[int, str], name: str) -> None:
    """For a data set whose labels cannot be changed."""
    key = _key(own, names)
    for label, class_name in own.items():
        if key(class_name) != key(names.get(label, "")):
            raise ConfigError(
                f"{name} calls label {label} {class_name!r}, the model {names.get(label, 'nothing')!r}: the classes of this kind "
                f"of data set must be in the model's order. The model's: {listed(names.values(), 20)}."
            )


def match_parts(parts: list, names: list[str]) -> None:
    """Label data sets that are trained on together as the first one does, by name. Raises ConfigError where that cannot be."""
    first = class_names(parts[0])
    for part, name in zip(parts[1:], names[1:], strict=True):
        own = class_names(part)
        if not own or not first or own == first:
            continue
        key = _key(own, first)
        if hasattr(part, "set_labels") and {key(n) for n in own.values()} <= {key(n) for n in first.values()}:
            match_labels(part, first, name)
            continue
        raise ConfigError(
            f"{names[0]} and {name} cannot be trained on together: their categories differ "
            f"({', '.join(first.values())}; {', '.join(own.values())})."
        )
