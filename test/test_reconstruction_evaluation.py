"""``fourd evaluate poses`` and ``depth``: the metrics, and tiny data sets in every layout."""

import json
import re
import struct
from collections.abc import Callable
from pathlib import Path
from typing import Any

import cv2
import numpy as np
import pytest
from evo.core import metrics, sync
from evo.core.trajectory import PoseTrajectory3D

from fourd_ros import cli
from fourd_ros.errors import InvalidDataset, InvalidResults, InvalidTransform
from fourd_ros.evaluation import sintel_files, tum_files
from fourd_ros.evaluation.depth_datasets import DEPTH_DATASETS
from fourd_ros.evaluation.pose_datasets import POSE_DATASETS, SINTEL_SCENES, TUM_SCENES
from fourd_ros.evaluation.pose_metrics import pose_scores
from fourd_ros.evaluation.reconstruction_results import read_poses
from fourd_ros.evaluation.reconstruction_scores import mean_scores, score_depth, score_poses
from fourd_ros.evaluation.scene_folders import read_path
from fourd_ros.evaluation.video_depth_metrics import video_depth_errors
from fourd_ros.geometry.transforms import from_quaternion, invert, to_quaternion

SUFFIX = "_simple_flow_opt_1.0_1e-4"
HEIGHT, WIDTH = 6, 8


def path(frames: int, seed: int = 0) -> np.ndarray:
    """Poses that wander."""
    generator = np.random.default_rng(seed)
    steps = from_quaternion(generator.normal(0.1, 0.1, (frames, 3)), generator.normal([0, 0, 0, 1], 0.1, (frames, 4)))
    for number in range(1, frames):
        steps[number] = steps[number - 1] @ steps[number]
    return steps


def moved(truth: np.ndarray, seed: int = 1, noise: float = 0.0) -> np.ndarray:
    """The path in another frame and scale, with noise."""
    generator = np.random.default_rng(seed)
    quaternions = generator.normal([0, 0, 0, 1], noise, (len(truth), 4))
    shaken = truth @ from_quaternion(generator.normal(0, noise, (len(truth), 3)), quaternions)
    estimate = from_quaternion([1, 2, 3], [0.1, -0.4, 0.3, 0.8]) @ shaken
    estimate[:, :3, 3] *= 2.5
    return estimate


def depth_video(frames: int, seed: int = 0) -> np.ndarray:
    depth = np.random.default_rng(seed).uniform(1, 13, (frames, HEIGHT, WIDTH))
    depth[:, 0, 0] = 0
    return depth.astype(np.float32)


# metrics


@pytest.mark.parametrize("normalize", [False, True])
def test_pose_scores_are_those_of_evo(normalize: bool) -> None:
    truth = path(30)
    estimate = moved(truth, noise=0.02)
    reference = truth.copy()
    if normalize:
        reference[:, :3, 3] /= np.linalg.norm(np.diff(truth[:, :3, 3], axis=0), axis=1).sum()
    stamps = np.arange(30.0)
    true, ours = (PoseTrajectory3D(poses_se3=list(poses), timestamps=stamps) for poses in (reference, estimate))
    true, ours = sync.associate_trajectories(true, ours)
    ours.align(true, correct_scale=True)
    expected = []
    for metric in (
        metrics.APE(metrics.PoseRelation.translation_part),
        metrics.RPE(metrics.PoseRelation.translation_part, delta=1, all_pairs=True),
        metrics.RPE(metrics.PoseRelation.rotation_angle_deg, delta=1, all_pairs=True),
    ):
        metric.process_data((true, ours))
        expected.append(metric.get_statistic(metrics.StatisticsType.rmse))
    scores = pose_scores(estimate, truth, normalize=normalize)
    np.testing.assert_allclose((scores.ate, scores.rpe_translation, scores.rpe_rotation), expected, rtol=1e-6)
    assert scores.known == 1


def test_a_path_with_gaps_is_judged_by_what_is_known() -> None:
    truth = path(20)
    estimate = moved(truth)
    estimate[3:8] = np.nan
    scores = pose_scores(estimate, truth)
    assert scores.ate < 1e-9 and scores.known == 15 / 20


def test_paths_that_say_nothing() -> None:
    truth = path(20)
    still = np.tile(np.eye(4), (20, 1, 1))
    for estimate, true, normalize in ((still, truth, False), (np.full_like(truth, np.nan), truth, False)):
        with pytest.raises(InvalidResults, match="no similarity"):
            pose_scores(estimate, true, normalize=normalize)
    with pytest.raises(InvalidResults, match="length 0"):
        pose_scores(truth, still, normalize=True)
    with pytest.raises(InvalidTransform):
        pose_scores(truth[:5], truth)


@pytest.mark.parametrize("fit", ["scale-shift", "median", "scale"])
def test_a_fit_undoes_what_it_may(fit: Any) -> None:
    truth = depth_video(3)
    with np.errstate(divide="ignore"):
        disparity = 3 / truth + (0.2 if fit == "scale-shift" else 0)
    errors = video_depth_errors(disparity, truth, fit=fit)
    assert errors.abs_rel < 1e-5 and errors.delta == 1 and errors.pixels == 3 * (HEIGHT * WIDTH - 1)
    errors = video_depth_errors(truth * 3, truth, domain="depth", fit=fit)
    assert errors.abs_rel < 1e-5 and errors.delta == 1


def test_one_fit_holds_for_all_frames() -> None:
    truth = depth_video(2)
    depth = truth * np.array([1, 2], np.float32)[:, None, None]
    assert video_depth_errors(depth, truth, domain="depth", fit="scale").abs_rel > 0.2


def test_what_counts_and_where_depth_ends() -> None:
    truth = np.array([[[1.0, 2.0, 5.0, 80.0, 0.0, np.inf]]])
    disparity = np.array([[[1.0, 0.5, 0.2, 0.1, 9.0, 9.0]]])
    assert video_depth_errors(disparity, truth).pixels == 3
    assert video_depth_errors(disparity, truth, max_depth=4).pixels == 2
    near = video_depth_errors(disparity, truth, clip=2.0)
    assert near.abs_rel == pytest.approx(0.6 / 3, abs=1e-6)
    gap = disparity.copy()
    gap[0, 0, 1] = np.nan
    assert video_depth_errors(gap, truth).coverage == pytest.approx(2 / 3)


def test_the_median_is_the_lower_one() -> None:
    truth = np.array([[[1.0, 2.0, 3.0, 4.0]]])
    errors = video_depth_errors(np.array([[[1.0, 1.0, 2.0, 2.0]]]), truth, domain="depth", fit="median")
    assert errors.abs_rel == pytest.approx((1 / 1 + 0 + 1 / 3 + 0) / 4)


@pytest.mark.parametrize(
    ("prediction", "truth", "match"),
    [
        (np.ones((1, 2, 2)), np.ones((1, 2, 2)), "does not determine"),
        (np.ones((1, 2, 2)), np.zeros((1, 2, 2)), "none of 0"),
        (np.full((1, 2, 2), np.nan), np.ones((1, 2, 2)), "none of 4"),
        (np.ones((1, 2, 2)), np.ones((1, 2, 3)), "for a truth of"),
    ],
)
def test_depth_that_says_nothing(prediction: np.ndarray, truth: np.ndarray, match: str) -> None:
    with pytest.raises(InvalidResults, match=match):
        video_depth_errors(prediction, truth)


# files of others


def write_cam(file: Path, T_world_camera: np.ndarray) -> None:
    file.parent.mkdir(parents=True, exist_ok=True)
    K = np.array([[500.0, 0, 3], [0, 500, 2], [0, 0, 1]])
    file.write_bytes(struct.pack("<f", 202021.25) + K.tobytes() + invert(T_world_camera)[:3].tobytes())


def write_dpt(file: Path, depth: np.ndarray) -> None:
    file.parent.mkdir(parents=True, exist_ok=True)
    height, width = depth.shape
    file.write_bytes(struct.pack("<fii", 202021.25, width, height) + depth.astype("<f4").tobytes())


def write_png(file: Path, depth: np.ndarray, steps: float) -> None:
    file.parent.mkdir(parents=True, exist_ok=True)
    assert cv2.imwrite(str(file), (depth * steps).round().astype(np.uint16))


def write_lists(folder: Path, stamps: np.ndarray, truth: np.ndarray, every: int = 1) -> None:
    """``rgb.txt`` and ``groundtruth.txt``; the truth is `every` times as dense and a little late."""
    folder.mkdir(parents=True)
    lines = [f"{stamp:.4f} rgb/{stamp:.4f}.png" for stamp in stamps]
    (folder / "rgb.txt").write_text("# color images\n" + "\n".join(lines) + "\n")
    positions, quaternions = to_quaternion(truth)
    step = (stamps[1] - stamps[0]) / every
    rows = [
        " ".join(f"{value:.9f}" for value in (stamps[0] + step * number + 0.001, *position, *quaternion))
        for number, (position, quaternion) in enumerate(zip(positions, quaternions, strict=True))
    ]
    (folder / "groundtruth.txt").write_text("# timestamp tx ty tz qx qy qz qw\n" + "\n".join(rows) + "\n")


def write_result(folder: Path, poses: np.ndarray | None, depth: np.ndarray | None, suffix: str = SUFFIX) -> None:
    place = folder / "dynamicBA" / "base"
    place.mkdir(parents=True, exist_ok=True)
    if poses is not None:
        np.savez(place / f"poses{suffix}.npz", poses=poses, intrinsics=np.zeros((len(poses), 3, 3), np.float32))
    if depth is not None:
        for number, image in enumerate(depth):
            with np.errstate(divide="ignore"):
                np.savez(
                    place / f"{number:04d}{suffix}.npz",
                    disp=1 / (image + np.float32(1e-16)),
                    R=np.eye(3, dtype=np.float32),
                    t=np.full(3, number, np.float32),
                )


def test_files_of_sintel_come_back(tmp_path: Path) -> None:
    (pose,) = path(1)
    write_cam(tmp_path / "a.cam", pose)
    K, T = sintel_files.read_camera(tmp_path / "a.cam")
    np.testing.assert_allclose(T, pose, atol=1e-12)
    assert K[0, 0] == 500 and K[1, 2] == 2
    (depth,) = depth_video(1)
    write_dpt(tmp_path / "a.dpt", depth)
    np.testing.assert_array_equal(sintel_files.read_depth(tmp_path / "a.dpt"), depth)


@pytest.mark.parametrize(
    "data", [b"", b"12", b"PIEH" * 50, struct.pack("<fii", 202021.25, 10**5, 10**5), struct.pack("<fii", 1.0, 1, 1)]
)
def test_files_that_are_none_of_sintel(tmp_path: Path, data: bytes) -> None:
    (tmp_path / "a").write_bytes(data)
    for read in (sintel_files.read_camera, sintel_files.read_depth):
        with pytest.raises(InvalidDataset):
            read(tmp_path / "a")
        with pytest.raises(InvalidDataset, match="cannot be read"):
            read(tmp_path / "missing")


def test_nearest_stamps() -> None:
    stamps = np.array([3.0, 1.0, 2.0])
    np.testing.assert_array_equal(tum_files.nearest(stamps, np.array([0.9, 2.4, 2.6, 3.3, 1.5])), [1, 2, 0, 0, 1])
    np.testing.assert_array_equal(tum_files.nearest(stamps[:1], np.array([2.5, 3.5])), [0, 0])
    with pytest.raises(InvalidDataset, match="away"):
        tum_files.nearest(stamps, np.array([5.0]))


@pytest.mark.parametrize("text", ["", "1 2 3\n", "a b c d e f g h\n", "1 2 3 4 5 6 7 nan\n"])
def test_trajectories_that_are_none(tmp_path: Path, text: str) -> None:
    (tmp_path / "groundtruth.txt").write_text(text)
    with pytest.raises(InvalidDataset):
        tum_files.read_trajectory(tmp_path / "groundtruth.txt")


@pytest.mark.parametrize("array", [np.zeros((3, 2)), np.zeros((3, 4, 4), complex), np.array([None])])
def test_paths_that_are_none(tmp_path: Path, array: np.ndarray) -> None:
    np.save(tmp_path / "c2w.npy", array, allow_pickle=True)
    with pytest.raises(InvalidDataset):
        read_path(tmp_path / "c2w.npy")


# layouts


def sintel(root: Path, truth: np.ndarray, depth: np.ndarray) -> str:
    for number, (pose, image) in enumerate(zip(truth, depth, strict=True), start=1):
        write_cam(root / f"training/camdata_left/alley_2/frame_{number:04d}.cam", pose)
        write_dpt(root / f"training/depth/alley_2/frame_{number:04d}.dpt", image)
    return "alley_2"


def bonn(root: Path, truth: np.ndarray, depth: np.ndarray) -> str:
    """The truth is twice as dense as the pictures; frames 30 to 139 count."""
    folder = root / "rgbd_bonn_crowd2"
    stamps = 1548266470.0 + 0.04 * np.arange(150)
    dense = np.repeat(np.concatenate([path(30, 5), truth, path(10, 6)]), 2, axis=0)
    write_lists(folder, stamps, dense, every=2)
    for number, image in enumerate(depth):
        write_png(folder / f"depth/{stamps[30 + number] + 0.003:.4f}.png", image, 5000)
    return folder.name


def kitti(root: Path, _: np.ndarray, depth: np.ndarray) -> str:
    drive = "2011_09_26_drive_0002_sync"
    for number, image in enumerate(np.concatenate([depth, depth[:5]])):
        write_png(root / f"val/{drive}/proj_depth/groundtruth/image_02/{number + 5:010d}.png", image, 256)
    return drive


def plain(root: Path, truth: np.ndarray, depth: np.ndarray) -> str:
    (root / "desk" / "depth_gt").mkdir(parents=True)
    np.save(root / "desk" / "c2w.npy", truth)
    for number, image in enumerate(depth):
        np.save(root / "desk" / "depth_gt" / f"{number:04d}.npy", image)
    return "desk"


def tum(root: Path, truth: np.ndarray, _: np.ndarray) -> str:
    """Every third picture counts, 90 in all; the truth in between is wild."""
    dense = np.repeat(truth, 3, axis=0)
    dense[1::3], dense[2::3] = path(len(truth), 7), path(len(truth), 8)
    write_lists(root / TUM_SCENES[1], 100 + 0.03 * np.arange(len(dense)), dense)
    return TUM_SCENES[1]


@pytest.mark.parametrize(
    ("dataset", "make", "frames"), [("sintel", sintel, 6), ("bonn", bonn, 110), ("tum", tum, 90), ("scenes", plain, 5)]
)
def test_true_paths(tmp_path: Path, dataset: str, make: Callable[..., str], frames: int) -> None:
    truth = path(frames)
    scene = make(tmp_path / "data", truth, depth_video(frames))
    np.testing.assert_allclose(POSE_DATASETS[dataset].read(tmp_path / "data", scene), truth, atol=1e-6)
    assert scene in POSE_DATASETS[dataset].scenes(tmp_path / "data")
    write_result(tmp_path / "out" / scene, moved(truth), None)
    score = score_poses(
        dataset, tmp_path / "data", tmp_path / "out", scene, experiment="base", normalize=False, published=False
    )
    assert not score.problem and score.values["ATE"] < 1e-6 and score.values["RPEr"] < 1e-4


@pytest.mark.parametrize(
    ("dataset", "make", "frames"),
    [("sintel", sintel, 6), ("bonn", bonn, 110), ("kitti", kitti, 110), ("scenes", plain, 5)],
)
def test_true_depth(tmp_path: Path, dataset: str, make: Callable[..., str], frames: int) -> None:
    depth = depth_video(frames)
    scene = make(tmp_path / "data", path(frames), depth)
    video = DEPTH_DATASETS[dataset].video(tmp_path / "data", scene)
    np.testing.assert_allclose(video, depth, atol=1 / 256 / 2 + 1e-6)
    assert scene in DEPTH_DATASETS[dataset].scenes(tmp_path / "data")
    write_result(tmp_path / "out" / scene, None, depth)
    score = score_depth(dataset, tmp_path / "data", tmp_path / "out", scene, experiment="base", fit="scale")
    assert not score.problem and score.values["video: abs_rel"] < 2e-3 and score.values["video: d1 < 1.25"] == 1
    assert score.weight == frames * (HEIGHT * WIDTH - 1)


@pytest.mark.parametrize(("dataset", "steps"), [("bonn", 5000.0), ("kitti", 256.0)])
def test_prepared_scenes_have_the_steps_of_their_data_set(tmp_path: Path, dataset: str, steps: float) -> None:
    (depth,) = depth_video(1)
    write_png(tmp_path / "one" / "depth_gt" / "0.png", depth, steps)
    np.testing.assert_allclose(DEPTH_DATASETS[dataset].video(tmp_path, "one")[0], depth, atol=1 / steps)
    assert DEPTH_DATASETS[dataset].scenes(tmp_path) == ["one"]


def test_published_numbers_on_bonn_have_wrong_rotations_and_right_positions(tmp_path: Path) -> None:
    """The truth of published numbers goes by row, and reads quaternions w x y z as x y z w."""
    folder = tmp_path / "rgbd_bonn_one"
    truth = path(145, 9)
    write_lists(folder, 10 + 0.04 * np.arange(145), truth)
    data = POSE_DATASETS["bonn"]
    right, wrong = (data.read(tmp_path, folder.name, published=published) for published in (False, True))
    np.testing.assert_allclose(right, truth[30:140], atol=1e-6)
    np.testing.assert_allclose(wrong[:, :3, 3], truth[30:140, :3, 3], atol=1e-6)
    _, quaternions = to_quaternion(truth[30:140])
    np.testing.assert_allclose(wrong, from_quaternion(truth[30:140, :3, 3], np.roll(quaternions, 1, axis=1)), atol=1e-6)
    with pytest.raises(InvalidDataset, match="only those of bonn"):
        POSE_DATASETS["tum"].read(tmp_path, "x", published=True)


def test_disparities_are_brought_to_the_size_of_the_truth(tmp_path: Path) -> None:
    rows, columns = np.mgrid[0:24, 0:32]
    depth = (5 + 0.05 * rows + 0.04 * columns).astype(np.float32)[None]
    plain(tmp_path / "data", path(1), depth)
    write_result(tmp_path / "out" / "desk", None, depth[:, ::2, ::2])
    score = score_depth("scenes", tmp_path / "data", tmp_path / "out", "desk", experiment="base", fit="scale-shift")
    assert score.values["video: abs_rel"] < 0.01


# results


def test_poses_come_from_whatever_a_result_holds(tmp_path: Path) -> None:
    truth = path(4)
    write_result(tmp_path, truth, depth_video(4))
    place = tmp_path / "dynamicBA" / "base"
    np.testing.assert_allclose(read_poses(place), truth)
    (place / f"poses{SUFFIX}.npz").unlink()
    np.testing.assert_array_equal(read_poses(place)[:, 0, 3], range(4))
    np.save(place / "c2w.npy", truth)
    np.testing.assert_allclose(read_poses(place), truth)


def test_results_with_several_suffixes(tmp_path: Path) -> None:
    write_result(tmp_path, path(4, 1), None, suffix="_other")
    place = tmp_path / "dynamicBA" / "base"
    np.testing.assert_allclose(read_poses(place), path(4, 1))
    write_result(tmp_path, path(4, 2), None, suffix="_third")
    with pytest.raises(InvalidResults, match="_third"):
        read_poses(place)
    write_result(tmp_path, path(4, 3), None)
    np.testing.assert_allclose(read_poses(place), path(4, 3))


@pytest.mark.parametrize(
    ("spoil", "reason"),
    [
        (lambda folder: None, "no results of 'desk'"),
        (lambda folder: folder.mkdir(parents=True), "no files of frames"),
        (lambda folder: write_result(folder, path(4), depth_video(4)), "4 "),
        (
            lambda folder: write_result(folder, np.zeros((5, 3)), depth_video(5)[:, 0]),
            "needed is a float|needed \\[frames",
        ),
        (lambda folder: write_result(folder, np.array([None]), depth_video(5).astype(complex)), "needed is|objects"),
    ],
)
def test_scenes_that_fail_say_why(tmp_path: Path, spoil: Callable[[Path], None], reason: str) -> None:
    plain(tmp_path / "data", path(5), depth_video(5))
    spoil(tmp_path / "out" / "desk")
    where = tmp_path / "data", tmp_path / "out", "desk"
    scores = [
        score_poses("scenes", *where, experiment="base", normalize=False, published=False),
        score_depth("scenes", *where, experiment="base", fit="median"),
    ]
    for score in scores:
        assert not score.values
        assert re.search(reason, score.problem)
    assert mean_scores(scores) == {}


# commands


def test_poses_on_the_command_line(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    """Two of Sintel's scenes are there; the others fail and are counted."""
    truth = path(6)
    sintel(tmp_path / "data", truth, depth_video(6))
    write_result(tmp_path / "out" / "alley_2", moved(truth, noise=0.01), None)
    arguments = [str(tmp_path / "data"), str(tmp_path / "out"), "--out", str(tmp_path / "results")]
    assert cli.main(["evaluate", "poses", "sintel", *arguments]) == 1
    told = capsys.readouterr().out
    assert "mean of 1 of 14" in told and "13 of 14 scenes failed" in told and "temple_3" in told
    folder = tmp_path / "results" / "pose" / "sintel" / "base_unnormalized"
    found = json.loads((folder / "result.json").read_text())
    assert set(found) == {"ATE", "RPEt", "RPEr", "pose_err", "failures"}
    assert set(found["failures"]) == set(SINTEL_SCENES) - {"alley_2"}
    assert found["pose_err"]["alley_2"]["ATE"] == found["ATE"] > 0
    assert (folder / "all_results.txt").read_text().count("\n") == 15
    assert cli.main(["evaluate", "poses", "sintel", *arguments, "--scenes", "alley_2", "--normalize", "--json"]) == 0
    told = json.loads(capsys.readouterr().out)
    length = np.linalg.norm(np.diff(truth[:, :3, 3], axis=0), axis=1).sum()
    assert told["mean"]["ATE"] == pytest.approx(found["ATE"] / length) and told["failures"] == {}
    assert (tmp_path / "results" / "pose" / "sintel" / "base_normalized").is_dir()


def test_depth_on_the_command_line_weighs_by_pixels(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    root, out = tmp_path / "data", tmp_path / "out"
    values = {}
    for scene, frames in (("a", 2), ("b", 6)):
        plain(root, path(frames), truth := depth_video(frames))
        (root / "desk").rename(root / scene)
        estimate = truth * np.random.default_rng(frames).uniform(0.7, 1.4, truth.shape).astype(np.float32)
        write_result(out / scene, None, np.where(truth > 0, estimate, 1))
        values[scene] = frames
    arguments = ["evaluate", "depth", "scenes", str(root), str(out), "--out", str(tmp_path / "results")]
    assert cli.main([*arguments, "--json"]) == 0
    told = json.loads(capsys.readouterr().out)
    expected = sum(told["scenes"][scene]["video: abs_rel"] * weight for scene, weight in values.items()) / 8
    assert told["mean"]["video: abs_rel"] == pytest.approx(expected)
    found = json.loads((tmp_path / "results" / "depth" / "scenes" / "base" / "result.json").read_text())
    assert found["total_videos"] == 2 and found["video: d1 < 1.25"] == told["mean"]["video: d1 < 1.25"]


def pictures(folder: Path, names: list[str]) -> None:
    for name in names:
        (folder / name).parent.mkdir(parents=True, exist_ok=True)
        (folder / name).write_text(name)


def test_pictures_that_count(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    """Named by number, in the order of time, whatever else the data set has."""
    root, out = tmp_path / "data", tmp_path / "out"
    tum(root, path(100), depth_video(1))
    pictures(root / TUM_SCENES[1], [f"rgb/{100 + 0.03 * number:.4f}.png" for number in range(300)])
    pictures(root, [f"training/final/alley_2/frame_{number:04d}.png" for number in (2, 1)])
    kitti(root, path(1), depth_video(2))
    drive = "2011_09_26_drive_0002_sync"
    pictures(root, [f"2011_09_26/{drive}/image_02/data/{number:010d}.png" for number in range(12)])
    for kind, dataset, scene, count, first in (
        ("poses", "tum", TUM_SCENES[1], 90, "rgb/100.0000.png"),
        ("poses", "sintel", "alley_2", 2, "training/final/alley_2/frame_0001.png"),
        ("depth", "kitti", drive, 4, f"2011_09_26/{drive}/image_02/data/{5:010d}.png"),
    ):
        command = ["evaluate", kind, dataset, str(root), "--prepare", str(out), "--json"]
        assert cli.main([*command, "--scenes", scene]) == 0
        assert json.loads(capsys.readouterr().out)["frames"] == {scene: count}
        linked = sorted((out / scene / "rgb").iterdir())
        assert [file.name for file in linked] == [f"{number:05d}.png" for number in range(count)]
        assert linked[0].read_text() == first
    assert (out / TUM_SCENES[1] / "rgb" / "00089.png").read_text() == f"rgb/{100 + 0.03 * 267:.4f}.png"
    assert cli.main(["evaluate", "poses", "sintel", str(root), "--prepare", str(out)]) == 1
    assert "13 of 14 scenes failed" in capsys.readouterr().out


def test_a_folder_without_scenes(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    for kind, dataset in (("poses", "bonn"), ("poses", "scenes"), ("depth", "kitti"), ("depth", "bonn")):
        assert cli.main(["evaluate", kind, dataset, str(tmp_path), str(tmp_path)]) != 0
        assert "no folder in" in capsys.readouterr().err
