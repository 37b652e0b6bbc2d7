"""Reconstruct a bag as the live node does, and compare the moving objects and the camera's path with the truth.

    python examples/moving_objects.py                            # the shipped bag
    python examples/moving_objects.py BAG --masks TOPIC          # yours; the truth is optional

No ROS is needed. The node itself:
``fourd bringup scene_reconstruction --set bag:=demo/moving_objects --set compressed:=true``.
"""

import argparse
from collections import defaultdict
from dataclasses import dataclass, field
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from fourd_ros.bridge.bag_clip import read_bag_clip
from fourd_ros.bridge.tf import TransformBuffer
from fourd_ros.bridge.times import stamp_to_ns
from fourd_ros.data.bags import BagReader
from fourd_ros.errors import FourdError
from fourd_ros.geometry.transforms import from_quaternion, invert
from fourd_ros.reconstruction.live.live_reconstruction import LiveFrame, LiveReconstruction
from fourd_ros.resources import find_resource

TRUTH = "/ground_truth/objects"
Pose = NDArray[np.float64]


@dataclass
class Found:
    """One object over time.

    Args:
        thing: the true object that it is.
        T_thing_found: where it lies in that, at first.
        strays: how far its origin is from where the true motion takes it [m].
        turns: the same for its axes [deg].
        ways: how far the true object has gone since [m].
    """

    thing: str
    T_thing_found: Pose
    strays: list[float] = field(default_factory=list)
    turns: list[float] = field(default_factory=list)
    ways: list[float] = field(default_factory=list)


def main() -> int:
    """Reconstruct and print."""
    parser = argparse.ArgumentParser(description=__doc__.partition("\n")[0])
    parser.add_argument("bag", nargs="?", type=Path, default=find_resource("demo/moving_objects"))
    parser.add_argument("--camera", default="", help="its namespace; empty for the only one")
    parser.add_argument("--masks", default="", help="topic with numbers of objects that may move")
    args = parser.parse_args()
    clip = read_bag_clip(args.bag, camera=args.camera, masks=args.masks)
    if clip.camera is None:
        raise SystemExit("the bag has no calibration of the camera")
    truth, transforms, frame_id = true_poses(args.bag)
    scene = LiveReconstruction(clip.camera)
    scene.restart(camera_pose(transforms, frame_id, int(clip.stamps_ns[0])))
    found: dict[int, Found] = {}
    path: list[float] = []
    for index, stamp_ns in enumerate(clip.stamps_ns.tolist()):
        told = scene.add(
            stamp_ns,
            clip.rgb[index],
            None if clip.depth is None else clip.depth[index],
            None if clip.masks is None else clip.masks[index],
        )
        if told is None:
            continue
        compare(told, truth.get(stamp_ns, {}), found)
        T = camera_pose(transforms, frame_id, stamp_ns)
        if T is not None:
            path.append(float(np.linalg.norm(T[:3, 3] - told.pose.T_world_camera[:3, 3])))
    show(scene, found, path)
    return 0


def true_poses(path: Path) -> tuple[dict[int, dict[str, Pose]], TransformBuffer, str]:
    """Poses of objects by stamp and name, TF, and the camera's frame."""
    truth: dict[int, dict[str, Pose]] = defaultdict(dict)
    transforms, frame_id = TransformBuffer(duration=1e6), ""
    with BagReader(path) as bag:
        for one in bag.messages():
            if one.topic == TRUTH:
                for thing in one.message.objects:
                    at, turn = thing.pose.pose.position, thing.pose.pose.orientation
                    pose = from_quaternion(np.array([at.x, at.y, at.z]), np.array([turn.x, turn.y, turn.z, turn.w]))
                    truth[stamp_to_ns(one.message.header.stamp)][thing.id] = pose
            elif one.topic in ("/tf", "/tf_static"):
                transforms.add_all(one.message.transforms, static=one.topic == "/tf_static")
            elif one.topic.endswith("camera_info"):
                frame_id = str(one.message.header.frame_id)
    return truth, transforms, frame_id


def camera_pose(transforms: TransformBuffer, frame_id: str, stamp_ns: int) -> Pose | None:
    """In the root of its tree; None where TF does not say."""
    ancestors = transforms.ancestors(frame_id)
    try:
        return np.asarray(transforms.lookup(ancestors[-1], frame_id, stamp_ns)) if ancestors else None
    except FourdError:
        return None


def compare(told: LiveFrame, truth: dict[str, Pose], found: dict[int, Found]) -> None:
    """Note how far objects are from where they truly are; a new one is the true one that is nearest."""
    for one in told.objects:
        if not truth or one.last_seen_ns != told.stamp_ns:
            continue
        if one.number not in found:
            name = min(truth, key=lambda thing: float(np.linalg.norm(truth[thing][:3, 3] - one.T_world_object[:3, 3])))
            found[one.number] = Found(thing=name, T_thing_found=invert(truth[name]) @ one.T_world_object)
        known = found[one.number]
        expected = truth[known.thing] @ known.T_thing_found
        difference = invert(expected) @ one.T_world_object
        known.strays.append(float(np.linalg.norm(difference[:3, 3])))
        known.turns.append(float(np.degrees(np.arccos(np.clip((np.trace(difference[:3, :3]) - 1) / 2, -1, 1)))))
        known.ways.append(float(np.linalg.norm(expected[:3, 3] - known.T_thing_found[:3, 3])))


def show(scene: LiveReconstruction, found: dict[int, Found], path: list[float]) -> None:
    """Print what came of it."""
    if path:
        print(f"camera: {100 * np.median(path):.1f} cm off in the median, {100 * max(path):.1f} cm at most")
    print(f"map: {len(scene.map)} voxels, {len(scene.map.points(min_confidence=2.0).points)} of them sure")
    print("object    truly       frames  off by: median   90 %      turned by: median")
    for number, one in sorted(found.items()):
        middle, most = 100 * np.median(one.strays), 100 * np.percentile(one.strays, 90)
        print(
            f"object_{number:<2} {one.thing:<11} {len(one.strays):>6}  {middle:>12.1f} cm {most:>5.1f} cm"
            f"  {np.median(one.turns):>14.1f} deg"
        )


if __name__ == "__main__":
    raise SystemExit(main())
