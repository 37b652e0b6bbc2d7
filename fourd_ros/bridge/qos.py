"""QoS profiles of this package, and a watch over inputs that do not come."""

import threading
import time
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

from rclpy.qos import (
    DurabilityPolicy,
    HistoryPolicy,
    QoSCompatibility,
    QoSProfile,
    ReliabilityPolicy,
    qos_check_compatible,
)

from fourd_ros.bridge.clock import steady_clock
from fourd_ros.errors import InvalidParameter

RELIABILITIES = {"best_effort": ReliabilityPolicy.BEST_EFFORT, "reliable": ReliabilityPolicy.RELIABLE}
TF_DEPTH = 100
PATIENCE = 5.0
"""An input that has not come for this long is asked for in the log [s]."""

CHECK_PERIOD = 1.0
UNDISCOVERED = "_NODE_NAME_UNKNOWN_"
"""Name of a node whose endpoint was discovered before the node itself; a moment later it has its own."""


def sensor_qos(*, reliability: str = "best_effort", depth: int = 1) -> QoSProfile:
    """For sensor inputs: the newest messages only; best effort hears every publisher (REP 2003).

    Args:
        reliability: ``best_effort`` or ``reliable``.
        depth: messages kept.

    Raises:
        InvalidParameter: another reliability.
    """
    if reliability not in RELIABILITIES:
        raise InvalidParameter(f"reliability '{reliability}'; choose one of {sorted(RELIABILITIES)}")
    return _profile(RELIABILITIES[reliability], DurabilityPolicy.VOLATILE, depth)


def transform_qos() -> QoSProfile:
    """For ``/tf``."""
    return _profile(ReliabilityPolicy.RELIABLE, DurabilityPolicy.VOLATILE, TF_DEPTH)


def static_transform_qos() -> QoSProfile:
    """For ``/tf_static``: late subscribers get what was sent before."""
    return _profile(ReliabilityPolicy.RELIABLE, DurabilityPolicy.TRANSIENT_LOCAL, TF_DEPTH)


def _profile(reliability: ReliabilityPolicy, durability: DurabilityPolicy, depth: int) -> QoSProfile:
    return QoSProfile(history=HistoryPolicy.KEEP_LAST, depth=depth, reliability=reliability, durability=durability)


SENSOR = sensor_qos()
LATCHED = _profile(ReliabilityPolicy.RELIABLE, DurabilityPolicy.TRANSIENT_LOCAL, 1)
RESULT = _profile(ReliabilityPolicy.RELIABLE, DurabilityPolicy.VOLATILE, 5)
BURST = _profile(ReliabilityPolicy.RELIABLE, DurabilityPolicy.VOLATILE, 2048)
"""For services: with the usual depth of 10, requests of a burst silently push each other out."""


@dataclass
class _Input:
    name: str
    type_name: str
    subscription: Any
    since: float
    heard: bool = False
    asked_for: bool = False
    warned: bool = False


class InputWatch:
    """Says once what is missing and why: nobody publishes, or nobody with a QoS that fits.

    Time is steady, so a paused or missing ``/clock`` does not silence it.

    Args:
        node: rclpy node that owns the subscriptions.
        patience: before an input is asked for [s].
    """

    def __init__(self, node: Any, *, patience: float = PATIENCE) -> None:
        self._node = node
        self._patience = patience
        self._inputs: dict[str, _Input] = {}
        self._early: set[str] = set()
        self._lock = threading.Lock()
        period = min(CHECK_PERIOD, patience)
        self._timer = node.create_timer(period, self._look, clock=steady_clock())

    def heard(self, name: str, callback: Callable[[Any], None]) -> Callable[[Any], None]:
        """`callback`, noting that the input `name` has come; hand it to the subscription."""

        def take(message: Any) -> None:
            self._note(name)
            callback(message)

        return take

    def add(self, name: str, msg_type: Any, subscription: Any) -> None:
        """Watch the subscription that got the callback made by `heard` for the same `name`."""
        kind = f"{msg_type.__module__.split('.')[0]}/msg/{msg_type.__name__}"
        with self._lock:
            heard = name in self._early
            self._inputs[name] = _Input(name, kind, subscription, time.monotonic(), heard=heard)

    def waiting(self) -> tuple[str, ...]:
        """Inputs of which nothing has come yet."""
        with self._lock:
            return tuple(name for name, watched in self._inputs.items() if not watched.heard)

    def destroy(self) -> None:
        """Stop watching."""
        self._node.destroy_timer(self._timer)

    def _note(self, name: str) -> None:
        watched = self._inputs.get(name)
        if watched is None:
            self._early.add(name)
        elif not watched.heard:
            watched.heard = True
            if watched.asked_for or watched.warned:
                self._node.get_logger().info(f"got {name}")

    def _look(self) -> None:
        with self._lock:
            missing = [watched for watched in self._inputs.values() if not watched.heard]
        for watched in missing:
            if not watched.warned:
                self._look_for_mismatch(watched)
            if not watched.asked_for and time.monotonic() - watched.since >= self._patience:
                watched.asked_for = True
                topic = watched.subscription.topic_name
                publishers = self._node.count_publishers(topic)
                self._node.get_logger().warning(
                    f"waiting for {watched.name} (topic {topic}, type {watched.type_name}, {publishers} publishers)"
                )

    def _look_for_mismatch(self, watched: _Input) -> None:
        """Warn when there are publishers and none of them can reach the subscription."""
        topic, wanted = watched.subscription.topic_name, watched.subscription.qos_profile
        problems = []
        for endpoint in self._node.get_publishers_info_by_topic(topic):
            if endpoint.node_name == UNDISCOVERED:
                return
            problem = _mismatch(endpoint, watched.type_name, wanted)
            if not problem:
                return
            problems.append(f"{endpoint.node_namespace.rstrip('/')}/{endpoint.node_name}: {problem}")
        if problems:
            watched.warned = True
            self._node.get_logger().warning(
                f"nothing can arrive on {topic} ({watched.type_name}, {_described(wanted)}); " + "; ".join(problems)
            )


def _mismatch(endpoint: Any, type_name: str, wanted: QoSProfile) -> str:
    """Why a publisher does not reach a subscription; empty when it does."""
    if endpoint.topic_type != type_name:
        return f"publishes {endpoint.topic_type}"
    compatibility, reason = qos_check_compatible(endpoint.qos_profile, wanted)
    if compatibility != QoSCompatibility.ERROR:
        return ""
    return f"offers {_described(endpoint.qos_profile)} ({reason.strip().rstrip(';')})"


def _described(profile: QoSProfile) -> str:
    return f"{profile.reliability.name}, {profile.durability.name}".lower()
