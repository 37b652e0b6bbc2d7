"""Ask for the whole objects of a bag, compare them with where they truly are, and write a picture and a GLB file.

The compositional objects node is brought up, as `ros2 launch fourd_ros compositional_objects.launch.py` does, and hears
demo/objects; this script asks it for the last frames and draws some of them beside what the camera saw.

    python examples/objects_as_meshes.py --out out/objects_as_meshes
"""

import argparse
import json
import signal
import subprocess
import sys
import time
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
from fourd_msgs.action import ReconstructObjects
from PIL import Image

from fourd_ros.bridge.cameras import camera_from_info
from fourd_ros.bridge.images import image_to_rgb
from fourd_ros.bridge.object_meshes import mesh_from_message
from fourd_ros.bridge.times import stamp_to_ns
from fourd_ros.client import CompositionalObjectsClient, ReconstructionFailed
from fourd_ros.compositional.animated_glb import HIDDEN, MovingMesh, write_animated_glb
from fourd_ros.compositional.mesh_pictures import render_objects
from fourd_ros.compositional.object_colours import object_colour
from fourd_ros.compositional.surface_mesh import SurfaceMesh
from fourd_ros.data.bag_reader import BagReader
from fourd_ros.errors import FourdError
from fourd_ros.geometry.camera import PinholeCamera
from fourd_ros.geometry.transforms import from_quaternion
from fourd_ros.records import FloatArray, Pixels
from fourd_ros.resources import find_resource

CAMERA, TRUTH, FIXED = "camera", "/ground_truth/objects", "world"
PATIENCE, PAUSE = 600.0, 0.5
"""For the node to be there and to answer, and between two looks [s]."""

SHOWN = 4


@dataclass(frozen=True, kw_only=True, eq=False)
class Story:
    """What the bag tells.

    Args:
        camera: that looks.
        T_world_camera: its pose, shape [4, 4].
        rgb: pictures by stamp.
        truth: middle and extent of every thing along the axes of the world [m], by stamp and id.
    """

    camera: PinholeCamera
    T_world_camera: FloatArray
    rgb: dict[int, Pixels]
    truth: dict[int, dict[str, FloatArray]]


def main() -> int:
    """Ask, judge, draw; the exit status."""
    parser = argparse.ArgumentParser(description=__doc__.partition("\n")[0])
    parser.add_argument("--bag", type=Path, default=None, help="of tools/record_objects_bag.py (default: shipped one)")
    parser.add_argument("--out", type=Path, default=Path("out/objects_as_meshes"), help="folder of the files")
    parser.add_argument("--model", default="compositional_compact", help="weights: a folder or a shipped name")
    parser.add_argument("--frames", type=int, default=8, help="to ask for (default 8)")
    args = parser.parse_args()
    bag = args.bag or find_resource("demo/objects")
    try:
        story = read_story(bag)
        arrays = ask(bag, model=args.model, frames=args.frames)
    except FourdError as error:
        print(f"{type(error).__name__}: {error}", file=sys.stderr)
        return 1
    args.out.mkdir(parents=True, exist_ok=True)
    figures = judge(story, arrays)
    Image.fromarray(draw(story, arrays)).save(args.out / "objects.png")
    write_animated_glb(args.out / "objects.glb", moving_meshes(arrays), times=_times(arrays))
    (args.out / "figures.json").write_text(json.dumps(figures, indent=1) + "\n")
    for name, row in figures.items():
        print(f"{name}: " + ", ".join(f"{key} {value}" for key, value in row.items()))
    print(f"seen and made: {args.out / 'objects.png'}; to turn around: {args.out / 'objects.glb'}")
    return 0


def read_story(bag: Path) -> Story:
    """Everything that is needed of the bag."""
    with BagReader(bag) as reader:
        camera = camera_from_info(reader.first(f"/{CAMERA}/camera_info").message)
        place = reader.first("/tf_static").message.transforms[0].transform
        pictures = [one.message for one in reader.messages([f"/{CAMERA}/image/compressed"])]
        truths = [one.message for one in reader.messages([TRUTH])]
    xyz, turn = place.translation, place.rotation
    return Story(
        camera=camera,
        T_world_camera=from_quaternion([xyz.x, xyz.y, xyz.z], [turn.x, turn.y, turn.z, turn.w]),
        rgb={stamp_to_ns(one.header.stamp): image_to_rgb(one) for one in pictures},
        truth={
            stamp_to_ns(one.header.stamp): {
                thing.id: np.array([_xyz(thing.pose.pose.position), _xyz(thing.size)]) for thing in one.objects
            }
            for one in truths
        },
    )


def ask(bag: Path, *, model: str, frames: int) -> list[Any]:
    """The node's answer, from a launch of its own, after the bag was played once."""
    settings = {"use_masks": "true", "compressed": "true", "fixed_frame": FIXED, "model": model}
    words = [word for name, value in settings.items() for word in ("--set", f"{name}:={value}")]
    command = [sys.executable, "-m", "fourd_ros.cli"]
    with subprocess.Popen(
        [*command, "bringup", "compositional_objects", *words], stdout=subprocess.DEVNULL
    ) as launched:
        try:
            with CompositionalObjectsClient.connect(timeout=PATIENCE) as objects:
                _until_it_listens(objects)
                subprocess.run([*command, "bag", "play", str(bag), "--json"], stdout=subprocess.DEVNULL, check=True)
                time.sleep(PAUSE)
                return objects.reconstruct(last_frames=frames).result(timeout=PATIENCE)
        finally:
            launched.send_signal(signal.SIGINT)


def _until_it_listens(objects: CompositionalObjectsClient) -> None:
    """Wait until the node is active: then it says that it has seen nothing, and no longer rejects."""
    give_up = time.monotonic() + PATIENCE
    while time.monotonic() < give_up:
        try:
            objects.reconstruct(last_frames=1).result(timeout=PATIENCE)
        except ReconstructionFailed as error:
            if error.code == ReconstructObjects.Result.NO_OBSERVATION:
                return
        time.sleep(PAUSE)


def judge(story: Story, arrays: Sequence[Any]) -> dict[str, dict[str, object]]:
    """Every object beside the truth: means over the frames."""
    figures: dict[str, dict[str, object]] = {}
    for name in sorted({thing.id for array in arrays for thing in array.objects}):
        away, extent, truly = [], [], []
        for array in arrays:
            expected = story.truth.get(stamp_to_ns(array.header.stamp), {}).get(name)
            for thing in array.objects:
                if thing.id == name and expected is not None:
                    low, high = _placed(thing).bounds
                    away.append(float(np.linalg.norm((low + high) / 2 - expected[0])))
                    extent.append(float((high - low).max()))
                    truly.append(float(expected[1].max()))
        figures[name] = {
            "middle off by [cm]": round(100 * float(np.mean(away)), 1) if away else None,
            "extent [cm]": round(100 * float(np.mean(extent)), 1) if away else None,
            "truly [cm]": round(100 * float(np.mean(truly)), 1) if away else None,
            "confidence": round(float(arrays[-1].objects[0].confidence), 2),
        }
    return figures


def draw(story: Story, arrays: Sequence[Any]) -> Pixels:
    """What the camera saw above what it would see of the objects, and from the side below."""
    chosen = [arrays[index] for index in np.linspace(0, len(arrays) - 1, min(SHOWN, len(arrays))).round().astype(int)]
    turn = np.eye(4)
    middle = np.mean([_xyz(thing.pose.pose.position) for array in chosen for thing in array.objects], axis=0)
    turn[:2, :2] = [[0.0, -1.0], [1.0, 0.0]]
    turn[:3, 3] = middle - turn[:3, :3] @ middle
    columns = []
    for array in chosen:
        seen = story.rgb.get(stamp_to_ns(array.header.stamp))
        blank = np.full((story.camera.height, story.camera.width, 3), 255, np.uint8)
        views = [_view(array, story.camera, T) for T in (story.T_world_camera, turn @ story.T_world_camera)]
        columns.append(np.concatenate([blank if seen is None else seen, *views], axis=0))
    return np.concatenate(columns, axis=1)


def _view(array: Any, camera: PinholeCamera, T_world_camera: FloatArray) -> Pixels:
    return render_objects({_number(thing.id): _placed(thing) for thing in array.objects}, camera, T_world_camera).rgb


def moving_meshes(arrays: Sequence[Any]) -> list[MovingMesh]:
    """Every object over the frames, for a GLB file; y points up there."""
    up = np.array([[1.0, 0, 0, 0], [0, 0, 1, 0], [0, -1, 0, 0], [0, 0, 0, 1]])
    found = []
    for name in sorted({thing.id for array in arrays for thing in array.objects}):
        shapes: list[SurfaceMesh] = []
        shown = np.full(len(arrays), HIDDEN)
        poses = np.full((len(arrays), 4, 4), np.nan)
        for frame, array in enumerate(arrays):
            for thing in array.objects:
                if thing.id == name and thing.mesh.triangles:
                    shown[frame], poses[frame] = len(shapes), up @ _pose(thing)
                    shapes.append(_mesh(thing))
        colour = object_colour(_number(name))
        found.append(MovingMesh(name=name, colour=colour, shapes=tuple(shapes), shown=shown, T_scene_object=poses))
    return found


def _times(arrays: Sequence[Any]) -> FloatArray:
    stamps = np.array([stamp_to_ns(array.header.stamp) for array in arrays], np.int64)
    return np.asarray((stamps - stamps[0]) * 1e-9)


def _mesh(thing: Any) -> SurfaceMesh:
    vertices, faces = mesh_from_message(thing.mesh)
    return SurfaceMesh(vertices=vertices, faces=faces)


def _placed(thing: Any) -> SurfaceMesh:
    return _mesh(thing).carried(_pose(thing))


def _pose(thing: Any) -> FloatArray:
    turn = thing.pose.pose.orientation
    return from_quaternion(_xyz(thing.pose.pose.position), [turn.x, turn.y, turn.z, turn.w])


def _number(name: str) -> int:
    """Of an object, from its id."""
    return int(name.rpartition("_")[2])


def _xyz(message: Any) -> FloatArray:
    return np.array([message.x, message.y, message.z])


if __name__ == "__main__":
    raise SystemExit(main())
