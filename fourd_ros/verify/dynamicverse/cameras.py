"""Poses, pixels of points and points of pixels."""

import numpy as np

from fourd_ros.reconstruction.official.axis_angle import rotation_matrices, starting_poses
from fourd_ros.reconstruction.official.parallax import parallax
from fourd_ros.reconstruction.official.projection import bilinear, depth_of_pixel, intrinsics, project, unproject
from fourd_ros.verify.checks import check
from fourd_ros.verify.comparison import Comparison
from fourd_ros.verify.dynamicverse.folder import SYSTEM, Computed, compare_all, numpy_of, torch_of
from fourd_ros.verify.tolerance import Tolerance
from fourd_ros.verify.vectors import Tensors, VectorFolder

NEAR = 0.3
"""Pixels of points nearer than this [m] to the plane of the camera are not compared."""

_POSE = Tolerance(atol=2e-6)
_RATIO = Tolerance(rtol=1e-4, atol=1e-5)
_PIXEL = Tolerance(atol=1e-2)
_PARALLAX = Tolerance(atol=2e-5)


@check(SYSTEM, "pose_param.npz")
def poses(_: VectorFolder, vectors: Tensors, compare: Comparison) -> None:
    """The exponential map and where the variables start."""
    K = torch_of(vectors["K"])
    width, height = (round(2 * float(K[axis, 2])) + 1 for axis in (0, 1))
    start, centres = starting_poses(len(vectors["R_default"]))
    computed: Computed = {
        "R": (rotation_matrices(torch_of(vectors["omega"])), _POSE),
        "R_default": (rotation_matrices(start), _POSE),
        "t_default": (centres[..., None], _POSE),
        "K": (intrinsics(K.diagonal()[:2], width=width, height=height), _POSE),
    }
    compare_all(vectors, compare, computed, inputs="omega")


@check(SYSTEM, "projection.npz")
def pixels(_: VectorFolder, vectors: Tensors, compare: Comparison) -> None:
    """Projection, back-projection, depth between pixels, and the way of tracks."""
    given = {name: torch_of(array) for name, array in vectors.items()}
    camera = rotation_matrices(given["omega"]), given["t"], given["K"]
    uv, z = project(given["points"], *camera)
    maps, places = given["depth"][None], given["pix"][None]
    near = np.abs(vectors["z"]) <= NEAR
    way = parallax(vectors["parallax_tracks"], vectors["parallax_vis"])
    computed: Computed = {
        "uv": (np.where(near[:, None], vectors["uv"], numpy_of(uv)), _PIXEL),
        "z": (z, _RATIO),
        "unproj": (unproject(given["pix"], depth_of_pixel(maps, places)[0], *camera), _RATIO),
        "bilinear": (bilinear(maps, places)[0], _RATIO),
        "parallax": (way, _PARALLAX),
    }
    compare_all(vectors, compare, computed, inputs="omega t K points pix depth parallax_tracks parallax_vis")
