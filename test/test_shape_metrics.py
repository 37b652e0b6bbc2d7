"""Shapes beside the true ones: balls and boxes whose values are known, and shapes that are not there."""

import numpy as np
import pytest
import trimesh

from fourd_ros.compositional.surface_mesh import SurfaceMesh
from fourd_ros.errors import InvalidMesh
from fourd_ros.evaluation.shape_metrics import SHAPE_METRICS, filled_voxels, shape_scores, voxel_iou


def box(size: float, centre: float = 0.0) -> SurfaceMesh:
    return of(trimesh.creation.box(extents=(size,) * 3).apply_translation([centre, 0, 0]))


def of(mesh: trimesh.Trimesh) -> SurfaceMesh:
    return SurfaceMesh(vertices=mesh.vertices.astype(np.float32), faces=mesh.faces.astype(np.int32))


def scores(mesh: SurfaceMesh, truth: SurfaceMesh) -> tuple[float, float, float]:
    found = shape_scores(mesh, truth, rng=np.random.default_rng(0), samples=4000)
    return found.chamfer, found.f_score, found.iou


def test_a_shape_is_all_but_itself() -> None:
    chamfer, f_score, iou = scores(box(1.0), box(1.0))
    assert chamfer < 0.05, "only as far apart as the points that were drawn"
    assert f_score == 1.0
    assert iou == 1.0


def test_balls_one_in_the_other() -> None:
    inner, outer = (of(trimesh.creation.icosphere(subdivisions=4, radius=radius)) for radius in (0.4, 0.7))
    chamfer, f_score, iou = scores(inner, outer)
    assert chamfer == pytest.approx(0.6, abs=0.02), "0.3 both ways, added and not squared"
    assert f_score == 0.0
    assert iou == pytest.approx((0.4 / 0.7) ** 3, abs=0.03)
    assert scores(outer, inner)[2] == iou


def test_voxels_of_a_shape_are_filled_and_lie_on_one_lattice() -> None:
    voxels = filled_voxels(box(0.5), pitch=0.1)
    assert len(np.unique(voxels, axis=0)) == len(voxels)
    assert {tuple(place) for place in voxels.tolist()} >= {(0, 0, 0), (2, 2, 2), (-2, -2, -2)}
    half = voxel_iou(box(0.5), box(0.5, centre=0.25), pitch=0.025)
    assert half == pytest.approx(1 / 3, abs=0.05)
    assert voxel_iou(box(0.5), box(0.5, centre=1.0)) == 0.0


def test_what_is_not_there_scores_nothing() -> None:
    chamfer, f_score, iou = scores(SurfaceMesh.empty(), box(1.0))
    assert np.isnan(chamfer)
    assert (f_score, iou) == (0.0, 0.0)
    nothing = shape_scores(SurfaceMesh.empty(), SurfaceMesh.empty(), rng=np.random.default_rng(0))
    assert np.isnan([nothing.chamfer, nothing.f_score, nothing.iou]).all()


def test_a_shape_in_millimetres_is_refused_before_it_is_filled() -> None:
    with pytest.raises(InvalidMesh, match="in the cube"):
        voxel_iou(box(1000.0), box(1.0))


def test_metrics_say_which_way_is_better() -> None:
    assert [metric.higher_is_better for metric in SHAPE_METRICS] == [False, True, True]
