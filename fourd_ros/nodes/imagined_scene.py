"""One scene of the imagined robot, from its start to its reset."""

from dataclasses import replace

import numpy as np

from fourd_ros.errors import DriftTooLarge
from fourd_ros.nodes.commanded_motion import CommandedMotion
from fourd_ros.nodes.instants import Instant
from fourd_ros.nodes.robot_topics import Picture
from fourd_ros.records import Observation, Rollout
from fourd_ros.robot.kinematics import Kinematics
from fourd_ros.world_model.imagined_frames import ImaginedFrames


class ImaginedScene:
    """Follows a commanded motion tick after tick.

    Args:
        frames: at their beginning.
        motion: what is commanded; it has just been reset.
        kinematics: of the robot.

    Attributes:
        end: why there is nothing more to imagine; None while there is.
    """

    def __init__(self, frames: ImaginedFrames, motion: CommandedMotion, kinematics: Kinematics) -> None:
        self._frames, self._motion, self._kinematics = frames, motion, kinematics
        self._changes = motion.changes
        self._observed: Observation | None = None
        self.end: DriftTooLarge | None = None

    @property
    def cameras(self) -> tuple[str, ...]:
        """That are imagined."""
        return () if self._observed is None else tuple(self._observed.views)

    @property
    def seconds(self) -> float:
        """That were imagined."""
        return self._frames.state.now

    @property
    def anchors(self) -> int:
        """How often it went on from a frame that was itself imagined."""
        return self._frames.state.anchors

    @property
    def newest(self) -> Rollout | None:
        """What was imagined last; None before anything was."""
        return self._frames.state.newest

    def look(self, camera: str) -> Picture:
        """What a camera sees in the newest frame."""
        assert self._observed is not None
        view = self._observed.views[camera]
        return Picture(rgb=view.rgb, depth=view.points[..., 2])

    def advance(self, *, last_tick: float, with_frame: bool) -> None:
        """Take over what was commanded since the tick before this one, and see what there is to be seen.

        Args:
            last_tick: when that was [s since the start].
            with_frame: whether a frame is due.

        Raises:
            DriftTooLarge: what comes would rest on too much that was imagined; from now on the robot stands still.
        """
        try:
            if self._changes != self._motion.changes:
                self._changes = self._motion.changes
                self._frames.command(self._motion.future(), now=last_tick)
            if with_frame:
                self._observed = self._frames.next()
        except DriftTooLarge as error:
            self.end = error
            self._motion.refuse(error)
            raise

    def measure(self, *, now: float, stamp_ns: int, before: Instant) -> Instant:
        """What the joints do: as commanded, but for what holds them back.

        Args:
            now: time since the start [s].
            stamp_ns: of ROS time [ns].
            before: the state one tick ago.
        """
        setpoint, rates = self._motion.setpoint(stamp_ns * 1e-9)
        if self.end is not None:
            still = dict.fromkeys(setpoint, 0.0)
            return replace(before, stamp_ns=stamp_ns, velocities=still, setpoint=setpoint)
        names, limits = self._kinematics.joint_names, self._kinematics.limits
        offsets, speeds = self._frames.deviation(now)
        at = np.clip(np.array([setpoint[name] for name in names]) + offsets, limits.lower, limits.upper)
        moving = np.array([rates[name] for name in names]) + speeds
        return Instant(
            stamp_ns=stamp_ns,
            positions=dict(zip(names, at.tolist(), strict=True)),
            velocities=dict(zip(names, moving.tolist(), strict=True)),
            efforts={},
            setpoint=setpoint,
        )
