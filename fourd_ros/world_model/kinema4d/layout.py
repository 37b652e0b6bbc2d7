"""How colour and geometry lie side by side in latents, and how many frames and rows they have."""

from dataclasses import dataclass
from enum import StrEnum

from fourd_ros.errors import InvalidImage, InvalidModel

LATENT_CHANNELS = 16
MASK_CHANNELS = 4
CONDITION_CHANNELS = MASK_CHANNELS + LATENT_CHANNELS
"""Of the first frame, and of the robot: 4 of a mask, 16 latents."""

INPUT_CHANNELS = LATENT_CHANNELS + CONDITION_CHANNELS
SPACE_FACTOR = 8
"""Pixels a latent, along rows and columns."""

TIME_FACTOR = 4
"""Frames a latent, after the first frame, which has one of its own."""

PATCH = 2
"""Latents a token, along rows and columns."""


class Variant(StrEnum):
    """What of the robot is shown."""

    ACT = "act"
    """Its colour and its geometry."""
    PMCOND = "pmcond"
    """Its geometry alone; robust where its rendering does not look like the real robot."""


@dataclass(frozen=True, kw_only=True)
class Grid:
    """Size of the latents of one modality.

    Args:
        frames: of latents.
        rows: of a frame.
        columns: of a frame, of one modality; a latent video has twice as many.
    """

    frames: int
    rows: int
    columns: int

    def __post_init__(self) -> None:
        if min(self.frames, self.rows, self.columns) < 1 or self.rows % PATCH or self.columns % PATCH:
            raise InvalidModel(
                f"a grid of {self.frames} x {self.rows} x {self.columns} latents; needed are positive numbers, rows "
                f"and columns divisible by {PATCH}"
            )

    @classmethod
    def of_video(cls, frames: int, height: int, width: int) -> "Grid":
        """Of a video of one modality.

        Raises:
            InvalidImage: frames are not 4 k + 1, or height or width are not divisible by 16.
        """
        if frames < 1 or (frames - 1) % TIME_FACTOR:
            raise InvalidImage(f"{frames} frames; needed are {TIME_FACTOR} k + 1, such as 17 or 49")
        unit = SPACE_FACTOR * PATCH
        if height % unit or width % unit or min(height, width) < unit:
            raise InvalidImage(f"frames of {width} x {height} pixels; needed are multiples of {unit}")
        return cls(frames=latent_frames(frames), rows=height // SPACE_FACTOR, columns=width // SPACE_FACTOR)

    @property
    def video_frames(self) -> int:
        """Frames that the latents stand for."""
        return (self.frames - 1) * TIME_FACTOR + 1

    @property
    def height(self) -> int:
        """Of the frames [pixels]."""
        return self.rows * SPACE_FACTOR

    @property
    def width(self) -> int:
        """Of the frames of one modality [pixels]."""
        return self.columns * SPACE_FACTOR


def latent_frames(frames: int) -> int:
    """Latents of `frames` = 4 k + 1 frames."""
    return (frames - 1) // TIME_FACTOR + 1
