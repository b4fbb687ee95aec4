"""Relations: a generated COCO-format data set in which small objects need the rest of the image (see ``spec``)."""

from .render import generate_scene
from .spec import CONTEXTS, DECIDED_PAIRS, PRESETS, RELATIONS_CATEGORIES, ROLES, RelationsSpec
from .write import split_seed, write_relations

__all__ = [
    "CONTEXTS",
    "DECIDED_PAIRS",
    "PRESETS",
    "RELATIONS_CATEGORIES",
    "ROLES",
    "RelationsSpec",
    "generate_scene",
    "split_seed",
    "write_relations",
]
