"""Pull at a drawer that a bag shows closed, and compare what is foretold with what the bag shows later.

The part dynamics node is brought up on demo/cabinet, as `ros2 launch fourd_ros part_dynamics.launch.py bag:=...` does;
this script asks it with the pull that the bag names, at the instant at which the drawer is still closed, and judges the
answer by the drawer's joint and by the points that the camera sees in the end.

    python examples/drawer.py --out out/drawer
"""

import argparse
import json
import signal
import subprocess
import sys
import time
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
from fourd_msgs.action import PredictPartMotion
from numpy.typing import NDArray
from PIL import Image
from scipy.spatial import KDTree

from fourd_ros.bridge.cameras import camera_from_info
from fourd_ros.bridge.clouds import FIRST_OBJECT_LABEL, read_cloud
from fourd_ros.bridge.images import depth_to_metres, image_to_rgb
from fourd_ros.bridge.times import stamp_to_ns
from fourd_ros.client import PartDynamicsClient, PartMotionFailed
from fourd_ros.data.bag_reader import BagReader
from fourd_ros.errors import FourdError
from fourd_ros.geometry.camera import PinholeCamera
from fourd_ros.geometry.pointmap import points_from_depth
from fourd_ros.geometry.transforms import apply, from_quaternion, invert
from fourd_ros.part_dynamics.drags import SpaceDrags
from fourd_ros.records import FloatArray, Pixels
from fourd_ros.resources import find_resource

CAMERA, NODE = "front", "part_dynamics"
PATIENCE = 120.0
"""For the node to be there, and for the bag to come round to the instant that is asked about [s]."""

PAUSE = 0.2
"""Between two attempts [s]."""

NEW = 0.03
"""What lies farther than this from everything that was seen before has come there [m]."""

COMING = (
    PredictPartMotion.Result.NONE,
    PredictPartMotion.Result.NO_OBSERVATION,
    PredictPartMotion.Result.UNKNOWN_OBSERVATION,
    PredictPartMotion.Result.TRANSFORM_UNAVAILABLE,
)
"""Errors of a node that is not active yet (it rejects), or of a bag that has not come to the instant."""

KINDS = {PredictPartMotion.Result.REVOLUTE: "revolute", PredictPartMotion.Result.PRISMATIC: "prismatic"}


@dataclass(frozen=True, kw_only=True, eq=False)
class Seen:
    """One instant of the bag: colour [H, W, 3] and points in the world [m], shape [N, 3]."""

    rgb: Pixels
    points: FloatArray


@dataclass(frozen=True, kw_only=True, eq=False)
class Story:
    """What the bag tells.

    Args:
        camera: that looks.
        pose: of it in the world, shape [4, 4].
        first: the closed drawer.
        last: the open one.
        drag: the pull, a ``fourd_msgs/Drag``.
        joint: type and axis of the drawer.
        amount: that it was opened [m].
    """

    camera: PinholeCamera
    pose: FloatArray
    first: Seen
    last: Seen
    drag: Any
    joint: dict[str, Any]
    amount: float


def main() -> int:
    """Ask, judge, draw; the exit status."""
    parser = argparse.ArgumentParser(description=__doc__.partition("\n")[0])
    parser.add_argument(
        "--bag", type=Path, default=None, help="of tools/record_cabinet_bag.py (default: the shipped one)"
    )
    parser.add_argument("--out", type=Path, default=Path("out/drawer"), help="folder for picture and figures")
    parser.add_argument("--model", default="part_dynamics_compact", help="weights: a folder or a shipped name")
    args = parser.parse_args()
    bag = args.bag or find_resource("demo/cabinet")
    try:
        story = read_story(bag)
        answer = ask(bag, story, model=args.model)
    except FourdError as error:
        print(f"{type(error).__name__}: {error}", file=sys.stderr)
        return 1
    moved = read_cloud(answer.moved)
    figures = judge(story, answer, moved)
    args.out.mkdir(parents=True, exist_ok=True)
    Image.fromarray(draw(story, moved)).save(args.out / "drawer.png")
    (args.out / "figures.json").write_text(json.dumps(figures, indent=1) + "\n")
    print("\n".join(f"{name}: {value}" for name, value in figures.items()))
    print(f"closed, open, foretold: {args.out / 'drawer.png'}")
    return 0


def read_story(bag: Path) -> Story:
    """Everything that is needed of the bag."""
    with BagReader(bag) as reader:
        camera = camera_from_info(reader.first(f"/{CAMERA}/camera_info").message)
        place = reader.first("/tf_static").message.transforms[0].transform
        xyz, turn = place.translation, place.rotation
        pose = from_quaternion([xyz.x, xyz.y, xyz.z], [turn.x, turn.y, turn.z, turn.w])
        images = [image_to_rgb(one.message) for one in reader.messages([f"/{CAMERA}/image"])]
        depths = [depth_to_metres(one.message) for one in reader.messages([f"/{CAMERA}/depth"])]
        facts = reader.custom_data
        first, last = (
            Seen(rgb=images[index], points=_world(points_from_depth(depths[index], camera), pose)) for index in (0, -1)
        )
        return Story(
            camera=camera,
            pose=pose,
            first=first,
            last=last,
            drag=reader.first("/cabinet/drag").message,
            joint=json.loads(facts["joint"]),
            amount=float(facts["amount"]),
        )


def _world(points: NDArray[np.float32], pose: FloatArray) -> FloatArray:
    known = np.isfinite(points).all(axis=-1)
    return np.asarray(apply(pose, points[known].astype(np.float64)))


def ask(bag: Path, story: Story, *, model: str) -> Any:
    """The node's answer, from a launch of its own."""
    settings = (f"bag:={bag}", f"cameras:=[{CAMERA}]", f"model:={model}", "use_sim_time:=true")
    words = [word for setting in settings for word in ("--set", setting)]
    command = [sys.executable, "-m", "fourd_ros.cli", "bringup", "part_dynamics", *words]
    way, start = story.drag.displacement, story.drag.start
    drags = SpaceDrags(start=np.array([[start.x, start.y, start.z]]), displacement=np.array([[way.x, way.y, way.z]]))
    with subprocess.Popen(command, stdout=subprocess.DEVNULL) as launched:
        try:
            with PartDynamicsClient.connect(timeout=PATIENCE) as parts:
                return _when_it_comes(parts, drags, story.drag.header)
        finally:
            launched.send_signal(signal.SIGINT)


def _when_it_comes(parts: PartDynamicsClient, drags: SpaceDrags, header: Any) -> Any:
    """The answer for the instant of the header, once the bag has played it."""
    give_up = time.monotonic() + PATIENCE
    while True:
        pending = parts.pull(drags, frame=header.frame_id, observation_stamp_ns=stamp_to_ns(header.stamp))
        try:
            return pending.result(timeout=PATIENCE)
        except PartMotionFailed as error:
            if error.code not in COMING or time.monotonic() > give_up:
                raise
            time.sleep(PAUSE)


def judge(story: Story, answer: Any, moved: dict[str, NDArray[Any]]) -> dict[str, object]:
    """The answer beside the truth."""
    axis, truth = np.array([answer.axis.x, answer.axis.y, answer.axis.z]), np.array(story.joint["axis"])
    angle = float(np.rad2deg(np.arccos(np.clip(abs(axis @ truth), 0, 1))))
    part = moved["label"] >= FIRST_OBJECT_LABEL
    displacement = np.stack([moved[name] for name in ("dx", "dy", "dz")], axis=-1)
    off = float(np.linalg.norm(displacement[part] - story.amount * truth, axis=1).mean()) if part.any() else np.nan
    come = story.last.points[KDTree(story.first.points).query(story.last.points)[0] > NEW]
    near, _ = KDTree(moved["points"]).query(come)
    still, _ = KDTree(story.first.points).query(come)
    return {
        "joint": f"{KINDS.get(answer.joint_type, 'unknown')} (it is {story.joint['type']})",
        "axis off [deg]": round(angle, 1),
        "amount [m]": f"{answer.amount:.3f} (it was {story.amount:.3f})",
        "confidence": round(float(answer.confidence), 2),
        "points foretold to move": int(part.sum()),
        "their displacement off by [m]": round(off, 3),
        "what came there, from what was foretold [m]": round(float(near.mean()), 3),
        "what came there, from what was there before [m]": round(float(still.mean()), 3),
    }


def draw(story: Story, moved: dict[str, NDArray[Any]]) -> Pixels:
    """The closed drawer, the open one, and the foretold points from the same camera, side by side."""
    foretold = np.full_like(story.first.rgb, 255)
    local = apply(invert(story.pose), moved["points"].astype(np.float64))
    order = np.argsort(-local[:, 2])  # the nearest is drawn last
    pixels = story.camera.project(local[order])
    for (x, y), colour in zip(pixels, moved["rgb"][order], strict=True):
        if np.isfinite([x, y]).all():
            column, row = round(x), round(y)
            foretold[max(row - 1, 0) : max(row + 2, 0), max(column - 1, 0) : max(column + 2, 0)] = colour
    return np.concatenate([story.first.rgb, story.last.rgb, foretold], axis=1)


if __name__ == "__main__":
    raise SystemExit(main())
