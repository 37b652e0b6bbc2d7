"""Record demo/cabinet: one RGB-D camera before a generated cabinet whose drawer is pulled, with the truth beside it.

    python tools/record_cabinet_bag.py demo/cabinet

The cabinet is one of the split `test`, so no model here was trained on it. The bag holds what a real one would (colour,
depth, calibration, transforms), the pull as a `fourd_msgs/Drag` at its beginning, and as `cabinet/joint_states` how far
the drawer was open at each instant, which only the judge looks at.
"""

import argparse
import json
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import mujoco
import numpy as np
from fourd_msgs.msg import Drag
from geometry_msgs.msg import TransformStamped
from rclpy.serialization import serialize_message
from rosgraph_msgs.msg import Clock
from sensor_msgs.msg import JointState
from tf2_msgs.msg import TFMessage
from tqdm import tqdm

from fourd_ros.bridge.cameras import camera_to_info
from fourd_ros.bridge.images import array_to_image
from fourd_ros.bridge.joints import make_joint_state
from fourd_ros.bridge.part_motion import drag_message
from fourd_ros.bridge.tf import make_transform
from fourd_ros.bridge.times import make_header, ns_to_stamp
from fourd_ros.data.articulation import SLIDES
from fourd_ros.data.bag_writer import BagWriter
from fourd_ros.geometry.camera import PinholeCamera
from fourd_ros.geometry.transforms import look_at, to_quaternion
from fourd_ros.records import FloatArray
from fourd_ros.simulation.articulated import ArticulatedObject, articulated_seeds, extreme_corners, sample_articulated
from fourd_ros.simulation.articulated_model import build_spec
from fourd_ros.simulation.rendering import Renderer

START_NS = 1_700_000_000_000_000_000
RATE, STILL, PULL = 5.0, 0.6, 2.0
"""Instants a second; the drawer stands still before and after it is pulled [s]."""

SHARE = 0.7
"""Of its range that the drawer is opened."""

SCALE = 0.45
"""Of the cabinet: metres in half of its diagonal, about."""

WIDTH, HEIGHT, FOVY = 240, 180, 45.0
EYE, TARGET = (1.35, 0.35, 1.05), (0.0, 0.0, 0.32)
FLOOR_COLOUR = (0.55, 0.53, 0.5, 1.0)
WORLD, CAMERA = "world", "front"


def main() -> int:
    """Write the bag."""
    parser = argparse.ArgumentParser(description=__doc__.partition("\n")[0])
    parser.add_argument("bag", type=Path, help="folder to write")
    parser.add_argument("--overwrite", action="store_true", help="replace it")
    args = parser.parse_args()
    item, drawer = find_cabinet()
    stage = Stage(item, drawer)
    facts = {"object": item.name, "kind": item.kind, "joint": json.dumps(stage.joint), "amount": f"{stage.opened:.6f}"}
    with BagWriter(args.bag, overwrite=args.overwrite, custom_data=facts) as bag:
        for topic, message, stamp_ns in stage.messages():
            package, name = type(message).__module__.partition(".")[0], type(message).__name__
            bag.write_raw(topic, f"{package}/msg/{name}", serialize_message(message), stamp_ns)
    print(f"{args.bag}: {bag.message_count} messages of {item.kind} {item.name}, drawer opened {stage.opened:.3f} m")
    return 0


def find_cabinet() -> tuple[ArticulatedObject, int]:
    """The first held-out cabinet whose first part is a drawer, and its number."""
    for seed in articulated_seeds("test", seed=0, objects=200):
        item = sample_articulated(seed)
        if item.kind == "cabinet" and len(item.moving) > 1:
            for number, part in enumerate(item.moving):
                if part.hinge.type == SLIDES and part.hinge.upper > 0.3:
                    return item, number
    raise SystemExit("no cabinet with a drawer among the first 200 objects of the split test")


class Stage:
    """The cabinet on a floor before a camera."""

    def __init__(self, item: ArticulatedObject, drawer: int) -> None:
        hinge = item.moving[drawer].hinge
        low = float(extreme_corners(item)[:, 2].min())
        spec = build_spec(item, scale=SCALE, offset=(0.0, 0.0, -SCALE * low))
        spec.worldbody.add_geom(
            type=mujoco.mjtGeom.mjGEOM_PLANE, size=[3, 3, 0.1], rgba=FLOOR_COLOUR, pos=[0, 0, 0], contype=0
        )
        self._pose = look_at(EYE, TARGET)
        spec.worldbody.add_camera(
            name=CAMERA,
            pos=self._pose[:3, 3],
            quat=np.roll(to_quaternion(self._pose @ np.diag([1.0, -1, -1, 1]))[1], 1),
            fovy=FOVY,
        )
        self._model = spec.compile()
        self._data = mujoco.MjData(self._model)
        self._drawer = drawer
        self.opened = SHARE * SCALE * hinge.upper
        self._axis = np.asarray(hinge.direction, np.float64)
        origin = SCALE * np.asarray(hinge.origin) + (0, 0, -SCALE * low)
        self.joint = {"type": "prismatic", "axis": self._axis.tolist(), "origin": origin.tolist()}
        focal = HEIGHT / 2 / np.tan(np.deg2rad(FOVY) / 2)
        K = np.array([[focal, 0, (WIDTH - 1) / 2], [0, focal, (HEIGHT - 1) / 2], [0, 0, 1.0]])
        self._camera = PinholeCamera(width=WIDTH, height=HEIGHT, K=K)

    def messages(self) -> Iterator[tuple[str, Any, int]]:
        """Topic, message and stamp of all that is recorded."""
        yield "/tf_static", TFMessage(transforms=[self._camera_transform()]), START_NS
        renderer = Renderer(
            self._model, part_ids=np.arange(self._model.nbody, dtype=np.uint8), width=WIDTH, height=HEIGHT
        )
        times = np.arange(0, 2 * STILL + PULL + 1e-9, 1 / RATE)
        for number, time in enumerate(tqdm(times, desc="record", unit="instant")):
            stamp_ns = START_NS + round(float(time) * 1e9)
            amount = self.opened * float(np.clip((time - STILL) / PULL, 0, 1))
            self._data.qpos[self._drawer] = amount
            mujoco.mj_forward(self._model, self._data)
            image = renderer.render(self._data, 0)
            yield "/clock", Clock(clock=ns_to_stamp(stamp_ns)), stamp_ns
            if number == 0:
                yield "/cabinet/drag", self._drag(image.depth, image.segmentation, stamp_ns), stamp_ns
            header = make_header(stamp_ns, f"{CAMERA}_optical_frame")
            yield f"/{CAMERA}/camera_info", camera_to_info(self._camera, header), stamp_ns
            yield f"/{CAMERA}/image", array_to_image(image.rgb, "rgb8", header), stamp_ns
            millimetres = np.nan_to_num(image.depth * 1000, nan=0.0).round().astype(np.uint16)
            yield f"/{CAMERA}/depth", array_to_image(millimetres, "16UC1", header), stamp_ns
            yield "/cabinet/joint_states", self._state(amount, stamp_ns), stamp_ns
        renderer.close()

    def _drag(self, depth: FloatArray, parts: Any, stamp_ns: int) -> Drag:
        """At the middle of what is seen of the drawer's front, as far as it will be pulled."""
        body = self._model.jnt_bodyid[self._drawer]
        rows, columns = np.nonzero(parts == body)
        points = self._camera.rays()[rows, columns] * depth[rows, columns, None]
        world = points @ self._pose[:3, :3].T + self._pose[:3, 3]
        start = world[np.argmin(np.linalg.norm(world - np.median(world, axis=0), axis=1))]
        return drag_message(WORLD, start, self.opened * self._axis, stamp_ns=stamp_ns)

    def _state(self, amount: float, stamp_ns: int) -> JointState:
        return make_joint_state(make_header(stamp_ns, ""), ["drawer_joint"], [amount])

    def _camera_transform(self) -> TransformStamped:
        return make_transform(WORLD, f"{CAMERA}_optical_frame", START_NS, self._pose)


if __name__ == "__main__":
    raise SystemExit(main())
