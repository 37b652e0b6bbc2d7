"""Articulated objects, drawn from a seed: cabinets, fridges, ovens, microwaves, laptops, faucets, boxes, bins.

Objects are z-up and face +x; their closed shape fits a sphere around the origin of radius about 1. That is no metre:
PartNet-Mobility scales its objects so, and what is done with those fits these.
"""

from collections.abc import Iterator, Sequence
from dataclasses import dataclass, replace

import numpy as np
from numpy.typing import NDArray

from fourd_ros.data.articulation import SLIDES, Joint, joint_motions, to_y_up
from fourd_ros.data.partdrag4d_cameras import orbit_poses, project, raw_poses
from fourd_ros.errors import InvalidDataset
from fourd_ros.geometry.transforms import apply, rotation_from_quaternion
from fourd_ros.simulation.parts import Part, Vector

FloatArray = NDArray[np.float64]

SPLIT_SEEDS = 1_000_000
"""Of each split, and of each choice of seed within it: `SEEDS_PER_CHOICE`."""

SEEDS_PER_CHOICE = 100_000
RADIUS = (0.95, 1.2)
"""Of the sphere around the closed object."""

_MARGIN = 0.02
_SHRINK = 0.94


@dataclass(frozen=True, kw_only=True)
class Hinge:
    """A joint between the body and a part, in the frame of the object.

    Args:
        type: `revolute` or `prismatic`.
        origin: a point of the axis.
        direction: of the axis, unit length.
        upper: end of its range from 0 [degrees or lengths].
    """

    type: str
    origin: Vector
    direction: Vector
    upper: float


@dataclass(frozen=True, kw_only=True)
class MovingPart:
    """What moves on one joint, as it lies when that stands at 0.

    Args:
        name: unique in the object.
        hinge: its joint.
        shapes: its primitives, in the frame of the object.
    """

    name: str
    hinge: Hinge
    shapes: tuple[Part, ...]


@dataclass(frozen=True, kw_only=True)
class ArticulatedObject:
    """An object whose frame lies in the middle of its closed shape.

    Args:
        seed: it was drawn from.
        kind: key of `articulated_kinds.KINDS`.
        category: class of PartNet-Mobility that it belongs to.
        body: primitives that stand still.
        moving: the parts on joints.
    """

    seed: int
    kind: str
    category: str
    body: tuple[Part, ...]
    moving: tuple[MovingPart, ...]

    @property
    def name(self) -> str:
        """Digits, as the ids of PartNet-Mobility."""
        return f"{self.seed:07d}"

    @property
    def joint_table(self) -> tuple[Joint, ...]:
        """In the y-up frame of joint tables; points of part k carry the label k, those of the body the last one."""
        return tuple(
            Joint(
                key=str(index),
                type=part.hinge.type,
                origin=_y_up(part.hinge.origin),
                direction=_y_up(part.hinge.direction),
                lower=0.0,
                upper=part.hinge.upper,
                parts=(index,),
            )
            for index, part in enumerate(self.moving)
        )


def _y_up(vector: Vector) -> Vector:
    x, y, z = (float(value) for value in to_y_up(np.asarray(vector)))
    return x, y, z


@dataclass(frozen=True, kw_only=True)
class ArticulatedSplit:
    """Objects for one purpose; no two splits share an object.

    Args:
        first_seed: its objects count up from here.
        kinds: that are in it.
    """

    first_seed: int
    kinds: tuple[str, ...]


TRAINED_KINDS = ("cabinet", "fridge", "oven", "microwave", "laptop", "faucet", "box")
NEW_KINDS = ("bin",)
ARTICULATED_SPLITS = {
    "train": ArticulatedSplit(first_seed=0, kinds=TRAINED_KINDS),
    "validation": ArticulatedSplit(first_seed=SPLIT_SEEDS, kinds=TRAINED_KINDS),
    "test": ArticulatedSplit(first_seed=2 * SPLIT_SEEDS, kinds=TRAINED_KINDS),
    "new_kind": ArticulatedSplit(first_seed=3 * SPLIT_SEEDS, kinds=NEW_KINDS),
}


def articulated_seeds(split: str, *, seed: int, objects: int) -> range:
    """Seeds of the first objects of a choice within a split.

    Args:
        split: key of `ARTICULATED_SPLITS`.
        seed: which choice, from 0; other choices have other objects.
        objects: how many.

    Raises:
        InvalidDataset: there is no such split, or it has not that many objects.
    """
    if split not in ARTICULATED_SPLITS:
        raise InvalidDataset(f"there is no split '{split}' of articulated objects; there are {[*ARTICULATED_SPLITS]}")
    if objects > SEEDS_PER_CHOICE or not 0 <= seed < SPLIT_SEEDS // SEEDS_PER_CHOICE:
        raise InvalidDataset(
            f"{objects} objects of seed {seed}; a split has {SEEDS_PER_CHOICE} for each seed from 0 to "
            f"{SPLIT_SEEDS // SEEDS_PER_CHOICE - 1}"
        )
    first = ARTICULATED_SPLITS[split].first_seed + seed * SEEDS_PER_CHOICE
    return range(first, first + objects)


def split_of(seed: int) -> ArticulatedSplit:
    """The split that a seed belongs to.

    Raises:
        InvalidDataset: to none.
    """
    for split in ARTICULATED_SPLITS.values():
        if split.first_seed <= seed < split.first_seed + SPLIT_SEEDS:
            return split
    raise InvalidDataset(f"seed {seed} belongs to no split; seeds are below {len(ARTICULATED_SPLITS) * SPLIT_SEEDS}")


def sample_articulated(seed: int) -> ArticulatedObject:
    """The object of a seed, always the same one.

    Raises:
        InvalidDataset: the seed belongs to no split.
    """
    from fourd_ros.simulation.articulated_kinds import KINDS

    kinds = split_of(seed).kinds
    rng = np.random.default_rng((seed, 7))
    kind = KINDS[kinds[seed % len(kinds)]]
    body, moving = kind.sample(rng)
    drawn = ArticulatedObject(seed=seed, kind=kind.name, category=kind.category, body=tuple(body), moving=tuple(moving))
    return fitted(drawn, radius=float(rng.uniform(*RADIUS)))


def fitted(item: ArticulatedObject, *, radius: float) -> ArticulatedObject:
    """The object around the origin, of that radius or as much smaller as every camera needs to see all of it."""
    corners = _corners(_all_shapes(item))
    low, high = corners.min(axis=0), corners.max(axis=0)
    middle = (low + high) / 2
    item = _scaled(item, radius / float(np.linalg.norm(high - low) / 2), middle)
    while not _is_seen(item):
        item = _scaled(item, _SHRINK, np.zeros(3))
    return item


def extreme_corners(item: ArticulatedObject) -> FloatArray:
    """Corners of the boxes around all primitives at rest, and of each moving part at the end of its range, [N, 3]."""
    corners = [_corners(_all_shapes(item))]
    for part in item.moving:
        hinge = part.hinge
        ends = np.linspace(0.0, hinge.upper, 2 if hinge.type == SLIDES else 5)[1:]
        motions = joint_motions(hinge.type, hinge.origin, hinge.direction, ends)
        corners += [apply(motion, _corners(part.shapes)).astype(np.float64) for motion in motions]
    return np.concatenate(corners)


def _is_seen(item: ArticulatedObject) -> bool:
    corners = extreme_corners(item)
    pixels = np.stack([project(corners, pose, size=1) for pose in raw_poses(orbit_poses())]) - 0.5
    return bool((pixels > _MARGIN).all() and (pixels < 1 - _MARGIN).all())


def _all_shapes(item: ArticulatedObject) -> Iterator[Part]:
    yield from item.body
    for part in item.moving:
        yield from part.shapes


def half_extents(part: Part) -> Vector:
    """Of the box around a primitive, in the primitive's own frame."""
    first = part.size[0]
    if part.shape == "box":
        x, y, z = part.size
        return x, y, z
    return (first, first, first if part.shape == "sphere" else part.size[1])


def _corners(parts: Iterator[Part] | Sequence[Part]) -> FloatArray:
    signs = np.stack(np.meshgrid(*[(-1.0, 1.0)] * 3, indexing="ij"), axis=-1).reshape(-1, 3)
    return np.concatenate(
        [signs * half_extents(part) @ rotation_from_quaternion(part.rotation).T + part.position for part in parts]
    )


def _scaled(item: ArticulatedObject, factor: float, middle: FloatArray) -> ArticulatedObject:
    def vector(value: Vector) -> Vector:
        x, y, z = (float(number) for number in factor * (np.asarray(value) - middle))
        return x, y, z

    def shape(part: Part) -> Part:
        return scaled_part(part, factor, vector(part.position))

    def moving(part: MovingPart) -> MovingPart:
        hinge = part.hinge
        upper = hinge.upper * (factor if hinge.type == SLIDES else 1.0)
        return replace(
            part,
            hinge=replace(hinge, origin=vector(hinge.origin), upper=upper),
            shapes=tuple(shape(inner) for inner in part.shapes),
        )

    return replace(
        item, body=tuple(shape(part) for part in item.body), moving=tuple(moving(part) for part in item.moving)
    )


def scaled_part(part: Part, factor: float, position: Vector) -> Part:
    """A primitive `factor` times as large, elsewhere; what is drawn on it grows too."""
    look = replace(part.appearance, scale=part.appearance.scale / factor)
    return replace(part, size=tuple(value * factor for value in part.size), position=position, appearance=look)
