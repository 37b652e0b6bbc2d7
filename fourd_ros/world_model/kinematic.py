"""Rung 1: the robot moves as commanded, what the gripper holds moves with it, the rest stays."""

import time
from collections.abc import Iterator

import numpy as np

from fourd_ros.geometry.transforms import invert
from fourd_ros.records import FloatArray, ObjectMotion, Rollout
from fourd_ros.robot.model import RobotModel
from fourd_ros.world_model.base import Checkpoint, Question, WorldModel
from fourd_ros.world_model.compositing import HELD_LABEL
from fourd_ros.world_model.future import Future, make_rollout
from fourd_ros.world_model.grasp import release_step
from fourd_ros.world_model.scene import Scene, understand


class KinematicModel(WorldModel):
    """Static scene with the robot's own points removed, the commanded robot, and the object it holds.

    The hole behind the robot and behind a held object stays unknown in a camera that stands still. A camera on
    the robot sees the surfaces that all cameras observed, from where it will be.
    """

    backend = "kinematic"
    declared_cost = 0.15

    def imagine(self, question: Question, *, checkpoint: Checkpoint) -> Iterator[Rollout]:
        """One rollout a candidate and sample; samples are equal, since nothing here is uncertain."""
        started = time.perf_counter()
        robot, observation = question.robot, question.observation
        scene = understand(robot, observation)
        checkpoint(0.1)
        count = len(question.candidates)
        for index, candidate in enumerate(question.candidates):
            commanded = candidate.at(question.times)
            future = Future(robot, scene, commanded)
            objects = (_carried(robot, scene, commanded, future),) if scene.holds_something else ()
            views = {}
            for place, name in enumerate(question.views):
                views[name] = future.view(name, objects)
                checkpoint(0.1 + 0.9 * (index + (place + 1) / len(question.views)) / count)
            seconds = time.perf_counter() - started
            for sample in range(question.num_samples):
                yield make_rollout(
                    question,
                    candidate=index,
                    sample=sample,
                    positions=future.positions,
                    views=views,
                    objects=objects,
                    backend=self.backend,
                    seconds=seconds,
                )
            started = time.perf_counter()


def _carried(robot: RobotModel, scene: Scene, commanded: FloatArray, future: Future) -> ObjectMotion:
    """The held object goes with the hand until it is let go.

    Args:
        robot: with a gripper that holds something.
        scene: what was observed.
        commanded: positions of all actuated joints [rad | m], shape [T, J].
        future: under this command.
    """
    assert robot.gripper is not None
    root, hand = scene.observation.T_world_robot, robot.gripper.carrier
    motion = root @ future.link_poses[hand] @ invert(root @ scene.link_poses[hand])
    released = release_step(robot, scene.observation.joint_positions, commanded)
    motion[released:] = motion[released - 1] if released else np.eye(4)
    return ObjectMotion(label=HELD_LABEL, pixels=scene.held, motion=motion, sigma=np.zeros(len(motion)))
