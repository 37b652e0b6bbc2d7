"""Which topics of a bag a world model would be fed with, and what is missing."""

from collections.abc import Iterable, Mapping
from dataclasses import dataclass

from fourd_ros.data.bag_reader import Topic

COMMAND_TOPIC = "arm_controller/joint_trajectory"

IMAGE = "sensor_msgs/msg/Image"
COMPRESSED = "sensor_msgs/msg/CompressedImage"
CAMERA_INFO = "sensor_msgs/msg/CameraInfo"
JOINT_STATE = "sensor_msgs/msg/JointState"
STRING = "std_msgs/msg/String"
TF = "tf2_msgs/msg/TFMessage"
TRAJECTORY = "trajectory_msgs/msg/JointTrajectory"

# Imagined topics that an earlier run wrote into the bag are no cameras.
_IMAGINED = "/imagined/"
_IMAGE_ENDINGS = {"/image": IMAGE, "/image/compressed": COMPRESSED}
DEPTH_ENDINGS = {"/depth": IMAGE, "/depth/compressedDepth": COMPRESSED}

# How drivers call the images that have the calibration of the camera_info beside them.
_DRIVER_IMAGES = ("/image_raw", "/image_color")
_DRIVER_DEPTH = {"aligned_depth_to_color": "color", "depth_registered": "rgb"}
_TRANSPORTS = {"": IMAGE, "/compressed": COMPRESSED, "/compressedDepth": COMPRESSED}


@dataclass(frozen=True, kw_only=True)
class CameraTopics:
    """Topics of one camera.

    Args:
        name: namespace without the leading slash.
        image: colour images.
        camera_info: calibration, empty when there is none.
        depth: depth images, empty when there are none.
        compressed: images and depth are ``CompressedImage``.
    """

    name: str
    image: str
    camera_info: str
    depth: str
    compressed: bool


@dataclass(frozen=True, kw_only=True)
class WorldModelInputs:
    """What of a bag goes into a world model.

    Args:
        cameras: by name, those with a calibration first.
        joint_states: measured joints, empty when there are none (as the following ones).
        robot_description: URDF.
        tf: moving transforms.
        tf_static: latched transforms.
        command: commanded trajectories.
        missing: what a world model needs and the bag lacks, in words.
        unused_images: image topics that are not named as a camera's, with the name they would need.
    """

    cameras: tuple[CameraTopics, ...]
    joint_states: str
    robot_description: str
    tf: str
    tf_static: str
    command: str
    missing: tuple[str, ...]
    unused_images: Mapping[str, str]

    def topics(self) -> list[str]:
        """Names of everything a world model subscribes to."""
        of_cameras = [(camera.image, camera.camera_info, camera.depth) for camera in self.cameras]
        fixed = (self.joint_states, self.robot_description, self.tf, self.tf_static)
        return [name for group in (*of_cameras, fixed) for name in group if name]


def find_inputs(topics: Mapping[str, Topic], *, command_topic: str = COMMAND_TOPIC) -> WorldModelInputs:
    """Look for cameras (``<camera>/image``, ``camera_info``, ``depth``), joints, transforms and commands.

    Args:
        topics: those of a `BagReader`.
        command_topic: last part of the name of the commanded trajectories.
    """
    cameras = sorted(_cameras(topics), key=lambda camera: (not camera.camera_info, camera.name))
    inputs = {
        "joint_states": _ending(topics, "joint_states", JOINT_STATE),
        "robot_description": _ending(topics, "robot_description", STRING),
        "tf": _ending(topics, "tf", TF),
        "tf_static": _ending(topics, "tf_static", TF),
    }
    used = {name for camera in cameras for name in (camera.image, camera.depth)}
    return WorldModelInputs(
        cameras=tuple(cameras),
        command=_ending(topics, command_topic.lstrip("/"), TRAJECTORY),
        missing=tuple(_missing(cameras, inputs)),
        unused_images=_unused_images(topics, used),
        **inputs,
    )


def usual_names(topics: Mapping[str, Topic]) -> dict[str, str]:
    """What the images of common drivers would be called as a camera's, by the names they have.

    ``image_raw`` and ``image_color`` become ``image``; depth that a driver registered to colour becomes the colour
    camera's ``depth``. Rectified images are left out: the K and D of their camera_info are not theirs.
    """
    names: dict[str, str] = {}
    for name, topic in topics.items():
        new = _usual_name(name, topic.typename)
        if new and new not in topics and new not in names.values():
            names[name] = new
    return names


def _usual_name(name: str, typename: str) -> str:
    """What an image topic would be called as a camera's, empty where that is not known."""
    for transport, kind in _TRANSPORTS.items():
        for ending in _DRIVER_IMAGES:
            if typename != kind or not name.endswith(ending + transport):
                continue
            base = name.removesuffix(ending + transport)
            parent, _, folder = base.rpartition("/")
            if folder in _DRIVER_DEPTH:
                return f"{parent}/{_DRIVER_DEPTH[folder]}/depth{transport}"
            return "" if "depth" in folder else f"{base}/image{transport}"
    return ""


def _cameras(topics: Mapping[str, Topic]) -> Iterable[CameraTopics]:
    for name, topic in topics.items():
        ending = next((e for e, kind in _IMAGE_ENDINGS.items() if name.endswith(e) and topic.typename == kind), "")
        if not ending or _IMAGINED in name:
            continue
        base = name.removesuffix(ending)
        compressed = topic.typename == COMPRESSED
        if compressed and f"{base}/image" in topics:
            continue
        depth = [base + e for e, kind in DEPTH_ENDINGS.items() if (kind == COMPRESSED) == compressed]
        yield CameraTopics(
            name=base.lstrip("/"),
            image=name,
            camera_info=_present(topics, f"{base}/camera_info", CAMERA_INFO),
            depth=_present(topics, depth[0], COMPRESSED if compressed else IMAGE),
            compressed=compressed,
        )


def _present(topics: Mapping[str, Topic], name: str, typename: str) -> str:
    return name if name in topics and topics[name].typename == typename and topics[name].count else ""


def _ending(topics: Mapping[str, Topic], ending: str, typename: str) -> str:
    """The shortest name with that last part; imagined topics are passed over."""
    found = [
        name
        for name, topic in topics.items()
        if topic.typename == typename and topic.count and f"/{name}".endswith(f"/{ending}") and _IMAGINED not in name
    ]
    return min(found, key=len, default="")


def _missing(cameras: list[CameraTopics], inputs: Mapping[str, str]) -> Iterable[str]:
    if not cameras:
        yield "a camera: <camera>/image with <camera>/camera_info (rename topics with --remap)"
    for camera in cameras:
        if not camera.camera_info:
            yield f"the calibration of camera '{camera.name}': {camera.name}/camera_info"
        if not camera.depth:
            yield f"the depth of camera '{camera.name}': {camera.name}/depth"
    yield from (name for name in ("joint_states", "robot_description") if not inputs[name])
    if not inputs["tf"] and not inputs["tf_static"]:
        yield "transforms: tf or tf_static"


def _unused_images(topics: Mapping[str, Topic], used: set[str]) -> dict[str, str]:
    names = {}
    for name, topic in topics.items():
        if topic.typename in (IMAGE, COMPRESSED) and name not in used and _IMAGINED not in name:
            base = name.rsplit("/", 1)[0]
            names[name] = f"{base}/{'depth' if 'depth' in name else 'image'}"
    return names
