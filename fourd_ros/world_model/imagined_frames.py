"""Frames of a world that is only imagined, at a steady pace."""

import numpy as np

from fourd_ros.errors import DriftTooLarge
from fourd_ros.records import FloatArray, Observation, RobotTrajectory
from fourd_ros.world_model.imagined_state import INSTANT, ImaginedState


class ImaginedFrames:
    """What cameras see of an imagined state, one frame a period; and what the joints do in between.

    Frames are imagined in chunks: alone after a command, and twice as many each time that none came meanwhile. A
    chunk that a command overtakes is forgotten. At the end of a chunk after which the horizon is too near, its last
    frame becomes the anchor.

    Args:
        state: at its beginning.
        period: between frames [s].
        longest_chunk: most frames that are imagined ahead.
        max_anchors: frames of its own that the state may go on from.

    Attributes:
        state: the state at the newest frame or command.
    """

    def __init__(self, state: ImaginedState, *, period: float, longest_chunk: int, max_anchors: int) -> None:
        self.state = state
        self._period, self._longest, self._max_anchors = period, longest_chunk, max_anchors
        self._count, self._size = -1, 1
        self._frames: list[Observation] = []
        """The newest one and those that follow if nothing else is commanded."""
        self._overtaken = False
        self._deviations = np.zeros((2, 1))
        """Of the joints at the newest frame and at the next one."""

    def command(self, trajectory: RobotTrajectory, *, now: float) -> None:
        """Replace what is commanded from now on.

        Args:
            trajectory: its time 0 is now.
            now: time since the beginning [s], not before the newest frame.

        Raises:
            InvalidTrajectory: it names joints that the robot does not have.
        """
        self.state.wait(now - self.state.now)
        self.state.command(trajectory)
        self._overtaken = True

    def next(self) -> Observation:
        """The next frame; the first one is what everything begins with.

        Raises:
            DriftTooLarge: it would be imagined from a frame that was imagined from too many others.
        """
        self._count += 1
        self.state.wait(self._count * self._period - self.state.now)
        self._frames = [] if self._overtaken else self._frames[1:]
        self._size = 1 if self._overtaken else self._size
        self._overtaken = False
        if len(self._frames) < 2:
            self._look_ahead()
        names = self.state.commanded.joint_names
        at = np.array([[frame.joint_positions[name] for name in names] for frame in self._frames[:2]])
        self._deviations = at - self.state.set_points(self._period * np.arange(2.0))
        return self._frames[0]

    def deviation(self, now: float) -> tuple[FloatArray, FloatArray]:
        """How joints deviate from what is commanded, since what they touch holds them back.

        Args:
            now: time since the beginning [s], from the newest frame to the next one.

        Returns:
            Of positions [rad | m] and of velocities [rad/s | m/s] of all actuated joints, shape [J].
        """
        (before, after), share = self._deviations, now / self._period - self._count
        return (1 - share) * before + share * after, (after - before) / self._period

    def _look_ahead(self) -> None:
        if self.state.time_left < self._period - INSTANT:
            self._set_anchor()
        known = len(self._frames)
        count = min(self._size, max(1, int((self.state.time_left + INSTANT) / self._period)))
        self._frames += self.state.foresee(self._period * np.arange(known, count + 1.0))
        self._size = min(2 * self._size, self._longest)

    def _set_anchor(self) -> None:
        if self.state.anchors >= self._max_anchors:
            raise DriftTooLarge(
                f"after {self.state.now:.1f} s every frame would be imagined from one that was itself imagined from "
                f"{self.state.anchors} others; reset it, or allow more (max_anchors, horizon)"
            )
        self._frames = self._frames or [self.state.observation()]
        self.state.go_on_from(self._frames[0])
