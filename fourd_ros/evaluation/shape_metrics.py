"""How alike two shapes are: points spread over both surfaces, and the room that both fill.

Conventions: COM4D (arXiv 2512.05272), sections 12 and 15 of the specification this was written from. Lengths are in
units of the cube [-1, 1]^3.
"""

import math
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from fourd_ros.compositional.surface_mesh import SurfaceMesh, sampled
from fourd_ros.errors import InvalidMesh
from fourd_ros.evaluation.metric import Metric
from fourd_ros.evaluation.point_metrics import cloud_distances

SAMPLES = 10_000
THRESHOLD = 0.1
PITCH = 2 / 64
MAX_VOXELS_ALONG = 512
"""Of a shape along an axis; more would take gigabytes."""

SHAPE_CHAMFER = Metric(
    name="shape_chamfer",
    title="Chamfer distance",
    decimals=4,
    source="sum of both mean distances, not squared; COM4D, section 12",
)
SHAPE_F_SCORE = Metric(
    name="shape_f_score",
    title=f"F-score at {THRESHOLD:g}",
    higher_is_better=True,
    source="harmonic mean of both shares of points nearer than the threshold; COM4D, section 12",
)
VOXEL_IOU = Metric(
    name="voxel_iou",
    title="IoU of filled voxels",
    higher_is_better=True,
    source="of the common lattice, pitch 2 / 64; COM4D, section 12",
)
SHAPE_METRICS = (SHAPE_CHAMFER, SHAPE_F_SCORE, VOXEL_IOU)


@dataclass(frozen=True, kw_only=True)
class ShapeScores:
    """Of one shape beside the true one.

    Args:
        chamfer: sum of the mean distances in both directions; NaN where either has no surface.
        f_score: 0 to 1; 0 where one of them has no surface, NaN where both have none.
        iou: 0 to 1; NaN where both are empty.
    """

    chamfer: float
    f_score: float
    iou: float


def shape_scores(
    mesh: SurfaceMesh, truth: SurfaceMesh, *, rng: np.random.Generator, samples: int = SAMPLES
) -> ShapeScores:
    """All three metrics of a pair.

    Args:
        mesh: the one to judge, in the cube.
        truth: the true one.
        rng: draws points on both.
        samples: points on each.

    Raises:
        InvalidMesh: so large that its voxels cannot be counted.
    """
    points, true = (_points(one, samples, rng) for one in (mesh, truth))
    distances = cloud_distances(points, true)
    return ShapeScores(
        chamfer=distances.chamfer(combine="sum"),
        f_score=distances.f_score(THRESHOLD),
        iou=voxel_iou(mesh, truth),
    )


def voxel_iou(mesh: SurfaceMesh, truth: SurfaceMesh, *, pitch: float = PITCH) -> float:
    """Voxels that both fill over those that either does, on one lattice; NaN where neither has any.

    Args:
        mesh: the one.
        truth: the other.
        pitch: side of a voxel.

    Raises:
        InvalidMesh: so large that its voxels cannot be counted.
    """
    one, other = (_keys(filled_voxels(shape, pitch=pitch)) for shape in (mesh, truth))
    either = len(np.union1d(one, other))
    return (len(one) + len(other) - either) / either if either else math.nan


def filled_voxels(mesh: SurfaceMesh, *, pitch: float = PITCH) -> NDArray[np.int64]:
    """Voxels that a surface touches or encloses, as places on the lattice around the origin, shape [N, 3].

    Args:
        mesh: closed, or else only the voxels that it touches count.
        pitch: side of a voxel.

    Raises:
        InvalidMesh: more than `MAX_VOXELS_ALONG` along an axis.
    """
    import trimesh

    if mesh.is_empty:
        return np.zeros((0, 3), np.int64)
    low, high = mesh.bounds
    along = float((high - low).max() / pitch)
    if along > MAX_VOXELS_ALONG:
        raise InvalidMesh(
            f"a shape {along:.0f} voxels of {pitch:g} long; at most {MAX_VOXELS_ALONG} are counted: shapes are "
            "compared in the cube [-1, 1]"
        )
    voxels = trimesh.Trimesh(mesh.vertices.astype(np.float64), mesh.faces, process=False).voxelized(pitch).fill()
    return np.round(np.asarray(voxels.points, np.float64) / pitch).astype(np.int64)


def _points(mesh: SurfaceMesh, count: int, rng: np.random.Generator) -> NDArray[np.float64]:
    return np.zeros((0, 3)) if mesh.is_empty else sampled(mesh, count, rng=rng)[0]


def _keys(places: NDArray[np.int64]) -> NDArray[np.int64]:
    """One number for each place, far enough apart for any lattice that is counted."""
    return np.asarray(np.unique(places @ np.array([1 << 40, 1 << 20, 1])))
