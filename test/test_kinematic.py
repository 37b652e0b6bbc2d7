"""Rung 1 against what is known in closed form: who moves, who stays, and what nobody can know."""

from dataclasses import replace

import numpy as np
import pytest
from numpy.typing import NDArray
from rig import BOX_COLOUR, BOX_MAX, BOX_MIN, TABLE_COLOUR, Rig, posed

from fourd_ros.errors import Cancelled, InvalidTrajectory, MissingCamera, TooLarge
from fourd_ros.geometry.transforms import apply
from fourd_ros.records import Observation, RobotTrajectory, Rollout, RolloutFlags, View
from fourd_ros.world_model.base import Question
from fourd_ros.world_model.compositing import HELD_LABEL, STATIC_LABEL, UNSEEN_COLOUR
from fourd_ros.world_model.kinematic import KinematicModel

TIMES = np.array([0.25, 0.5, 0.75, 1.0])


@pytest.fixture(scope="module")
def rig() -> Rig:
    return Rig(size=96)


def motion(rig: Rig, **changes: float) -> RobotTrajectory:
    """One second from the rig's posture to a changed one, over all joints."""
    assert rig.joints is not None
    names = rig.robot.kinematics.joint_names
    ends = [[joints[name] for name in names] for joints in (rig.joints, {**rig.joints, **changes})]
    return RobotTrajectory(joint_names=names, times=np.array([0.0, 1.0]), positions=np.array(ends))


def imagine(rig: Rig, observation: Observation, *candidates: RobotTrajectory, samples: int = 1) -> list[Rollout]:
    question = Question(
        robot=rig.robot,
        observation=observation,
        candidates=candidates,
        times=TIMES,
        views=tuple(observation.views),
        num_samples=samples,
    )
    return list(KinematicModel().imagine(question, checkpoint=lambda fraction: None))


def silhouette(rig: Rig, name: str, joints: dict[str, float]) -> NDArray[np.bool_]:
    """Where the robot really is in another posture."""
    there = Rig(size=rig.size, joints=joints)
    poses = {link: pose[None] for link, pose in there.link_poses.items()}
    return there.robot.renderer.render(poses, there.camera, there.camera_pose(name)[None]).mask[0]


def test_the_robot_is_where_the_command_puts_it(rig: Rig) -> None:
    view = imagine(rig, rig.observation(), motion(rig, panda_joint1=0.8))[0].views["front"]
    truth = silhouette(rig, "front", posed(panda_joint1=0.8))
    union, both = (view.robot_mask[-1] | truth).sum(), (view.robot_mask[-1] & truth).sum()
    assert both / union > 0.97


def test_what_the_robot_hid_is_unknown_and_the_rest_stays(rig: Rig) -> None:
    observation = rig.observation(views=("front",))
    view = imagine(rig, observation, motion(rig, panda_joint1=1.2))[0].views["front"]
    before = silhouette(rig, "front", posed())
    uncovered = before & ~silhouette(rig, "front", posed(panda_joint1=1.2)) & ~view.robot_mask[-1]
    assert uncovered.sum() > 50
    assert np.isnan(view.points[-1][uncovered]).mean() > 0.9
    assert (~view.observed_mask[-1][uncovered]).mean() > 0.9
    assert (view.rgb[-1][uncovered] == UNSEEN_COLOUR).all(-1).mean() > 0.9
    untouched = view.labels[-1] == STATIC_LABEL
    untouched &= ~view.robot_mask[-1]
    np.testing.assert_array_equal(view.points[-1][untouched], observation.views["front"].points[untouched])
    np.testing.assert_array_equal(view.sigma[-1][untouched & np.isfinite(view.points[-1][..., 2])], 0.0)


def test_a_wrist_camera_moves_with_the_hand_and_sees_the_table_where_it_is(rig: Rig) -> None:
    goal = posed(panda_joint1=0.2, panda_joint6=1.4)
    rollout = imagine(rig, rig.observation(), motion(rig, panda_joint1=0.2, panda_joint6=1.4))[0]
    view, truth = rollout.views["wrist"], Rig(size=96, joints=goal).view("wrist")
    np.testing.assert_allclose(view.T_world_camera[-1], truth.T_world_camera, atol=1e-9)
    scene = view.labels[-1] == STATIC_LABEL
    scene &= ~view.robot_mask[-1] & (truth.rgb == TABLE_COLOUR).all(-1)
    assert scene.mean() > 0.5
    error = np.abs(view.points[-1][..., 2] - truth.points[..., 2])[scene]
    assert np.median(error) < 1e-3


def test_a_still_robot_sees_what_it_saw(rig: Rig) -> None:
    observation = rig.observation()
    rollout = imagine(rig, observation, motion(rig))[0]
    for name, view in rollout.views.items():
        known = view.observed_mask[0] & ~view.robot_mask[0] & np.isfinite(observation.views[name].points[..., 2])
        error = np.abs(view.points[0] - observation.views[name].points)[known]
        assert np.median(error) < 1e-4 and known.mean() > 0.7, name


def holding(rig: Rig) -> Observation:
    """The rig's observation with a green block of 4 cm between the fingers."""
    observation = rig.observation(views=("front",))
    view, hand = observation.views["front"], rig.link_poses["panda_hand"]
    centre, half = np.array([0.0, 0.0, 0.105]), np.array([0.012, 0.02, 0.03])
    T_hand_camera = np.linalg.inv(hand) @ view.T_world_camera
    directions = view.camera.rays() @ T_hand_camera[:3, :3].T
    with np.errstate(divide="ignore"):
        near, far = ((centre + s * half - T_hand_camera[:3, 3]) / directions for s in (-1, 1))
    enter, leave = np.minimum(near, far).max(-1), np.maximum(near, far).min(-1)
    block = (enter <= leave) & (enter > 0) & ~(view.points[..., 2] < enter)
    points, rgb = view.points.copy(), view.rgb.copy()
    points[block] = (view.camera.rays() * enter[..., None])[block]
    rgb[block] = (0, 200, 0)
    changed: View = replace(view, points=points, rgb=rgb)
    return replace(observation, views={"front": changed})


@pytest.fixture(scope="module")
def gripping() -> Rig:
    return Rig(size=240, joints=posed(panda_finger_joint1=0.02))


def held_centre(rollout: Rollout, step: int) -> NDArray[np.float64]:
    view = rollout.views["front"]
    held = (view.labels[step] == HELD_LABEL) & ~view.robot_mask[step]
    assert held.sum() > 10
    return np.median(apply(view.T_world_camera[step], view.points[step][held]), axis=0)


def test_a_held_object_is_carried_with_the_hand(gripping: Rig) -> None:
    rollout = imagine(gripping, holding(gripping), motion(gripping, panda_joint1=0.5))[0]
    start, end = held_centre(rollout, 0), held_centre(rollout, 3)
    angle = np.arctan2(end[1], end[0]) - np.arctan2(start[1], start[0])
    assert angle == pytest.approx(0.5 * 0.75, abs=0.03)
    assert np.linalg.norm(end[:2]) == pytest.approx(np.linalg.norm(start[:2]), abs=0.015)
    green = (rollout.views["front"].rgb[-1] == (0, 200, 0)).all(-1)
    assert (rollout.views["front"].labels[-1][green] == HELD_LABEL).mean() > 0.7


def test_a_released_object_stays_where_it_was_let_go(gripping: Rig) -> None:
    carry = motion(gripping, panda_joint1=0.6, panda_finger_joint1=0.03)
    rollout = imagine(gripping, holding(gripping), carry)[0]
    # The fingers are 4 mm further open after 0.4 s, between the first and the second frame.
    np.testing.assert_allclose(held_centre(rollout, 1), held_centre(rollout, 3), atol=0.02)


def test_fingers_do_not_close_through_what_they_hold(gripping: Rig) -> None:
    squeeze = motion(gripping, panda_joint1=0.5, panda_finger_joint1=0.0)
    joints = imagine(gripping, holding(gripping), squeeze)[0].joints
    fingers = joints.positions[:, joints.joint_names.index("panda_finger_joint1")]
    np.testing.assert_allclose(fingers, 0.02)


def test_an_open_gripper_holds_nothing(rig: Rig) -> None:
    view = imagine(rig, rig.observation(), motion(rig, panda_joint1=0.5))[0].views["front"]
    assert not (view.labels == HELD_LABEL).any()


def test_the_scene_hides_the_robot_behind_it(rig: Rig) -> None:
    observation = rig.observation(views=("front",))
    view = observation.views["front"]
    wall = replace(view, points=view.camera.rays() * np.float32(0.3))
    future = imagine(rig, replace(observation, views={"front": wall}), motion(rig, panda_joint1=0.5))[0]
    assert not future.views["front"].robot_mask.any()


def test_without_depth_the_robot_is_painted_over_the_image(rig: Rig) -> None:
    observation = rig.observation(views=("front",))
    view = observation.views["front"]
    flat = replace(view, points=np.full_like(view.points, np.nan))
    future = imagine(rig, replace(observation, views={"front": flat}), motion(rig, panda_joint1=0.8))[0].views["front"]
    np.testing.assert_array_equal(future.robot_mask[-1], silhouette(rig, "front", posed(panda_joint1=0.8)))
    assert np.isnan(future.points[-1][~future.robot_mask[-1]]).all()


def test_the_box_on_the_table_is_not_moved_by_this_rung(rig: Rig) -> None:
    view = imagine(rig, rig.observation(views=("front",)), motion(rig, panda_joint1=-0.5))[0].views["front"]
    red = (view.rgb[-1] == BOX_COLOUR).all(-1)
    world = apply(view.T_world_camera[-1], view.points[-1][red])
    assert red.sum() > 20
    assert (world > BOX_MIN - 0.01).all() and (world < BOX_MAX + 0.01).all()


def test_samples_share_the_future_and_differ_in_seed(rig: Rig) -> None:
    rollouts = imagine(rig, rig.observation(views=("front",)), motion(rig), motion(rig, panda_joint1=0.3), samples=2)
    assert [(r.candidate, r.sample, r.seed) for r in rollouts] == [(0, 0, 0), (0, 1, 1), (1, 0, 0), (1, 1, 1)]


def test_caveats(rig: Rig) -> None:
    observation = rig.observation(views=("front",))
    plain = imagine(rig, observation, motion(rig, panda_joint1=0.3))[0]
    assert plain.flags == RolloutFlags.NONE
    long = motion(rig, panda_joint1=0.3)
    long = replace(long, times=long.times * 3)
    assert imagine(rig, observation, long)[0].flags == RolloutFlags.TRUNCATED
    blind = replace(
        observation.views["front"], mounted_on="panda_hand", points=np.full((96, 96, 3), np.nan, np.float32)
    )
    flags = imagine(rig, replace(observation, views={"front": blind}), motion(rig, panda_joint1=0.3))[0].flags
    assert flags & RolloutFlags.CAMERA_UNSEEN


def test_cancelling_ends_the_imagination(rig: Rig) -> None:
    def checkpoint(fraction: float) -> None:
        raise Cancelled("enough")

    question = Question(
        robot=rig.robot,
        observation=rig.observation(views=("front",)),
        candidates=(motion(rig),),
        times=TIMES,
        views=("front",),
    )
    with pytest.raises(Cancelled):
        list(KinematicModel().imagine(question, checkpoint=checkpoint))


def test_questions_are_checked(rig: Rig) -> None:
    good = {
        "robot": rig.robot,
        "observation": rig.observation(views=("front",)),
        "candidates": (motion(rig),),
        "times": TIMES,
        "views": ("front",),
    }
    for error, change in (
        (InvalidTrajectory, {"candidates": ()}),
        (InvalidTrajectory, {"times": TIMES[::-1]}),
        (MissingCamera, {"views": ("ceiling",)}),
        (TooLarge, {"num_samples": 0}),
    ):
        with pytest.raises(error):
            Question(**{**good, **change})
