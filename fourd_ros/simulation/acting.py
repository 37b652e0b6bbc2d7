"""What a policy commands: one trajectory for a task, planned from where the scene stands."""

from collections.abc import Mapping

import numpy as np

from fourd_ros.records import RobotTrajectory
from fourd_ros.simulation.controller import FINGER_CLOSED, FINGER_OPEN, InverseKinematics, Waypoint, plan
from fourd_ros.simulation.policies import Policy
from fourd_ros.simulation.scene import SceneSpec, at_present
from fourd_ros.simulation.simulator import Simulator
from fourd_ros.simulation.skills import Execution, waypoints
from fourd_ros.simulation.tasks import Task

_RANDOM_REGION = ((0.32, 0.62), (-0.30, 0.30), (0.02, 0.28))
_RANDOM_WAYPOINTS = 7


def act(policy: Policy, task: Task, simulator: Simulator, *, seed: int) -> RobotTrajectory:
    """The motion that `policy` commands for `task` from where `simulator` stands; it starts at once.

    The same seed and the same state give the same motion.
    """
    scene = at_present(simulator.spec, simulator.state())
    return plan_motion(policy, task, scene, simulator.kinematics(), simulator.commanded_positions(), seed=seed)


def plan_motion(
    policy: Policy,
    task: Task,
    scene: SceneSpec,
    kinematics: InverseKinematics,
    start: Mapping[str, float],
    *,
    seed: int,
) -> RobotTrajectory:
    """The motion of `policy` for `task`.

    Args:
        policy: the policy.
        task: what is to be done.
        scene: where everything is now.
        kinematics: of the robot.
        start: commanded joint positions now [rad | m].
        seed: of what is random in the policy.
    """
    rng = np.random.default_rng((seed, 3))
    points = (
        _random_points(rng) if policy.random_motion else waypoints(task, scene, _execution(policy, task, scene, rng))
    )
    return _frozen(plan(kinematics, points, start), policy.freeze_after)


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
