"""What is seen of an object, what is said of it and what is true, side by side."""

from collections.abc import Sequence
from typing import Any

import numpy as np
from numpy.typing import NDArray

from fourd_ros.compositional.mesh_pictures import orbit, render_objects
from fourd_ros.compositional.surface_mesh import SurfaceMesh
from fourd_ros.data.compositional_shards import CAMERA_DISTANCE
from fourd_ros.evaluation.compositional import ObjectCase, Solid

SIDES = 3
"""From the camera, and from there a third and two thirds around."""


def case_picture(case: ObjectCase, said: Sequence[dict[tuple[int, int], Solid]]) -> NDArray[np.uint8]:
    """A row: the first frame; then for each answer, and for the truth last, all objects in it from all sides."""
    truth = {key: solid_mesh(one) for key, one in case.judged.items() if key[1] == 0}
    shown = [
        *({key: one.mesh or SurfaceMesh.empty() for key, one in answer.items() if key[1] == 0} for answer in said),
        truth,
    ]
    return np.concatenate([case.film.rgb[0], *(_views(case, meshes) for meshes in shown)], axis=1)


def solid_mesh(solid: Solid) -> SurfaceMesh:
    """The surface of what is filled, in the cube."""
    from skimage import measure

    if not solid.filled.any():
        return SurfaceMesh.empty()
    extract: Any = measure.marching_cubes
    vertices, faces, _, _ = extract(np.pad(solid.filled, 1).astype(np.float32), 0.5)
    half = solid.filled.shape[0] / 2
    return SurfaceMesh(vertices=((vertices - 1) / half - 1).astype(np.float32), faces=faces.astype(np.int32))


def _views(case: ObjectCase, meshes: dict[tuple[int, int], SurfaceMesh]) -> NDArray[np.uint8]:
    assert case.film.camera is not None
    numbered = {place + 1: mesh for (place, _), mesh in meshes.items()}
    poses = orbit(SIDES, CAMERA_DISTANCE, elevation=0.3)
    return np.concatenate([render_objects(numbered, case.film.camera, pose).rgb for pose in poses], axis=1)
