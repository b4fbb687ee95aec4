"""What the Relations data set holds, and the numbers that shape it.

The paper (Levi and Ullman, BMVC 2019, figure 1) names two ways in which the rest of an image helps with a small
object: other instances of the same class, and a larger object of a related class. Relations holds both on purpose, so
that a detector that carries information across the image can be told from one that does not. Every category has a role:

``alone``
    car, sign. Decidable by their own look, from small to large.
``repeated``
    sheep, balloon. They come in groups. The near members of a group are clear; a share ``hardness`` of them, the
    farther ones, are degraded: small, blurred, pale and without detail. In a share ``decoys`` of the scenes that could
    hold a group, the same degraded things stand alone, strewn about, with no clear one anywhere: boulders and specks
    in the sky, not annotated. Code, number, size, colour and place of a single one are distributed as in a group; what
    differs is that a group has clear members and stands in an even line. **Without context** a degraded thing is an
    object with probability 1 - decoys, so the best accuracy of "object or clutter" is max(decoys, 1 - decoys): chance,
    1/2, in the preset "full", 3/5 in "small", 3/4 in "demo".
``decided``
    ball and fruit are one glossy disc, gull and crow are one dark bird: their pixels, sizes, places and backgrounds are
    distributed identically. The class is given by which decider stands in the image: a goal makes a ball of every
    disc and a tree makes a fruit of it; a lighthouse makes a gull of every bird and a barn makes a crow of it. The
    classes of a pair are equally frequent. **Without context** the best accuracy among the two is therefore 1/2, and
    as scores cannot rank the right ones first, the AP of these four categories is about 0.5 at most.
    The decider is never near: a decided object's box, grown on each side by twice its own longer side or by a tenth
    of the image's shorter side, whichever is more, does not touch the decider's place.
``decider``
    goal, tree, lighthouse, barn. Large and decidable by their own look. They also stand in scenes without decided
    objects, so that finding one says nothing about whether there is anything to decide.

``context`` is the control. "true" is the above. "removed" leaves the decider's place empty in every scene with objects
to decide; "shuffled" draws the decider at random, whatever the label. In both, nothing in the image tells the two
classes apart, so the accuracy among them is 1/2 for **every** detector and any gain that context brought must vanish.
The three settings share their scenes: with equal seed and index they differ in the deciders alone.

Small means a mask of less than 32 x 32 pixels, as in COCO. Images are meant to be used at the size they were made.
"""

from __future__ import annotations

from dataclasses import dataclass

ROLES = ("alone", "repeated", "decided", "decider")
CONTEXTS = ("true", "removed", "shuffled")


def _category(number: int, name: str, group: str, role: str) -> dict:
    return {"id": number, "name": name, "supercategory": group, "role": role}


# The numbers leave gaps, as COCO's do: code that takes a category id for a class index fails here at once.
RELATIONS_CATEGORIES: tuple[dict, ...] = (
    _category(1, "car", "vehicle", "alone"),
    _category(2, "sign", "street", "alone"),
    _category(4, "sheep", "animal", "repeated"),
    _category(7, "balloon", "vehicle", "repeated"),
    _category(11, "ball", "disc", "decided"),
    _category(12, "fruit", "disc", "decided"),
    _category(15, "gull", "bird", "decided"),
    _category(16, "crow", "bird", "decided"),
    _category(21, "goal", "place", "decider"),
    _category(22, "tree", "place", "decider"),
    _category(27, "lighthouse", "place", "decider"),
    _category(30, "barn", "place", "decider"),
)

# look of the decided objects -> its two (decided category, decider category)
DECIDED_PAIRS: dict[str, tuple[tuple[str, str], tuple[str, str]]] = {
    "disc": (("ball", "goal"), ("fruit", "tree")),
    "wing": (("gull", "lighthouse"), ("crow", "barn")),
}


def _check_range(name: str, value: tuple, low: float, high: float) -> None:
    if len(value) != 2 or not low <= value[0] <= value[1] <= high:
        raise ValueError(f"{name} must be two numbers (least, most) within [{low}, {high}], got {value!r}")


@dataclass(frozen=True)
class RelationsSpec:
    """The shape of the scenes; every range is (least, most), both included.

    sides: height and width of the images, pixels, each a multiple of ``multiple``.
    episodes: how many of the four relational situations (discs, birds, sheep, balloons) a scene draws.
    decided, group, alone: objects in each of these situations.
    scale: size of everything but the deciders, relative to the preset "demo".
    far: how far back things stand: the scale of the farthest relative to one at the lower edge, 0 to 1.
    min_side: the least longer side of an object, pixels.
    hardness: 0 to 1: share of degraded group members, clutter, noise and softness.
    decoys, idle, herd, empty: share of possible groups that are decoys; of decider places used in scenes with nothing
    to decide; of sheep groups that also have a crowd; of scenes without any annotation.
    image_format: "jpg" or "png".
    """

    context: str = "true"
    sides: tuple[int, int] = (192, 800)
    multiple: int = 8
    episodes: tuple[int, int] = (2, 4)
    decided: tuple[int, int] = (1, 4)
    group: tuple[int, int] = (5, 11)
    alone: tuple[int, int] = (1, 5)
    scale: float = 0.5
    far: float = 0.15
    min_side: int = 8
    hardness: float = 0.7
    decoys: float = 0.5
    idle: float = 0.35
    herd: float = 0.15
    empty: float = 0.02
    image_format: str = "jpg"

    def __post_init__(self) -> None:
        if self.context not in CONTEXTS:
            raise ValueError(f"context must be one of {', '.join(CONTEXTS)}, got {self.context!r}")
        if self.image_format not in ("jpg", "png"):
            raise ValueError(f"image_format must be jpg or png, got {self.image_format!r}")
        _check_range("sides", self.sides, 128, 4096)
        _check_range("episodes", self.episodes, 0, 4)
        _check_range("decided", self.decided, 1, 20)
        _check_range("group", self.group, 2, 40)
        _check_range("alone", self.alone, 0, 40)
        for name in ("hardness", "decoys", "idle", "herd", "empty"):
            _check_range(name, (getattr(self, name),) * 2, 0.0, 1.0)
        for name, low, high in (("scale", 0.2, 1.5), ("far", 0.05, 0.6), ("min_side", 4, 64), ("multiple", 1, 128)):
            _check_range(name, (getattr(self, name),) * 2, low, high)
        if self.sides[1] // self.multiple * self.multiple < self.sides[0]:
            raise ValueError(f"no multiple of {self.multiple} lies within sides={self.sides}: widen sides")


PRESETS: dict[str, RelationsSpec] = {
    "demo": RelationsSpec(
        sides=(192, 256),
        multiple=32,
        episodes=(1, 2),
        decided=(1, 2),
        group=(3, 5),
        alone=(0, 2),
        scale=1.0,
        far=0.4,
        min_side=12,
        hardness=0.2,
        decoys=0.25,
        idle=0.3,
        herd=0.08,
    ),
    "small": RelationsSpec(
        sides=(192, 224),
        multiple=32,
        episodes=(2, 3),
        decided=(3, 6),
        group=(5, 8),
        alone=(0, 1),
        scale=0.9,
        far=0.35,
        min_side=9,
        hardness=0.3,
        decoys=0.4,
        idle=0.3,
        herd=0.08,
    ),
    "full": RelationsSpec(),
}
