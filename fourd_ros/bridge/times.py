"""ROS stamps and durations <-> integer nanoseconds and float seconds."""

from typing import Any

import numpy as np

NS_PER_S = 1_000_000_000


def stamp_to_ns(stamp: Any) -> int:
    """Nanoseconds of a ``builtin_interfaces/Time``."""
    return int(stamp.sec) * NS_PER_S + int(stamp.nanosec)


def ns_to_stamp(stamp_ns: int) -> Any:
    """``builtin_interfaces/Time`` of a number of nanoseconds."""
    from builtin_interfaces.msg import Time

    sec, nanosec = divmod(int(stamp_ns), NS_PER_S)
    return Time(sec=sec, nanosec=nanosec)


def seconds_to_ns(seconds: float) -> int:
    """A duration in whole nanoseconds."""
    return round(float(seconds) * NS_PER_S)


def duration_to_seconds(duration: Any) -> float:
    """Seconds of a ``builtin_interfaces/Duration``; exact to 1 ns below 100 days."""
    return int(duration.sec) + int(duration.nanosec) * 1e-9


def seconds_to_duration(seconds: float) -> Any:
    """``builtin_interfaces/Duration`` of a number of seconds."""
    from builtin_interfaces.msg import Duration

    sec, nanosec = divmod(seconds_to_ns(seconds), NS_PER_S)
    return Duration(sec=sec, nanosec=nanosec)


def make_header(stamp_ns: int, frame: str) -> Any:
    """``std_msgs/Header`` of a source stamp and a frame name."""
    from std_msgs.msg import Header

    return Header(stamp=ns_to_stamp(stamp_ns), frame_id=frame)


def readable(stamp_ns: int) -> str:
    """A stamp in seconds for messages to people, without a float's rounding."""
    sign = "-" if stamp_ns < 0 else ""
    sec, nanosec = divmod(abs(int(stamp_ns)), NS_PER_S)
    return f"{sign}{sec}.{nanosec:09d}"


def durations_to_seconds(
    durations: Any,
) -> np.ndarray[tuple[int], np.dtype[np.float64]]:
    """Seconds of a sequence of ``builtin_interfaces/Duration``, shape [n]."""
    return np.array([duration_to_seconds(duration) for duration in durations], dtype=np.float64)
