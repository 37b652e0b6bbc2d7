"""A policy whose every answer is checked, so that a bad one ends its episode and nothing else."""

import queue
import threading
from collections.abc import Callable, Collection
from concurrent.futures import Future, wait
from typing import Any, TypeVar

from fourd_ros.errors import InvalidInput, PolicyFailed
from fourd_ros.policies.base import Assignment, Policy
from fourd_ros.records import Observation, RobotTrajectory
from fourd_ros.robot.kinematics import Kinematics
from fourd_ros.robot.trajectory import check_trajectory

Result = TypeVar("Result")


class CheckedPolicy(Policy):
    """Passes on what a policy answers if the robot can follow it and it comes in time.

    The policy works in a thread of its own. One that does not come back cannot be stopped: its episode ends, and the
    next ones fail until it has come back. `ProcessPolicy` starts again instead.

    Args:
        policy: what is checked; its name and contract are kept.
        kinematics: of the robot that it drives.
        answer_limit: time for an answer [s].
        speed_tolerance: by which factor a joint may be told to move faster than it can.
        max_points: bound on the points of an answer.
        max_duration: bound on the duration of an answer [s].
        targets: joints that are told where to go rather than how, so that their speed is not checked: grippers.
    """

    def __init__(
        self,
        policy: Policy,
        kinematics: Kinematics,
        *,
        answer_limit: float = 30.0,
        speed_tolerance: float = 1.5,
        max_points: int = 10_000,
        max_duration: float = 600.0,
        targets: Collection[str] = (),
    ) -> None:
        super().__init__(policy.name)
        self.contract = policy.contract
        self._policy, self._kinematics, self._answer_limit = policy, kinematics, answer_limit
        self._speed_tolerance, self._targets = speed_tolerance, targets
        self._max_points, self._max_duration = max_points, max_duration
        self._thread = _OwnThread(f"policy {policy.name}")

    def begin(self, assignment: Assignment) -> None:
        """A new episode.

        Raises:
            PolicyFailed: the policy raises an error, is not ready in time, or is still busy with a former episode.
        """
        self._within_limit(lambda: self._policy.begin(assignment))

    def act(self, observation: Observation, *, elapsed: float) -> RobotTrajectory | None:
        """What the policy answers.

        Raises:
            PolicyFailed: it raises an error, gives no answer in time, or commands what the robot cannot follow.
        """
        motion = self._within_limit(lambda: self._policy.act(observation, elapsed=elapsed))
        if motion is not None:
            self._check(motion, observation)
        return motion

    def close(self) -> None:
        """Gives back what the policy holds, unless that takes too long."""
        try:
            self._within_limit(self._policy.close)
        finally:
            self._thread.end()

    def _check(self, motion: object, observation: Observation) -> None:
        if not isinstance(motion, RobotTrajectory):
            raise PolicyFailed(f"it answers with a {type(motion).__name__}, needed a RobotTrajectory or None")
        try:
            check_trajectory(
                motion,
                self._kinematics,
                self._kinematics.positions_from(observation.joint_positions),
                max_points=self._max_points,
                max_duration=self._max_duration,
                speed_tolerance=self._speed_tolerance,
                targets=self._targets,
            )
        except InvalidInput as error:
            raise PolicyFailed(f"it commands what the robot cannot follow: {error}") from error

    def _within_limit(self, work: Callable[[], Result]) -> Result:
        try:
            return self._thread.call(work, limit=self._answer_limit)
        except _Overdue as error:
            raise PolicyFailed(f"no answer within {self._answer_limit:g} s") from error
        except Exception as error:
            raise failure_of(error) from error


def failure_of(error: BaseException) -> PolicyFailed:
    """What becomes of any error that a policy raises."""
    return error if isinstance(error, PolicyFailed) else PolicyFailed(f"{type(error).__name__}: {error}")


class _Overdue(Exception):
    """Not to be taken for a TimeoutError of the policy's own."""


class _OwnThread:
    """Does one thing after another; nothing waits for what it cannot finish, not even the end of the program."""

    def __init__(self, name: str) -> None:
        self._work: queue.SimpleQueue[Callable[[], None] | None] = queue.SimpleQueue()
        self._newest: Future[Any] = Future()
        self._newest.set_result(None)
        threading.Thread(target=self._run, name=name, daemon=True).start()

    def call(self, work: Callable[[], Result], *, limit: float) -> Result:
        """What `work` returns or raises, if that takes no longer than `limit` [s]."""
        if not self._newest.done():
            raise PolicyFailed("it is still busy with a question whose answer is overdue")
        future: Future[Result] = Future()
        self._newest = future
        self._work.put(lambda: _settle(future, work))
        if not wait([future], limit).done:
            raise _Overdue
        return future.result()

    def end(self) -> None:
        """Nothing more will come."""
        self._work.put(None)

    def _run(self) -> None:
        while (work := self._work.get()) is not None:
            work()


def _settle(future: "Future[Result]", work: Callable[[], Result]) -> None:
    try:
        future.set_result(work())
    except BaseException as error:  # whatever it is, it belongs to the one who asked
        future.set_exception(error)
