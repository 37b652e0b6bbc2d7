"""Joint tables of articulated objects (`motion.json`) and the states that joints bring points into.

Layout and rules: PartDrag-4D (PartRM 2025, arXiv 2503.19913), section 8.3 of the specification this was written from.
Points and axes are in the y-up frame of PartNet-Mobility; what is written to disk is z-up, see `to_z_up`.
"""

import json
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from fourd_ros.errors import InvalidDataset
from fourd_ros.geometry.transforms import apply, from_parts, rotation_about
from fourd_ros.strict_json import read_object
from fourd_ros.whole_file import write_whole

FloatArray = NDArray[np.float64]
Vector = tuple[float, float, float]

MAIN_STATES = 6
"""Of the joint that a sequence shows."""

MAX_JOINTS = 10
"""Whose extremes the name of a state can tell: each is written with one digit."""

MAX_TABLE_JOINTS = 1000
TURNS, SLIDES = "revolute", "prismatic"


@dataclass(frozen=True, kw_only=True)
class Joint:
    """A row of a joint table.

    Args:
        key: in the table; a number that may skip values.
        type: of the URDF; only `revolute` and `prismatic` ones move anything.
        origin: a point of the axis, y-up.
        direction: of the axis, y-up, of any length; None where the table has no numbers.
        lower: of the range, degrees or lengths of `direction`; None where the table has none.
        upper: of the range.
        unlimited: the table says so; the original reads the limits all the same.
        parts: labels of the points that move.
    """

    key: str
    type: str
    origin: Vector
    direction: Vector | None
    lower: float | None
    upper: float | None
    unlimited: bool = False
    parts: tuple[int, ...] = ()

    @property
    def moves(self) -> bool:
        """Whether it has states: a known type, an axis and a range."""
        known = self.type in (TURNS, SLIDES) and self.direction is not None
        return known and self.lower is not None and self.upper is not None and any(self.direction or ())

    def motions(self, count: int) -> FloatArray:
        """Rest pose -> each of `count` states evenly from the lower limit to the upper, shape [count, 4, 4].

        A turning axis is normalised, a sliding one is not, as in the original.

        Raises:
            InvalidDataset: the joint has no states.
        """
        if not self.moves:
            raise InvalidDataset(
                f"joint '{self.key}' ({self.type}) has no states; needed are type {TURNS} or {SLIDES}, an axis that is "
                f"not zero, and both limits (found {self.direction} and {self.lower} .. {self.upper})"
            )
        assert self.direction is not None and self.lower is not None and self.upper is not None
        return joint_motions(self.type, self.origin, self.direction, np.linspace(self.lower, self.upper, count))


def joint_motions(kind: str, origin: Sequence[float], direction: Sequence[float], amounts: FloatArray) -> FloatArray:
    """Motion of what hangs on a joint, shape [n, 4, 4].

    Args:
        kind: `revolute` or `prismatic`.
        origin: a point of the axis.
        direction: of the axis; its length counts where something slides.
        amounts: angles [degrees], counter-clockwise, or lengths of `direction`, shape [n].
    """
    axis = np.asarray(direction, np.float64)
    if kind == SLIDES:
        return from_parts(np.eye(3), amounts[:, None] * axis)
    rotation = rotation_about(axis / np.linalg.norm(axis), np.deg2rad(amounts))
    place = np.asarray(origin, np.float64)
    return from_parts(rotation, place - rotation @ place)


def moved(values: NDArray[np.floating], mask: NDArray[np.bool_], motions: FloatArray) -> FloatArray:
    """`values` [N, 3] with those of `mask` [N] moved by each of `motions` [S, 4, 4], shape [S, N, 3]."""
    states = np.repeat(np.asarray(values, np.float64)[None], len(motions), axis=0)
    states[:, mask] = apply(motions, np.repeat(states[:1, mask], len(motions), axis=0))
    return states


def point_states(joint: Joint, points: NDArray[np.floating], labels: NDArray[np.integer], count: int) -> FloatArray:
    """Labelled points [N, 3] in each state of a joint, shape [count, N, 3], before the change to z-up.

    Raises:
        InvalidDataset: the joint has no states.
    """
    return moved(points, np.isin(labels.reshape(-1), joint.parts), joint.motions(count))


def vertex_states(
    table: Sequence[Joint], position: int, vertices: NDArray[np.floating], first_vertices: Sequence[int], count: int
) -> FloatArray:
    """Vertices of all meshes [N, 3] in each state of the joint at `position` of the table, shape [count, N, 3].

    Args:
        table: in the order of the file.
        position: of the joint in the table, whatever its key.
        vertices: of the meshes of all joints in that order, then of the fixed parts.
        first_vertices: where the mesh of each joint begins, and the last one ends.
        count: of the states.

    Raises:
        InvalidDataset: the joint has no states, or there is no mesh for it.
    """
    if not 0 <= position < min(len(table), len(first_vertices) - 1):
        raise InvalidDataset(f"joint {position} of {len(table)} has no mesh; there are {len(first_vertices) - 1}")
    begin, end = first_vertices[position], first_vertices[position + 1]
    index = np.arange(len(vertices))
    return moved(vertices, (index >= begin) & (index < end), table[position].motions(count))


@dataclass(frozen=True, kw_only=True)
class ObjectState:
    """One state of a sequence.

    Args:
        main: position in the table of the joint that the sequence shows.
        step: of `MAIN_STATES`.
        others: positions of up to two further joints and which extreme each stands at (0 lower, 1 upper), in the
            order in which they move.
    """

    main: int
    step: int
    others: tuple[tuple[int, int], ...] = ()

    @property
    def name(self) -> str:
        """As in the original: ``<main>_<step>``, then ``_<joint><extreme>`` of the others, the last first."""
        return "_".join((self.sequence[0], str(self.step), *self.sequence[1:]))

    @property
    def sequence(self) -> tuple[str, ...]:
        """What all states of its sequence share."""
        rest = "".join(f"{joint}{extreme}" for joint, extreme in reversed(self.others))
        return (str(self.main), rest) if rest else (str(self.main),)


def state_motions(table: Sequence[Joint], state: ObjectState) -> dict[int, FloatArray]:
    """Rest pose -> `state` of the parts of each joint that takes part, by position, each [4, 4], y-up.

    Axes are those of the rest pose: what a moved part carries does not follow, as in the original. A point that hangs
    on several of these joints takes their motions in the order of this mapping.
    """
    motions = {state.main: table[state.main].motions(MAIN_STATES)[state.step]}
    for position, extreme in state.others:
        motions[position] = table[position].motions(2)[extreme]
    return motions


def points_at(
    table: Sequence[Joint], state: ObjectState, points: NDArray[np.floating], labels: NDArray[np.integer]
) -> FloatArray:
    """Labelled points [N, 3] of the rest pose in one state, shape [N, 3], y-up."""
    result = np.array(points, np.float64)
    for position, motion in state_motions(table, state).items():
        mask = np.isin(labels.reshape(-1), table[position].parts)
        result[mask] = apply(motion, result[mask])
    return result


def sequences(
    table: Sequence[Joint], rng: np.random.Generator, *, joints: int | None = None, combinations: int = 4
) -> list[list[ObjectState]]:
    """Sequences of states: each joint in turn runs through its range while up to two others stand at extremes.

    Args:
        table: of the object.
        rng: draws the other joints, once for each main one.
        joints: how many main joints, drawn at random; all of them by default.
        combinations: of extremes of the others, at most; the original has all, so 4 for two others.
    """
    moving = [position for position, joint in enumerate(table[:MAX_JOINTS]) if joint.moves]
    mains = moving if joints is None else sorted(rng.permutation(moving)[:joints].tolist())
    found = []
    for main in mains:
        others = rng.permutation([position for position in moving if position != main])[:2].tolist()
        extremes = [tuple((number >> bit) & 1 for bit in range(len(others))) for number in range(2 ** len(others))]
        for chosen in sorted(rng.permutation(len(extremes))[:combinations].tolist()):
            placed = tuple(zip(others, extremes[chosen], strict=True))
            found.append([ObjectState(main=main, step=step, others=placed) for step in range(MAIN_STATES)])
    return found


def to_z_up(values: NDArray[Any]) -> NDArray[Any]:
    """(x, y, z) -> (z, x, y), which the original does when it writes points and meshes, shape [*, 3]."""
    return values[..., [2, 0, 1]]


def to_y_up(values: NDArray[Any]) -> NDArray[Any]:
    """Undo `to_z_up`, shape [*, 3]."""
    return values[..., [1, 2, 0]]


def motion_to_z_up(motion: FloatArray) -> FloatArray:
    """A motion of y-up points [4, 4] as that of z-up ones."""
    change = np.eye(4)
    change[:3, :3] = to_z_up(np.eye(3)).T
    moved: FloatArray = change @ motion @ change.T
    return moved


def read_joint_table(path: Path | str) -> tuple[Joint, ...]:
    """The rows of a `motion.json`, in the order of the file.

    Raises:
        InvalidDataset: missing, no JSON, too many rows, or a row without axis or with values that are no numbers.
    """
    path = Path(path)
    rows = read_object(path, error=InvalidDataset)
    if len(rows) > MAX_TABLE_JOINTS:
        raise InvalidDataset(f"'{path}' has {len(rows)} joints; at most {MAX_TABLE_JOINTS} are read")
    return tuple(joint_of(key, row, path=path) for key, row in rows.items())


def joint_of(key: str, row: Any, *, path: Path) -> Joint:
    """One row of a joint table; `path` is for the error.

    Raises:
        InvalidDataset: see `read_joint_table`.
    """
    try:
        axis, limit = row["axis"], row["limit"] or {}
        origin, direction = _vector(axis["origin"]), _vector(axis["direction"])
        return Joint(
            key=key,
            type=str(row["type"]),
            origin=(0.0, 0.0, 0.0) if origin is None else origin,
            direction=direction,
            lower=_number(limit.get("a")),
            upper=_number(limit.get("b")),
            unlimited=bool(limit.get("noLimit", False)),
            parts=tuple(int(part) for part in row["part_div"]),
        )
    except (KeyError, TypeError, ValueError, AttributeError) as error:
        raise InvalidDataset(
            f"'{path}', joint '{key}': {type(error).__name__} {error}; needed are axis (origin, direction), "
            "limit (a, b), type and part_div"
        ) from error


def _vector(values: Any) -> Vector | None:
    numbers = [_number(value) for value in values]
    if len(numbers) != 3:
        raise ValueError(f"{len(numbers)} numbers where 3 are needed")
    x, y, z = numbers
    return None if x is None or y is None or z is None else (x, y, z)


def _number(value: Any) -> float | None:
    if value is None:
        return None
    if isinstance(value, bool) or not isinstance(value, int | float):
        raise TypeError(f"{value!r} is no number")
    return float(value)


def joint_rows(table: Sequence[Joint]) -> Mapping[str, Any]:
    """A joint table as `motion.json` has it."""
    return {
        joint.key: {
            "axis": {
                "origin": list(joint.origin),
                "direction": [None] * 3 if joint.direction is None else list(joint.direction),
            },
            "limit": {"a": joint.lower, "b": joint.upper} | ({"noLimit": True} if joint.unlimited else {}),
            "type": joint.type,
            "part_div": list(joint.parts),
        }
        for joint in table
    }


def write_joint_table(path: Path, table: Sequence[Joint]) -> None:
    """Write a `motion.json`, whole or not at all."""
    write_whole(path, json.dumps(joint_rows(table), indent=1) + "\n")
