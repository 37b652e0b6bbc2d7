"""Frames of episodes: everything that was known at one instant of a bag."""

from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass
from functools import partial
from typing import Any

import numpy as np
from numpy.typing import NDArray

from fourd_ros.bridge.camera_poses import CameraPose
from fourd_ros.bridge.episode_inputs import CameraInput, EpisodeInputs
from fourd_ros.bridge.episode_options import EpisodeOptions
from fourd_ros.bridge.episode_streams import Calibration, EpisodeStreams, Label
from fourd_ros.bridge.frame_grid import FrameGrid
from fourd_ros.bridge.images import depth_to_metres, image_to_rgb
from fourd_ros.bridge.joint_history import JointSample
from fourd_ros.bridge.message_stream import Stamped
from fourd_ros.bridge.times import NS_PER_S, readable, seconds_to_ns
from fourd_ros.data.dropped import DropTally
from fourd_ros.errors import (
    InvalidImage,
    InvalidInput,
    MissingCamera,
    NoObservation,
    TransformUnavailable,
)
from fourd_ros.geometry.camera import PinholeCamera
from fourd_ros.geometry.transforms import from_quaternion

FloatArray = NDArray[np.float64]

FRAMES = "frames"
SLOP_SHARE = 0.75
"""Of the time between frames, or between the images of a slower camera: how far an image may be from its frame."""

REGISTERED = 1e-6
"""Depth is registered to colour when the poses of both frames differ by less [m, and elements of the rotation]."""


@dataclass(frozen=True, kw_only=True)
class FrameView:
    """What one camera saw.

    Args:
        camera: calibration of the pictures as they are here.
        rgb: shape [H, W, 3], uint8.
        depth: [m], NaN where unknown, shape [H, W], float32; None without a depth camera.
        pose: at the stamp of its own image.
    """

    camera: PinholeCamera
    rgb: NDArray[np.uint8]
    depth: NDArray[np.float32] | None
    pose: CameraPose

    @property
    def nbytes(self) -> int:
        """Bytes of its pictures."""
        return self.rgb.nbytes + (0 if self.depth is None else self.depth.nbytes)


@dataclass(frozen=True, kw_only=True)
class SeenObject:
    """The truth about an object: what it is, its extents [m], shape [3], and ``T_world_object``, shape [4, 4]."""

    label: str
    size: FloatArray
    pose: FloatArray


@dataclass(frozen=True, kw_only=True)
class Frame:
    """One instant.

    Args:
        stamp_ns: of the image of the reference camera [ns].
        label: of the topic that splits episodes, None without one.
        instruction: in words, empty if there is none.
        joints: measured.
        commanded: set points [rad | m], NaN where there are none, shape [J].
        actions: shape [A].
        views: by camera.
        objects: by name, None where nobody knows.
    """

    stamp_ns: int
    label: Label | None
    instruction: str
    joints: JointSample
    commanded: FloatArray
    actions: FloatArray
    views: Mapping[str, FrameView]
    objects: Mapping[str, SeenObject] | None

    @property
    def nbytes(self) -> int:
        """Bytes of its pictures."""
        return sum(view.nbytes for view in self.views.values())


class FrameMaker:
    """Makes the frames of a bag as soon as everything that belongs to them was told.

    Args:
        inputs: topics.
        streams: what was told.
        options: rate, slop, size and patience.
        tally: told of frames that lack something.
    """

    def __init__(
        self, inputs: EpisodeInputs, streams: EpisodeStreams, options: EpisodeOptions, tally: DropTally
    ) -> None:
        self._inputs, self._streams, self._options, self._tally = inputs, streams, options, tally
        self._period_ns = round(NS_PER_S / inputs.rate)
        self._patience_ns = seconds_to_ns(options.patience)
        self._grid = FrameGrid(self._period_ns)
        self._slop_ns = {
            camera.name: seconds_to_ns(options.slop or SLOP_SHARE * max(1 / inputs.rate, camera.period))
            for camera in inputs.cameras
        }
        self._decoded: dict[str, tuple[int, NDArray[Any]]] = {}
        self._waiting: Stamped | None = None
        self._trimmed_ns = 0

    def frames(self, recorded_ns: int, *, final: bool = False) -> Iterator[Frame]:
        """The frames that are complete.

        Args:
            recorded_ns: how far the bag was read [ns].
            final: nothing more will come.
        """
        while (image := self._waiting or self._next(recorded_ns, final=final)) is not None:
            late = final or recorded_ns > image.recorded_ns + self._patience_ns
            if not late and not self._complete(image.stamp_ns):
                self._waiting = image
                return
            self._waiting = None
            frame = self._make(image)
            self._streams.forget(image.stamp_ns - max(self._slop_ns.values()))
            if frame is not None:
                yield frame
        if recorded_ns > self._trimmed_ns + self._patience_ns:
            self._trimmed_ns = recorded_ns
            self._streams.forget_recorded(recorded_ns - 2 * self._patience_ns)

    def restart(self) -> None:
        """The clock was set back."""
        self._grid.restart()
        self._decoded.clear()
        self._waiting = None

    def close(self) -> None:
        """Count the frames that the reference camera did not give until the end of the bag."""
        count, first_ns = self._grid.missed_until(self._streams.timeline.now_ns - self._period_ns)
        self._count_long(count, first_ns)

    def _next(self, recorded_ns: int, *, final: bool) -> Stamped | None:
        images = self._streams.streams[self._inputs.reference.image]
        oldest = images.oldest
        if oldest is None:
            return None
        first_ns = 0 if self._grid.begun else min(self._first_images())
        over = final or recorded_ns > oldest.recorded_ns + self._patience_ns
        choice = self._grid.choose(images, final=over)
        if choice is None:
            return None
        if first_ns:
            self._count_long((choice.image.stamp_ns - first_ns) // self._period_ns, first_ns)
        self._count_missing(choice.skipped, choice.skipped_from_ns)
        return choice.image

    def _first_images(self) -> Iterator[int]:
        for camera in self._inputs.cameras:
            oldest = self._streams.streams[camera.image].oldest
            if oldest is not None:
                yield oldest.stamp_ns

    def _count_long(self, count: int, first_ns: int) -> None:
        """Count frames at an end of the bag, where cameras need not begin and end together."""
        if count / self._inputs.rate > self._options.gap:
            self._count_missing(count, first_ns)

    def _count_missing(self, count: int, first_ns: int) -> None:
        name = self._inputs.reference.name
        if count:
            why = f"no image of camera '{name}' at {readable(first_ns)}"
            self._tally.add("missing_image", FRAMES, first_ns, why, count=count, about=name)

    def _complete(self, stamp_ns: int) -> bool:
        """Whether nothing that is still to come can change the frame."""
        inputs, streams = self._inputs, self._streams
        awaited = [stream for topic, stream in streams.streams.items() if topic != inputs.reference.image]
        if not all(stream.reaches(stamp_ns) for stream in awaited):
            return False
        return streams.joints.reaches(inputs.joint_names, stamp_ns) and all(
            self._placed(held.newest.frame, stamp_ns) for held in streams.calibrations.values() if held.newest
        )

    def _placed(self, frame: str, stamp_ns: int) -> bool:
        try:
            self._streams.poses.at(frame, stamp_ns, {})
        except TransformUnavailable:
            return False
        return True

    def _make(self, image: Stamped) -> Frame | None:
        stamp_ns, inputs, streams = image.stamp_ns, self._inputs, self._streams
        about = ""
        try:
            label = self._label(stamp_ns)
            joints = streams.joints.at(inputs.joint_names, stamp_ns, max_age=self._options.max_joint_age)
            actions = self._actions(stamp_ns)
            views = {}
            for camera in inputs.cameras:
                about = camera.name
                views[camera.name] = self._view(camera, image, joints)
        except (InvalidInput, NoObservation, TransformUnavailable) as error:
            self._tally.add(error.kind, FRAMES, stamp_ns, str(error), about=about)
            return None
        return Frame(
            stamp_ns=stamp_ns,
            label=label,
            instruction=self._options.instruction or streams.instructions.at(stamp_ns) or "",
            joints=joints,
            commanded=streams.commands.at(inputs.joint_names, stamp_ns),
            actions=actions,
            views=views,
            objects=self._objects(stamp_ns),
        )

    def _label(self, stamp_ns: int) -> Label | None:
        if not self._options.split_topic:
            return None
        label = self._streams.labels.at(stamp_ns)
        if label is None or label[1] is False or label[1] == "":
            raise _BetweenEpisodes(f"'{self._options.split_topic}' says {label[1]!r}" if label else "nothing said yet")
        return label

    def _actions(self, stamp_ns: int) -> FloatArray:
        rows = [np.zeros(0)]
        for topic, action in self._inputs.actions.items():
            row = action.at(stamp_ns)
            if row is None:
                raise NoObservation(f"no action on '{topic}' up to {readable(stamp_ns)}")
            rows.append(row)
        return np.concatenate(rows)

    def _view(self, camera: CameraInput, reference: Stamped, joints: JointSample) -> FrameView:
        image = reference
        if camera.name != self._inputs.reference.name:
            image = self._nearest(camera.image, reference.stamp_ns, self._slop_ns[camera.name])
        calibration = self._streams.calibrations[camera.name].at(image.stamp_ns)
        if calibration is None:
            raise MissingCamera(f"no usable calibration of camera '{camera.name}' on '{camera.camera_info}'")
        rgb = self._pixels(camera.image, image, image_to_rgb)
        if rgb.shape[:2] != (calibration.camera.height, calibration.camera.width):
            raise InvalidImage(
                f"an image of camera '{camera.name}' has {rgb.shape[1]} x {rgb.shape[0]} pixels, "
                f"its calibration is for {calibration.camera.width} x {calibration.camera.height}"
            )
        positions = dict(zip(self._inputs.joint_names, joints.positions.tolist(), strict=True))
        pose = self._streams.poses.at(calibration.frame, image.stamp_ns, positions)
        depth = self._depth(camera, calibration, image.stamp_ns) if camera.depth else None
        view = FrameView(camera=calibration.camera, rgb=rgb, depth=depth, pose=pose)
        return view if self._options.size is None else _resized(view, *self._options.size)

    def _nearest(self, topic: str, stamp_ns: int, slop_ns: int) -> Stamped:
        found = self._streams.streams[topic].nearest(stamp_ns)
        if found is None or abs(found.stamp_ns - stamp_ns) > slop_ns:
            raise _MissingImage(f"no image on '{topic}' within {slop_ns * 1e-9:.3f} s of {readable(stamp_ns)}")
        return found

    def _pixels(self, topic: str, image: Stamped, decode: Callable[[Any], NDArray[Any]]) -> NDArray[Any]:
        """The pixels of a message; those of the last one are kept, a slow camera's serve several frames."""
        known = self._decoded.get(topic)
        if known is None or known[0] != image.stamp_ns:
            self._decoded[topic] = known = (image.stamp_ns, decode(self._streams.decoded(topic, image.data)))
        return known[1]

    def _metres(self, message: Any, *, colour: str, stamp_ns: int) -> NDArray[np.float32]:
        """Depth of a message that is registered to the optical frame `colour`."""
        own = str(message.header.frame_id)
        if own not in ("", colour):
            offset = self._streams.poses.between(colour, own, stamp_ns) - np.eye(4)
            if np.abs(offset).max() > REGISTERED:
                raise InvalidImage(f"depth is of frame '{own}'; needed: registered to colour, '{colour}'")
        return depth_to_metres(message)

    def _depth(self, camera: CameraInput, calibration: Calibration, stamp_ns: int) -> NDArray[np.float32]:
        """Depth of a colour image; all unknown where there is none."""
        shape = (calibration.camera.height, calibration.camera.width)
        try:
            image = self._nearest(camera.depth, stamp_ns, self._slop_ns[camera.name])
            decode = partial(self._metres, colour=calibration.frame, stamp_ns=image.stamp_ns)
            depth = self._pixels(camera.depth, image, decode)
            if depth.shape == shape:
                return depth
            raise InvalidImage(f"depth has {depth.shape[::-1]} pixels, its colour {shape[::-1]}")
        except (InvalidInput, TransformUnavailable) as error:
            self._tally.add(error.kind, camera.depth, stamp_ns, str(error))
            return np.full(shape, np.nan, np.float32)

    def _objects(self, stamp_ns: int) -> Mapping[str, SeenObject] | None:
        topic = self._inputs.objects
        if not topic:
            return None
        try:
            found = self._nearest(topic, stamp_ns, self._slop_ns[self._inputs.reference.name])
            message = self._streams.decoded(topic, found.data)
            T_world_source = self._streams.poses.between("", str(message.header.frame_id), found.stamp_ns)
        except (InvalidInput, TransformUnavailable) as error:
            self._tally.add(error.kind, topic, stamp_ns, str(error))
            return None
        return {str(entry.id): _seen(entry, T_world_source) for entry in message.objects}


class _BetweenEpisodes(InvalidInput):
    """No episode runs."""

    kind = "between_episodes"


class _MissingImage(InvalidInput):
    """No image near enough to the frame."""

    kind = "missing_image"


def _seen(entry: Any, T_world_source: FloatArray) -> SeenObject:
    pose = entry.pose.pose
    position = np.array([pose.position.x, pose.position.y, pose.position.z])
    turned = np.array([pose.orientation.x, pose.orientation.y, pose.orientation.z, pose.orientation.w])
    return SeenObject(
        label=str(entry.labels[0]) if len(entry.labels) else "",
        size=np.array([entry.size.x, entry.size.y, entry.size.z]),
        pose=T_world_source @ from_quaternion(position, turned),
    )


def _resized(view: FrameView, width: int, height: int) -> FrameView:
    import cv2

    rgb = cv2.resize(np.ascontiguousarray(view.rgb), (width, height), interpolation=cv2.INTER_AREA)
    depth = None
    if view.depth is not None:
        nearest = cv2.resize(view.depth, (width, height), interpolation=cv2.INTER_NEAREST_EXACT)
        depth = np.asarray(nearest, np.float32)
    return FrameView(
        camera=view.camera.scaled(width, height), rgb=np.asarray(rgb, np.uint8), depth=depth, pose=view.pose
    )
