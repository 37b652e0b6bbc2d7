"""Bags as real robots record them: cameras and joints with rates, delays and gaps of their own."""

from collections.abc import Callable, Iterable, Sequence
from pathlib import Path
from typing import Any

import numpy as np

from fourd_ros.bridge.episode_options import EpisodeOptions
from fourd_ros.bridge.episode_reader import Dropped, read_episodes
from fourd_ros.data.bags import BagWriter
from fourd_ros.data.episode import Episode
from fourd_ros.data.message_types import MessageTypes
from fourd_ros.geometry.transforms import from_rpy, invert, to_quaternion
from fourd_ros.robot.description import RobotDescription
from fourd_ros.robot.kinematics import Kinematics

NS = 1_000_000_000
START_NS = 1_700_000_000 * NS
WIDTH, HEIGHT = 8, 6
JOINTS = ("a", "b")
SPEEDS = np.array([0.5, 0.2])
T_TOOL_WRIST = from_rpy((0.1, 0.0, 0.05), (0.2, 0.3, -0.4))
T_BASE_FRONT = from_rpy((1.0, 0.2, 0.5), (-1.9, 0.0, 1.4))
URDF = """<robot name="two_joints">
  <link name="base"/><link name="arm"><visual><geometry>
    <mesh filename="package://not_installed_here/arm.stl"/></geometry></visual></link><link name="tool"/>
  <joint name="a" type="revolute"><parent link="base"/><child link="arm"/><origin xyz="0 0 0.5"/>
    <axis xyz="0 0 1"/><limit lower="-9" upper="9" velocity="9" effort="9"/></joint>
  <joint name="b" type="revolute"><parent link="arm"/><child link="tool"/><origin xyz="0.5 0 0"/>
    <axis xyz="0 1 0"/><limit lower="-9" upper="9" velocity="9" effort="9"/></joint>
</robot>"""
KINEMATICS = Kinematics(RobotDescription.from_urdf(URDF, visuals=False))
TYPES = MessageTypes()

IMAGE, COMPRESSED, INFO = (f"sensor_msgs/msg/{name}" for name in ("Image", "CompressedImage", "CameraInfo"))


def posture(seconds: float | np.ndarray) -> np.ndarray:
    """Where the joints are [rad], shape [*, 2]; they turn evenly, so that every interpolation is exact."""
    return np.multiply.outer(seconds, SPEEDS) + 0.1


def links(seconds: float | np.ndarray) -> dict[str, np.ndarray]:
    """Poses of the links in the base, shape [*, 4, 4]."""
    return KINEMATICS.link_poses(posture(seconds))


def stamp(seconds: float) -> int:
    """Seconds after the start as a stamp [ns]."""
    return START_NS + round(seconds * NS)


def new(typename: str, **fields: Any) -> Any:
    return TYPES[typename](**fields)


def header(seconds: float, frame: str = "") -> Any:
    sec, nanosec = divmod(stamp(seconds), NS)
    time = new("builtin_interfaces/msg/Time", sec=sec, nanosec=nanosec)
    return new("std_msgs/msg/Header", stamp=time, frame_id=frame)


def transform(seconds: float, parent: str, child: str, T: np.ndarray) -> Any:
    (x, y, z), (qx, qy, qz, qw) = (part.tolist() for part in to_quaternion(T))
    return new(
        "geometry_msgs/msg/TransformStamped",
        header=header(seconds, parent),
        child_frame_id=child,
        transform=new(
            "geometry_msgs/msg/Transform",
            translation=new("geometry_msgs/msg/Vector3", x=x, y=y, z=z),
            rotation=new("geometry_msgs/msg/Quaternion", x=qx, y=qy, z=qz, w=qw),
        ),
    )


def times(rate: float, start: float, stop: float) -> np.ndarray:
    """Instants at a rate from `start` up to, not including, `stop` [s]."""
    return np.arange(round(start * rate), np.ceil(stop * rate - 1e-9)) / rate


class HardwareBag:
    """Collects messages and writes them in the order of recording."""

    def __init__(self) -> None:
        self.messages: list[tuple[int, str, str, Any]] = []

    @classmethod
    def of_robot(cls, stop: float) -> "HardwareBag":
        """A bag of a robot without any trouble, and without cameras."""
        bag = cls()
        bag.robot(stop)
        return bag

    def put(self, topic: str, typename: str, message: Any, recorded: float) -> None:
        self.messages.append((stamp(recorded), topic, typename, message))

    def text(self, topic: str, text: str, recorded: float = 0.0) -> None:
        self.put(topic, "std_msgs/msg/String", new("std_msgs/msg/String", data=text), recorded)

    def joints(
        self,
        stop: float,
        *,
        names: Sequence[str] = JOINTS,
        topic: str = "/joint_states",
        rate: float = 50.0,
        start: float = 0.0,
        delay: float = 0.002,
        velocities: bool = True,
    ) -> None:
        """Measured joints; `velocities` or not."""
        columns = [JOINTS.index(name) for name in names]
        for t in times(rate, start, stop):
            message = new(
                "sensor_msgs/msg/JointState",
                header=header(t),
                name=list(names),
                position=posture(float(t))[columns],
                velocity=SPEEDS[columns] if velocities else np.zeros(0),
                effort=np.zeros(0),
            )
            self.put(topic, "sensor_msgs/msg/JointState", message, t + delay)

    def transforms(self, stop: float, *, rate: float = 50.0, start: float = 0.0, delay: float = 0.002) -> None:
        """The robot's links on ``/tf``, given evenly in time."""
        for t in times(rate, start, stop):
            poses = links(float(t))
            found = [transform(t, "base", "arm", poses["arm"])]
            found.append(transform(t, "arm", "tool", invert(poses["arm"]) @ poses["tool"]))
            self.put("/tf", "tf2_msgs/msg/TFMessage", new("tf2_msgs/msg/TFMessage", transforms=found), t + delay)

    def mounts(self, *, recorded: float = 0.0, cameras: Iterable[str] = ("front", "wrist")) -> None:
        """The cameras on ``/tf_static``."""
        places = {"front": ("base", T_BASE_FRONT), "wrist": ("tool", T_TOOL_WRIST)}
        found = [transform(recorded, places[name][0], f"{name}_optical", places[name][1]) for name in cameras]
        self.put("/tf_static", "tf2_msgs/msg/TFMessage", new("tf2_msgs/msg/TFMessage", transforms=found), recorded)

    def camera(
        self,
        name: str,
        stop: float,
        *,
        rate: float = 10.0,
        start: float = 0.0,
        delay: float = 0.03,
        topic: str = "",
        info: bool = True,
        edit: Callable[[Any, int], Any] = lambda message, index: message,
    ) -> None:
        """A colour camera; every pixel of image `index` is ``index % 256``."""
        base = topic or f"/{name}/image"
        for index, t in enumerate(times(rate, start, stop)):
            message = edit(picture(float(t), name, index), index)
            kind = COMPRESSED if hasattr(message, "format") else IMAGE
            self.put(base, kind, message, t + delay)
            if info:
                self.put(f"{base.rsplit('/', 1)[0]}/camera_info", INFO, calibration(float(t), name), t + delay)

    def describe(self) -> None:
        """What is latched: the robot's description, and where the cameras are mounted."""
        self.text("/robot_description", URDF)
        self.mounts()

    def robot(self, stop: float) -> None:
        """Description, mounts, joints and transforms without any trouble."""
        self.describe()
        self.joints(stop)
        self.transforms(stop)

    def write(self, path: Path) -> Path:
        """Write the bag, the messages in the order of recording."""
        with BagWriter(path, compression="") as bag:
            for recorded_ns, topic, typename, message in sorted(self.messages, key=lambda entry: entry[0]):
                bag.write(topic, typename, message, recorded_ns)
        return path


def picture(seconds: float, camera: str, index: int, *, encoding: str = "rgb8", size: tuple[int, int] = (8, 6)) -> Any:
    width, height = size
    return new(
        IMAGE,
        header=header(seconds, f"{camera}_optical"),
        height=height,
        width=width,
        encoding=encoding,
        is_bigendian=0,
        step=3 * width,
        data=np.full(3 * width * height, index % 256, np.uint8),
    )


def depth_picture(seconds: float, frame: str, metres: np.ndarray) -> Any:
    return new(
        IMAGE,
        header=header(seconds, frame),
        height=metres.shape[0],
        width=metres.shape[1],
        encoding="32FC1",
        is_bigendian=0,
        step=4 * metres.shape[1],
        data=np.ascontiguousarray(metres, np.float32).reshape(-1).view(np.uint8),
    )


def calibration(seconds: float, camera: str, *, focal: float = 10.0) -> Any:
    K = np.array([focal, 0.0, 3.5, 0.0, focal, 2.5, 0.0, 0.0, 1.0])
    region = new("sensor_msgs/msg/RegionOfInterest", x_offset=0, y_offset=0, height=0, width=0, do_rectify=False)
    return new(
        INFO,
        header=header(seconds, f"{camera}_optical"),
        height=HEIGHT,
        width=WIDTH,
        distortion_model="plumb_bob",
        d=np.zeros(5),
        k=K,
        r=np.eye(3).reshape(9),
        p=np.zeros(12),
        binning_x=0,
        binning_y=0,
        roi=region,
    )


def read(bag: Path, **options: Any) -> tuple[list[Episode], dict[str, Dropped]]:
    """Episodes, and what was dropped by its kind."""
    found = list(read_episodes(bag, EpisodeOptions(**options)))
    dropped = [entry for entry in found if isinstance(entry, Dropped)]
    return [entry for entry in found if isinstance(entry, Episode)], {entry.kind: entry for entry in dropped}


def seconds(episode: Episode) -> np.ndarray:
    """Times of the frames since the start of the bag [s]."""
    return (episode.start_ns - START_NS) / NS + episode.times


def numbers(episode: Episode, camera: str) -> list[int]:
    """Which image of the camera each frame shows."""
    pixels = episode.views[camera].rgb
    assert (pixels == pixels[:, :1, :1, :1]).all()
    return pixels[:, 0, 0, 0].tolist()


def assert_motion(episode: Episode) -> None:
    """Joints are those of the frames' stamps."""
    assert np.allclose(episode.measured, posture(seconds(episode)), atol=1e-9)


def assert_poses(episode: Episode, image_times: Iterable[float] | None = None) -> None:
    """Cameras are where they were at the stamps of their own images."""
    at = seconds(episode) if image_times is None else np.asarray(list(image_times))
    if "front" in episode.views:
        view = episode.views["front"]
        assert view.mounted_on == "" and np.allclose(view.T_world_camera, T_BASE_FRONT, atol=1e-12)
        assert np.allclose(view.T_mount_camera, T_BASE_FRONT, atol=1e-12)
    if "wrist" in episode.views:
        view = episode.views["wrist"]
        assert view.mounted_on == "tool" and np.allclose(view.T_mount_camera, T_TOOL_WRIST, atol=1e-12)
        assert np.allclose(view.T_world_camera, links(at)["tool"] @ T_TOOL_WRIST, atol=1e-5)
