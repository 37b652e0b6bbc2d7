"""Fused clouds and the files that the last stage writes."""

import tempfile
import zipfile
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from fourd_ros.geometry.camera import PinholeCamera
from fourd_ros.geometry.transforms import from_parts
from fourd_ros.reconstruction.official.axis_angle import rotation_matrices
from fourd_ros.reconstruction.official.depth_edges import away_from_edges
from fourd_ros.reconstruction.official.depth_images import depth_image, depth_metadata
from fourd_ros.reconstruction.official.scene_files import write_scene
from fourd_ros.reconstruction.official.scene_fusion import FusedScene, fuse, tinted
from fourd_ros.reconstruction.official.track_regions import Regions, regions_of
from fourd_ros.verify.checks import check
from fourd_ros.verify.comparison import Comparison
from fourd_ros.verify.dynamicverse.folder import EXACT, SYSTEM, Computed, compare_all, torch_of
from fourd_ros.verify.tolerance import Tolerance
from fourd_ros.verify.vectors import Tensors, VectorFolder

_POINTS = Tolerance(rtol=1e-4, atol=1e-5)
_POSES = Tolerance(atol=1e-6)
_PIXELS = Tolerance(outlier_share=1e-3)


@check(SYSTEM, "fusion.npz")
def fusion(folder: VectorFolder, vectors: Tensors, compare: Comparison) -> None:
    """Clouds of the first frames; their rows are those of the original's edges, which are compared by themselves."""
    scene = _fused(folder, vectors, usable=vectors["edge_ok"])
    poses = scene.T_world_camera
    computed: Computed = {
        "edge_ok": (away_from_edges(vectors["interp"]), _PIXELS),
        "static_points": (scene.static_points, _POINTS),
        "static_rgbs": (scene.static_rgbs, EXACT),
        "c2w": (poses * np.array([[1], [1], [1], [0]]), _POSES),  # the last row of the original is empty, ours is not
        "poses": (poses, _POSES),
        "Ks": (scene.K, _POSES),
        "depth_png_0": (depth_image(vectors["interp"][0]), _PIXELS),
    }
    tints = scene.by_frame(tinted(scene.moving_rgbs, scene.moving_instance))
    for name, tolerance, arrays in (
        ("dyn_points", _POINTS, scene.by_frame(scene.moving_points)),
        ("dyn_rgbs", EXACT, scene.by_frame(scene.moving_rgbs)),
        ("masked_dyn_rgbs", EXACT, tints),
    ):
        computed |= {f"{name}_{frame}": (array, tolerance) for frame, array in enumerate(arrays)}
    compare_all(vectors, compare, computed, inputs="interp rgb")


@check(SYSTEM, "output_formats.json")
def formats(folder: VectorFolder, expected: dict[str, Any], compare: Comparison) -> None:
    """Names, keys, shapes and types of the files, and what is told of the first depth image."""
    vectors = folder.load("fusion.npz")
    scene = _fused(folder, vectors, usable=vectors["edge_ok"])
    suffix = next(name for name in expected["tree"] if name.startswith("poses"))[len("poses") : -len(".npz")]
    with tempfile.TemporaryDirectory() as place:
        written = Path(place)
        write_scene(written, scene, vectors["interp"], _regions(folder, len(scene.rgb)).instances, suffix=suffix)
        names = {str(path.relative_to(written)) for path in written.rglob("*") if path.is_file()}
        compare("tree", sorted(names & set(expected["tree"])), expected=sorted(expected["tree"]), tolerance=EXACT)
        for name, wanted in expected.items():
            if name not in ("tree", "depth_metadata.npy[0]"):
                compare(name, _described(written, name, suffix), expected=_plain(wanted), tolerance=EXACT)
    row = {name: f"{type(value).__name__} {value!s}" for name, value in depth_metadata(vectors["interp"])[0].items()}
    compare("depth_metadata.npy[0]", _plain(row), expected=_plain(expected["depth_metadata.npy[0]"]), tolerance=EXACT)


def _fused(folder: VectorFolder, vectors: Tensors, *, usable: NDArray[np.bool_]) -> FusedScene:
    given = folder.load("depth_refine.npz")
    frames, height, width = vectors["interp"].shape
    T = from_parts(rotation_matrices(torch_of(given["omega"])).numpy(), given["t"])
    camera = PinholeCamera(width=width, height=height, K=given["K"].astype(np.float64))
    return fuse(vectors["rgb"], vectors["interp"], _regions(folder, frames), camera, T, usable=usable)


def _regions(folder: VectorFolder, frames: int) -> Regions:
    return regions_of(folder.load("track_filter.npz")["dyn_masks"][:frames])


def _described(written: Path, name: str, suffix: str) -> str:
    """Shape and type of an array ``file:key`` of an archive, or of a key of the fused scene; nothing is unpickled."""
    file, _, key = name.rpartition(":")
    path = written / (file.replace("<suffix>", suffix) if file else f"fused_4d{suffix}.npz")
    with zipfile.ZipFile(path) as archive, archive.open(f"{key}.npy") as member:
        np.lib.format.read_magic(member)
        shape, _, dtype = np.lib.format.read_array_header_1_0(member)
    return _plain({"shape": list(shape), "dtype": str(dtype)})


def _plain(value: dict[str, Any]) -> str:
    return ", ".join(f"{name} {value[name]}" for name in sorted(value))
