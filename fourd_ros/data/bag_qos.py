"""The quality of service that a bag remembers of a topic's publisher."""

from rosbags.interfaces import Qos, QosDurability, QosHistory, QosLiveliness, QosReliability, QosTime

__all__ = [
    "LATCHED_TOPICS",
    "Qos",
    "QosDurability",
    "QosHistory",
    "QosLiveliness",
    "QosReliability",
    "QosTime",
    "is_latched",
    "offered_qos",
]

LATCHED_TOPICS = frozenset({"tf_static", "robot_description", "map"})
LATCHED_DEPTH = 100

# What rmw reports for "never expires".
_FOREVER = QosTime(9223372036, 854775807)


def offered_qos(*, latched: bool = False, reliable: bool = True, depth: int = 10) -> Qos:
    """A publisher's profile; latched ones are reliable, transient local and keep `LATCHED_DEPTH` messages."""
    return Qos(
        history=QosHistory.KEEP_LAST,
        depth=LATCHED_DEPTH if latched else depth,
        reliability=QosReliability.RELIABLE if reliable or latched else QosReliability.BEST_EFFORT,
        durability=QosDurability.TRANSIENT_LOCAL if latched else QosDurability.VOLATILE,
        deadline=_FOREVER,
        lifespan=_FOREVER,
        liveliness=QosLiveliness.AUTOMATIC,
        liveliness_lease_duration=_FOREVER,
        avoid_ros_namespace_conventions=False,
    )


def is_latched(topic: str, profiles: list[Qos] | tuple[Qos, ...]) -> bool:
    """Whether late subscribers get the last messages; by name where the bag recorded no profile."""
    if profiles:
        return any(profile.durability == QosDurability.TRANSIENT_LOCAL for profile in profiles)
    return topic.rsplit("/", 1)[-1] in LATCHED_TOPICS
