"""The world model node: watches cameras, joints and TF, and answers what-if questions."""

import math
import sys
from collections.abc import Mapping
from dataclasses import dataclass
from functools import partial
from itertools import takewhile
from pathlib import Path
from typing import Any

from fourd_msgs.action import Imagine
from fourd_msgs.msg import Rollout as RolloutMessage
from fourd_msgs.srv import GetRolloutFrames
from rclpy.callback_groups import ReentrantCallbackGroup
from trajectory_msgs.msg import JointTrajectory

from fourd_ros.bridge.parameters import parameter
from fourd_ros.bridge.qos import RESULT
from fourd_ros.bridge.rollouts import rollout_to_message
from fourd_ros.bridge.times import stamp_to_ns
from fourd_ros.depth_completion.completer import DepthCompleter
from fourd_ros.memory import give_back_buffers, reuse_buffers
from fourd_ros.model_io.folder import find_model
from fourd_ros.model_io.onnx_session import PREFERENCE
from fourd_ros.nodes.base import ClockJump, FourdNode, run
from fourd_ros.nodes.camera_parameters import CameraParameters
from fourd_ros.nodes.caveats import count_caveats
from fourd_ros.nodes.frame_service import collect_frames, frame_error_code
from fourd_ros.nodes.imagine_server import Answer, ImagineServer
from fourd_ros.nodes.imagined_topics import ImaginedTopics
from fourd_ros.nodes.live_cloud import LiveCloud
from fourd_ros.nodes.observer import Depth
from fourd_ros.nodes.playback import Playback, PlaybackSettings
from fourd_ros.nodes.questions import QuestionLimits, make_question
from fourd_ros.nodes.robot_watch import RobotWatch, WatchSettings
from fourd_ros.records import Observation, Pixels, Rollout
from fourd_ros.robot.description import load_description
from fourd_ros.robot.model import RobotModel
from fourd_ros.world_model.base import SHIPPED_BACKENDS, Checkpoint, ModelOptions, Question
from fourd_ros.world_model.imagined_state import observation_at_end
from fourd_ros.world_model.kinema4d.options import PRECISIONS, QUANTIZATIONS, Kinema4DOptions, PlacementOptions
from fourd_ros.world_model.ladder import Ladder
from fourd_ros.world_model.rehearsal import rehearse
from fourd_ros.world_model.store import RolloutStore

MEGABYTE = 1_000_000
KINEMA4D = "kinema4d"


@dataclass(frozen=True, kw_only=True)
class WorldModelParameters(CameraParameters):
    """Parameters of the world model node."""

    fixed_frame: str = parameter("", "frame of everything imagined; empty for the robot's root link")
    robot_description_file: str = parameter(
        "", "URDF or xacro to use instead of the robot_description topic", fixed_while="configured"
    )
    mesh_roots: tuple[str, ...] = parameter(
        (), "meshes are read only below these folders; empty: installed packages", fixed_while="configured"
    )
    max_joint_age: float = parameter(
        0.5, "oldest joint positions used, against the images [s]", minimum=0.0, maximum=60.0, fixed_while="active"
    )
    depth_completion: str = parameter(
        "",
        "fill the holes of depth images with this model, a folder or the name of a shipped one; empty: leave them",
        fixed_while="configured",
    )
    depth_completion_max_sigma: float = parameter(
        0.02, "holes whose filling is expected to be off by more are left [m]", minimum=0.0, maximum=100.0
    )
    backends: tuple[str, ...] = parameter(
        SHIPPED_BACKENDS, "rungs to load, quickest first; 'module:Class' for your own", fixed_while="configured"
    )
    backend: str = parameter(
        "",
        "the best rung to load, above those of `backends` that are quicker; empty: all of them",
        fixed_while="configured",
    )
    compact_model: str = parameter(
        ModelOptions().compact_model,
        "weights of points and compact, a folder or the name of shipped ones",
        fixed_while="configured",
    )
    kinema4d_model: str = parameter(
        "",
        "folder of the rung kinema4d, from 'fourd convert kinema4d' (or a Wan folder with an adapter); empty: no such "
        "rung",
        fixed_while="configured",
    )
    kinema4d_adapter: str = parameter(
        "", "folder with Kinema4D's two files, kept apart from the weights", fixed_while="configured"
    )
    kinema4d_steps: int = parameter(50, "of the flow of kinema4d", minimum=1, maximum=1000, fixed_while="configured")
    kinema4d_guidance: float = parameter(
        5.0, "1 halves the time and gives other results", minimum=0.0, maximum=100.0, fixed_while="configured"
    )
    kinema4d_preview_every: int = parameter(
        10, "steps between previews of kinema4d; 0: none", minimum=0, maximum=1000, fixed_while="configured"
    )
    kinema4d_native_length: bool = parameter(
        True, "generate as many frames as it was trained on, cut afterwards", fixed_while="configured"
    )
    kinema4d_device: str = parameter(
        "auto", "that computes kinema4d, as torch names it; auto: a GPU where there is one", fixed_while="configured"
    )
    kinema4d_precision: str = parameter(
        "auto", "of kinema4d; auto: bf16 on a GPU", choices=PRECISIONS, fixed_while="configured"
    )
    kinema4d_offload: bool = parameter(
        False, "networks are on the GPU only while they compute", fixed_while="configured"
    )
    kinema4d_tiling: bool = parameter(False, "decode in tiles: less memory, seams may show", fixed_while="configured")
    kinema4d_quantization: str = parameter(
        "none", "8-bit weights through torchao", choices=QUANTIZATIONS, fixed_while="configured"
    )
    network_processors: tuple[str, ...] = parameter(
        PREFERENCE, "that run ONNX networks, the first that works", choices=PREFERENCE, fixed_while="configured"
    )
    network_threads: int = parameter(
        0, "of an ONNX network; 0: as many as there are cores", minimum=0, maximum=1024, fixed_while="configured"
    )
    rehearsal_seconds: float = parameter(
        2.0,
        "at start the rungs together answer made-up questions for at most this long, so that deadlines are judged by "
        "what this machine does; 0: by what the rungs declare [s]",
        minimum=0.0,
        maximum=60.0,
        fixed_while="configured",
    )
    allow_noncommercial: bool = parameter(
        False, "load weights whose licence forbids commercial use", fixed_while="configured"
    )
    low_trust: float = parameter(
        0.5, "answers that are trusted less are counted on /diagnostics", minimum=0.0, maximum=1.0
    )
    max_queued_goals: int = parameter(
        8, "goals that may wait; more are rejected", minimum=0, maximum=1000, fixed_while="configured"
    )
    max_candidates: int = parameter(64, "trajectories in one goal", minimum=1, maximum=65535)
    max_samples: int = parameter(16, "samples of one candidate", minimum=1, maximum=65535)
    max_steps: int = parameter(64, "frames of one rollout", minimum=1, maximum=10_000)
    max_duration: float = parameter(60.0, "length of a trajectory [s]", minimum=0.1, maximum=3600.0)
    speed_tolerance: float = parameter(1.1, "factor on the joint speed limits", minimum=0.1, maximum=1000.0)
    store_megabytes: float = parameter(
        1024.0,
        "memory for finished rollouts; the answer to one goal must fit [MB]",
        minimum=1.0,
        maximum=1e6,
        fixed_while="configured",
    )
    rollout_lifetime: float = parameter(
        60.0, "a rollout can be fetched for this long [s]", minimum=0.1, maximum=86400.0, fixed_while="configured"
    )
    response_megabytes: float = parameter(
        12.0, "bound on one GetRolloutFrames response [MB]", minimum=0.01, maximum=1000.0
    )
    image_format: str = parameter("jpeg", "of imagined images", choices=("jpeg", "png"))
    live_cloud_period: float = parameter(
        0.2,
        "look this often for an instant to publish on ~/points, while somebody listens [s]",
        minimum=0.01,
        maximum=60.0,
        fixed_while="active",
    )
    playback_view: str = parameter("", "camera shown on ~/imagined; empty for the first")
    playback_rate: float = parameter(1.0, "imagined seconds per second", minimum=0.01, maximum=100.0)
    playback_loop: bool = parameter(False, "repeat until a newer rollout comes")
    playback_voxel_size: float = parameter(
        0.0, "thin played clouds to this voxel edge [m], 0 for none", minimum=0.0, maximum=1.0
    )
    playback_megabytes: float = parameter(4.0, "bound on one played or live cloud [MB]", minimum=0.001, maximum=100.0)


class WorldModelNode(FourdNode):
    """Lifecycle node ``world_model``: watches a robot through its topics and answers what-if questions about it."""

    Parameters = WorldModelParameters
    parameters: WorldModelParameters

    def __init__(self, **options: Any) -> None:
        super().__init__("world_model", **options)
        self.ladder = Ladder(models=())
        self._described: RobotModel | None = None
        self._completer: DepthCompleter | None = None
        self._newest_trust = math.nan

    def load(self) -> None:
        reuse_buffers()
        settings = self.parameters
        self.ladder = self._load_ladder()
        rehearse(self.ladder.rungs, seconds=settings.rehearsal_seconds, on_error=self.report)
        if settings.depth_completion:
            self._completer = DepthCompleter.from_folder(
                find_model(settings.depth_completion),
                allow_noncommercial=settings.allow_noncommercial,
                processors=settings.network_processors,
                threads=settings.network_threads or None,
            )
        if settings.robot_description_file:
            path = Path(settings.robot_description_file)
            self._described = RobotModel(load_description(path, allowed_roots=self._mesh_roots()))
        self._store = RolloutStore(
            max_bytes=int(settings.store_megabytes * MEGABYTE), lifetime=settings.rollout_lifetime
        )
        self._server = ImagineServer(self, self, max_queued_goals=settings.max_queued_goals)
        self.defer(self._server.destroy)
        self.serve(GetRolloutFrames, "~/get_rollout_frames", self._serve_frames, group=ReentrantCallbackGroup())
        self._rollouts = self.advertise(RolloutMessage, "~/rollout", RESULT)
        self._topics = ImaginedTopics(self, robot=lambda: self.watch.robot)

    def start(self) -> None:
        settings = self.parameters
        self.watch = RobotWatch(
            self,
            self._watch_settings(),
            robot=self._described,
            complete=None if self._completer is None else partial(self._fill_holes, self._completer),
        )
        ask = self.worker("trajectory").latest(self._ask)
        self.subscribe(JointTrajectory, "trajectory", ask, RESULT, group=ReentrantCallbackGroup())
        self._playback = Playback(stage=self._topics, settings=self._playback_settings, on_error=self.report)
        self.defer(self._playback.stop)
        LiveCloud(
            self,
            observe=self._newest_observation,
            period=settings.live_cloud_period,
            max_bytes=lambda: int(self.parameters.playback_megabytes * MEGABYTE),
        )
        self._server.open()

    def stop(self) -> None:
        self._server.close()

    def unload(self) -> None:
        self._described = None
        self._completer = None
        self._newest_trust = math.nan
        self.ladder = Ladder(models=())
        self._store.clear()
        give_back_buffers()

    def on_clock_jump(self, jump: ClockJump) -> None:
        if self.is_active:
            self.watch.observer.clear()

    def status(self) -> Mapping[str, object]:
        seconds = self.ladder.expected_seconds
        costs = {f"cost_{name}_ms": round(1e3 * value) for name, value in seconds.items()}
        trust = {"newest_trust": f"{self._newest_trust:.2f}"} if math.isfinite(self._newest_trust) else {}
        return {"backends": ", ".join(seconds), **costs, **trust}

    def warning(self) -> str:
        return "; ".join(f"no backend '{name}': {error}" for name, error in self.ladder.missing.items())

    def _load_ladder(self) -> Ladder:
        settings = self.parameters
        options = ModelOptions(
            compact_model=settings.compact_model,
            allow_noncommercial=settings.allow_noncommercial,
            processors=settings.network_processors,
            threads=settings.network_threads or None,
            kinema4d=self._kinema4d_options(),
        )
        ladder = Ladder.load(self._backends(), options)
        for name, error in ladder.missing.items():
            self.counters.error(error)
            self.get_logger().warning(f"goes on without backend '{name}': {error}")
        return ladder

    def _backends(self) -> tuple[str, ...]:
        """Rungs to load: those asked for; kinema4d on top of them where it has a model; none above `backend`."""
        settings = self.parameters
        rungs = dict.fromkeys([*settings.backends, *([KINEMA4D] if settings.kinema4d_model else [])])
        if not settings.backend:
            return tuple(rungs)
        quicker = takewhile(lambda name: name != settings.backend, rungs)
        return (*quicker, settings.backend)

    def _kinema4d_options(self) -> Kinema4DOptions:
        settings = self.parameters
        return Kinema4DOptions(
            model=settings.kinema4d_model,
            adapter=settings.kinema4d_adapter,
            num_steps=settings.kinema4d_steps,
            guidance=settings.kinema4d_guidance,
            preview_every=settings.kinema4d_preview_every,
            native_length=settings.kinema4d_native_length,
            placement=PlacementOptions(
                device=settings.kinema4d_device,
                precision=settings.kinema4d_precision,
                offload=settings.kinema4d_offload,
                tiling=settings.kinema4d_tiling,
                quantization=settings.kinema4d_quantization,
            ),
        )

    # What the Imagine server needs.

    def make_question(self, goal: Any, *, checkpoint: Checkpoint) -> Question:
        """Observation and goal -> question.

        Args:
            goal: ``Imagine.Goal``.
            checkpoint: called while inputs are waited for; raises when nobody wants the answer any more.

        Raises:
            NoObservation: no robot description, images or joints yet.
            InvalidInput: the goal cannot be answered.
        """
        timeout = self.parameters.observation_timeout
        robot = self.watch.wait_for_robot(timeout, checkpoint=checkpoint)
        if goal.start_rollout_id:
            observation = observation_at_end(self._store.get(goal.start_rollout_id))
        else:
            observation = self.watch.observer.observe(
                robot,
                frame=self.parameters.fixed_frame,
                stamp_ns=stamp_to_ns(goal.observation_stamp),
                timeout=timeout,
                checkpoint=checkpoint,
            )
        return make_question(
            goal, robot, observation, default_step=self._default_step(goal.backend), limits=self._question_limits()
        )

    def _newest_observation(self) -> Observation:
        robot = self.watch.wait_for_robot(0.0)
        return self.watch.observer.observe(robot, frame=self.parameters.fixed_frame)

    def remember(self, rollout_id: str, rollout: Rollout) -> None:
        self._store.add(rollout_id, rollout)

    def recall(self, rollout_id: str) -> Rollout:
        """A rollout as it was imagined, with what its messages do not tell.

        Raises:
            UnknownRollout, RolloutExpired: nothing of that id is remembered (any more).
        """
        return self._store.get(rollout_id)

    def to_message(self, rollout_id: str, rollout: Rollout) -> RolloutMessage:
        """``fourd_msgs/Rollout`` with the time until which its frames can be fetched."""
        expires = self.get_clock().now().nanoseconds + round(self.parameters.rollout_lifetime * 1e9)
        return rollout_to_message(rollout, rollout_id, expires_ns=expires)

    def present(self, answer: Answer) -> None:
        for rollout_id, rollout in answer:
            self._newest_trust = rollout.trust
            count_caveats(self.counters, rollout, low_trust=self.parameters.low_trust)
            self._rollouts.publish(self.to_message(rollout_id, rollout))
        if answer:
            self._playback.show(*answer[0])

    # Inputs.

    def _watch_settings(self) -> WatchSettings:
        settings = self.parameters
        return settings.watch_settings(mesh_roots=self._mesh_roots(), max_joint_age=settings.max_joint_age)

    def _fill_holes(self, completer: DepthCompleter, rgb: Pixels, depth: Depth) -> Depth:
        """Fill what can be filled (on the thread that asks for an observation)."""
        return completer.complete(rgb, depth, max_sigma=self.parameters.depth_completion_max_sigma).depth

    def _mesh_roots(self) -> list[Path] | None:
        return [Path(root) for root in self.parameters.mesh_roots] or None

    def _ask(self, trajectory: JointTrajectory) -> None:
        """Answer a trajectory of the streaming mode on the topics (on a worker thread)."""
        self._server.ask(Imagine.Goal(candidates=[trajectory]))

    # Outputs.

    def _serve_frames(self, request: Any, response: Any) -> Any:
        try:
            response.frames, response.next_index = collect_frames(
                self._store,
                request,
                max_bytes=int(self.parameters.response_megabytes * MEGABYTE),
                image_format=self.parameters.image_format,
            )
        except Exception as error:
            self.report(error)
            response.error_code, response.error_msg = frame_error_code(error), str(error)
        return response

    def _playback_settings(self) -> PlaybackSettings:
        settings = self.parameters
        return PlaybackSettings(
            view=settings.playback_view,
            rate=settings.playback_rate,
            loop=settings.playback_loop,
            voxel_size=settings.playback_voxel_size,
            max_bytes=int(settings.playback_megabytes * MEGABYTE),
        )

    def _question_limits(self) -> QuestionLimits:
        settings = self.parameters
        return QuestionLimits(
            max_candidates=settings.max_candidates,
            max_samples=settings.max_samples,
            max_steps=settings.max_steps,
            max_duration=settings.max_duration,
            max_bytes=int(settings.store_megabytes * MEGABYTE),
            speed_tolerance=settings.speed_tolerance,
        )

    def _default_step(self, backend: str) -> float:
        models = {model.backend: model for model in self.ladder.models}
        return models.get(backend, self.ladder.models[-1]).default_step


def main(args: list[str] | None = None) -> int:
    """Entry point of ``ros2 run fourd_ros world_model``."""
    return run(WorldModelNode, args)


if __name__ == "__main__":
    sys.exit(main())
