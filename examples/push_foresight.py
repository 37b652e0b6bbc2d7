"""Where things end when the robot moves so: told by a rung of the ladder, or by the simulator itself."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Protocol

import mujoco
import numpy as np
from push_motions import Target

from fourd_ros.geometry.transforms import apply, to_quaternion
from fourd_ros.records import FloatArray, ObjectMotion, Observation, RobotTrajectory
from fourd_ros.robot.model import RobotModel
from fourd_ros.robot.trajectory_follower import TrajectoryFollower
from fourd_ros.simulation.scene import SceneSpec
from fourd_ros.simulation.simulator import Simulator
from fourd_ros.world_model.base import Question, WorldModel

TICK = 0.02
"""Between set points in the simulator, as in its node [s]."""


@dataclass(frozen=True, kw_only=True)
class Situation:
    """What is known before a push.

    Args:
        observation: what the camera sees.
        target: the object to push, as far as it can be seen.
        poses: ``T_world_object`` as it truly is, by name; only the physics looks at it.
        name: of the object to push, there.
    """

    observation: Observation
    target: Target
    poses: Mapping[str, FloatArray]
    name: str


@dataclass(frozen=True, kw_only=True)
class Ends:
    """What becomes of the objects under C motions.

    Args:
        places: of the middle of the object to push [m], shape [C, 2].
        disturbance: sum of the ways of all other objects [m], shape [C].
    """

    places: FloatArray
    disturbance: FloatArray


class Foresight(Protocol):
    """Tells where objects end."""

    def ends(self, situation: Situation, motions: Sequence[RobotTrajectory]) -> Ends:
        """After each motion."""
        ...


class Imagination:
    """A rung of the ladder.

    Args:
        model: the rung; of `PointsModel` only the motions are asked, others have to imagine a picture.
        robot: that moves.
    """

    def __init__(self, model: WorldModel, robot: RobotModel) -> None:
        self._model, self._robot = model, robot

    def ends(self, situation: Situation, motions: Sequence[RobotTrajectory]) -> Ends:
        """After each motion, as the rung imagines it."""
        question = Question(
            robot=self._robot,
            observation=situation.observation,
            candidates=tuple(motions),
            times=np.array([max(motion.times[-1] for motion in motions)]),
            views=tuple(situation.observation.views)[:1],
        )
        forecasts = self._model.predict(question, judged=False)
        futures = [self._end(situation, forecast.objects) for forecast in forecasts]
        places, disturbance = zip(*futures, strict=True)
        return Ends(places=np.array(places), disturbance=np.array(disturbance))

    def _end(self, situation: Situation, objects: Sequence[ObjectMotion]) -> tuple[FloatArray, float]:
        """Place and disturbance at the end; what the model does not speak of stays."""
        target = situation.target
        place, disturbance = target.centre, 0.0
        for item in objects:
            if item.label == target.thing.label:
                place = np.asarray(apply(item.motion[-1], target.middle[None])[0, :2], np.float64)
            else:
                disturbance += _way(item, situation.observation)
        return place, disturbance


class Physics:
    """The simulator itself, told the true places of everything.

    Args:
        spec: of the scene.
    """

    def __init__(self, spec: SceneSpec) -> None:
        self._simulator = Simulator(spec)

    def ends(self, situation: Situation, motions: Sequence[RobotTrajectory]) -> Ends:
        """After each motion, as it would truly happen."""
        before = situation.poses
        after = [self._carry_out(situation, motion) for motion in motions]
        others = [name for name in before if name != situation.name]
        ways = [sum(float(np.linalg.norm((end[name] - before[name])[:3, 3])) for name in others) for end in after]
        return Ends(
            places=np.array([end[situation.name][:2, 3] for end in after]),
            disturbance=np.array(ways),
        )

    def _carry_out(self, situation: Situation, motion: RobotTrajectory) -> dict[str, FloatArray]:
        """Poses of the objects at the end."""
        self._set(situation)
        follower = TrajectoryFollower(self._simulator.commanded_positions())
        follower.follow(motion, start=0.0, now=0.0)
        for tick in range(1, round(motion.times[-1] / TICK) + 1):
            self._simulator.command(*follower.setpoint(tick * TICK))
            self._simulator.step(TICK)
        return self._simulator.object_poses()

    def _set(self, situation: Situation) -> None:
        """Everything stands still where it is."""
        simulator = self._simulator
        simulator.reset(replace(simulator.spec, posture=dict(situation.observation.joint_positions)))
        for name, pose in situation.poses.items():
            position, xyzw = to_quaternion(pose)
            simulator.data.joint(f"{name}_joint").qpos[:] = np.concatenate([position, np.roll(xyzw, 1)])
        mujoco.mj_forward(simulator.model, simulator.data)


def _way(item: ObjectMotion, observation: Observation) -> float:
    """Of the middle of what is seen of a thing, to where it ends [m]."""
    clouds = (apply(view.T_world_camera, view.points[item.pixels[name]]) for name, view in observation.views.items())
    middle = np.concatenate(list(clouds)).mean(axis=0)
    return float(np.linalg.norm(apply(item.motion[-1], middle[None])[0] - middle))
