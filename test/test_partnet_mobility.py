"""Joint tables and states of PartDrag-4D, and folders of PartNet-Mobility."""

import json
from pathlib import Path

import numpy as np
import pytest
from PIL import Image
from safetensors.numpy import load_file

from fourd_ros.data.articulation import (
    Joint,
    ObjectState,
    joint_of,
    joint_rows,
    point_states,
    points_at,
    read_joint_table,
    sequences,
    state_motions,
    to_y_up,
    to_z_up,
    vertex_states,
    write_joint_table,
)
from fourd_ros.data.obj_meshes import merge_meshes
from fourd_ros.data.partdrag4d_folder import (
    PartDrag4DFolder,
)
from fourd_ros.data.partnet_mobility import prepare_mobility, read_categories, read_mobility
from fourd_ros.errors import InvalidDataset

GOLDEN = Path(__file__).parent / "golden" / "partrm"


# Articulation


def test_states_of_joints_are_those_of_the_original() -> None:
    given = load_file(GOLDEN / "articulation" / "articulation.safetensors")
    settings = json.loads((GOLDEN / "articulation" / "motion.json").read_text())
    table = table_of(settings["motion"])
    for position, kind in enumerate(("revolute", "prismatic")):
        points = point_states(table[position], given["points"], given["labels"], settings["states"])
        assert np.allclose(points, given[f"{kind}_points"], atol=1e-5)
        vertices = vertex_states(table, position, given["verts"], settings["num_vtx"], settings["states"])
        assert np.allclose(vertices, given[f"{kind}_verts"], atol=1e-5)
    assert not table[2].moves


def table_of(rows: dict[str, object]) -> tuple[Joint, ...]:
    return tuple(joint_of(key, row, path=Path("motion.json")) for key, row in rows.items())


def hinge(**changes: object) -> Joint:
    values: dict[str, object] = {
        "key": "0",
        "type": "revolute",
        "origin": (1.0, 0.0, 0.0),
        "direction": (0.0, 3.0, 0.0),
        "lower": 0.0,
        "upper": 90.0,
        "parts": (1,),
    }
    return Joint(**(values | changes))  # type: ignore[arg-type]


def test_turning_axes_are_normalised_and_sliding_ones_are_not() -> None:
    points, labels = np.array([[2.0, 5.0, 0.0]]), np.array([1])
    assert np.allclose(point_states(hinge(), points, labels, 2)[1], [[1.0, 5.0, -1.0]])
    slide = hinge(type="prismatic", upper=0.5)
    assert np.allclose(point_states(slide, points, labels, 2)[1], [[2.0, 6.5, 0.0]])


def test_an_oblique_axis_keeps_its_points_and_all_distances() -> None:
    joint = hinge(direction=(1.0, 2.0, -0.5), origin=(0.3, -0.2, 0.1))
    on_axis = np.array(joint.origin) + 0.7 * np.array(joint.direction)
    rng = np.random.default_rng(0)
    points = np.vstack([on_axis, rng.normal(size=(5, 3))])
    states = point_states(joint, points, np.ones(6, int), 6)
    assert np.allclose(states[:, 0], on_axis)
    distances = np.linalg.norm(states[:, 1:] - on_axis, axis=-1)
    assert np.allclose(distances, distances[0]) and np.allclose(states[0], points)


def test_parts_in_parts_move_one_after_the_other_about_axes_of_the_rest_pose() -> None:
    outer = hinge(direction=(0.0, 1.0, 0.0), origin=(0.0, 0.0, 0.0), parts=(1, 2))
    inner = hinge(key="3", type="prismatic", direction=(1.0, 0.0, 0.0), upper=1.0, parts=(2,))
    points, labels = np.array([[1.0, 0.0, 0.0], [1.0, 0.0, 0.0]]), np.array([1, 2])
    state = ObjectState(main=0, step=5, others=((1, 1),))
    # The inner one slides along x although what carries it has turned x into -z.
    assert np.allclose(points_at((outer, inner), state, points, labels), [[0, 0, -1], [1, 0, -1]])
    assert list(state_motions((outer, inner), state)) == [0, 1]


@pytest.mark.parametrize(
    "changes",
    [{"lower": None}, {"upper": None}, {"direction": None}, {"direction": (0.0, 0.0, 0.0)}, {"type": "fixed"}],
)
def test_joints_without_limits_or_axis_have_no_states(changes: dict[str, object]) -> None:
    joint = hinge(**changes)
    assert not joint.moves
    with pytest.raises(InvalidDataset, match="needed are type revolute or prismatic"):
        joint.motions(6)
    assert sequences((joint,), np.random.default_rng(0)) == []


def test_a_vertex_block_belongs_to_the_place_in_the_table_and_not_to_the_key() -> None:
    table = (hinge(key="4", type="prismatic", upper=1.0), hinge(key="7", type="prismatic", upper=1.0))
    moved = vertex_states(table, 1, np.zeros((6, 3)), (0, 2, 5, 6), 2)[1]
    assert np.flatnonzero(moved.any(axis=1)).tolist() == [2, 3, 4]
    with pytest.raises(InvalidDataset, match="no mesh"):
        vertex_states(table, 2, np.zeros((6, 3)), (0, 2, 5, 6), 2)


def test_sequences_have_the_extremes_of_two_others_and_the_names_of_the_original() -> None:
    table = tuple(hinge(key=str(index), parts=(index,)) for index in range(4))
    found = sequences(table, np.random.default_rng(0))
    assert len(found) == 16 and all(len(run) == 6 for run in found)
    assert len({state.name for run in found for state in run}) == 96
    assert ObjectState(main=0, step=3, others=((1, 0), (2, 1))).name == "0_3_2110"
    assert [len(sequences(table[:count], np.random.default_rng(0))) for count in (1, 2)] == [1, 4]
    assert len(sequences(table, np.random.default_rng(0), joints=1, combinations=1)) == 1


def test_a_joint_table_reads_back(tmp_path: Path) -> None:
    table = (hinge(), hinge(key="5", lower=None, unlimited=True, direction=None))
    write_joint_table(tmp_path / "motion.json", table)
    assert read_joint_table(tmp_path / "motion.json") == table


@pytest.mark.parametrize(
    "change", [{"axis": None}, {"part_div": 3}, {"limit": {"a": "left"}}, {"axis": {"origin": [0]}}]
)
def test_damaged_joint_tables_are_refused_by_joint(tmp_path: Path, change: dict[str, object]) -> None:
    rows = dict(joint_rows((hinge(),)))
    rows["0"] = rows["0"] | change
    (tmp_path / "motion.json").write_text(json.dumps(rows))
    with pytest.raises(InvalidDataset, match=r"motion\.json', joint '0'"):
        read_joint_table(tmp_path / "motion.json")


def test_z_up_is_undone_by_y_up() -> None:
    assert to_z_up(np.array([1, 2, 3])).tolist() == [3, 1, 2]
    assert to_y_up(to_z_up(np.arange(6).reshape(2, 3))).tolist() == [[0, 1, 2], [3, 4, 5]]


# PartNet-Mobility


@pytest.fixture
def mobility(tmp_path: Path) -> Path:
    """A cabinet of a fixed body, a door of two meshes, and a drawer, as PartNet-Mobility has it."""
    folder = tmp_path / "44781"
    (folder / "textured_objs").mkdir(parents=True)
    (folder / "point_sample").mkdir()
    (folder / "images").mkdir()
    Image.new("RGB", (2, 2)).save(folder / "images" / "wood.png")
    for number, name in enumerate(("body", "door", "handle", "drawer")):
        (folder / "textured_objs" / f"{name}.obj").write_text(
            f"mtllib {name}.mtl\nv 0 0 {number}\nv 1 0 {number}\nv 0 1 {number}\nvt 0 0\nusemtl skin\nf 1/1 2/1 -1/1\n"
        )
        (folder / "textured_objs" / f"{name}.mtl").write_text("newmtl skin\nKd 1 0 0\nmap_Kd ../images/wood.png\n")
    parts = {"body": (1, ["body"]), "door": (2, ["door"]), "handle": (3, ["handle"]), "drawer": (4, ["drawer"])}
    leaf = {name: {"id": number, "name": name, "objs": objs} for name, (number, objs) in parts.items()}
    tree = [
        {"id": 0, "children": [leaf["body"], {"id": 9, "children": [leaf["door"], leaf["handle"]]}, leaf["drawer"]]}
    ]
    (folder / "result.json").write_text(json.dumps(tree))

    def entry(name: str, ids: list[int], data: dict[str, object]) -> dict[str, object]:
        return {"name": name, "parts": [{"id": number} for number in ids], "jointData": data}

    axis = {"origin": [0, 0, 0], "direction": [0, 2, 0]}
    (folder / "mobility_v2.json").write_text(
        json.dumps(
            [
                entry("door", [2, 3], {"axis": axis, "limit": {"a": 0, "b": 90}}),
                entry("body", [1], {}),
                entry("drawer", [4], {"axis": axis, "limit": {"a": 0, "b": 0.5}}),
                entry("more", [7], {"axis": axis, "limit": {"a": None, "b": None, "noLimit": True}}),
            ]
        )
    )
    (folder / "mobility.urdf").write_text(
        '<robot name="x"><joint name="joint_0" type="revolute"></joint><joint name="joint_1" type="fixed"/>'
        '<joint name="joint_2" type="prismatic"/></robot>'
    )
    np.savetxt(folder / "point_sample" / "pts-10000.txt", np.random.default_rng(0).normal(size=(20, 3)))
    np.savetxt(folder / "point_sample" / "label-10000.txt", np.repeat([1, 2, 3, 4], 5), fmt="%d")
    return folder


def test_a_folder_of_partnet_mobility_is_prepared_as_the_original_does(mobility: Path, tmp_path: Path) -> None:
    item = read_mobility(mobility)
    assert [joint.key for joint in item.joints] == ["0", "2", "3"]
    assert [joint.type for joint in item.joints] == ["revolute", "prismatic", ""]
    assert [joint.moves for joint in item.joints] == [True, True, False]
    assert item.mesh_groups == (("door", "handle"), ("drawer",), (), ("body",))
    target = prepare_mobility(item, tmp_path / "data", "StorageFurniture")
    assert target == PartDrag4DFolder(tmp_path / "data").processed("44781")
    assert read_joint_table(target / "motion.json") == item.joints
    door = (target / "parts_ply" / "0.obj").read_text().splitlines()
    assert door[0] == "mtllib 0.mtl" and "usemtl material-0-1" in door
    assert [line for line in door if line.startswith("f ")] == ["f 1/1 2/1 3/1", "f 4/2 5/2 6/2"]
    assert "map_Kd ../images/wood.png" in (target / "parts_ply" / "0.mtl").read_text()
    assert (target / "images" / "wood.png").exists() and (target / "parts_ply" / "3.obj").exists()
    states = point_states(item.joints[0], item.points, item.labels, 6)
    assert np.flatnonzero(np.abs(states[5] - states[0]).any(axis=1)).tolist() == list(range(5, 15))


@pytest.mark.parametrize(
    ("file", "text"),
    [
        ("result.json", "{}"),
        ("result.json", '[{"id": 1, "objs": ["../../secret"]}]'),
        ("result.json", None),
        ("mobility_v2.json", '[{"parts": 3, "jointData": {}}]'),
        ("mobility_v2.json", '[{"parts": [], "jointData": {"axis": {}}}]'),
        ("mobility.urdf", None),
        ("point_sample/pts-10000.txt", "a b c\n"),
        ("point_sample/label-10000.txt", "1\n2\n"),
    ],
)
def test_damaged_folders_of_partnet_mobility_are_refused(mobility: Path, file: str, text: str | None) -> None:
    (mobility / file).unlink()
    if text is not None:
        (mobility / file).write_text(text)
    with pytest.raises(InvalidDataset, match=file.split("/")[0].removesuffix(".json").removesuffix(".urdf")):
        read_mobility(mobility)


def test_meshes_that_are_damaged_leave_nothing_behind(mobility: Path, tmp_path: Path) -> None:
    (mobility / "textured_objs" / "handle.obj").write_text("v 0 0 0\nf 1 2 3\n")
    with pytest.raises(InvalidDataset, match=r"handle\.obj"):
        prepare_mobility(read_mobility(mobility), tmp_path / "data", "StorageFurniture")
    assert not list((tmp_path / "data").rglob("*.*"))
    (mobility / "textured_objs" / "handle.obj").write_text("mtllib ../../secret.mtl\n")
    with pytest.raises(InvalidDataset, match="outside"):
        merge_meshes([mobility / "textured_objs" / "handle.obj"], 0)


def test_the_list_of_objects_leaves_out_what_partdrag4d_lacks(tmp_path: Path) -> None:
    path = tmp_path / "list.csv"
    path.write_text("category,id\nOven,7119\nFoldingChair,1\n")
    assert read_categories(path) == {"7119": "Oven"}
    path.write_text("a,b\n1,2\n")
    with pytest.raises(InvalidDataset, match="category and id"):
        read_categories(path)
