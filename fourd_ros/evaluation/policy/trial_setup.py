"""What is tried at a start: with which policies, rungs and limits, and what policies are told."""

from dataclasses import dataclass
from functools import lru_cache

from fourd_ros.evaluation.policy.judge import Judge
from fourd_ros.evaluation.policy.starts import Start, StartOptions
from fourd_ros.policies.base import Assignment, Policy
from fourd_ros.policies.checked import CheckedPolicy
from fourd_ros.policies.registry import make_policy
from fourd_ros.robot.model import RobotModel
from fourd_ros.robot.panda import panda_description
from fourd_ros.world_model.base import ModelOptions


@dataclass(frozen=True, kw_only=True)
class Trials:
    """What is tried at a start.

    Args:
        kind: of the task.
        number: of the start.
        options: what the start is drawn from.
        policies: their names.
        seeds: of each.
        backends: rungs that imagine; the first one is the one that is judged, the others are controls.
        model: what rungs are made of.
        truth: try it in the simulator too.
        limit: longest episode [s].
        answer_limit: longest time for an answer of a policy [s].
        judge: of imagined films; None for the detector of the task.
        least_trust: what is trusted less is not judged.
    """

    kind: str
    number: int
    options: StartOptions
    policies: tuple[str, ...]
    seeds: tuple[int, ...]
    backends: tuple[str, ...]
    model: ModelOptions
    truth: bool
    limit: float
    answer_limit: float
    judge: Judge | None
    least_trust: float


def checked_policy(name: str, trials: Trials) -> CheckedPolicy:
    """A policy whose answers come in time and can be followed by the robot, or end its episode.

    Raises:
        InvalidInput, MissingDependency: as `make_policy` says.
    """
    robot = shared_robot()
    return CheckedPolicy(
        make_policy(name, task=trials.kind),
        robot.kinematics,
        answer_limit=trials.answer_limit,
        targets=() if robot.gripper is None else robot.gripper.joints,
    )


def assignment_of(policy: Policy, start: Start, seed: int) -> Assignment:
    """What a policy is told of a start; where everything truly is only if it has to know."""
    return Assignment(
        task=start.kind,
        instruction=start.task.instruction,
        goal=start.task,
        scene=start.scene if policy.contract.scene else None,
        seed=seed * 1_000_003 + start.number,
    )


@lru_cache(maxsize=1)
def shared_robot() -> RobotModel:
    """The robot of all starts; made once in a process."""
    return RobotModel(panda_description())
