"""Quality of service: what a bag remembers <-> what rclpy uses."""

from collections.abc import Sequence

from rclpy.duration import Duration
from rclpy.qos import DurabilityPolicy, HistoryPolicy, QoSProfile, ReliabilityPolicy

from fourd_ros.data.bag_qos import LATCHED_DEPTH, Qos, QosDurability, QosHistory, QosLiveliness, QosReliability, QosTime
from fourd_ros.data.bags import Topic

PLAYER_DEPTH = 100
RECORDER_DEPTH = 100

CLOCK = QoSProfile(depth=10, reliability=ReliabilityPolicy.RELIABLE)


def player_profile(topic: Topic) -> QoSProfile:
    """Reliable, since that serves reliable and best-effort subscribers alike; latched topics stay latched."""
    recorded = max((profile.depth for profile in topic.qos), default=0)
    return QoSProfile(
        depth=max(recorded, LATCHED_DEPTH if topic.latched else PLAYER_DEPTH),
        reliability=ReliabilityPolicy.RELIABLE,
        durability=DurabilityPolicy.TRANSIENT_LOCAL if topic.latched else DurabilityPolicy.VOLATILE,
    )


def recorder_profile(offered: Sequence[QoSProfile]) -> QoSProfile:
    """The strictest subscription that every publisher in `offered` can serve."""
    reliable = all(profile.reliability == ReliabilityPolicy.RELIABLE for profile in offered)
    latched = all(profile.durability == DurabilityPolicy.TRANSIENT_LOCAL for profile in offered)
    return QoSProfile(
        history=HistoryPolicy.KEEP_LAST,
        depth=RECORDER_DEPTH,
        reliability=ReliabilityPolicy.RELIABLE if reliable else ReliabilityPolicy.BEST_EFFORT,
        durability=DurabilityPolicy.TRANSIENT_LOCAL if latched else DurabilityPolicy.VOLATILE,
    )


def recorded_profile(offered: QoSProfile) -> Qos:
    """A publisher's profile as a bag stores it; both sides number their policies alike."""
    return Qos(
        history=QosHistory(int(offered.history)),
        depth=offered.depth,
        reliability=QosReliability(int(offered.reliability)),
        durability=QosDurability(int(offered.durability)),
        deadline=_time(offered.deadline),
        lifespan=_time(offered.lifespan),
        liveliness=QosLiveliness(int(offered.liveliness)),
        liveliness_lease_duration=_time(offered.liveliness_lease_duration),
        avoid_ros_namespace_conventions=offered.avoid_ros_namespace_conventions,
    )


def _time(duration: Duration) -> QosTime:
    return QosTime(*divmod(duration.nanoseconds, 1_000_000_000))
