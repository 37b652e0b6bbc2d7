"""Transforms in time, against closed forms; and the listener on real topics."""

import threading

import numpy as np
import pytest
from geometry_msgs.msg import Quaternion, Transform, TransformStamped, Vector3
from scipy.spatial.transform import Rotation

from fourd_ros.bridge.diagnostics import Counters
from fourd_ros.bridge.tf import Tf2TransformBuffer, TransformBuffer, TransformListener, make_transform
from fourd_ros.bridge.times import make_header
from fourd_ros.errors import InvalidTransform, TransformUnavailable
from fourd_ros.geometry.transforms import from_rpy, invert

SECOND = 1_000_000_000
START = 1_767_225_600 * SECOND


def turn(angle, xyz=(0.0, 0.0, 0.0)):
    return from_rpy(xyz, (0.0, 0.0, angle))


def stamp(seconds):
    return START + round(seconds * SECOND)


@pytest.fixture(params=[TransformBuffer, Tf2TransformBuffer])
def buffer(request):
    if request.param is Tf2TransformBuffer:
        pytest.importorskip("tf2_ros")
    return request.param(duration=10.0, max_gap=0.5)


def test_between_samples_position_is_linear_and_rotation_turns_evenly(buffer):
    axis = np.array([1.0, 2.0, 2.0]) / 3.0

    def at(seconds):
        pose = np.eye(4)
        pose[:3, :3] = Rotation.from_rotvec(2.0 * seconds * axis).as_matrix()
        pose[:3, 3] = [seconds, -seconds, 1.0]
        return pose

    for seconds in (0.0, 0.4):
        buffer.set_transform("world", "hand", stamp(seconds), at(seconds))
    for seconds in (0.0, 0.1, 0.123456789, 0.4):
        np.testing.assert_allclose(buffer.lookup("world", "hand", stamp(seconds)), at(seconds), atol=1e-9)


def test_chain_through_the_common_ancestor(buffer):
    T_world_base, T_base_hand, T_world_camera = turn(0.3, (1, 0, 0)), turn(-1.0, (0, 2, 0)), turn(2.0, (0, 0, 3))
    buffer.set_transform("world", "base", 0, T_world_base, static=True)
    buffer.set_transform("base", "hand", stamp(1), T_base_hand)
    buffer.set_transform("world", "camera", stamp(1), T_world_camera)
    expected = invert(T_world_camera) @ T_world_base @ T_base_hand
    np.testing.assert_allclose(buffer.lookup("camera", "hand", stamp(1)), expected, atol=1e-12)
    np.testing.assert_allclose(buffer.lookup("hand", "camera", stamp(1)), invert(expected), atol=1e-12)
    np.testing.assert_array_equal(buffer.lookup("hand", "hand", stamp(99)), np.eye(4))
    assert buffer.ancestors("hand") == ("base", "world")


def test_zero_stamp_is_the_latest_common_instant(buffer):
    for seconds in (1.0, 1.2):
        buffer.set_transform("world", "slow", stamp(seconds), turn(0, (seconds, 0, 0)))
    for seconds in (1.0, 1.2, 1.4):
        buffer.set_transform("slow", "fast", stamp(seconds), turn(0, (0, seconds, 0)))
    np.testing.assert_allclose(buffer.lookup("world", "fast")[:3, 3], [1.2, 1.2, 0.0])


def test_samples_may_arrive_in_any_order(buffer):
    for seconds in (0.4, 0.0, 0.2):
        buffer.set_transform("world", "hand", stamp(seconds), turn(0, (seconds, 0, 0)))
    assert buffer.lookup("world", "hand", stamp(0.3))[0, 3] == pytest.approx(0.3)


@pytest.mark.parametrize(
    ("seconds", "told"),
    [(-0.1, "no longer known"), (3.3, "not yet known"), (1.5, "gap of 2.000 s")],
    ids=["past", "future", "gap"],
)
def test_outside_or_in_a_gap_names_the_edge_and_the_range(buffer, seconds, told):
    for moment in (0.0, 0.4, 2.4, 2.8):
        buffer.set_transform("world", "hand", stamp(moment), turn(0))
    with pytest.raises(TransformUnavailable, match=told) as caught:
        buffer.lookup("world", "hand", stamp(seconds))
    assert "'world' -> 'hand'" in str(caught.value)
    assert "1767225600.000000000 to 1767225602.800000000" in str(caught.value) or told.startswith("gap")


def test_unknown_and_unconnected_frames(buffer):
    buffer.set_transform("world", "hand", stamp(0), turn(0))
    buffer.set_transform("map", "car", stamp(0), turn(0))
    with pytest.raises(TransformUnavailable, match="'foot' is not in TF"):
        buffer.lookup("world", "foot", stamp(0))
    with pytest.raises(TransformUnavailable, match="roots are 'world' and 'map'"):
        buffer.lookup("car", "hand", stamp(0))


def test_history_is_bounded(buffer):
    for seconds in np.arange(0.0, 30.0, 0.25):
        buffer.set_transform("world", "hand", stamp(seconds), turn(0))
    buffer.lookup("world", "hand", stamp(19.75))
    with pytest.raises(TransformUnavailable):
        buffer.lookup("world", "hand", stamp(19.0))


def test_one_sample_from_the_future_displaces_nothing_two_do(buffer):
    for seconds in (0.0, 0.4):
        buffer.set_transform("world", "hand", stamp(seconds), turn(seconds))
    with pytest.raises(InvalidTransform, match=r"3599\.6 s after"):
        buffer.set_transform("world", "hand", stamp(3600), turn(9.0))
    buffer.set_transform("world", "hand", stamp(0.6), turn(0.6))
    np.testing.assert_allclose(buffer.lookup("world", "hand", stamp(0.2)), turn(0.2), atol=1e-9)
    with pytest.raises(InvalidTransform):
        buffer.set_transform("world", "hand", stamp(7200), turn(0.1))
    buffer.set_transform("world", "hand", stamp(7200.1), turn(0.3))
    np.testing.assert_allclose(buffer.lookup("world", "hand"), turn(0.3), atol=1e-9)
    with pytest.raises(TransformUnavailable):
        buffer.lookup("world", "hand", stamp(0.2))


def test_clear_forgets_motion_and_keeps_what_is_static(buffer):
    buffer.set_transform("world", "base", 0, turn(1.0), static=True)
    buffer.set_transform("base", "hand", stamp(100), turn(0))
    buffer.clear()
    with pytest.raises(TransformUnavailable):
        buffer.lookup("base", "hand", stamp(100))
    buffer.set_transform("base", "hand", stamp(1), turn(0.5))
    np.testing.assert_allclose(buffer.lookup("world", "hand", stamp(1)), turn(1.5), atol=1e-12)


def test_moving_to_another_parent_begins_a_new_history():
    counters = Counters()
    buffer = TransformBuffer(counters=counters)
    buffer.set_transform("table", "cup", stamp(0), turn(0, (1, 0, 0)))
    buffer.set_transform("table", "hand", stamp(0), turn(0))
    buffer.set_transform("hand", "cup", stamp(1), turn(0, (2, 0, 0)))
    buffer.set_transform("table", "cup", stamp(0.5), turn(0, (3, 0, 0)))
    assert buffer.lookup("hand", "cup", stamp(1))[0, 3] == 2
    assert counters["transform_reparented"] == 1


@pytest.mark.parametrize(("parent", "child"), [("hand", "world"), ("hand", "hand"), ("", "hand"), ("world", "")])
def test_circles_and_nameless_frames_are_refused(buffer, parent, child):
    buffer.set_transform("world", "base", stamp(0), turn(0))
    buffer.set_transform("base", "hand", stamp(0), turn(0.2))
    with pytest.raises(InvalidTransform):
        buffer.set_transform(parent, child, stamp(1), turn(0))
    np.testing.assert_allclose(buffer.lookup("world", "hand", stamp(0)), turn(0.2), atol=1e-12)


def message(xyzw, xyz=(0.0, 0.0, 0.0)):
    return TransformStamped(
        header=make_header(stamp(0), "world"),
        child_frame_id="hand",
        transform=Transform(
            translation=Vector3(**dict(zip("xyz", xyz, strict=True))),
            rotation=Quaternion(**dict(zip("xyzw", xyzw, strict=True))),
        ),
    )


def test_quaternions_are_normalised_and_counted_or_refused():
    counters = Counters()
    buffer = TransformBuffer(counters=counters)
    buffer.add(message((0.0, 0.0, 0.0, 1.0)))
    assert counters["transform_normalised"] == 0
    buffer.add(message((0.0, 0.0, 0.0, 0.95)))
    assert counters["transform_normalised"] == 1
    np.testing.assert_array_equal(buffer.lookup("world", "hand"), np.eye(4))
    nan = float("nan")
    for bad in (
        message((0.0, 0.0, 0.0, 0.0)),
        message((nan, 0.0, 0.0, 1.0)),
        message((0.0, 0.0, 0.0, 2.0)),
        message((0.0, 0.0, 0.0, 1.0), (nan, 0.0, 0.0)),
    ):
        with pytest.raises(InvalidTransform, match="hand"):
            buffer.add(bad)


def test_lookup_waits_for_what_is_on_its_way(buffer):
    buffer.set_transform("world", "hand", stamp(0), turn(0))
    sender = threading.Timer(0.05, lambda: buffer.set_transform("world", "hand", stamp(0.2), turn(0.2)))
    sender.start()
    np.testing.assert_allclose(buffer.lookup("world", "hand", stamp(0.1), timeout=10.0), turn(0.1), atol=1e-12)
    with pytest.raises(TransformUnavailable):
        buffer.lookup("world", "hand", stamp(9), timeout=0.01)


def test_listener_fills_the_buffer_and_survives_bad_transforms(rclpy_context, spin, wait_for):
    from rclpy.node import Node
    from tf2_msgs.msg import TFMessage

    from fourd_ros.bridge.qos import static_transform_qos, transform_qos

    sender, receiver = Node("sender", use_global_arguments=False), Node("receiver", use_global_arguments=False)
    static = sender.create_publisher(TFMessage, "/tf_static", static_transform_qos())
    static.publish(TFMessage(transforms=[make_transform("world", "base", 0, turn(1.0))]))
    moving = sender.create_publisher(TFMessage, "/tf", transform_qos())
    buffer, errors = TransformBuffer(), []
    listener = TransformListener(receiver, buffer, on_error=errors.append)
    spin(sender, receiver)
    wait_for(lambda: "base" in buffer.frames(), "the latched transform, sent before anybody listened")
    wait_for(lambda: moving.get_subscription_count() == 1)
    moving.publish(
        TFMessage(transforms=[message((0.0, 0.0, 0.0, 0.0)), make_transform("base", "hand", stamp(0), turn(0.5))])
    )
    wait_for(lambda: "hand" in buffer.frames())
    np.testing.assert_allclose(buffer.lookup("world", "hand", stamp(0)), turn(1.5), atol=1e-12)
    assert [type(error) for error in errors] == [InvalidTransform]
    listener.destroy()
    wait_for(lambda: moving.get_subscription_count() == 0, "the end of the subscription")
