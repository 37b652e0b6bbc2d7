"""A world that exists in the imagination alone: an observation, and everything commanded since."""

from dataclasses import replace

import numpy as np

from fourd_ros.errors import InvalidTrajectory
from fourd_ros.records import FloatArray, Observation, RobotTrajectory, Rollout, View
from fourd_ros.robot.model import RobotModel
from fourd_ros.world_model.base import Question, WorldModel

INSTANT = 1e-6
"""Times that differ by less are the same [s]."""


class ImaginedState:
    """Where imagined things are by now.

    Everything is imagined anew from the *anchor*, the observation that it all began with, under all commands since:
    nothing adds up, and what the robot hides is not forgotten. A model that cannot imagine for so long goes on from a
    frame of its own: the last one before `horizon` has passed becomes the anchor.

    Args:
        model: the rung that imagines.
        robot: the robot.
        observation: what it begins with.
        horizon: longest time that is imagined from one anchor [s].
        seed: of what is random in the model; same seed and commands, same world.

    Attributes:
        now: time since the first observation [s].
        anchors: how often a frame of its own became the anchor.
        newest: what was imagined last; None before anything was.
    """

    def __init__(
        self,
        model: WorldModel,
        robot: RobotModel,
        observation: Observation,
        *,
        horizon: float,
        seed: int = 0,
    ) -> None:
        self._model, self._robot = model, robot
        self._horizon, self._seed = horizon, seed
        self.now, self.anchors = 0.0, 0
        self.newest: Rollout | None = None
        self._set_anchor(observation)

    @property
    def commanded(self) -> RobotTrajectory:
        """All that was commanded since the anchor, over all actuated joints; held after its end."""
        return RobotTrajectory(
            joint_names=self._robot.kinematics.joint_names, times=self._times, positions=self._positions
        )

    def command(self, trajectory: RobotTrajectory) -> None:
        """Replace what is commanded from now on; joints that are not named keep what was commanded before.

        Args:
            trajectory: its time 0 is now.

        Raises:
            InvalidTrajectory: it names joints that the robot does not have.
        """
        names = self._robot.kinematics.joint_names
        unknown = sorted(set(trajectory.joint_names) - set(names))
        if unknown:
            raise InvalidTrajectory(f"the robot has no actuated joints {unknown}; there are {list(names)}")
        columns = [names.index(name) for name in trajectory.joint_names]
        now, before = self.now - self._anchored, self.commanded
        given = _from_now(trajectory, before.at(np.array([now]))[0, columns])
        known = before.times[np.abs(before.times - now) > INSTANT]
        times = np.unique(np.concatenate([known, [max(now - INSTANT, 0.0), now], now + given.times]))
        positions = before.at(times)
        ahead = times >= now
        positions[np.ix_(ahead.nonzero()[0], np.array(columns, np.intp))] = given.at(times[ahead] - now)
        self._times, self._positions = times, positions

    def advance(self, times: FloatArray) -> list[Rollout]:
        """Let time pass and see what happens.

        Args:
            times: instants to imagine [s from now], positive and increasing; the last one is the new now, shape [T].

        Returns:
            What is seen at these instants, in as many rollouts as anchors were needed. Their times count from the
            observation that each starts from.
        """
        rollouts, goals = [], self.now + np.asarray(times, np.float64)
        while len(goals):
            reached = goals <= self._anchored + self._horizon + INSTANT
            if not reached.any() and self.now > self._anchored + INSTANT:
                self.go_on_from(self.observation())
                continue
            part = goals[reached] if reached.any() else goals[:1]
            rollouts.append(self._imagine(part - self._anchored))
            self.now = float(part[-1])
            goals = goals[len(part) :]
        return rollouts

    def wait(self, seconds: float) -> None:
        """Let time pass without looking [s]."""
        self.now += seconds

    def set_points(self, times: FloatArray) -> FloatArray:
        """Commanded positions of all actuated joints [rad | m] at instants [s from now], shape [T, J]."""
        return self.commanded.at(self.now - self._anchored + times)

    @property
    def time_left(self) -> float:
        """Until the horizon of the anchor [s]."""
        return self._anchored + self._horizon - self.now

    def observation(self) -> Observation:
        """What would be observed now."""
        return self.foresee(np.zeros(1))[0]

    def foresee(self, times: FloatArray) -> list[Observation]:
        """What would be observed if nothing else is commanded; no time passes.

        Args:
            times: instants [s from now], increasing, shape [T].
        """
        passed = self.now - self._anchored + np.asarray(times, np.float64)
        begun = passed > INSTANT
        known = [self._anchor] * int((~begun).sum())
        if not begun.any():
            return known
        rollout = self._imagine(passed[begun])
        return known + [observation_at(rollout, index) for index in range(len(rollout.times))]

    def go_on_from(self, observation: Observation) -> None:
        """What is observed now becomes the anchor; what was commanded for later stays.

        Args:
            observation: of now, as it was imagined.
        """
        passed = self.now - self._anchored
        later = self._times > passed + INSTANT
        times = np.concatenate([[0.0], self._times[later] - passed])
        positions = np.concatenate([self.commanded.at(np.array([passed])), self._positions[later]])
        self._set_anchor(observation)
        self._times, self._positions = times, positions
        self.anchors += 1

    def _imagine(self, times: FloatArray) -> Rollout:
        question = Question(
            robot=self._robot,
            observation=self._anchor,
            candidates=(self.commanded,),
            times=times,
            views=tuple(self._anchor.views),
            seed=self._seed,
        )
        (self.newest,) = self._model.imagine(question, checkpoint=lambda _: None)
        return self.newest

    def _set_anchor(self, observation: Observation) -> None:
        positions = self._robot.kinematics.positions_from(observation.joint_positions)
        self._anchor, self._anchored = observation, self.now
        self._times, self._positions = np.zeros(1), np.asarray(positions, np.float64)[None]


def observation_at_end(rollout: Rollout) -> Observation:
    """The last frame of a rollout as the observation to continue from; its unknown points stay unknown."""
    return observation_at(rollout, -1)


def observation_at(rollout: Rollout, index: int) -> Observation:
    """A frame of a rollout as if it had been observed; its unknown points stay unknown."""
    views = {
        name: View(
            camera=view.camera,
            T_world_camera=view.T_world_camera[index],
            rgb=view.rgb[index],
            points=view.points[index],
            mounted_on=view.mounted_on,
        )
        for name, view in rollout.views.items()
    }
    positions = rollout.joints.positions[index].tolist()
    return Observation(
        stamp_ns=rollout.stamp_ns + round(rollout.times[index] * 1e9),
        frame=rollout.frame,
        views=views,
        joint_positions=dict(zip(rollout.joints.joint_names, positions, strict=True)),
        T_world_robot=rollout.T_world_robot,
    )


def _from_now(trajectory: RobotTrajectory, current: FloatArray) -> RobotTrajectory:
    """The trajectory with a point at time 0: `current`, unless it has one of its own."""
    if trajectory.times[0] <= INSTANT:
        return trajectory
    return replace(
        trajectory,
        times=np.concatenate([[0.0], trajectory.times]),
        positions=np.concatenate([current[None], trajectory.positions]),
    )
