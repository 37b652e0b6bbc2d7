"""What truly happens to things in a simulated episode."""

from dataclasses import dataclass, replace

import numpy as np
from numpy.typing import NDArray

from fourd_ros.evaluation.policy.goals import Ending, goal_of
from fourd_ros.evaluation.policy.starts import Start, body_of
from fourd_ros.evaluation.policy.tracks import resting, track_of
from fourd_ros.evaluation.policy.trial_setup import shared_robot
from fourd_ros.evaluation.policy.units import Outcome
from fourd_ros.evaluation.policy.worlds import SimulatedWorld
from fourd_ros.geometry.transforms import invert
from fourd_ros.simulation.simulator import Simulator

FloatArray = NDArray[np.float64]

CONTACTS = ("nothing moved", "something else moved", "moved along", "moved, and others too", "lifted")
"""What a robot may do to the thing that its task is about, and to others."""

MOVED, LIFTED = 0.01, 0.03
"""From how far on a thing counts as moved, and as lifted [m]."""


@dataclass(frozen=True, kw_only=True)
class Truth:
    """What truly came of a unit.

    Args:
        outcome: in the simulator.
        detected: what the detector of success says when it is told how things truly moved; None where unsure.
        contact: what the robot did to things, one of `CONTACTS`; empty for an invalid unit.
    """

    outcome: Outcome
    detected: bool | None
    contact: str


class Witness:
    """Sees what truly happens to things in a simulated episode.

    Args:
        start: the start.
        simulator: that stands there.
    """

    def __init__(self, start: Start, simulator: Simulator) -> None:
        self.world = SimulatedWorld(simulator, watch=self._watch)
        self._start, self._simulator = start, simulator
        self._before = simulator.object_poses()
        self._rise = 0.0

    @property
    def contact(self) -> str:
        """What was done to things so far, one of `CONTACTS`."""
        after = self._simulator.object_poses()
        moved = {name for name, pose in after.items() if _way(self._before[name], pose) > MOVED}
        if not moved:
            return "nothing moved"
        if self._target not in moved:
            return "something else moved"
        if self._rise > LIFTED:
            return "lifted"
        return "moved along" if moved == {self._target} else "moved, and others too"

    def detected(self) -> bool | None:
        """What the detector says of how things truly moved."""
        after = self._simulator.object_poses()
        tracks = []
        for item in resting(shared_robot(), self._start.observation):
            track = track_of(item, 0, self._start.observation)
            if len(track.points):
                body = self._nearest(track.start)
                tracks.append(replace(track, motion=after[body] @ invert(self._before[body])))
        goal = goal_of(self._start.task, self._start.scene)
        return goal.judge(Ending(tracks=tracks, grasp=self._simulator.state().gripper[:3, 3])).success

    @property
    def _target(self) -> str:
        return body_of(self._start.task, self._start.scene)

    def _nearest(self, place: FloatArray) -> str:
        """The body whose origin was nearest to a place at the start; of a fixture, the part that moves."""
        moving = self._before.keys() - {fixture.name for fixture in self._start.scene.fixtures}
        return min(moving, key=lambda name: float(np.linalg.norm(self._before[name][:3, 3] - place)))

    def _watch(self) -> None:
        pose = self._simulator.object_poses()[self._target]
        self._rise = max(self._rise, float(pose[2, 3] - self._before[self._target][2, 3]))


def _way(before: FloatArray, after: FloatArray) -> float:
    return float(np.linalg.norm(after[:3, 3] - before[:3, 3]))
