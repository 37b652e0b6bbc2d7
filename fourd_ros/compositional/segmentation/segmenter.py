"""The interface of everything that finds objects in a video, and the list of what there is."""

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Protocol, cast

import numpy as np
from numpy.typing import NDArray

from fourd_ros.errors import InvalidClip, InvalidParameter
from fourd_ros.geometry.camera import PinholeCamera
from fourd_ros.registries import find_registered

__all__ = ["MAX_OBJECTS", "SEGMENTERS", "Footage", "Progress", "SegmentedObject", "Segmenter", "make_segmenter"]

Mask = NDArray[np.bool_]
Progress = Callable[[float], None]

MAX_OBJECTS = 999
"""Numbers that fit into the names of files of masks."""

SEGMENTERS: dict[str, str] = {
    "background": "fourd_ros.compositional.segmentation.background_segmenter:BackgroundSegmenter",
    "sam2": "fourd_ros.compositional.segmentation.sam2_segmenter:Sam2Segmenter",
}
"""``module:Class`` of each one that looks at pictures."""


@dataclass(frozen=True, kw_only=True)
class Footage:
    """What a segmenter sees: F frames of a camera that stands still.

    Args:
        rgb: colour of every frame, shape [H, W, 3] each, uint8; pictures may be read as they are asked for.
        depth: z-depth of every frame [m], NaN where unknown, shape [H, W] each; None where there is none.
        camera: calibration, where it is known.
        source_size: height and width of the frames before they were padded and scaled [px]; None where they were not.

    Raises:
        InvalidClip: no frames, or another number of depth images.
    """

    rgb: Sequence[NDArray[np.uint8]]
    depth: Sequence[NDArray[np.float32]] | None = None
    camera: PinholeCamera | None = None
    source_size: tuple[int, int] | None = None

    def __post_init__(self) -> None:
        if not len(self.rgb) or (self.depth is not None and len(self.depth) != len(self.rgb)):
            depths = "no" if self.depth is None else len(self.depth)
            raise InvalidClip(f"{len(self.rgb)} frames with {depths} depth images; needed are as many, and at least 1")

    @property
    def frames(self) -> int:
        """Their number F."""
        return len(self.rgb)

    @property
    def size(self) -> tuple[int, int]:
        """Height and width of a frame [px]."""
        height, width = self.rgb[0].shape[:2]
        return height, width


class SegmentedObject:
    """One object through all frames, its masks packed to a bit a pixel.

    Args:
        number: from 1, the same in all frames.
        label: what it is called; empty for nothing.
        moves: whether it moves in the video.
        masks: where it shows, shape [F, H, W]; empty in frames where it is hidden.

    Raises:
        InvalidClip: a number that does not fit, or masks of another shape.
    """

    def __init__(self, *, number: int, label: str, moves: bool, masks: Mask) -> None:
        if not 1 <= number <= MAX_OBJECTS:
            raise InvalidClip(f"object number {number}; needed is 1 to {MAX_OBJECTS}")
        if masks.ndim != 3 or masks.dtype != np.bool_:
            raise InvalidClip(f"masks of object {number} are {masks.dtype} {list(masks.shape)}; needed bool [F, H, W]")
        self.number, self.label, self.moves = number, label, moves
        self._shape = masks.shape
        self._bits = np.packbits(masks, axis=-1)

    @property
    def frames(self) -> int:
        """Number of frames F."""
        return int(self._shape[0])

    @property
    def size(self) -> tuple[int, int]:
        """Height and width of its masks [px]."""
        return int(self._shape[1]), int(self._shape[2])

    def mask(self, frame: int) -> Mask:
        """Where it shows in a frame, shape [H, W]."""
        return np.unpackbits(self._bits[frame], axis=-1, count=self._shape[2]).astype(bool)

    @property
    def masks(self) -> Mask:
        """Where it shows, shape [F, H, W]."""
        return np.stack([self.mask(frame) for frame in range(self.frames)])


class Segmenter(Protocol):
    """Finds objects and follows them through time."""

    def segment(self, footage: Footage, *, progress: Progress) -> tuple[SegmentedObject, ...]:
        """The objects of a video, by number; there may be none.

        Args:
            footage: the frames.
            progress: is told the share that is done.

        Raises:
            InvalidClip: the footage lacks what this segmenter needs.
        """


def make_segmenter(name: str, options: Mapping[str, Any]) -> Segmenter:
    """A segmenter by name.

    Args:
        name: of `SEGMENTERS`, or ``module:Class`` of a user's own.
        options: keyword arguments of its class.

    Raises:
        InvalidParameter: no such segmenter, or it has no such option.
        MissingDependency: it needs a module that is not installed.
    """
    made = find_registered(SEGMENTERS, name, what="segmenter", error=InvalidParameter, others=True)
    try:
        return cast(Segmenter, made(**options))  # type: ignore[operator]
    except TypeError as error:
        raise InvalidParameter(f"segmenter '{name}' with {sorted(options)}: {error}") from error
