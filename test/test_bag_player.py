"""The player and the recorder against real subscribers and publishers in other processes."""

import json
import threading
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from bag_rig import NS, START_NS, write_small_bag
from rclpy.node import Node
from rclpy.parameter import Parameter
from rclpy.qos import DurabilityPolicy, QoSProfile, ReliabilityPolicy
from rosgraph_msgs.msg import Clock
from sensor_msgs.msg import Image, JointState
from std_msgs.msg import String
from tf2_msgs.msg import TFMessage

from fourd_ros.bridge.times import stamp_to_ns
from fourd_ros.data.bags import BagReader
from fourd_ros.errors import ClockConflict, InvalidBag
from fourd_ros.nodes.bag_player import BagPlayer, PlayReport, PlaySettings

LATCHED = QoSProfile(depth=10, durability=DurabilityPolicy.TRANSIENT_LOCAL)
DEEP = QoSProfile(depth=5000)
SENSOR = QoSProfile(depth=100, reliability=ReliabilityPolicy.BEST_EFFORT)


class Listener(Node):
    """Keeps what it hears, in the order of arrival."""

    def __init__(self, *, image: str = "/front/image", late_latched: bool = False) -> None:
        super().__init__("listener", use_global_arguments=False)
        self.images: list[int] = []
        self.joints: list[float] = []
        self.clock: list[int] = []
        self.descriptions: list[str] = []
        self.frames: list[str] = []
        self.create_subscription(Image, image, lambda m: self.images.append(m.data[0]), SENSOR)
        self.create_subscription(JointState, "/joint_states", lambda m: self.joints.append(m.position[0]), DEEP)
        self.create_subscription(Clock, "/clock", lambda m: self.clock.append(stamp_to_ns(m.clock)), SENSOR)
        if not late_latched:
            self.listen_to_latched()

    def listen_to_latched(self) -> None:
        self.create_subscription(String, "/robot_description", lambda m: self.descriptions.append(m.data), LATCHED)
        self.create_subscription(TFMessage, "/tf_static", self._take_transforms, LATCHED)

    def _take_transforms(self, message: TFMessage) -> None:
        self.frames += [transform.child_frame_id for transform in message.transforms]


@pytest.fixture
def play(other_process: Callable[..., Any], tmp_path: Path) -> Callable[..., Any]:
    """``play(*options, **bag)``: `fourd bag play` of a small bag in a process of its own."""

    def start(*options: str, **bag: Any) -> Any:
        path = write_small_bag(tmp_path / "small", **bag)
        command = ("-m", "fourd_ros.cli", "bag", "play", str(path), "--json", *options)
        return other_process(*command)

    return start


@pytest.fixture
def play_here(rclpy_context: Any, tmp_path: Path) -> Callable[..., PlayReport]:
    """``play_here(**settings)``: a small bag played to its end by a node of this process."""

    def play_to_the_end(**settings: Any) -> PlayReport:
        node = Node("player", use_global_arguments=False)
        wait_for = settings.get("topics") or ["/front/image", "/joint_states", "/robot_description", "/tf_static"]
        with BagReader(write_small_bag(tmp_path / "small")) as reader:
            report = BagPlayer(node, reader, PlaySettings(wait_for=wait_for, **settings)).play()
        node.destroy_node()
        return report

    return play_to_the_end


WAIT = ("--wait-for", "/front/image", "/joint_states", "/robot_description", "/tf_static")


def report_of(process: Any) -> dict[str, Any]:
    assert process.process.wait(240) == 0, process.output()
    return json.loads(process.output().splitlines()[-1])


def test_everything_arrives_in_order_with_the_recorded_time(spin: Any, play: Any, wait_for: Any) -> None:
    listener = spin(Listener())
    player = play("--rate", "2", *WAIT)
    report = report_of(player)
    wait_for(lambda: len(listener.images) == 20 and len(listener.joints) == 20, "all images and joints")
    assert listener.images == list(range(20))
    assert np.allclose(listener.joints, 0.1 * np.arange(20))
    assert listener.descriptions == ["<robot name='r'/>"]
    assert listener.frames == ["camera", "tool"]
    assert listener.clock == sorted(listener.clock)
    assert listener.clock[0] >= START_NS and listener.clock[-1] == START_NS + 950_000_000
    assert (report["messages"], report["passes"]) == (43, 1)


def test_as_fast_as_possible_loses_nothing_on_the_way_to_a_deep_queue(spin: Any, play: Any, wait_for: Any) -> None:
    listener = spin(Listener())
    report = report_of(play("--as-fast-as-possible", *WAIT, images=600, size=4))
    wait_for(lambda: len(listener.joints) == 600, "all joints")
    assert np.allclose(listener.joints, 0.1 * np.arange(600))
    assert report["messages"] == 1203


def test_a_later_start_still_brings_the_latched_messages(spin: Any, play_here: Any, wait_for: Any) -> None:
    listener = spin(Listener())
    play_here(rate=4.0, start=0.5, duration=0.2)
    wait_for(lambda: len(listener.images) == 4, "images of the range")
    assert listener.images == [10, 11, 12, 13]
    wait_for(lambda: listener.frames == ["camera", "tool"] and listener.descriptions, "latched messages")
    assert min(listener.clock) == START_NS + NS // 2


def test_a_late_subscriber_gets_latched_messages(spin: Any, play: Any, wait_for: Any) -> None:
    listener = spin(Listener(late_latched=True))
    player = play("--wait-for", "/joint_states", images=200)
    wait_for(lambda: listener.joints, "the player to run")
    listener.listen_to_latched()
    wait_for(lambda: listener.frames == ["camera", "tool"] and listener.descriptions, "latched messages")
    assert player.interrupt() == 0


def test_a_loop_jumps_back_and_sim_time_follows(spin: Any, play: Any, wait_for: Any) -> None:
    listener = spin(Listener())
    follower = Node("follower", use_global_arguments=False, parameter_overrides=[Parameter("use_sim_time", value=True)])
    spin(follower)
    player = play("--loop", "--rate", "4", "--start", "0.25", *WAIT)
    wait_for(lambda: len(listener.images) > 40, "three passes")
    wait_for(lambda: follower.get_clock().now().nanoseconds >= START_NS + NS // 4, "simulated time")
    assert player.interrupt() == 0
    report = json.loads(player.output().splitlines()[-1])
    assert report["passes"] >= 2
    assert listener.images[:30] == [*range(5, 20), *range(5, 20)]
    backwards = [later - earlier for earlier, later in zip(listener.clock, listener.clock[1:], strict=False)]
    assert sum(step < -0.6 * NS for step in backwards) >= 2
    assert listener.frames.count("tool") >= 2


def test_topics_are_chosen_and_renamed(spin: Any, play_here: Any, wait_for: Any) -> None:
    listener = spin(Listener(image="/renamed/image"))
    report = play_here(rate=8.0, topics=["/front/image"], remaps={"/front/image": "/renamed/image"})
    wait_for(lambda: len(listener.images) == 20, "renamed images")
    assert report.messages == 20 and listener.joints == []


def test_without_a_clock_another_one_is_left_alone(spin: Any, play_here: Any, wait_for: Any) -> None:
    listener = spin(Listener())
    owner = spin(Node("clock_owner", use_global_arguments=False))
    owner.create_publisher(Clock, "/clock", 10)
    play_here(clock=False, rate=8.0)
    wait_for(lambda: len(listener.images) == 20, "all images")
    assert listener.clock == []


def test_a_second_clock_is_refused_and_reported(spin: Any, play: Any) -> None:
    owner = spin(Node("clock_owner", use_global_arguments=False))
    owner.create_publisher(Clock, "/clock", 10)
    player = play(images=200)
    assert player.process.wait(240) == 1
    assert "already publishes /clock; stop it, or play without a clock (--no-clock)" in player.output()


def test_a_clock_that_appears_while_playing_ends_the_play(rclpy_context: Any, tmp_path: Path) -> None:
    player_node, owner = (Node(name, use_global_arguments=False) for name in ("player", "clock_owner"))
    with BagReader(write_small_bag(tmp_path / "bag", images=400)) as reader:
        player = BagPlayer(player_node, reader, PlaySettings())
        raised: list[Exception] = []
        playing = threading.Event()

        def play_and_keep_error() -> None:
            try:
                player.play(lambda seconds: playing.set())
            except ClockConflict as error:
                raised.append(error)

        thread = threading.Thread(target=play_and_keep_error)
        thread.start()
        assert playing.wait(10)
        owner.create_publisher(Clock, "/clock", 10)
        thread.join(15)
        player.stop()
        thread.join(5)
    assert raised and "clock_owner" in str(raised[0])


def test_wrong_requests_are_typed_errors(rclpy_context: Any, tmp_path: Path) -> None:
    node = Node("player", use_global_arguments=False)
    with BagReader(write_small_bag(tmp_path / "bag")) as reader:
        for settings, reason in (
            (PlaySettings(start=5.0), "lasts 0.950 s"),
            (PlaySettings(topics=["/nothing"]), "no topic"),
            (PlaySettings(remaps={"/nothing": "/x"}), "no topic"),
        ):
            with pytest.raises(InvalidBag, match=reason):
                BagPlayer(node, reader, settings)
    with pytest.raises(InvalidBag, match="must not be negative"):
        PlaySettings(rate=-1.0)
    node.destroy_node()


def test_nobody_to_wait_for_ends_with_an_error(play: Any) -> None:
    player = play("--wait-for", "/front/image", "--timeout", "0.2")
    assert player.process.wait(240) == 1
    assert "nobody subscribed to ['/front/image']" in player.output()


def test_a_recording_holds_what_was_played(spin: Any, play: Any, other_process: Any, tmp_path: Path) -> None:
    recorder = other_process("-m", "fourd_ros.cli", "bag", "record", str(tmp_path / "copy"), "--json")
    report_of(play("--rate", "4", *WAIT))
    assert recorder.interrupt() == 0, recorder.output()
    report = json.loads(recorder.output().splitlines()[-1])
    with BagReader(tmp_path / "copy") as copy, BagReader(tmp_path / "small") as original:
        assert copy.topics["/tf_static"].latched and not copy.topics["/front/image"].latched
        for topic in original.topics:
            played = [repr(message.message) for message in original.messages([topic])]
            assert [repr(message.message) for message in copy.messages([topic])] == played
        assert copy.message_count == report["messages"]


def test_a_recording_ends_at_its_limit(spin: Any, play: Any, other_process: Any, tmp_path: Path) -> None:
    target = tmp_path / "copy"
    options = ("--topics", "/front/image", "--max-size", "0.004", "--json")
    recorder = other_process("-m", "fourd_ros.cli", "bag", "record", str(target), *options)
    player = play("--loop", "--wait-for", "/front/image")
    assert recorder.process.wait(240) == 0, recorder.output()
    player.interrupt()
    with BagReader(target) as copy:
        assert list(copy.topics) == ["/front/image"]
        assert sum(len(message.data) for message in copy.raw()) == pytest.approx(4000, abs=900)


def test_a_recording_of_nothing_leaves_nothing(other_process: Any, tmp_path: Path) -> None:
    target = tmp_path / "empty"
    options = ("--topics", "/nobody/publishes", "--max-duration", "0.2")
    recorder = other_process("-m", "fourd_ros.cli", "bag", "record", str(target), *options)
    assert recorder.process.wait(240) == 1
    assert "no bag was written" in recorder.output() and not target.exists()
    assert not list(tmp_path.glob(".empty*"))
