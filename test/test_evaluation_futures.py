"""A robot disc and a box in front of a wall, seen by a camera; every figure is known by construction."""

from dataclasses import replace

import numpy as np
import pytest

from fourd_ros.errors import InvalidInput
from fourd_ros.evaluation.findings import SUBJECTS, findings, horizon_table, overall_table
from fourd_ros.evaluation.futures import FutureScore, compare
from fourd_ros.evaluation.metric import Verdict
from fourd_ros.evaluation.regions import ROBOT_MARGIN, moved_region, split, visible
from fourd_ros.evaluation.summary import FIRST_FRAME, Summary, side_by_side, summarise
from fourd_ros.geometry.camera import PinholeCamera
from fourd_ros.records import Mask, RobotRendering, RolloutView, View

HEIGHT, WIDTH = 60, 80
CAMERA = PinholeCamera(width=WIDTH, height=HEIGHT, K=np.array([[80.0, 0, 40], [0, 80.0, 30], [0, 0, 1]]))
WALL, BOX, ROBOT = 2.0, 1.8, 1.2
COLOURS = {WALL: 60, BOX: 200, ROBOT: 120}


def rectangle(top: int, left: int, height: int, width: int) -> Mask:
    mask = np.zeros((HEIGHT, WIDTH), dtype=bool)
    mask[top : top + height, left : left + width] = True
    return mask


def points_at(depth: np.ndarray, camera: PinholeCamera = CAMERA) -> np.ndarray:
    rows, columns = np.indices(depth.shape)
    x = (columns - camera.K[0, 2]) / camera.K[0, 0] * depth
    y = (rows - camera.K[1, 2]) / camera.K[1, 1] * depth
    return np.stack([x, y, depth], -1).astype(np.float32)


def frame(robot: Mask, box: Mask, T_world_camera: np.ndarray | None = None) -> View:
    depth = np.full((HEIGHT, WIDTH), WALL)
    depth[box] = BOX
    depth[robot] = ROBOT
    rgb = np.repeat(np.vectorize(COLOURS.get)(depth)[..., None], 3, -1).astype(np.uint8)
    pose = np.eye(4) if T_world_camera is None else T_world_camera
    return View(camera=CAMERA, T_world_camera=pose, rgb=rgb, points=points_at(depth))


def render(masks: list[Mask]) -> RobotRendering:
    mask = np.stack(masks)
    points = np.where(mask[..., None], points_at(np.full((HEIGHT, WIDTH), ROBOT)), np.nan).astype(np.float32)
    return RobotRendering(rgb=np.zeros((*mask.shape, 3), dtype=np.uint8), points=points, mask=mask)


def imagine(views: list[View], masks: list[Mask]) -> RolloutView:
    steps, size = len(views), (len(views), HEIGHT, WIDTH)
    return RolloutView(
        camera=CAMERA,
        T_world_camera=np.tile(np.eye(4), (steps, 1, 1)),
        rgb=np.stack([view.rgb for view in views]),
        points=np.stack([view.points for view in views]),
        sigma=np.zeros(size, dtype=np.float32),
        robot_mask=np.stack(masks),
        observed_mask=np.ones(size, dtype=bool),
    )


ROBOT_MASKS = [rectangle(5, 5 + 10 * i, 20, 10) for i in range(3)]
BOX_MASKS = [rectangle(40, 30 + 8 * i, 10, 12) for i in range(3)]
RECORDED = [frame(robot, box) for robot, box in zip(ROBOT_MASKS, BOX_MASKS, strict=True)]
RENDERED = render(ROBOT_MASKS)
TIMES = np.array([0.2, 0.4])
STILL_BOX = [frame(robot, BOX_MASKS[0]) for robot in ROBOT_MASKS]


def test_perfect_prediction_is_without_error_and_the_baseline_is_not() -> None:
    score = compare(imagine(RECORDED[1:], ROBOT_MASKS[1:]), RECORDED, RENDERED, times=TIMES)
    metrics = score.metrics
    for name in ("depth_robot", "depth_static", "depth_free"):
        np.testing.assert_allclose(metrics[name].prediction, 0.0)
    np.testing.assert_allclose(metrics["robot_iou"].prediction, 1.0)
    np.testing.assert_allclose(metrics["robot_iou"].first_frame, 0.0)
    np.testing.assert_allclose(metrics["depth_robot"].first_frame, WALL - ROBOT, atol=1e-6)
    np.testing.assert_allclose(metrics["depth_static"].first_frame, 0.0)
    np.testing.assert_allclose(metrics["depth_free"].first_frame, WALL - BOX, atol=1e-6)
    np.testing.assert_allclose(metrics["coverage"].prediction, 1.0)
    assert np.isnan(metrics["depth_held"].prediction).all()
    assert np.isinf(metrics["psnr"].prediction).all()


def test_box_that_stays_in_the_prediction_is_as_wrong_as_the_baseline() -> None:
    metrics = compare(imagine(STILL_BOX[1:], ROBOT_MASKS[1:]), RECORDED, RENDERED, times=TIMES).metrics
    np.testing.assert_allclose(metrics["depth_free"].prediction, metrics["depth_free"].first_frame)
    np.testing.assert_allclose(metrics["robot_iou"].prediction, 1.0)


def test_moved_region_of_a_holding_start_counts_as_held() -> None:
    metrics = compare(
        imagine(STILL_BOX[1:], ROBOT_MASKS[1:]),
        RECORDED,
        RENDERED,
        times=TIMES,
        holding=True,
    ).metrics
    assert np.isfinite(metrics["depth_held"].prediction).all()
    assert np.isnan(metrics["depth_free"].prediction).all()


def test_unknown_pixels_lower_the_coverage_and_nothing_else() -> None:
    perfect = imagine(RECORDED[1:], ROBOT_MASKS[1:])
    points = perfect.points.copy()
    points[:, :15] = np.nan
    metrics = compare(replace(perfect, points=points), RECORDED, RENDERED, times=TIMES).metrics
    np.testing.assert_allclose(metrics["coverage"].prediction, 0.75)
    np.testing.assert_allclose(metrics["depth_static"].prediction, 0.0)


def test_lengths_that_differ_are_refused() -> None:
    with pytest.raises(InvalidInput, match="one longer"):
        compare(imagine(RECORDED[1:], ROBOT_MASKS[1:]), RECORDED[1:], RENDERED, times=TIMES)


def test_regions_partition_the_known_pixels_outside_the_robot_band() -> None:
    regions = split(RECORDED[0], ROBOT_MASKS[0], RECORDED[2], ROBOT_MASKS[2])
    assert not (regions.robot & regions.static).any()
    assert not (regions.static & regions.moved).any()
    np.testing.assert_array_equal(regions.robot, ROBOT_MASKS[2])
    np.testing.assert_array_equal(regions.moved, BOX_MASKS[0] ^ BOX_MASKS[2])
    everything = regions.robot | regions.static | regions.moved
    band = np.count_nonzero(~everything)
    assert 0 < band <= 2 * ROBOT_MARGIN * (20 + 10 + 2 * ROBOT_MARGIN)


def test_wall_uncovered_by_the_robot_did_not_move() -> None:
    moved = moved_region(STILL_BOX[0], ROBOT_MASKS[0], STILL_BOX[2], ROBOT_MASKS[2])
    assert not moved.any()


def test_moving_camera_does_not_make_the_scene_move() -> None:
    still, shifted = np.zeros((HEIGHT, WIDTH), dtype=bool), np.eye(4)
    shifted[0, 3] = 0.1
    before = frame(still, rectangle(20, 30, 20, 20))
    shift_wall, shift_box = round(80 * 0.1 / WALL), round(80 * 0.1 / BOX)
    assert shift_wall == shift_box == 4
    after = frame(still, rectangle(20, 30 - shift_box, 20, 20), shifted)
    assert np.count_nonzero(moved_region(before, still, after, still)) == 0
    pushed = frame(still, rectangle(20, 30 - shift_box + 15, 20, 20), shifted)
    moved = moved_region(before, still, pushed, still)
    assert moved[22:38, 48:58].all()
    assert moved[22:38, 30:38].all()


def test_what_stands_before_the_robot_hides_it() -> None:
    near = np.full((HEIGHT, WIDTH), ROBOT)
    near[:, :10] = ROBOT - 0.1
    view = View(
        camera=CAMERA,
        T_world_camera=np.eye(4),
        rgb=RECORDED[0].rgb,
        points=points_at(near),
    )
    seen = visible(RENDERED.mask[0], RENDERED.points[0], view.points)
    np.testing.assert_array_equal(seen, ROBOT_MASKS[0] & (np.arange(WIDTH) >= 10))


def summarise_all(scores: list[FutureScore]) -> Summary:
    return summarise({str(index): score for index, score in enumerate(scores)})


def test_summary_says_what_was_found_and_what_was_not() -> None:
    scores = [compare(imagine(STILL_BOX[1:], ROBOT_MASKS[1:]), RECORDED, RENDERED, times=TIMES) for _ in range(4)]
    summary = summarise_all(scores)
    verdicts = {name: metric.verdict for name, metric in summary.metrics.items()}
    assert verdicts["robot_iou"] is Verdict.BETTER
    assert verdicts["depth_robot"] is Verdict.BETTER
    assert verdicts["depth_static"] is Verdict.EQUAL
    assert verdicts["depth_free"] is Verdict.EQUAL
    assert verdicts["depth_held"] is Verdict.NOTHING
    assert summary.instants == 4
    assert float(summary.metrics["depth_free"].prediction_overall.estimate) == pytest.approx(WALL - BOX)


def test_few_contradicting_instants_leave_the_verdict_open() -> None:
    good = compare(imagine(RECORDED[1:], ROBOT_MASKS[1:]), RECORDED, RENDERED, times=TIMES)
    errors = good.metrics["depth_free"]
    bad = replace(errors, prediction=2 * errors.first_frame)
    scores = [good, replace(good, metrics={**good.metrics, "depth_free": bad})]
    assert summarise_all(scores).metrics["depth_free"].verdict is Verdict.UNDECIDED
    assert summarise_all([scores[1]] * 3).metrics["depth_free"].verdict is Verdict.WORSE


def test_report_puts_every_subject_on_its_side() -> None:
    score = compare(imagine(STILL_BOX[1:], ROBOT_MASKS[1:]), RECORDED, RENDERED, times=TIMES)
    summaries = {"front": summarise_all([score] * 3)}
    found, missed = findings(summaries)
    assert [finding.subject for finding in found] == [
        SUBJECTS[name] for name in ("robot_iou", "depth_robot", "depth_static")
    ]
    assert len(missed) == 2
    assert str(missed[0]) == (f"{SUBJECTS['depth_free']}: error 200.0 mm against 200.0 mm (front, no better)")
    text = str(overall_table({"kinematic": summaries}))
    assert "200.0 [200.0, 200.0]" in text
    assert "held" not in text
    assert str(horizon_table("kinematic", "front", summaries["front"])).count("+0.") == 2


def test_models_stand_side_by_side_and_the_last_one_is_judged() -> None:
    blind, seeing = (
        compare(imagine(boxes, ROBOT_MASKS[1:]), RECORDED, RENDERED, times=TIMES)
        for boxes in (STILL_BOX[1:], RECORDED[1:])
    )
    models = {name: {"front": summarise_all([score] * 3)} for name, score in (("blind", blind), ("seeing", seeing))}
    table = overall_table(models)
    assert table.columns == ("metric", "camera", "unit", "blind", "seeing", "first frame repeated", "seeing is")
    together = side_by_side({name: views["front"] for name, views in models.items()}, title="front")
    assert together.methods == ("blind", "seeing", FIRST_FRAME)
    overall = together.aggregate()
    assert float(overall["blind", "depth_free"].mean.estimate) == pytest.approx(WALL - BOX)
    assert float(overall["seeing", "depth_free"].mean.estimate) == pytest.approx(0.0)
    moved = next(row for row in table.rows if row[0].endswith("other moved objects"))
    assert moved[3:] == ("200.0 [200.0, 200.0]", "0.0 [0.0, 0.0]", "200.0 [200.0, 200.0]", "better")


def test_better_than_the_baseline_is_not_enough_to_be_found() -> None:
    score = compare(imagine(RECORDED[1:], ROBOT_MASKS[1:]), RECORDED, RENDERED, times=TIMES)
    errors = score.metrics["depth_free"]
    halved = replace(errors, prediction=errors.first_frame / 2)
    found, missed = findings(
        {"front": summarise_all([replace(score, metrics={**score.metrics, "depth_free": halved})] * 3)}
    )
    assert SUBJECTS["depth_free"] not in [finding.subject for finding in found]
    assert "better but not good" in str(missed[0])


def test_summary_needs_scores_of_one_horizon() -> None:
    score = compare(imagine(RECORDED[1:], ROBOT_MASKS[1:]), RECORDED, RENDERED, times=TIMES)
    with pytest.raises(InvalidInput, match="no instant"):
        summarise_all([])
    with pytest.raises(InvalidInput, match="different horizons"):
        summarise_all([score, replace(score, times=TIMES + 1)])
