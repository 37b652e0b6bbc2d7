"""What the robot is asked to do, and whether it did."""

from abc import ABC, abstractmethod
from collections.abc import Callable, Set
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from fourd_ros.errors import UnknownTask
from fourd_ros.simulation.fixtures import FixtureSpec
from fourd_ros.simulation.objects import FLAT_KINDS, OBJECT_KINDS, ObjectSpec
from fourd_ros.simulation.scene import SceneOptions, SceneSpec, SceneState

FloatArray = NDArray[np.float64]

REACH_TOLERANCE = 0.02
PUSH_TOLERANCE = 0.05
PLACE_TOLERANCE = 0.04
STACK_TOLERANCE = 0.015
RELEASE_DISTANCE = 0.06
OPEN_FRACTION, CLOSED_FRACTION = 0.6, 0.15

_GRASPABLE = tuple(OBJECT_KINDS)
_STACKABLE = FLAT_KINDS
_PUSHABLE = tuple(kind for kind in OBJECT_KINDS if kind != "ball")
_PLACE_AREA = ((0.36, 0.60), (-0.30, 0.30))


@dataclass(frozen=True, kw_only=True)
class Task(ABC):
    """One thing to do in one scene.

    Args:
        target: name of the object or fixture it is about.
        instruction: the same in words.
    """

    target: str
    instruction: str

    @abstractmethod
    def succeeded(self, spec: SceneSpec, state: SceneState) -> bool:
        """Whether the scene is as asked for."""


@dataclass(frozen=True, kw_only=True)
class Reach(Task):
    """Hold the gripper over the target.

    Args:
        goal: where the point between the finger tips shall be [m].
    """

    goal: tuple[float, float, float]

    def succeeded(self, spec: SceneSpec, state: SceneState) -> bool:
        """Within 2 cm of the point asked for."""
        return bool(np.linalg.norm(state.gripper[:3, 3] - self.goal) < REACH_TOLERANCE)


@dataclass(frozen=True, kw_only=True)
class Push(Task):
    """Shove the target along the table.

    Args:
        goal: where its centre shall be, x and y [m].
    """

    goal: tuple[float, float]

    def succeeded(self, spec: SceneSpec, state: SceneState) -> bool:
        """Within 5 cm of the goal and still on the table."""
        return _planar_distance(state, self.target, self.goal) < PUSH_TOLERANCE and _on_table(state, self.target)


@dataclass(frozen=True, kw_only=True)
class PickPlace(Task):
    """Lift the target, carry it and put it down.

    Args:
        goal: where its centre shall be, x and y [m].
    """

    goal: tuple[float, float]

    def succeeded(self, spec: SceneSpec, state: SceneState) -> bool:
        """Within 4 cm of the goal, lying or standing on the table, and released."""
        on_table = state.objects[self.target][2, 3] < max(find_object(spec, self.target).size) / 2 + 0.01
        near = _planar_distance(state, self.target, self.goal) < PLACE_TOLERANCE
        return bool(near and on_table and _released(state, self.target))


@dataclass(frozen=True, kw_only=True)
class Stack(Task):
    """Put the target on another object.

    Args:
        base: name of the object below.
    """

    base: str

    def succeeded(self, spec: SceneSpec, state: SceneState) -> bool:
        """Over the base, at the height of its top, both upright, and released."""
        target, base = find_object(spec, self.target), find_object(spec, self.base)
        above, below = state.objects[self.target], state.objects[self.base]
        height = (target.size[2] + base.size[2]) / 2
        rests = abs(above[2, 3] - below[2, 3] - height) < STACK_TOLERANCE
        centred = np.linalg.norm((above - below)[:2, 3]) < min(base.size[:2]) / 2 + 0.01
        return bool(rests and centred and _released(state, self.target))


@dataclass(frozen=True, kw_only=True)
class Open(Task):
    """Open the drawer or the lid."""

    def succeeded(self, spec: SceneSpec, state: SceneState) -> bool:
        """Open by more than 60 % of its travel."""
        return opening(find_fixture(spec, self.target), state) > OPEN_FRACTION


@dataclass(frozen=True, kw_only=True)
class Close(Task):
    """Close the drawer or the lid."""

    def succeeded(self, spec: SceneSpec, state: SceneState) -> bool:
        """Open by less than 15 % of its travel."""
        return opening(find_fixture(spec, self.target), state) < CLOSED_FRACTION


def find_object(spec: SceneSpec, name: str) -> ObjectSpec:
    """The object of that name."""
    return next(item for item in spec.objects if item.name == name)


def find_fixture(spec: SceneSpec, name: str) -> FixtureSpec:
    """The fixture of that name."""
    return next(item for item in spec.fixtures if item.name == name)


def opening(fixture: FixtureSpec, state: SceneState) -> float:
    """How far a fixture is open, 0 to 1."""
    return state.fixture_joints[fixture.joint_name] / fixture.travel


def _planar_distance(state: SceneState, name: str, goal: tuple[float, float]) -> float:
    return float(np.linalg.norm(state.objects[name][:2, 3] - goal))


def _released(state: SceneState, name: str) -> bool:
    return bool(np.linalg.norm(state.gripper[:3, 3] - state.objects[name][:3, 3]) > RELEASE_DISTANCE)


def _on_table(state: SceneState, name: str) -> bool:
    return bool(-0.01 < state.objects[name][2, 3] < 0.2)


@dataclass(frozen=True, kw_only=True)
class TaskKind:
    """A family of tasks.

    Args:
        options: what the scene has to offer.
        sample: draws a task in such a scene that is not about the objects named.
    """

    options: SceneOptions
    sample: Callable[[SceneSpec, np.random.Generator, Set[str]], Task]


def _pick(spec: SceneSpec, rng: np.random.Generator, kinds: tuple[str, ...], exclude: Set[str]) -> ObjectSpec:
    candidates = [item for item in spec.objects if item.kind in kinds and item.name not in exclude]
    if not candidates:
        raise UnknownTask(f"the scene of seed {spec.seed} has too few of {list(kinds)} to work on")
    return candidates[rng.integers(len(candidates))]


def _sample_reach(spec: SceneSpec, rng: np.random.Generator, exclude: Set[str]) -> Task:
    target = _pick(spec, rng, tuple(OBJECT_KINDS), exclude)
    x, y, height = target.position[0], target.position[1], target.size[2] + float(rng.uniform(0.06, 0.12))
    return Reach(target=target.name, instruction=f"hold the gripper over the {target.label}", goal=(x, y, height))


def _sample_push(spec: SceneSpec, rng: np.random.Generator, exclude: Set[str]) -> Task:
    target = _pick(spec, rng, _PUSHABLE, exclude)
    goal = _free_place(spec, rng, target, distance=(0.10, 0.18))
    return Push(target=target.name, instruction=f"push the {target.label} {_direction(target, goal)}", goal=goal)


def _sample_pick_place(spec: SceneSpec, rng: np.random.Generator, exclude: Set[str]) -> Task:
    target = _pick(spec, rng, _GRASPABLE, exclude)
    goal = _free_place(spec, rng, target, distance=(0.15, 0.40))
    return PickPlace(target=target.name, instruction=f"put the {target.label} {_direction(target, goal)}", goal=goal)


def _sample_stack(spec: SceneSpec, rng: np.random.Generator, exclude: Set[str]) -> Task:
    target = _pick(spec, rng, _STACKABLE, exclude)
    base = _pick(spec, rng, _STACKABLE, exclude | {target.name})
    return Stack(target=target.name, base=base.name, instruction=f"put the {target.label} on the {base.label}")


def _sample_open(spec: SceneSpec, rng: np.random.Generator, exclude: Set[str]) -> Task:
    fixture = spec.fixtures[0]
    return Open(target=fixture.name, instruction=f"open the {fixture.label}")


def _sample_close(spec: SceneSpec, rng: np.random.Generator, exclude: Set[str]) -> Task:
    fixture = spec.fixtures[0]
    return Close(target=fixture.name, instruction=f"close the {fixture.label}")


TASK_KINDS: dict[str, TaskKind] = {
    "reach": TaskKind(options=SceneOptions(), sample=_sample_reach),
    "push": TaskKind(options=SceneOptions(required_kinds=(_PUSHABLE,)), sample=_sample_push),
    "pick_place": TaskKind(options=SceneOptions(required_kinds=(_GRASPABLE,)), sample=_sample_pick_place),
    "stack": TaskKind(options=SceneOptions(objects=(2, 3), required_kinds=(_STACKABLE,) * 2), sample=_sample_stack),
    "open_drawer": TaskKind(options=SceneOptions(objects=(1, 2), fixture="drawer"), sample=_sample_open),
    "close_drawer": TaskKind(
        options=SceneOptions(objects=(1, 2), fixture="drawer", fixture_opened=True), sample=_sample_close
    ),
    "open_lid": TaskKind(options=SceneOptions(objects=(1, 2), fixture="lid"), sample=_sample_open),
    "close_lid": TaskKind(
        options=SceneOptions(objects=(1, 2), fixture="lid", fixture_opened=True), sample=_sample_close
    ),
}


def task_kind(name: str) -> TaskKind:
    """The family of that name.

    Raises:
        UnknownTask: there is none.
    """
    if name not in TASK_KINDS:
        raise UnknownTask(f"no task '{name}'; there are {sorted(TASK_KINDS)}")
    return TASK_KINDS[name]


def sample_task(name: str, spec: SceneSpec, *, seed: int, exclude: Set[str] = frozenset()) -> Task:
    """A task of one family in a scene made for it, about none of the objects in `exclude`.

    Raises:
        UnknownTask: there is no such family, or the scene does not have what it needs.
    """
    return task_kind(name).sample(spec, np.random.default_rng((seed, 2)), exclude)


def _free_place(
    spec: SceneSpec, rng: np.random.Generator, target: ObjectSpec, *, distance: tuple[float, float]
) -> tuple[float, float]:
    """A place for the target at a `distance` [m] where the way to it is free, as far as can be found."""
    start = np.array(target.position[:2])
    others = [(np.array(item.position[:2]), item.radius) for item in spec.objects if item.name != target.name]
    others += [(np.array(fixture.position[:2]), fixture.radius) for fixture in spec.fixtures]
    best, best_room = start, -np.inf
    for _ in range(300):
        angle = rng.uniform(-np.pi, np.pi)
        goal = start + rng.uniform(*distance) * np.array([np.cos(angle), np.sin(angle)])
        if not all(low <= value <= high for value, (low, high) in zip(goal, _PLACE_AREA, strict=True)):
            continue
        room = min((_distance_to_segment(p, start, goal) - r - target.radius for p, r in others), default=1.0)
        if room > best_room:
            best, best_room = goal, room
        if room > 0.02:
            break
    return float(best[0]), float(best[1])


def _distance_to_segment(point: FloatArray, start: FloatArray, end: FloatArray) -> float:
    along = end - start
    u = float(np.clip((point - start) @ along / max(float(along @ along), 1e-12), 0.0, 1.0))
    return float(np.linalg.norm(point - start - u * along))


def _direction(target: ObjectSpec, goal: tuple[float, float]) -> str:
    """In words, as the robot sees it: x is forward, y is left."""
    dx, dy = goal[0] - target.position[0], goal[1] - target.position[1]
    if abs(dx) > abs(dy):
        return "forward" if dx > 0 else "back"
    return "to the left" if dy > 0 else "to the right"
