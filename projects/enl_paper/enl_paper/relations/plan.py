"""Where everything stands in a scene, before a pixel is drawn.

Boxes are (x1, y1, x2, y2) in pixels, corners at pixel edges. Nearness t is the scale of perspective: 1 at the lower
edge of the image, towards 0 at the horizon; for things in the sky it is their size relative to the nearest.
"""

from __future__ import annotations

from dataclasses import dataclass, field, replace

import numpy as np

from .spec import DECIDED_PAIRS, RelationsSpec

Box = tuple[float, float, float, float]


@dataclass(frozen=True)
class Thing:
    """One thing of a scene. ``category`` is "" for what carries no annotation; ``look`` names a drawer.

    stands: whether it is drawn. A decider that does not stand still keeps its place: what else is in the scene must
    not tell which decider it is.
    """

    look: str
    category: str
    box: Box
    near: float
    seed: int
    clear: bool = True
    crowd: bool = False
    stands: bool = True


@dataclass(frozen=True)
class Decision:
    """One pair of decided categories in one scene.

    slot: where the decider stands; its box, nearness and seed do not depend on which decider it is.
    label: which category of the pair the members are.  decider: which decider stands in the slot, None for neither.
    """

    slot: Thing
    members: tuple[Thing, ...]
    label: int
    decider: int | None


@dataclass(frozen=True)
class ScenePlan:
    """height, width, horizon: pixels.  seed: of the backdrop and the camera."""

    height: int
    width: int
    horizon: int
    seed: int
    hardness: float
    things: tuple[Thing, ...] = ()
    decisions: dict[str, Decision] = field(default_factory=dict)

    def resolved(self) -> list[Thing]:
        """Every thing with its category; both deciders of a pair, of which one stands, or none."""
        things = list(self.things)
        for look, decision in self.decisions.items():
            pair = DECIDED_PAIRS[look]
            things += [replace(member, category=pair[decision.label][0]) for member in decision.members]
            for number, (_, kind) in enumerate(pair):
                things.append(replace(decision.slot, look=kind, category=kind, stands=number == decision.decider))
        return things

    def flipped(self, look: str) -> ScenePlan:
        """The same scene with the class of one decided pair, and its decider if one stands, exchanged."""
        old = self.decisions[look]
        new = replace(old, label=1 - old.label, decider=None if old.decider is None else 1 - old.decider)
        return replace(self, decisions={**self.decisions, look: new})


def gap(a: Box, b: Box) -> float:
    """Distance between two boxes along the axis on which they are farther apart, pixels; 0 or less: they touch."""
    return max(b[0] - a[2], a[0] - b[2], b[1] - a[3], a[1] - b[3])


def least_gap(box: Box, unit: float) -> float:
    """How far from its decider a decided object with this box has to be, in an image of shorter side ``unit``."""
    return max(2.0 * max(box[2] - box[0], box[3] - box[1]), 0.1 * unit)


def _covered(a: Box, b: Box) -> float:
    """Share of the smaller of two boxes that lies within the other."""
    across, down = min(a[2], b[2]) - max(a[0], b[0]), min(a[3], b[3]) - max(a[1], b[1])
    if across <= 0 or down <= 0:
        return 0.0
    return across * down / min((a[2] - a[0]) * (a[3] - a[1]), (b[2] - b[0]) * (b[3] - b[1]))


class _Planner:
    """Draws the parts of one scene; the order of the draws does not depend on ``spec.context``."""

    def __init__(self, spec: RelationsSpec, rng: np.random.Generator) -> None:
        self.spec, self.rng = spec, rng
        least, most = -(-spec.sides[0] // spec.multiple), spec.sides[1] // spec.multiple
        self.height = int(rng.integers(least, most + 1)) * spec.multiple
        wide = (self.height * rng.uniform(0.8, 1.7)) // spec.multiple
        self.width = int(np.clip(wide, least, most)) * spec.multiple
        self.unit = min(self.height, self.width)
        self.horizon = int(self.height * rng.uniform(0.34, 0.46))
        self.things: list[Thing] = []
        self.slots: list[Thing] = []
        self.taken: list[Box] = []

    def seed(self) -> int:
        return int(self.rng.integers(1 << 62))

    def base(self, near: float) -> float:
        return self.horizon + near * (self.height - self.horizon)

    def sized(self, world: float, near: float, aspect: float) -> tuple[float, float]:
        """Width and height, pixels, of a thing ``world`` high at nearness 1, in units of the shorter image side."""
        height = world * self.unit * near * self.spec.scale
        height = max(height, self.spec.min_side / max(aspect, 1.0))
        return height * aspect, height

    def on_ground(self, world: float, near: float, aspect: float, x: float) -> Box:
        width, height = self.sized(world, near, aspect)
        foot = self.base(near)
        return x - width / 2, foot - height, x + width / 2, foot

    def in_sky(self, world: float, near: float, aspect: float, x: float, y: float) -> Box:
        width, height = self.sized(world, near, aspect)
        y = float(np.clip(y, height / 2 + 2, max(self.horizon * 0.98 - height / 2, height / 2 + 2)))
        return x - width / 2, y - height / 2, x + width / 2, y + height / 2

    def free(self, box: Box, most: float) -> bool:
        return all(_covered(box, other) <= most for other in self.taken)

    def put(self, thing: Thing) -> None:
        self.things.append(thing)
        self.taken.append(thing.box)

    def slot(self) -> Thing | None:
        """A place for a decider: within the image and beside the other decider's place."""
        for _ in range(40):
            near = self.rng.uniform(0.45, 0.8)
            height = min(0.8 * self.unit * near * self.rng.uniform(0.85, 1.1), 0.97 * self.base(near))
            half = 0.45 * height
            x = self.rng.uniform(half, self.width - half)
            box = (x - half, self.base(near) - height, x + half, self.base(near))
            if all(box[2] <= other.box[0] or other.box[2] <= box[0] for other in self.slots):
                thing = Thing("", "", box, near, self.seed())
                self.slots.append(thing)
                self.taken.append(box)
                return thing
        return None

    def decided(self, look: str, slot: Thing) -> tuple[Thing, ...]:
        """Objects whose class the slot will decide, all of them out of its neighbourhood."""
        members: list[Thing] = []
        wanted = int(self.rng.integers(self.spec.decided[0], self.spec.decided[1] + 1))
        for _ in range(40 * wanted):
            if len(members) == wanted:
                break
            x, near = self.rng.uniform(0.04, 0.96) * self.width, self.rng.uniform(max(self.spec.far, 0.45), 1.0)
            if look == "disc":
                box = self.on_ground(0.12, near, 1.0, x)
            else:
                box = self.in_sky(0.075, near, 2.0, x, self.rng.uniform(0.04, 0.95) * self.horizon)
            inside = box[0] >= 0 and box[2] <= self.width
            if inside and gap(box, slot.box) >= least_gap(box, self.unit) and self.free(box, 0.0):
                members.append(Thing(look, "", box, near, self.seed()))
                self.taken.append(box)
        return tuple(members)

    def decision(self, look: str, active: bool) -> Decision | None:
        idle, label, other = self.rng.random() < self.spec.idle, *(int(v) for v in self.rng.integers(2, size=2))
        slot = self.slot() if active or idle else None
        if slot is None:
            return None
        members = self.decided(look, slot) if active else ()
        if not members:
            return Decision(slot, (), label, other)
        decider = {"true": label, "shuffled": other, "removed": None}[self.spec.context]
        return Decision(slot, members, label, decider)

    def line(self, count: int) -> tuple[np.ndarray, np.ndarray]:
        """x and height in the sky, pixels, of ``count`` things in an even line that goes away from the viewer."""
        rng = self.rng
        side = 1 if rng.random() < 0.5 else -1
        first, last = 0.5 + side * rng.uniform(0.25, 0.42), 0.5 - side * rng.uniform(0.1, 0.42)
        xs = np.linspace(first, last, count) + rng.uniform(-0.01, 0.01, count)
        ys = np.linspace(rng.uniform(0.1, 0.6), rng.uniform(0.5, 0.95), count)
        return xs * self.width, ys * self.horizon

    def group(self, look: str) -> None:
        """A group of one category in an even line, or, in its place, the same degraded things strewn about.

        Each strewn thing takes its place in a line of its own, so that the place of a single one tells nothing.
        """
        spec, rng = self.spec, self.rng
        count = int(rng.integers(spec.group[0], spec.group[1] + 1))
        clear = max(1, count - int(np.floor(spec.hardness * count + rng.random())))
        decoy = rng.random() < spec.decoys
        nears = np.linspace(rng.uniform(0.75, 1.0), spec.far + 0.25 * rng.random(), count)
        shared = self.line(count)
        for i in range(clear if decoy else 0, count):
            xs, ys = self.line(count) if decoy else shared
            x, y, near = float(xs[i]), float(ys[i]), float(nears[i])
            if look == "sheep":
                box = self.on_ground(0.15, near, 1.4, x)
            else:
                box = self.in_sky(0.2, near, 0.75, x, y)
            self.put(Thing(look, "" if decoy else look, box, near, self.seed(), clear=i < clear))
        if look == "sheep" and not decoy and rng.random() < spec.herd:
            near = spec.far + 0.15
            box = self.on_ground(0.22, near, rng.uniform(2.5, 4.0), rng.uniform(0.15, 0.85) * self.width)
            self.put(Thing("herd", "sheep", box, near, self.seed(), crowd=True))

    def scatter(self, look: str, category: str, world: float, aspect: float, most_covered: float) -> None:
        """One thing on the ground where there is room for it; none if there is not."""
        for _ in range(12):
            near, x = self.rng.uniform(self.spec.far, 1.0), self.rng.uniform(0.0, 1.0) * self.width
            box = self.on_ground(world, near, aspect, x)
            if self.free(box, most_covered):
                self.put(Thing(look, category, box, near, self.seed()))
                return

    def clutter(self) -> None:
        for _ in range(int(self.rng.poisson(1.0 + 5.0 * self.spec.hardness))):
            look, world, aspect = (("bush", 0.13, 1.5), ("tuft", 0.09, 1.3), ("fence", 0.12, 3.0))[self.rng.integers(3)]
            self.scatter(look, "", world * self.rng.uniform(0.6, 1.2), aspect, 0.3 + 0.2 * self.spec.hardness)


def plan_scene(spec: RelationsSpec, index: int, seed: int) -> ScenePlan:
    """Lay out scene number ``index`` of the stream ``seed``; the same arguments give the same plan."""
    rng = np.random.default_rng([seed, index])
    planner = _Planner(spec, rng)
    empty = rng.random() < spec.empty
    number = int(rng.integers(spec.episodes[0], spec.episodes[1] + 1))
    chosen = {str(name) for name in rng.permutation([*DECIDED_PAIRS, "sheep", "balloon"])[:number]}
    decisions: dict[str, Decision] = {}
    if not empty:
        for look in DECIDED_PAIRS:
            decision = planner.decision(look, look in chosen)
            if decision is not None:
                decisions[look] = decision
        for look in ("sheep", "balloon"):
            if look in chosen:
                planner.group(look)
        for _ in range(int(rng.integers(spec.alone[0], spec.alone[1] + 1))):
            look, world, aspect = (("car", 0.22, 2.0), ("sign", 0.32, 0.42))[rng.integers(2)]
            planner.scatter(look, look, world, aspect, 0.25)
    planner.clutter()
    return ScenePlan(
        planner.height, planner.width, planner.horizon, planner.seed(), spec.hardness, tuple(planner.things), decisions
    )
