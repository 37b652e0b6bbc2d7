"""Plays the newest rollout on ordinary topics, at the pace of the imagined time."""

import threading
import time
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any, Protocol

from fourd_ros.records import Rollout


@dataclass(frozen=True, kw_only=True)
class PlaybackSettings:
    """How rollouts are played.

    Args:
        view: the camera to show, empty for the first of the rollout.
        rate: imagined seconds per second.
        loop: start over until a newer rollout comes.
        voxel_size: thin the clouds to one point a voxel of this edge [m], 0 for none.
        max_bytes: of one cloud.
    """

    view: str = ""
    rate: float = 1.0
    loop: bool = False
    voxel_size: float = 0.0
    max_bytes: int = 4_000_000


class Stage(Protocol):
    """Where frames are shown."""

    def prepare(self, rollout_id: str, rollout: Rollout, index: int, settings: PlaybackSettings) -> Any:
        """Make the messages of one frame, ahead of time."""

    def publish(self, frame: Any) -> None:
        """Send them, now."""


class Playback:
    """One thread that sleeps until the next frame is due; a newer rollout takes its place at once.

    Args:
        stage: gets every frame when it is due.
        settings: what to show and how fast, asked anew for every rollout.
        on_error: called with an exception that a frame raised; the playback goes on with the next rollout.
    """

    def __init__(
        self,
        *,
        stage: Stage,
        settings: Callable[[], PlaybackSettings],
        on_error: Callable[[Exception], None],
    ) -> None:
        self._stage, self._settings, self._on_error = stage, settings, on_error
        self._wake = threading.Condition()
        self._next: tuple[str, Rollout] | None = None
        self._stopping = False
        self._thread = threading.Thread(target=self._run, name="playback", daemon=True)
        self._thread.start()

    def show(self, rollout_id: str, rollout: Rollout) -> None:
        """Play this rollout from its first frame, now."""
        with self._wake:
            self._next = (rollout_id, rollout)
            self._wake.notify()

    def stop(self) -> None:
        """End the thread; nothing is published after this returns."""
        with self._wake:
            self._stopping = True
            self._wake.notify()
        self._thread.join()

    def _run(self) -> None:
        while True:
            with self._wake:
                self._wake.wait_for(lambda: self._stopping or self._next is not None)
                if self._stopping:
                    return
                assert self._next is not None
                (rollout_id, rollout), self._next = self._next, None
            try:
                self._play(rollout_id, rollout)
            except Exception as error:
                self._on_error(error)

    def _play(self, rollout_id: str, rollout: Rollout) -> None:
        settings = self._settings()
        while True:
            started = time.monotonic()
            for index, seconds in enumerate(rollout.times):
                frame = self._stage.prepare(rollout_id, rollout, index, settings)
                if self._interrupted(started + seconds / settings.rate):
                    return
                self._stage.publish(frame)
            if not settings.loop:
                return

    def _interrupted(self, until: float) -> bool:
        """Sleep until that steady time; True when there is something newer to do."""
        with self._wake:
            return self._wake.wait_for(
                lambda: self._stopping or self._next is not None, timeout=max(until - time.monotonic(), 0.0)
            )
