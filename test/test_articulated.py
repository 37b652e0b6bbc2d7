"""Generated articulated objects: their joints, pictures and files, and the command that makes them."""

import json
import os
import re
import shutil
import signal
import subprocess
import sys
import time
from dataclasses import replace
from pathlib import Path
from typing import Any

import mujoco
import numpy as np
import pytest
from PIL import Image

from fourd_ros.cli import main
from fourd_ros.data.articulated_shards import ArticulatedShards, write_objects
from fourd_ros.data.articulation import ObjectState, joint_rows, points_at, to_y_up, to_z_up
from fourd_ros.data.partdrag4d import ItemOptions, PackedPartDataset, PartDrag4DDataset
from fourd_ros.data.partdrag4d_cameras import orbit_poses, project, raw_poses
from fourd_ros.data.partdrag4d_drags import DragOptions
from fourd_ros.data.partdrag4d_folder import PartDrag4DFolder, read_states, training_pairs
from fourd_ros.errors import InvalidDataset, InvalidParameter, MissingDependency
from fourd_ros.geometry.transforms import from_rpy, rotation_from_quaternion
from fourd_ros.robot.description import RobotDescription
from fourd_ros.robot.kinematics import Kinematics
from fourd_ros.simulation.articulated import (
    ARTICULATED_SPLITS,
    NEW_KINDS,
    TRAINED_KINDS,
    articulated_seeds,
    extreme_corners,
    sample_articulated,
)
from fourd_ros.simulation.articulated_export import mjcf, mtl, obj, rpy_of, triangles_of, urdf
from fourd_ros.simulation.articulated_kinds import KINDS, MOST_JOINTS
from fourd_ros.simulation.articulated_model import surface_points
from fourd_ros.simulation.articulated_rendering import ArticulatedOptions, render_articulated, with_alpha
from fourd_ros.simulation.blender import blender_command, find_blender

QUICK = ["--size", "32", "--samples", "1", "--views", "5", "--points", "200", "--jobs", "1"]
OPTIONS = ArticulatedOptions(size=48, samples=1, joints=1, points=300)
OBJECTS = range(21)


def command(folder: Path, *options: str, objects: int = 3) -> list[str]:
    return ["data", "articulated", str(folder), "--objects", str(objects), *QUICK, *options]


@pytest.fixture(scope="module")
def packed(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Nine objects of the training split in shards."""
    folder = tmp_path_factory.mktemp("articulated") / "train"
    assert main(command(folder, "--packed", "--depth", objects=9)) == 0
    return folder


@pytest.fixture(scope="module")
def files(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The first two of them in the layout of PartDrag-4D."""
    folder = tmp_path_factory.mktemp("articulated") / "files"
    assert main(command(folder, objects=2)) == 0
    return folder


# Objects


def test_splits_share_no_object_and_one_kind_is_never_trained_on() -> None:
    seeds = [articulated_seeds(split, seed=9, objects=100_000) for split in ARTICULATED_SPLITS]
    assert all(not set(a) & set(b) for index, a in enumerate(seeds) for b in seeds[:index])
    assert not set(TRAINED_KINDS) & set(NEW_KINDS) and {*TRAINED_KINDS, *NEW_KINDS} == set(KINDS)
    assert sample_articulated(3_000_000).kind == "bin"
    for split, seed, objects in (("tests", 0, 1), ("train", 10, 1), ("train", 0, 100_001)):
        with pytest.raises(InvalidDataset):
            articulated_seeds(split, seed=seed, objects=objects)
    with pytest.raises(InvalidDataset, match="no split"):
        sample_articulated(4_000_000)


def test_the_same_seed_is_the_same_object_and_others_differ() -> None:
    assert sample_articulated(5) == sample_articulated(5)
    assert sample_articulated(5).body != sample_articulated(5 + len(TRAINED_KINDS)).body


def test_every_camera_sees_all_of_every_object_however_it_stands() -> None:
    for seed in OBJECTS:
        corners = extreme_corners(sample_articulated(seed))
        for pose in raw_poses(orbit_poses()):
            pixels = project(corners, pose, size=100)
            assert pixels.min() > 1 and pixels.max() < 100


def test_objects_have_one_to_nine_joints_that_open_outwards() -> None:
    for seed in OBJECTS:
        item = sample_articulated(seed)
        assert 1 <= len(item.moving) <= MOST_JOINTS
        assert len({part.name for part in item.moving}) == len(item.moving)
        for part in item.moving:
            assert part.hinge.upper > 0 and np.isclose(np.linalg.norm(part.hinge.direction), 1)


def test_drawers_and_doors_open_to_the_front() -> None:
    for seed in (s for s in range(25) if sample_articulated(s).kind in ("cabinet", "oven", "fridge", "microwave")):
        item = sample_articulated(seed)
        points, labels = surface_points(item, 2000, np.random.default_rng(0))
        for index in range(len(item.moving)):
            moved = to_z_up(points_at(item.joint_table, ObjectState(main=index, step=5), to_y_up(points), labels))
            mask = labels == index
            if mask.any():
                assert moved[mask, 0].max() > points[mask, 0].max() + 0.05


def test_points_lie_on_the_surface_of_their_part() -> None:
    item = sample_articulated(5)
    points, labels = surface_points(item, 500, np.random.default_rng(0))
    groups = [*(part.shapes for part in item.moving), item.body]
    for label, shapes in enumerate(groups):
        vertices = np.concatenate([triangles_of(shape)[0] for shape in shapes])
        inside = points[labels == label]
        assert (inside >= vertices.min(axis=0) - 0.01).all() and (inside <= vertices.max(axis=0) + 0.01).all()
    assert set(labels) == set(range(len(groups)))


def test_triangles_close_and_face_outwards() -> None:
    for seed in (0, 5):
        for part in sample_articulated(seed).body:
            vertices, faces = triangles_of(part)
            corners = vertices[faces]
            volume = np.einsum("ij,ij->i", corners[:, 0], np.cross(corners[:, 1], corners[:, 2])).sum() / 6
            assert volume > 0
            edges = np.sort(np.concatenate([faces[:, [0, 1]], faces[:, [1, 2]], faces[:, [2, 0]]]), axis=1)
            assert (np.unique(edges, axis=0, return_counts=True)[1] == 2).all()


def test_urdf_and_mjcf_move_as_the_joint_table_says() -> None:
    for seed in (0, 2, 4, 5):
        item = sample_articulated(seed)
        model = mujoco.MjModel.from_xml_string(mjcf(item))
        kinematics = Kinematics(RobotDescription.from_urdf(urdf(item)))
        data = mujoco.MjData(model)
        for index, part in enumerate(item.moving):
            data.qpos[:] = 0
            data.qpos[index] = model.jnt_range[index, 1]
            mujoco.mj_forward(model, data)
            limit = kinematics.limits.upper[kinematics.joint_names.index(f"{part.name}_joint")]
            assert np.isclose(limit, data.qpos[index], rtol=1e-4)
            positions = np.array([data.qpos[model.joint(name).qposadr[0]] for name in kinematics.joint_names])
            pose = kinematics.link_poses(positions)[part.name]
            assert np.allclose(pose[:3, 3], data.body(part.name).xpos, atol=1e-5)
            assert np.allclose(pose[:3, :3], data.body(part.name).xmat.reshape(3, 3), atol=1e-5)
            origin = np.append(to_y_up(np.array(part.hinge.origin)), 1)
            moved = (item.joint_table[index].motions(2)[1] @ origin)[:3]
            assert np.allclose(to_z_up(moved), data.body(part.name).xpos, atol=1e-5)


def test_roll_pitch_and_yaw_are_those_of_the_quaternion() -> None:
    for seed in (5, 12, 19):
        for part in (shape for moving in sample_articulated(seed).moving for shape in moving.shapes):
            expected = rotation_from_quaternion(part.rotation)
            assert np.allclose(from_rpy((0, 0, 0), rpy_of(part.rotation))[:3, :3], expected, atol=1e-6)


# Pictures


def test_pictures_show_the_points_where_they_are() -> None:
    facts, arrays = render_articulated(3, replace(OPTIONS, size=64, points=800))
    assert arrays.rgba.shape == (6, 12, 64, 64, 4) and len(facts.states) == 6
    for state in (0, 5):
        by_point = arrays.motions[state][arrays.labels]
        points = np.einsum("pij,pj->pi", by_point[:, :3, :3], arrays.points) + by_point[:, :3, 3]
        for view in (0, 4, 8):
            pixels = np.floor(project(points, raw_poses(arrays.poses[view]), size=64) - 0.5).astype(int)
            around = np.pad(arrays.rgba[state, view, ..., 3] > 0, 1)
            grown = np.any([np.roll(around, (dy, dx), (0, 1)) for dy in (-1, 0, 1) for dx in (-1, 0, 1)], axis=0)
            assert around[pixels[:, 1] + 1, pixels[:, 0] + 1].mean() > 0.93
            assert grown[pixels[:, 1] + 1, pixels[:, 0] + 1].all()
    assert 0.05 < arrays.visible.mean() < 0.8
    assert not arrays.rgba[arrays.rgba[..., 3] == 0].any()


def test_the_last_view_shows_what_the_first_does() -> None:
    _, arrays = render_articulated(1, OPTIONS)
    assert np.abs(arrays.rgba[:, 0].astype(int) - arrays.rgba[:, 11]).mean() < 0.5


def test_the_same_seed_gives_the_same_pictures() -> None:
    first, second = (render_articulated(6, replace(OPTIONS, views=2)) for _ in range(2))
    assert first[0] == second[0]
    assert all(
        np.array_equal(getattr(first[1], name), getattr(second[1], name)) for name in ("rgba", "points", "visible")
    )


def test_edges_are_mixtures_of_the_object_alone() -> None:
    colour = np.array([[[100, 0, 0], [200, 0, 0]], [[7, 7, 7], [9, 9, 9]]], np.uint8)
    covered = np.array([[True, True], [False, False]])
    assert with_alpha(colour, covered, 2).tolist() == [[[150, 0, 0, 128]]]
    assert with_alpha(colour, covered, 1)[1].tolist() == [[0, 0, 0, 0]] * 2


@pytest.mark.parametrize(
    "change", [{"size": 4}, {"size": 2048, "samples": 4}, {"views": 13}, {"points": 0}, {"combinations": 5}]
)
def test_sizes_are_bounded(change: dict[str, Any]) -> None:
    with pytest.raises(InvalidParameter, match=next(iter(change))):
        ArticulatedOptions(**change)


# Shards


def test_shards_hold_what_was_rendered(tmp_path: Path) -> None:
    facts, arrays = render_articulated(7, replace(OPTIONS, views=5, depth=True, joints=2))
    write_objects(tmp_path / "shards" / "a.safetensors", [(facts, arrays)])
    item = ArticulatedShards(tmp_path).object(facts.name)
    assert item.facts == facts and len(facts.sequences) == 2
    for state in (0, len(facts.states) - 1):
        assert np.array_equal(item.images(state), arrays.rgba[state])
        assert np.array_equal(item.images(state, [3, 1]), arrays.rgba[state, [3, 1]])
        assert np.array_equal(item.visible(state), arrays.visible[state])
        assert arrays.depth is not None
        assert np.allclose(item.depth(state), arrays.depth[state], atol=6e-5, equal_nan=True)
        table = points_at(facts.joints, facts.states[state], to_y_up(arrays.points), arrays.labels)
        assert np.allclose(item.points(state), to_z_up(table), atol=1e-5)
    with pytest.raises(InvalidDataset, match="no state"):
        item.images(len(facts.states))


def test_the_command_packs_and_says_what_is_there(packed: Path, capsys: pytest.CaptureFixture[str]) -> None:
    before = {path.name: path.stat().st_mtime_ns for path in (packed / "shards").iterdir()}
    assert sorted(before) == ["objects-0000000.safetensors", "objects-0000008.safetensors"]
    assert main(command(packed, "--packed", "--depth", "--json", objects=9)) == 0
    said = json.loads(capsys.readouterr().out)
    assert said["objects"] == 9 and said["states"] == 54 and said["kinds"]["cabinet"] == 2
    assert before == {path.name: path.stat().st_mtime_ns for path in (packed / "shards").iterdir()}
    assert ArticulatedShards(packed).manifest["objects"] == 9


def test_other_options_need_another_folder(packed: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert main(command(packed, "--packed", objects=9)) != 0
    assert "other options" in capsys.readouterr().err
    assert main(command(packed, "--packed", "--depth", "--split", "test", objects=9)) != 0
    assert "other split" in capsys.readouterr().err


def test_more_objects_are_added_to_what_is_there(packed: Path, tmp_path: Path) -> None:
    folder = Path(shutil.copytree(packed, tmp_path / "more"))
    assert main(command(folder, "--packed", "--depth", objects=11)) == 0
    shards = ArticulatedShards(folder)
    assert len(shards) == 11 and len(list((folder / "shards").iterdir())) == 2
    assert np.array_equal(shards.object("0000008").images(2), ArticulatedShards(packed).object("0000008").images(2))


def test_items_of_shards_are_quick_and_seeded(packed: Path) -> None:
    shards = ArticulatedShards(packed)
    items = PackedPartDataset(shards, ItemOptions(input_size=32, output_size=16, augment=True), target_views=3)
    assert len(items) == 9 * 30 and sum(map(len, items.pairs_by_object.values())) == len(items)
    for index in (0, 31, 200):
        one, two = (items.training_item(index, np.random.default_rng(index)) for _ in range(2))
        assert one.images.shape == (4, 3, 32, 32) and one.target_images.shape == (3, 3, 16, 16)
        assert np.array_equal(one.images, two.images) and np.array_equal(one.drags.end, two.drags.end)
        assert not np.array_equal(one.points_before, one.points_after)
    judged = items.evaluation_item(0, np.random.default_rng(0))
    assert judged.dragged is not None and judged.target_images.shape[0] == 5
    assert not np.allclose(judged.points_before[judged.dragged], judged.points_after[judged.dragged])


def test_drags_of_every_view_end_where_the_part_goes(packed: Path) -> None:
    options = ItemOptions(input_size=32, output_size=16, drags=DragOptions(per_view=True))
    item = PackedPartDataset(ArticulatedShards(packed), options).evaluation_item(7, np.random.default_rng(0))
    assert not np.allclose(item.drags.start[0], item.drags.start[1])


def test_damaged_shards_are_refused_by_name(packed: Path, tmp_path: Path) -> None:
    with pytest.raises(InvalidDataset, match="--packed"):
        ArticulatedShards(tmp_path)
    folder = Path(shutil.copytree(packed, tmp_path / "damaged"))
    path = folder / "shards" / "objects-0000008.safetensors"
    data = path.read_bytes()
    path.write_bytes(data[: len(data) // 2])
    with pytest.raises(InvalidDataset, match="objects-0000008"):
        ArticulatedShards(folder)
    path.write_bytes(data)
    item = ArticulatedShards(folder).object("0000008")
    place = data.find(np.asarray(item._shard.array("0000008/rgba"))[:64].tobytes())
    path.write_bytes(data[:place] + bytes(64) + data[place + 64 :])
    with pytest.raises(InvalidDataset, match="rgba 0/0 of 0000008"):
        ArticulatedShards(folder).object("0000008").images(0)
    with pytest.raises(InvalidDataset, match="no object"):
        ArticulatedShards(folder).object("0000099")


# Files of PartDrag-4D


def test_both_layouts_give_the_same_items(packed: Path, files: Path) -> None:
    folder = PartDrag4DFolder(files)
    pairs = training_pairs(folder, read_states(folder.list("train")))
    assert len(pairs) == 2 * 30
    options = ItemOptions(input_size=32, output_size=16, drags=DragOptions(noisy=0.0))
    slow, fast = PartDrag4DDataset(files, pairs, options), PackedPartDataset(ArticulatedShards(packed), options)
    one, two = slow.training_item(0, np.random.default_rng(0)), fast.training_item(0, np.random.default_rng(0))
    assert (one.source, one.target) == (two.source, two.target)
    assert one.missing == (5, 6, 7, 8, 9, 10, 11)
    assert np.array_equal(one.images, two.images) and np.array_equal(one.target_images[:5], two.target_images)
    assert np.allclose(one.points_after, two.points_after, atol=1e-5)
    assert np.allclose(one.drags.end, two.drags.end, atol=1e-2)


def test_an_object_has_every_file_of_the_original(files: Path) -> None:
    folder = PartDrag4DFolder(files)
    processed = folder.processed("0000001")
    assert processed.parent.name == "Refrigerator"
    state = folder.states[-1]
    for name in (
        "motion.json",
        "mobility.urdf",
        "object.xml",
        "parts_ply/0.obj",
        "parts_ply/0.mtl",
        "parts_ply/all_pts.txt",
        "parts_ply/all_label.txt",
        f"motion/{state.state}.obj",
        f"motion/{state.state}.ply",
        f"motion/{state.state}_visible.npy",
        f"motion/{state.state}_cam0_visible.npy",
    ):
        assert (processed / name).stat().st_size > 0
    assert len(list(folder.render(state).iterdir())) == 10
    assert json.loads((files / "articulated.json").read_text())["objects"] == 2


def test_an_object_that_is_not_whole_is_made_again(files: Path, tmp_path: Path) -> None:
    folder = PartDrag4DFolder(Path(shutil.copytree(files, tmp_path / "again")))
    shutil.rmtree(folder.processed("0000001"))
    before = PartDrag4DFolder(folder.root).processed("0000000").stat().st_mtime_ns
    assert main(command(folder.root, objects=2)) == 0
    again = PartDrag4DFolder(folder.root)
    assert (again.processed("0000001") / "motion.json").exists()
    assert again.processed("0000000").stat().st_mtime_ns == before


def test_a_killed_command_goes_on_where_it_was(tmp_path: Path) -> None:
    folder = tmp_path / "killed"
    arguments = command(folder, "--packed", "--views", "1", objects=16)
    run = subprocess.Popen([sys.executable, "-c", f"from fourd_ros.cli import main; main({arguments!r})"])
    first = folder / "shards" / "objects-0000000.safetensors"
    for _ in range(600):
        if first.exists() or run.poll() is not None:
            break
        time.sleep(0.05)
    os.kill(run.pid, signal.SIGKILL)
    run.wait()
    kept = first.stat().st_mtime_ns
    assert main(arguments) == 0
    assert first.stat().st_mtime_ns == kept
    assert len(ArticulatedShards(folder)) == 16


# PartNet-Mobility


def write_mobility(folder: Path, seed: int) -> None:
    """A generated object as a folder of PartNet-Mobility; its body bears a picture."""
    item = sample_articulated(seed)
    for name in ("textured_objs", "point_sample", "images"):
        (folder / name).mkdir(parents=True)
    Image.new("RGB", (4, 4), (0, 255, 0)).save(folder / "images" / "green.png")
    groups = [*(part.shapes for part in item.moving), item.body]
    for index, shapes in enumerate(groups):
        pieces = [(to_y_up(v), faces, shape.appearance) for shape in shapes for v, faces in [triangles_of(shape)]]
        mesh, looks = obj(pieces, index), mtl([look for _, _, look in pieces], index)
        if index == len(item.moving):
            mesh = re.sub(r"f (\d+) (\d+) (\d+)", r"f \1/1 \2/1 \3/1", "vt 0.5 0.5\n" + mesh)
            looks = looks.replace("Ks", "map_Kd ../images/green.png\nKs")
        (folder / "textured_objs" / f"{index}.obj").write_text(mesh)
        (folder / "textured_objs" / f"{index}.mtl").write_text(looks)
    leaves = [{"id": index, "objs": [str(index)]} for index in range(len(groups))]
    (folder / "result.json").write_text(json.dumps([{"id": 100, "children": leaves}]))
    rows = [*joint_rows(item.joint_table).values(), {}]
    entries = [{"parts": [{"id": index}], "jointData": row} for index, row in enumerate(rows)]
    (folder / "mobility_v2.json").write_text(json.dumps(entries))
    types = [f'<joint name="j" type="{joint.type}"/>' for joint in item.joint_table]
    (folder / "mobility.urdf").write_text("".join(types))
    points, labels = surface_points(item, 200, np.random.default_rng(0))
    np.savetxt(folder / "point_sample" / "pts-10000.txt", to_y_up(points))
    np.savetxt(folder / "point_sample" / "label-10000.txt", labels, fmt="%d")


def test_objects_of_partnet_mobility_are_rendered_where_generated_ones_are(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    source, folder = tmp_path / "partnet", tmp_path / "data"
    write_mobility(source / "7119", 3)
    (source / "7120").mkdir()
    (tmp_path / "list.csv").write_text("category,id\nMicrowave,7119\nOven,7120\nOven,1\n")
    arguments = ["data", "partdrag4d", str(source), str(folder), "--list", str(tmp_path / "list.csv")]
    arguments += ["--size", "32", "--samples", "1", "--jobs", "1", "--json"]
    assert main(arguments) == 1
    said = [json.loads(line) for line in capsys.readouterr().out.splitlines()]
    assert [line["object"] for line in said if line["left_out"]] == ["7120"]
    files = PartDrag4DFolder(folder)
    states = read_states(files.list("all"))
    assert [state.name for state in states] == [f"7119_0_{step}" for step in range(6)]
    assert (files.processed("7119") / "images" / "green.png").exists()
    data = PartDrag4DDataset(folder, training_pairs(files, states), ItemOptions(input_size=32, output_size=16))
    assert data.training_item(4, np.random.default_rng(0)).target_images.shape == (12, 3, 16, 16)
    _, expected = render_articulated(3, replace(OPTIONS, size=32))
    for step in (0, 5):
        rgba = data.state(states[step]).views.rgba
        assert (rgba[..., 3] != expected.rgba[step, ..., 3]).mean() < 0.01
        shown = rgba[rgba[..., 3] > 0].astype(int)
        assert (shown[:, 1] > shown[:, 0] + 60).mean() > 0.3  # the body is green
    assert main([*arguments, "--depth"]) != 0
    assert "other options" in capsys.readouterr().err


# Blender


def test_blender_is_asked_for_by_name_where_it_is_missing(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setenv("PATH", str(tmp_path))
    with pytest.raises(MissingDependency, match="apt-get install blender"):
        find_blender()
    assert main(command(tmp_path / "data", "--renderer", "blender")) != 0
    assert "blender" in capsys.readouterr().err
    assert main(command(tmp_path / "data", "--renderer", "blender", "--packed")) != 0
    assert "shards" in capsys.readouterr().err


def test_blender_gets_the_script_and_the_views() -> None:
    line = blender_command("blender", Path("m.obj"), Path("out"), size=64, views=(0, 3))
    script = Path(line[line.index("--python") + 1])
    assert script.name == "blender_script.py"
    compile(script.read_text(), str(script), "exec")
    assert line[line.index("--") + 1 :] == ["--object", "m.obj", "--output", "out", "--size", "64", "--views", "0,3"]
