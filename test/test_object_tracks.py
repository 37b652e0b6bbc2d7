"""Objects over time: poses and shapes of a track, and messages of surfaces."""

from pathlib import Path

import numpy as np
import pytest
import trimesh

from fourd_ros.bridge.object_meshes import ObjectSurface, mesh_from_message, mesh_message, object_markers
from fourd_ros.bridge.times import make_header
from fourd_ros.compositional.animated_glb import HIDDEN, write_animated_glb
from fourd_ros.compositional.object_track import track_object
from fourd_ros.compositional.surface_mesh import SurfaceMesh
from fourd_ros.errors import InvalidMesh, TooLarge
from fourd_ros.geometry.transforms import from_rpy


def box(*, size: tuple[float, float, float] = (0.4, 0.2, 0.1), at: float = 0.0) -> SurfaceMesh:
    made = trimesh.creation.box(extents=size).subdivide()
    return SurfaceMesh(
        vertices=(made.vertices + np.array([at, 0, 0])).astype(np.float32), faces=made.faces.astype(np.int32)
    )


POSES = np.stack([from_rpy([0.1 * frame, 0, 1], [0, 0.3 * frame, 0]) for frame in range(5)])


def test_a_rigid_object_has_one_shape_and_the_poses() -> None:
    hidden = [0, 3]
    meshes = [SurfaceMesh.empty() if frame in hidden else box().carried(POSES[frame]) for frame in range(5)]
    track = track_object(7, meshes, POSES)
    assert track.is_rigid
    assert len(track.shapes) == 1
    assert track.strays < 0.01
    assert track.shown.tolist() == [HIDDEN, 0, 0, HIDDEN, 0]
    assert np.isnan(track.T_parent_object[hidden]).all()
    np.testing.assert_allclose(track.at(4).vertices, meshes[4].vertices, atol=1e-5)
    assert track.at(0).is_empty


def test_an_object_that_changes_has_a_shape_a_frame(tmp_path: Path) -> None:
    sizes = [(0.4, 0.2, 0.1), (0.4, 0.3, 0.1), (0.4, 0.4, 0.1)]
    meshes = [box(size=size).carried(pose) for size, pose in zip(sizes, POSES, strict=False)]
    track = track_object(3, meshes, POSES[:3])
    assert not track.is_rigid
    assert track.strays > 0.03
    for frame, mesh in enumerate(meshes):
        np.testing.assert_allclose(track.at(frame).bounds, mesh.bounds, atol=1e-5)
    write_animated_glb(tmp_path / "clip.glb", [track.animated()], times=np.arange(3.0))
    assert len(trimesh.load_scene(tmp_path / "clip.glb").geometry) == 3


def test_an_object_that_is_never_there_is_no_error() -> None:
    track = track_object(1, [SurfaceMesh.empty()] * 2, np.full((2, 4, 4), np.nan))
    assert track.shapes == ()
    assert track.shown.tolist() == [HIDDEN, HIDDEN]
    with pytest.raises(InvalidMesh, match="needed is"):
        track_object(1, [box()], POSES)


def test_meshes_go_through_messages() -> None:
    mesh = box()
    vertices, faces = mesh_from_message(mesh_message(mesh.vertices, mesh.faces))
    np.testing.assert_array_equal(vertices, mesh.vertices)
    np.testing.assert_array_equal(faces, mesh.faces)
    nothing = mesh_message(SurfaceMesh.empty().vertices, SurfaceMesh.empty().faces)
    assert [part.shape for part in mesh_from_message(nothing)] == [(0, 3), (0, 3)]


def test_markers_show_triangles_and_take_away_what_is_gone() -> None:
    mesh = box()
    surface = ObjectSurface(
        number=4, vertices=mesh.vertices, faces=mesh.faces, T_frame_object=POSES[2], colour=(255, 0, 51)
    )
    shown, gone = object_markers(make_header(5, "map"), [surface], hidden=[9]).markers
    assert (shown.header.frame_id, shown.id, shown.type, shown.action) == ("map", 4, shown.TRIANGLE_LIST, shown.ADD)
    points = np.array([[point.x, point.y, point.z] for point in shown.points])
    np.testing.assert_allclose(points, mesh.vertices[mesh.faces].reshape(-1, 3), atol=1e-7)
    assert shown.pose.position.x == pytest.approx(0.2)
    assert (shown.color.r, shown.color.b, shown.color.a) == (1.0, pytest.approx(0.2), 1.0)
    assert (gone.id, gone.ns, gone.action) == (9, shown.ns, gone.DELETE)


def test_messages_that_contradict_themselves_are_refused(monkeypatch: pytest.MonkeyPatch) -> None:
    mesh = box()
    message = mesh_message(mesh.vertices, mesh.faces)
    del message.vertices[5:]
    with pytest.raises(InvalidMesh, match="there are 5"):
        mesh_from_message(message)
    with pytest.raises(InvalidMesh, match="not finite"):
        mesh_message(np.full((3, 3), np.nan), np.array([[0, 1, 2]]))
    with pytest.raises(InvalidMesh, match="needed are"):
        mesh_message(mesh.vertices[:, :2], mesh.faces)
    monkeypatch.setattr("fourd_ros.bridge.object_meshes.MAX_FACES", 10)
    with pytest.raises(TooLarge, match="decimate"):
        mesh_message(mesh.vertices, mesh.faces)
