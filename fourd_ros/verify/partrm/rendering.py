"""The rasteriser, its cameras, and files of Gaussians."""

import re
import tempfile
from pathlib import Path

import numpy as np

from fourd_ros.part_dynamics.gaussian_ply import read_ply, write_ply
from fourd_ros.part_dynamics.gaussians import Gaussians
from fourd_ros.part_dynamics.rasterise import Rendered, render
from fourd_ros.part_dynamics.splat_camera import OfficialMatrices, SplatCamera
from fourd_ros.verify.checks import check
from fourd_ros.verify.comparison import Comparison
from fourd_ros.verify.partrm.folder import SYSTEM, meanings
from fourd_ros.verify.tolerance import Tolerance
from fourd_ros.verify.vectors import Tensors, VectorFolder

SCENE, RENDER, CONFIG = "rasteriser/scene.safetensors", "rasteriser/render.safetensors", "rasteriser/config.json"
PLY = "ply/ply.safetensors"
FILES = {"ply/gaussians.ply": True, "ply/gaussians_raw.ply": False}
"""Whether they hold logits and logarithms."""

RADII = Tolerance(atol=1.0)
STORED = Tolerance(atol=1e-5)


@check(SYSTEM, SCENE)
def scene(folder: VectorFolder, vectors: Tensors, compare: Comparison) -> None:
    """Matrices of the cameras; the rest is given."""
    sizes = folder.load(CONFIG)
    planes = {name: sizes[name] for name in ("znear", "zfar") if name in sizes}
    made = OfficialMatrices.from_opengl(np.array(vectors["c2w_opengl"]), fovy=sizes["fovy"], **planes)
    computed = {
        "cam_view": made.cam_view[None],
        "cam_view_proj": made.cam_view_proj[None],
        "cam_pos": made.cam_pos[None],
        "proj_matrix": made.projection,
    }
    for name, given in vectors.items():
        compare(name, computed.get(name, given))


@check(SYSTEM, RENDER)
def pictures(folder: VectorFolder, vectors: Tensors, compare: Comparison) -> None:
    """Colour, coverage, depth and radii, on white and on another background with smaller Gaussians."""
    given, sizes = folder.load(SCENE), folder.load(CONFIG)
    gaussians = Gaussians(values=np.array(given["gaussians"][0]))
    cameras = [
        SplatCamera.from_opengl(np.array(pose), fovy=sizes["fovy"], size=sizes["output_size"])
        for pose in given["c2w_opengl"]
    ]
    modifier = re.search(r"scale_modifier ([\d.]+)", meanings(folder, RENDER)["image_bg2_scale07"])
    background = np.array(vectors["bg2"])
    plain = render(gaussians, cameras)
    other = render(
        gaussians, cameras, background=background.tolist(), scale_modifier=float(modifier[1]) if modifier else 0.7
    )
    computed = {
        "image_white": _channels_first(plain),
        "alpha": plain.alpha[None, :, None],
        "depth": plain.depth[None, :, None],
        "radii": plain.radii[None],
        "image_bg2_scale07": _channels_first(other),
        "alpha_scale07": other.alpha[None, :, None],
        "bg2": background,
    }
    for name in vectors:
        compare(name, computed[name], tolerance=RADII if name == "radii" else None)


@check(SYSTEM, PLY)
def files(folder: VectorFolder, vectors: Tensors, compare: Comparison) -> None:
    """Files that are written hold what the original's hold; files that are read give what the original reads."""
    saved = Gaussians(values=np.array(vectors["saved"][0]))
    with tempfile.TemporaryDirectory() as place:
        for name, compatible in FILES.items():
            written = Path(place, Path(name).name)
            write_ply(saved, written, compatible=compatible)
            ours, theirs = (read_ply(path, compatible=False).values for path in (written, folder.path(name)))
            compare(f"{name}, stored values", ours, expected=theirs, tolerance=STORED)
    read = {compatible: read_ply(folder.path(name), compatible=compatible) for name, compatible in FILES.items()}
    computed = {"saved": vectors["saved"], "loaded": read[True].values, "loaded_raw": read[False].values}
    for name in vectors:
        compare(name, computed[name])


def _channels_first(rendered: Rendered) -> "np.ndarray[tuple[int, ...], np.dtype[np.float32]]":
    return np.moveaxis(rendered.rgb, -1, 1)[None]
