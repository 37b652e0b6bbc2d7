"""From an ``Imagine`` goal and an observation to a checked question."""

import math
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np

from fourd_ros.bridge.times import duration_to_seconds, stamp_to_ns
from fourd_ros.bridge.trajectories import trajectory_from_message
from fourd_ros.errors import InvalidTrajectory, MissingCamera, TooLarge
from fourd_ros.records import FloatArray, Observation, RobotTrajectory
from fourd_ros.robot.model import RobotModel
from fourd_ros.robot.trajectory import check_trajectory, complete
from fourd_ros.world_model.base import Question
from fourd_ros.world_model.store import BYTES_PER_PIXEL

ROUNDING = 1e-6
"""Share of a step by which a horizon may miss a whole number of steps."""


@dataclass(frozen=True, kw_only=True)
class QuestionLimits:
    """Bounds checked before anything is computed.

    Args:
        max_candidates: trajectories in one goal.
        max_samples: futures per candidate.
        max_steps: frames of one rollout.
        max_points: points of one trajectory.
        max_duration: of one trajectory [s].
        max_bytes: memory for all rollouts of one goal, which must fit into the store together [bytes].
        speed_tolerance: factor on the joint speed limits.
    """

    max_candidates: int = 64
    max_samples: int = 16
    max_steps: int = 64
    max_points: int = 10_000
    max_duration: float = 60.0
    max_bytes: int = 1_000_000_000
    speed_tolerance: float = 1.1


def check_counts(goal: Any, limits: QuestionLimits) -> None:
    """Refuse too many candidates or samples.

    Raises:
        InvalidTrajectory: no candidate at all.
        TooLarge: more than `limits` allow.
    """
    if not goal.candidates:
        raise InvalidTrajectory("the goal holds no candidate trajectory; at least one is needed")
    for name, given, most in (
        ("candidates", len(goal.candidates), limits.max_candidates),
        ("num_samples", goal.num_samples, limits.max_samples),
    ):
        if given > most:
            raise TooLarge(f"{name}: {given} given, at most {most} are taken")


def make_question(
    goal: Any, robot: RobotModel, observation: Observation, *, default_step: float, limits: QuestionLimits
) -> Question:
    """The question that a goal asks about an observation.

    Args:
        goal: ``fourd_msgs/action/Imagine`` goal.
        robot: whose joints the candidates move.
        observation: what is known now.
        default_step: time between frames when the goal leaves it open [s].
        limits: bounds.

    Raises:
        InvalidTrajectory, InvalidJoints, JointLimitExceeded: the candidates.
        MissingCamera: unknown views.
        TooLarge: too many candidates, samples, steps or pixels.
    """
    check_counts(goal, limits)
    candidates = tuple(_candidate(message, robot, observation, limits) for message in goal.candidates)
    views = tuple(goal.views) or tuple(observation.views)
    unknown = sorted(set(views) - set(observation.views))
    if unknown:
        raise MissingCamera(f"unknown views {unknown}; this node sees {sorted(observation.views)}")
    question = Question(
        robot=robot,
        observation=observation,
        candidates=candidates,
        times=_instants(goal, candidates, default_step, limits.max_steps),
        views=tuple(dict.fromkeys(views)),
        num_samples=max(goal.num_samples, 1),
        seed=goal.seed,
    )
    needed = question.work.pixels * BYTES_PER_PIXEL
    if needed > limits.max_bytes:
        raise TooLarge(
            f"the answer takes {needed / 1e6:.0f} MB, the store holds {limits.max_bytes / 1e6:.0f}; "
            "ask for fewer steps, views, candidates or samples, or raise store_megabytes"
        )
    return question


def _candidate(message: Any, robot: RobotModel, observation: Observation, limits: QuestionLimits) -> RobotTrajectory:
    commanded = trajectory_from_message(message, max_points=limits.max_points)
    start = stamp_to_ns(message.header.stamp)
    if start:
        commanded = _shifted(commanded, (start - observation.stamp_ns) * 1e-9)
    return checked_candidate(commanded, robot, observation, limits)


def checked_candidate(
    commanded: RobotTrajectory, robot: RobotModel, observation: Observation, limits: QuestionLimits
) -> RobotTrajectory:
    """The commanded motion over all actuated joints, starting at the observed posture.

    Raises:
        InvalidTrajectory, InvalidJoints, JointLimitExceeded: it cannot be followed.
    """
    current = robot.kinematics.positions_from(observation.joint_positions)
    check_trajectory(
        commanded,
        robot.kinematics,
        current,
        max_points=limits.max_points,
        max_duration=limits.max_duration,
        speed_tolerance=limits.speed_tolerance,
        targets=robot.gripper.joints if robot.gripper else (),
    )
    return complete(commanded, robot.kinematics, current)


def _shifted(trajectory: RobotTrajectory, offset: float) -> RobotTrajectory:
    """The trajectory on a clock that reads 0 at the observation; what lies in the past is cut off."""
    times = trajectory.times + offset
    ahead = times > 0
    if not ahead.any():
        raise InvalidTrajectory(f"the trajectory ended {-times[-1]:.3f} s before the observation")
    if ahead.all():
        return RobotTrajectory(joint_names=trajectory.joint_names, times=times, positions=trajectory.positions)
    now = trajectory.at(np.array([-offset]))
    return RobotTrajectory(
        joint_names=trajectory.joint_names,
        times=np.concatenate([[0.0], times[ahead]]),
        positions=np.concatenate([now, trajectory.positions[ahead]]),
    )


def _instants(goal: Any, candidates: Sequence[RobotTrajectory], default_step: float, max_steps: int) -> FloatArray:
    """Instants to imagine: every step up to the horizon [s], shape [T]."""
    step = duration_to_seconds(goal.step) or default_step
    asked = duration_to_seconds(goal.horizon)
    horizon = asked or max(float(c.times[-1]) for c in candidates)
    if step <= 0 or horizon < 0:
        raise InvalidTrajectory(f"step is {step} s and horizon {horizon} s; both must be positive")
    # A horizon that was asked for is not exceeded; a trajectory is imagined to its end.
    steps = max(math.floor(horizon / step + ROUNDING) if asked else math.ceil(horizon / step - ROUNDING), 1)
    if steps > max_steps:
        raise TooLarge(f"horizon {horizon:.2f} s at {step:.3f} s a step makes {steps} frames, at most {max_steps}")
    return step * np.arange(1, steps + 1)
