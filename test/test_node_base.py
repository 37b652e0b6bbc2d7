"""The base of the nodes: lifecycle over services, errors that are seen, nothing left behind."""

import gc
import threading
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pytest
from diagnostic_msgs.msg import DiagnosticArray
from lifecycle_msgs.msg import State, Transition
from lifecycle_msgs.srv import ChangeState, GetState
from rcl_interfaces.srv import SetParameters
from rclpy.node import Node
from rclpy.parameter import Parameter
from rosgraph_msgs.msg import Clock
from std_msgs.msg import String

from fourd_ros.bridge.parameters import parameter
from fourd_ros.bridge.qos import RESULT
from fourd_ros.errors import InvalidImage, MissingResource
from fourd_ros.nodes.base import ClockJump, FourdNode, NodeParameters
from fourd_ros.nodes.worker import LatestSlot, Worker


@dataclass(frozen=True, kw_only=True)
class EchoParameters(NodeParameters):
    """What can go wrong, and when."""

    fail: str = parameter("", "hook that fails as expected", choices=("", "load", "start", "stop", "unload"))
    crash: str = parameter("", "hook that fails unexpectedly", choices=("", "load", "start", "stop", "unload"))
    loudness: int = parameter(1, "exclamation marks", minimum=0, maximum=3)
    ears: int = parameter(2, "to hear with", minimum=0, maximum=2, fixed_while="active")
    languages: tuple[str, ...] = parameter(("en",), "to load", fixed_while="configured")


class EchoNode(FourdNode):
    """Answers ``heard`` on ``said`` from a worker; ``bad`` and ``worse`` make its callback raise."""

    Parameters = EchoParameters

    def __init__(self, **options: Any) -> None:
        super().__init__("echo", **options)
        self.hooks: list[str] = []
        self.jumps: list[ClockJump] = []

    def load(self) -> None:
        self._hook("load")
        self.memory = bytearray(1_000_000)
        self.said = self.advertise(String, "said", RESULT)

    def start(self) -> None:
        self._hook("start")
        self._offer = self.worker("echo").latest(self._answer)
        self.subscribe(String, "heard", self._hear, RESULT)
        self.every(0.01, lambda: None)

    def stop(self) -> None:
        self._hook("stop")

    def unload(self) -> None:
        self._hook("unload")
        del self.memory

    def on_clock_jump(self, jump: ClockJump) -> None:
        self.jumps.append(jump)

    def _hook(self, name: str) -> None:
        self.hooks.append(name)
        if self.parameters.fail == name:
            raise MissingResource("the weights are not here; fetch them")
        if self.parameters.crash == name:
            raise RuntimeError("a bug")

    def _hear(self, message: String) -> None:
        if message.data == "bad":
            raise InvalidImage("a bad message")
        if message.data == "worse":
            raise ZeroDivisionError
        self._offer(message)

    def _answer(self, message: String) -> None:
        self.said.publish(String(data=message.data + "!" * self.parameters.loudness))


def make_echo(**parameters: Any) -> EchoNode:
    overrides = [Parameter(name, value=value) for name, value in parameters.items()]
    return EchoNode(parameter_overrides=overrides)


def change(call: Any, transition: int) -> bool:
    request = ChangeState.Request()
    request.transition.id = transition
    return bool(call(ChangeState, "/echo/change_state", request).success)


def state(call: Any) -> int:
    return int(call(GetState, "/echo/get_state", GetState.Request()).current_state.id)


@pytest.fixture
def talk(spin: Any, wait_for: Any) -> Any:
    """Say something to the node and get its answer."""
    node = spin(Node("talker"))
    answers: list[str] = []
    publisher = node.create_publisher(String, "heard", RESULT)
    node.create_subscription(String, "said", lambda m: answers.append(m.data), RESULT)

    def say(text: str, answer: str = "") -> None:
        wait_for(lambda: node.count_subscribers("heard") and node.count_publishers("said"), "both ends")
        wait_for(lambda: publisher.get_subscription_count() == 1, "the subscription")
        answers.clear()
        publisher.publish(String(data=text))
        if answer:
            wait_for(lambda: answers == [answer], f"the answer {answer}")

    return say


def test_every_transition_over_the_service(spin: Any, call: Any, wait_for: Any, talk: Any) -> None:
    node = spin(make_echo(autostart=False))
    assert state(call) == State.PRIMARY_STATE_UNCONFIGURED
    assert change(call, Transition.TRANSITION_CONFIGURE)
    assert change(call, Transition.TRANSITION_ACTIVATE)
    assert state(call) == State.PRIMARY_STATE_ACTIVE
    talk("hello", "hello!")
    assert change(call, Transition.TRANSITION_DEACTIVATE)
    wait_for(lambda: node.count_subscribers("heard") == 0, "the end of the subscription")
    assert change(call, Transition.TRANSITION_CLEANUP)
    assert not hasattr(node, "memory")
    wait_for(lambda: node.count_publishers("said") == 0, "the end of the publisher")
    assert not change(call, Transition.TRANSITION_ACTIVATE), "an unconfigured node cannot be activated"
    assert change(call, Transition.TRANSITION_CONFIGURE)
    assert change(call, Transition.TRANSITION_ACTIVATE)
    assert change(call, Transition.TRANSITION_ACTIVE_SHUTDOWN)
    assert state(call) == State.PRIMARY_STATE_FINALIZED
    assert node.hooks == ["load", "start", "stop", "unload", "load", "start", "stop", "unload"]


def test_autostart(spin: Any, wait_for: Any, talk: Any) -> None:
    node = spin(make_echo())
    wait_for(lambda: node.autostart_result is not None)
    assert node.state_label == "active"
    talk("hello", "hello!")


@pytest.mark.parametrize(
    ("hook", "transitions", "before"),
    [
        ("load", [Transition.TRANSITION_CONFIGURE], State.PRIMARY_STATE_UNCONFIGURED),
        ("start", [Transition.TRANSITION_CONFIGURE, Transition.TRANSITION_ACTIVATE], State.PRIMARY_STATE_INACTIVE),
    ],
)
def test_an_expected_problem_fails_the_transition(
    spin: Any, call: Any, wait_for: Any, hook: str, transitions: list[int], before: int
) -> None:
    node = spin(make_echo(autostart=False, fail=hook))
    assert [change(call, transition) for transition in transitions][-1] is False
    assert state(call) == before
    assert not node.is_active
    assert node.counters["missing_resource"] == 1
    wait_for(lambda: node.count_subscribers("heard") == 0, "the end of the subscription")
    node.set_parameters([Parameter("fail", value="")])
    assert change(call, transitions[-1]), "it works once the cause is gone"


@pytest.mark.parametrize("hook", ["load", "start", "stop", "unload"])
def test_an_unexpected_problem_leads_to_unconfigured_and_its_traceback_is_logged(
    spin: Any, wait_for: Any, hook: str, capfd: pytest.CaptureFixture[str]
) -> None:
    node = spin(make_echo(autostart=False, crash=hook))
    for trigger in (node.trigger_configure, node.trigger_activate, node.trigger_deactivate, node.trigger_cleanup):
        trigger()
        if node.counters["unexpected"]:
            break
    expected = {"load": ["load"], "start": ["load", "start", "unload"]}
    assert node.hooks == expected.get(hook, ["load", "start", "stop", "unload"]), "what was loaded is unloaded, once"
    assert node.state_label == "unconfigured"
    assert not node.is_active
    wait_for(lambda: node.count_publishers("said") == 0, "the end of the publisher")
    assert "RuntimeError: a bug" in capfd.readouterr().err
    node.set_parameters([Parameter("crash", value="")])
    node.trigger_configure()
    node.trigger_activate()
    assert node.state_label == "active"


def test_an_expected_problem_on_the_way_down_does_not_keep_the_node_up(spin: Any, wait_for: Any) -> None:
    node = spin(make_echo(autostart=False, fail="stop"))
    node.trigger_configure()
    node.trigger_activate()
    node.trigger_deactivate()
    assert node.state_label == "inactive"
    wait_for(lambda: node.count_subscribers("heard") == 0, "the end of the subscription")


def test_errors_of_callbacks_are_counted_and_the_node_lives_on(spin: Any, wait_for: Any, talk: Any) -> None:
    node = spin(make_echo(diagnostics_period=0.1))
    statuses: list[Any] = []
    listener = spin(Node("listener"))
    listener.create_subscription(DiagnosticArray, "/diagnostics", lambda m: statuses.extend(m.status), 10)
    for text in ("bad", "bad", "worse"):
        talk(text)
    wait_for(lambda: node.counters["invalid_image"] == 2 and node.counters["unexpected"] == 1)

    def reported() -> bool:
        values = [{pair.key: pair.value for pair in status.values} for status in statuses]
        return any(v.get("invalid_image") == "2" and v.get("state") == "active" for v in values)

    wait_for(reported, "counters and state on /diagnostics")
    talk("hello", "hello!")


def test_parameters_change_while_the_node_runs(spin: Any, call: Any, talk: Any) -> None:
    spin(make_echo())
    talk("hello", "hello!")
    request = SetParameters.Request(parameters=[Parameter("loudness", value=3).to_parameter_msg()])
    assert call(SetParameters, "/echo/set_parameters", request).results[0].successful
    talk("hello", "hello!!!")
    request = SetParameters.Request(parameters=[Parameter("loudness", value=4).to_parameter_msg()])
    assert not call(SetParameters, "/echo/set_parameters", request).results[0].successful


def test_what_only_a_transition_takes_over_is_refused_until_the_node_is_that_far_down(spin: Any, call: Any) -> None:
    spin(make_echo(autostart=False))

    def refusals() -> list[str]:
        changed = [Parameter("ears", value=1), Parameter("languages", value=["de"]), Parameter("loudness", value=2)]
        request = SetParameters.Request(parameters=[one.to_parameter_msg() for one in changed])
        results = call(SetParameters, "/echo/set_parameters", request).results
        restored = [Parameter("ears", value=2), Parameter("languages", value=["en"])]
        request = SetParameters.Request(parameters=[one.to_parameter_msg() for one in restored])
        assert all(result.successful for result in call(SetParameters, "/echo/set_parameters", request).results)
        return [result.reason for result in results]

    assert refusals() == ["", "", ""]
    assert change(call, Transition.TRANSITION_CONFIGURE)
    ears, languages, loudness = refusals()
    assert (ears, loudness) == ("", "")
    assert "'languages' can be set while unconfigured, the node is inactive; deactivate" in languages
    assert change(call, Transition.TRANSITION_ACTIVATE)
    ears, languages, loudness = refusals()
    assert "'ears' can be set while unconfigured or inactive, the node is active; deactivate the node first" in ears
    assert "clean it up first" in languages
    assert loudness == ""
    assert change(call, Transition.TRANSITION_DEACTIVATE)
    assert change(call, Transition.TRANSITION_CLEANUP)
    assert refusals() == ["", "", ""]


def test_clock_jumps_both_ways_reach_the_hook(spin: Any, wait_for: Any) -> None:
    node = spin(make_echo(use_sim_time=True, clock_jump_forward=1.0))
    source = spin(Node("source"))
    clock = source.create_publisher(Clock, "/clock", 10)
    wait_for(lambda: clock.get_subscription_count() == 1)
    seen = 0
    for seconds, jump in (
        (1000.0, ClockJump.FORWARD),
        (1000.5, None),
        (1010.0, ClockJump.FORWARD),
        (3.0, ClockJump.BACKWARD),
    ):
        message = Clock()
        message.clock.sec, message.clock.nanosec = int(seconds), int(seconds % 1 * 1e9)
        clock.publish(message)
        wait_for(lambda at=seconds: node.get_clock().now().nanoseconds == round(at * 1e9), "the clock")
        if jump is not None:
            seen += 1
            wait_for(lambda n=seen: len(node.jumps) == n, f"jump {jump}")
            assert node.jumps[-1] == jump
    assert len(node.jumps) == 3
    assert node.counters["clock_jump_backward"] == 1


def test_a_second_clock_is_reported(spin: Any, wait_for: Any) -> None:
    node = spin(make_echo(use_sim_time=True))
    sources = spin(Node("first"), Node("second"))
    for source in sources:
        source.create_publisher(Clock, "/clock", 10)
    wait_for(lambda: node.counters["clock_conflict"] == 1)


def test_several_nodes_share_a_process(spin: Any, wait_for: Any) -> None:
    names = ("a", "b", "c")
    nodes = spin(*(EchoNode(namespace=name) for name in names))
    wait_for(lambda: all(node.is_active for node in nodes))
    wait_for(lambda: all(nodes[0].count_subscribers(f"/{name}/heard") == 1 for name in names))


def resident_bytes() -> int:
    pages = int(Path("/proc/self/statm").read_text().split()[1])
    return pages * 4096


def test_a_hundred_lifecycle_cycles_leave_nothing_behind(spin: Any, call: Any) -> None:
    node = spin(make_echo(autostart=False))

    def cycle() -> None:
        node.trigger_configure()
        node.trigger_activate()
        node.trigger_deactivate()
        node.trigger_cleanup()

    for _ in range(5):
        cycle()
    gc.collect()
    before, timers = resident_bytes(), len(list(node.timers))
    for _ in range(100):
        cycle()
    gc.collect()
    assert node.hooks[-4:] == ["load", "start", "stop", "unload"]
    assert len(list(node.timers)) == timers
    assert list(node.subscriptions) == []
    assert not [thread for thread in threading.enumerate() if thread.name.startswith("echo.")]
    assert resident_bytes() - before < 20e6
    assert state(call) == State.PRIMARY_STATE_UNCONFIGURED, "the executor outlived entities that went while it waited"


def test_a_callback_that_raises_does_not_end_the_executor(spin: Any, wait_for: Any) -> None:
    node = spin(Node("plain"))
    calls: list[None] = []

    def fail() -> None:
        calls.append(None)
        raise RuntimeError("a bug")

    node.create_timer(0.01, fail)
    wait_for(lambda: len(calls) > 2, "calls after the first failure")


def test_run_ends_with_status_0_on_both_signals_and_1_on_a_bad_parameter(run_node: Any, wait_for: Any) -> None:
    interrupted, terminated = (
        run_node("test_node_base:EchoNode", "-r", f"__ns:=/{name}", autostart=True) for name in ("one", "two")
    )
    refused = run_node("test_node_base:EchoNode", loudness=9)
    for process in (interrupted, terminated):
        wait_for(lambda p=process: "is active" in p.output(), "the node in its process")
    assert interrupted.interrupt() == 0
    assert terminated.terminate() == 0
    assert refused.process.wait(240) == 1
    assert "loudness" in refused.output()
    assert "Traceback" not in refused.output() + interrupted.output() + terminated.output()


def test_the_newest_item_wins_and_the_rest_is_counted() -> None:
    slot: LatestSlot[int] = LatestSlot()
    assert [slot.put(item) for item in (1, 2, 3)] == [False, True, True]
    assert (slot.take(), slot.take(), slot.dropped) == (3, None, 2)


def test_a_worker_survives_its_jobs_and_keeps_the_newest() -> None:
    errors: list[Exception] = []
    drops: list[None] = []
    worker = Worker("test", on_error=errors.append, on_drop=lambda: drops.append(None))
    busy, free, done = threading.Event(), threading.Event(), threading.Event()
    seen: list[int] = []

    def block() -> None:
        busy.set()
        free.wait(10)
        raise ValueError

    def consume(item: int) -> None:
        seen.append(item)
        done.set()

    offer = worker.latest(consume)
    worker.start()
    worker.submit(block)
    assert busy.wait(10)
    for item in range(5):
        offer(item)
    free.set()
    assert done.wait(10)
    worker.stop()
    assert (seen, len(drops), [type(error) for error in errors]) == ([4], 4, [ValueError])


def test_a_stopped_worker_is_gone_and_takes_nothing() -> None:
    worker = Worker("test", on_error=lambda error: None)
    seen: list[int] = []
    worker.start()
    started = threading.Event()

    def sleep() -> None:
        started.set()
        worker.wait(60)

    worker.submit(sleep)
    worker.submit(lambda: seen.append(1))
    assert started.wait(10)
    worker.stop()
    worker.submit(lambda: seen.append(2))
    assert seen == []
