"""Record demo/moving_objects: an RGB-D camera that flies around a table on which two of five things move.

    python tools/record_tabletop_bag.py demo/moving_objects

The bag holds what a real one would (compressed colour and depth, calibration, transforms), and where every thing truly
is as `/ground_truth/objects`. The true path of the camera is in `/tf`; the scene reconstruction takes its beginning
from there and nothing else.
"""

import argparse
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import cv2
import mujoco
import numpy as np
from fourd_msgs.msg import SceneObject, SceneObjectArray
from geometry_msgs.msg import Point, Quaternion, Vector3
from rclpy.serialization import serialize_message
from rosgraph_msgs.msg import Clock
from sensor_msgs.msg import CompressedImage
from tf2_msgs.msg import TFMessage
from tqdm import tqdm

from fourd_ros.bridge.cameras import camera_to_info
from fourd_ros.bridge.images import compress
from fourd_ros.bridge.tf import make_transform
from fourd_ros.bridge.times import make_header, ns_to_stamp
from fourd_ros.data.bag_writer import BagWriter
from fourd_ros.geometry.camera import PinholeCamera
from fourd_ros.geometry.transforms import from_parts, look_at, rotation_about, to_quaternion
from fourd_ros.records import FloatArray
from fourd_ros.simulation.rendering import Image, Renderer

START_NS = 1_700_000_000 * 1_000_000_000
RATE, SECONDS = 15.0, 5.0
WIDTH, HEIGHT, FOVY = 320, 240, 50.0
WORLD, CAMERA = "world", "camera"
THINGS = {
    "red_box": ((0.07, 0.05, 0.06), (0.0, 0.2), (0.9, 0.35, 0.3)),
    "green_box": ((0.05, 0.08, 0.08), (-0.28, -0.15), (0.4, 0.85, 0.4)),
    "blue_box": ((0.06, 0.06, 0.1), (0.3, -0.05), (0.4, 0.5, 0.95)),
    "white_box": ((0.1, 0.06, 0.04), (0.05, -0.28), (0.9, 0.9, 0.85)),
    "brown_box": ((0.05, 0.05, 0.05), (-0.3, 0.22), (0.7, 0.5, 0.35)),
}
"""Half its size [m], where it stands and its colour, by name."""

MOTIONS = {"red_box": (0.5, 3.0, (-0.02, -0.38), 0.9), "blue_box": (1.5, 4.0, (-0.18, 0.3), -0.7)}
"""When a thing begins and ends to move [s], where to from its place [m] and how far it turns [rad]."""


def main() -> int:
    """Write the bag."""
    parser = argparse.ArgumentParser(description=__doc__.partition("\n")[0])
    parser.add_argument("bag", type=Path, help="folder to write")
    parser.add_argument("--overwrite", action="store_true", help="replace it")
    args = parser.parse_args()
    with BagWriter(args.bag, overwrite=args.overwrite) as bag:
        for topic, message, stamp_ns in messages():
            package, name = type(message).__module__.partition(".")[0], type(message).__name__
            bag.write_raw(topic, f"{package}/msg/{name}", serialize_message(message), stamp_ns)
    print(f"{args.bag}: {bag.message_count} messages")
    return 0


@dataclass(frozen=True, kw_only=True)
class Instant:
    """What is there at one instant.

    Args:
        seconds: since the beginning.
        poses: of the things, by name, shape [4, 4] each.
        eye: of the camera's optical frame, shape [4, 4].
        image: what it sees.
    """

    seconds: float
    poses: dict[str, FloatArray]
    eye: FloatArray
    image: Image


def camera_of(width: int, height: int) -> PinholeCamera:
    """Calibration for a size of images."""
    focal = height / 2 / np.tan(np.deg2rad(FOVY) / 2)
    K = np.array([[focal, 0, (width - 1) / 2], [0, focal, (height - 1) / 2], [0, 0, 1.0]])
    return PinholeCamera(width=width, height=height, K=K)


def instants(*, width: int, height: int, rate: float) -> Iterator[Instant]:
    """All instants, at a rate [Hz] and a size of images."""
    model = build()
    data = mujoco.MjData(model)
    renderer = Renderer(model, part_ids=np.zeros(model.nbody, np.uint8), width=width, height=height)
    for number in tqdm(range(int(rate * SECONDS)), desc="record", unit="instant"):
        seconds = number / rate
        poses = {name: pose_of(name, seconds) for name in THINGS}
        for name, pose in poses.items():
            joint = model.joint(name).qposadr[0]
            position, turn = to_quaternion(pose)
            data.qpos[joint : joint + 7] = *position, *np.roll(turn, 1)
        eye = camera_pose(seconds)
        model.cam_pos[0] = eye[:3, 3]
        model.cam_quat[0] = np.roll(to_quaternion(eye @ np.diag([1.0, -1, -1, 1]))[1], 1)
        mujoco.mj_forward(model, data)
        yield Instant(seconds=seconds, poses=poses, eye=eye, image=renderer.render(data, 0))
    renderer.close()


def messages() -> Iterator[tuple[str, Any, int]]:
    """Topic, message and stamp of all that is recorded."""
    camera = camera_of(WIDTH, HEIGHT)
    for now in instants(width=WIDTH, height=HEIGHT, rate=RATE):
        stamp_ns = START_NS + round(now.seconds * 1e9)
        header = make_header(stamp_ns, f"{CAMERA}_optical_frame")
        yield "/clock", Clock(clock=ns_to_stamp(stamp_ns)), stamp_ns
        yield "/tf", TFMessage(transforms=[make_transform(WORLD, header.frame_id, stamp_ns, now.eye)]), stamp_ns
        yield f"/{CAMERA}/camera_info", camera_to_info(camera, header), stamp_ns
        yield f"/{CAMERA}/image/compressed", compress(now.image.rgb, "jpeg", header=header), stamp_ns
        yield f"/{CAMERA}/depth/compressedDepth", compressed_depth(now.image.depth, header), stamp_ns
        yield "/ground_truth/objects", truth(now.poses, make_header(stamp_ns, WORLD)), stamp_ns


def build() -> mujoco.MjModel:
    """A table in a room with things on it; everything has texture."""
    spec = mujoco.MjSpec()
    spec.stat.extent = 1.0
    spec.visual.map.znear, spec.visual.map.zfar = 0.02, 12.0
    spec.visual.headlight.ambient, spec.visual.headlight.diffuse = [0.5] * 3, [0.4] * 3
    world = spec.worldbody
    plane = mujoco.mjtGeom.mjGEOM_PLANE
    speckle(spec, "table", (0.62, 0.5, 0.38), kind=mujoco.mjtTexture.mjTEXTURE_2D, repeat=3)
    speckle(spec, "wall", (0.6, 0.62, 0.66), kind=mujoco.mjtTexture.mjTEXTURE_2D, repeat=3)
    world.add_geom(type=plane, size=[1.2, 1.2, 0.1], pos=[0, 0, 0], material="table")
    wall = np.roll(to_quaternion(from_parts(rotation_about((0.0, 1.0, 0.0), np.pi / 2), (0, 0, 0)))[1], 1)
    world.add_geom(type=plane, size=[1.5, 1.5, 0.1], pos=[-1.0, 0, 0], quat=wall, material="wall")
    for name, (half, _, colour) in THINGS.items():
        speckle(spec, name, colour, kind=mujoco.mjtTexture.mjTEXTURE_CUBE, repeat=1)
        body = world.add_body(name=name)
        body.add_freejoint(name=name)
        body.add_geom(type=mujoco.mjtGeom.mjGEOM_BOX, size=half, material=name, mass=0.1)
    world.add_camera(name=CAMERA, fovy=FOVY)
    return spec.compile()


def speckle(
    spec: mujoco.MjSpec, name: str, colour: tuple[float, float, float], *, kind: mujoco.mjtTexture, repeat: int
) -> None:
    """A material with soft blotches, as cloth and cardboard have."""
    size = 128
    rng = np.random.default_rng(sum(name.encode()))
    faces = 6 if kind == mujoco.mjtTexture.mjTEXTURE_CUBE else 1
    shade = np.zeros((size * faces, size))
    for scale, strength in ((4, 0.3), (8, 0.25), (16, 0.2)):
        coarse = rng.uniform(-1, 1, (scale * faces, scale)).astype(np.float32)
        shade += strength * cv2.resize(coarse, (size, size * faces), interpolation=cv2.INTER_CUBIC)
    pixels = np.clip(255 * np.array(colour) * (1 + shade[..., None]), 0, 255).astype(np.uint8)
    spec.add_texture(name=name, type=kind, width=size, height=size * faces, nchannel=3, data=pixels.ravel().tolist())
    material = spec.add_material(name=name, texrepeat=[repeat, repeat], texuniform=repeat > 1)
    material.textures[mujoco.mjtTextureRole.mjTEXROLE_RGB] = name


def pose_of(name: str, seconds: float) -> FloatArray:
    """Of a thing in the world, shape [4, 4]."""
    half, place, _ = THINGS[name]
    begin, end, way, turn = MOTIONS.get(name, (0.0, 1.0, (0.0, 0.0), 0.0))
    share = np.clip((seconds - begin) / (end - begin), 0, 1)
    share = share * share * (3 - 2 * share)
    at = np.array([place[0] + share * way[0], place[1] + share * way[1], half[2]])
    return from_parts(rotation_about((0.0, 0.0, 1.0), share * turn), at)


def camera_pose(seconds: float) -> FloatArray:
    """Optical frame in the world, shape [4, 4]."""
    angle = 0.5 * np.sin(2 * np.pi * seconds / 8.0) - 0.2
    eye = (1.15 * np.cos(angle), 1.15 * np.sin(angle), 0.75 + 0.1 * np.sin(1.3 * seconds))
    return look_at(eye, (0.0, 0.02 * np.sin(2.1 * seconds), 0.05))


def compressed_depth(depth: FloatArray, header: Any) -> CompressedImage:
    """Millimetres as `compressed_depth_image_transport` packs them."""
    millimetres = np.nan_to_num(depth * 1000, nan=0.0).round().astype(np.uint16)
    _, file = cv2.imencode(".png", millimetres, [cv2.IMWRITE_PNG_COMPRESSION, 9])
    return CompressedImage(header=header, format="16UC1; compressedDepth png", data=bytes(12) + file.tobytes())


def truth(poses: dict[str, FloatArray], header: Any) -> SceneObjectArray:
    """Where everything is."""
    objects = []
    for name, pose in poses.items():
        (x, y, z), (qx, qy, qz, qw) = (part.tolist() for part in to_quaternion(pose))
        thing = SceneObject(header=header, id=name, labels=[name], scores=[1.0], confidence=1.0, last_seen=header.stamp)
        thing.pose.pose.position = Point(x=x, y=y, z=z)
        thing.pose.pose.orientation = Quaternion(x=qx, y=qy, z=qz, w=qw)
        thing.size = Vector3(**dict(zip("xyz", (2 * part for part in THINGS[name][0]), strict=True)))
        thing.dynamic = name in MOTIONS
        objects.append(thing)
    return SceneObjectArray(header=header, objects=objects)


if __name__ == "__main__":
    raise SystemExit(main())
