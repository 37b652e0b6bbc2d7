"""Record demo/objects: a camera at rest before generated things, of which one moves, with masks and depth.

    python tools/record_objects_bag.py demo/objects

The scene is of the split `test`, which no training has seen, and a fifth of the size of its cube. The bag holds
compressed colour and depth, numbers of objects as masks, calibration, where the camera stands (`/tf_static`), and the
true middle and size of every thing as `/ground_truth/objects`.
"""

import argparse
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import cv2
import numpy as np
from fourd_msgs.msg import SceneObject, SceneObjectArray
from geometry_msgs.msg import Point, Vector3
from rclpy.serialization import serialize_message
from rosgraph_msgs.msg import Clock
from sensor_msgs.msg import CompressedImage
from tf2_msgs.msg import TFMessage

from fourd_ros.bridge.cameras import camera_to_info
from fourd_ros.bridge.images import array_to_image, compress
from fourd_ros.bridge.tf import make_transform
from fourd_ros.bridge.times import make_header, ns_to_stamp
from fourd_ros.data.bag_writer import BagWriter
from fourd_ros.data.compositional_shards import CAMERA_DISTANCE
from fourd_ros.evaluation.compositional import film_of
from fourd_ros.geometry.transforms import apply, look_at
from fourd_ros.simulation.compositional_scenes import CompositionalOptions, film_scene

START_NS = 1_700_000_000 * 1_000_000_000
PERIOD_NS = 200_000_000
SEED, SPLIT = 27_500_005, "test"
FRAMES, SIZE = 12, 224
SCALE = 0.2
"""Metres in a unit of the cube."""

WORLD, CAMERA = "world", "camera"
T_WORLD_CAMERA = look_at((CAMERA_DISTANCE * SCALE, 0.0, 0.4), (0.0, 0.0, 0.4))


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


def messages() -> Iterator[tuple[str, Any, int]]:
    """Topic, message and stamp of all that is recorded."""
    options = CompositionalOptions(size=SIZE, frames=FRAMES, points=2048, queries=8)
    facts, arrays = film_scene(SEED, SPLIT, options)
    film = film_of(arrays, [solid.moves for solid in facts.solids])
    assert film.camera is not None and film.depth is not None
    optical = f"{CAMERA}_optical_frame"
    yield "/tf_static", TFMessage(transforms=[make_transform(WORLD, optical, START_NS, T_WORLD_CAMERA)]), START_NS
    for frame in range(FRAMES):
        stamp_ns = START_NS + frame * PERIOD_NS
        header = make_header(stamp_ns, optical)
        yield "/clock", Clock(clock=ns_to_stamp(stamp_ns)), stamp_ns
        yield f"/{CAMERA}/camera_info", camera_to_info(film.camera, header), stamp_ns
        yield f"/{CAMERA}/image/compressed", compress(film.rgb[frame], "jpeg", header=header), stamp_ns
        yield f"/{CAMERA}/depth/compressedDepth", compressed_depth(SCALE * film.depth[frame], header), stamp_ns
        yield f"/{CAMERA}/masks", array_to_image(np.array(arrays.numbers[frame]), "mono8", header), stamp_ns
        points = [arrays.points(frame, solid)[:, :3] for solid in range(len(facts.solids))]
        moves = [solid.moves for solid in facts.solids]
        names = [solid.kind for solid in facts.solids]
        yield "/ground_truth/objects", truth(points, moves, names, make_header(stamp_ns, WORLD)), stamp_ns


def compressed_depth(depth: np.ndarray, header: Any) -> CompressedImage:
    """Millimetres as `compressed_depth_image_transport` packs them."""
    millimetres = np.nan_to_num(depth * 1000, nan=0.0).round().astype(np.uint16)
    _, file = cv2.imencode(".png", millimetres, [cv2.IMWRITE_PNG_COMPRESSION, 9])
    return CompressedImage(header=header, format="16UC1; compressedDepth png", data=bytes(12) + file.tobytes())


def truth(points: list[np.ndarray], moves: list[bool], names: list[str], header: Any) -> SceneObjectArray:
    """Middle and extent of all things along the axes of the world, from points on their surfaces in the cube."""
    objects = []
    for number, (surface, moving, name) in enumerate(zip(points, moves, names, strict=True), start=1):
        there = apply(T_WORLD_CAMERA, SCALE * ((surface * (1, -1, -1)) + (0, 0, CAMERA_DISTANCE)))
        low, high = there.min(axis=0), there.max(axis=0)
        thing = SceneObject(header=header, id=f"object_{number}", labels=[name], scores=[1.0], confidence=1.0)
        thing.last_seen, thing.dynamic = header.stamp, moving
        thing.pose.pose.position = Point(**_xyz((low + high) / 2))
        thing.size = Vector3(**_xyz(high - low))
        objects.append(thing)
    return SceneObjectArray(header=header, objects=objects)


def _xyz(vector: np.ndarray) -> dict[str, float]:
    return dict(zip("xyz", vector.astype(float).tolist(), strict=True))


if __name__ == "__main__":
    raise SystemExit(main())
