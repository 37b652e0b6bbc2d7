"""`Rollout` records <-> ``fourd_msgs``: a summary without pixels, and frames within a byte budget."""

from collections.abc import Mapping
from dataclasses import dataclass
from enum import IntFlag
from typing import Any

import numpy as np
from numpy.typing import NDArray

from fourd_ros.bridge.cameras import camera_from_info, camera_to_info
from fourd_ros.bridge.clouds import (
    MAX_CLOUD_POINTS,
    POINT,
    ROBOT_LABEL,
    UNKNOWN_LABEL,
    pack_points,
    packed_cloud,
    read_cloud,
)
from fourd_ros.bridge.images import MAX_PIXELS, array_to_image, compress, decompress, image_to_array
from fourd_ros.bridge.joints import joint_positions, make_joint_state
from fourd_ros.bridge.times import (
    duration_to_seconds,
    make_header,
    ns_to_stamp,
    seconds_to_duration,
    seconds_to_ns,
    stamp_to_ns,
)
from fourd_ros.bridge.trajectories import trajectory_to_message
from fourd_ros.errors import TooLarge, UnknownRollout
from fourd_ros.geometry.camera import PinholeCamera
from fourd_ros.geometry.transforms import from_quaternion, to_quaternion
from fourd_ros.geometry.voxel import reduce
from fourd_ros.records import Rollout, RolloutView

IMAGINED_PREFIX = "imagined/"
"""Of frames that exist only in the imagination."""

CROWD = 8
"""At most this many candidates for each point of the budget are sorted into voxels; the rest is left out evenly."""


class FrameFields(IntFlag):
    """Bulk data of a frame; the values are those of ``fourd_msgs/srv/GetRolloutFrames``."""

    NONE = 0
    IMAGE = 1
    POINTS = 2
    OBSERVED = 4
    ALL = 7


@dataclass(frozen=True, kw_only=True)
class FrameContents:
    """What a ``fourd_msgs/RolloutFrame`` says, as arrays.

    Args:
        rollout_id: of the rollout it belongs to.
        index: which of its instants.
        stamp_ns: source stamp + horizon [ns].
        frame: name of the fixed frame.
        time: from the observation [s].
        view: name of the camera.
        camera: its calibration.
        T_world_camera: its pose in the fixed frame, shape [4, 4].
        joints: predicted positions by name [rad | m].
        rgb: colour, shape [H, W, 3], uint8; None unless it was asked for.
        cloud: ``points`` [N, 3] in the fixed frame [m], ``rgb``, ``sigma`` [m] and ``label``; None unless asked for.
        observed: False where no camera could have seen, shape [H, W]; None unless asked for.
    """

    rollout_id: str
    index: int
    stamp_ns: int
    frame: str
    time: float
    view: str
    camera: PinholeCamera
    T_world_camera: NDArray[np.float64]
    joints: Mapping[str, float]
    rgb: NDArray[np.uint8] | None
    cloud: Mapping[str, NDArray[Any]] | None
    observed: NDArray[np.bool_] | None


def rollout_to_message(rollout: Rollout, rollout_id: str, *, expires_ns: int) -> Any:
    """``fourd_msgs/Rollout``: everything but the pixels.

    Args:
        rollout: the imagined future.
        rollout_id: under which its frames can be fetched.
        expires_ns: until when [ns].
    """
    from fourd_msgs.msg import Rollout as RolloutMessage

    header = make_header(rollout.stamp_ns, rollout.frame)
    return RolloutMessage(
        header=header,
        rollout_id=rollout_id,
        candidate=rollout.candidate,
        sample=rollout.sample,
        backend=rollout.backend,
        model_sha256=rollout.model_sha256,
        seed=rollout.seed,
        times_from_start=[seconds_to_duration(time) for time in rollout.times],
        views=list(rollout.views),
        joints=trajectory_to_message(rollout.joints, header),
        trust=float(rollout.trust),
        flags=int(rollout.flags),
        compute_time=float(rollout.compute_time),
        expires=ns_to_stamp(expires_ns),
    )


def make_frame(
    rollout: Rollout,
    rollout_id: str,
    index: int,
    view: str,
    *,
    fields: FrameFields = FrameFields.ALL,
    voxel_size: float = 0.0,
    max_bytes: int = 0,
    image_format: str = "jpeg",
) -> Any:
    """``fourd_msgs/RolloutFrame``: one instant of a rollout in one camera.

    Args:
        rollout: the imagined future.
        rollout_id: its name.
        index: which of its instants.
        view: which of its cameras.
        fields: bulk data to send.
        voxel_size: thin the cloud to one point a voxel of this edge [m], 0 for none.
        max_bytes: bound on the bulk data; the cloud is thinned to what image and mask leave. 0 for none.
        image_format: ``jpeg`` or ``png``.

    Raises:
        UnknownRollout: no such index or view.
        TooLarge: image and mask alone exceed `max_bytes`.
    """
    from fourd_msgs.msg import RolloutFrame

    video = _view(rollout, index, view)
    time = float(rollout.times[index])
    stamp_ns = rollout.stamp_ns + seconds_to_ns(time)
    header = make_header(stamp_ns, rollout.frame)
    optical = make_header(stamp_ns, IMAGINED_PREFIX + view)
    frame = RolloutFrame(
        header=header,
        rollout_id=rollout_id,
        index=index,
        time_from_start=seconds_to_duration(time),
        view=view,
        camera_info=camera_to_info(video.camera, optical),
        camera_pose=_pose(video.T_world_camera[index]),
        joints=make_joint_state(header, rollout.joints.joint_names, rollout.joints.positions[index]),
    )
    if fields & FrameFields.IMAGE:
        frame.image = compress(video.rgb[index], image_format, header=optical)
    if fields & FrameFields.OBSERVED:
        frame.observed = array_to_image(video.observed_mask[index], "mono8", optical)
    if fields & FrameFields.POINTS:
        max_points = _remaining_points(frame, video, max_bytes)
        frame.points = packed_cloud(header, _cloud(video, index, voxel_size, max_points))
    return frame


def read_frame(msg: Any, *, max_points: int = MAX_CLOUD_POINTS, max_pixels: int = MAX_PIXELS) -> FrameContents:
    """The contents of a ``fourd_msgs/RolloutFrame``.

    Raises:
        InvalidInput: the frame contradicts itself, or exceeds the bounds.
    """
    pose = msg.camera_pose
    return FrameContents(
        rollout_id=str(msg.rollout_id),
        index=int(msg.index),
        stamp_ns=stamp_to_ns(msg.header.stamp),
        frame=str(msg.header.frame_id),
        time=duration_to_seconds(msg.time_from_start),
        view=str(msg.view),
        camera=camera_from_info(msg.camera_info),
        T_world_camera=from_quaternion(
            (pose.position.x, pose.position.y, pose.position.z),
            (pose.orientation.x, pose.orientation.y, pose.orientation.z, pose.orientation.w),
        ),
        joints=joint_positions(msg.joints),
        rgb=decompress(msg.image, max_pixels=max_pixels) if len(msg.image.data) else None,
        cloud=read_cloud(msg.points, max_points=max_points) if len(msg.points.fields) else None,
        observed=image_to_array(msg.observed, max_pixels=max_pixels) > 0 if len(msg.observed.data) else None,
    )


def _view(rollout: Rollout, index: int, view: str) -> RolloutView:
    if not 0 <= index < len(rollout.times):
        raise UnknownRollout(f"frame {index} of a rollout of {len(rollout.times)} frames")
    if view not in rollout.views:
        raise UnknownRollout(f"view '{view}' is not in the rollout; it has {sorted(rollout.views)}")
    return rollout.views[view]


def _pose(T: NDArray[np.float64]) -> Any:
    from geometry_msgs.msg import Point, Pose, Quaternion

    (x, y, z), (qx, qy, qz, qw) = (part.tolist() for part in to_quaternion(T))
    return Pose(position=Point(x=x, y=y, z=z), orientation=Quaternion(x=qx, y=qy, z=qz, w=qw))


def _remaining_points(frame: Any, video: RolloutView, max_bytes: int) -> int:
    """How many points may join what is in the frame already."""
    if not max_bytes:
        return video.camera.width * video.camera.height
    used = len(frame.image.data) + len(frame.observed.data)
    if used > max_bytes:
        raise TooLarge(f"image and mask take {used} bytes, max_bytes is {max_bytes}; ask for fewer fields")
    return (max_bytes - used) // POINT.itemsize


def _cloud(video: RolloutView, index: int, voxel_size: float, max_points: int) -> NDArray[np.void]:
    """`POINT` records of the known points, in the fixed frame, thinned before anything is computed for the rest."""
    points = video.points[index].reshape(-1, 3)
    known = np.flatnonzero(np.isfinite(points[:, 2]))
    known = _spread(known, max_points * CROWD if voxel_size > 0 else max_points)
    world = _transformed(video.T_world_camera[index], points.take(known, axis=0))
    if voxel_size > 0:
        chosen = reduce(world, max_points=max_points, voxel_size=voxel_size)
        known, world = known[chosen], world[chosen]
    return pack_points(
        world,
        rgb=video.rgb[index].reshape(-1, 3).take(known, axis=0),
        sigma=video.sigma[index].reshape(-1).take(known),
        label=_labels(video, index, known),
    )


def _transformed(T: NDArray[np.float64], points: NDArray[np.float32]) -> NDArray[np.float32]:
    """Points [N, 3] in the parent frame; column by column, since short rows are slow to add to."""
    moved: NDArray[np.float32] = points @ T[:3, :3].T.astype(np.float32)
    for axis in range(3):
        moved[:, axis] += np.float32(T[axis, 3])
    return moved


def _spread(indices: NDArray[np.intp], count: int) -> NDArray[np.intp]:
    """At most `count` of the indices, evenly spread."""
    return indices if len(indices) <= count else indices[np.arange(count) * len(indices) // max(1, count)]


def _labels(video: RolloutView, index: int, known: NDArray[np.intp]) -> NDArray[np.uint32]:
    if video.labels is None:
        labels = np.full(len(known), UNKNOWN_LABEL, np.uint32)
    else:
        labels = video.labels[index].reshape(-1).take(known)
    labels[video.robot_mask[index].reshape(-1).take(known)] = ROBOT_LABEL
    return labels
