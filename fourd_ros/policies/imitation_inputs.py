"""What the learned policy is shown: some points of its target and of what is around it, the gripper, and the goal.

Everything is geometry that a depth camera and the joints tell. The target is pointed at once, by where it is at the
start; from then on it is followed from one observation to the next.
"""

from collections.abc import Sequence
from dataclasses import dataclass, replace

import numpy as np
from numpy.typing import NDArray

from fourd_ros.geometry.transforms import apply, invert
from fourd_ros.geometry.voxel import reduce
from fourd_ros.records import FloatArray, Observation
from fourd_ros.robot.inverse_kinematics import Tool
from fourd_ros.robot.model import RobotModel
from fourd_ros.world_model.compact.things import find_things
from fourd_ros.world_model.scene import understand

Floats = NDArray[np.float32]

TASKS = ("push", "pick_place", "open_drawer")
"""Those that the policy can be asked to do, in the order of the network's inputs."""

TARGET_POINTS, OTHER_POINTS = 32, 16
"""Of the target, and of other things near it, that the network is shown."""

NEAR = 0.25
"""Other things this near to the middle of the target are shown [m]."""

VOXEL = 0.008
"""Points are spread evenly over surfaces at this distance [m]."""

FOLLOW = 0.10
"""A thing farther than this from where the target is expected is another one [m]."""

WHOLE = (0.75, 1.5)
"""With so much surface, against the most that was seen of it, the target is neither hidden nor one with others."""

LAYINGS = 8
"""Steps in which points are laid over what is seen."""

AT_REST = 0.008
"""What a motion does not explain better than standing still by so much did not move [m]."""

OPEN = 0.93
"""Fingers that are less open than this share of their travel are closed, perhaps around something."""

SCALE = 0.1
"""Positions are told to the network in units of this [m]."""

STATE_SIZE = 18 + len(TASKS)


@dataclass(frozen=True, kw_only=True)
class Situation:
    """What is known when the policy is asked, in the root frame of the robot.

    Args:
        task: index in `TASKS`.
        points: of the target, then of other things, float32, shape [TARGET_POINTS + OTHER_POINTS, 3].
        others: how many other points there are; what follows them is no point.
        centre: middle of the target, x and y [m].
        seen: whether the target was seen now.
        start: `centre` when the episode began.
        goal: where the middle of the target shall be, x and y; `start` for what stays where it is.
        heading: of the frame in which the network thinks: from `start` to `goal`, else to the target [rad].
        gripper: position of the grasp point [m], shape [3].
        closing: direction in which the fingers close, angle about z [rad].
        closed: whether the fingers are closed, perhaps around something.
        eye: position of the camera [m], shape [3].
    """

    task: int
    points: Floats
    others: int
    centre: FloatArray
    seen: bool
    start: FloatArray
    goal: FloatArray
    heading: float
    gripper: FloatArray
    closing: float
    closed: bool
    eye: FloatArray


def in_frame(situation: Situation, points: NDArray[np.floating]) -> FloatArray:
    """Points [*, 3] of the robot's root frame in the frame in which the network thinks: its origin lies on the table
    under the middle of the target, its x axis is the heading."""
    c, s = np.cos(situation.heading), np.sin(situation.heading)
    turn = np.array([[c, -s, 0.0], [s, c, 0.0], [0.0, 0.0, 1.0]])
    return np.asarray((points - np.append(situation.centre, 0.0)) @ turn)


def network_inputs(situation: Situation) -> dict[str, Floats]:
    """``points`` [P, 5] (place in units of `SCALE`; of the target; of another thing) and ``state`` [STATE_SIZE]."""
    here, last = situation, TARGET_POINTS + situation.others
    kind = np.zeros((len(here.points), 2))
    kind[:TARGET_POINTS, 0], kind[TARGET_POINTS:last, 1] = 1.0, 1.0
    places = in_frame(here, here.points) / SCALE * kind.any(axis=1, keepdims=True)
    angle = 2 * (here.closing - here.heading)
    goal, start, root = in_frame(here, np.pad(np.stack([here.goal, here.start, np.zeros(2)]), ((0, 0), (0, 1))))
    state = [
        *(in_frame(here, here.gripper) / SCALE),
        np.cos(angle),
        np.sin(angle),
        here.closed,
        *(goal[:2] / SCALE),
        *(start[:2] / SCALE),
        *in_frame(here, here.eye),
        *root[:2],
        np.cos(here.heading),
        np.sin(here.heading),
        here.seen,
        *np.eye(len(TASKS))[here.task],
    ]
    return {
        "points": np.concatenate([places, kind], axis=1).astype(np.float32),
        "state": np.array(state, np.float32),
    }


@dataclass(frozen=True, kw_only=True)
class GripperPose:
    """The fingers, pointing down.

    Args:
        position: of the grasp point in the root frame of the robot [m], shape [*, 3].
        closing: direction in which the fingers close, angle about z [rad], shape [*].
    """

    position: FloatArray
    closing: FloatArray

    @classmethod
    def of(cls, T_root_tool: FloatArray) -> "GripperPose":
        """From grasp frames [*, 4, 4]."""
        return cls(position=T_root_tool[..., :3, 3], closing=np.arctan2(T_root_tool[..., 1, 0], T_root_tool[..., 0, 0]))

    def frames(self) -> FloatArray:
        """``T_root_tool``, shape [*, 4, 4]."""
        c, s = np.cos(self.closing), np.sin(self.closing)
        T = np.zeros((*np.shape(self.closing), 4, 4))
        T[..., 0, 0], T[..., 1, 0] = c, s
        T[..., 0, 1], T[..., 1, 1] = s, -c
        T[..., 2, 2], T[..., 3, 3] = -1.0, 1.0
        T[..., :3, 3] = self.position
        return T


class TargetFollower:
    """Turns the observations of one episode into situations.

    Args:
        robot: that is driven.
        camera: name of the view that is looked at.
        task: one of `TASKS`.
        place: about where the target is at the start, x and y in the robot's root frame [m].
        goal: where its middle shall be, x and y [m]; None for what stays where it is.
    """

    def __init__(
        self, robot: RobotModel, *, camera: str, task: str, place: FloatArray, goal: FloatArray | None
    ) -> None:
        self._robot, self._camera, self._task = robot, camera, TASKS.index(task)
        self._tool = Tool.of_gripper(robot)
        self._goal = goal
        self._points = np.tile(np.append(place, 0.0), (TARGET_POINTS, 1))
        self._surface = 0
        """Most voxels of the target that were seen at once."""
        self._other_middles = np.zeros((0, 3))
        self._start: FloatArray | None = None
        self._grip: FloatArray | None = None
        """Where the fingers were closed when they were last seen; None where they were open."""

    def see(self, observation: Observation) -> Situation:
        """What is known now.

        Args:
            observation: the next one of the episode, with the camera and all joints.
        """
        view, T_robot_world = observation.views[self._camera], invert(observation.T_world_robot)
        pose = self._tool.pose(self._robot.kinematics.positions_from(observation.joint_positions))
        gripper = GripperPose.of(pose)
        things = find_things(understand(self._robot, replace(observation, views={self._camera: view})))
        clouds = [np.asarray(apply(T_robot_world, thing.points), np.float64) for thing in things]
        target = self._target(clouds, gripper.position)
        self._follow(None if target is None else clouds[target], self._carried(gripper.position))
        assert self._robot.gripper is not None
        closed = self._robot.gripper.openness(observation.joint_positions) < OPEN
        self._grip = gripper.position if closed else None
        if self._start is None:
            self._start = self._points[:, :2].mean(axis=0)
        stays = self._goal is None
        centre = self._start if stays else self._points[:, :2].mean(axis=0)
        goal = self._start if self._goal is None else self._goal
        way = goal if stays else goal - self._start
        others = _around([cloud for index, cloud in enumerate(clouds) if index != target], centre)
        padding = np.zeros((OTHER_POINTS - len(others), 3))
        return Situation(
            task=self._task,
            points=np.concatenate([self._points, others, padding]).astype(np.float32),
            others=len(others),
            centre=centre,
            seen=target is not None,
            start=self._start,
            goal=goal,
            heading=float(np.arctan2(way[1], way[0])),
            gripper=gripper.position,
            closing=float(gripper.closing),
            closed=closed,
            eye=np.asarray(apply(T_robot_world, view.T_world_camera[:3, 3]), np.float64),
        )

    def _target(self, clouds: Sequence[FloatArray], gripper: FloatArray) -> int | None:
        """Index of the thing that is the target: near to where it was, or to where closed fingers took it; if nothing
        is, what was not there before."""
        middles = np.array([cloud.mean(axis=0) for cloud in clouds]).reshape(-1, 3)
        dimensions = 2 if self._start is None else 3
        was = self._points.mean(axis=0)
        expected = np.stack([was, was + self._carried(gripper)])
        distance = _distances(expected[:, :dimensions], middles[:, :dimensions]).min(axis=0)
        another = _distances(self._other_middles, middles).min(axis=0, initial=np.inf)
        fits = np.where(another < distance, np.inf, distance)
        if fits.min(initial=np.inf) > FOLLOW:
            fits = np.where(another < FOLLOW, np.inf, 0.0 * distance)
        target = int(fits.argmin()) if fits.min(initial=np.inf) < FOLLOW else None
        others = np.delete(middles, [] if target is None else target, axis=0)
        gone = _distances(self._other_middles, others).min(axis=1, initial=np.inf) > FOLLOW
        self._other_middles = np.concatenate([self._other_middles[gone], others])
        return target

    def _carried(self, gripper: FloatArray) -> FloatArray:
        """How far closed fingers took the target since the last observation, if they were at it; a push only shoves it
        ahead [m]."""
        ahead = self._points.mean(axis=0) - self._grip if self._grip is not None else np.full(3, np.inf)
        distance = np.linalg.norm(ahead)
        if self._grip is None or distance > SCALE:
            return np.zeros(3)
        way = gripper - self._grip
        if TASKS[self._task] != "push":
            return way
        ahead = np.append(ahead[:2], 0.0) / max(float(distance), VOXEL)
        return np.asarray(ahead * max(0.0, float(way @ ahead)))

    def _follow(self, seen: FloatArray | None, carried: FloatArray) -> None:
        """Bring the target's points to where it is now; seen whole, it gets new ones."""
        if seen is None:
            self._points = self._points + carried
            return
        surface = evenly(seen)
        if self._surface == 0 or WHOLE[0] < len(surface) / self._surface < WHOLE[1]:
            self._points, self._surface = some(surface, TARGET_POINTS), max(self._surface, len(surface))
            return
        part = len(surface) < self._surface
        shown = some(surface, TARGET_POINTS)
        guesses = [self._points, self._points + carried]
        guesses += [laid_over(points, shown, part=part) for points in guesses]
        misfits = [float(_distances(points, shown).min(axis=0 if part else 1).mean()) for points in guesses]
        misfits[0] -= AT_REST
        self._points = guesses[int(np.argmin(misfits))]


def laid_over(points: FloatArray, seen: FloatArray, *, part: bool) -> FloatArray:
    """Points [N, 3] moved without turning to where some [M, 3] of them are `seen`, by the nearest ones of each.

    Source of the method: Besl and McKay 1992, A method for registration of 3-D shapes.

    Args:
        points: near to where they are [m].
        seen: what is seen [m].
        part: whether a part of them is seen, or they are a part of what is seen.
    """
    for _ in range(LAYINGS):
        distances = _distances(points, seen)
        gap = (seen - points[distances.argmin(axis=0)]) if part else (seen[distances.argmin(axis=1)] - points)
        points = points + gap.mean(axis=0)
    return points


def _distances(points: FloatArray, others: FloatArray) -> FloatArray:
    return np.asarray(np.linalg.norm(points[:, None] - others, axis=2))


def evenly(points: FloatArray) -> FloatArray:
    """Some of the points [N, 3], one of every voxel."""
    return points[reduce(points.astype(np.float32), max_points=len(points), voxel_size=VOXEL)]


def some(points: FloatArray, count: int) -> FloatArray:
    """`count` of the points; some twice where there are fewer, shape [count, 3]."""
    return np.asarray(points[np.linspace(0, len(points) - 1, count).round().astype(np.intp)])


def _around(clouds: Sequence[FloatArray], centre: FloatArray) -> FloatArray:
    """At most `OTHER_POINTS` points of other things near the target, shape [N, 3]."""
    points = np.concatenate([np.zeros((0, 3)), *clouds])
    near = points[np.linalg.norm(points[:, :2] - centre, axis=1) < NEAR]
    return some(evenly(near), OTHER_POINTS) if len(near) else near
