"""Waypoints that carry out a task when everything goes as meant, or off by a stated error."""

from collections.abc import Sequence
from dataclasses import dataclass, replace

import numpy as np
from numpy.typing import NDArray

from fourd_ros.geometry.transforms import apply
from fourd_ros.simulation.controller import FINGER_CLOSED, FINGER_OPEN, Waypoint
from fourd_ros.simulation.fixtures import FixtureSpec
from fourd_ros.simulation.objects import ObjectSpec
from fourd_ros.simulation.scene import SceneSpec
from fourd_ros.simulation.tasks import Close, Open, PickPlace, Push, Reach, Stack, Task, find_fixture, find_object

FloatArray = NDArray[np.float64]

SAFE_HEIGHT = 0.24
LOWEST_TIP = 0.014
PUSH_HEIGHT = 0.03
FINGER_DEPTH = 0.012
CLOSE_PAUSE, RELEASE_PAUSE = 0.45, 0.3
PRECISE, CARRY, PUSH_SPEED = 0.13, 0.28, 0.12

# A reach that goes no part of its way stops this far above the goal [m].
_SHORT_OF_REACH = 0.15


@dataclass(frozen=True, kw_only=True)
class Execution:
    """How a motion deviates from the expert's.

    Args:
        aim: error of the point that is aimed at, x and y [m].
        heading: error of the direction of a push [rad].
        fraction: part of the way that is gone, 1 for all of it.
        target: name of the thing that is taken instead of the right one, empty for the right one.
    """

    aim: tuple[float, float] = (0.0, 0.0)
    heading: float = 0.0
    fraction: float = 1.0
    target: str = ""


def waypoints(task: Task, scene: SceneSpec, execution: Execution) -> list[Waypoint]:
    """The motion for `task`, `scene` telling where things are now."""
    match task:
        case Reach():
            return _reach(task, scene, execution)
        case Push():
            return _push(task, scene, execution)
        case PickPlace():
            return _pick_place(scene, _aimed(scene, task.target, execution), np.array(task.goal), 0.0, execution)
        case Stack():
            base = find_object(scene, task.base)
            return _pick_place(
                scene, _aimed(scene, task.target, execution), np.array(base.position[:2]), base.size[2], execution
            )
        case Open():
            return _open(find_fixture(scene, task.target), execution)
        case Close():
            return _close(find_fixture(scene, task.target), execution)
    raise TypeError(f"no skill for {type(task).__name__}")


def _aimed(scene: SceneSpec, name: str, execution: Execution) -> ObjectSpec:
    """The object that will be worked on, where the robot believes it to be."""
    item = find_object(scene, execution.target or name)
    x, y, z = item.position
    return replace(item, position=(x + execution.aim[0], y + execution.aim[1], z))


def _reach(task: Reach, scene: SceneSpec, execution: Execution) -> list[Waypoint]:
    taken = find_object(scene, execution.target or task.target)
    shift = np.array(taken.position) - find_object(scene, task.target).position
    short = _SHORT_OF_REACH * (1.0 - execution.fraction)
    goal = np.array(task.goal) + np.array([shift[0] + execution.aim[0], shift[1] + execution.aim[1], short])
    return [Waypoint(position=goal, yaw=0.0, pause=0.4)]


def _push(task: Push, scene: SceneSpec, execution: Execution) -> list[Waypoint]:
    item = _aimed(scene, task.target, execution)
    centre = np.array(item.position[:2])
    way = np.array(task.goal) - np.array(find_object(scene, task.target).position[:2])
    length = float(np.linalg.norm(way))
    heading = float(np.arctan2(way[1], way[0])) + execution.heading
    ahead = np.array([np.cos(heading), np.sin(heading)])
    reach = support(item, heading) + FINGER_DEPTH
    behind = centre - ahead * (reach + 0.03)
    end = centre - ahead * reach + ahead * length * execution.fraction
    height = max(LOWEST_TIP, min(PUSH_HEIGHT, item.size[2] / 2))
    # Both fingers side by side across the push keep the thing from turning away.
    turn = heading
    shut = {"yaw": turn, "finger": FINGER_CLOSED}
    return [
        Waypoint(position=_above(behind), pause=0.3, **shut),
        Waypoint(position=np.append(behind, height), **shut),
        Waypoint(position=np.append(end, height), speed=PUSH_SPEED, pause=0.1, **shut),
        Waypoint(position=np.append(end - 0.03 * ahead, height), **shut),
        Waypoint(position=_above(end - 0.03 * ahead), **shut),
    ]


def support(item: ObjectSpec, heading: float) -> float:
    """Distance from the centre of `item` to the edge of its footprint, against `heading` [m]."""
    if item.grasp.free_yaw:
        return item.size[0] / 2
    c, s = abs(np.cos(heading - item.yaw)), abs(np.sin(heading - item.yaw))
    edge = min(item.size[0] / 2 / max(c, 1e-9), item.size[1] / 2 / max(s, 1e-9))
    return float(edge)


def _pick_place(
    scene: SceneSpec, item: ObjectSpec, goal: FloatArray, ground: float, execution: Execution
) -> list[Waypoint]:
    grasp, yaw = grasp_point(item)
    way = execution.fraction * (goal - np.array(item.position[:2]))
    release = np.append(grasp[:2] + way, grasp[2] + ground + 0.004)
    carry = max(SAFE_HEIGHT - 0.06, ground + item.size[2] + 0.06)
    shut = {"yaw": yaw, "finger": FINGER_CLOSED}
    return [
        Waypoint(position=_above(grasp), yaw=yaw),
        Waypoint(position=grasp, speed=PRECISE, **{**shut, "pause": CLOSE_PAUSE}),
        Waypoint(position=np.array([*grasp[:2], carry]), speed=CARRY, **shut),
        Waypoint(position=np.array([*release[:2], carry]), speed=CARRY, **shut),
        Waypoint(position=release, speed=PRECISE, yaw=yaw, finger=FINGER_OPEN, pause=RELEASE_PAUSE),
        Waypoint(position=np.array([*release[:2], max(carry, SAFE_HEIGHT - 0.04)]), yaw=yaw),
    ]


def grasp_point(item: ObjectSpec) -> tuple[FloatArray, float]:
    """Where the point between the finger tips goes to take `item` [m], shape [3], and the yaw of the fingers."""
    turn = np.array([[np.cos(item.yaw), -np.sin(item.yaw)], [np.sin(item.yaw), np.cos(item.yaw)]])
    place = np.array(item.position[:2]) + turn @ item.grasp.position[:2]
    # The fingers close along the world's y axis at yaw 0 and along the object's x axis at grasp yaw 0.
    yaw = 0.0 if item.grasp.free_yaw else item.yaw + item.grasp.yaw - np.pi / 2
    return np.append(place, max(LOWEST_TIP, item.position[2] + item.grasp.position[2])), yaw


def _open(fixture: FixtureSpec, execution: Execution) -> list[Waypoint]:
    turn, aim = fixture.yaw, np.array([*execution.aim, 0.0])
    goal = 0.88 * fixture.travel * execution.fraction
    path = [apply(fixture.moving_pose(step), np.array(fixture.grip_point)) + aim for step in _steps(0.0, goal, fixture)]
    grasp = path[0]
    shut = {"yaw": turn, "finger": FINGER_CLOSED}
    way_in = Waypoint(position=grasp, yaw=turn, finger=FINGER_CLOSED, speed=PRECISE, pause=CLOSE_PAUSE)
    pull = [Waypoint(position=point, speed=PRECISE, **shut) for point in path[1:]]
    last = Waypoint(position=path[-1], yaw=turn, finger=FINGER_OPEN, pause=RELEASE_PAUSE)
    lift = np.array([0.0, 0.0, 0.12])
    return [
        Waypoint(position=grasp + lift, yaw=turn),
        way_in,
        *pull,
        last,
        Waypoint(position=path[-1] + lift, yaw=turn),
    ]


def _close(fixture: FixtureSpec, execution: Execution) -> list[Waypoint]:
    aim = np.array([*execution.aim, 0.0])
    goal = fixture.opening * (1.0 - execution.fraction)
    contact = _push_point(fixture)
    path = [apply(fixture.moving_pose(step), contact) + aim for step in _steps(fixture.opening, goal, fixture)]
    shut = {"yaw": fixture.yaw, "finger": FINGER_CLOSED}
    away = path[0] + fixture.pose[:3, :3] @ _clear_of(fixture)
    over = np.array([*away[:2], max(away[2] + 0.06, SAFE_HEIGHT)])
    back = path[-1] + fixture.pose[:3, :3] @ np.array([-0.06, 0.0, 0.02])
    return [
        Waypoint(position=over, pause=0.4, **shut),
        Waypoint(position=away, **shut),
        *(Waypoint(position=point, speed=PRECISE, **shut) for point in path),
        Waypoint(position=back, speed=PRECISE, **shut),
        Waypoint(position=np.array([*back[:2], SAFE_HEIGHT]), **shut),
    ]


def _push_point(fixture: FixtureSpec) -> FloatArray:
    """Where closed fingers press to shut the fixture, in the frame of the moving part [m]."""
    if fixture.kind == "drawer":
        return np.array([fixture.grip_point[0] - 0.02, 0.0, 0.02])
    return np.array([-0.8 * fixture.size[0], 0.3 * fixture.size[1], 0.015])


def _clear_of(fixture: FixtureSpec) -> FloatArray:
    """From the first contact to a point in free space, in the frame of the body [m]."""
    return np.array([-0.05, 0.0, 0.0]) if fixture.kind == "drawer" else np.array([0.0, 0.0, 0.05])


def _steps(start: float, end: float, fixture: FixtureSpec) -> Sequence[float]:
    """Joint positions on the way; a drawer goes straight, a lid needs an arc."""
    count = 2 if fixture.kind == "drawer" else 9
    return [float(value) for value in np.linspace(start, end, count)]


def _above(point: FloatArray) -> FloatArray:
    return np.array([point[0], point[1], SAFE_HEIGHT])
