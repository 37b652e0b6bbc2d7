"""Surfaces: what is refused, what they enclose, points drawn from them, fewer triangles."""

import numpy as np
import pytest
import trimesh

from fourd_ros.compositional.surface_mesh import SurfaceMesh, decimated, sampled
from fourd_ros.errors import InvalidMesh
from fourd_ros.geometry.transforms import from_rpy


def ball(subdivisions: int = 3) -> SurfaceMesh:
    made = trimesh.creation.icosphere(subdivisions=subdivisions, radius=0.5)
    return SurfaceMesh(vertices=made.vertices.astype(np.float32), faces=made.faces.astype(np.int32))


def test_contradictions_are_refused() -> None:
    mesh = ball()
    with pytest.raises(InvalidMesh, match=r"needed is \[\*, 3\]"):
        SurfaceMesh(vertices=mesh.vertices[:, :2], faces=mesh.faces)
    with pytest.raises(InvalidMesh, match="int32"):
        SurfaceMesh(vertices=mesh.vertices, faces=mesh.faces.astype(np.int64))
    with pytest.raises(InvalidMesh, match="there are 10"):
        SurfaceMesh(vertices=mesh.vertices[:10], faces=mesh.faces)
    with pytest.raises(InvalidMesh, match="not finite"):
        SurfaceMesh(vertices=np.full((3, 3), np.nan, np.float32), faces=np.array([[0, 1, 2]], np.int32))


def test_volume_and_normals_of_a_ball() -> None:
    mesh = ball()
    assert mesh.volume == pytest.approx(np.pi / 6, rel=0.02)
    np.testing.assert_allclose(mesh.vertex_normals(), 2 * mesh.vertices, atol=0.02)
    inwards = SurfaceMesh(vertices=mesh.vertices, faces=np.ascontiguousarray(mesh.faces[:, ::-1]))
    assert inwards.volume == -mesh.volume


def test_a_lonely_vertex_has_a_normal_all_the_same() -> None:
    mesh = SurfaceMesh(vertices=np.eye(4, 3, dtype=np.float32), faces=np.array([[0, 1, 2]], np.int32))
    normals = mesh.vertex_normals()
    np.testing.assert_array_equal(normals[3], [0, 0, 1])
    np.testing.assert_allclose(normals[:3], np.full((3, 3), 1 / np.sqrt(3)), atol=1e-6)


def test_a_surface_in_another_frame() -> None:
    T = from_rpy([1.0, 2.0, 3.0], [0.3, -0.2, 1.0])
    T[:3, :3] *= 2
    moved = ball().carried(T)
    assert moved.volume == pytest.approx(8 * ball().volume, rel=1e-4)
    np.testing.assert_allclose(moved.bounds.mean(axis=0), [1, 2, 3], atol=1e-2)


def test_points_are_drawn_by_area() -> None:
    corners = np.array([[0, 0, 0], [1, 0, 0], [0, 1, 0], [0, 0, 1], [3, 0, 1], [0, 1, 1]], np.float32)
    mesh = SurfaceMesh(vertices=corners, faces=np.array([[0, 1, 2], [3, 4, 5]], np.int32))
    points, normals = sampled(mesh, 20_000, rng=np.random.default_rng(0))
    assert (points[:, 2] == 1).mean() == pytest.approx(0.75, abs=0.02)
    low = points[points[:, 2] == 0]
    assert (low.min() >= 0) and (low.sum(axis=1).max() <= 1 + 1e-9)
    np.testing.assert_allclose(low.mean(axis=0), [1 / 3, 1 / 3, 0], atol=0.01)
    np.testing.assert_array_equal(normals, np.tile([0.0, 0.0, 1.0], (len(points), 1)))
    with pytest.raises(InvalidMesh, match="without any area"):
        sampled(SurfaceMesh.empty(), 10, rng=np.random.default_rng(0))


def test_fewer_triangles_for_the_same_ball() -> None:
    fine = ball(4)
    coarse = decimated(fine, 500)
    assert 400 <= len(coarse.faces) <= 520
    assert coarse.volume == pytest.approx(fine.volume, rel=0.03)
    assert decimated(coarse, 5000) is coarse
    with pytest.raises(InvalidMesh, match="4 or more"):
        decimated(fine, 2)
