"""Scripted policies, from expert to bad; each turns a task into a commanded trajectory."""

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from fourd_ros.errors import UnknownTask
from fourd_ros.records import RobotTrajectory
from fourd_ros.simulation.controller import FINGER_CLOSED, FINGER_OPEN, Waypoint, plan
from fourd_ros.simulation.scene import SceneSpec, at_present
from fourd_ros.simulation.simulator import Simulator
from fourd_ros.simulation.skills import Execution, waypoints
from fourd_ros.simulation.tasks import Task

FloatArray = NDArray[np.float64]

_RANDOM_REGION = ((0.32, 0.62), (-0.30, 0.30), (0.02, 0.28))
_RANDOM_WAYPOINTS = 7


@dataclass(frozen=True, kw_only=True)
class Policy:
    """A scripted policy.

    Args:
        aim_noise: standard deviation of the point that is aimed at, in x and y each [m].
        heading_error: standard deviation of the direction of a push [rad].
        fraction: part of the way that is gone.
        wrong_object: True to work on another object where there is one.
        random_motion: True to ignore the task and move about.
        freeze_after: part of the motion after which the robot stands still, 1 for never.
    """

    aim_noise: float = 0.0
    heading_error: float = 0.0
    fraction: float = 1.0
    wrong_object: bool = False
    random_motion: bool = False
    freeze_after: float = 1.0


POLICIES: dict[str, Policy] = {
    "expert": Policy(),
    "noise_1cm": Policy(aim_noise=0.01),
    "noise_3cm": Policy(aim_noise=0.03),
    "noise_6cm": Policy(aim_noise=0.06),
    "off_heading": Policy(heading_error=0.5, aim_noise=0.02),
    "half_way": Policy(fraction=0.5),
    "wrong_object": Policy(wrong_object=True, aim_noise=0.01),
    "freeze": Policy(freeze_after=0.45),
    "random": Policy(random_motion=True),
}


def find_policy(name: str) -> Policy:
    """The policy of that name.

    Raises:
        UnknownTask: there is none.
    """
    if name not in POLICIES:
        raise UnknownTask(f"no policy '{name}'; there are {list(POLICIES)}")
    return POLICIES[name]


def act(policy: Policy, task: Task, simulator: Simulator, *, seed: int) -> RobotTrajectory:
    """The motion that `policy` commands for `task` from where `simulator` stands; it starts at once.

    The same seed and the same state give the same motion.
    """
    rng = np.random.default_rng((seed, 3))
    state = simulator.state()
    scene = at_present(simulator.spec, state.objects, state.fixture_joints)
    points = (
        _random_points(rng) if policy.random_motion else waypoints(task, scene, _execution(policy, task, scene, rng))
    )
    trajectory = plan(simulator.kinematics(), points, simulator.commanded_positions())
    return _frozen(trajectory, policy.freeze_after)


def _execution(policy: Policy, task: Task, scene: SceneSpec, rng: np.random.Generator) -> Execution:
    x, y = rng.normal(0.0, 1.0, 2) * policy.aim_noise
    heading = float(rng.normal()) * policy.heading_error
    others = [item.name for item in scene.objects if item.name != task.target]
    wrong = str(rng.choice(others)) if policy.wrong_object and others else ""
    return Execution(aim=(float(x), float(y)), heading=heading, fraction=policy.fraction, target=wrong)


def _random_points(rng: np.random.Generator) -> list[Waypoint]:
    low, high = np.array(_RANDOM_REGION).T
    return [
        Waypoint(
            position=rng.uniform(low, high),
            yaw=float(rng.uniform(-1.5, 1.5)),
            finger=float(rng.choice((FINGER_OPEN, FINGER_CLOSED))),
            pause=0.2,
        )
        for _ in range(_RANDOM_WAYPOINTS)
    ]


def _frozen(trajectory: RobotTrajectory, fraction: float) -> RobotTrajectory:
    """The same duration, standing still after `fraction` of it."""
    last = max(1, round(fraction * len(trajectory.times)))
    positions = trajectory.positions.copy()
    positions[last:] = positions[last - 1]
    return RobotTrajectory(joint_names=trajectory.joint_names, times=trajectory.times, positions=positions)
