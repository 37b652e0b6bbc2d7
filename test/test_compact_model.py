"""The shipped compact world model, as users get it: what the robot touches moves, the rest is as in rung 1."""

from dataclasses import replace

import numpy as np
import pytest
from numpy.typing import NDArray
from rig import BOX_COLOUR, BOX_MAX, BOX_MIN, Rig

from fourd_ros.demo.candidates import plan
from fourd_ros.depth_completion.sensor_noise import SensorRanges
from fourd_ros.geometry.pointmap import points_from_depth
from fourd_ros.model_io.folder import shipped_model
from fourd_ros.model_io.loading import load_model
from fourd_ros.records import Rollout, RolloutFlags
from fourd_ros.world_model.base import SHIPPED_BACKENDS, ModelOptions, Question, WorldModel, load_backend
from fourd_ros.world_model.compact.dynamics import PointDynamics, Runtime
from fourd_ros.world_model.compact.floors import find_floors
from fourd_ros.world_model.compact.generator import VideoGenerator
from fourd_ros.world_model.compact.model import CompactModel
from fourd_ros.world_model.compact.points import PointsModel
from fourd_ros.world_model.scene import understand

STEP, STEPS = 0.2, 16
FOLDER = "world_model_compact"
MOST_BYTES = 25_000_000


@pytest.fixture(scope="module")
def rig() -> Rig:
    return Rig(size=128)


@pytest.fixture(scope="module")
def question(rig: Rig) -> Question:
    """The closed gripper sweeps through the box, or passes over it."""
    observation = rig.observation(views=("front",))
    hit, miss, _ = plan(rig.robot, observation)
    return Question(
        robot=rig.robot,
        observation=observation,
        candidates=(hit.trajectory, miss.trajectory),
        times=STEP * np.arange(1, STEPS + 1),
        views=("front",),
    )


@pytest.fixture(scope="module")
def models() -> dict[str, WorldModel]:
    return {name: load_backend(name).from_options(ModelOptions()) for name in SHIPPED_BACKENDS}


@pytest.fixture(scope="module")
def answers(models: dict[str, WorldModel], question: Question) -> dict[str, list[Rollout]]:
    return {name: ask(model, question) for name, model in models.items()}


def ask(model: WorldModel, question: Question) -> list[Rollout]:
    return list(model.imagine(question, checkpoint=lambda fraction: None))


def way_of_the_box(rollout: Rollout) -> NDArray[np.float64]:
    """Where the middle of the box goes [m], shape [T, 3]."""
    middle = (np.asarray(BOX_MIN) + np.asarray(BOX_MAX)) / 2
    motions = [item.motion for item in rollout.objects]
    moved = [motion[:, :3, :3] @ middle + motion[:, :3, 3] - middle for motion in motions]
    return max(moved, key=lambda way: float(np.linalg.norm(way[-1])), default=np.zeros((STEPS, 3)))


def test_it_is_small_and_loads_as_every_model_does() -> None:
    folder = shipped_model(FOLDER)
    assert sum(path.stat().st_size for path in folder.rglob("*") if path.is_file()) < MOST_BYTES
    assert isinstance(load_model(folder), CompactModel)


def test_what_is_hit_moves_with_the_gripper_and_what_is_missed_stays(answers: dict[str, list[Rollout]]) -> None:
    still = answers["kinematic"][0]
    assert np.abs(way_of_the_box(still)).max() < 1e-9
    for name in ("points", "compact"):
        hit, miss = answers[name]
        way = way_of_the_box(hit)
        assert np.linalg.norm(way[-1, :2]) > 0.04 and abs(way[-1, 2]) < 0.02, name
        assert np.linalg.norm(way_of_the_box(miss), axis=-1).max() < 0.01, name


def test_the_box_is_shown_where_it_is_said_to_be(answers: dict[str, list[Rollout]]) -> None:
    rollout = answers["points"][0]
    view = rollout.views["front"]
    world = view.points[-1] @ view.T_world_camera[-1, :3, :3].T + view.T_world_camera[-1, :3, 3]
    shown = (view.rgb[-1] == BOX_COLOUR).all(axis=-1) & (view.labels[-1] >= 16)
    assert shown.sum() > 20
    expected = (np.asarray(BOX_MIN) + np.asarray(BOX_MAX)) / 2 + way_of_the_box(rollout)[-1]
    assert np.linalg.norm(world[shown].mean(axis=0)[:2] - expected[:2]) < 0.05


def test_robot_and_static_points_are_those_of_rung_1(answers: dict[str, list[Rollout]]) -> None:
    reference = answers["kinematic"][0].views["front"]
    for name in ("points", "compact"):
        view = answers[name][0].views["front"]
        robot = reference.robot_mask & view.robot_mask
        assert (reference.robot_mask != view.robot_mask).mean() < 2e-3
        np.testing.assert_array_equal(view.rgb[robot], reference.rgb[robot])
        np.testing.assert_array_equal(view.points[robot], reference.points[robot])
        still = (view.labels == 1) & (reference.labels == 1) & ~view.robot_mask
        still &= np.isfinite(reference.points[..., 2])
        assert still.mean() > 0.3
        np.testing.assert_array_equal(view.points[still], reference.points[still])


def test_compact_leaves_nothing_open_and_says_what_it_invented(answers: dict[str, list[Rollout]]) -> None:
    for points, compact in zip(answers["points"], answers["compact"], strict=True):
        before, after = points.views["front"], compact.views["front"]
        assert np.isfinite(after.points).all() and not np.isfinite(before.points).all()
        np.testing.assert_array_equal(after.observed_mask, before.observed_mask)
        known = np.isfinite(before.points)
        np.testing.assert_array_equal(after.points[known], before.points[known])
        assert points.trust == compact.trust and points.flags == compact.flags


def test_what_was_hidden_above_the_table_is_the_table(
    rig: Rig, question: Question, answers: dict[str, list[Rollout]]
) -> None:
    before, after = (answers[name][0].views["front"] for name in ("points", "compact"))
    (floor,) = find_floors(understand(rig.robot, question.observation))
    T_robot_camera = rig.camera_pose("front")
    hidden = ~np.isfinite(before.points[-1, ..., 2]) & ~before.robot_mask[-1]
    hidden[hidden] = np.isfinite(floor.depth(rig.camera.rays()[hidden].astype(np.float64), T_robot_camera))
    heights = (after.points[-1][hidden] @ T_robot_camera[:3, :3].T + T_robot_camera[:3, 3])[:, 2]
    assert hidden.sum() > 30 and np.abs(heights).max() < 0.005
    assert not after.observed_mask[-1][hidden].any()


def test_a_floor_ends_where_it_was_seen_to_end(rig: Rig, question: Question) -> None:
    (floor,) = find_floors(understand(rig.robot, question.observation))
    places = np.array([[0.5, 0.0], [0.5, 0.2], [30.0, 0.0], [0.5, -30.0]])
    T_robot_camera = rig.camera_pose("front")
    rays = (np.pad(places, ((0, 0), (0, 1))) - T_robot_camera[:3, 3]) @ T_robot_camera[:3, :3]
    depth = floor.depth(rays / rays[:, 2:], T_robot_camera)
    np.testing.assert_allclose(depth[:2], rays[:2, 2], atol=5e-3)
    assert np.isinf(depth[2:]).all() and np.isinf(floor.depth(-rays / rays[:, 2:], T_robot_camera)).all()


def test_samples_differ_in_what_is_not_known(models: dict[str, WorldModel], question: Question) -> None:
    several = replace(question, candidates=question.candidates[:1], num_samples=3)
    ends = np.stack([way_of_the_box(rollout)[-1] for rollout in ask(models["points"], several)])
    (alone,) = ask(models["points"], replace(several, num_samples=1))
    np.testing.assert_allclose(ends[0], way_of_the_box(alone)[-1])
    assert np.linalg.norm(ends - ends[0], axis=-1).max() > 1e-3


def test_motions_alone_are_the_same(models: dict[str, WorldModel], question: Question) -> None:
    points = models["points"]
    assert isinstance(points, PointsModel)
    for forecast, rollout in zip(points.predict(question), ask(points, question), strict=True):
        assert forecast.trust == pytest.approx(rollout.trust)
        for quick, shown in zip(forecast.objects, rollout.objects, strict=True):
            np.testing.assert_allclose(quick.motion, shown.motion, atol=1e-5)


def test_trust_is_a_probability_and_unseen_cameras_are_flagged(
    models: dict[str, WorldModel], question: Question, answers: dict[str, list[Rollout]]
) -> None:
    assert all(0 < rollout.trust < 1 for rollout in answers["points"])
    view = question.observation.views["front"]
    far = view.T_world_camera.copy()
    far[:3, 3] -= 3.0 * far[:3, 2]
    points = (view.points + np.float32([0.0, 0.0, 3.0])).astype(np.float32)
    camera = replace(view.camera, K=view.camera.K * np.array([[3.0, 1, 1], [1, 3.0, 1], [1, 1, 1]]))
    observation = replace(
        question.observation, views={"front": replace(view, T_world_camera=far, points=points, camera=camera)}
    )
    rollout = ask(models["points"], replace(question, observation=observation))[0]
    assert rollout.flags & RolloutFlags.CAMERA_UNSEEN
    assert not answers["points"][0].flags & RolloutFlags.CAMERA_UNSEEN


def test_long_horizons_are_imagined_in_chunks(models: dict[str, WorldModel], question: Question) -> None:
    longer = replace(question, candidates=question.candidates[:1], times=STEP * np.arange(1, 2 * STEPS + 5))
    (rollout,) = ask(models["compact"], longer)
    view = rollout.views["front"]
    assert view.rgb.shape[0] == len(longer.times) and np.isfinite(view.points).all()
    last = way_of_the_box(rollout)
    np.testing.assert_allclose(last[-1], last[STEPS - 1], atol=0.03)


def test_noise_and_holes_of_a_depth_camera_are_borne(
    models: dict[str, WorldModel], question: Question, answers: dict[str, list[Rollout]]
) -> None:
    view = question.observation.views["front"]
    rng = np.random.default_rng(0)
    depth = (
        SensorRanges()
        .draw(rng)
        .measure(
            view.points[..., 2],
            rgb=view.rgb,
            labels=np.zeros(view.rgb.shape[:2], np.uint8),
            camera=view.camera,
            rng=rng,
        )
    )
    noisy = replace(view, points=points_from_depth(depth, view.camera))
    assert not np.isfinite(noisy.points).all()
    observation = replace(question.observation, views={"front": noisy})
    rollout = ask(models["compact"], replace(question, observation=observation))[0]
    clean = way_of_the_box(answers["points"][0])[-1]
    assert np.linalg.norm(way_of_the_box(rollout)[-1] - clean) < 0.05
    assert np.isfinite(rollout.views["front"].points).all()


def test_onnx_and_torch_say_the_same(question: Question) -> None:
    folder = shipped_model(FOLDER)
    one = replace(question, candidates=question.candidates[:1])
    runtimes: tuple[Runtime, ...] = ("torch", "onnx")
    torch, onnx = (
        ask(
            CompactModel(
                PointsModel(PointDynamics.from_folder(folder, runtime=runtime)),
                VideoGenerator.from_folder(folder, runtime=runtime),
            ),
            one,
        )[0]
        for runtime in runtimes
    )
    np.testing.assert_allclose(way_of_the_box(torch), way_of_the_box(onnx), atol=1e-3)
    left, right = torch.views["front"], onnx.views["front"]
    same = left.labels == right.labels
    assert same.mean() > 0.999
    np.testing.assert_allclose(left.points[same], right.points[same], atol=1e-3, rtol=1e-3)
    assert np.abs(left.rgb[same].astype(int) - right.rgb[same]).max() <= 1
