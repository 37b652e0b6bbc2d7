"""The scene reconstruction node: where the camera is, what stands still, and the objects that move."""

import sys
import threading
import time
from collections import deque
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

import numpy as np
from fourd_msgs.srv import MapFile
from rclpy.callback_groups import ReentrantCallbackGroup
from std_srvs.srv import Trigger

from fourd_ros.bridge.parameters import parameter
from fourd_ros.bridge.tf import TransformListener, make_transform_buffer
from fourd_ros.errors import InvalidImage, NotActive
from fourd_ros.memory import give_back_buffers, reuse_buffers
from fourd_ros.nodes.base import ClockJump, FourdNode, NodeParameters, run
from fourd_ros.nodes.camera_frames import CameraFrame, CameraFrames, CameraFrameSettings
from fourd_ros.nodes.map_anchor import TREE_PATIENCE, MapAnchor
from fourd_ros.nodes.map_files import answer, load_map, need_active, save_map
from fourd_ros.nodes.scene_topics import SceneTopics, SceneTopicSettings
from fourd_ros.nodes.worker import Worker
from fourd_ros.reconstruction.live.live_naming import LiveNaming
from fourd_ros.reconstruction.live.live_objects import LiveObjectOptions
from fourd_ros.reconstruction.live.live_reconstruction import LiveFrame, LiveOptions, LiveReconstruction
from fourd_ros.reconstruction.mapping.voxel_map import VoxelMapOptions
from fourd_ros.reconstruction.motion.rigid_pose import PoseOptions
from fourd_ros.reconstruction.naming.naming_endpoint import KEY, naming_endpoint
from fourd_ros.reconstruction.naming.object_namer import ObjectNamer
from fourd_ros.reconstruction.tracking.point_tracker import PointTrackerOptions

MEGABYTE = 1_000_000
STAGE_HISTORY = 100
"""Frames whose times are told of."""

LOST = 2.0
"""Without a pose for so long, the node warns [s]."""


@dataclass(frozen=True, kw_only=True)
class SceneReconstructionParameters(NodeParameters):
    """Parameters of the scene reconstruction node."""

    camera: str = parameter("camera", "namespace: <camera>/image, camera_info, depth, masks", fixed_while="active")
    use_depth: bool = parameter(
        True, "wait for a depth image beside every colour image; without, lengths have no unit", fixed_while="active"
    )
    use_masks: bool = parameter(
        False,
        "wait for <camera>/masks (mono8 or mono16: numbers of objects that may move, 0 for none); without, what moves "
        "is found by its motion",
        fixed_while="active",
    )
    compressed: bool = parameter(
        False, "take <camera>/image/compressed and <camera>/depth/compressedDepth instead", fixed_while="active"
    )
    image_reliability: str = parameter(
        "best_effort", "of the camera subscriptions", choices=("best_effort", "reliable"), fixed_while="active"
    )
    sync_slop: float = parameter(
        0.01, "images of one instant differ by less [s]", minimum=0.0, maximum=1.0, fixed_while="active"
    )
    max_pixels: int = parameter(
        16_777_216, "larger images are refused", minimum=1, maximum=2**31 - 1, fixed_while="active"
    )
    map_frame: str = parameter("map", "frame of everything that is published", fixed_while="active")
    publish_tf: bool = parameter(
        True, "tell TF where the map is: above the root of the camera's tree (REP 105)", fixed_while="active"
    )
    transform_timeout: float = parameter(
        0.1,
        "a frame waits this long for the camera's place in its TF tree [s]",
        minimum=0.0,
        maximum=10.0,
        fixed_while="active",
    )
    points: int = parameter(300, "followed at a time", minimum=50, maximum=5000, fixed_while="active")
    depth_sigma: float = parameter(
        0.01, "standard deviation of measured depth, as a share of it", minimum=1e-4, maximum=1.0, fixed_while="active"
    )
    still_after: float = parameter(
        1.0, "an object that has not moved for so long is no longer dynamic [s]", minimum=0.0, fixed_while="active"
    )
    melt_after: float = parameter(
        10.0,
        "an object that has not moved for so long becomes part of the static map [s]",
        minimum=0.0,
        fixed_while="active",
    )
    forget_after: float = parameter(
        10.0, "an object that was not seen for so long is forgotten [s]", minimum=0.0, fixed_while="active"
    )
    max_objects: int = parameter(32, "followed at a time", minimum=0, maximum=1000, fixed_while="active")
    voxel_size: float = parameter(
        0.02, "edge of a voxel of the map [m]", minimum=1e-3, maximum=10.0, fixed_while="active"
    )
    max_voxels: int = parameter(
        400_000,
        "of the map; when there would be more, those that were seen least go",
        minimum=1000,
        maximum=20_000_000,
        fixed_while="active",
    )
    map_every: int = parameter(
        5, "frames from one that goes into the map to the next", minimum=1, maximum=1000, fixed_while="active"
    )
    max_depth: float = parameter(
        10.0, "what is farther away does not go into the map [m]", minimum=0.01, maximum=1000.0, fixed_while="active"
    )
    map_period: float = parameter(
        1.0, "least time between two clouds of the map [s]", minimum=0.05, maximum=3600.0, fixed_while="active"
    )
    map_confidence: float = parameter(
        2.0,
        "of a voxel in the cloud, at least: about how often it was seen",
        minimum=0.0,
        maximum=50.0,
        fixed_while="active",
    )
    cloud_megabytes: float = parameter(
        4.0, "of one cloud; more points are left out evenly", minimum=0.01, maximum=100.0, fixed_while="active"
    )
    map_root: str = parameter("~/.ros/fourd/maps", "folder of the maps that services name; empty: none")
    vlm_url: str = parameter(
        "",
        f"OpenAI-compatible endpoint of a model that names objects, its key in the environment variable {KEY}; empty: "
        "they are named by size, speed and colour",
        fixed_while="active",
    )
    vlm_model: str = parameter("", "its name there", fixed_while="active")
    vlm_period: float = parameter(
        10.0, "least time between two questions to it [s]", minimum=0.1, maximum=86_400.0, fixed_while="active"
    )

    def frame_settings(self) -> CameraFrameSettings:
        """What is listened to."""
        return CameraFrameSettings(
            camera=self.camera,
            use_depth=self.use_depth,
            use_masks=self.use_masks,
            compressed=self.compressed,
            reliability=self.image_reliability,
            sync_slop=self.sync_slop,
            max_pixels=self.max_pixels,
        )

    def live_options(self) -> LiveOptions:
        """How it is reconstructed."""
        return LiveOptions(
            tracker=PointTrackerOptions(max_points=self.points),
            objects=LiveObjectOptions(
                still_after=self.still_after,
                melt_after=self.melt_after,
                forget_after=self.forget_after,
                most=self.max_objects,
                pose=PoseOptions(depth_sigma=self.depth_sigma),
            ),
            map=VoxelMapOptions(voxel_size=self.voxel_size, max_voxels=self.max_voxels),
            map_every=self.map_every,
            max_depth=self.max_depth,
        )

    def naming(self) -> LiveNaming | None:
        """Who names objects, None for nobody.

        Raises:
            InvalidConfig: the URL is none.
        """
        if not self.vlm_url:
            return None
        return LiveNaming(ObjectNamer(naming_endpoint(self.vlm_url, self.vlm_model)), period=self.vlm_period)

    def topic_settings(self) -> SceneTopicSettings:
        """What is told."""
        return SceneTopicSettings(
            map_frame=self.map_frame,
            publish_tf=self.publish_tf,
            transform_timeout=self.transform_timeout,
            map_period=self.map_period,
            map_confidence=self.map_confidence,
            max_bytes=int(self.cloud_megabytes * MEGABYTE),
        )


class SceneReconstructionNode(FourdNode):
    """Lifecycle node ``scene_reconstruction``: camera path, static map and moving objects, from one camera.

    One worker owns the reconstruction; a frame that waits for it gives way to a newer one.
    """

    Parameters = SceneReconstructionParameters
    parameters: SceneReconstructionParameters

    def __init__(self, **options: Any) -> None:
        self._scene: LiveReconstruction | None = None
        self._naming: LiveNaming | None = None
        self._times: deque[Mapping[str, float]] = deque(maxlen=STAGE_HISTORY)
        self._restart = threading.Event()
        self._last: LiveFrame | None = None
        self._frames = self._last_stamp_ns = 0
        self._first_at = self._last_pose_at = 0.0
        super().__init__("scene_reconstruction", **options)

    @property
    def cameras(self) -> tuple[str, ...]:
        return (self.parameters.camera,)

    def load(self) -> None:
        reuse_buffers()
        group = ReentrantCallbackGroup()
        self.serve(Trigger, "~/reset", self._serve_reset, group=group)
        self.serve(MapFile, "~/save_map", self._serve_save, group=group)
        self.serve(MapFile, "~/load_map", self._serve_load, group=group)

    def start(self) -> None:
        settings = self.parameters
        self._scene, self._last, self._first_at = None, None, 0.0
        self._last_pose_at = time.monotonic()
        self._last_stamp_ns = self._frames = 0
        self._transforms = make_transform_buffer(counters=self.counters)
        self.defer(TransformListener(self, self._transforms).destroy)
        self._naming = settings.naming()
        if self._naming is not None:
            self.defer(self._naming.clear)
        self._anchor = MapAnchor(self._transforms, settings.map_frame)
        self._topics = SceneTopics(self, self._anchor, settings.topic_settings())
        self._worker: Worker = self.worker("frames")
        self._listener = CameraFrames(
            self, settings.frame_settings(), take=self._worker.latest(self._take), went_back=self._jumped_back
        )

    def stop(self) -> None:
        self._times.clear()

    def unload(self) -> None:
        self._scene = None
        give_back_buffers()

    def on_clock_jump(self, jump: ClockJump) -> None:
        if self.is_active:
            self._listener.clear()
            self._transforms.clear()
            self._restart.set()

    def status(self) -> Mapping[str, object]:
        scene, last = self._scene, self._last if self.is_active else None
        if not self.is_active or scene is None:
            return {}
        facts: dict[str, object] = {
            "frames": self._frames,
            "voxels": len(scene.map),
            "restarts": scene.restarts,
            "objects_melted": scene.melted,
            "objects_forgotten": scene.forgotten,
        }
        if last is not None:
            facts |= {"objects": len(last.objects), "points_still": len(last.pose.still)}
        if self._naming is not None:
            facts |= {"objects_named": self._naming.named, "vlm_problem": self._naming.problem}
            facts |= {f"vlm_{name}": count for name, count in self._naming.counters.items()}
        times = list(self._times)
        stages = dict.fromkeys(name for one in times for name in one)
        medians = {name: np.median([one[name] for one in times if name in one]) for name in stages}
        return facts | {f"{name}_ms": f"{1e3 * value:.1f}" for name, value in medians.items()}

    def warning(self) -> str:
        if not self.is_active or not self._frames or time.monotonic() - self._last_pose_at < LOST:
            return ""
        return "frames come, but they do not tell where the camera is: too few points, or no parallax yet"

    # Frames, on the worker.

    def _take(self, frame: CameraFrame) -> None:
        with self._listener.paused():
            self._reconstruct(frame)

    def _reconstruct(self, frame: CameraFrame) -> None:
        began = time.perf_counter()
        scene = self._scene_for(frame)
        rgb, masks = frame.rgb(), frame.masks()
        depth = self._depth_of(frame)
        decoded = time.perf_counter()
        told = scene.add(frame.stamp_ns, rgb, depth, masks)
        self._frames += 1
        if told is None:
            return
        if self._naming is not None:
            told = self._naming.name(told, rgb)
        self._last, self._last_pose_at = told, time.monotonic()
        before_telling = time.perf_counter()
        try:
            self._tell(told, frame.frame_id, scene)
        finally:
            ended = time.perf_counter()
            self._times.append(
                {"decode": decoded - began, **told.seconds, "tell": ended - before_telling, "frame": ended - began}
            )

    def _scene_for(self, frame: CameraFrame) -> LiveReconstruction:
        """The reconstruction that goes on with a frame; begun again where time jumped or the camera is another."""
        gap = (frame.stamp_ns - self._last_stamp_ns) * 1e-9
        jumped = self._restart.is_set() or not 0 < gap < self.parameters.clock_jump_forward
        self._restart.clear()
        self._last_stamp_ns = frame.stamp_ns
        scene = self._scene
        if scene is not None and scene.camera == frame.calibration and not jumped:
            return scene
        if scene is None:
            self._first_at = time.monotonic()
        else:
            self.counters.count("restarted")
        if scene is None or scene.camera != frame.calibration:
            scene = self._scene = LiveReconstruction(frame.calibration, self.parameters.live_options())
        self._begin(scene, frame)
        return scene

    def _begin(self, scene: LiveReconstruction, frame: CameraFrame) -> None:
        self._anchor.settle(frame.frame_id, until=self._first_at + TREE_PATIENCE, wait=self._worker.wait)
        self._topics.forget()
        if self._naming is not None:
            self._naming.clear()
        scene.restart(self._anchor.start(frame.frame_id, frame.stamp_ns, timeout=self.parameters.transform_timeout))

    def _depth_of(self, frame: CameraFrame) -> Any:
        """Of a frame; one without any is counted, and goes on by its points."""
        try:
            return frame.depth()
        except InvalidImage as error:
            if self._scene is None or self._last is None:
                raise
            self.report(error)
            return np.full((frame.calibration.height, frame.calibration.width), np.nan, np.float32)

    def _tell(self, told: LiveFrame, camera_frame: str, scene: LiveReconstruction) -> None:
        self._topics.publish(told, camera_frame, scene.map)

    def _jumped_back(self) -> None:
        self.counters.count("stamps_went_back")
        self._restart.set()

    # Services.

    def _serve_reset(self, request: Any, response: Any) -> Any:
        if not self.is_active:
            response.message = "the node is not active; activate it first"
            return response
        self._restart.set()
        response.success = True
        return response

    def _serve_save(self, request: Any, response: Any) -> Any:
        root = self.parameters.map_root
        return answer(response, lambda: self._with_map(lambda scene: save_map(scene.map, root, request)), self.report)

    def _serve_load(self, request: Any, response: Any) -> Any:
        root = self.parameters.map_root

        def load(scene: LiveReconstruction) -> int:
            voxels = load_map(scene.map, root, request)
            self._topics.offer_map(self._last_stamp_ns, scene.map, now=True)
            return voxels

        return answer(response, lambda: self._with_map(load), self.report)

    def _with_map(self, work: Any) -> int:
        """Do something with the reconstruction, on its worker."""
        need_active(self.is_active)

        def call() -> int:
            if self._scene is None:
                raise NotActive("nothing was seen yet, so there is no map; is the camera on?")
            return int(work(self._scene))

        return self._worker.call(call)


def main(args: list[str] | None = None) -> int:
    """Entry point of ``ros2 run fourd_ros scene_reconstruction``."""
    return run(SceneReconstructionNode, args)


if __name__ == "__main__":
    sys.exit(main())
