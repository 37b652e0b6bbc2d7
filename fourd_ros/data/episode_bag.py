"""An episode as a bag, with the topics of the live simulator and the truth about the objects."""

import re
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Literal

import numpy as np
from numpy.typing import NDArray

from fourd_ros.data.bags import BagWriter
from fourd_ros.data.episode import Episode, EpisodeView
from fourd_ros.errors import InvalidEpisode
from fourd_ros.geometry.transforms import compose, invert, to_quaternion
from fourd_ros.robot.description import FIXED, Joint, RobotDescription
from fourd_ros.robot.kinematics import Kinematics

FloatArray = NDArray[np.float64]
DepthEncoding = Literal["16UC1", "32FC1"]

COMMAND_TOPIC = "/arm_controller/joint_trajectory"
OBJECTS_TOPIC = "/ground_truth/objects"
_MILLIMETRES = 1000.0
_BETWEEN_TASKS, _BETWEEN_INSTRUCTIONS = "+", "; "
_TRUTH = {"true": True, "false": False}


@dataclass(frozen=True, kw_only=True)
class BagOptions:
    """How an episode becomes a bag.

    Args:
        depth_encoding: 16UC1 is millimetres, the usual one; 32FC1 is metres, exact and large.
        chunk: seconds of motion in each command message.
        chunk_period: seconds from one command message to the next, each replacing the one before.
        compression: of the bag's chunks.
        overwrite: replace an existing bag.
    """

    depth_encoding: DepthEncoding = "16UC1"
    chunk: float = 4.0
    chunk_period: float = 1.0
    compression: Literal["zstd", ""] = "zstd"
    overwrite: bool = False


def write_bag(
    episode: Episode,
    path: Path | str,
    *,
    robot: RobotDescription | None = None,
    options: BagOptions = BagOptions(),
    custom_data: Mapping[str, str] | None = None,
) -> None:
    """Write `episode` as a rosbag2 folder (MCAP), whole or not at all.

    Args:
        episode: what happened; its world frame is the root link of the robot.
        path: folder to create.
        robot: whose joints moved; by default that of the episode's own description.
        options: how.
        custom_data: added to the metadata of the bag, beside seed, tasks, policy and success.

    Raises:
        InvalidBag: `path` exists already, or cannot be written.
        InvalidEpisode: the robot is not known, or has joints that the episode lacks.
    """
    robot = robot or _described(episode)
    with BagWriter(
        path,
        compression=options.compression,
        overwrite=options.overwrite,
        custom_data={**_facts(episode), **(custom_data or {})},
    ) as bag:
        _EpisodeWriter(bag, episode, robot, options).write()


def _facts(episode: Episode) -> dict[str, str]:
    return {
        "seed": "" if episode.seed is None else str(episode.seed),
        "tasks": _BETWEEN_TASKS.join(episode.tasks),
        "instructions": _BETWEEN_INSTRUCTIONS.join(episode.instructions),
        "policy": episode.policy,
        "success": "" if episode.success is None else str(episode.success).lower(),
    }


def read_facts(custom_data: Mapping[str, str]) -> dict[str, Any]:
    """Fields of an `Episode` that `write_bag` put into the metadata of a bag; those that are not there are left out."""
    found = {name: text for name, text in custom_data.items() if text}
    facts: dict[str, Any] = {}
    if re.fullmatch(r"-?\d{1,18}", found.get("seed", "")):
        facts["seed"] = int(found["seed"])
    if "tasks" in found:
        facts["tasks"] = tuple(found["tasks"].split(_BETWEEN_TASKS))
    if "instructions" in found:
        facts["instructions"] = tuple(found["instructions"].split(_BETWEEN_INSTRUCTIONS))
    if "policy" in found:
        facts["policy"] = found["policy"]
    if found.get("success") in _TRUTH:
        facts["success"] = _TRUTH[found["success"]]
    return facts


class _EpisodeWriter:
    """Turns the frames of one episode into messages, in order of time."""

    def __init__(self, bag: BagWriter, episode: Episode, robot: RobotDescription, options: BagOptions) -> None:
        self._bag, self._episode, self._robot, self._options = bag, episode, robot, options
        kinematics = Kinematics(robot)
        self._root = kinematics.root
        self._link_poses = kinematics.link_poses(_in_order(episode, kinematics.joint_names))
        self._stamps = [episode.start_ns + round(float(time) * 1e9) for time in episode.times]

    def write(self) -> None:
        self._write_still()
        chunks = dict(self._chunks())
        for index, stamp in enumerate(self._stamps):
            self._put("/clock", "rosgraph_msgs/msg/Clock", stamp, clock=self._time(stamp))
            if index in chunks:
                self._write_command(index, chunks[index])
            self._write_robot(index)
            for name, view in self._episode.views.items():
                self._write_view(name, view, index)
            if self._episode.object_names:
                self._write_objects(index)

    def _write_still(self) -> None:
        first = self._stamps[0]
        self._put("/robot_description", "std_msgs/msg/String", first, latched=True, data=self._robot.text)
        transforms = [
            self._transform(joint.parent, joint.child, first, joint.T_parent_joint)
            for joint in self._robot.joints
            if joint.kind == FIXED
        ]
        transforms += [
            self._transform(view.mounted_on or self._root, _optical_frame(name), first, view.T_mount_camera)
            for name, view in self._episode.views.items()
        ]
        self._put("/tf_static", "tf2_msgs/msg/TFMessage", first, latched=True, transforms=transforms)

    def _write_robot(self, index: int) -> None:
        stamp, episode = self._stamps[index], self._episode
        self._put(
            "/joint_states",
            "sensor_msgs/msg/JointState",
            stamp,
            header=self._header(stamp, ""),
            name=list(episode.joint_names),
            position=episode.measured[index],
            velocity=episode.velocities[index] if np.isfinite(episode.velocities[index]).all() else np.zeros(0),
            effort=np.zeros(0),
        )
        transforms = [
            self._transform(joint.parent, joint.child, stamp, self._relative(joint, index))
            for joint in self._robot.joints
            if joint.kind != FIXED
        ]
        self._put("/tf", "tf2_msgs/msg/TFMessage", stamp, transforms=transforms)

    def _write_view(self, name: str, view: EpisodeView, index: int) -> None:
        stamp = self._stamps[index]
        header = self._header(stamp, _optical_frame(name))
        self._put(f"/{name}/camera_info", "sensor_msgs/msg/CameraInfo", stamp, **self._calibration(view, header))
        self._put_image(f"/{name}/image", header, stamp, "rgb8", view.rgb[index])
        if view.depth is None:
            return
        depth = view.depth[index]
        in_millimetres = self._options.depth_encoding == "16UC1"
        pixels = _to_millimetres(depth) if in_millimetres else depth
        self._put_image(f"/{name}/depth", header, stamp, self._options.depth_encoding, pixels)

    def _write_command(self, index: int, end: int) -> None:
        """The commanded motion from frame `index` to frame `end`, as it was known at frame `index`."""
        stamp, episode = self._stamps[index], self._episode
        joints = np.flatnonzero(np.isfinite(episode.commanded[index]))
        if not len(joints):
            return
        commanded = episode.commanded[index : end + 1, joints]
        unknown = ~np.isfinite(commanded).all(axis=1)
        known = int(unknown.argmax()) if unknown.any() else len(commanded)
        points = [
            self._new(
                "trajectory_msgs/msg/JointTrajectoryPoint",
                positions=episode.commanded[later, joints],
                velocities=np.zeros(0),
                accelerations=np.zeros(0),
                effort=np.zeros(0),
                time_from_start=self._duration(float(episode.times[later] - episode.times[index])),
            )
            for later in range(index, index + known)
        ]
        self._put(
            COMMAND_TOPIC,
            "trajectory_msgs/msg/JointTrajectory",
            stamp,
            header=self._header(stamp, ""),
            joint_names=[episode.joint_names[joint] for joint in joints],
            points=points,
        )

    def _write_objects(self, index: int) -> None:
        stamp, episode = self._stamps[index], self._episode
        objects = [
            self._scene_object(stamp, number, episode.object_poses[index, number])
            for number in range(len(episode.object_names))
        ]
        self._put(
            OBJECTS_TOPIC,
            "fourd_msgs/msg/SceneObjectArray",
            stamp,
            header=self._header(stamp, self._root),
            objects=objects,
        )

    def _scene_object(self, stamp: int, number: int, pose: FloatArray) -> Any:
        episode = self._episode
        position, rotation = to_quaternion(pose)
        unknown = np.zeros(36)
        geometry = "geometry_msgs/msg/"
        zero = self._vector(np.zeros(3))
        return self._new(
            "fourd_msgs/msg/SceneObject",
            header=self._header(stamp, self._root),
            id=episode.object_names[number],
            labels=[episode.object_labels[number]],
            scores=np.ones(1, np.float32),
            pose=self._new(
                f"{geometry}PoseWithCovariance",
                pose=self._new(
                    f"{geometry}Pose",
                    position=self._new(f"{geometry}Point", **_xyz(position)),
                    orientation=self._new(f"{geometry}Quaternion", **_xyz(rotation)),
                ),
                covariance=unknown,
            ),
            twist=self._new(
                f"{geometry}TwistWithCovariance",
                twist=self._new(f"{geometry}Twist", linear=zero, angular=zero),
                covariance=unknown,
            ),
            size=self._vector(episode.object_sizes[number]),
            dynamic=bool(np.ptp(episode.object_poses[:, number, :3, 3], axis=0).max() > 1e-3),
            confidence=1.0,
            last_seen=self._time(stamp),
            points=self._empty_cloud(stamp),
            mesh=self._new("shape_msgs/msg/Mesh", triangles=[], vertices=[]),
        )

    def _chunks(self) -> Iterator[tuple[int, int]]:
        """First and last frame of every command message."""
        last = len(self._stamps) - 1
        every = max(1, round(self._options.chunk_period * self._episode.rate))
        length = max(1, round(self._options.chunk * self._episode.rate))
        for index in range(0, last, every):
            yield index, min(index + length, last)

    def _relative(self, joint: Joint, index: int) -> FloatArray:
        return compose(invert(self._link_poses[joint.parent][index]), self._link_poses[joint.child][index])

    def _transform(self, parent: str, child: str, stamp: int, T: FloatArray) -> Any:
        position, rotation = to_quaternion(T)
        return self._new(
            "geometry_msgs/msg/TransformStamped",
            header=self._header(stamp, parent),
            child_frame_id=child,
            transform=self._new(
                "geometry_msgs/msg/Transform",
                translation=self._vector(position),
                rotation=self._new("geometry_msgs/msg/Quaternion", **_xyz(rotation)),
            ),
        )

    def _put_image(self, topic: str, header: Any, stamp: int, encoding: str, pixels: NDArray[Any]) -> None:
        self._put(
            topic,
            "sensor_msgs/msg/Image",
            stamp,
            header=header,
            height=pixels.shape[0],
            width=pixels.shape[1],
            encoding=encoding,
            is_bigendian=0,
            step=pixels[0].nbytes,
            data=np.ascontiguousarray(pixels).reshape(-1).view(np.uint8),
        )

    def _calibration(self, view: EpisodeView, header: Any) -> dict[str, Any]:
        camera = view.camera
        region = self._new(
            "sensor_msgs/msg/RegionOfInterest", x_offset=0, y_offset=0, height=0, width=0, do_rectify=False
        )
        return {
            "header": header,
            "height": camera.height,
            "width": camera.width,
            "distortion_model": camera.distortion_model,
            "d": camera.distortion if len(camera.distortion) else np.zeros(5),
            "k": camera.K.reshape(9),
            "r": np.eye(3).reshape(9),
            "p": np.hstack([camera.K, np.zeros((3, 1))]).reshape(12),
            "binning_x": 0,
            "binning_y": 0,
            "roi": region,
        }

    def _empty_cloud(self, stamp: int) -> Any:
        return self._new(
            "sensor_msgs/msg/PointCloud2",
            header=self._header(stamp, self._root),
            height=1,
            width=0,
            fields=[],
            is_bigendian=False,
            point_step=0,
            row_step=0,
            data=np.zeros(0, np.uint8),
            is_dense=True,
        )

    def _header(self, stamp: int, frame: str) -> Any:
        return self._new("std_msgs/msg/Header", stamp=self._time(stamp), frame_id=frame)

    def _time(self, stamp: int) -> Any:
        return self._new("builtin_interfaces/msg/Time", sec=stamp // 10**9, nanosec=stamp % 10**9)

    def _duration(self, seconds: float) -> Any:
        nanoseconds = round(seconds * 1e9)
        return self._new("builtin_interfaces/msg/Duration", sec=nanoseconds // 10**9, nanosec=nanoseconds % 10**9)

    def _vector(self, values: FloatArray) -> Any:
        return self._new("geometry_msgs/msg/Vector3", **_xyz(values))

    def _new(self, typename: str, **fields: Any) -> Any:
        return self._bag.types[typename](**fields)

    def _put(self, topic: str, typename: str, stamp: int, *, latched: bool = False, **fields: Any) -> None:
        self._bag.write(topic, typename, self._new(typename, **fields), stamp, latched=latched)


def _described(episode: Episode) -> RobotDescription:
    if not episode.robot_description:
        raise InvalidEpisode(f"episode '{episode.name}' has no robot description; say whose joints moved with robot=")
    return RobotDescription.from_urdf(episode.robot_description)


def _in_order(episode: Episode, joint_names: tuple[str, ...]) -> FloatArray:
    """Measured positions in the robot's own order, shape [T, J]."""
    missing = set(joint_names) - set(episode.joint_names)
    if missing:
        raise InvalidEpisode(f"episode '{episode.name}' lacks the robot's joints {sorted(missing)}")
    columns = [episode.joint_names.index(name) for name in joint_names]
    return episode.measured[:, columns]


def _optical_frame(camera: str) -> str:
    return f"{camera}_optical_frame"


def _to_millimetres(depth: NDArray[np.float32]) -> NDArray[np.uint16]:
    """Depth [m] as 16UC1; 0 where unknown or too far to be told."""
    millimetres = np.rint(depth * _MILLIMETRES)
    known = (millimetres > 0) & (millimetres <= np.iinfo(np.uint16).max)
    return np.where(known, millimetres, 0).astype(np.uint16)


def _xyz(values: FloatArray) -> dict[str, float]:
    """Three or four numbers as the fields of a point, vector or quaternion."""
    return {name: float(value) for name, value in zip("xyzw", values, strict=False)}
