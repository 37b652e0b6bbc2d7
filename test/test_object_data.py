"""Training data of compositional objects: lists and sequences of others, meshes made ready, batches."""

import json
from pathlib import Path

import numpy as np
import pytest
import trimesh

from fourd_ros import cli
from fourd_ros.compositional.mesh_assets import AssetOptions, prepare_asset, read_geometries
from fourd_ros.compositional.mesh_pictures import fitting_camera, orbit, render_mesh
from fourd_ros.compositional.outer_surface import outer_points
from fourd_ros.compositional.surface_mesh import SurfaceMesh
from fourd_ros.data.anime_files import in_unit_cube, read_anime, turned_upright
from fourd_ros.data.batch_packing import pack_batches
from fourd_ros.data.object_lists import chosen_frames, divided, read_object_views, read_sequences
from fourd_ros.data.object_surfaces import ObjectSurfaces, SurfacePoints, read_surfaces, write_surfaces
from fourd_ros.errors import InvalidDataset, InvalidParameter
from fourd_ros.geometry.transforms import apply

QUICK = AssetOptions(points=500, views=2, size=32, frames=3)


def surface(count: int = 50, *, seed: int = 0) -> SurfacePoints:
    normals = np.random.default_rng(seed).normal(size=(count, 3))
    normals /= np.linalg.norm(normals, axis=1, keepdims=True)
    return SurfacePoints(points=normals.astype(np.float32), normals=normals.astype(np.float32))


def write_anime(path: Path, *, frames: int = 5) -> np.ndarray:
    """A box that is carried along y, z up; returns its vertices in all frames."""
    box = trimesh.creation.box(extents=(1, 2, 3))
    vertices = box.vertices.astype("<f4")
    offsets = np.zeros((frames - 1, len(vertices), 3), "<f4")
    offsets[:, :, 1] = np.arange(1, frames)[:, None]
    header = np.array([frames, len(vertices), len(box.faces)], "<i4")
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_bytes(b"".join(part.tobytes() for part in (header, vertices, box.faces.astype("<i4"), offsets)))
    return np.concatenate([vertices[None], vertices + offsets])


def write_room(path: Path) -> None:
    """Two boxes and a ball, one of them placed by the scene and not by its vertices."""
    scene = trimesh.Scene()
    scene.add_geometry(
        trimesh.creation.box(extents=(2, 1, 1)), transform=trimesh.transformations.translation_matrix((5, 0, 0))
    )
    scene.add_geometry(trimesh.creation.box(extents=(1, 1, 1)))
    scene.add_geometry(
        trimesh.creation.icosphere(radius=0.5), transform=trimesh.transformations.translation_matrix((0, 2, 0))
    )
    path.parent.mkdir(parents=True, exist_ok=True)
    scene.export(path)


def test_batches_are_full_or_dropped() -> None:
    assert pack_batches([3, 2, 4, 1], batch_size=5) == [[3, 2], [1, 0]]
    assert pack_batches([3, 3], batch_size=5) == []
    assert pack_batches([7, 5], batch_size=5) == [[1]]
    assert pack_batches([], batch_size=5) == []
    with pytest.raises(InvalidDataset, match="at least 1"):
        pack_batches([2, 0], batch_size=5)


@pytest.mark.parametrize("seed", range(5))
def test_no_item_is_packed_twice(seed: int) -> None:
    sizes = np.random.default_rng(seed).integers(1, 17, 200).tolist()
    batches = pack_batches(sizes, batch_size=50)
    packed = [item for batch in batches for item in batch]
    assert len(packed) == len(set(packed)) > 100
    assert {sum(sizes[item] for item in batch) for batch in batches} == {50}


def test_surfaces_come_back_from_their_file(tmp_path: Path) -> None:
    surfaces = ObjectSurfaces(whole=surface(), parts=(surface(20, seed=1), surface(30, seed=2)))
    write_surfaces(tmp_path / "points.npz", surfaces)
    found = read_surfaces(tmp_path / "points.npz")
    assert len(found.parts) == 2 and found.items is found.parts
    np.testing.assert_array_equal(found.parts[1].points, surfaces.parts[1].points)
    drawn = found.whole.drawn(50, np.random.default_rng(0))
    assert drawn.shape == (50, 6) and len(np.unique(drawn, axis=0)) == 50
    with pytest.raises(InvalidDataset, match="51 points are asked for"):
        found.whole.drawn(51, np.random.default_rng(0))


def test_pickles_are_never_opened(tmp_path: Path) -> None:
    np.save(tmp_path / "points.npy", np.array({"object": 1}, object), allow_pickle=True)
    with pytest.raises(InvalidDataset, match="can run anything"):
        read_surfaces(tmp_path / "points.npy")
    (tmp_path / "points.npz").write_bytes((tmp_path / "points.npy").read_bytes())
    with pytest.raises(InvalidDataset, match="is not a file of surface points"):
        read_surfaces(tmp_path / "points.npz")


def test_surfaces_that_are_none_are_refused() -> None:
    points = np.zeros((4, 3), np.float32)
    with pytest.raises(InvalidDataset, match="length 1"):
        SurfacePoints(points=points, normals=points)
    with pytest.raises(InvalidDataset, match="needed is float32"):
        SurfacePoints(points=points.astype(np.float64), normals=points)
    with pytest.raises(InvalidDataset, match="not all finite"):
        SurfacePoints(points=points + np.float32(np.nan), normals=points)


def test_sequences_are_vertices_and_offsets(tmp_path: Path) -> None:
    expected = write_anime(tmp_path / "walk.anime")
    np.testing.assert_allclose(read_anime(tmp_path / "walk.anime").vertices, expected)
    np.testing.assert_allclose(read_anime(tmp_path / "walk.anime", frames=2).vertices, expected[:2])


def test_damaged_sequences_are_refused(tmp_path: Path) -> None:
    write_anime(tmp_path / "walk.anime")
    data = (tmp_path / "walk.anime").read_bytes()
    for name, content, words in (
        ("short", data[:-4], "its header speaks of"),
        ("empty", b"", "begins with"),
        ("huge", np.array([2**31 - 1] * 3, "<i4").tobytes(), "its header speaks of"),
        ("lost", data[:12] + data[12 : 12 + 96] + b"\xff" * 144 + data[252:], "triangles of vertices"),
    ):
        (tmp_path / name).write_bytes(content)
        with pytest.raises(InvalidDataset, match=words):
            read_anime(tmp_path / name)
    with pytest.raises(InvalidDataset, match="cannot be read"):
        read_anime(tmp_path / "missing")


def test_a_sequence_is_turned_and_scaled_as_one(tmp_path: Path) -> None:
    vertices = write_anime(tmp_path / "walk.anime").astype(np.float64)
    upright = turned_upright(vertices)
    assert np.ptp(upright[0][:, 1]) == pytest.approx(3) and np.ptp(upright[0][:, 2]) == pytest.approx(2)
    placed = in_unit_cube(vertices)
    assert np.ptp(placed.reshape(-1, 3), axis=0).max() == pytest.approx(1.9)
    np.testing.assert_allclose(placed.reshape(-1, 3).min(axis=0), -placed.reshape(-1, 3).max(axis=0))
    assert not np.allclose(placed[0].mean(axis=0), placed[4].mean(axis=0))
    with pytest.raises(InvalidDataset, match="without extent"):
        in_unit_cube(np.ones((4, 3)))


def entry(**changes: object) -> dict[str, object]:
    plain = {"num_parts": 3, "valid": True, "surface_path": "a/points.npy", "image_path": "a/render_0000.webp"}
    return {**plain, "mesh_path": "a.glb", "file": "a", "iou_mean": 0.0, "iou_max": 0.0, **changes}


def test_lists_are_filtered(tmp_path: Path) -> None:
    path = tmp_path / "rooms.json"
    path.write_text(
        json.dumps([entry(), entry(valid=False), entry(num_parts=1), entry(num_parts=17), entry(iou_max=0.6)])
    )
    (room, single) = read_object_views(path)
    assert (room.parts, single.parts) == (3, 1)
    assert room.surface == tmp_path / "a" / "points.npz" and room.image == tmp_path / "a" / "render_0000.webp"
    assert len(read_object_views(path, fewest=1, most=1)) == 1
    assert read_object_views(path, root=tmp_path / "else", fewest=2)[0].surface.parent == tmp_path / "else" / "a"


@pytest.mark.parametrize(
    ("content", "words"),
    [
        ("{}", "needed is a list"),
        ("[1]", "entry 0 has no surface_path"),
        (json.dumps([entry(image_path=3)]), "has no image_path"),
        (json.dumps([entry(num_parts="many")]), "is no view"),
        ("[", "no list in JSON"),
    ],
)
def test_lists_that_are_none_are_refused(tmp_path: Path, content: str, words: str) -> None:
    (tmp_path / "list.json").write_text(content)
    with pytest.raises(InvalidDataset, match=words):
        read_object_views(tmp_path / "list.json")


def test_sequences_of_lists_keep_their_order(tmp_path: Path) -> None:
    path = tmp_path / "animals.json"
    frames = [{"surface_path": f"w/{k}/points.npy", "image_path": f"w/{k}.png"} for k in (1, 2)]
    path.write_text(json.dumps({"walk": frames}))
    assert [frame.image.name for frame in read_sequences(path)["walk"]] == ["1.png", "2.png"]
    path.write_text(json.dumps({"walk": []}))
    with pytest.raises(InvalidDataset, match="has no frames"):
        read_sequences(path)


def test_splits_follow_the_list() -> None:
    assert divided(range(10)) == ([0, 1, 2, 3, 4, 5, 6, 7, 8], [9])
    assert divided(range(10), share=1.0)[1] == []
    with pytest.raises(InvalidDataset, match="0 to 1"):
        divided([], share=2)


def test_every_other_frame_from_an_even_one() -> None:
    rng, seen = np.random.default_rng(0), set()
    for _ in range(300):
        frames = chosen_frames(9, rng, fewest=2, most=8)
        assert frames[0] % 2 == 0 and frames[-1] < 9 and set(np.diff(frames)) == {2}
        seen.add((frames[0], len(frames)))
    assert {length for _, length in seen} == {2, 3, 4, 5} and (6, 2) in seen
    with pytest.raises(InvalidDataset, match="has 2 to take"):
        chosen_frames(3, rng, fewest=3, most=8)


def test_a_picture_shows_the_near_side() -> None:
    box = trimesh.creation.box(extents=(1, 1, 1))
    colours = np.where(box.face_normals[:, 2:] > 0.5, (0.0, 1.0, 0.0), (1.0, 0.0, 0.0))
    camera, distance = fitting_camera(1.0, size=48)
    front, back = (render_mesh(box.vertices, box.faces, colours, camera, pose) for pose in orbit(2, distance))
    assert front.depth[24, 24] == pytest.approx(distance - 0.5, abs=1e-4)
    assert front.rgb[24, 24, 1] > 200 > front.rgb[24, 24, 0] and back.rgb[24, 24, 0] > 200 > back.rgb[24, 24, 1]
    assert not front.mask[0, 0] and (front.rgb[0, 0] == 255).all() and np.isnan(front.depth[0, 0])
    corner = camera.project(apply(np.linalg.inv(orbit(1, distance)[0]), np.array([0.5, 0.5, 0.5])))
    rows, columns = np.nonzero(front.mask)
    np.testing.assert_allclose((columns.max(), rows.min()), corner, atol=1.0)
    empty = render_mesh(box.vertices, box.faces[:0], colours[:0], camera, orbit(1, distance)[0])
    assert not empty.mask.any() and (empty.rgb == 255).all()


def test_an_asset_is_placed_and_its_parts_are_apart(tmp_path: Path) -> None:
    write_room(tmp_path / "room.glb")
    assert prepare_asset(tmp_path / "room.glb", tmp_path / "out", QUICK) == 3
    surfaces = read_surfaces(tmp_path / "out" / "points.npz")
    assert len(surfaces.parts) == 3 and surfaces.whole.points.shape == (500, 3)
    ends = np.stack([surfaces.whole.points.min(axis=0), surfaces.whole.points.max(axis=0)])
    assert ends[1, 0] == pytest.approx(1, abs=0.02) and ends[0, 0] == pytest.approx(-1, abs=0.02)
    widths = sorted(float(np.ptp(part.points[:, 0])) for part in surfaces.parts)
    np.testing.assert_allclose(widths, np.array([1, 1, 2]) * 2 / 6.5, atol=0.02)
    straight = [bool((np.abs(part.normals).max(axis=1) > 0.9999).all()) for part in surfaces.parts]
    assert sorted(straight) == [False, True, True]
    assert sorted(path.name for path in (tmp_path / "out").glob("render_*")) == ["render_0000.png", "render_0001.png"]
    before = (tmp_path / "out" / "points.npz").stat().st_mtime_ns
    assert prepare_asset(tmp_path / "room.glb", tmp_path / "out", QUICK) == 3
    assert (tmp_path / "out" / "points.npz").stat().st_mtime_ns == before


def test_points_lie_outside_of_double_walls() -> None:
    outside, inside = (trimesh.creation.icosphere(subdivisions=2, radius=radius) for radius in (1.0, 0.9))
    outside.invert()
    wall = trimesh.util.concatenate([outside, inside])
    mesh = SurfaceMesh(vertices=wall.vertices.astype(np.float32), faces=wall.faces.astype(np.int32))
    points, normals = outer_points(mesh, 400, rng=np.random.default_rng(0))
    assert points.shape == normals.shape == (400, 3)
    assert np.linalg.norm(points, axis=1).min() > 0.95
    assert (points * normals).sum(axis=1).min() > 0.9


def test_meshes_that_cannot_be_used_are_refused(tmp_path: Path) -> None:
    for name, content in (("broken.glb", b"glTF"), ("empty.obj", b"# nothing\n"), ("notes.txt", b"no mesh")):
        (tmp_path / name).write_bytes(content)
        with pytest.raises(InvalidDataset, match=name):
            read_geometries(tmp_path / name)
    (tmp_path / "flat.obj").write_text("v 0 0 0\nv 1 0 0\nv 2 0 0\nf 1 2 3\n")
    with pytest.raises(InvalidDataset, match="without any area"):
        prepare_asset(tmp_path / "flat.obj", tmp_path / "out", QUICK)
    assert not (tmp_path / "out").exists()
    with pytest.raises(InvalidParameter, match="size 8 to 4096"):
        AssetOptions(size=1)


def test_the_command_goes_on_and_leaves_out_what_is_broken(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    source, out = tmp_path / "source", tmp_path / "out"
    write_room(source / "a" / "room.glb")
    write_room(source / "a" / "room_full.glb")
    write_anime(source / "walk.anime")
    (source / "broken.glb").write_bytes(b"glTF")
    line = ["data", "objects-from-meshes", str(source), str(out), "--points", "200", "--size", "16", "--json"]
    line += ["--jobs", "1", "--z-up"]
    assert cli.main([*line, "--views", "2"]) == 1
    told = [json.loads(text) for text in capsys.readouterr().out.splitlines()]
    assert {one["name"]: one["count"] for one in told} == {"a_room": 3, "broken": 0, "walk": 5}
    (source / "broken.glb").unlink()
    assert cli.main([*line, "--views", "2"]) == 0
    views = read_object_views(out / "objects.json")
    assert [view.parts for view in views] == [3, 3] and all(view.image.is_file() for view in views)
    frames = read_sequences(out / "sequences.json")["walk"]
    assert len(frames) == 5 and len(read_surfaces(frames[4].surface).whole.points) == 200
    capsys.readouterr()
    assert cli.main([*line, "--views", "3"]) == 1
    assert "other views" in capsys.readouterr().err
