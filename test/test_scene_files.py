"""Fused scenes and their files."""

import json
from pathlib import Path

import cv2
import numpy as np
import pytest
from scipy.spatial.transform import Rotation

from fourd_ros.errors import InvalidClip, InvalidResults
from fourd_ros.geometry.camera import PinholeCamera
from fourd_ros.geometry.transforms import from_parts
from fourd_ros.reconstruction.official.depth_images import depth_image, depth_metadata
from fourd_ros.reconstruction.official.scene_files import (
    POSE_FILE,
    read_fused,
    read_poses,
    write_fused,
    write_named,
    write_scene,
    write_times,
)
from fourd_ros.reconstruction.official.scene_fusion import FusedScene, fuse, instance_colour, tinted
from fourd_ros.reconstruction.official.track_regions import BORDER, Regions

FRAMES, HEIGHT, WIDTH = 3, 12, 16
CAMERA = PinholeCamera(width=WIDTH, height=HEIGHT, K=np.array([[20.0, 0, 7.5], [0, 20, 5.5], [0, 0, 1]]))
TURNS = Rotation.from_rotvec(np.arange(9.0).reshape(3, 3) / 50).as_matrix()
POSES = from_parts(TURNS, np.arange(9.0).reshape(3, 3) / 10)
EVERYWHERE = np.ones((FRAMES, HEIGHT, WIDTH), np.bool_)


def _clip() -> tuple[np.ndarray, np.ndarray, Regions]:
    """Object 2 left of object 1, before a room."""
    rng = np.random.default_rng(0)
    rgb = rng.integers(0, 256, (FRAMES, HEIGHT, WIDTH, 3)).astype(np.uint8)
    depth = rng.uniform(2, 3, (FRAMES, HEIGHT, WIDTH)).astype(np.float32)
    instances = np.zeros((FRAMES, HEIGHT, WIDTH), np.int32)
    instances[:2, 3:6, 2:5], instances[:, 3:6, 8:11] = 2, 1
    areas = (instances > 0).astype(np.uint8)
    areas[:, 0] = BORDER
    return rgb, depth, Regions(instances=instances, of_masks=areas, of_tracks=areas)


def _scene() -> FusedScene:
    rgb, depth, regions = _clip()
    return fuse(rgb, depth, regions, CAMERA, POSES, usable=EVERYWHERE)


def test_every_usable_pixel_is_a_point():
    rgb, depth, regions = _clip()
    scene = _scene()
    assert len(scene.static_points) == (regions.of_masks == 0).sum()
    assert np.array_equal(scene.static_rgbs, rgb[regions.of_masks == 0])
    seen = np.linalg.inv(POSES[0]) @ np.append(scene.static_points[0], 1)
    np.testing.assert_allclose(CAMERA.project(seen[:3]), [0, 1], atol=1e-5)
    assert seen[2] == pytest.approx(depth[0, 1, 0], rel=1e-6)


def test_moving_points_are_in_groups_of_their_objects():
    rgb, _, _ = _clip()
    scene = _scene()
    assert scene.moving_instance.tolist() == ([1] * 9 + [2] * 9) * 2 + [1] * 9
    assert scene.moving_frame.tolist() == [0] * 18 + [1] * 18 + [2] * 9
    assert np.array_equal(scene.moving_rgbs[:3], rgb[0, 3, 8:11])  # object 1 first, although it is to the right
    assert [len(one) for one in scene.by_frame(scene.moving_points)] == [18, 18, 9]


def test_pixels_at_edges_and_without_depth_are_left_out():
    rgb, depth, regions = _clip()
    depth[:] = 2
    depth[0, 6, 6], depth[1, 7, 7] = 9, np.nan
    scene = fuse(rgb, depth, regions, CAMERA, POSES)
    assert np.isfinite(scene.static_points).all()
    assert not (np.abs(scene.static_points - POSES[0, :3, 3]).max(axis=1) > 8).any()


def test_shapes_must_fit():
    rgb, depth, regions = _clip()
    with pytest.raises(InvalidClip, match=r"\[2, 4, 4\]"):
        fuse(rgb, depth, regions, CAMERA, POSES[:2])


def test_tints_cut_fractions_off_and_keep_their_colours():
    colours = np.array([[101, 99, 3], [101, 99, 3], [101, 99, 3], [0, 0, 0]], np.uint8)
    found = tinted(colours, np.array([1, 2, 3, 9]))
    assert found[:3].tolist() == [[147, 69, 2], [70, 145, 2], [70, 69, 78]]
    assert instance_colour(9) == instance_colour(9) != instance_colour(10)
    assert min(instance_colour(9)) >= 100
    assert tinted(colours[:0], np.zeros(0, np.int64)).shape == (0, 3)


@pytest.mark.parametrize("tint", [False, True])
def test_a_fused_scene_comes_back_without_pickles(tmp_path, tint):
    scene = _scene()
    write_fused(tmp_path / "fused.npz", scene, tint=tint)
    found = read_fused(tmp_path / "fused.npz")
    for name in ("static_points", "static_rgbs", "moving_points", "moving_frame", "moving_instance", "rgb", "K"):
        assert np.array_equal(getattr(found, name), getattr(scene, name)), name
    colours = tinted(scene.moving_rgbs, scene.moving_instance) if tint else scene.moving_rgbs
    assert np.array_equal(found.moving_rgbs, colours)
    assert found.T_world_camera[:, 3].tolist() == [[0, 0, 0, 1]] * FRAMES
    with np.load(tmp_path / "fused.npz", allow_pickle=False) as archive:
        assert archive["dyn_points_flat"].shape == (45, 3)
        if tint:
            assert archive["instance_numbers"].tolist() == [1, 2]
            assert archive["instance_rgbs"].tolist() == [[255, 0, 0], [0, 255, 0]]


def test_lists_of_the_original_have_an_entry_for_each_frame(tmp_path):
    rgb, depth, regions = _clip()
    scene = fuse(rgb[:2], depth[:2], _first(regions, 2), CAMERA, POSES[:2], usable=EVERYWHERE[:2])
    write_fused(tmp_path / "fused.npz", scene)  # equal numbers of points, which the original makes one block of
    with np.load(tmp_path / "fused.npz", allow_pickle=True) as archive:  # what we wrote ourselves a line above
        assert archive["dyn_points"].shape == archive["dyn_rgbs"].shape == (2,)
        assert np.array_equal(archive["dyn_points"][1], scene.by_frame(scene.moving_points)[1])


def test_a_scene_without_moving_points_is_written(tmp_path):
    rgb, depth, regions = _clip()
    still = Regions(instances=0 * regions.instances, of_masks=0 * regions.of_masks, of_tracks=0 * regions.of_tracks)
    write_fused(tmp_path / "fused.npz", fuse(rgb, depth, still, CAMERA, POSES), tint=True)
    assert len(read_fused(tmp_path / "fused.npz").moving_points) == 0


def test_files_of_others_are_refused(tmp_path):
    with pytest.raises(InvalidResults, match="fourd reconstruct"):
        read_fused(tmp_path / "none.npz")
    objects = np.empty(2, object)
    objects[:] = [np.zeros((1, 3)), np.zeros((2, 3))]
    np.savez(tmp_path / "original.npz", static_points=np.zeros((1, 3)), dyn_points=objects)
    with pytest.raises(InvalidResults, match="never read"):
        read_fused(tmp_path / "original.npz")
    write_fused(tmp_path / "fused.npz", _scene())
    with np.load(tmp_path / "fused.npz", allow_pickle=True) as archive:
        arrays = dict(archive)
    for name, wrong, said in (
        ("dyn_frame", arrays["dyn_frame"][:-1], "dyn_frame"),
        ("dyn_frame", arrays["dyn_frame"] + 7, "outside"),
        ("dyn_frame", arrays["dyn_frame"][::-1], "decrease"),
        ("static_rgbs", arrays["static_rgbs"][1:], "static_rgbs"),
        ("c2w", objects, "never read"),
    ):
        np.savez(tmp_path / "wrong.npz", **(arrays | {name: wrong}))
        with pytest.raises(InvalidResults, match=said):
            read_fused(tmp_path / "wrong.npz")
    (tmp_path / "cut.npz").write_bytes((tmp_path / "fused.npz").read_bytes()[:900])
    with pytest.raises(InvalidResults, match=r"cut\.npz"):
        read_fused(tmp_path / "cut.npz")


def test_all_files_of_a_scene(tmp_path):
    _, depth, regions = _clip()
    scene = _scene()
    depth[1, 2, 3] = np.nan
    write_scene(tmp_path, scene, depth, regions.instances, suffix="_t")
    names = {str(path.relative_to(tmp_path)) for path in tmp_path.rglob("*") if path.is_file()}
    assert names == {
        *(f"{frame:04d}_t.npz" for frame in range(FRAMES)),
        *(f"depth_maps_t/{frame:04d}_geometric.png" for frame in range(FRAMES)),
        "depth_maps_t/depth_metadata.npy",
        "depth_maps_t/depth_metadata.json",
        "deva_masked_fused_4d_t.npz",
        "fused_4d_t.npz",
        "masks/frame_0000_deva_mask.png",
        "poses_t.npz",
    }
    poses, K = read_poses(tmp_path / POSE_FILE.format(suffix="_t"))
    np.testing.assert_allclose(poses, POSES)
    np.testing.assert_allclose(K[2], CAMERA.K)
    with np.load(tmp_path / "0001_t.npz", allow_pickle=False) as frame:
        types = {name: (array.shape, str(array.dtype)) for name, array in frame.items()}
        np.testing.assert_allclose(1 / frame["disp"], depth[1], rtol=1e-6)
    assert types == {
        "disp": ((HEIGHT, WIDTH), "float32"),
        "img": ((HEIGHT, WIDTH, 3), "uint8"),
        "R": ((3, 3), "float32"),
        "t": ((3,), "float32"),
        "K": ((3, 3), "float32"),
    }
    _check_depth_images(tmp_path / "depth_maps_t", depth)


def _check_depth_images(folder: Path, depth: np.ndarray) -> None:
    rows = json.loads((folder / "depth_metadata.json").read_text())
    for row, truth in zip(rows, depth, strict=True):
        image = cv2.imread(str(folder / f"{row['frame']:04d}_geometric.png"), cv2.IMREAD_UNCHANGED)
        metres = row["depth_min"] + image / 65535 * (row["depth_max"] - row["depth_min"])
        assert image.dtype == np.uint16
        assert np.nanmax(np.abs(metres - truth)) < 1e-4


def test_masks_of_another_size_are_refused(tmp_path):
    _, depth, regions = _clip()
    with pytest.raises(InvalidClip, match="the frames"):
        write_scene(tmp_path, _scene(), depth, regions.instances[:1])
    assert not list(tmp_path.iterdir())


def test_the_files_that_the_readme_names(tmp_path):
    _, depth, _ = _clip()
    flow = np.ones((HEIGHT, WIDTH, 2), np.float32)
    write_named(tmp_path, _scene(), depth, {(0, 2): flow})
    assert len(read_fused(tmp_path / "fused_4d.npz").static_points)
    assert np.array_equal(np.load(tmp_path / "depth" / "0002.npy", allow_pickle=False), depth[2])
    with np.load(tmp_path / "flow" / "0000_0002.npz", allow_pickle=False) as archive:
        assert np.array_equal(archive["flow"], flow)


def test_times_are_told(tmp_path):
    write_times(tmp_path, {"tracks": 1.5, "bundle": 0.25})
    assert (tmp_path / "optimization_times.txt").read_text() == "tracks: 1.500\nbundle: 0.250\n"
    assert (tmp_path / "timer.txt").read_text() == "1.750\n"


def test_depth_images_of_flat_and_unknown_depth():
    flat, unknown = np.full((4, 5), 2, np.float32), np.full((4, 5), np.nan, np.float32)
    assert not depth_image(flat).any() and not depth_image(unknown).any()
    rows = depth_metadata(np.stack([flat, unknown]))
    assert rows[0]["depth_min"] == rows[0]["depth_max"] == 2
    assert np.isnan(rows[1]["depth_max"])


def _first(regions: Regions, count: int) -> Regions:
    return Regions(
        instances=regions.instances[:count],
        of_masks=regions.of_masks[:count],
        of_tracks=regions.of_tracks[:count],
    )
