"""Values that hold until the next one comes."""

from bisect import bisect_right
from typing import Generic, TypeVar

T = TypeVar("T")


class HeldValues(Generic[T]):
    """Values by the time from which they hold."""

    def __init__(self) -> None:
        self._stamps: list[int] = []
        self._values: list[T] = []

    def add(self, stamp_ns: int, value: T) -> None:
        """Take a value, in any order."""
        place = bisect_right(self._stamps, stamp_ns)
        self._stamps.insert(place, stamp_ns)
        self._values.insert(place, value)

    @property
    def newest(self) -> T | None:
        """The last value, None before the first."""
        return self._values[-1] if self._values else None

    def at(self, stamp_ns: int) -> T | None:
        """The newest value that is not later than `stamp_ns`; None before the first."""
        place = bisect_right(self._stamps, stamp_ns)
        return self._values[place - 1] if place else None

    def forget(self, before_ns: int) -> None:
        """Drop the values that are of no account for `before_ns` and later."""
        old = bisect_right(self._stamps, before_ns) - 1
        if old > 0:
            del self._stamps[:old], self._values[:old]

    def restart(self) -> None:
        """The clock was set back: the newest value holds from the beginning."""
        if self._values:
            self._stamps, self._values = [0], self._values[-1:]
