"""Mesh files: read back by trimesh, and the structure of animated ones held against the rules of glTF 2.0."""

import json
import struct
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import trimesh

from fourd_ros.compositional.animated_glb import HIDDEN, MovingMesh, write_animated_glb
from fourd_ros.compositional.mesh_files import write_meshes
from fourd_ros.compositional.object_colours import object_colour
from fourd_ros.compositional.surface_mesh import SurfaceMesh
from fourd_ros.errors import InvalidMesh
from fourd_ros.geometry.transforms import from_rpy

COUNTS = {"SCALAR": 1, "VEC3": 3, "VEC4": 4}


def ball(radius: float, centre: float = 0.0) -> SurfaceMesh:
    made = trimesh.creation.icosphere(subdivisions=2, radius=radius)
    vertices = (made.vertices + np.array([centre, 0, 0])).astype(np.float32)
    return SurfaceMesh(vertices=vertices, faces=made.faces.astype(np.int32))


def moving(**changes: Any) -> MovingMesh:
    poses = np.stack([from_rpy([0.1 * frame, 0, 0], [0, 0, 2.5 * frame]) for frame in range(4)])
    fields = {
        "name": "object_001",
        "colour": (215, 91, 78),
        "shapes": (ball(0.2),),
        "shown": np.zeros(4, np.int64),
        "T_scene_object": poses,
    }
    return MovingMesh(**{**fields, **changes})


TIMES = np.arange(4) / 8


class Glb:
    """A file taken apart."""

    def __init__(self, path: Path) -> None:
        content = path.read_bytes()
        magic, version, length = struct.unpack_from("<4sII", content)
        size, kind = struct.unpack_from("<I4s", content, 12)
        assert (magic, version, length, kind) == (b"glTF", 2, len(content), b"JSON")
        assert size % 4 == 0
        self.json = json.loads(content[20 : 20 + size])
        binary, kind = struct.unpack_from("<I4s", content, 20 + size)
        assert kind == b"BIN\0" and binary % 4 == 0
        self.buffer = content[28 + size :]
        assert len(self.buffer) == binary == self.json["buffers"][0]["byteLength"]

    def array(self, number: int) -> np.ndarray:
        accessor = self.json["accessors"][number]
        view = self.json["bufferViews"][accessor["bufferView"]]
        kind = {5126: np.float32, 5125: np.uint32}[accessor["componentType"]]
        count = accessor["count"] * COUNTS[accessor["type"]]
        assert count * 4 == view["byteLength"]
        assert view["byteOffset"] % 4 == 0 and view["byteOffset"] + view["byteLength"] <= len(self.buffer)
        values = np.frombuffer(self.buffer, kind, count, view["byteOffset"]).reshape(accessor["count"], -1)
        for bound, extreme in (("min", values.min(axis=0)), ("max", values.max(axis=0))):
            if bound in accessor:
                np.testing.assert_array_equal(accessor[bound], extreme)
        return values

    def tracks(self) -> dict[tuple[str, str], tuple[np.ndarray, np.ndarray, str]]:
        """Times, values and interpolation by name of the node and what changes."""
        found = {}
        for animation in self.json.get("animations", []):
            for channel in animation["channels"]:
                sampler = animation["samplers"][channel["sampler"]]
                assert {"min", "max"} <= self.json["accessors"][sampler["input"]].keys()
                times, values = self.array(sampler["input"])[:, 0], self.array(sampler["output"])
                assert len(times) == len(values) and (np.diff(times) > 0).all()
                name = self.json["nodes"][channel["target"]["node"]]["name"]
                found[name, channel["target"]["path"]] = times, values, sampler["interpolation"]
        return found


@pytest.mark.parametrize("suffix", [".glb", ".ply", ".obj"])
def test_files_are_read_back(tmp_path: Path, suffix: str) -> None:
    path = tmp_path / "new" / f"scene{suffix}"
    write_meshes(path, {"first": ball(0.2, -0.5), "second": ball(0.3, 0.5), "nothing": SurfaceMesh.empty()})
    scene = trimesh.load_scene(path, process=False)
    whole = scene.to_mesh()
    np.testing.assert_allclose(whole.bounds, [[-0.7, -0.3, -0.3], [0.8, 0.3, 0.3]], atol=1e-5)
    assert whole.volume == pytest.approx(ball(0.2).volume + ball(0.3).volume, rel=1e-4)
    if suffix == ".glb":
        assert set(scene.graph.nodes_geometry) == {"first", "second"}
        colours = {tuple(mesh.visual.vertex_colors[0, :3]) for mesh in scene.geometry.values()}
        assert colours == {object_colour(0), object_colour(1)}
    assert [file.name for file in path.parent.iterdir()] == [path.name]


def test_what_cannot_be_written_leaves_no_file(tmp_path: Path) -> None:
    with pytest.raises(InvalidMesh, match="endings"):
        write_meshes(tmp_path / "scene.fbx", {"ball": ball(0.2)})
    with pytest.raises(InvalidMesh, match="none has a face"):
        write_meshes(tmp_path / "scene.glb", {"nothing": SurfaceMesh.empty()})
    with pytest.raises(InvalidMesh, match="nothing to write"):
        write_animated_glb(tmp_path / "clip.glb", [], times=TIMES)
    assert not list(tmp_path.iterdir())


def test_a_rigid_object_moves_as_one_node(tmp_path: Path) -> None:
    write_animated_glb(tmp_path / "clip.glb", [moving()], times=TIMES)
    glb = Glb(tmp_path / "clip.glb")
    assert len(glb.json["meshes"]) == 1
    tracks = glb.tracks()
    assert set(tracks) == {("object_001", "translation"), ("object_001", "rotation")}
    times, places, how = tracks["object_001", "translation"]
    np.testing.assert_allclose(times, TIMES)
    np.testing.assert_allclose(places[:, 0], [0, 0.1, 0.2, 0.3], atol=1e-6)
    turns = tracks["object_001", "rotation"][1]
    assert how == "LINEAR"
    np.testing.assert_allclose(np.linalg.norm(turns, axis=1), 1, atol=1e-6)
    assert ((turns[1:] * turns[:-1]).sum(axis=1) > 0).all(), "it would turn the long way round"
    mesh = trimesh.load_scene(tmp_path / "clip.glb").to_mesh()
    assert mesh.volume == pytest.approx(ball(0.2).volume, rel=1e-4)


def test_a_changing_object_shows_one_shape_at_a_time(tmp_path: Path) -> None:
    changing = moving(
        shapes=(ball(0.2), ball(0.3), ball(0.4)),
        shown=np.array([0, 2, HIDDEN, 2]),
        T_scene_object=np.stack([np.eye(4), np.eye(4), np.full((4, 4), np.nan), np.eye(4)]),
    )
    write_animated_glb(tmp_path / "clip.glb", [changing], times=TIMES)
    glb = Glb(tmp_path / "clip.glb")
    names = [node["name"] for node in glb.json["nodes"]]
    assert names == ["object_001", "object_001_shape_000", "object_001_shape_002"], "a shape never shown is left out"
    tracks = glb.tracks()
    assert {how for _, _, how in tracks.values()} == {"STEP"}
    shown = np.zeros((4, 2), bool)
    for place, name in enumerate(names[1:]):
        times, scale, _ = tracks[name, "scale"]
        last = np.searchsorted(times, TIMES, side="right") - 1
        shown[:, place] = scale[last, 0] == 1
    np.testing.assert_array_equal(shown, [[1, 0], [0, 1], [0, 0], [0, 1]])


def test_what_stands_still_has_no_animation(tmp_path: Path) -> None:
    still = moving(T_scene_object=np.tile(from_rpy([1.0, 2.0, 3.0], [0, 0, 0]), (4, 1, 1)))
    write_animated_glb(tmp_path / "clip.glb", [still], times=TIMES)
    glb = Glb(tmp_path / "clip.glb")
    assert "animations" not in glb.json
    assert glb.json["nodes"][0]["translation"] == [1.0, 2.0, 3.0]


def test_normals_and_colours_are_those_of_the_shape(tmp_path: Path) -> None:
    write_animated_glb(tmp_path / "clip.glb", [moving()], times=TIMES)
    glb = Glb(tmp_path / "clip.glb")
    attributes = glb.json["meshes"][0]["primitives"][0]["attributes"]
    np.testing.assert_allclose(glb.array(attributes["NORMAL"]), 5 * glb.array(attributes["POSITION"]), atol=0.03)
    red, green, blue, _ = glb.json["materials"][0]["pbrMetallicRoughness"]["baseColorFactor"]
    assert red > 0.65 and green < 0.12 and blue < 0.08, "linear light is darker than on the screen"


@pytest.mark.parametrize(
    ("changes", "match"),
    [
        ({"shown": np.zeros(3, np.int64)}, r"needed are \[F\]"),
        ({"shown": np.array([0, 1, 0, 0])}, "shows shapes"),
        ({"shapes": (SurfaceMesh.empty(),)}, "without faces"),
        ({"T_scene_object": np.full((4, 4, 4), np.nan)}, "not known"),
    ],
)
def test_contradictions_are_refused(changes: dict[str, Any], match: str) -> None:
    with pytest.raises(InvalidMesh, match=match):
        moving(**changes)


@pytest.mark.parametrize("times", [[0, 1, 1, 2], [-1, 0, 1, 2], [0, 1, 2], [0, 1, np.nan, 3]])
def test_times_that_do_not_run_are_refused(tmp_path: Path, times: list[float]) -> None:
    with pytest.raises(InvalidMesh, match="times"):
        write_animated_glb(tmp_path / "clip.glb", [moving()], times=np.array(times))
