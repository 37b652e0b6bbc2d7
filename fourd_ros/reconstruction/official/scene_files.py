"""The files of a reconstructed scene: those of dynamicBA, those its README names, and arrays without pickles.

``fused_4d*.npz`` holds lists of arrays as pickled objects, because the programs that read the original's files look for
them there. Everything in them is in the flat arrays, ``*_flat``, ``dyn_frame`` and ``dyn_instance`` too; these are what
is read here, and pickles are never opened.
"""

import json
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import cv2
import numpy as np
from numpy.typing import NDArray

from fourd_ros.data.array_archive import ArchiveKind
from fourd_ros.errors import InvalidClip, InvalidResults
from fourd_ros.reconstruction.official.depth_images import depth_image, depth_metadata
from fourd_ros.reconstruction.official.scene_fusion import FusedScene, instance_colour, tinted
from fourd_ros.whole_file import whole_file, write_whole

__all__ = [
    "POSE_FILE",
    "SUFFIX",
    "read_depth",
    "read_fused",
    "read_poses",
    "write_depth",
    "write_flow",
    "write_fused",
    "write_named",
    "write_scene",
    "write_times",
]

SUFFIX = "_simple_flow_opt_1.0_1e-4"
"""Between name and ending of the original's files, as its default configuration has it."""

POSE_FILE = "poses{suffix}.npz"

_EPSILON = np.float32(1e-16)
_MADE_BY = "`fourd reconstruct` makes it"
_FUSED = ArchiveKind(what="a fused scene", made_by=_MADE_BY, error=InvalidResults)
_POSES = ArchiveKind(what="a camera path", made_by=_MADE_BY, error=InvalidResults)
_FLOW = ArchiveKind(what="optical flow", made_by=_MADE_BY, error=InvalidResults)


def write_scene(
    folder: Path,
    scene: FusedScene,
    depth: NDArray[np.float32],
    instances: NDArray[np.integer],
    *,
    suffix: str = "",
) -> None:
    """Everything that dynamicBA writes into ``dynamicBA/<experiment>/``.

    Args:
        folder: where; files of the same name are replaced.
        scene: with the path and the frames.
        depth: of the frames [m], NaN where unknown, shape [F, H, W].
        instances: which moving object a pixel shows, shape [F, H, W].
        suffix: before the ends of most names.

    Raises:
        InvalidClip: depth or masks are not of the size of the frames.
    """
    size = scene.rgb.shape[:3]
    if depth.shape != size or instances.shape != size:
        given = f"{list(depth.shape)} and {list(instances.shape)}"
        raise InvalidClip(f"depth and masks have shapes {given}, the frames {list(size)}")
    _write_frames(folder, scene, depth, suffix)
    _write_poses(folder / POSE_FILE.format(suffix=suffix), scene)
    _write_depth_images(folder / f"depth_maps{suffix}", depth)
    write_fused(folder / f"fused_4d{suffix}.npz", scene)
    write_fused(folder / f"deva_masked_fused_4d{suffix}.npz", scene, tint=True)
    _write_png(folder / "masks" / "frame_0000_deva_mask.png", instances[0].astype(np.uint8))


def write_named(
    folder: Path,
    scene: FusedScene,
    depth: NDArray[np.float32],
    flows: Mapping[tuple[int, int], NDArray[np.float32]] | None = None,
) -> None:
    """The files that the README of DynamicVerse names and its code does not write, into ``dynamicBA/``.

    These are ``fused_4d.npz``, ``depth/%04d.npy`` [m] and ``flow/%04d_%04d.npz`` with ``flow`` [px], shape [H, W, 2].

    Args:
        folder: where; files of the same name are replaced.
        scene: fused.
        depth: shape [F, H, W].
        flows: by the frames they lead from and to.
    """
    write_fused(folder / "fused_4d.npz", scene)
    write_depth(folder, depth)
    for (start, end), flow in (flows or {}).items():
        write_flow(folder, start, end, flow)


def write_depth(folder: Path, depth: NDArray[np.float32]) -> None:
    """``depth/%04d.npy`` of all frames [m], NaN where unknown, shape [F, H, W]."""
    for frame, image in enumerate(depth):
        _write_npy(folder / "depth" / f"{frame:04d}.npy", image)


def read_depth(folder: Path, frames: int) -> NDArray[np.float32]:
    """What `write_depth` wrote, shape [F, H, W].

    Raises:
        InvalidResults: a file is missing, damaged, or of another size than the others.
    """
    images = [_read_npy(folder / "depth" / f"{frame:04d}.npy") for frame in range(frames)]
    if len({image.shape for image in images}) != 1 or images[0].ndim != 2:
        raise InvalidResults(f"'{folder / 'depth'}' must hold images [H, W] of one size")
    return np.stack(images)


def write_flow(folder: Path, start: int, end: int, flow: NDArray[np.floating]) -> None:
    """``flow/%04d_%04d.npz`` with ``flow`` from one frame to another [px], shape [H, W, 2]."""
    _FLOW.write(folder / "flow" / f"{start:04d}_{end:04d}.npz", {}, {"flow": flow})


def write_fused(path: Path, scene: FusedScene, *, tint: bool = False) -> None:
    """Points of all frames in one file.

    Args:
        path: of the file.
        scene: fused.
        tint: colour moving points by their objects too, and tell which colour is whose.
    """
    colours = tinted(scene.moving_rgbs, scene.moving_instance) if tint else scene.moving_rgbs
    arrays: dict[str, Any] = {
        "static_points": scene.static_points,
        "static_rgbs": scene.static_rgbs,
        "dyn_points": _object_array(scene.by_frame(scene.moving_points)),
        "dyn_rgbs": _object_array(scene.by_frame(colours)),
        "c2w": scene.T_world_camera,
        "rgbs": scene.rgb,
        "Ks": scene.K,
        "dyn_points_flat": scene.moving_points,
        "dyn_rgbs_flat": colours,
        "dyn_frame": scene.moving_frame,
        "dyn_instance": scene.moving_instance,
    }
    if tint:
        colour_of = {int(number): instance_colour(int(number)) for number in np.unique(scene.moving_instance)}
        arrays["instance_colors"] = np.array(colour_of, object)
        arrays["instance_numbers"] = np.array(list(colour_of), np.int64)
        arrays["instance_rgbs"] = np.array(list(colour_of.values()), np.uint8).reshape(-1, 3)
    with whole_file(path) as file:
        np.savez(file, **arrays)


def read_fused(path: Path) -> FusedScene:
    """A fused scene that was written here; no pickle is opened.

    Raises:
        InvalidResults: no such file, one of the original without flat arrays, or arrays that contradict each other.
    """
    with _FUSED.open(path) as archive:
        if "dyn_points_flat" not in archive.names:
            raise InvalidResults("it has no flat arrays, only pickled ones, which are never read")
        scene = FusedScene(
            static_points=archive.read("static_points"),
            static_rgbs=archive.read("static_rgbs"),
            moving_points=archive.read("dyn_points_flat"),
            moving_rgbs=archive.read("dyn_rgbs_flat"),
            moving_frame=archive.read("dyn_frame"),
            moving_instance=archive.read("dyn_instance"),
            T_world_camera=archive.read("c2w"),
            K=archive.read("Ks"),
            rgb=archive.read("rgbs"),
        )
        _check(scene)
    return scene


def read_poses(path: Path) -> tuple[NDArray[np.float64], NDArray[np.float32]]:
    """Camera path ``T_world_camera``, shape [F, 4, 4], and K, shape [F, 3, 3], of ``poses*.npz``.

    Raises:
        InvalidResults: no such file, or arrays of other shapes.
    """
    with _POSES.open(path) as archive:
        poses, K = archive.read("poses"), archive.read("intrinsics")
        if poses.shape != (len(poses), 4, 4) or K.shape != (len(poses), 3, 3):
            given = f"{list(poses.shape)} and {list(K.shape)}"
            raise InvalidResults(f"poses and intrinsics have shapes {given}, needed [frames, 4, 4] and [frames, 3, 3]")
    return poses, K


def write_times(folder: Path, seconds: Mapping[str, float]) -> None:
    """How long each stage took [s], as ``optimization_times.txt`` and, in all, ``timer.txt``."""
    write_whole(folder / "optimization_times.txt", "".join(f"{name}: {took:.3f}\n" for name, took in seconds.items()))
    write_whole(folder / "timer.txt", f"{sum(seconds.values()):.3f}\n")


def _write_frames(folder: Path, scene: FusedScene, depth: NDArray[np.float32], suffix: str) -> None:
    for frame in range(scene.frames):
        T = scene.T_world_camera[frame].astype(np.float32)
        with whole_file(folder / f"{frame:04d}{suffix}.npz") as file:
            np.savez(
                file,
                disp=1 / (depth[frame].astype(np.float32, copy=False) + _EPSILON),
                img=scene.rgb[frame],
                R=T[:3, :3],
                t=T[:3, 3],
                K=scene.K[frame],
            )


def _write_poses(path: Path, scene: FusedScene) -> None:
    with whole_file(path) as file:
        np.savez(file, poses=scene.T_world_camera, intrinsics=scene.K)


def _write_depth_images(folder: Path, depth: NDArray[np.float32]) -> None:
    rows = depth_metadata(depth)
    for frame, image in enumerate(depth):
        _write_png(folder / f"{frame:04d}_geometric.png", depth_image(image))
    with whole_file(folder / "depth_metadata.npy") as file:
        np.save(file, _object_array(rows), allow_pickle=True)
    plain = [{name: _plain(value) for name, value in row.items()} for row in rows]
    write_whole(folder / "depth_metadata.json", json.dumps(plain, indent=1) + "\n")


def _plain(value: int | np.float32) -> int | float | None:
    """As JSON has it: nothing for NaN."""
    if isinstance(value, int):
        return value
    return float(value) if np.isfinite(value) else None


def _write_png(path: Path, image: NDArray[np.integer]) -> None:
    with whole_file(path) as file:
        file.write(cv2.imencode(".png", image)[1].tobytes())


def _write_npy(path: Path, array: NDArray[np.generic]) -> None:
    with whole_file(path) as file:
        np.save(file, array, allow_pickle=False)


def _read_npy(path: Path) -> NDArray[np.float32]:
    try:
        image: NDArray[np.float32] = np.load(path, allow_pickle=False)
    except (OSError, ValueError, EOFError) as error:
        raise InvalidResults(f"'{path}' is no readable depth: {error}") from error
    if not isinstance(image, np.ndarray) or image.dtype != np.float32:
        raise InvalidResults(f"'{path}' must hold float32")
    return image


def _object_array(items: Sequence[object]) -> NDArray[np.object_]:
    """A list as an array of as many objects, whatever they are."""
    array = np.empty(len(items), object)
    array[:] = items
    return array


def _check(scene: FusedScene) -> None:
    frames, static, moving = len(scene.T_world_camera), len(scene.static_points), len(scene.moving_points)
    for name, array, needed in (
        ("static_points", scene.static_points, (static, 3)),
        ("static_rgbs", scene.static_rgbs, (static, 3)),
        ("dyn_points_flat", scene.moving_points, (moving, 3)),
        ("dyn_rgbs_flat", scene.moving_rgbs, (moving, 3)),
        ("dyn_frame", scene.moving_frame, (moving,)),
        ("dyn_instance", scene.moving_instance, (moving,)),
        ("c2w", scene.T_world_camera, (frames, 4, 4)),
        ("Ks", scene.K, (frames, 3, 3)),
    ):
        if array.shape != needed:
            raise InvalidResults(f"'{name}' has shape {list(array.shape)}, needed {list(needed)}")
    if moving and not (scene.moving_frame[0] >= 0 and scene.moving_frame[-1] < frames):
        raise InvalidResults(f"'dyn_frame' names frames outside of 0 to {frames - 1}")
    if (np.diff(scene.moving_frame) < 0).any():
        raise InvalidResults("'dyn_frame' must not decrease")
