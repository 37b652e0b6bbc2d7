"""Kinema4D as the top rung: rollouts, previews, progress, and the node that runs it."""

import time
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from fourd_msgs.action import Imagine
from kinema4d_rig import converted
from rclpy.node import Node
from rig import Rig
from rig_ros import RigPublisher
from test_imagine import STAMP, trajectory

from fourd_ros.client import ImagineFailed, WorldModelClient
from fourd_ros.errors import Cancelled, LicenceRefused, UnknownModel
from fourd_ros.geometry.transforms import apply
from fourd_ros.nodes.graphs import find_graph
from fourd_ros.records import RobotRendering, Rollout, RolloutFlags
from fourd_ros.robot.model import RobotModel
from fourd_ros.robot.panda import panda_description
from fourd_ros.world_model.base import ModelOptions, Question, load_backend
from fourd_ros.world_model.future import Future
from fourd_ros.world_model.kinema4d.model import Kinema4DModel
from fourd_ros.world_model.kinema4d.options import Kinema4DOptions, PlacementOptions
from fourd_ros.world_model.ladder import Ladder, Rung
from fourd_ros.world_model.rehearsal import made_up_question
from fourd_ros.world_model.scene import understand

STEPS = 5
CPU = PlacementOptions(device="cpu")


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return converted(tmp_path_factory.mktemp("kinema4d"))


@pytest.fixture(scope="module")
def question() -> Question:
    return made_up_question(RobotModel(panda_description()), size=48, steps=STEPS, candidates=1)


def _options(folder: Path, **changed: object) -> ModelOptions:
    chosen = {"model": str(folder), "num_steps": 4, "preview_every": 2, "placement": CPU} | changed
    return ModelOptions(kinema4d=Kinema4DOptions(**chosen), allow_noncommercial=True)  # type: ignore[arg-type]


def _answers(folder: Path, question: Question, **changed: object) -> tuple[list[Rollout], list[float]]:
    told: list[float] = []
    model = load_backend("kinema4d").from_options(_options(folder, **changed))
    return list(model.imagine(question, checkpoint=told.append)), told


def test_a_rollout_has_generated_pixels_and_points_and_a_commanded_robot(folder: Path, question: Question) -> None:
    rollouts, told = _answers(folder, question)
    preview, whole = rollouts
    assert (preview.preview, whole.preview) == (True, False)
    assert told == sorted(told) and told[0] == 0 and 0.9 < told[-1] <= 1
    assert whole.backend == "kinema4d" and len(whole.model_sha256) == 64
    view = whole.views["camera"]
    assert view.rgb.shape == view.points.shape == (STEPS, 48, 48, 3)
    assert np.isfinite(view.points).all() and np.isnan(view.sigma).all()
    assert view.robot_mask.any() and not view.observed_mask.all()
    assert not np.array_equal(view.rgb, preview.views["camera"].rgb)
    known = question.observation.views["camera"].points
    near = np.nanpercentile(known, [2, 98], axis=(0, 1))
    middle, scale = near.mean(axis=0), np.ptp(near, axis=0).max() / 2
    assert np.abs(view.points - middle).max() < 2.5 * scale


def test_samples_have_a_spread(folder: Path, question: Question) -> None:
    several = Question(**{**vars(question), "num_samples": 2})
    rollouts, _ = _answers(folder, several, preview_every=0, num_steps=1)
    assert [rollout.sample for rollout in rollouts] == [0, 1]
    sigma = [rollout.views["camera"].sigma for rollout in rollouts]
    np.testing.assert_array_equal(*sigma)
    points = np.stack([rollout.views["camera"].points for rollout in rollouts])
    np.testing.assert_allclose(sigma[0], np.linalg.norm(points[0] - points[1], axis=-1) / np.sqrt(2), rtol=1e-3)


def test_long_questions_are_answered_by_clips_that_go_on(folder: Path) -> None:
    long = made_up_question(RobotModel(panda_description()), size=48, steps=12, candidates=1)
    rollouts, _ = _answers(folder, long, num_steps=1, preview_every=0)
    (whole,) = rollouts
    assert len(whole.views["camera"].rgb) == 12
    first, _ = _answers(folder, long, num_steps=2, preview_every=1)
    preview = next(rollout for rollout in first if rollout.preview)
    known = preview.views["camera"].observed_mask
    assert len(preview.views["camera"].rgb) == 12 and known.any()


def test_short_clips_are_an_option(folder: Path, question: Question) -> None:
    short = Question(**{**vars(question), "times": question.times[:3]})
    padded, _ = _answers(folder, short, num_steps=1, preview_every=0)
    exact, _ = _answers(folder, short, num_steps=1, preview_every=0, native_length=False)
    assert len(padded[0].times) == len(exact[0].times) == 3
    assert not np.array_equal(padded[0].views["camera"].rgb, exact[0].views["camera"].rgb)


def test_what_it_needs_is_said() -> None:
    with pytest.raises(UnknownModel, match="fourd convert kinema4d"):
        load_backend("kinema4d").from_options(ModelOptions())
    ladder = Ladder.load(("kinematic", "kinema4d"), ModelOptions())
    assert [rung.model.backend for rung in ladder.rungs] == ["kinematic"]
    assert "kinema4d" in ladder.missing


def test_licences_are_asked_for(folder: Path) -> None:
    with pytest.raises(LicenceRefused):
        Ladder.load(("kinema4d",), ModelOptions(kinema4d=Kinema4DOptions(model=str(folder), placement=CPU)))


def test_previews_are_no_answers_on_the_ladder(folder: Path, question: Question) -> None:
    ladder = Ladder.load(("kinematic", "kinema4d"), _options(folder))
    seen: list[tuple[str, bool, float]] = []

    def on_rollout(rung: Rung, rollout: Rollout, fraction: float) -> None:
        seen.append((rung.model.backend, rollout.preview, fraction))

    answer = ladder.climb(question, ladder.plan(question), checkpoint=lambda _: None, on_rollout=on_rollout)
    assert [rollout.preview for rollout in answer] == [False]
    assert [entry[:2] for entry in seen] == [("kinematic", False), ("kinema4d", True), ("kinema4d", False)]
    assert [entry[2] for entry in seen] == sorted(entry[2] for entry in seen)
    assert seen[-1][2] == pytest.approx(1)


def test_it_stops_between_steps(folder: Path, question: Question) -> None:
    model = load_backend("kinema4d").from_options(_options(folder, num_steps=50, preview_every=0))

    def checkpoint(fraction: float) -> None:
        if fraction > 0.02:
            raise Cancelled("no longer wanted")

    began = time.monotonic()
    with pytest.raises(Cancelled):
        list(model.imagine(question, checkpoint=checkpoint))
    assert time.monotonic() - began < 60


def test_a_camera_on_the_hand_is_flagged(folder: Path, question: Question) -> None:
    view = question.observation.views["camera"]
    mounted = type(view)(**{**vars(view), "mounted_on": "panda_hand"})
    if "panda_hand" not in question.robot.kinematics.link_names:
        mounted = type(view)(**{**vars(view), "mounted_on": question.robot.kinematics.link_names[-1]})
    observation = type(question.observation)(**{**vars(question.observation), "views": {"camera": mounted}})
    rollouts, _ = _answers(
        folder, Question(**{**vars(question), "observation": observation}), num_steps=1, preview_every=0
    )
    assert RolloutFlags.CAMERA_UNSEEN in rollouts[0].flags


def test_a_camera_on_the_hand_is_told_the_robot_as_from_where_it_was(folder: Path, question: Question) -> None:
    link = question.robot.kinematics.link_names[-1]
    view = replace(question.observation.views["camera"], mounted_on=link)
    asked = replace(question, observation=replace(question.observation, views={"camera": view}))
    model = load_backend("kinema4d").from_options(_options(folder, num_steps=1, preview_every=0))
    assert isinstance(model, Kinema4DModel)
    told: list[RobotRendering] = []
    stream = model._pipeline.stream

    def watched(frame: Any, robot: RobotRendering, **given: Any) -> Any:
        told.append(robot)
        return stream(frame, robot, **given)

    model._pipeline.stream = watched  # type: ignore[method-assign]
    (rollout,) = model.imagine(asked, checkpoint=lambda _: None)
    scene = understand(asked.robot, asked.observation)
    future = Future(asked.robot, scene, asked.candidates[0].at(np.concatenate([[0.0], asked.times])))
    own, path = future.rendered_robot("camera"), future.camera_path(view)
    assert not np.allclose(path[-1], path[0], atol=1e-3) and own.mask[-1].any()
    for step in (0, STEPS):
        in_world = apply(view.T_world_camera, told[0].points[step][own.mask[step]])
        np.testing.assert_allclose(in_world, apply(path[step], own.points[step][own.mask[step]]), atol=1e-5)
    assert rollout.views["camera"].mounted_on == link


def test_the_node_answers_with_it_tells_how_far_it_is_and_can_be_cancelled(
    folder: Path, spin: Any, other_process: Any, wait_for: Any
) -> None:
    """The launch arguments ``backend:=kinema4d model:=FOLDER``, as the parameters that they set."""
    (planned,) = find_graph("world_model").plan({"backend": "kinema4d", "model": str(folder)})
    given = {name: value for name, value in planned.parameters.items() if name in ("backend", "kinema4d_model")}
    assert given == {"backend": "kinema4d", "kinema4d_model": str(folder)}
    settings = given | {
        "cameras": "[front]",
        "allow_noncommercial": "true",
        "kinema4d_steps": 120,
        "kinema4d_preview_every": 50,
        "kinema4d_device": "cpu",
        "image_reliability": "reliable",
    }
    node = spin(Node("test_client", use_global_arguments=False))
    arguments = [part for name, value in settings.items() for part in ("-p", f"{name}:={value}")]
    other_process("-m", "fourd_ros.nodes.world_model", "--ros-args", *arguments, environment={"OMP_NUM_THREADS": "1"})
    client, publisher = WorldModelClient(node), RigPublisher(node, Rig(size=64))
    client.wait(timeout=60.0)
    feedback: list[Any] = []

    def asked() -> Any:
        del feedback[:]
        publisher.publish(STAMP)
        motion = trajectory(["panda_joint1"], (1.0, [0.3]))
        return client.imagine([motion], feedback=feedback.append, observation_stamp_ns=STAMP)

    def answered() -> Any:
        try:
            return asked().result(timeout=60.0)
        except ImagineFailed:
            return None

    rollouts = wait_for(answered, "an answer", timeout=60.0)
    assert rollouts[0].backend == "kinema4d"
    shown = [one.preview.backend for one in feedback if one.stage == Imagine.Feedback.REFINING]
    assert shown[0] == "kinematic" and shown[-1] == "kinema4d" and shown.count("kinema4d") == 2
    between = [one.progress for one in feedback if one.stage == Imagine.Feedback.IMAGINING]
    assert len(set(between)) > 2 and between == sorted(between)
    handle = asked()
    wait_for(lambda: any(one.preview.backend == "kinema4d" for one in feedback), "a preview", timeout=60.0)
    assert handle.cancel()
    with pytest.raises(ImagineFailed) as caught:
        handle.result(timeout=30.0)
    assert caught.value.code == Imagine.Result.CANCELLED
    client.destroy()
