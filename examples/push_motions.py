"""Pushes: four numbers each, turned into joint motions by inverse kinematics, hundreds at once."""

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np

from fourd_ros.geometry.transforms import from_parts, interpolate
from fourd_ros.records import FloatArray, RobotTrajectory
from fourd_ros.robot.inverse_kinematics import Mask, Tool
from fourd_ros.robot.model import RobotModel
from fourd_ros.world_model.compact.things import Thing

PUSH = {
    "side": (-1.2, 1.2),  # where the finger tips begin around the object, 0 = opposite to the goal [rad]
    "heading": (-0.6, 0.6),  # direction of the push, 0 = through the middle of the object [rad]
    "length": (0.02, 0.24),  # of the way beyond the first contact [m]
    "height": (0.15, 0.8),  # of the finger tips on the object, 0 = its foot, 1 = its top
}
"""The numbers of a push and their bounds."""

BOUNDS = np.array(list(PUSH.values()))

OVER, DOWN, PUSHING, REST = 1.6, 0.6, 1.2, 0.3
"""Duration of the legs: over the object's side, down beside it, along the table, and stillness [s]."""

PERIOD = 0.1
"""Time between commanded points [s]."""

CLEARANCE = 0.05
"""From the finger tips to the object before the push, and to whatever stands on the table on the way there [m]."""

OPENING = 0.0
"""Of the gripper while it pushes, 0 closed to 1 open: things of a few centimetres slip between open fingers."""

FINGER_DEPTH = 0.012
"""Half the extent of the fingers along the push [m]."""

LOWEST = 0.012
"""The finger tips stay this far above the table [m]."""

UPPER_SHARE = 0.4
"""The upper part of an object shows all around, so its middle is the object's [of its height]."""


@dataclass(frozen=True, kw_only=True)
class Target:
    """The object to push, as far as it can be seen.

    Args:
        thing: its points.
        ceiling: height of the highest thing on the table [m].
    """

    thing: Thing
    ceiling: float

    @property
    def top(self) -> float:
        """Height of its highest point [m]."""
        return float(self.thing.points[:, 2].max())

    @property
    def centre(self) -> FloatArray:
        """Its middle, from the upper part [m], shape [2]."""
        points = self.thing.points
        upper = points[points[:, 2] >= self.top - UPPER_SHARE * (self.top - self.thing.support), :2]
        return np.asarray((upper.min(axis=0) + upper.max(axis=0)) / 2)

    @property
    def middle(self) -> FloatArray:
        """The same at half its height [m], shape [3]."""
        return np.append(self.centre, (self.top + self.thing.support) / 2)

    def extent(self, directions: FloatArray) -> FloatArray:
        """From its middle to its outline in directions [C, 2], the hidden side being like the seen one, shape [C]."""
        along = (self.thing.points[:, :2] - self.centre) @ directions.T
        return np.asarray(np.maximum(along.max(axis=0), -along.min(axis=0)))


def find_target(things: Sequence[Thing], place: FloatArray) -> Target:
    """The thing nearest to a place [x, y] of the table."""
    ceiling = max(float(thing.points[:, 2].max()) for thing in things)
    targets = [Target(thing=thing, ceiling=ceiling) for thing in things if not thing.held]
    return min(targets, key=lambda target: float(np.linalg.norm(target.centre - place)))


def straight(target: Target, goal: FloatArray) -> FloatArray:
    """The push that needs no model: through the middle, as far as the goal is away, shape [4]."""
    return np.array([0.0, 0.0, float(np.linalg.norm(goal - target.centre)), 0.4])


def tool_path(target: Target, goal: FloatArray, pushes: FloatArray, T_now: FloatArray) -> FloatArray:
    """Poses of the grasp frame at the ends of the legs: now, over, beside, pushed.

    Args:
        target: what to push.
        goal: where to [m], shape [2].
        pushes: the numbers of `PUSH`, shape [C, 4].
        T_now: where the gripper is, shape [4, 4].

    Returns:
        Poses in the robot's root frame, shape [4, C, 4, 4].
    """
    side, heading, length, height = pushes.T
    away = target.centre - goal
    angle = np.arctan2(away[1], away[0]) + side
    outward, ahead = _direction(angle), _direction(angle + np.pi + heading)
    begin = target.centre + (target.extent(outward) + FINGER_DEPTH + CLEARANCE)[:, None] * outward
    foot = target.thing.support
    z = np.maximum(foot + height * (target.top - foot), foot + LOWEST)
    beside = np.column_stack([begin, z])
    pushed = beside + np.pad(ahead * (CLEARANCE + length)[:, None], ((0, 0), (0, 1)))
    over = beside.copy()
    over[:, 2] = target.ceiling + CLEARANCE
    rotation = _pointing_down(ahead, T_now[:3, 0])
    legs = (from_parts(rotation, position) for position in (over, beside, pushed))
    return np.stack([np.broadcast_to(T_now, (len(pushes), 4, 4)), *legs])


def joint_motions(robot: RobotModel, start: FloatArray, path: FloatArray) -> tuple[tuple[RobotTrajectory, ...], Mask]:
    """Joint motions along tool paths, straight and smooth on every leg; on the first one the fingers close.

    Args:
        robot: with a gripper.
        start: joint positions now [rad | m], shape [J].
        path: of `tool_path`, shape [4, C, 4, 4].

    Returns:
        C motions over all joints, and which of them the robot can carry out, shape [C].
    """
    tool, limits = Tool.of_gripper(robot), robot.kinematics.limits
    count = path.shape[1]
    fingers = [column for column in range(len(start)) if column not in tool.columns]
    opening = limits.lower[fingers] + OPENING * (limits.upper[fingers] - limits.lower[fingers])
    rows, possible = [np.tile(start, (count, 1))], np.ones(count, bool)
    for leg, duration in enumerate((OVER, DOWN, PUSHING)):
        steps = round(duration / PERIOD)
        for share in np.arange(1, steps + 1) / steps:
            wanted = interpolate(path[leg], path[leg + 1], np.full(count, share * share * (3 - 2 * share)))
            row = rows[-1].copy()
            row[possible], reached = tool.solve(row[possible], wanted[possible])
            row[:, fingers] = opening if leg else start[fingers] + share * (opening - start[fingers])
            possible[possible] = reached
            rows.append(row)
    rows += [rows[-1]] * round(REST / PERIOD)
    positions = np.stack(rows, axis=1)
    possible &= (np.abs(np.diff(positions, axis=1)) <= limits.velocity * PERIOD).all(axis=(1, 2))
    times = PERIOD * np.arange(len(rows), dtype=np.float64)
    names = robot.kinematics.joint_names
    return tuple(RobotTrajectory(joint_names=names, times=times, positions=row) for row in positions), possible


def _direction(angle: FloatArray) -> FloatArray:
    return np.stack([np.cos(angle), np.sin(angle)], axis=-1)


def _pointing_down(ahead: FloatArray, closing_now: FloatArray) -> FloatArray:
    """Orientations whose fingers stand side by side across the push, with the least turn from now, shape [C, 3, 3]."""
    across = np.stack([-ahead[:, 1], ahead[:, 0], np.zeros(len(ahead))], axis=-1)
    across = np.where((across @ closing_now < 0)[:, None], -across, across)
    down = np.broadcast_to([0.0, 0.0, -1.0], across.shape)
    return np.stack([across, np.cross(down, across), down], axis=-1)
