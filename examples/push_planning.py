"""Push after push until the object lies at its goal: look, plan, carry out."""

import time
from collections.abc import Mapping
from dataclasses import dataclass, field

import numpy as np
from push_foresight import Foresight, Situation
from push_motions import BOUNDS, find_target, joint_motions, straight, tool_path
from push_robot import PushRobot
from push_search import SearchSettings, search

from fourd_ros.errors import NoObservation
from fourd_ros.records import FloatArray, Mask, Observation, RobotTrajectory
from fourd_ros.robot.inverse_kinematics import Tool
from fourd_ros.robot.model import RobotModel
from fourd_ros.world_model.compact.things import find_things
from fourd_ros.world_model.scene import understand


@dataclass(frozen=True, kw_only=True)
class PlanSettings:
    """How pushes are chosen.

    Args:
        search: how much is tried.
        pushes: at most so many, each planned from what is seen after the one before.
        near: no further push where the object seems to be this near to its goal [m].
        disturbance_weight: metres of distance that a metre costs by which other objects move.
        bend_weight: metres of distance that a push costs whose `side` or `heading` is 1 rad: a push through the middle
            is the safest of those foreseen to be equally good, whatever the model gets wrong.
    """

    search: SearchSettings = field(default_factory=SearchSettings)
    pushes: int = 1
    near: float = 0.015
    disturbance_weight: float = 0.2
    bend_weight: float = 0.06


@dataclass(frozen=True, kw_only=True)
class Plan:
    """A push to carry out.

    Args:
        motion: of all joints; None where nothing that was tried can be done.
        expected: where it brings the object [m], shape [2]; NaN without a foresight.
    """

    motion: RobotTrajectory | None
    expected: FloatArray


@dataclass(frozen=True, kw_only=True)
class Outcome:
    """What came of it.

    Args:
        start: where the object truly was [m], shape [2].
        end: where it truly ended [m], shape [2].
        expected: where the last push was to bring it [m], shape [2]; NaN without a foresight.
        pushes: that were carried out.
        planning_seconds: of all of them [s].
    """

    start: FloatArray
    end: FloatArray
    expected: FloatArray
    pushes: int
    planning_seconds: float


class PushPlanner:
    """Chooses pushes by imagining what they do.

    Args:
        robot: that pushes.
        foresight: tells where things end; None for the push that needs none.
        settings: how pushes are chosen.
    """

    def __init__(self, robot: RobotModel, foresight: Foresight | None, settings: PlanSettings) -> None:
        self._robot, self._foresight, self._settings = robot, foresight, settings
        self._tool = Tool.of_gripper(robot)

    def plan(self, situation: Situation, goal: FloatArray, rng: np.random.Generator) -> Plan:
        """The push that brings the object nearest to a goal [x, y], as far as can be foreseen."""
        if self._foresight is None:
            push = straight(situation.target, goal)
        else:
            push = search(lambda pushes: self._cost(situation, goal, pushes), BOUNDS, self._settings.search, rng).best
        motions, possible = self._motions(situation, goal, push[None])
        if not possible[0]:
            return Plan(motion=None, expected=np.full(2, np.nan))
        foreseen = None if self._foresight is None else self._foresight.ends(situation, motions)
        return Plan(motion=motions[0], expected=np.full(2, np.nan) if foreseen is None else foreseen.places[0])

    def _cost(self, situation: Situation, goal: FloatArray, pushes: FloatArray) -> FloatArray:
        """Of pushes [C, 4]: the distance that is left, and what speaks against them [m], shape [C]."""
        assert self._foresight is not None
        settings, cost = self._settings, np.full(len(pushes), np.inf)
        bend = (pushes[:, :2] ** 2).sum(axis=1)
        motions, possible = self._motions(situation, goal, pushes)
        if possible.any():
            ends = self._foresight.ends(situation, [motions[index] for index in np.flatnonzero(possible)])
            cost[possible] = (
                np.linalg.norm(ends.places - goal, axis=1)
                + settings.disturbance_weight * ends.disturbance
                + settings.bend_weight * bend[possible]
            )
        return cost

    def _motions(
        self, situation: Situation, goal: FloatArray, pushes: FloatArray
    ) -> tuple[tuple[RobotTrajectory, ...], Mask]:
        start = self._robot.kinematics.positions_from(situation.observation.joint_positions)
        path = tool_path(situation.target, goal, pushes, self._tool.pose(start))
        return joint_motions(self._robot, start, path)


def look(robot: RobotModel, observation: Observation, poses: Mapping[str, FloatArray], name: str) -> Situation:
    """What is known before a push of the object `name`, which is pointed at by where it truly is.

    Raises:
        NoObservation: nothing stands on the table.
    """
    things = [thing for thing in find_things(understand(robot, observation)) if not thing.held]
    if not things:
        raise NoObservation("the camera sees nothing on the table that could be pushed")
    target = find_target(things, poses[name][:2, 3])
    return Situation(observation=observation, target=target, poses=poses, name=name)


def push_to_goal(
    pusher: PushRobot,
    robot: RobotModel,
    planner: PushPlanner,
    *,
    name: str,
    goal: FloatArray,
    settings: PlanSettings,
    rng: np.random.Generator,
) -> Outcome:
    """Push the object `name` to a goal [x, y] in the scene that `pusher` shows, as long as the camera sees it.

    Raises:
        RobotUnavailable: the robot does not do what it is told.
    """
    poses = pusher.objects_at_rest()
    start, seconds, pushes, plan = poses[name][:2, 3], 0.0, 0, None
    while pushes < settings.pushes:
        try:
            situation = look(robot, pusher.observe(robot), poses, name)
        except NoObservation:
            break
        if np.linalg.norm(situation.target.centre - goal) <= settings.near:
            break
        with pusher.slowed():
            began = time.perf_counter()
            plan = planner.plan(situation, goal, rng)
            seconds += time.perf_counter() - began
        if plan.motion is None:
            break
        pusher.carry_out(plan.motion)
        pushes += 1
        if pushes < settings.pushes:
            pusher.carry_out(backwards(plan.motion))
        poses = pusher.objects_at_rest()
    return Outcome(
        start=start,
        end=poses[name][:2, 3],
        expected=np.full(2, np.nan) if plan is None else plan.expected,
        pushes=pushes,
        planning_seconds=seconds,
    )


def backwards(motion: RobotTrajectory) -> RobotTrajectory:
    """The way back."""
    times = motion.times[-1] - motion.times[::-1]
    return RobotTrajectory(joint_names=motion.joint_names, times=times, positions=motion.positions[::-1])
