"""Point tracks: where surface points appear in the frames of a clip."""

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from fourd_ros.errors import InvalidTracks

__all__ = ["Tracks", "joined"]


@dataclass(frozen=True, kw_only=True)
class Tracks:
    """N points followed through F frames.

    Args:
        positions: pixels (x, y), pixel centres at integers, shape [F, N, 2], float64; what is not
            visible may hold anything, NaN included.
        visible: whether the point is seen in the frame, shape [F, N].
        born: frame in which the point was first taken, shape [N], int64.
        width: of the frames [px].
        height: of the frames [px].

    Raises:
        InvalidTracks: shapes that contradict each other, a visible position that is not finite, or
            a first frame outside the clip.
    """

    positions: NDArray[np.float64]
    visible: NDArray[np.bool_]
    born: NDArray[np.int64]
    width: int
    height: int

    def __post_init__(self) -> None:
        if self.positions.ndim != 3 or self.positions.shape[2] != 2:
            raise InvalidTracks(f"positions have shape {list(self.positions.shape)}, needed [frames, tracks, 2]")
        frames, count, _ = self.positions.shape
        if self.visible.shape != (frames, count) or self.visible.dtype != np.bool_:
            given = f"{self.visible.dtype} {list(self.visible.shape)}"
            raise InvalidTracks(f"visible is {given}, needed bool [{frames}, {count}]")
        if self.born.shape != (count,):
            raise InvalidTracks(f"born has shape {list(self.born.shape)}, needed [{count}]")
        if count and not (self.born.min() >= 0 and self.born.max() < frames):
            raise InvalidTracks(f"tracks are born in frames {self.born.min()} to {self.born.max()} of {frames}")
        if not np.isfinite(self.positions[self.visible]).all():
            raise InvalidTracks("a visible position is not finite; positions that are not known must not be visible")

    @property
    def frames(self) -> int:
        """Number of frames F."""
        return int(self.positions.shape[0])

    def __len__(self) -> int:
        """Number of tracks N."""
        return int(self.positions.shape[1])

    @property
    def seen(self) -> NDArray[np.bool_]:
        """Visible and inside the image, ``[0, width) x [0, height)``, shape [F, N]."""
        x, y = self.positions[..., 0], self.positions[..., 1]
        with np.errstate(invalid="ignore"):
            return self.visible & (x >= 0) & (x < self.width) & (y >= 0) & (y < self.height)

    def of(self, chosen: NDArray[np.bool_] | NDArray[np.int64]) -> "Tracks":
        """The tracks that `chosen` names, a mask or indices."""
        return Tracks(
            positions=self.positions[:, chosen],
            visible=self.visible[:, chosen],
            born=self.born[chosen],
            width=self.width,
            height=self.height,
        )


def joined(first: Tracks, second: Tracks) -> Tracks:
    """Tracks of the same clip, those of `first` before those of `second`.

    Raises:
        InvalidTracks: another number of frames, or frames of another size.
    """
    sizes = [(one.frames, one.width, one.height) for one in (first, second)]
    if sizes[0] != sizes[1]:
        raise InvalidTracks(f"tracks of {sizes[0]} and {sizes[1]} frames, width and height; needed: of one clip")
    return Tracks(
        positions=np.concatenate([first.positions, second.positions], axis=1),
        visible=np.concatenate([first.visible, second.visible], axis=1),
        born=np.concatenate([first.born, second.born]),
        width=first.width,
        height=first.height,
    )
