"""A bag goes in, imagined futures come out: the world model node, fed instant by instant."""

import os
import threading
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import ExitStack
from dataclasses import dataclass, field
from functools import cached_property
from pathlib import Path
from types import TracebackType
from typing import Any, Literal, Self

import numpy as np
import rclpy
from fourd_msgs.msg import Rollout, RolloutFrame
from numpy.typing import NDArray
from rclpy.lifecycle import TransitionCallbackReturn
from rclpy.node import Node
from rclpy.parameter import Parameter
from rclpy.signals import SignalHandlerOptions

from fourd_ros.bridge.bag_motion import read_commanded, read_measured
from fourd_ros.client import WorldModelClient
from fourd_ros.data.bag_inputs import COMMAND_TOPIC, CameraTopics, WorldModelInputs, find_inputs
from fourd_ros.data.bags import BagReader
from fourd_ros.data.cdr_stamps import header_stamp_ns
from fourd_ros.errors import FourdError, InvalidBag, InvalidTrajectory
from fourd_ros.nodes.bag_feed import BagFeed
from fourd_ros.nodes.bag_publishers import BagPublishers
from fourd_ros.nodes.executor import MIN_THREADS, NodeExecutor
from fourd_ros.nodes.transport import use_large_messages
from fourd_ros.nodes.world_model import WorldModelNode
from fourd_ros.records import RobotTrajectory
from fourd_ros.records import Rollout as RolloutRecord
from fourd_ros.robot.description import RobotDescription
from fourd_ros.robot.kinematics import Kinematics
from fourd_ros.robot.model import RobotModel

NS = 1_000_000_000
CONNECT_TIMEOUT = 20.0
OBSERVATION_TIMEOUT = 2.0
Motion = Literal["commanded", "measured", "given"]


@dataclass(frozen=True, kw_only=True)
class BagLoopSettings:
    """What is asked about a bag.

    Args:
        cameras: names, empty for all with calibration and depth.
        at: instants, seconds after the first one at which all cameras see.
        every: or one instant each so many seconds; 0 for one each horizon.
        horizon: how far is imagined [s].
        step: between imagined frames [s], 0 for the backend's own.
        views: cameras to imagine, empty for all of `cameras`.
        backend: its name, empty for the best.
        num_samples: futures of each question.
        seed: of the first sample.
        voxel_size: thin the clouds to one point a voxel of this edge [m], 0 for none.
        rate: recorded seconds per second at most, 0 as fast as it goes.
        command_topic: last part of the name of the commanded trajectories.
        parameters: of the world model node, over those of `params_file`.
        params_file: ROS 2 parameter file for the world model node.
        answer_timeout: longest wait for one answer [s].
    """

    cameras: Sequence[str] = ()
    at: Sequence[float] = ()
    every: float = 0.0
    horizon: float = 2.0
    step: float = 0.0
    views: Sequence[str] = ()
    backend: str = ""
    num_samples: int = 1
    seed: int = 0
    voxel_size: float = 0.0
    rate: float = 0.0
    command_topic: str = COMMAND_TOPIC
    parameters: dict[str, Any] = field(default_factory=dict)
    params_file: Path | None = None
    answer_timeout: float = 300.0

    def __post_init__(self) -> None:
        if self.horizon <= 0 or self.every < 0 or self.rate < 0:
            raise InvalidBag(
                f"horizon {self.horizon} must be positive; every {self.every} and rate {self.rate} not negative"
            )


@dataclass(frozen=True, kw_only=True)
class ImaginedInstant:
    """The answer to one question.

    Args:
        stamp_ns: of the observation [ns].
        motion: where the candidates come from.
        candidates: the motions asked about.
        rollouts: ``fourd_msgs/Rollout``, candidate by candidate, sample by sample.
        frames: ``fourd_msgs/RolloutFrame`` of each rollout.
    """

    stamp_ns: int
    motion: Motion
    candidates: tuple[RobotTrajectory, ...]
    rollouts: tuple[Rollout, ...]
    frames: tuple[tuple[RolloutFrame, ...], ...]


class BagLoop:
    """Runs the world model node over a bag, in a namespace where no live robot hears it.

    Nothing is lost and nothing depends on timing: the bag is fed up to an instant, the question names its stamp,
    the node waits until it has seen it, and only then the bag goes on.

    Args:
        path: the bag.
        settings: what is asked.

    Attributes:
        reader: the open bag.
        inputs: its topics.
        recorded: when each instant at which all cameras see was recorded, by its stamp [ns].
        stamps: instants to ask about, increasing [ns].

    Raises:
        InvalidBag: the bag lacks something that the world model needs, or an instant lies outside it.

    Example:
        >>> with BagLoop("my_bag", BagLoopSettings(every=1.0)) as loop:     # doctest: +SKIP
        ...     for instant in loop.run():
        ...         print(instant.stamp_ns, instant.rollouts[0].trust)
    """

    def __init__(self, path: Path | str, settings: BagLoopSettings) -> None:
        self.settings = settings
        self.reader = BagReader(path)
        try:
            found = find_inputs(self.reader.topics, command_topic=settings.command_topic)
            self.inputs = _usable(found, settings.cameras, self.reader.path)
            self.recorded = self._complete_instants()
            self.stamps = self._choose(list(self.recorded))
            measured = read_measured(self.reader, self.inputs)
            self._motions = {"measured": measured, "commanded": read_commanded(self.reader, self.inputs, measured)}
        except FourdError:
            self.reader.close()
            raise
        self._stack = ExitStack()

    def __enter__(self) -> Self:
        try:
            self._start()
        except BaseException:
            self.__exit__(None, None, None)
            raise
        return self

    def __exit__(
        self, exc_type: type[BaseException] | None, exc: BaseException | None, trace: TracebackType | None
    ) -> None:
        self._stack.close()
        self.reader.close()

    def run(self) -> Iterator[ImaginedInstant]:
        """Ask about every instant what the motion recorded after it will bring.

        Raises:
            ImagineFailed: the node could not answer; its message says why.
            ServerUnavailable: the node is gone.
        """
        for stamp_ns in self.stamps:
            yield self.ask(stamp_ns)

    def ask(
        self,
        stamp_ns: int,
        candidates: Sequence[RobotTrajectory] = (),
        *,
        horizon: float = 0.0,
        backend: str = "",
        feedback: Callable[[Any], None] | None = None,
    ) -> ImaginedInstant:
        """Ask one question; instants must not decrease from question to question.

        Args:
            stamp_ns: one of the instants at which all cameras see [ns] (as in `stamps`).
            candidates: motions, times from `stamp_ns`; empty for the one that was recorded.
            horizon: how far [s], 0 for that of the settings.
            backend: one of `backends`, empty for that of the settings.
            feedback: called with every ``Imagine.Feedback``.

        Raises:
            InvalidBag: `stamp_ns` is no such instant.
            ImagineFailed, ServerUnavailable: as `run`.
        """
        if stamp_ns not in self.recorded:
            raise InvalidBag(f"{stamp_ns} is no instant at which all cameras see; choose from `stamps`")
        seconds = horizon or self.settings.horizon
        motion, asked = self.recorded_motion(stamp_ns, seconds) if not candidates else ("given", tuple(candidates))
        self._feed.advance(stamp_ns, self.recorded[stamp_ns])
        handle = self._client.imagine(
            asked,
            views=self.settings.views,
            observation_stamp_ns=stamp_ns,
            horizon=seconds,
            step=self.settings.step,
            num_samples=self.settings.num_samples,
            seed=self.settings.seed,
            backend=backend or self.settings.backend or self.backends[-1],
            feedback=feedback,
        )
        rollouts = handle.result(self.settings.answer_timeout)
        return ImaginedInstant(
            stamp_ns=stamp_ns,
            motion=motion,
            candidates=asked,
            rollouts=tuple(rollouts),
            frames=tuple(self._frames(rollout) for rollout in rollouts),
        )

    @property
    def backends(self) -> tuple[str, ...]:
        """Names of the world models that were loaded, quickest first."""
        return tuple(model.backend for model in self._world_model.ladder.models)

    @property
    def missing_backends(self) -> Mapping[str, FourdError]:
        """Those that could not be loaded, and why."""
        return self._world_model.ladder.missing

    def recall(self, rollout: Rollout) -> RolloutRecord:
        """An answer as it was imagined, before it became messages.

        Raises:
            RolloutExpired: it is no longer remembered.
        """
        return self._world_model.recall(rollout.rollout_id)

    @property
    def robot(self) -> RobotModel:
        """The one that the node has learned of from the bag."""
        return self._world_model.watch.wait_for_robot(OBSERVATION_TIMEOUT)

    @cached_property
    def kinematics(self) -> Kinematics:
        """Of the robot that the bag describes."""
        urdf = self.reader.first(self.inputs.robot_description).message.data
        roots = [Path(root) for root in self.settings.parameters.get("mesh_roots", ())]
        return Kinematics(RobotDescription.from_urdf(urdf, allowed_roots=roots or None))

    def recorded_motion(self, stamp_ns: int, horizon: float) -> tuple[Motion, tuple[RobotTrajectory, ...]]:
        """What was commanded after an instant; measured joints where no command was recorded.

        A model that is asked about measured joints is told what happened (a blocked arm, a closed hand):
        compare its answers only with others of that kind.
        """
        try:
            return "commanded", (self._motions["commanded"].after(stamp_ns, horizon),)
        except InvalidTrajectory:
            return "measured", (self._motions["measured"].after(stamp_ns, horizon),)

    def _frames(self, rollout: Rollout) -> tuple[RolloutFrame, ...]:
        return tuple(self._client.frames(rollout.rollout_id, voxel_size=self.settings.voxel_size))

    def _complete_instants(self) -> dict[int, int]:
        """Stamps at which every image is there, with the time of recording of the first camera's."""
        topics = [topic for camera in self.inputs.cameras for topic in _images(camera)]
        recorded: dict[str, dict[int, int]] = {topic: {} for topic in topics}
        for raw in self.reader.raw(topics):
            recorded[raw.topic][header_stamp_ns(raw.data) or raw.stamp_ns] = raw.stamp_ns
        first, *others = (recorded[topic] for topic in topics)
        sorted_others = [np.sort(np.fromiter(other, np.int64, len(other))) for other in others]
        slop_ns = round(self.sync_slop * NS)
        complete = {
            stamp: stamp_recorded
            for stamp, stamp_recorded in first.items()
            if all(_near(other, stamp, slop_ns) for other in sorted_others)
        }
        if not complete:
            raise InvalidBag(
                f"'{self.reader.path}' has no instant at which {[camera.name for camera in self.inputs.cameras]} "
                f"all see within {self.sync_slop} s; choose fewer cameras, or raise sync_slop"
            )
        return complete

    def _choose(self, complete: Sequence[int]) -> list[int]:
        """The instants asked for, as the nearest complete ones."""
        stamps = np.array(sorted(complete), np.int64)
        span = (stamps[-1] - stamps[0]) / NS
        every = self.settings.every or self.settings.horizon
        wanted = np.array(self.settings.at or np.arange(0.0, max(span - self.settings.horizon, 0.0) + 1e-6, every))
        if wanted.min() < 0 or wanted.max() > span:
            raise InvalidBag(f"instants {wanted.tolist()} s; the cameras see from 0 to {span:.3f} s")
        return sorted({int(stamps[np.abs(stamps - stamps[0] - round(second * NS)).argmin()]) for second in wanted})

    @property
    def sync_slop(self) -> float:
        """Images of one instant differ by less than this [s]."""
        return float(self.settings.parameters.get("sync_slop", WorldModelNode.Parameters().sync_slop))

    def _start(self) -> None:
        use_large_messages()
        context = rclpy.Context()
        rclpy.init(args=[], context=context, signal_handler_options=SignalHandlerOptions.NO)
        self._stack.callback(context.try_shutdown)
        namespace = f"/bag_loop_{os.getpid()}_{id(self):x}"
        node = Node("bag_loop", context=context, namespace=namespace, use_global_arguments=False)
        self._stack.callback(node.destroy_node)
        self._world_model = self._make_world_model(context, namespace)
        self._stack.callback(self._world_model.destroy_node)
        publishers = BagPublishers(node, self._topics_to_publish(), remaps=self._names_in(namespace), clock=False)
        self._client = WorldModelClient(node, name=f"{namespace}/world_model")
        self._spin(node, self._world_model)
        self._client.wait(timeout=CONNECT_TIMEOUT)
        publishers.wait_for_subscribers(publishers.topics, timeout=CONNECT_TIMEOUT, stopped=lambda: False)
        self._feed = BagFeed(self.reader, self.inputs, publishers, sync_slop=self.sync_slop, rate=self.settings.rate)

    def _make_world_model(self, context: Any, namespace: str) -> WorldModelNode:
        remaps = ["/tf:=tf", "/tf_static:=tf_static", "/diagnostics:=diagnostics"]
        words = ["--ros-args", *(word for remap in remaps for word in ("-r", remap))]
        if self.settings.params_file:
            words += ["--params-file", str(self.settings.params_file)]
        chosen = {
            "cameras": [camera.name for camera in self.inputs.cameras],
            "use_depth": all(camera.depth for camera in self.inputs.cameras),
            "compressed": self.inputs.cameras[0].compressed,
            "image_reliability": "reliable",
            "observation_timeout": OBSERVATION_TIMEOUT,
            "rehearsal_seconds": 0.0,  # nothing is asked with a deadline
            "autostart": False,
            **self.settings.parameters,
        }
        node = WorldModelNode(
            context=context,
            namespace=namespace,
            cli_args=words,
            use_global_arguments=False,
            parameter_overrides=[Parameter(name, value=value) for name, value in chosen.items()],
        )
        for transition in (node.trigger_configure, node.trigger_activate):
            if transition() != TransitionCallbackReturn.SUCCESS:
                node.destroy_node()
                raise WorldModelNotReady("the world model node did not start; its log says why")
        return node

    def _spin(self, *nodes: Node) -> None:
        executor = NodeExecutor(num_threads=MIN_THREADS, context=nodes[0].context)
        for node in nodes:
            executor.add_node(node)
        thread = threading.Thread(target=executor.spin, name="bag_loop", daemon=True)
        thread.start()
        self._stack.callback(thread.join, 5.0)
        self._stack.callback(executor.shutdown, 5.0)

    def _topics_to_publish(self) -> list[Any]:
        return [self.reader.topics[name] for name in self.inputs.topics()]

    def _names_in(self, namespace: str) -> dict[str, str]:
        """Where the node listens, by recorded name."""
        fixed = ("joint_states", "robot_description", "tf", "tf_static")
        names = {getattr(self.inputs, name): f"{namespace}/{name}" for name in fixed if getattr(self.inputs, name)}
        cameras = {
            topic: f"{namespace}/{topic.lstrip('/')}"
            for camera in self.inputs.cameras
            for topic in (camera.camera_info, *_images(camera))
        }
        return {**names, **cameras}


class WorldModelNotReady(FourdError):
    """The world model node could not be configured or activated."""

    kind = "world_model_not_ready"


def _images(camera: CameraTopics) -> list[str]:
    return [topic for topic in (camera.image, camera.depth) if topic]


def _near(stamps: NDArray[np.int64], stamp: int, slop_ns: int) -> bool:
    right = int(np.searchsorted(stamps, stamp))
    return any(abs(int(neighbour) - stamp) <= slop_ns for neighbour in stamps[max(right - 1, 0) : right + 1])


def _usable(inputs: WorldModelInputs, wanted: Sequence[str], path: Path) -> WorldModelInputs:
    """The inputs with the chosen cameras only.

    Raises:
        InvalidBag: a chosen camera, or anything else that a world model needs, is not there.
    """
    complete = [camera for camera in inputs.cameras if camera.camera_info and camera.depth]
    unknown = sorted(set(wanted) - {camera.name for camera in inputs.cameras})
    if unknown:
        raise InvalidBag(f"'{path}' has no camera {unknown}; it has {[camera.name for camera in inputs.cameras]}")
    chosen = [camera for camera in inputs.cameras if camera.name in wanted] or complete
    fed = inputs.joint_states and inputs.robot_description and (inputs.tf or inputs.tf_static)
    if not chosen or not fed or any(not camera.camera_info for camera in chosen):
        raise InvalidBag(f"'{path}' lacks {'; '.join(inputs.missing)}")
    return WorldModelInputs(**{**vars(inputs), "cameras": tuple(chosen)})
