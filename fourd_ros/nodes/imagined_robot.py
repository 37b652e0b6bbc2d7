"""The imagined robot node: a robot and its scene that exist in a world model alone."""

import math
import sys
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from fourd_msgs.srv import ResetImagination
from rclpy.callback_groups import ReentrantCallbackGroup

from fourd_ros.bridge.parameters import parameter
from fourd_ros.errors import DriftTooLarge
from fourd_ros.memory import give_back_buffers, reuse_buffers
from fourd_ros.model_io.onnx_session import PREFERENCE
from fourd_ros.nodes.base import run
from fourd_ros.nodes.caveats import count_caveats
from fourd_ros.nodes.commanded_motion import CommandedMotion
from fourd_ros.nodes.error_codes import error_code
from fourd_ros.nodes.imagination_starts import Start, Starts
from fourd_ros.nodes.imagined_scene import ImaginedScene
from fourd_ros.nodes.instants import Instant, Instants
from fourd_ros.nodes.robot_node import RobotNode, RobotParameters
from fourd_ros.nodes.robot_topics import RobotTopics, mounted_cameras
from fourd_ros.nodes.robot_watch import RobotWatch, WatchSettings
from fourd_ros.nodes.saved_starts import SavedStarts
from fourd_ros.records import Observation, Rollout, RolloutFlags
from fourd_ros.resources import find_resource
from fourd_ros.robot.model import RobotModel
from fourd_ros.world_model.base import ModelOptions, WorldModel, load_backend
from fourd_ros.world_model.imagined_frames import ImaginedFrames
from fourd_ros.world_model.imagined_state import ImaginedState

SOURCE_PREFIX = "source/"
"""Of the topics of a live robot to start from."""

SHIPPED_STARTS = "demo"
"""Folder of recordings that come with the package."""


@dataclass(frozen=True, kw_only=True)
class ImaginedRobotParameters(RobotParameters):
    """Parameters of the imagined robot node."""

    image_rate: float = parameter(
        5.0,
        "frames that are imagined per second of ROS time [Hz]; the shipped models were trained at 5",
        minimum=0.1,
        maximum=50.0,
        fixed_while="active",
    )
    cameras: tuple[str, ...] = parameter((), "of the start that are imagined; empty: all of them")
    backend: str = parameter("compact", "the rung that imagines; 'module:Class' for your own", fixed_while="configured")
    compact_model: str = parameter(
        ModelOptions().compact_model,
        "weights of points and compact, a folder or the name of shipped ones",
        fixed_while="configured",
    )
    network_processors: tuple[str, ...] = parameter(
        PREFERENCE, "that run ONNX networks, the first that works", choices=PREFERENCE, fixed_while="configured"
    )
    network_threads: int = parameter(
        0, "of an ONNX network; 0: as many as there are cores", minimum=0, maximum=1024, fixed_while="configured"
    )
    allow_noncommercial: bool = parameter(
        False, "load weights whose licence forbids commercial use", fixed_while="configured"
    )
    seed: int = parameter(0, "of what is random in the model, for the start at activation", minimum=0)
    horizon: float = parameter(
        20.0,
        "time imagined from one frame; then the robot goes on from one that was itself imagined; takes effect at "
        "~/reset [s]",
        minimum=0.1,
        maximum=3600.0,
    )
    max_anchors: int = parameter(
        3,
        "how often it goes on from an imagined frame before it stops and waits for ~/reset; takes effect there",
        minimum=0,
        maximum=1000,
    )
    max_chunk: int = parameter(
        8, "frames imagined at once while no command comes; takes effect at ~/reset", minimum=1, maximum=64
    )
    low_trust: float = parameter(
        0.5, "frames that are trusted less are counted on /diagnostics", minimum=0.0, maximum=1.0
    )
    start_folders: tuple[str, ...] = parameter(
        (), "of episodes, data sets and bags to start from, by name; empty: the recordings that are shipped"
    )
    start: str = parameter("bag", "episode or bag to start with at activation; empty: wait for ~/reset")
    source_cameras: tuple[str, ...] = parameter(
        (),
        "cameras of a live robot to start from: source/<camera>/image, camera_info, depth, beside source/joint_states, "
        "source/tf, source/tf_static and source/robot_description; empty: none",
        fixed_while="active",
    )
    source_use_depth: bool = parameter(True, "wait for a depth image beside every colour image", fixed_while="active")
    source_compressed: bool = parameter(
        False, "take source/<camera>/image/compressed and .../depth/compressedDepth instead", fixed_while="active"
    )
    live_timeout: float = parameter(
        2.0, "a live frame to start from is waited for this long [s]", minimum=0.0, maximum=60.0
    )
    mesh_roots: tuple[str, ...] = parameter(
        (), "meshes are read only below these folders; empty: installed packages", fixed_while="configured"
    )


class ImaginedRobotNode(RobotNode):
    """Lifecycle node ``imagined_robot``: stands in for a robot; what its cameras see is imagined.

    The worker thread owns the imagined state; every tick is one of its jobs. A command counts from the tick after it
    came: the same start, seed, and commands in the same ticks give the same images, bit by bit.
    """

    Parameters = ImaginedRobotParameters
    parameters: ImaginedRobotParameters

    def __init__(self, **options: Any) -> None:
        super().__init__("imagined_robot", **options)
        self._model: WorldModel | None = None
        self._live: RobotWatch | None = None
        self._robot: RobotModel | None = None
        self._scene: ImaginedScene | None = None
        self._counted: Rollout | None = None

    def load(self) -> None:
        reuse_buffers()
        settings = self.parameters
        options = ModelOptions(
            compact_model=settings.compact_model,
            allow_noncommercial=settings.allow_noncommercial,
            processors=settings.network_processors,
            threads=settings.network_threads or None,
        )
        backend = load_backend(settings.backend, allow_noncommercial=settings.allow_noncommercial)
        self._model = backend.from_options(options)

    def start(self) -> None:
        settings = self.parameters
        self._forget()
        self.make_time()
        if settings.source_cameras:
            self._live = RobotWatch(self, self._watch_settings())
        self.serve(ResetImagination, "~/reset", self._on_reset, group=ReentrantCallbackGroup())
        if settings.start:
            request = ResetImagination.Request(
                source=ResetImagination.Request.EPISODE, name=settings.start, seed=settings.seed
            )
            self._reset(request)

    def stop(self) -> None:
        if self._robot is not None:
            self._instants.close()
        self.world.stop()
        self._forget()

    def unload(self) -> None:
        self._model = None
        give_back_buffers()

    @property
    def cameras(self) -> tuple[str, ...]:
        """Those that are imagined now; before the first start those that are wanted."""
        return self.parameters.cameras if self._scene is None else self._scene.cameras

    def status(self) -> Mapping[str, object]:
        scene, backend = self._scene, {"backend": self.parameters.backend}
        if scene is None:
            return backend
        newest = scene.newest
        trusted = newest is not None and math.isfinite(newest.trust)
        return {
            **backend,
            **self.times,
            "imagined_seconds": f"{scene.seconds:.2f}",
            "anchors": scene.anchors,
            "commands": self._motion.changes,
            **({"newest_trust": f"{newest.trust:.2f}"} if newest is not None and trusted else {}),
        }

    def warning(self) -> str:
        scene = self._scene
        if scene is None:
            return "nothing to imagine yet: call ~/reset, or set the parameter start" if self.is_active else ""
        return "" if scene.end is None else f"the robot holds still and takes no commands: {scene.end}"

    # On the worker's thread.

    def tick(self) -> None:
        scene = self._scene
        assert scene is not None
        if scene.end is None:
            self._imagine(scene)
        instant = scene.measure(now=self.elapsed, stamp_ns=self.now_ns, before=self._instants.newest)
        self._topics.publish_state(instant)
        if self.images_are_due and scene.end is None:
            self._topics.publish_views(scene.look, instant.stamp_ns)
        self._instants.put(instant)

    def _imagine(self, scene: ImaginedScene) -> None:
        """Bring a scene to this tick."""
        try:
            scene.advance(last_tick=max(self.elapsed - self.period, 0.0), with_frame=self.images_are_due)
        except DriftTooLarge as error:
            self.report(error)
        if scene.newest is not None and scene.newest is not self._counted:
            self._counted = scene.newest
            count_caveats(
                self.counters, scene.newest, low_trust=self.parameters.low_trust, besides=RolloutFlags.TRUNCATED
            )

    def _begin(self, start: Start) -> None:
        """A new scene."""
        settings, observation = self.parameters, start.observation
        is_first = self._robot is None
        if is_first:
            self._stand_in_for(start.robot, observation)
        assert self._model is not None
        frames = ImaginedFrames(
            ImaginedState(self._model, start.robot, observation, horizon=settings.horizon, seed=start.seed),
            period=self.ticks_per_image * self.period,
            longest_chunk=settings.max_chunk,
            max_anchors=settings.max_anchors,
        )
        self._motion.reset(observation.joint_positions)
        self._scene = ImaginedScene(frames, self._motion, start.robot.kinematics)
        self._topics.publish_still(mounted_cameras(start.robot, observation), self.now_ns)
        self.restart()
        if is_first:
            self.run_time()

    def _stand_in_for(self, robot: RobotModel, observation: Observation) -> None:
        """Publish and take commands as this robot, until the node is deactivated."""
        kinematics, now_ns, positions = robot.kinematics, self.now_ns, observation.joint_positions
        fingers = robot.gripper.joints if robot.gripper else ()
        arm = tuple(name for name in kinematics.joint_names if name not in fingers)
        self._motion = CommandedMotion([group for group in (arm, fingers) if group], positions, now=now_ns * 1e-9)
        still = dict.fromkeys(kinematics.joint_names, 0.0)
        self._instants = Instants(
            Instant(stamp_ns=now_ns, positions=positions, velocities=still, efforts={}, setpoint=positions)
        )
        self._topics = RobotTopics(self, description=robot.description, kinematics=kinematics)
        upper = dict(zip(kinematics.joint_names, kinematics.limits.upper.tolist(), strict=True))
        self.accept_commands(
            self._motion,
            self._instants,
            kinematics=kinematics,
            gripper=(fingers[0], upper[fingers[0]]) if len(fingers) == 1 else None,
        )
        self._robot = robot

    # On threads of the executor.

    def _forget(self) -> None:
        """What is known of the robot, so that another one can be stood in for."""
        self._robot = self._live = self._scene = self._counted = None

    def _on_reset(self, request: ResetImagination.Request, response: ResetImagination.Response) -> Any:
        try:
            self._reset(request)
        except Exception as error:
            self.report(error)
            response.error_code, response.error_msg = error_code(ResetImagination.Response, error), str(error)
        return response

    def _reset(self, request: ResetImagination.Request) -> None:
        start = self._starts().find(request, known=self._robot)
        self.world.call(lambda: self._begin(start))

    def _starts(self) -> Starts:
        settings = self.parameters
        folders = [Path(folder).expanduser() for folder in settings.start_folders]
        return Starts(
            saved=SavedStarts(folders or [find_resource(SHIPPED_STARTS)]),
            live=self._live,
            live_timeout=settings.live_timeout,
            cameras=settings.cameras,
            mesh_roots=self._mesh_roots(),
        )

    def _watch_settings(self) -> WatchSettings:
        settings = self.parameters
        return WatchSettings(
            cameras=settings.source_cameras,
            prefix=SOURCE_PREFIX,
            use_depth=settings.source_use_depth,
            compressed=settings.source_compressed,
            mesh_roots=self._mesh_roots(),
        )

    def _mesh_roots(self) -> list[Path] | None:
        return [Path(root) for root in self.parameters.mesh_roots] or None


def main(args: list[str] | None = None) -> int:
    """Entry point of ``ros2 run fourd_ros imagined_robot``."""
    return run(ImaginedRobotNode, args)


if __name__ == "__main__":
    sys.exit(main())
