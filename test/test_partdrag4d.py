"""PartDrag-4D: cameras, states, visibility, drags, augmentations and items against the vectors, and damage."""

import json
import shutil
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
from PIL import Image
from safetensors.numpy import load_file

from fourd_ros.data.gaussian_database import GaussianDatabase
from fourd_ros.data.partdrag4d import ItemOptions, PartDrag4DDataset, training_item
from fourd_ros.data.partdrag4d_augmentation import Distortion, Jitter, distort, draw_distortion, draw_jitter, shake
from fourd_ros.data.partdrag4d_cameras import (
    clamp,
    normalise_points,
    normalise_poses,
    orbit_poses,
    project,
    raw_poses,
    read_camera,
    view_numbers,
    write_camera,
)
from fourd_ros.data.partdrag4d_drags import (
    DragOptions,
    read_indices,
    read_propagated,
)
from fourd_ros.data.partdrag4d_folder import (
    PartDrag4DFolder,
    StateName,
    read_states,
    training_pairs,
    validation_pairs,
)
from fourd_ros.data.partdrag4d_images import load_views, on_white, read_rgba
from fourd_ros.data.partdrag4d_visibility import official_visible_points, visible_points
from fourd_ros.data.point_ply import read_points, write_points
from fourd_ros.errors import InvalidDataset, InvalidParameter
from fourd_ros.part_dynamics.rays import pluecker_rays
from fourd_ros.part_dynamics.splat_camera import OfficialMatrices

GOLDEN = Path(__file__).parent / "golden" / "partrm"
FIRST, SECOND = StateName("70001_0_0"), StateName("70001_0_1")
SMALL = ItemOptions(input_size=64, output_size=32)


def vectors(name: str) -> dict[str, np.ndarray]:
    return load_file(GOLDEN / f"{name}.safetensors")


@pytest.fixture
def tree(tmp_path: Path) -> Path:
    """The toy data set, to be changed."""
    return Path(shutil.copytree(GOLDEN / "dataset" / "tree", tmp_path / "tree"))


def dataset(tree: Path, options: ItemOptions = SMALL, *, generated: bool = False) -> PartDrag4DDataset:
    pairs = training_pairs(PartDrag4DFolder(tree), read_states(tree / "filelist" / "train.txt"))
    return PartDrag4DDataset(tree, pairs, options, generated=generated)


def with_drags(**changes: object) -> ItemOptions:
    return replace(SMALL, drags=DragOptions(**changes))  # type: ignore[arg-type]


# Cameras


def test_cameras_are_those_of_the_original() -> None:
    expected = vectors("dataset/cameras")
    files = PartDrag4DFolder(GOLDEN / "dataset" / "tree")
    raw = np.stack([read_camera(files.camera(FIRST, view)) for view in range(12)])
    assert np.allclose(raw, expected["c2w_opencv_blender_world"], atol=1e-5)
    assert np.allclose(normalise_poses(raw), expected["cam_poses_normalised"], atol=1e-5)
    for view in range(3):
        assert np.allclose(project(expected["points"], raw[view]), expected["projected"][view], atol=1e-3)
    assert np.allclose(raw_poses(orbit_poses()), raw, atol=1e-6)


def test_points_are_normalised_into_the_world_of_the_poses() -> None:
    raw = raw_poses(orbit_poses())
    points = vectors("dataset/cameras")["points"]
    world, poses = normalise_points(points, raw[0], cam_radius=2.0), normalise_poses(raw, cam_radius=2.0)
    for view in (0, 5):
        camera = (world - poses[view, :3, 3]) @ poses[view, :3, :3]
        pixels = 256.5 + 256 * 2.7777777 * camera[:, :2] / -camera[:, 2:] * (1, -1)
        assert np.allclose(pixels, project(points, raw[view]), atol=1e-2)


def test_normalising_some_views_needs_the_first_of_all() -> None:
    raw = raw_poses(orbit_poses())
    assert np.allclose(normalise_poses(raw[4:6], first=raw[0]), normalise_poses(raw)[4:6], atol=1e-6)
    with pytest.raises(InvalidDataset, match="origin"):
        normalise_poses(np.eye(4)[None])


def test_fewer_views_keep_those_that_networks_see() -> None:
    assert view_numbers(12) == tuple(range(12))
    assert view_numbers(8) == (0, 1, 2, 3, 4, 6, 8, 10)
    assert view_numbers(2) == (0, 1)


@pytest.mark.parametrize(
    "text",
    ["", "[]", '{"x": [1,0,0]}', '{"x": [0,0,0], "y": [0,1,0], "z": [0,0,1], "origin": [0,0,0]}', '{"x": [1,0,0]'],
)
def test_damaged_cameras_are_refused_by_name(tmp_path: Path, text: str) -> None:
    (tmp_path / "000_camera.json").write_text(text)
    with pytest.raises(InvalidDataset, match="000_camera"):
        read_camera(tmp_path / "000_camera.json")


def test_a_written_camera_reads_back(tmp_path: Path) -> None:
    pose = orbit_poses()[3]
    write_camera(tmp_path / "camera.json", pose)
    assert np.array_equal(read_camera(tmp_path / "camera.json"), raw_poses(pose))


# Visibility


def test_the_defective_z_buffer_is_reproduced() -> None:
    given = vectors("zbuffer/zbuffer")
    assert np.array_equal(official_visible_points(given["points"], given["view_matrix"]), given["visible"])


def test_of_two_walls_only_the_near_one_is_visible() -> None:
    pose = orbit_poses()[0]
    grid = np.stack(np.meshgrid(np.linspace(-0.5, 0.5, 40), np.linspace(-0.5, 0.5, 40)), axis=-1).reshape(-1, 2)
    right, up, back = pose[:3, 0], pose[:3, 1], pose[:3, 2]
    near = grid @ np.stack([right, up]) + 0.5 * back
    far = grid @ np.stack([right, up]) * 0.8 - 0.5 * back
    points = np.concatenate([far, near])
    seen = visible_points(points, raw_poses(pose))
    assert set(seen) == set(range(len(far), len(points)))
    # What the original keeps and drops is another set.
    assert not np.array_equal(official_visible_points(points, raw_poses(pose)), seen)


def test_points_off_the_picture_are_not_visible() -> None:
    pose = raw_poses(orbit_poses()[0])
    points = np.array([[0.0, 0.0, 0.0], [0.0, 9.0, 0.0], [0.0, 0.0, 30.0]])
    assert visible_points(points, pose).tolist() == [0]
    assert official_visible_points(points, pose).tolist() == [0]
    assert visible_points(np.zeros((0, 3)), pose).size == 0


# Augmentations


def test_augmentations_are_those_of_the_original() -> None:
    given = vectors("augment/augment")
    jitter = Jitter(up=given["jitter_u_x"], right=given["jitter_u_y"])
    assert np.allclose(shake(given["jitter_in"], jitter), given["jitter_out"], atol=1e-5)
    assert np.allclose(distort(given["grid_in"], Distortion(uniforms=given["grid_u"])), given["grid_out"], atol=1e-4)


@pytest.mark.parametrize(("knots", "shape"), [(8, (32, 48)), (13, (40, 24)), (16, (24, 25))])
def test_any_number_of_knots_and_any_shape_can_be_distorted(knots: int, shape: tuple[int, int]) -> None:
    rows, columns = np.mgrid[: shape[0], : shape[1]].astype(np.float32)
    image = np.stack([rows / shape[0], columns / shape[1], np.ones(shape, np.float32)])[None]
    straight = distort(image, Distortion(uniforms=np.full((2, knots), 0.5, np.float32)))
    inside = (slice(None), slice(None), slice(1, -1), slice(1, -1))
    assert np.abs(straight - image)[inside].max() < 0.1
    drawn = Distortion(uniforms=np.random.default_rng(0).random((2, knots), np.float32))
    assert np.abs(distort(image, drawn) - straight).max() > 0.02


def test_draws_have_the_ranges_of_the_original() -> None:
    knots = {draw_distortion(np.random.default_rng(seed), 3).uniforms.shape for seed in range(200)}
    assert knots == {(6, count) for count in range(8, 17)}
    assert draw_jitter(np.random.default_rng(0), 3).up.shape == (3,)
    with pytest.raises(InvalidParameter, match="drawn for 3 pictures"):
        distort(np.zeros((2, 3, 8, 8), np.float32), Distortion(uniforms=np.zeros((6, 8), np.float32)))


# Items


def test_the_training_item_is_that_of_the_original(tree: Path) -> None:
    expected = vectors("dataset/train_item")
    item = dataset(tree, with_drags(noisy=0.0)).training_item(0, np.random.default_rng(0))
    order = np.lexsort((item.drags.start[0, :, 1], item.drags.start[0, :, 0]))
    assert np.allclose(item.images[1], expected["input_rgb_view1"], atol=1e-4)
    assert np.allclose(item.drags.start[:, order], expected["drags_start_sorted"], atol=1e-2)
    assert np.allclose(item.drags.end[:, order], expected["drags_end_sorted"], atol=1e-2)


@pytest.mark.parametrize(("official", "ends"), [(True, "drags_end"), (False, "drags_end_fixed")])
def test_the_evaluation_item_is_that_of_the_original(tree: Path, official: bool, ends: str) -> None:
    torch = pytest.importorskip("torch")
    expected = vectors("dataset/eval_item")
    settings = json.loads((GOLDEN / "dataset" / "config.json").read_text())
    motion = tree / "processed_data_partdrag4d" / "StorageFurniture" / "70001" / "motion"
    np.save(motion / "0_0_cam0_visible.npy", settings["visible_list"])
    item = dataset(tree, with_drags(official_compat=official), generated=True).evaluation_item(
        0, np.random.default_rng(0)
    )
    assert item.dragged == settings["visible_index"]
    rays = pluecker_rays(torch.from_numpy(item.input_poses), size=64, fovy=settings["fovy"]).numpy()
    assert np.allclose(np.concatenate([item.images, rays], axis=1), expected["input"], atol=2e-4)
    assert item.source_images is not None
    assert np.allclose(item.source_images, expected["images_input"], atol=1e-4)
    assert np.allclose(item.target_images, expected["images_output"], atol=1e-4)
    assert np.allclose(item.target_masks, expected["masks_output"], atol=1e-4)
    assert np.allclose(item.drags.start, expected["drags_start"], atol=1e-2)
    assert np.allclose(item.drags.end, expected[ends], atol=1e-2)
    matrices = OfficialMatrices.from_opengl(item.target_poses, fovy=settings["fovy"])
    for name in ("cam_view", "cam_view_proj", "cam_pos"):
        assert np.allclose(getattr(matrices, name), expected[name], atol=1e-4)


def test_source_and_target_have_cameras_of_their_own(tree: Path) -> None:
    """The two states of the vectors have the same ones, so nothing there tells them apart."""
    files = PartDrag4DFolder(tree)
    turned = orbit_poses()[2:] @ np.diag([1.0, 1.0, 1.0, 1.0])
    for view in range(10):
        write_camera(files.camera(SECOND, view), turned[view])
    item = dataset(tree, with_drags(noisy=0.0)).training_item(0, np.random.default_rng(0))
    raw = raw_poses(orbit_poses())
    assert np.allclose(item.input_poses, normalise_poses(raw)[:4], atol=1e-5)
    assert np.allclose(item.target_poses[:10], normalise_poses(raw[2:]), atol=1e-5)
    after = read_points(files.points(SECOND))[20:30]
    assert np.allclose(np.sort(item.drags.end[0], axis=0), np.sort(clamp(project(after, raw[0])), axis=0), atol=1e-2)


def test_augmented_items_keep_view_0_and_the_targets(tree: Path) -> None:
    source, target = (dataset(tree).state(name) for name in (FIRST, SECOND))
    plain = training_item(source, target, np.random.default_rng(1), SMALL)
    changed = []
    for seed in range(8):
        item = training_item(source, target, np.random.default_rng(seed), replace(SMALL, augment=True))
        assert np.array_equal(item.images[0], plain.images[0])
        assert np.array_equal(item.input_poses[0], plain.input_poses[0])
        assert np.array_equal(item.target_images, plain.target_images)
        changed.append(
            [not np.array_equal(getattr(item, name), getattr(plain, name)) for name in ("images", "input_poses")]
        )
    assert {distorted for distorted, _ in changed} == {shaken for _, shaken in changed} == {True, False}


def test_every_view_can_have_drags_of_its_own(tree: Path) -> None:
    item = dataset(tree, with_drags(noisy=0.0, per_view=True)).training_item(0, np.random.default_rng(0))
    before = read_points(PartDrag4DFolder(tree).points(FIRST))[20:30]
    raw = raw_poses(orbit_poses())
    for view in range(4):
        expected = clamp(project(before, raw[view]))
        assert np.allclose(np.sort(item.drags.start[view], axis=0), np.sort(expected, axis=0), atol=1e-2)


# Folder, lists, damage


def test_lists_hold_paths_and_comments(tmp_path: Path) -> None:
    path = tmp_path / "list.txt"
    path.write_text("a/b/70001_0_0\n# Random\n\nrender/70001_0_3_2110/\n")
    assert [state.name for state in read_states(path)] == ["70001_0_0", "70001_0_3_2110"]
    assert read_states(path)[1].at_step(5).name == "70001_0_5_2110"
    for line in ("70001", "70001_x_0", "70001_0_0_1_2", "../etc"):
        path.write_text(line)
        with pytest.raises(InvalidDataset, match="no state"):
            read_states(path)
    with pytest.raises(InvalidDataset, match="no list"):
        read_states(tmp_path / "missing.txt")


def test_pairs_are_states_of_one_sequence(tree: Path) -> None:
    files = PartDrag4DFolder(tree)
    listed = read_states(tree / "filelist" / "val.txt")
    assert training_pairs(files, listed) == ((FIRST, SECOND), (SECOND, FIRST))
    assert training_pairs(files, listed, with_gaussians=True) == ((FIRST, SECOND), (SECOND, FIRST))
    assert validation_pairs(files, listed, np.random.default_rng(0)) in (((FIRST, SECOND),), ((SECOND, FIRST),))
    files.gaussians(SECOND).unlink()
    assert training_pairs(files, listed, with_gaussians=True) == ((SECOND, FIRST),)
    shutil.rmtree(files.render(SECOND))
    assert training_pairs(files, listed) == ((SECOND, FIRST),)


def test_a_missing_view_moves_the_others_up(tree: Path, caplog: pytest.LogCaptureFixture) -> None:
    files = PartDrag4DFolder(tree)
    files.picture(FIRST, 2).write_bytes(files.picture(FIRST, 2).read_bytes()[:200])
    files.camera(FIRST, 5).write_text("{")
    state = dataset(tree).state(FIRST)
    assert state.views.missing == (2, 5) and len(state.views.rgba) == 12
    assert np.array_equal(state.views.rgba[2], read_rgba(files.picture(FIRST, 3)))
    assert np.array_equal(state.views.rgba[9:], state.views.rgba[[9, 9, 9]])
    assert "002.png" in caplog.text and "005_camera" in caplog.text


def test_generated_views_follow_the_number_or_as_officially_the_count(tree: Path) -> None:
    files = PartDrag4DFolder(tree)
    files.generated(FIRST, 1).unlink()

    def read(official: bool) -> list[int]:
        used: list[int] = []

        def generated(view: int) -> Path:
            used.append(view)
            return files.generated(FIRST, view)

        views = load_views(
            lambda view: files.picture(FIRST, view),
            lambda view: files.camera(FIRST, view),
            generated=generated,
            official_compat=official,
        )
        assert len(views.rgba) == 12
        return used

    assert read(official=False) == [1, 2, 3]
    # 4 and on are asked for until three are found, and there is no fourth.
    assert read(official=True) == [1, 2, 3, 4, 5, 6, 7, 8, 9, 10, 11]


def test_no_readable_view_is_an_error(tree: Path) -> None:
    for path in PartDrag4DFolder(tree).render(FIRST).glob("*.png"):
        path.write_bytes(b"")
    with pytest.raises(InvalidDataset, match="70001_0_0"):
        dataset(tree).state(FIRST)


def test_pictures_that_are_not_square_or_no_png_are_refused(tmp_path: Path) -> None:
    Image.new("RGBA", (4, 6)).save(tmp_path / "a.png")
    Image.new("RGB", (4, 4)).save(tmp_path / "b.bmp")
    for name in ("a.png", "b.bmp", "missing.png"):
        with pytest.raises(InvalidDataset, match=name):
            read_rgba(tmp_path / name)
    Image.new("RGB", (4, 4), (255, 0, 0)).save(tmp_path / "opaque.png")
    assert on_white(read_rgba(tmp_path / "opaque.png"))[:, 0, 0].tolist() == [1.0, 0.0, 0.0, 1.0]


def test_damaged_indices_are_refused(tmp_path: Path) -> None:
    path = tmp_path / "propagated_indices.npy"
    for values in (np.array([[1.0, 2.0]]), np.array([[1, 600]]), np.array([1, 2]), np.zeros((0, 2), int)):
        np.save(path, values)
        with pytest.raises(InvalidDataset, match="propagated_indices"):
            read_propagated(path)
    np.save(path, np.array([{}]), allow_pickle=True)
    with pytest.raises(InvalidDataset, match="propagated_indices"):
        read_indices(path)
    path.write_bytes(path.read_bytes()[:20])
    with pytest.raises(InvalidDataset, match="propagated_indices"):
        read_indices(path)


def test_visible_points_that_are_not_there_are_refused(tree: Path) -> None:
    motion = tree / "processed_data_partdrag4d" / "StorageFurniture" / "70001" / "motion"
    np.save(motion / "0_0_visible.npy", [0, 60])
    with pytest.raises(InvalidDataset, match="0_0_visible"):
        dataset(tree).state(FIRST)
    np.save(motion / "0_0_visible.npy", [0, 25])
    assert dataset(tree).state(FIRST).visible is not None


def test_point_files_read_back_and_damage_is_named(tmp_path: Path) -> None:
    points = np.random.default_rng(0).normal(size=(5, 3)).astype(np.float32)
    path = tmp_path / "points.ply"
    write_points(path, points)
    assert np.array_equal(read_points(path), points)
    path.write_text(
        "ply\nformat ascii 1.0\nelement vertex 1\nproperty uchar red\nproperty double y\nproperty float x\n"
        "property float z\nend_header\n7 2 1 3\n"
    )
    assert read_points(path).tolist() == [[1.0, 2.0, 3.0]]
    for text in (
        "",
        "ply\nformat ascii 1.0\nelement vertex 9999999999\nproperty float x\nend_header\n",
        "ply\nformat ascii 1.0\nelement vertex 2\nproperty float x\nproperty float y\nproperty float z\n"
        "end_header\n1 2 3\n",
    ):
        path.write_text(text)
        with pytest.raises(InvalidDataset, match=r"points\.ply"):
            read_points(path)
    write_points(path, np.full((2, 3), np.nan))
    with pytest.raises(InvalidDataset, match="finite"):
        read_points(path)


# Database of Gaussians


def test_gaussians_are_kept_unpruned(tmp_path: Path) -> None:
    database = GaussianDatabase(tmp_path / "gaussians")
    values = np.random.default_rng(0).uniform(0, 1, (64, 14)).astype(np.float32)
    values[:32, 3] = 0.0  # of no opacity
    database.write("70001_0_0", values)
    database.write("70001_0_1", values, half=False)
    assert database.states == ("70001_0_0", "70001_0_1") and "70001_0_1" in database
    assert np.abs(database.read("70001_0_0") - values).max() < 5e-4
    assert np.array_equal(database.read("70001_0_1"), values)
    with pytest.raises(InvalidDataset, match="no Gaussians"):
        database.read("70001_0_2")
    with pytest.raises(InvalidDataset, match="cannot name"):
        database.read("../70001")
    with pytest.raises(InvalidDataset, match=r"\[64, 13\]"):
        database.write("a", values[:, :13])
    with pytest.raises(InvalidDataset, match="not finite as float16"):
        database.write("a", np.full((1, 14), 1e6))
    database.path("70001_0_0").write_bytes(database.path("70001_0_0").read_bytes()[:-9])
    with pytest.raises(InvalidDataset, match="70001_0_0"):
        database.read("70001_0_0")


def test_items_carry_the_gaussians_of_the_target(tree: Path) -> None:
    database = GaussianDatabase(tree / "gaussians")
    for state, value in ((FIRST, 0.0), (SECOND, 1.0)):
        database.write(state.name, np.full((4, 14), value))
    items = PartDrag4DDataset(tree, ((FIRST, SECOND),), SMALL, gaussians=database)
    gaussians = items.training_item(0, np.random.default_rng(0)).gaussians
    assert gaussians is not None and gaussians.min() == 1.0
