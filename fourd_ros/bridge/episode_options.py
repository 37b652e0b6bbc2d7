"""How a bag becomes episodes."""

import math
from collections.abc import Mapping
from dataclasses import asdict, dataclass, field
from typing import Any

from fourd_ros.errors import InvalidConfig

MAX_RATE = 1000.0
GIB = 1024**3


@dataclass(frozen=True, kw_only=True)
class EpisodeOptions:
    """How a bag becomes episodes.

    Args:
        cameras: names of the cameras that are wanted; empty for all that have a calibration.
        remaps: names to read topics under, by the names in the bag.
        rate: frames a second [Hz]; 0 for the image rate of the slowest camera.
        slop: images of a frame lie within this of its stamp [s]; 0 for three quarters of the time between frames, or
            between the images of that camera where it is slower.
        size: width and height of the pictures; None as recorded.
        frame: the world; empty for the robot's root link, or without a description for the root of the TF tree.
        robot_description: URDF that is used instead of the bag's.
        command_topics: commanded joints; empty for every ``JointTrajectory`` on a topic ``.../joint_trajectory``.
        action_topics: what is written as actions, one topic after the other.
        instruction: of all episodes.
        instruction_topic: ``std_msgs/String`` that gives it instead.
        split_topic: a ``String`` or ``Int32`` whose every change begins an episode, or a ``Bool``; while it is empty
            or false there is none.
        gap: a longer time without a usable frame ends an episode [s]; 0 ends it at every missing frame.
        max_duration: longer episodes are cut [s].
        max_bytes: larger episodes are cut; bounds the memory that a conversion takes.
        min_frames: shorter episodes are left out.
        max_joint_age: every joint was measured within this of a frame [s].
        patience: joints, transforms and images of a frame may be recorded this much after its image [s].

    Raises:
        InvalidConfig: numbers out of range, or options that exclude each other.
    """

    cameras: tuple[str, ...] = ()
    remaps: Mapping[str, str] = field(default_factory=dict)
    rate: float = 0.0
    slop: float = 0.0
    size: tuple[int, int] | None = None
    frame: str = ""
    robot_description: str = ""
    command_topics: tuple[str, ...] = ()
    action_topics: tuple[str, ...] = ()
    instruction: str = ""
    instruction_topic: str = ""
    split_topic: str = ""
    gap: float = 0.5
    max_duration: float = math.inf
    max_bytes: int = GIB
    min_frames: int = 2
    max_joint_age: float = 0.2
    patience: float = 1.0

    def __post_init__(self) -> None:
        if self.instruction and self.instruction_topic:
            raise InvalidConfig("an instruction is given by its text or by its topic, not by both")
        least = {"rate": 0, "slop": 0, "gap": 0, "max_joint_age": 0, "patience": 0, "min_frames": 1, "max_bytes": 1}
        for name, smallest in least.items():
            if not smallest <= getattr(self, name) < math.inf:
                raise InvalidConfig(f"{name} is {getattr(self, name)}; needed: a number from {smallest}")
        if self.rate > MAX_RATE:
            raise InvalidConfig(f"{self.rate} frames a second; at most {MAX_RATE} are made")
        if not self.max_duration > 0:
            raise InvalidConfig(f"max_duration is {self.max_duration}; needed: more than 0 s")

    def as_dict(self) -> dict[str, Any]:
        """Plain values for JSON; what is unbounded is None."""
        values = asdict(self)
        values["max_duration"] = self.max_duration if math.isfinite(self.max_duration) else None
        return values
