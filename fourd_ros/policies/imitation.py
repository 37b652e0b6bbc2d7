"""A policy that learned from simulated demonstrations; it looks again and again while it moves."""

from collections.abc import Callable, Mapping, Sequence
from copy import copy
from functools import lru_cache
from pathlib import Path
from typing import TYPE_CHECKING, Any, Literal, Self

import numpy as np

from fourd_ros.errors import InvalidModel, PolicyFailed, UnknownTask
from fourd_ros.model_io.card import ModelCard, check_licence
from fourd_ros.model_io.folder import INDEX, ModelFolder, find_model
from fourd_ros.model_io.onnx_session import PREFERENCE, OnnxSession, Processor
from fourd_ros.policies.base import Assignment, Contract, Policy
from fourd_ros.policies.imitation_inputs import (
    SCALE,
    TASKS,
    Floats,
    GripperPose,
    Situation,
    TargetFollower,
    network_inputs,
)
from fourd_ros.records import FloatArray, Observation, RobotTrajectory
from fourd_ros.robot.inverse_kinematics import Tool
from fourd_ros.robot.model import RobotModel
from fourd_ros.robot.panda import panda_description
from fourd_ros.simulation.scene import SceneSpec
from fourd_ros.simulation.tasks import PickPlace, Push, Task, find_fixture, find_object

if TYPE_CHECKING:
    from fourd_ros.policies.imitation_network import ImitationNetwork

Runtime = Literal["onnx", "torch"]
Network = Callable[[Mapping[str, Floats]], Mapping[str, Floats]]

MODEL, CAMERA = "imitation", "front"
STEP = 0.2
"""Time from one step of a chunk to the next, as in the demonstrations [s]."""

PERIOD = 1.2
"""Part of a chunk that is done before the next look [s]."""

SPEED_SHARE = 0.9
"""Of the velocity limits of the joints; a chunk that asks for more is done more slowly."""

STILL = 0.006
"""A chunk that goes no farther and leaves the fingers as they are says that there is nothing more to do [m]."""


class ImitationPolicy(Policy):
    """Drives the gripper as its demonstrations did in such situations.

    Args:
        name: in results.
        network: computes what an `ImitationNetwork` does, for a batch of one.
        robot: that is driven; the Panda by default.
        camera: name of the view that it looks at.
    """

    def __init__(self, name: str, network: Network, *, robot: RobotModel | None = None, camera: str = CAMERA) -> None:
        super().__init__(name)
        self._network = network
        self._robot = robot or _panda()
        self._tool = Tool.of_gripper(self._robot)
        self._camera = camera
        self._follower: TargetFollower | None = None
        self.contract = Contract(
            cameras=(camera,), depth=True, joints=self._robot.kinematics.joint_names, scene=True, period=PERIOD
        )

    @classmethod
    def from_components(cls, components: Mapping[str, Any], card: ModelCard) -> dict[str, Self]:
        """A policy for every checkpoint of a folder that `load_model` has read; they run in torch."""
        return {name: cls(f"{card.name}/{name}", torch_network(network)) for name, network in components.items()}

    @classmethod
    def from_folder(
        cls,
        folder: Path | str = MODEL,
        checkpoint: str = "",
        *,
        runtime: Runtime = "onnx",
        processors: Sequence[Processor] = PREFERENCE,
        threads: int | None = None,
        robot: RobotModel | None = None,
        camera: str = CAMERA,
    ) -> Self:
        """One checkpoint of a model folder.

        Args:
            folder: path, or name of a model that comes with the package.
            checkpoint: name of a component; the last, most trained one by default.
            runtime: what computes the network; ``onnx`` needs no torch.
            processors: of onnxruntime, in the order of preference.
            threads: of onnxruntime; by default the cores this process may use.
            robot: that is driven; the Panda by default.
            camera: name of the view that it looks at.

        Raises:
            UnknownModel: there is no such folder.
            InvalidModel: it has no such checkpoint, or a file is missing.
            CorruptModel: a file is not the one that was written.
            MissingDependency: the runtime is not installed.
        """
        opened = ModelFolder(find_model(str(folder)))
        check_licence(opened.card, allow_noncommercial=False)
        if opened.model_class != cls.__name__:
            raise InvalidModel(f"'{folder}' holds a {opened.model_class}, needed is a {cls.__name__}")
        chosen = checkpoint or list(opened.components)[-1]
        opened.component(chosen)
        name = f"{opened.card.name}/{chosen}"
        if runtime == "torch":
            from fourd_ros.model_io.loading import load_component

            return cls(name, torch_network(load_component(opened.path, chosen)), robot=robot, camera=camera)
        opened.check(INDEX, onnx_file(chosen))
        session = OnnxSession(opened.file(onnx_file(chosen)), processors=processors, threads=threads)
        return cls(name, lambda inputs: session.run(**inputs), robot=robot, camera=camera)

    def begin(self, assignment: Assignment) -> None:
        """A new episode. Of the scene only the place of the target is looked up, which is how it is pointed at.

        Raises:
            PolicyFailed: another task than those of the demonstrations, or nobody says which thing is meant.
        """
        goal, scene = assignment.goal, assignment.scene
        if assignment.task not in TASKS or goal is None or scene is None:
            raise PolicyFailed(
                f"'{self.name}' was asked for '{assignment.task}'; it can do {list(TASKS)} when the goal and the place "
                "of its target are told"
            )
        self._follower = follower_of(self._robot, assignment.task, goal, scene, camera=self._camera)

    def act(self, observation: Observation, *, elapsed: float) -> RobotTrajectory | None:
        """The next chunk; None when it would hardly move."""
        if self._follower is None:
            raise PolicyFailed(f"'{self.name}' was asked to act before an episode began")
        situation = self._follower.see(observation)
        poses, closed = self._decide(situation)
        way = np.linalg.norm(poses.position - situation.gripper, axis=1).max()
        if way < STILL and (closed == situation.closed).all():
            return None
        return self._trajectory(observation, poses, closed)

    def _decide(self, situation: Situation) -> tuple[GripperPose, FloatArray]:
        """The preferred chunk: poses in the robot's root frame, and whether the fingers close, shape [T]."""
        said = self._network({name: value[None] for name, value in network_inputs(situation).items()})
        actions = said["actions"][0, int(said["preference"][0].argmax())].astype(np.float64)
        c, s = np.cos(situation.heading), np.sin(situation.heading)
        position = actions[:, :3] * SCALE
        position[:, :2] = position[:, :2] @ np.array([[c, s], [-s, c]]) + situation.centre
        closing = np.arctan2(actions[:, 4], actions[:, 3]) / 2 + situation.heading
        return GripperPose(position=position, closing=unwound(closing, situation.closing)), actions[:, 5] > 0

    def _trajectory(self, observation: Observation, poses: GripperPose, closed: FloatArray) -> RobotTrajectory:
        """Joint positions for gripper poses, at speeds that the joints can go."""
        kinematics, gripper = self._robot.kinematics, self._robot.gripper
        assert gripper is not None
        now = kinematics.positions_from(observation.joint_positions)
        positions, _ = self._tool.solve(np.tile(now, (len(closed), 1)), poses.frames())
        columns = list(self._tool.columns)
        ways = np.abs(np.diff(positions, axis=0, prepend=now[None]))[:, columns]
        durations = (ways / (SPEED_SHARE * kinematics.limits.velocity[columns])).max(axis=1)
        limits = kinematics.limits
        for name in gripper.joints:
            column = kinematics.joint_names.index(name)
            positions[:, column] = np.where(closed, limits.lower[column], limits.upper[column])
        return RobotTrajectory(
            joint_names=kinematics.joint_names, times=np.cumsum(np.maximum(durations, STEP)), positions=positions
        )


def make_policy(checkpoint: str, *, task: str) -> ImitationPolicy:
    """The policy of a checkpoint that comes with the package, the most trained one by default; read once in a process.

    Raises:
        UnknownTask: it has not learned the task.
        InvalidModel: there is no such checkpoint.
    """
    if task not in TASKS:
        raise UnknownTask(f"no demonstration showed '{task}'; there are {list(TASKS)}")
    return copy(_shipped(checkpoint))


@lru_cache(maxsize=8)
def _shipped(checkpoint: str) -> ImitationPolicy:
    return ImitationPolicy.from_folder(MODEL, checkpoint, robot=_panda(), threads=1)


@lru_cache(maxsize=1)
def _panda() -> RobotModel:
    return RobotModel(panda_description())


def torch_network(network: "ImitationNetwork") -> Network:
    """The network in torch, as a function of arrays."""
    import torch

    def compute(inputs: Mapping[str, Floats]) -> Mapping[str, Floats]:
        with torch.inference_mode():
            chunks = network(**{name: torch.from_numpy(value) for name, value in inputs.items()})
        return {name: value.numpy() for name, value in chunks._asdict().items()}

    return compute


def onnx_file(checkpoint: str) -> str:
    """Of a checkpoint, in the model folder."""
    return f"{checkpoint}/model.onnx"


def unwound(closing: FloatArray, current: float) -> FloatArray:
    """Angles [T] without jumps from `current` on: fingers that are turned by half a turn are the same [rad]."""
    result, last = np.empty_like(closing), current
    for index, angle in enumerate(closing):
        last = result[index] = last + (angle - last + np.pi / 2) % np.pi - np.pi / 2
    return result


def follower_of(robot: RobotModel, kind: str, task: Task, scene: SceneSpec, *, camera: str = CAMERA) -> TargetFollower:
    """What follows the target of a task.

    Args:
        robot: that is driven.
        kind: of the task, one of `TASKS`.
        task: the task.
        scene: where things are at the start; only the place of the target is looked up.
        camera: name of the view that is looked at.
    """
    fixtures = {item.name for item in scene.fixtures}
    target = find_fixture(scene, task.target) if task.target in fixtures else find_object(scene, task.target)
    return TargetFollower(
        robot,
        camera=camera,
        task=kind,
        place=np.array(target.position[:2]),
        goal=np.array(task.goal) if isinstance(task, (Push, PickPlace)) else None,
    )
