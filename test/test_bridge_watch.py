"""Missing inputs, counters on /diagnostics, and the clock, with real nodes."""

import pytest
from diagnostic_msgs.msg import DiagnosticArray, DiagnosticStatus
from rclpy.node import Node
from rclpy.parameter import Parameter
from rosgraph_msgs.msg import Clock
from sensor_msgs.msg import Image, JointState

from fourd_ros.bridge.clock import ClockWatch
from fourd_ros.bridge.diagnostics import Counters, DiagnosticsPublisher
from fourd_ros.bridge.qos import LATCHED, RESULT, SENSOR, InputWatch, sensor_qos
from fourd_ros.bridge.times import ns_to_stamp
from fourd_ros.errors import InvalidImage, InvalidParameter

SECOND = 1_000_000_000


class Log:
    """Records what a node says through its real logger's interface."""

    def __init__(self):
        self.lines = []

    def info(self, text):
        self.lines.append(text)

    warning = info

    def saying(self, *words):
        return [line for line in self.lines if all(word in line for word in words)]


@pytest.fixture
def log(monkeypatch):
    log = Log()
    monkeypatch.setattr(Node, "get_logger", lambda node: log)
    return log


def node_named(name, **options):
    return Node(name, use_global_arguments=False, **options)


def watched(node, watch, msg_type, topic, qos, callback=lambda message: None):
    watch.add(topic, msg_type, node.create_subscription(msg_type, topic, watch.heard(topic, callback), qos))


def test_reliability_is_a_choice():
    assert sensor_qos(reliability="reliable", depth=5).depth == 5
    with pytest.raises(InvalidParameter, match="sometimes"):
        sensor_qos(reliability="sometimes")


def test_missing_input_is_asked_for_once_and_greeted(rclpy_context, spin, wait_for, log):
    receiver, sender, got = node_named("receiver"), node_named("sender"), []
    watch = InputWatch(receiver, patience=0.05)
    watched(receiver, watch, JointState, "joint_states", SENSOR, got.append)
    spin(receiver, sender)
    wait_for(lambda: log.saying("waiting for joint_states", "/joint_states", "sensor_msgs/msg/JointState"))
    assert watch.waiting() == ("joint_states",)
    publisher = sender.create_publisher(JointState, "joint_states", RESULT)
    wait_for(lambda: publisher.get_subscription_count() == 1)
    publisher.publish(JointState(name=["a"]))
    wait_for(lambda: got and log.saying("got joint_states"))
    assert watch.waiting() == ()
    assert len(log.saying("waiting for")) == 1


@pytest.mark.parametrize(
    ("offered", "wanted", "told"),
    [
        (SENSOR, sensor_qos(reliability="reliable"), "best_effort"),
        (RESULT, LATCHED, "volatile"),
    ],
    ids=["reliability", "durability"],
)
def test_publishers_that_cannot_be_heard_are_named_once(rclpy_context, spin, wait_for, log, offered, wanted, told):
    receiver, sender = node_named("receiver"), node_named("camera_driver")
    sender.create_publisher(Image, "image", offered)
    watch = InputWatch(receiver, patience=0.02)
    watched(receiver, watch, Image, "image", wanted)
    spin(receiver, sender)
    wait_for(lambda: log.saying("nothing can arrive on /image", "/camera_driver", told))
    wait_for(lambda: log.saying("waiting for image"))
    assert len(log.saying("nothing can arrive")) == 1


STRING_PUBLISHER = """
import rclpy, time
from rclpy.node import Node
from std_msgs.msg import String
with rclpy.init():
    node = Node("talker")
    publisher = node.create_publisher(String, "image", 1)
    time.sleep(60)
"""


def test_another_message_type_is_told(rclpy_context, spin, wait_for, log, other_process):
    receiver = node_named("receiver")
    watch = InputWatch(receiver, patience=0.05)
    watched(receiver, watch, Image, "image", SENSOR)
    spin(receiver)
    other_process("-c", STRING_PUBLISHER)
    wait_for(lambda: log.saying("nothing can arrive on /image", "/talker", "publishes std_msgs/msg/String"))


def test_one_fitting_publisher_is_enough(rclpy_context, spin, wait_for, log):
    receiver, sender = node_named("receiver"), node_named("sender")
    sender.create_publisher(Image, "image", SENSOR)
    fitting = sender.create_publisher(Image, "image", RESULT)
    watch = InputWatch(receiver, patience=0.02)
    watched(receiver, watch, Image, "image", sensor_qos(reliability="reliable"))
    wait_for(lambda: fitting.get_subscription_count() == 1)
    wait_for(lambda: len(receiver.get_publishers_info_by_topic("/image")) == 2)
    spin(receiver, sender)
    wait_for(lambda: log.saying("waiting for image"))
    assert not log.saying("nothing can arrive")


def test_counters_reach_diagnostics(rclpy_context, spin, wait_for):
    node, listener, statuses = node_named("worker"), node_named("listener"), []
    listener.create_subscription(DiagnosticArray, "/diagnostics", lambda m: statuses.extend(m.status), 10)
    counters = Counters()
    counters.count("frames", 3)
    DiagnosticsPublisher(node, counters, hardware_id="arm", period=0.05, values=lambda: {"queue": 2})
    spin(node, listener)
    wait_for(lambda: statuses)
    assert (statuses[0].level, statuses[0].hardware_id) == (DiagnosticStatus.OK, "arm")
    counters.error(InvalidImage("step is 7"))
    counters.error(ZeroDivisionError())
    worst = wait_for(lambda: [s for s in statuses if s.level == DiagnosticStatus.ERROR])[-1]
    values = {pair.key: pair.value for pair in worst.values}
    assert values["frames"] == "3"
    assert values["queue"] == "2"
    assert values["invalid_image"] == "1"
    assert worst.name == "worker: status"


def test_a_warning_lasts_as_long_as_its_reason(rclpy_context, spin, wait_for):
    node, listener, statuses, lacking = node_named("worker"), node_named("listener"), [], ["no weights"]
    listener.create_subscription(DiagnosticArray, "/diagnostics", lambda m: statuses.extend(m.status), 10)
    DiagnosticsPublisher(node, Counters(), period=0.05, warning=lambda: " ".join(lacking))
    spin(node, listener)
    wait_for(lambda: statuses)
    assert (statuses[0].level, statuses[0].message) == (DiagnosticStatus.WARN, "no weights")
    lacking.clear()
    wait_for(lambda: statuses[-1].level == DiagnosticStatus.OK)


def test_errors_are_counted_by_kind_and_the_last_is_remembered():
    counters = Counters()
    counters.error(InvalidImage("step is 7"))
    assert counters.snapshot().last_error == "invalid_image: step is 7"
    counters.error(ZeroDivisionError())
    snapshot = counters.snapshot()
    assert snapshot.counts == {"invalid_image": 1, "unexpected": 1}
    assert snapshot.last_error == "unexpected: ZeroDivisionError"
    assert 0 <= snapshot.error_age < 60


@pytest.fixture
def simulated_time(rclpy_context, spin, wait_for):
    """A node on simulated time, its jumps and conflicts, and a function that sets the clock."""
    node = node_named("robot", parameter_overrides=[Parameter("use_sim_time", value=True)])
    driver, jumps, conflicts = node_named("bag_player"), [], []
    watch = ClockWatch(node, on_jump=jumps.append, on_conflict=conflicts.append, forward=2.0)
    publisher = driver.create_publisher(Clock, "/clock", RESULT)
    spin(node, driver)
    wait_for(lambda: publisher.get_subscription_count() == 1)

    def set_clock(seconds):
        publisher.publish(Clock(clock=ns_to_stamp(round(seconds * SECOND))))
        wait_for(lambda: node.get_clock().now().nanoseconds == round(seconds * SECOND))

    return watch, jumps, conflicts, set_clock, driver


def test_clock_jumps_both_ways_are_told(simulated_time):
    _, jumps, _, set_clock, _ = simulated_time
    for seconds in (100.0, 101.0, 102.5, 110.0, 50.0, 51.0):
        set_clock(seconds)
    assert jumps[-2:] == pytest.approx([7.5, -60.0])


def test_second_clock_is_a_conflict_until_it_goes(simulated_time, wait_for):
    watch, _, conflicts, set_clock, driver = simulated_time
    set_clock(100.0)
    watch.check()
    assert not conflicts
    second = driver.create_publisher(Clock, "/clock", RESULT)
    wait_for(lambda: watch.check() or conflicts)
    watch.check()
    assert len(conflicts) == 1
    assert "2 publishers" in str(conflicts[0])
    assert "/bag_player" in str(conflicts[0])
    driver.destroy_publisher(second)
