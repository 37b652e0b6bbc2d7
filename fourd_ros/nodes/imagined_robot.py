"""The imagined robot node: a robot and its scene that exist in a world model alone."""

import sys
from collections.abc import Mapping
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import numpy as np
from fourd_msgs.srv import ResetImagination
from rclpy.callback_groups import ReentrantCallbackGroup

from fourd_ros.bridge.parameters import parameter
from fourd_ros.bridge.times import stamp_to_ns
from fourd_ros.data.episode import Episode
from fourd_ros.data.episode_observation import observation_of, step_at
from fourd_ros.errors import DriftTooLarge, InvalidRobotDescription, MissingCamera, UnknownSource
from fourd_ros.geometry.transforms import invert
from fourd_ros.model_io.onnx_session import PREFERENCE
from fourd_ros.nodes.base import run
from fourd_ros.nodes.caveats import count_caveats
from fourd_ros.nodes.commanded_motion import CommandedMotion
from fourd_ros.nodes.error_codes import error_code
from fourd_ros.nodes.instants import Instant, Instants
from fourd_ros.nodes.memory import give_back_buffers, reuse_buffers
from fourd_ros.nodes.robot_node import RobotNode, RobotParameters
from fourd_ros.nodes.robot_topics import MountedCamera, Picture, RobotTopics
from fourd_ros.nodes.saved_starts import SavedStarts
from fourd_ros.records import FloatArray, Observation, Rollout, RolloutFlags, View
from fourd_ros.resources import find_resource
from fourd_ros.robot.description import RobotDescription
from fourd_ros.robot.model import RobotModel
from fourd_ros.world_model.base import ModelOptions, WorldModel, load_backend
from fourd_ros.world_model.imagined_frames import ImaginedFrames
from fourd_ros.world_model.imagined_state import ImaginedState

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
        self._robot: RobotModel | None = None
        self._frames: ImaginedFrames | None = None
        self._counted: Rollout | None = None
        self._exhausted: DriftTooLarge | None = None

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
        self.make_time()
        self.serve(ResetImagination, "~/reset", self._on_reset, group=ReentrantCallbackGroup())
        if settings.start:
            request = ResetImagination.Request(
                source=ResetImagination.Request.EPISODE, name=settings.start, seed=settings.seed
            )
            self._reset(request)

    def stop(self) -> None:
        if self._frames is not None:
            self._instants.close()
        self.world.stop()
        self._robot = self._frames = self._exhausted = None

    def unload(self) -> None:
        self._model = None
        give_back_buffers()

    def status(self) -> Mapping[str, object]:
        frames = self._frames
        if frames is None:
            return {"backend": self.parameters.backend}
        trust = frames.state.newest and frames.state.newest.trust
        return {
            "backend": self.parameters.backend,
            **self.times,
            "imagined_seconds": f"{frames.state.now:.2f}",
            "anchors": frames.state.anchors,
            **({} if trust is None or np.isnan(trust) else {"newest_trust": f"{trust:.2f}"}),
        }

    def warning(self) -> str:
        if self.is_active and self._frames is None:
            return "nothing to imagine yet: call ~/reset, or set the parameter start"
        return "" if self._exhausted is None else f"holds still: {self._exhausted}"

    # On the worker's thread.

    def tick(self) -> None:
        if self._exhausted is None:
            self._imagine()
        instant = self._measure()
        self._topics.publish_state(instant)
        if self.images_are_due and self._exhausted is None:
            self._topics.publish_views(self._look, instant.stamp_ns)
        self._instants.put(instant)

    def _begin(self, robot: RobotModel, observation: Observation, seed: int) -> None:
        """A new scene, with the robot that the node began with."""
        if self._robot is None:
            self._stand_in_for(robot, observation)
        settings, self._observed = self.parameters, observation
        assert self._model is not None and self._robot is not None
        self._frames = ImaginedFrames(
            ImaginedState(self._model, self._robot, observation, horizon=settings.horizon, seed=seed),
            period=self.ticks_per_image * self.period,
            longest_chunk=settings.max_chunk,
            max_anchors=settings.max_anchors,
        )
        self._motion.reset(observation.joint_positions)
        self._changes, self._exhausted = self._motion.changes, None
        self._topics.publish_still(_mounted(self._robot, observation), self.now_ns)
        self.restart()

    def _stand_in_for(self, robot: RobotModel, observation: Observation) -> None:
        """Publish and take commands as this robot."""
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
        self.run_time()

    def _imagine(self) -> None:
        """Bring the frames to this tick."""
        try:
            if self._changes != self._motion.changes:
                self._changes = self._motion.changes
                self._frames.command(self._motion.future(), now=max(self.elapsed - self.period, 0.0))
            if self.images_are_due:
                self._observed = self._frames.next()
                self._count_caveats(self._frames.state.newest)
        except DriftTooLarge as error:
            self._exhausted = error
            self._motion.refuse(error)
            self.report(error)

    def _count_caveats(self, newest: Rollout | None) -> None:
        if newest is not None and newest is not self._counted:
            count_caveats(self.counters, newest, low_trust=self.parameters.low_trust, besides=RolloutFlags.TRUNCATED)
        self._counted = newest

    def _measure(self) -> Instant:
        setpoint, rates = self._motion.setpoint(self.now_ns * 1e-9)
        if self._exhausted is not None:
            still = dict.fromkeys(setpoint, 0.0)
            return replace(self._instants.newest, stamp_ns=self.now_ns, velocities=still, setpoint=setpoint)
        names, limits = self._robot.kinematics.joint_names, self._robot.kinematics.limits
        offsets, speeds = self._frames.deviation(self.elapsed)
        at = np.clip([setpoint[name] for name in names] + offsets, limits.lower, limits.upper)
        moving = [rates[name] for name in names] + speeds
        return Instant(
            stamp_ns=self.now_ns,
            positions=dict(zip(names, at.tolist(), strict=True)),
            velocities=dict(zip(names, moving.tolist(), strict=True)),
            efforts={},
            setpoint=setpoint,
        )

    def _look(self, camera: str) -> Picture:
        view = self._observed.views[camera]
        return Picture(rgb=view.rgb, depth=view.points[..., 2])

    # On threads of the executor.

    def _on_reset(self, request: ResetImagination.Request, response: ResetImagination.Response) -> Any:
        try:
            self._reset(request)
        except Exception as error:
            self.report(error)
            response.error_code, response.error_msg = error_code(ResetImagination.Response, error), str(error)
        return response

    def _reset(self, request: ResetImagination.Request) -> None:
        robot, observation = self._find_start(request)
        self._check_same(robot)
        chosen = self._choose_views(observation)
        self.world.call(lambda: self._begin(robot, chosen, request.seed))

    def _check_same(self, robot: RobotModel) -> None:
        if self._robot is None:
            return
        given, own = robot.kinematics.joint_names, self._robot.kinematics.joint_names
        if given != own:
            raise InvalidRobotDescription(
                f"the start is of a robot with the joints {list(given)} and this node stands in for one with "
                f"{list(own)}; deactivate the node first"
            )

    def _find_start(self, request: ResetImagination.Request) -> tuple[RobotModel, Observation]:
        if request.source == ResetImagination.Request.EPISODE:
            stamp_ns = stamp_to_ns(request.stamp)
            episode = self._saved_starts().find(request.name, stamp_ns)
            robot = self._robot_of(episode)
            return robot, observation_of(episode, step_at(episode, stamp_ns), frame=robot.kinematics.root)
        raise UnknownSource(f"source {request.source}; there are 0 (LIVE), 1 (EPISODE) and 2 (ROLLOUT)")

    def _saved_starts(self) -> SavedStarts:
        folders = self.parameters.start_folders
        return SavedStarts([Path(folder).expanduser() for folder in folders] or [find_resource(SHIPPED_STARTS)])

    def _robot_of(self, episode: Episode) -> RobotModel:
        text, known = episode.robot_description, self._robot
        if known is not None and text == known.description.text:
            return known
        if not text:
            raise InvalidRobotDescription(f"episode '{episode.name}' does not tell the robot_description of its robot")
        return RobotModel(RobotDescription.from_urdf(text, allowed_roots=self._mesh_roots()))

    def _mesh_roots(self) -> list[Path] | None:
        return [Path(root) for root in self.parameters.mesh_roots] or None

    def _choose_views(self, observation: Observation) -> Observation:
        wanted = self.parameters.cameras or tuple(observation.views)
        missing = [name for name in wanted if name not in observation.views]
        if missing:
            raise MissingCamera(f"no views of {missing} at the start; there are {list(observation.views)}")
        return replace(observation, views={name: observation.views[name] for name in wanted})


def _mounted(robot: RobotModel, observation: Observation) -> dict[str, MountedCamera]:
    """Where the cameras of an observation are."""
    poses = robot.kinematics.link_poses(robot.kinematics.positions_from(observation.joint_positions))
    return {
        name: MountedCamera(
            camera=view.camera, T_mount_camera=_in_mount(view, observation, poses), mounted_on=view.mounted_on
        )
        for name, view in observation.views.items()
    }


def _in_mount(view: View, observation: Observation, link_poses: Mapping[str, FloatArray]) -> FloatArray:
    T_root_camera = invert(observation.T_world_robot) @ view.T_world_camera
    return np.asarray(invert(link_poses[view.mounted_on]) @ T_root_camera if view.mounted_on else T_root_camera)


def main(args: list[str] | None = None) -> int:
    """Entry point of ``ros2 run fourd_ros imagined_robot``."""
    return run(ImaginedRobotNode, args)


if __name__ == "__main__":
    sys.exit(main())
