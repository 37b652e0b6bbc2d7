"""Between the numbers that a policy from elsewhere reads and writes, and the joints of the robot."""

from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from typing import Literal, get_args

import numpy as np
from numpy.typing import NDArray

from fourd_ros.errors import InvalidConfig, InvalidJoints, PolicyFailed
from fourd_ros.records import RobotTrajectory

FloatArray = NDArray[np.float64]

Meaning = Literal["position", "offset", "step", "speed"]
"""Of an action: where the joint shall be; that, seen from where it was at the question; seen from the action before;
how fast it shall move until the next action."""


@dataclass(frozen=True, kw_only=True)
class JointNumber:
    """One number that tells of a joint: position = zero + scale * number.

    Args:
        joint: its name.
        scale: what the number is multiplied with [rad | m per unit].
        zero: the position that a 0 stands for [rad | m]; of no account where it means no position.
        meaning: of the number as an action; as a state it is always a position.

    Raises:
        InvalidConfig: the scale is zero or a number is not finite, or the meaning is none of `Meaning`.
    """

    joint: str
    scale: float = 1.0
    zero: float = 0.0
    meaning: Meaning = "position"

    def __post_init__(self) -> None:
        if not np.isfinite([self.scale, self.zero]).all() or self.scale == 0:
            raise InvalidConfig(
                f"joint '{self.joint}' = {self.zero:g} + {self.scale:g} * number cannot be turned round"
            )
        if self.meaning not in get_args(Meaning):
            raise InvalidConfig(f"joint '{self.joint}' takes a '{self.meaning}'; there are {list(get_args(Meaning))}")


def joint_numbers(options: Iterable[str | Mapping[str, object]]) -> tuple[JointNumber, ...]:
    """From a configuration: names of joints, or maps of the arguments of `JointNumber`.

    Raises:
        InvalidConfig: there is none, a joint is there twice, or an argument is unknown or wrong.
    """
    try:
        numbers = tuple(
            JointNumber(joint=option) if isinstance(option, str) else JointNumber(**option)  # type: ignore[arg-type]
            for option in options
        )
    except TypeError as error:
        raise InvalidConfig(f"{list(options)} do not describe joints: {error}") from error
    names = [number.joint for number in numbers]
    if not names or len(set(names)) < len(names):
        raise InvalidConfig(f"the joints {names}; needed are some, each once")
    return numbers


def state_of(numbers: Iterable[JointNumber], positions: Mapping[str, float]) -> FloatArray:
    """What tells of these positions [rad | m], shape [S].

    Raises:
        InvalidJoints: one is missing.
    """
    numbers = tuple(numbers)
    missing = [number.joint for number in numbers if number.joint not in positions]
    if missing:
        raise InvalidJoints(f"no position of {missing}; given: {sorted(positions)}")
    return np.array([(positions[number.joint] - number.zero) / number.scale for number in numbers])


def positions_of(numbers: Iterable[JointNumber], state: NDArray[np.generic]) -> dict[str, float]:
    """The positions that `state_of` told of.

    Raises:
        InvalidJoints: the state has another shape, or holds something else than finite numbers.
    """
    numbers = tuple(numbers)
    if np.shape(state) != (len(numbers),) or not np.isfinite(state).all():
        raise InvalidJoints(f"a state {state!r:.200}; needed are {len(numbers)} finite numbers")
    return {
        number.joint: number.zero + number.scale * float(value) for number, value in zip(numbers, state, strict=True)
    }


@dataclass(frozen=True, kw_only=True)
class ActionRows:
    """A motion as rows of numbers: row k tells where the joints are (k + 1) / rate after the question.

    Args:
        numbers: by column.
        rate: rows per second [Hz].
        steps: rows that are followed before the next question; None to follow all of the only answer of an episode.

    Raises:
        InvalidConfig: the rate or the steps are not positive.
    """

    numbers: tuple[JointNumber, ...]
    rate: float
    steps: int | None = None

    def __post_init__(self) -> None:
        if not (np.isfinite(self.rate) and self.rate > 0) or (self.steps is not None and self.steps < 1):
            raise InvalidConfig(f"{self.steps} steps at {self.rate} Hz; both must be positive")

    @property
    def period(self) -> float | None:
        """Time from one answer to the next question [s]; None for a single answer."""
        return None if self.steps is None else self.steps / self.rate

    @property
    def joints(self) -> tuple[str, ...]:
        """Names by column."""
        return tuple(number.joint for number in self.numbers)

    def motion(self, rows: NDArray[np.generic], positions: Mapping[str, float]) -> RobotTrajectory | None:
        """The motion that rows command; None for no rows.

        Args:
            rows: shape [H, A]; those beyond `steps` are not followed.
            positions: where the joints were at the question [rad | m].

        Raises:
            PolicyFailed: another shape, fewer rows than `steps`, or values that are no finite numbers.
        """
        if rows.ndim != 2 or rows.shape[1] != len(self.numbers) or rows.dtype.kind not in "biuf":
            raise PolicyFailed(
                f"actions of shape {list(rows.shape)} and type {rows.dtype}; needed are numbers of shape "
                f"[rows, {len(self.numbers)}] for {list(self.joints)}"
            )
        if len(rows) == 0:
            return None
        if self.steps is not None and len(rows) < self.steps:
            raise PolicyFailed(f"{len(rows)} actions; {self.steps} are followed before the next question")
        rows = rows[: self.steps].astype(np.float64)
        if not np.isfinite(rows).all():
            row, column = np.argwhere(~np.isfinite(rows))[0]
            raise PolicyFailed(f"action {row} of joint '{self.joints[column]}' is {rows[row, column]}")
        start = self._start(positions)
        columns = [self._column(number, row, at) for number, row, at in zip(self.numbers, rows.T, start, strict=True)]
        times = np.arange(1, len(rows) + 1) / self.rate
        return RobotTrajectory(joint_names=self.joints, times=times, positions=np.stack(columns, axis=1))

    def rows(self, motion: RobotTrajectory | None, positions: Mapping[str, float]) -> FloatArray:
        """The rows that command a motion, shape [H, A]; none for no motion, `steps` where that is given.

        Args:
            motion: of some joints; the others hold.
            positions: where the joints are [rad | m].
        """
        if motion is None:
            return np.zeros((0, len(self.numbers)))
        count = self.steps or max(1, round(float(motion.times[-1]) * self.rate))
        start = self._start(positions)
        path = np.repeat(start[None], count + 1, axis=0)
        told = motion.at(np.arange(1, count + 1) / self.rate)
        for name, column in zip(motion.joint_names, told.T, strict=True):
            path[1:, self._place(name)] = column
        return np.stack(
            [self._values(number, column) for number, column in zip(self.numbers, path.T, strict=True)], axis=1
        )

    def _start(self, positions: Mapping[str, float]) -> FloatArray:
        return state_of((JointNumber(joint=name) for name in self.joints), positions)

    def _place(self, joint: str) -> int:
        if joint not in self.joints:
            raise PolicyFailed(f"joint '{joint}' is commanded; the actions tell of {list(self.joints)}")
        return self.joints.index(joint)

    def _column(self, number: JointNumber, values: FloatArray, start: float) -> FloatArray:
        if number.meaning == "position":
            return np.asarray(number.zero + number.scale * values)
        if number.meaning == "offset":
            return np.asarray(start + number.scale * values)
        return start + number.scale * np.cumsum(values) / (self.rate if number.meaning == "speed" else 1.0)

    def _values(self, number: JointNumber, path: FloatArray) -> FloatArray:
        if number.meaning == "position":
            return (path[1:] - number.zero) / number.scale
        if number.meaning == "offset":
            return np.asarray((path[1:] - path[0]) / number.scale)
        return np.asarray(np.diff(path) / number.scale * (self.rate if number.meaning == "speed" else 1.0))
