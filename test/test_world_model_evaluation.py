"""How world models are judged: small cases by hand, a model that knows the future, and real episodes end to end."""

import json
import shutil
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from fourd_ros.cli import main
from fourd_ros.data.episode import ROBOT_ID, Episode, EpisodeView
from fourd_ros.errors import InvalidEpisode
from fourd_ros.evaluation.goal import Goal
from fourd_ros.evaluation.metric import Metric
from fourd_ros.evaluation.reliability import reliability
from fourd_ros.evaluation.results import Result, ResultTable
from fourd_ros.evaluation.results_file import read_results
from fourd_ros.evaluation.tabletop_cases import FIXTURE, GRASPED, INDIRECT, KNOCKED, PUSHED, SWEEP, case_of
from fourd_ros.evaluation.tabletop_objects import (
    FALSE_MOTION,
    FALSE_OBJECT,
    coverage,
    false_motion,
    found_all,
    object_scores,
)
from fourd_ros.evaluation.tabletop_pixels import (
    PSNR_ALL,
    PSNR_MOVED,
    XYZ_MOVED,
    XYZ_STATIC,
    Frames,
    copied_frames,
    imagined_frames,
    pixel_scores,
)
from fourd_ros.evaluation.tabletop_run import (
    Evaluation,
    episode_of,
    outcomes,
    record_episodes,
    seen_depth,
    shifted,
    statistics_of,
)
from fourd_ros.evaluation.tabletop_truth import Truth
from fourd_ros.evaluation.world_model import (
    CONTROL,
    COPY,
    LPIPS_ALL,
    RIGHT_PREFERRED,
    Alternative,
    first_view,
    judge,
    simulated_robot,
)
from fourd_ros.evaluation.world_model_overview import overview, trust_table
from fourd_ros.evaluation.world_model_pictures import reliability_diagram
from fourd_ros.evaluation.world_model_results import SplitResults
from fourd_ros.geometry.camera import PinholeCamera
from fourd_ros.geometry.transforms import from_parts, rotation_about
from fourd_ros.model_io.folder import ModelFolder, shipped_model
from fourd_ros.records import FloatArray, ObjectMotion, RobotTrajectory, Rollout, RolloutView
from fourd_ros.robot.panda import PANDA_READY
from fourd_ros.world_model.base import Checkpoint, Question, WorldModel
from fourd_ros.world_model.kinematic import KinematicModel

SIZE, SIDE, FIRST = 40, 8, 12
"""Pixels of the image and of the square object, and its first row and column."""

CAMERA = PinholeCamera(width=SIZE, height=SIZE, K=np.array([[40.0, 0, 20], [0, 40, 20], [0, 0, 1]]))
NEAR, FAR = 1.0, 2.0
"""Depth of the object and of what is behind it [m]; at the first, 2 pixels are 5 cm."""

STEPS = (0, 2, 4)
"""By how many pixels the object has moved to the right in each frame."""

JOINTS = tuple(PANDA_READY)


def square(shift: int) -> tuple[slice, slice]:
    return slice(FIRST, FIRST + SIDE), slice(FIRST + shift, FIRST + SIDE + shift)


def make_episode(shifts: tuple[int, ...] = STEPS, **changes: Any) -> Episode:
    """A square that slides to the right before a wall; the robot covers the last row."""
    frames = len(shifts)
    rgb = np.full((frames, SIZE, SIZE, 3), 50, np.uint8)
    depth = np.full((frames, SIZE, SIZE), FAR, np.float32)
    labels = np.zeros((frames, SIZE, SIZE), np.uint8)
    poses = np.repeat(np.eye(4)[None, None], frames, axis=0)
    for frame, shift in enumerate(shifts):
        rgb[frame][square(shift)], depth[frame][square(shift)], labels[frame][square(shift)] = 200, NEAR, 1
        poses[frame, 0, :3, 3] = [shift / 40 - 0.1, -0.1, NEAR]
    labels[:, -1] = ROBOT_ID
    view = EpisodeView(
        camera=CAMERA,
        mounted_on="",
        T_mount_camera=np.eye(4),
        T_world_camera=np.repeat(np.eye(4)[None], frames, axis=0),
        rgb=rgb,
        depth=depth,
        segmentation=labels,
    )
    joints = np.repeat(np.array([list(PANDA_READY.values())]), frames, axis=0)
    facts: dict[str, Any] = {
        "name": "square",
        "source": "test",
        "start_ns": 0,
        "tasks": ("push",),
        "instructions": ("push",),
        "rate": 5.0,
        "times": np.arange(frames) / 5.0,
        "joint_names": JOINTS,
        "commanded": joints,
        "measured": joints,
        "velocities": np.zeros_like(joints),
        "views": {"front": view},
        "object_names": ("object_1",),
        "object_labels": ("square",),
        "object_sizes": np.full((1, 3), 0.1),
        "object_poses": poses,
        "seed": 7,
    }
    return Episode(**facts | changes)


def thing(*ways: tuple[float, float, float], sigma: float = 0.01, truth: Truth | None = None) -> ObjectMotion:
    """The square, predicted to be moved by so many metres at each time."""
    pixels = (truth or Truth(make_episode())).pixels(0)
    motion = from_parts(np.eye(3), np.array(ways))
    return ObjectMotion(label=17, pixels={"front": pixels}, motion=motion, sigma=np.full(len(ways), sigma))


def recorded_frames(truth: Truth) -> Frames:
    return Frames(rgb=truth.view.rgb[1:], points=truth.points[1:].copy())


def test_truth_knows_what_moved_and_where_it_shows() -> None:
    truth = Truth(make_episode())
    np.testing.assert_allclose(truth.displacement[:, 0], [0.0, 0.05, 0.10], atol=1e-12)
    assert truth.moved.tolist() == [True] and truth.untouched.tolist() == [False]
    for step, shift in enumerate(STEPS[1:]):
        shown = np.zeros((SIZE, SIZE), bool)
        shown[square(0)] = shown[square(shift)] = True
        np.testing.assert_array_equal(truth.moved_region[step], shown)
    np.testing.assert_allclose(truth.way(truth.pixels(0))[-1], np.tile([0.10, 0.0, 0.0], (64, 1)), atol=1e-12)


def test_a_camera_that_moves_is_refused() -> None:
    episode = make_episode()
    moving = replace(episode.views["front"], mounted_on="panda_hand")
    with pytest.raises(InvalidEpisode, match="stands still"):
        Truth(replace(episode, views={"front": moving}))


def test_pixels_of_the_repeated_first_frame_are_wrong_where_the_square_came_and_went() -> None:
    truth = Truth(make_episode())
    start = first_view(truth, None)
    values = pixel_scores(copied_frames(start, 2), truth, truth.robot[1:])
    lengths = np.linalg.norm(CAMERA.rays(), axis=-1)
    wrong, region = 0.0, 0
    for shift in STEPS[1:]:
        changed = np.zeros((SIZE, SIZE), bool)
        changed[square(0)] = True
        changed[square(shift)] ^= True
        wrong += float(lengths[changed].sum()) * (FAR - NEAR)
        region += SIDE * (SIDE + shift)
    changed_pixels = 2 * SIDE * sum(STEPS[1:])
    assert values[XYZ_MOVED.name] == pytest.approx(wrong / region, rel=1e-5)
    assert values[XYZ_STATIC.name] == 0.0
    squared = 150.0**2 * changed_pixels
    assert values[PSNR_MOVED.name] == pytest.approx(10 * np.log10(255**2 * region / squared))
    counted = 2 * SIZE * (SIZE - 1)
    assert values[PSNR_ALL.name] == pytest.approx(10 * np.log10(255**2 * counted / squared))


def test_the_robot_does_not_count() -> None:
    truth = Truth(make_episode())
    frames = recorded_frames(truth)
    frames.points[:, -1] += 1.0
    assert pixel_scores(frames, truth, truth.robot[1:])[XYZ_STATIC.name] == 0.0
    assert pixel_scores(frames, truth, np.zeros_like(truth.robot[1:]))[XYZ_STATIC.name] > 0.0


def test_a_region_that_is_too_small_says_nothing() -> None:
    truth = Truth(make_episode((0, 0, 0)))
    values = pixel_scores(copied_frames(first_view(truth, None), 2), truth, truth.robot[1:])
    assert np.isnan(values[XYZ_MOVED.name]) and np.isnan(values[PSNR_MOVED.name])
    assert values[PSNR_ALL.name] == np.inf


def test_what_a_rollout_does_not_know_is_filled_from_the_scene_and_not_from_the_robot() -> None:
    truth = Truth(make_episode((0, 0)))
    known = np.ones((1, SIZE, SIZE), bool)
    known[:, 20:24, :] = False
    robot = np.zeros_like(known)
    robot[:, 24:28, :] = True
    rgb, points = truth.view.rgb[1:].copy(), truth.points[1:].copy()
    rgb[robot], points[robot], rgb[~known], points[~known] = 255, 0.5, 0, np.nan
    frames = imagined_frames(_view(rgb, points, robot, known))
    hole = (0, slice(20, 24), slice(30, 40))
    np.testing.assert_allclose(frames.rgb[hole], 50.0, atol=2)
    np.testing.assert_allclose(frames.points[hole], truth.points[1][hole[1:]], atol=0.02)
    np.testing.assert_array_equal(frames.rgb[robot], 255)


def _view(rgb: Any, points: Any, robot: Any, known: Any, seen: EpisodeView | None = None) -> RolloutView:
    return RolloutView(
        camera=seen.camera if seen else CAMERA,
        T_world_camera=seen.T_world_camera[1:] if seen else np.repeat(np.eye(4)[None], len(rgb), axis=0),
        rgb=rgb,
        points=points,
        sigma=np.zeros(points.shape[:-1], np.float32),
        robot_mask=robot,
        observed_mask=known,
    )


def test_where_objects_end() -> None:
    truth = Truth(make_episode())
    (nothing,) = object_scores((), truth)
    (half,) = object_scores((thing((0.02, 0, 0), (0.04, 0, 0)),), truth)
    (right,) = object_scores((thing((0.05, 0, 0), (0.10, 0, 0)),), truth)
    assert (nothing.moved, nothing.untouched, nothing.predicted) == (True, False, 0.0)
    assert nothing.position == pytest.approx(0.10)
    assert (half.position, half.predicted) == (pytest.approx(0.06), pytest.approx(0.04))
    assert right.position == pytest.approx(0.0, abs=1e-6)
    assert found_all((half,)) == 0.0 and found_all((right,)) == 1.0 and np.isnan(found_all(()))


def test_a_turned_object_is_in_place_but_its_points_are_not() -> None:
    truth = Truth(make_episode((0, 0)))
    centre = truth.world_points(truth.pixels(0)).mean(axis=0)
    turn = rotation_about((0, 0, 1), np.pi)
    turned = replace(thing((0, 0, 0)), motion=from_parts(turn, centre - turn @ centre)[None])
    (score,) = object_scores((turned,), truth)
    assert score.position == pytest.approx(0.0, abs=1e-6)
    assert score.point > 0.05


def test_motion_that_nobody_caused_is_false() -> None:
    still, moving = Truth(make_episode((0, 0, 0))), Truth(make_episode())
    for way, expected in ((0.005, 0.0), (0.015, 1.0)):
        things = (thing((way, 0, 0), (0, 0, 0)),)
        values = false_motion(things, still, object_scores(things, still))
        assert values == {FALSE_MOTION.name: expected, FALSE_OBJECT.name: expected}
        elsewhere = false_motion(things, moving, object_scores(things, moving))
        assert all(np.isnan(value) for value in elsewhere.values())
    assert false_motion((), still, object_scores((), still))[FALSE_MOTION.name] == 0.0


def test_coverage_counts_coordinates_in_the_interval() -> None:
    """5 cm off in x alone, with a deviation of 5 cm: inside the intervals from 68 % upwards; y and z always are."""
    truth = Truth(make_episode())
    values = coverage((thing((0.0, 0, 0), (0.05, 0, 0), sigma=0.05),), truth)
    assert [values[f"covered_{level}"] for level in (50, 60, 70, 95)] == pytest.approx([2 / 3, 2 / 3, 1.0, 1.0])
    assert all(value == 0.0 for value in coverage((), truth).values())
    assert all(np.isnan(value) for value in coverage((), Truth(make_episode((0, 0)))).values())


def test_reliability_of_a_score() -> None:
    rng = np.random.default_rng(0)
    honest = rng.uniform(size=2000)
    outcomes = (rng.uniform(size=2000) < honest).astype(float)
    found = reliability(honest, outcomes, resamples=10)
    assert found is not None
    assert float(found.calibration_error.estimate) < 0.03
    assert float(found.brier.estimate) == pytest.approx(1 / 6, abs=0.01)
    assert float(found.flagged.estimate) == pytest.approx(0.75, abs=0.03)
    small = reliability([0.9, 0.8, 0.3, 0.8, np.nan], [1, 1, 0, 0, 1], resamples=20)
    assert small is not None
    assert float(small.area.estimate) == pytest.approx((1 + 1 + 1 + 0.5) / 4)
    assert float(small.brier.estimate) == pytest.approx((0.01 + 0.04 + 0.09 + 0.64) / 4)
    assert (float(small.flagged.estimate), float(small.alarms.estimate), int(small.success.count)) == (0.5, 0.0, 4)
    boast = reliability(np.full(100, 0.9), np.tile([0.0, 1.0], 50), resamples=20)
    assert boast is not None and float(boast.calibration_error.estimate) == pytest.approx(0.4, abs=0.05)
    assert reliability([np.nan], [1.0]) is None


def test_how_an_object_came_to_move() -> None:
    robot = simulated_robot()
    gripper = robot.gripper
    assert gripper is not None
    poses = robot.kinematics.link_poses(np.array([list(PANDA_READY.values())]))
    tip = (poses[gripper.carrier] @ gripper.grasp_frame)[0, :3, 3]

    def truth_at(place: FloatArray, **changes: Any) -> Truth:
        return Truth(
            make_episode(object_poses=np.repeat(from_parts(np.eye(3), place)[None, None], 3, axis=0), **changes)
        )

    at_tip, beside = truth_at(tip), truth_at(tip + np.array([0.0, 0.2, 0.0]))
    assert case_of(at_tip, 0, carried=False, robot=robot) == PUSHED
    assert case_of(beside, 0, carried=False, robot=robot) == INDIRECT
    assert case_of(beside, 0, carried=True, robot=robot) == GRASPED
    assert case_of(truth_at(tip, tasks=(SWEEP,)), 0, carried=False, robot=robot) == KNOCKED
    names = ("cabinet_drawer", "cabinet")
    drawer = make_episode(
        object_names=names,
        object_labels=names,
        object_sizes=np.full((2, 3), 0.1),
        object_poses=np.repeat(make_episode().object_poses, 2, axis=1),
    )
    assert case_of(Truth(drawer), 0, carried=True, robot=robot) == FIXTURE


class Oracle(WorldModel):
    """Answers the first candidate with what was recorded, any other one with the first frame."""

    backend = "oracle"
    declared_cost = 0.0

    def __init__(self, truth: Truth) -> None:
        self._truth = truth

    def imagine(self, question: Question, *, checkpoint: Checkpoint) -> Iterator[Rollout]:
        truth, steps = self._truth, len(question.times)
        for index, candidate in enumerate(question.candidates):
            frames = recorded_frames(truth) if index == 0 else copied_frames(first_view(truth, None), steps)
            nobody = np.zeros(frames.rgb.shape[:-1], bool)
            robot = truth.robot[1:] if index == 0 else nobody
            view = _view(frames.rgb, frames.points, robot, ~nobody, truth.view)
            objects = tuple(
                ObjectMotion(
                    label=16 + k,
                    pixels={truth.view_name: truth.pixels(k)},
                    motion=truth.motion[1:, k],
                    sigma=np.full(steps, 1e-4),
                )
                for k in range(truth.motion.shape[1])
            )
            yield Rollout(
                stamp_ns=question.observation.stamp_ns,
                frame=question.observation.frame,
                times=question.times,
                views={truth.view_name: view},
                joints=candidate,
                candidate=index,
                sample=0,
                backend=self.backend,
                seed=0,
                trust=0.9,
                objects=objects if index == 0 else (),
            )


@pytest.fixture(scope="module")
def evaluation(tmp_path_factory: pytest.TempPathFactory) -> Evaluation:
    """Three recorded episodes."""
    chosen = Evaluation(
        episodes=3, backends=(CONTROL,), model="", kept=tmp_path_factory.mktemp("kept"), with_lpips=False
    )
    assert sum(record_episodes(chosen)) == 3
    return chosen


def test_who_knows_the_future_has_no_errors(evaluation: Evaluation) -> None:
    from fourd_ros.simulation.tabletop import act_otherwise, commanded_motion

    episodes = [episode_of(evaluation, seed) for seed in evaluation.seeds]
    episode = next(episode for episode in episodes if Truth(episode).moved.any())
    commanded, truth = commanded_motion(episode), Truth(episode)
    assert episode.seed is not None
    again = Truth(replace(episode, object_poses=act_otherwise(episode.seed, "test", commanded)))
    assert again.moved.tolist() == truth.moved.tolist()
    standing = RobotTrajectory(
        joint_names=commanded.joint_names, times=np.array([0.0]), positions=commanded.positions[:1]
    )
    models = {CONTROL: KinematicModel(), "oracle": Oracle(truth)}
    scores = judge(episode, commanded, models, alternative=Alternative(trajectory=standing, moves_something=False))
    assert list(scores.methods) == [COPY, CONTROL, "oracle"]
    oracle, control, copy = (scores.methods[name] for name in ("oracle", CONTROL, COPY))
    for name in (XYZ_MOVED.name, XYZ_STATIC.name, LPIPS_ALL.name):
        assert oracle.values[name] == pytest.approx(0.0, abs=1e-6) and control.values[name] > 0.0
    assert copy.values[XYZ_STATIC.name] > 2 * control.values[XYZ_STATIC.name]
    assert max(item.position for item in oracle.objects) < 1e-6
    assert oracle.values[RIGHT_PREFERRED.name] == 1.0
    assert (oracle.found_all, oracle.trust, control.found_all) == (1.0, 0.9, 0.0)
    assert oracle.values["covered_95"] == 1.0
    found = SplitResults(split="test", scores=[scores], statistics=statistics_of(evaluation))
    verdicts_by_metric = {row[0]: row[-1] for row in overview(found).rows}
    assert verdicts_by_metric[XYZ_MOVED.label] == verdicts_by_metric[RIGHT_PREFERRED.label].split(",")[0] == "met"
    table, trust = trust_table(found), found.reliability("oracle")
    assert table is not None and table.columns == ("figure", "oracle") and "100.0 [" in str(table)
    assert trust is not None and float(trust.brier.estimate) == pytest.approx(0.01)
    assert reliability_diagram({"oracle": trust}).ndim == 3
    assert table.markdown.count("\n|") == len(table.rows) + 2


def test_a_shifted_motion_begins_where_the_robot_stands(evaluation: Evaluation) -> None:
    from fourd_ros.simulation.tabletop import commanded_motion

    one, other = (commanded_motion(episode_of(evaluation, seed)) for seed in evaluation.seeds[:2])
    moved = shifted(other, one.positions[0])
    limits = simulated_robot().kinematics.limits
    np.testing.assert_allclose(moved.positions[0], one.positions[0], atol=1e-12)
    assert (moved.positions >= limits.lower).all() and (moved.positions <= limits.upper).all()


def test_goals_say_by_how_much_they_are_missed() -> None:
    metric = Metric(name="error", unit="mm", scale=1000.0)

    def verdict(goal: Goal, *values: float) -> str:
        results = [Result(unit=str(i), method="m", metric="error", value=value) for i, value in enumerate(values)]
        return goal.verdict(ResultTable.from_results(results, title="t", metrics=[metric]).aggregate()["m", "error"])

    goal = Goal(metric=metric, most=0.02)
    assert goal.text == "<= 20.0 mm"
    assert verdict(goal, 0.01, 0.01) == "met"
    assert verdict(goal, 0.96 - 0.94, 0.96 - 0.94) == "met"  # 0.020000000000000018
    assert verdict(goal, 0.0, 0.03) == "met, the interval reaches beyond"
    assert verdict(goal, 0.05, 0.05) == "missed by 30.0 mm"
    assert verdict(goal, 0.0, 0.05) == "missed by 5.0 mm, the interval reaches it"
    assert verdict(goal, np.nan) == "-"
    between = Goal(metric=metric, least=0.075, most=0.085)
    assert between.text == "75.0 to 85.0 mm"
    assert verdict(between, 0.07, 0.07) == "missed by 5.0 mm"


def test_outcomes_say_which_rollouts_went_as_imagined(evaluation: Evaluation) -> None:
    found = list(outcomes(evaluation, CONTROL))
    moved = [Truth(episode_of(evaluation, seed)).moved.any() for seed in evaluation.seeds]
    assert len(found) == 3 and any(moved)
    assert all(outcome.found_all == 0.0 for outcome, has_moved in zip(found, moved, strict=True) if has_moved)
    assert all(len(outcome.rollout.times) == len(outcome.question.times) == 16 for outcome in found)


def test_noisy_depth_is_judged_by_what_really_happened(evaluation: Evaluation) -> None:
    from fourd_ros.simulation.tabletop import commanded_motion

    noisy = replace(evaluation, split="noisy_depth")
    assert (noisy.folder, noisy.seeds) == (evaluation.folder, evaluation.seeds)
    episode = episode_of(noisy, noisy.seeds[0])
    depth = seen_depth(noisy, episode)
    assert depth is not None and np.isnan(depth).any() and seen_depth(evaluation, episode) is None
    exact, through_sensor = (
        judge(episode, commanded_motion(episode), {CONTROL: KinematicModel()}, depth=seen, with_lpips=False)
        for seen in (None, depth)
    )
    errors = [scores.methods[CONTROL].values[XYZ_STATIC.name] for scores in (exact, through_sensor)]
    assert errors[0] < errors[1] < 0.1


def test_the_command_judges_kept_episodes_and_writes_report_and_card(
    evaluation: Evaluation, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    model, report = tmp_path / "model", tmp_path / "report"
    shutil.copytree(shipped_model("depth_completion"), model)
    shards = {path: path.stat().st_mtime_ns for path in evaluation.kept.rglob("*.safetensors")}
    command = ["evaluate", "world-model", "--episodes", "3", "--backends", CONTROL, "--no-lpips", "--workers", "1"]
    command += ["--kept", str(evaluation.kept), "--model", str(model)]
    assert main([*command, "--json"]) == 0
    found = json.loads(capsys.readouterr().out)["test"]
    figures = found["figures"]
    assert figures[CONTROL]["xyz_static"]["estimate"] < figures[COPY]["xyz_static"]["estimate"]
    assert figures[CONTROL]["false_object"]["estimate"] == 0.0
    assert figures[COPY]["xyz_share"]["estimate"] == pytest.approx(100.0)
    assert {goal["metric"]: goal["met"] for goal in found["goals"]}["position"] is False
    assert found["statistics"]["episodes"] == 3
    assert main([*command, "--out", str(report), "--write-card"]) == 0
    assert "missed by" in capsys.readouterr().out
    titles = {table.title for table in read_results(report / "results.json")}
    assert {"test: pixels off the robot", "test: objects that moved", "test: cause and effect"} <= titles
    assert len(list(report.glob("picture_*.png"))) == 3
    card = ModelFolder(model).card
    assert f"test: {CONTROL}" in card.metrics and "--split test" in card.metrics_command
    assert {path: path.stat().st_mtime_ns for path in evaluation.kept.rglob("*.safetensors")} == shards
