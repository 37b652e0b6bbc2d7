"""Finished rollouts by id, bounded in bytes and in age."""

import threading
import time
from collections import OrderedDict, deque
from dataclasses import dataclass

from fourd_ros.errors import RolloutExpired, UnknownRollout
from fourd_ros.records import Rollout

BYTES_PER_PIXEL = 25
"""Colour, point, spread, two masks and label of one imagined pixel [bytes]."""

REMEMBERED_IDS = 4096
"""How many ids of forgotten rollouts are kept, to tell *expired* from *unknown*."""


@dataclass(frozen=True)
class _Entry:
    rollout: Rollout
    size: int
    expires: float


def rollout_bytes(rollout: Rollout) -> int:
    """Memory that the arrays of a rollout occupy [bytes]."""
    arrays = ("rgb", "points", "sigma", "robot_mask", "observed_mask", "labels")
    held = (getattr(view, name) for view in rollout.views.values() for name in arrays)
    return sum(array.nbytes for array in held if array is not None)


class RolloutStore:
    """Thread-safe; the oldest rollouts make room for new ones, and none outlives its time.

    Args:
        max_bytes: memory for all rollouts together [bytes]; the newest is kept even if it alone is larger.
        lifetime: how long a rollout can be asked for [s, steady time].
    """

    def __init__(self, *, max_bytes: int, lifetime: float) -> None:
        self.max_bytes, self.lifetime = max_bytes, lifetime
        self._entries: OrderedDict[str, _Entry] = OrderedDict()
        self._forgotten: deque[str] = deque(maxlen=REMEMBERED_IDS)
        self._bytes = 0
        self._lock = threading.Lock()

    def __len__(self) -> int:
        with self._lock:
            self._drop_expired()
            return len(self._entries)

    def add(self, rollout_id: str, rollout: Rollout) -> None:
        entry = _Entry(rollout, rollout_bytes(rollout), time.monotonic() + self.lifetime)
        with self._lock:
            self._entries[rollout_id] = entry
            self._bytes += entry.size
            self._drop_expired()
            while self._bytes > self.max_bytes and len(self._entries) > 1:
                self._forget(next(iter(self._entries)))

    def get(self, rollout_id: str) -> Rollout:
        """The rollout of that id.

        Raises:
            UnknownRollout: it never existed here.
            RolloutExpired: it did, and was given up for its age or for newer ones.
        """
        with self._lock:
            self._drop_expired()
            if rollout_id in self._entries:
                return self._entries[rollout_id].rollout
            if rollout_id in self._forgotten:
                raise RolloutExpired(f"rollout '{rollout_id}' has expired; ask again or raise rollout_lifetime")
        raise UnknownRollout(f"no rollout '{rollout_id}'; ids come from Imagine results and ~/rollout")

    def clear(self) -> None:
        with self._lock:
            for rollout_id in list(self._entries):
                self._forget(rollout_id)

    def _drop_expired(self) -> None:
        now = time.monotonic()
        while self._entries and next(iter(self._entries.values())).expires <= now:
            self._forget(next(iter(self._entries)))

    def _forget(self, rollout_id: str) -> None:
        self._bytes -= self._entries.pop(rollout_id).size
        self._forgotten.append(rollout_id)
