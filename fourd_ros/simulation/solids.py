"""Solids: unions of primitives in pieces that move rigidly, with points on their common surface."""

from collections.abc import Sequence
from dataclasses import dataclass, replace

import numpy as np
from numpy.typing import NDArray

from fourd_ros.data.articulation import joint_motions
from fourd_ros.geometry.transforms import apply, invert, rotation_from_quaternion
from fourd_ros.simulation.articulated import Hinge, half_extents, scaled_part
from fourd_ros.simulation.part_surfaces import area, depth_below, points_on
from fourd_ros.simulation.parts import Part

FloatArray = NDArray[np.float64]

_SKIN = 1e-3
"""How far outside a surface must be free, as a share of the solid's extent; else it is where two primitives touch."""


@dataclass(frozen=True, kw_only=True)
class Solid:
    """A thing of one or several pieces, all in the frame of the thing while every joint stands at 0, z up.

    Args:
        kind: what it is.
        pieces: primitives of each piece, at least one; the first piece is the body.
        hinges: joint of each further piece.
    """

    kind: str
    pieces: tuple[tuple[Part, ...], ...]
    hinges: tuple[Hinge, ...] = ()

    def motions(self, openings: Sequence[float]) -> FloatArray:
        """Motion of every piece, shape [pieces, 4, 4], where joints stand at shares 0..1 of their ranges."""
        moves = [
            joint_motions(hinge.type, hinge.origin, hinge.direction, np.array([share * hinge.upper]))
            for hinge, share in zip(self.hinges, openings, strict=True)
        ]
        return np.concatenate([np.eye(4)[None], *moves])

    def scaled(self, factor: float) -> "Solid":
        """The same thing `factor` times as large, about its origin."""

        def part(one: Part) -> Part:
            x, y, z = (factor * value for value in one.position)
            return scaled_part(one, factor, (x, y, z))

        def hinge(one: Hinge) -> Hinge:
            x, y, z = (factor * value for value in one.origin)
            return replace(one, origin=(x, y, z), upper=one.upper * (factor if one.type == "prismatic" else 1.0))

        pieces = tuple(tuple(part(one) for one in piece) for piece in self.pieces)
        return replace(self, pieces=pieces, hinges=tuple(hinge(one) for one in self.hinges))


def bounds(solid: Solid, motions: FloatArray) -> FloatArray:
    """Least and greatest coordinates with pieces at `motions` [pieces, 4, 4], shape [2, 3]."""
    signs = np.stack(np.meshgrid(*[(-1.0, 1.0)] * 3, indexing="ij"), axis=-1).reshape(-1, 3)
    corners = [
        apply(motion, signs * half_extents(part) @ rotation_from_quaternion(part.rotation).T + part.position)
        for motion, piece in zip(motions, solid.pieces, strict=True)
        for part in piece
    ]
    joined = np.concatenate(corners)
    return np.stack([joined.min(axis=0), joined.max(axis=0)])


def depth_in(solid: Solid, motions: FloatArray, points: NDArray[np.floating]) -> NDArray[np.float32]:
    """`depth_below` the surface of all pieces together.

    Args:
        solid: in its own frame.
        motions: of its pieces, shape [pieces, 4, 4].
        points: where the pieces are, shape [Q, 3].

    Returns:
        Positive inside, shape [Q].
    """
    pairs = zip(motions, solid.pieces, strict=True)
    depths = [depth_below(piece, apply(invert(motion), points)) for motion, piece in pairs]
    deepest: NDArray[np.float32] = np.maximum.reduce(depths)
    return deepest


def surface_of(
    solid: Solid, motions: FloatArray, count: int, rng: np.random.Generator
) -> tuple[NDArray[np.float32], NDArray[np.uint8]]:
    """Points drawn evenly on the surface of the union; what lies within another primitive is no surface.

    Args:
        solid: in its own frame.
        motions: of its pieces, shape [pieces, 4, 4]; what they hide is left out.
        count: of points.
        rng: draws them.

    Returns:
        Points and normals in the frame of the solid at rest [count, 6], and the piece of each [count].
    """
    parts = [(index, part) for index, piece in enumerate(solid.pieces) for part in piece]
    areas = np.array([area(part) for _, part in parts])
    low, high = bounds(solid, motions)
    skin = _SKIN * float((high - low).max())
    rows: list[NDArray[np.float64]] = []
    owners: list[NDArray[np.uint8]] = []
    found = 0
    while found < count:
        counts = rng.multinomial(2 * count, areas / areas.sum())
        drawn = [points_on(part, number, rng) for (_, part), number in zip(parts, counts, strict=True)]
        points, normals = (np.concatenate(arrays) for arrays in zip(*drawn, strict=True))
        owner = np.repeat([index for index, _ in parts], counts).astype(np.uint8)
        placed = motions[owner]
        out = np.einsum("nij,nj->ni", placed[:, :3, :3], points + skin * normals) + placed[:, :3, 3]
        free = depth_in(solid, motions, out) < 0
        rows.append(np.concatenate([points, normals], axis=1)[free])
        owners.append(owner[free])
        found += int(free.sum())
    order = rng.permutation(found)[:count]
    return np.concatenate(rows)[order].astype(np.float32), np.concatenate(owners)[order]
