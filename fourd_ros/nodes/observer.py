"""From camera, joint, TF and description topics to an observation of one instant."""

import threading
import time
from collections import Counter, deque
from collections.abc import Callable, Collection, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from fourd_ros.bridge.cameras import camera_from_info
from fourd_ros.bridge.images import check_image, depth_to_metres, image_to_rgb
from fourd_ros.bridge.joint_history import MAX_JOINTS, JointHistory
from fourd_ros.bridge.joints import joint_positions
from fourd_ros.bridge.sync import ApproximateSynchronizer
from fourd_ros.bridge.tf import TransformBuffer
from fourd_ros.bridge.times import readable, stamp_to_ns
from fourd_ros.errors import (
    FourdError,
    InvalidCamera,
    MissingCamera,
    NoObservation,
    TransformUnavailable,
    UnknownJoints,
    UnknownObservation,
)
from fourd_ros.geometry.pointmap import points_from_depth
from fourd_ros.records import FloatArray, Observation, PinholeCamera, Pixels, View
from fourd_ros.robot.model import RobotModel
from fourd_ros.world_model.base import Checkpoint

Depth = NDArray[np.float32]
Completion = Callable[[Pixels, Depth], Depth]
"""Colour [H, W, 3] and depth [H, W] [m] with holes (NaN) -> depth with fewer of them."""

PATIENCE = 5
"""Images that may come before the first camera_info of their camera."""

RETRY_PERIOD = 0.005
"""While an input is on its way, look again after this [s]."""


@dataclass(frozen=True, kw_only=True)
class ObserverLimits:
    """What the observer takes.

    Args:
        sync_slop: images of one instant differ by less than this [s].
        history: instants remembered, so that a question can name one.
        max_pixels: larger images are refused.
        max_joint_age: joint positions older than this against the images are not used [s].
    """

    sync_slop: float = 0.02
    history: int = 10
    max_pixels: int = 4096 * 4096
    max_joint_age: float = 0.5


class Observer:
    """Holds the newest inputs as messages; decodes them only when somebody asks.

    Every ``add_*`` checks its message and raises a typed error for a bad one, which changes nothing.

    Args:
        cameras: names of the views.
        use_depth: wait for a depth image beside every colour image.
        transforms: the TF buffer.
        limits: sizes, ages and histories.
        complete: fills the holes of every depth image that is decoded, None to leave them.
    """

    def __init__(
        self,
        *,
        cameras: Sequence[str],
        use_depth: bool,
        transforms: TransformBuffer,
        limits: ObserverLimits,
        complete: Completion | None = None,
    ) -> None:
        self.cameras = tuple(cameras)
        self.transforms = transforms
        self.limits = limits
        self._depth = use_depth
        self._complete = complete
        self._infos: dict[str, tuple[PinholeCamera, str]] = {}
        self._joints = JointHistory()
        self._strange: set[str] = set()
        self._uncalibrated: Counter[str] = Counter()
        self._instants: deque[tuple[int, Mapping[str, Any]]] = deque(maxlen=limits.history)
        self._lock = threading.Lock()
        kinds = ("image", "depth") if use_depth else ("image",)
        self._synchronizer = ApproximateSynchronizer(
            [f"{camera}/{kind}" for camera in self.cameras for kind in kinds],
            slop=limits.sync_slop,
            queue_size=limits.history,
            callback=self._add_instant,
        )

    def add_info(self, camera: str, msg: Any) -> None:
        """Take a ``CameraInfo``.

        Raises:
            InvalidCamera: unusable intrinsics, or no frame name.
        """
        calibration = camera_from_info(msg)
        if not msg.header.frame_id:
            raise InvalidCamera(f"camera_info of '{camera}' names no frame; its header.frame_id must be in TF")
        with self._lock:
            self._infos[camera] = (calibration, str(msg.header.frame_id))

    def add_image(self, camera: str, kind: str, msg: Any) -> None:
        """Take an ``Image`` (`kind` is ``image`` or ``depth``).

        Raises:
            InvalidImage: wrong encoding, step or size.
            ImageTooLarge: more pixels than allowed.
            MissingCamera: its ``camera_info`` has never arrived.
        """
        check_image(msg, max_pixels=self.limits.max_pixels)
        with self._lock:
            known = camera in self._infos
            self._uncalibrated[camera] += not known
        self._synchronizer.add(f"{camera}/{kind}", stamp_to_ns(msg.header.stamp), msg)
        if not known and self._uncalibrated[camera] > PATIENCE:
            raise MissingCamera(f"images of '{camera}' arrive without any {camera}/camera_info; is it published?")

    def add_joints(self, msg: Any, *, known: Collection[str] | None = None) -> None:
        """Take a ``JointState`` (it may hold a part of the joints, and more than the robot's).

        Args:
            msg: positions by name, in any order.
            known: the joints of the robot, None while it is not known.

        Raises:
            InvalidJoints: duplicate names, lengths that differ, positions that are not finite.
            UnknownJoints: names that the robot does not have, the first time they come; its own joints were taken.
        """
        stamp_ns = stamp_to_ns(msg.header.stamp)
        positions = joint_positions(msg)
        strange = set() if known is None else set(positions) - set(known)
        with self._lock:
            self._joints.add(stamp_ns, {name: at for name, at in positions.items() if name not in strange})
            new = strange - self._strange
            if len(self._strange) < MAX_JOINTS:
                self._strange |= new
        if new:
            raise UnknownJoints(f"joint_states names {sorted(new)[:8]}, which the robot description does not have")

    def clear(self) -> None:
        """Forget what was seen (the clock jumped); calibrations stay."""
        with self._lock:
            self._instants.clear()
            self._joints.clear()
        self._synchronizer.clear()
        self.transforms.clear()

    def stamps(self) -> tuple[int, ...]:
        """Instants of which all images are here, oldest first [ns]."""
        with self._lock:
            return tuple(stamp for stamp, _ in self._instants)

    def observe(
        self,
        robot: RobotModel | None,
        *,
        frame: str = "",
        stamp_ns: int = 0,
        timeout: float = 0.0,
        checkpoint: Checkpoint | None = None,
    ) -> Observation:
        """The observation at `stamp_ns`, or the newest complete one.

        A named instant is answered from joint samples on both sides of it, if they come in time: so the answer
        does not depend on what happened to arrive first.

        Args:
            robot: whose root is the world when `frame` is empty; None where there is none, and no joints are looked at.
            frame: name of the world frame.
            stamp_ns: 0 for the newest instant that is complete.
            timeout: wait this long for images, joints or transforms that are still on their way [s].
            checkpoint: called between looks; what it raises ends the waiting.

        Raises:
            NoObservation: images or joints are missing, or that instant is not remembered.
            MissingCamera: an image came, its calibration did not.
            TransformUnavailable: the cameras are not connected to the world at that time.
            InvalidImage: depth and calibration, or depth and colour, have different sizes.
        """
        give_up = time.monotonic() + timeout
        world = frame or (robot.kinematics.root if robot else "")
        while True:
            late = time.monotonic() >= give_up
            try:
                settled = stamp_ns != 0 and not late
                return self._observe_once(robot, world, stamp_ns, settled=settled)
            except (NoObservation, MissingCamera, TransformUnavailable):
                if late:
                    raise
            if checkpoint is not None:
                checkpoint(0.0)
            time.sleep(RETRY_PERIOD)

    def _add_instant(self, stamp_ns: int, images: Mapping[str, Any]) -> None:
        with self._lock:
            self._instants.append((stamp_ns, images))

    def _observe_once(self, robot: RobotModel | None, frame: str, stamp_ns: int, *, settled: bool) -> Observation:
        problem: FourdError | None = None
        for stamp, images in self._choose(stamp_ns):
            try:
                return self._decode(robot, frame, stamp, images, settled=settled)
            except (NoObservation, TransformUnavailable) as error:
                problem = problem or error
        assert problem is not None
        raise problem

    def _choose(self, stamp_ns: int) -> list[tuple[int, Mapping[str, Any]]]:
        with self._lock:
            instants = list(self._instants)
        if not instants:
            raise NoObservation(f"no complete set of images yet; missing: {self._missing()}")
        if stamp_ns == 0:
            return instants[::-1]
        nearest = min(instants, key=lambda instant: abs(instant[0] - stamp_ns))
        if abs(nearest[0] - stamp_ns) > self.limits.sync_slop * 1e9:
            raise UnknownObservation(
                f"no images at {readable(stamp_ns)}; remembered: "
                f"{readable(instants[0][0])} to {readable(instants[-1][0])} ({len(instants)} instants)"
            )
        return [nearest]

    def _missing(self) -> str:
        kinds = ("image", "depth") if self._depth else ("image",)
        waiting = [f"{camera}/{kind}" for camera in self.cameras for kind in kinds]
        return ", ".join(topic for topic in waiting if not self._synchronizer.seen(topic)) or "matching stamps"

    def _decode(
        self, robot: RobotModel | None, frame: str, stamp_ns: int, images: Mapping[str, Any], *, settled: bool
    ) -> Observation:
        positions = {} if robot is None else self._positions_at(robot, stamp_ns, settled=settled)
        root = frame if robot is None else robot.kinematics.root
        return Observation(
            stamp_ns=stamp_ns,
            frame=frame,
            views={camera: self._view(robot, camera, frame, stamp_ns, images) for camera in self.cameras},
            joint_positions=positions,
            T_world_robot=np.eye(4) if frame == root else self.transforms.lookup(frame, root, stamp_ns),
        )

    def _view(
        self, robot: RobotModel | None, camera: str, frame: str, stamp_ns: int, images: Mapping[str, Any]
    ) -> View:
        with self._lock:
            known = self._infos.get(camera)
        if known is None:
            raise MissingCamera(f"no {camera}/camera_info has arrived; views cannot be placed without calibration")
        calibration, optical_frame = known
        rgb = image_to_rgb(images[f"{camera}/image"], max_pixels=self.limits.max_pixels)
        if self._depth:
            depth = depth_to_metres(images[f"{camera}/depth"], max_pixels=self.limits.max_pixels)
            if self._complete is not None:
                depth = self._complete(rgb, depth)
            points = points_from_depth(depth, calibration)
        else:
            points = np.full((calibration.height, calibration.width, 3), np.nan, np.float32)
        return View(
            camera=calibration,
            T_world_camera=self._camera_pose(frame, optical_frame, stamp_ns),
            rgb=rgb,
            points=points,
            mounted_on="" if robot is None else self._mount(robot, optical_frame),
        )

    def _camera_pose(self, frame: str, optical_frame: str, stamp_ns: int) -> FloatArray:
        return self.transforms.lookup(frame, optical_frame, stamp_ns)

    def _mount(self, robot: RobotModel, optical_frame: str) -> str:
        """The nearest robot link above a camera in the TF tree, if it can move."""
        return next((name for name in self.transforms.ancestors(optical_frame) if name in robot.moving_links), "")

    def _positions_at(self, robot: RobotModel, stamp_ns: int, *, settled: bool) -> dict[str, float]:
        """Measured positions of all actuated joints, linear between samples [rad | m].

        With `settled` no joint may have been heard last before `stamp_ns`.
        """
        names = robot.kinematics.joint_names
        with self._lock:
            sample = self._joints.at(names, stamp_ns, max_age=self.limits.max_joint_age, settled=settled)
        return dict(zip(names, sample.positions.tolist(), strict=True))
