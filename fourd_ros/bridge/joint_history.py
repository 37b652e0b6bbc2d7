"""Measured joints over the recent past, and where they were at an instant."""

from bisect import bisect_left
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field

import numpy as np
from numpy.typing import NDArray

from fourd_ros.bridge.times import readable
from fourd_ros.errors import NoObservation

SAMPLES = 512
"""Remembered per joint, unless told otherwise."""

MAX_JOINTS = 1000
"""Names of joints remembered."""


@dataclass(frozen=True, kw_only=True)
class JointSample:
    """Joints at one instant.

    Args:
        positions: [rad | m], shape [J].
        velocities: [rad/s | m/s], NaN where they were not measured, shape [J].
    """

    positions: NDArray[np.float64]
    velocities: NDArray[np.float64]


@dataclass
class _Samples:
    """Those of one joint in the order of their stamps, whatever the order they came in."""

    stamps: list[int] = field(default_factory=list)
    values: list[tuple[float, float]] = field(default_factory=list)

    def add(self, stamp_ns: int, value: tuple[float, float], length: int) -> None:
        place = bisect_left(self.stamps, stamp_ns)
        if place < len(self.stamps) and self.stamps[place] == stamp_ns:
            self.values[place] = value
            return
        self.stamps.insert(place, stamp_ns)
        self.values.insert(place, value)
        if len(self.stamps) > length:
            del self.stamps[0], self.values[0]

    def age(self, stamp_ns: int) -> float:
        """Time between an instant and the sample nearest to it [s]."""
        place = bisect_left(self.stamps, stamp_ns)
        return min(abs(stamp - stamp_ns) for stamp in self.stamps[max(place - 1, 0) : place + 1]) * 1e-9

    def at(self, stamp_ns: int) -> tuple[float, float]:
        """Position and velocity, linear between samples, held beyond them."""
        after = bisect_left(self.stamps, stamp_ns)
        if after == len(self.stamps) or after == 0 or self.stamps[after] == stamp_ns:
            return self.values[min(after, len(self.stamps) - 1)]
        before = after - 1
        share = (stamp_ns - self.stamps[before]) / (self.stamps[after] - self.stamps[before])
        (p0, v0), (p1, v1) = self.values[before], self.values[after]
        return p0 + share * (p1 - p0), v0 + share * (v1 - v0)


class JointHistory:
    """Samples of joints by name; messages may hold a part of the joints each.

    Args:
        samples: remembered per joint.
    """

    def __init__(self, *, samples: int = SAMPLES) -> None:
        self._length = samples
        self._joints: dict[str, _Samples] = {}

    def add(self, stamp_ns: int, positions: Mapping[str, float], velocities: Mapping[str, float] | None = None) -> None:
        """Take what was measured at `stamp_ns`: positions [rad | m] and, where known, velocities [rad/s | m/s]."""
        speeds = velocities or {}
        for name, position in positions.items():
            if name in self._joints or len(self._joints) < MAX_JOINTS:
                value = (position, speeds.get(name, np.nan))
                self._joints.setdefault(name, _Samples()).add(stamp_ns, value, self._length)

    def clear(self) -> None:
        """Forget everything (the clock jumped)."""
        self._joints.clear()

    def reaches(self, names: Iterable[str], stamp_ns: int) -> bool:
        """Whether all joints have been heard at `stamp_ns` or later, so that nothing there will change."""
        return all(name in self._joints and self._joints[name].stamps[-1] >= stamp_ns for name in names)

    def known(self, names: Iterable[str], stamp_ns: int) -> dict[str, float]:
        """Positions at one instant of those joints that were ever heard, however long ago [rad | m]."""
        return {name: self._joints[name].at(stamp_ns)[0] for name in names if name in self._joints}

    def at(self, names: Sequence[str], stamp_ns: int, *, max_age: float, settled: bool = False) -> JointSample:
        """Joints at one instant, linear between samples.

        Args:
            names: J joints.
            stamp_ns: when [ns].
            max_age: the nearest sample of every joint is at most this far away [s].
            settled: no joint may have been heard last before `stamp_ns`.

        Raises:
            NoObservation: a joint was never heard, not within `max_age`, or not since.
        """
        missing = [name for name in names if name not in self._joints]
        if missing:
            known = sorted(set(names) & self._joints.keys())
            raise NoObservation(f"joint_states lacks {missing}; received: {known or 'nothing'}")
        values = [self._at(name, stamp_ns, max_age, settled) for name in names]
        positions, velocities = np.array(values, np.float64).reshape(-1, 2).T
        return JointSample(positions=positions, velocities=velocities)

    def _at(self, name: str, stamp_ns: int, max_age: float, settled: bool) -> tuple[float, float]:
        samples = self._joints[name]
        if (age := samples.age(stamp_ns)) > max_age:
            raise NoObservation(
                f"joint '{name}' was last heard {age:.2f} s from the images at {readable(stamp_ns)}; "
                f"needed within {max_age} s (do both use one clock?)"
            )
        if settled and samples.stamps[-1] < stamp_ns:
            raise NoObservation(f"joint '{name}' has not been heard since {readable(samples.stamps[-1])}")
        return samples.at(stamp_ns)
