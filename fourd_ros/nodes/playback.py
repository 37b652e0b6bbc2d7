"""Plays the newest rollout on ordinary topics, at the pace of the imagined time."""

import threading
import time
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

from fourd_ros.bridge.rollouts import FrameFields, make_frame
from fourd_ros.records import Rollout

IMAGINED_PREFIX = "imagined/"
"""Prefix of imagined TF frames and joint states (a viewer shows them beside the live robot)."""


@dataclass(frozen=True, kw_only=True)
class PlaybackSettings:
    """How rollouts are played.

    Args:
        view: the camera to show, empty for the first of the rollout.
        rate: imagined seconds per second.
        loop: start over until a newer rollout comes.
        voxel_size: thin the clouds to one point a voxel of this edge [m], 0 for none.
        max_bytes: of one cloud.
        image_format: ``jpeg`` or ``png``.
    """

    view: str = ""
    rate: float = 1.0
    loop: bool = False
    voxel_size: float = 0.0
    max_bytes: int = 4_000_000
    image_format: str = "jpeg"


class Playback:
    """One thread that sleeps until the next frame is due; a newer rollout takes its place at once.

    Args:
        publish: called with every frame (``fourd_msgs/RolloutFrame``) when it is due.
        settings: what to show and how fast, asked anew for every rollout.
        on_error: called with an exception that a frame raised; the playback goes on with the next rollout.
    """

    def __init__(
        self,
        *,
        publish: Callable[[Any], None],
        settings: Callable[[], PlaybackSettings],
        on_error: Callable[[Exception], None],
    ) -> None:
        self._publish, self._settings, self._on_error = publish, settings, on_error
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
        view = settings.view if settings.view in rollout.views else next(iter(rollout.views))
        while True:
            started = time.monotonic()
            for index, seconds in enumerate(rollout.times):
                frame = make_frame(
                    rollout,
                    rollout_id,
                    index,
                    view,
                    fields=FrameFields.ALL,
                    voxel_size=settings.voxel_size,
                    max_bytes=settings.max_bytes,
                    image_format=settings.image_format,
                )
                if self._interrupted(started + seconds / settings.rate):
                    return
                self._publish(frame)
            if not settings.loop:
                return

    def _interrupted(self, until: float) -> bool:
        """Sleep until that steady time; True when there is something newer to do."""
        with self._wake:
            return self._wake.wait_for(
                lambda: self._stopping or self._next is not None, timeout=max(until - time.monotonic(), 0.0)
            )
