"""Rollouts on the wire: what a client reads is what was imagined, in the fixed frame and within its budget."""

import dataclasses

import numpy as np
import pytest
from fourd_msgs.msg import Rollout as RolloutMessage
from fourd_msgs.msg import RolloutFrame
from fourd_msgs.srv import GetRolloutFrames
from rclpy.serialization import deserialize_message, serialize_message

from fourd_ros.bridge.clouds import FIRST_OBJECT_LABEL, POINT, ROBOT_LABEL, STATIC_LABEL
from fourd_ros.bridge.rollouts import FrameFields, make_frame, read_frame, rollout_to_message
from fourd_ros.errors import TooLarge, UnknownRollout
from fourd_ros.geometry.camera import PinholeCamera
from fourd_ros.geometry.transforms import apply, from_rpy
from fourd_ros.records import RobotTrajectory, Rollout, RolloutFlags, RolloutView

STEPS, HEIGHT, WIDTH = 3, 24, 32
SIZE = (STEPS, HEIGHT, WIDTH)
STAMP_NS = 1_767_225_600_123_456_789
RNG = np.random.default_rng(0)


def make_view():
    points = RNG.uniform(0.5, 2.0, (*SIZE, 3)).astype(np.float32)
    points[:, :4] = np.nan
    robot = np.zeros(SIZE, bool)
    robot[:, 10:14, 8:16] = True
    observed = np.ones(SIZE, bool)
    observed[:, :4] = False
    labels = np.full(SIZE, STATIC_LABEL, np.uint32)
    labels[:, 20:] = FIRST_OBJECT_LABEL + 1
    return RolloutView(
        camera=PinholeCamera(width=WIDTH, height=HEIGHT, K=np.array([[40.0, 0, 15.5], [0, 40.0, 11.5], [0, 0, 1.0]])),
        T_world_camera=np.stack([from_rpy((0.1 * t, 0.2, 0.3), (0.1, -2.0, 0.5 * t)) for t in range(STEPS)]),
        rgb=RNG.integers(0, 256, (*SIZE, 3), np.uint8),
        points=points,
        sigma=RNG.random(SIZE, np.float32),
        robot_mask=robot,
        observed_mask=observed,
        labels=labels,
    )


@pytest.fixture(scope="module")
def rollout():
    times = np.array([0.0, 0.1, 0.2])
    positions = np.linspace(0.0, 1.0, 2 * STEPS).reshape(STEPS, 2)
    return Rollout(
        stamp_ns=STAMP_NS,
        frame="base",
        times=times,
        views={"front": make_view()},
        joints=RobotTrajectory(joint_names=("a", "b"), times=times, positions=positions),
        candidate=1,
        sample=2,
        backend="kinematic",
        seed=2**63 + 1,
        trust=0.5,
        flags=RolloutFlags.TRUNCATED,
        compute_time=0.25,
    )


def sent(message):
    """As it arrives in another process."""
    return deserialize_message(serialize_message(message), type(message))


def test_summary_has_everything_but_pixels(rollout):
    message = sent(rollout_to_message(rollout, "r1", expires_ns=STAMP_NS + 5))
    assert message.header.frame_id == "base"
    assert (message.header.stamp.sec, message.header.stamp.nanosec) == divmod(STAMP_NS, 10**9)
    assert (message.rollout_id, message.candidate, message.sample, message.backend) == ("r1", 1, 2, "kinematic")
    assert (message.seed, message.trust, message.flags) == (2**63 + 1, 0.5, RolloutMessage.TRUNCATED)
    assert message.views == ["front"]
    assert [d.nanosec for d in message.times_from_start] == [0, 100_000_000, 200_000_000]
    assert message.joints.points[2].positions.tolist() == rollout.joints.positions[2].tolist()
    assert message.expires.nanosec == message.header.stamp.nanosec + 5


def test_frame_says_what_was_imagined(rollout):
    view = rollout.views["front"]
    frame = read_frame(sent(make_frame(rollout, "r1", 1, "front", image_format="png")))
    assert (frame.rollout_id, frame.index, frame.frame, frame.view) == ("r1", 1, "base", "front")
    assert frame.stamp_ns == STAMP_NS + 100_000_000
    assert frame.joints == dict(zip("ab", rollout.joints.positions[1].tolist(), strict=True))
    np.testing.assert_allclose(frame.T_world_camera, view.T_world_camera[1], atol=1e-12)
    np.testing.assert_array_equal(frame.camera.K, view.camera.K)
    np.testing.assert_array_equal(frame.rgb, view.rgb[1])
    np.testing.assert_array_equal(frame.observed, view.observed_mask[1])
    known = np.isfinite(view.points[1, ..., 2])
    np.testing.assert_allclose(
        frame.cloud["points"], apply(view.T_world_camera[1], view.points[1][known].astype(float)), atol=1e-6
    )
    np.testing.assert_array_equal(frame.cloud["rgb"], view.rgb[1][known])
    np.testing.assert_array_equal(frame.cloud["sigma"], view.sigma[1][known])
    expected = np.where(view.robot_mask[1], ROBOT_LABEL, view.labels[1])
    np.testing.assert_array_equal(frame.cloud["label"], expected[known])


def test_without_labels_only_the_robot_is_named(rollout):
    views = {"front": dataclasses.replace(rollout.views["front"], labels=None)}
    frame = read_frame(make_frame(dataclasses.replace(rollout, views=views), "r1", 0, "front"))
    assert set(frame.cloud["label"].tolist()) == {RolloutFrame.LABEL_UNKNOWN, RolloutFrame.LABEL_ROBOT}


def test_only_what_was_asked_for_is_sent(rollout):
    for fields in FrameFields:
        frame = read_frame(make_frame(rollout, "r1", 0, "front", fields=fields))
        assert (frame.rgb is not None) == (FrameFields.IMAGE in fields)
        assert (frame.cloud is not None) == (FrameFields.POINTS in fields)
        assert (frame.observed is not None) == (FrameFields.OBSERVED in fields)


def test_fields_are_those_of_the_service():
    request = GetRolloutFrames.Request
    assert (FrameFields.IMAGE, FrameFields.POINTS, FrameFields.OBSERVED) == (
        request.IMAGE,
        request.POINTS,
        request.OBSERVED,
    )


def bulk_bytes(message):
    return len(message.image.data) + len(message.points.data) + len(message.observed.data)


def test_cloud_is_thinned_to_what_the_budget_leaves(rollout):
    full = make_frame(rollout, "r1", 0, "front")
    budget = bulk_bytes(full) - 100 * POINT.itemsize
    reduced = make_frame(rollout, "r1", 0, "front", max_bytes=budget)
    assert reduced.points.width == full.points.width - 100
    assert bulk_bytes(reduced) <= budget
    with pytest.raises(TooLarge, match="max_bytes"):
        make_frame(rollout, "r1", 0, "front", max_bytes=len(full.image.data))


def test_voxels_leave_one_point_each(rollout):
    size = 0.5
    cloud = read_frame(make_frame(rollout, "r1", 0, "front", voxel_size=size)).cloud
    points = cloud["points"]
    cells = np.floor((points - points.min(0)) / size)
    full = read_frame(make_frame(rollout, "r1", 0, "front")).cloud["points"]
    assert len(points) < len(full) / 4
    assert len(np.unique(cells, axis=0)) >= 0.5 * len(points)


@pytest.mark.parametrize(("index", "view"), [(3, "front"), (-1, "front"), (0, "wrist")])
def test_unknown_frames_and_views_are_refused(rollout, index, view):
    with pytest.raises(UnknownRollout):
        make_frame(rollout, "r1", index, view)
