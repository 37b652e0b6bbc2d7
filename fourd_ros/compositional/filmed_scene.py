"""What a camera at rest has filmed, and which objects it shows: all that is known before objects are made."""

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from fourd_ros.compositional.clip_window import ClipWindow
from fourd_ros.compositional.object_clip import ObjectClip
from fourd_ros.compositional.object_pictures import WHITE, resized, resized_mask
from fourd_ros.compositional.prepared_clip import PreparedClip
from fourd_ros.compositional.segmentation.segmenter import SegmentedObject
from fourd_ros.errors import InvalidClip
from fourd_ros.geometry.camera import PinholeCamera

__all__ = ["FilmedScene", "rests"]

Pixels = NDArray[np.uint8]

STILL = 0.8
"""An object is at rest if all its masks have this share of their union in common; what hides it only makes it seem to
move, which does no harm."""


@dataclass(frozen=True, kw_only=True, eq=False)
class FilmedScene:
    """F frames of a camera at rest.

    Args:
        rgb: colour, shape [F, H, W, 3], uint8.
        objects: that show, by number; masks may overlap and be empty in some frames.
        depth: of every frame [m], NaN where unknown, shape [F, H, W]; None without a depth camera.
        camera: calibration; None where it is unknown.

    Raises:
        InvalidClip: no frames, no objects, or shapes that contradict each other.
    """

    rgb: Pixels
    objects: tuple[SegmentedObject, ...]
    depth: NDArray[np.float32] | None = None
    camera: PinholeCamera | None = None

    def __post_init__(self) -> None:
        shape = self.rgb.shape
        if self.rgb.dtype != np.uint8 or len(shape) != 4 or shape[3] != 3 or 0 in shape:
            raise InvalidClip(f"frames {self.rgb.dtype} {list(shape)}; needed are uint8 [F, H, W, 3], F at least 1")
        if not self.objects:
            raise InvalidClip("no object shows in any frame, so there is nothing to make")
        for one in self.objects:
            if (one.frames, *one.size) != shape[:3]:
                raise InvalidClip(
                    f"masks of object {one.number} are {[one.frames, *one.size]}, the frames are {list(shape[:3])}"
                )
        if self.depth is not None and self.depth.shape != shape[:3]:
            raise InvalidClip(f"depth is {list(self.depth.shape)}, the frames are {list(shape[:3])}")
        if self.camera is not None and (self.camera.height, self.camera.width) != shape[1:3]:
            raise InvalidClip(
                f"a camera of {self.camera.width} x {self.camera.height} pixels for frames of {shape[2]} x {shape[1]}"
            )

    @classmethod
    def of_prepared(cls, clip: PreparedClip, *, frames: Sequence[int] | None = None) -> "FilmedScene":
        """Of a prepared video.

        Args:
            clip: the folder.
            frames: which of its frames; all of them without.

        Raises:
            InvalidClip: no frame is chosen, or what cannot be read.
        """
        chosen = list(range(len(clip.frames)) if frames is None else frames)
        if not chosen or not all(0 <= index < len(clip.frames) for index in chosen):
            raise InvalidClip(f"frames {chosen} of '{clip.folder}', which has {len(clip.frames)}")
        pictures = [clip.rgb(index) for index in chosen]
        if len({picture.shape for picture in pictures}) != 1:
            raise InvalidClip(f"the frames of '{clip.folder}' are of several sizes")
        depth = [clip.depth(index) for index in chosen]
        unknown = np.full(pictures[0].shape[:2], np.nan, np.float32)
        objects = [
            SegmentedObject(
                number=number,
                label=clip.labels.get((moving, number), ""),
                moves=moving,
                masks=np.stack([clip.mask(number, index, moving=moving) > WHITE // 2 for index in chosen]),
            )
            for moving, kind in ((True, clip.moving), (False, clip.static))
            for number in kind
        ]
        return cls(
            rgb=np.stack(pictures),
            objects=tuple(one for one in objects if one.masks.any()),
            depth=np.stack([unknown if one is None else one for one in depth])
            if any(one is not None for one in depth)
            else None,
            camera=clip.camera,
        )

    @property
    def moving(self) -> tuple[SegmentedObject, ...]:
        """The objects that move."""
        return tuple(one for one in self.objects if one.moves)

    @property
    def static(self) -> tuple[SegmentedObject, ...]:
        """The objects at rest."""
        return tuple(one for one in self.objects if not one.moves)

    def window(self, fill: float | None) -> ClipWindow:
        """What the network is shown: a square around all objects, or the whole picture where `fill` is None."""
        if fill is None:
            return ClipWindow.whole(*self.rgb.shape[1:3])
        return ClipWindow.around(np.logical_or.reduce([one.masks.any(axis=0) for one in self.objects]), fill=fill)

    def object_clip(self, window: ClipWindow, *, side: int) -> ObjectClip:
        """Frames and masks in a window, scaled to `side` pixels."""
        frames = [resized(window.cut(rgb, fill=WHITE), width=side, height=side) for rgb in self.rgb]
        return ObjectClip(
            frames=np.stack(frames),
            masks=self._masks(self.moving, window, side),
            ids=tuple(one.number for one in self.moving),
            static_masks=self._masks(self.static, window, side),
        )

    def _masks(self, objects: Sequence[SegmentedObject], window: ClipWindow, side: int) -> Pixels:
        cut = [
            [resized_mask(window.cut(_grey(mask), fill=0), width=side, height=side) for mask in one.masks]
            for one in objects
        ]
        return np.array(cut, np.uint8).reshape(len(objects), len(self.rgb), side, side)


def rests(masks: NDArray[np.bool_]) -> bool:
    """Whether masks [F, H, W] of one object say that it stands still."""
    shown = masks[masks.any(axis=(1, 2))]
    return bool(shown.all(axis=0).sum() >= STILL * shown.any(axis=0).sum()) if len(shown) else True


def _grey(mask: NDArray[np.bool_]) -> Pixels:
    return np.where(mask, np.uint8(WHITE), np.uint8(0))
