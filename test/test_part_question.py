"""From cameras and drags in space to an answer in the same frame; bad input says what is wrong with it."""

from collections.abc import Callable
from itertools import pairwise

import numpy as np
import pytest
from part_rig import EYES, FRONT, HIGH, LOW, small_network, view

from fourd_ros.data.partdrag4d_cameras import normalise_poses
from fourd_ros.errors import FourdError, InvalidDrag, NoObservation
from fourd_ros.geometry.transforms import from_parts, rotation_about
from fourd_ros.part_dynamics.drags import MAX_DRAGS, SpaceDrags, gripper_drag, in_views
from fourd_ros.part_dynamics.joint_fit import Joint, JointType
from fourd_ros.part_dynamics.model import PartDynamics
from fourd_ros.part_dynamics.object_frame import ObjectFrame, carried_joint
from fourd_ros.part_dynamics.object_scan import ScanOptions, parse_region, scan_object
from fourd_ros.part_dynamics.question import PartQuestion, QuestionOptions
from fourd_ros.part_dynamics.standard_views import standard_cameras

PULL = np.array([[-0.2, 0.0, 0.0]])
REGION = (*(LOW - 0.01), *(HIGH + 0.01))
NEAR = 0.04


@pytest.fixture(scope="module")
def model() -> PartDynamics:
    return PartDynamics(small_network())


def drags(start: np.ndarray = FRONT, pull: np.ndarray = PULL, radius: float | None = None) -> SpaceDrags:
    radii = None if radius is None else np.full(len(start), radius)
    return SpaceDrags(start=np.asarray(start, float), displacement=np.asarray(pull, float), radius=radii)


def test_the_object_is_found_without_the_floor_and_stands_upright() -> None:
    seen = view()
    scan = scan_object([seen], FRONT, ScanOptions())
    assert scan.points[:, 2].min() > 0.005 and np.allclose(scan.points.max(axis=0), HIGH, atol=0.03)
    frame = ObjectFrame.around(scan.points, scan.eye)
    assert np.allclose(np.cos(frame.yaw), -1, atol=1e-3)  # its front looks along -x
    assert np.allclose(frame.centre, (LOW + HIGH) / 2, atol=0.04)
    assert frame.scale == pytest.approx(np.linalg.norm(HIGH - LOW) / 2, rel=0.06)
    assert np.allclose(frame.from_object(frame.to_object(scan.points)), scan.points)


def test_the_way_to_the_network_and_back_is_one() -> None:
    frame = ObjectFrame(centre=np.array([0.3, -0.2, 0.5]), yaw=0.7, scale=0.4)
    raw = standard_cameras()
    poses = normalise_poses(raw)
    to_fixed = frame.network_to_fixed(raw[0])
    eyes = frame.from_object(np.zeros(3)) - (to_fixed @ [0, 0, 0, 1])[:3]
    assert np.linalg.norm(eyes) < 2 * frame.scale
    for pose, seen_from in zip(poses, raw, strict=True):
        there = (to_fixed @ pose.astype(float))[:3, 3]
        back = frame.raw_pose(from_parts(np.eye(3), there))
        assert np.allclose(back[:3, 3], seen_from[:3, 3], atol=1e-5)


def test_a_joint_is_carried_like_its_points() -> None:
    frame = ObjectFrame(centre=np.array([0.3, -0.2, 0.5]), yaw=0.7, scale=0.4)
    similarity = frame.network_to_fixed(standard_cameras()[0])
    joint = Joint(
        kind=JointType.REVOLUTE,
        origin=np.array([0.1, 0.2, 0.3]),
        axis=np.array([0.0, 0.6, 0.8]),
        amount=0.9,
        residual=0.01,
        confidence=1.0,
    )
    points = np.random.default_rng(0).normal(size=(20, 3))

    def carry(values: np.ndarray) -> np.ndarray:
        return values @ similarity[:3, :3].T + similarity[:3, 3]

    there = carried_joint(joint, similarity)
    assert np.allclose(there.moved(carry(points)), carry(joint.moved(points)), atol=1e-9)


@pytest.mark.parametrize("source", ["drawn", "cameras"])
def test_an_answer_comes_step_by_step_in_the_frame_of_the_drags(model: PartDynamics, source: str) -> None:
    views = {f"c{number}": view(eye) for number, eye in enumerate(EYES)}
    options = QuestionOptions(views=source, steps=3, scan=ScanOptions(region=REGION))  # type: ignore[arg-type]
    question = PartQuestion(model, views, drags(), options=options)
    shares: list[float] = []
    motions = list(question.answer(shares.append))
    assert len(motions) == 3 and len(shares) == 4 and all(a < b for a, b in pairwise(shares))
    assert question.views.drawn == (source == "drawn")
    assert question.views.images.shape == (4, 3, 32, 32) and question.views.images.min() < 0.5
    first, last = motions[0], motions[-1]
    assert np.array_equal(first.before.values, last.before.values)
    assert np.allclose(last.displacement, last.after.positions - last.before.positions)
    # All that it can say lies within a few sizes of the object: the answer is in metres of the world.
    assert np.abs(last.before.positions - (LOW + HIGH) / 2).max() < 4.0


def test_drags_without_length_move_nothing(model: PartDynamics) -> None:
    (motion,) = PartQuestion(model, {"c": view()}, drags(pull=np.zeros((1, 3)))).answer()
    assert not motion.displacement.any() and motion.joint is None and not motion.moving.any()


def test_a_radius_spreads_one_drag_over_the_surface(model: PartDynamics) -> None:
    question = PartQuestion(model, {"c": view()}, drags(radius=0.1))
    told = question.drags
    assert len(told) == 10 and len(np.unique(told.start, axis=0)) == 10
    assert np.linalg.norm(told.start - FRONT[0], axis=1).max() < 0.1
    assert np.allclose(told.displacement, PULL)
    assert len(np.unique(PartQuestion(model, {"c": view()}, drags()).drags.start, axis=0)) == 1


def test_many_drags_are_told_evenly() -> None:
    many = drags(np.repeat(FRONT, 23, axis=0) + np.arange(23)[:, None] * 1e-3, np.repeat(PULL, 23, axis=0))
    assert np.allclose(many.told(10).start[[0, -1]], many.start[[0, -1]]) and len(many.told(10)) == 10
    assert len(many.told(64)) == 64


def test_a_gripper_drags_what_it_holds() -> None:
    turn = from_parts(rotation_about([0, 0, 1], np.pi / 2), [0.0, 0, 0])
    found = gripper_drag(np.array([1.0, 0, 0]), [np.eye(4), turn])
    assert np.allclose(found.displacement, [[-1, 1, 0]])
    with pytest.raises(InvalidDrag, match="a path of 1 poses"):
        gripper_drag(np.zeros(3), [np.eye(4)])


BAD: dict[str, tuple[Callable[[PartDynamics], object], type[FourdError], str]] = {
    "none": (lambda _: drags(np.zeros((0, 3)), np.zeros((0, 3))), InvalidDrag, "0 drags; needed are 1 to 64"),
    "too many": (
        lambda _: drags(np.repeat(FRONT, MAX_DRAGS + 1, axis=0), np.repeat(PULL, MAX_DRAGS + 1, axis=0)),
        InvalidDrag,
        "65 drags",
    ),
    "not finite": (lambda _: drags(FRONT * np.nan), InvalidDrag, "not finite"),
    "a negative radius": (lambda _: drags(radius=-1.0), InvalidDrag, "radii"),
    "off the object": (
        lambda model: PartQuestion(
            model,
            {"c": view()},
            drags(FRONT + np.array([0, 0, 1])),
            options=QuestionOptions(scan=ScanOptions(region=REGION)),
        ),
        InvalidDrag,
        "drag 0 begins .* m from the object",
    ),
    "where nothing is seen": (
        lambda model: PartQuestion(model, {"c": view()}, drags(FRONT + 50)),
        InvalidDrag,
        "0 points with depth",
    ),
    "no depth to draw from": (
        lambda model: PartQuestion(model, {"c": view(with_depth=False)}, drags()),
        NoObservation,
        "no camera has depth",
    ),
    "too few cameras": (
        lambda model: PartQuestion(model, {"c": view()}, drags(), options=QuestionOptions(views="cameras")),
        NoObservation,
        "1 cameras; the network needs 4",
    ),
    "a region that is no box": (lambda _: parse_region([0, 0, 0, 1, 1, -1]), InvalidDrag, "region"),
    "behind the camera": (
        lambda _: in_views(np.array([[9.0, 0, 0]]), np.array([[9.0, 0, 0]]), standard_cameras()),
        InvalidDrag,
        "behind the camera",
    ),
    "outside the picture": (
        lambda _: in_views(np.array([[0.0, 3, 0]]), np.array([[0.0, 3, 0]]), standard_cameras()),
        InvalidDrag,
        "at pixel",
    ),
}


@pytest.mark.parametrize("case", BAD)
def test_bad_input_says_what_is_wrong(model: PartDynamics, case: str) -> None:
    make, error, text = BAD[case]
    with pytest.raises(error, match=text):
        make(model)


def test_depth_with_holes_is_enough(model: PartDynamics) -> None:
    seen = view()
    seen.points[::3] = np.nan
    (motion,) = PartQuestion(model, {"c": seen}, drags()).answer()
    assert np.isfinite(motion.after.values).all()
