"""Frames at a fixed rate out of the images that a camera gave."""

from dataclasses import dataclass

from fourd_ros.bridge.message_stream import MessageStream, Stamped

FOLLOW = 0.1
"""The grid moves by this share of the offset of each image, so it follows a camera whose clock is not quite ours."""


@dataclass(frozen=True, slots=True)
class Choice:
    """The image of one instant of the grid, and how many instants before it have none.

    Args:
        image: nearest to the instant.
        skipped: instants without an image.
        skipped_from_ns: the first of them [ns].
    """

    image: Stamped
    skipped: int
    skipped_from_ns: int


class FrameGrid:
    """Instants at a fixed distance, from the first image on; where images are missing it begins anew after them.

    Args:
        period_ns: distance of the instants [ns].
    """

    def __init__(self, period_ns: int) -> None:
        self._period_ns = period_ns
        self.restart()

    def restart(self) -> None:
        """Begin anew with the next image."""
        self._target_ns: int | None = None

    @property
    def begun(self) -> bool:
        """Whether there was an image."""
        return self._target_ns is not None

    def choose(self, images: MessageStream, *, final: bool) -> Choice | None:
        """Take the next image out of `images`, and forget it and all before.

        Args:
            images: of the camera.
            final: no better image will come; otherwise None where a later one may be nearer.
        """
        target_ns = self._target_ns
        if target_ns is not None and not final and not images.reaches(target_ns):
            return None
        image = images.nearest(0 if target_ns is None else target_ns)
        if image is None:
            return None
        images.forget(image.stamp_ns + 1)
        if target_ns is None:
            target_ns = image.stamp_ns
        late_ns = image.stamp_ns - target_ns
        if late_ns < -self._period_ns / 2:
            return self.choose(images, final=final)
        skipped = round(late_ns / self._period_ns) if late_ns > self._period_ns / 2 else 0
        base_ns = image.stamp_ns if skipped else target_ns + round(FOLLOW * late_ns)
        self._target_ns = base_ns + self._period_ns
        return Choice(image, skipped, target_ns)

    def missed_until(self, stamp_ns: int) -> tuple[int, int]:
        """How many instants up to `stamp_ns` have no image, and the first of them [ns]."""
        if self._target_ns is None or stamp_ns < self._target_ns:
            return 0, stamp_ns
        return (stamp_ns - self._target_ns) // self._period_ns + 1, self._target_ns
