"""Frames and where each moving object shows in them."""

from collections.abc import Iterable
from dataclasses import dataclass
from typing import Self

import numpy as np
from numpy.typing import NDArray

from fourd_ros.compositional.object_pictures import cut_out, resized, resized_mask
from fourd_ros.compositional.prepared_clip import PreparedClip
from fourd_ros.errors import InvalidClip

__all__ = ["ObjectClip"]

Pixels = NDArray[np.uint8]


@dataclass(frozen=True, kw_only=True, eq=False)
class ObjectClip:
    """A video of a camera that stands still, and masks of what moves in it.

    Masks may overlap: each object is shown to the network by its own. An object that is hidden in a frame has an empty
    mask there; the network is then shown a white picture and goes by the other frames.

    Args:
        frames: colour, shape [F, H, W, 3]; frames that are not square are squeezed, so pad them before.
        masks: of each moving object, 0 to 255, shape [Q, F, H, W].
        ids: what the objects are called by others, shape [Q]; 1, 2, ... where it is empty.

    Raises:
        InvalidClip: no frame, or shapes, types or ids that do not fit.
    """

    frames: Pixels
    masks: Pixels
    ids: tuple[int, ...] = ()

    def __post_init__(self) -> None:
        frames, masks = self.frames, self.masks
        if frames.dtype != np.uint8 or frames.ndim != 4 or frames.shape[3] != 3 or 0 in frames.shape:
            raise InvalidClip(
                f"frames {frames.dtype} {list(frames.shape)}; needed are uint8 [F, H, W, 3], F at least 1"
            )
        if masks.dtype != np.uint8 or masks.ndim != 4 or masks.shape[1:] != frames.shape[:3]:
            needed = ", ".join(str(size) for size in frames.shape[:3])
            raise InvalidClip(
                f"masks {masks.dtype} {list(masks.shape)}; needed are uint8 [Q, {needed}] for these frames"
            )
        object.__setattr__(self, "ids", self.ids or tuple(range(1, len(masks) + 1)))
        if len(self.ids) != len(masks) or len(set(self.ids)) != len(masks):
            raise InvalidClip(f"ids {self.ids} of {len(masks)} moving objects; needed is one of its own for each")

    @classmethod
    def of_prepared(cls, clip: PreparedClip, *, frames: Iterable[int] | None = None, side: int) -> Self:
        """Of a prepared video.

        Args:
            clip: the folder.
            frames: which of its frames, all of them without.
            side: to which pictures are scaled as they are read [px].

        Raises:
            InvalidClip: no frame, or what cannot be read.
        """
        chosen = range(len(clip.frames)) if frames is None else list(frames)
        read = [resized(clip.rgb(index), width=side, height=side) for index in chosen]
        masks = [
            [resized_mask(clip.mask(number, index, moving=True), width=side, height=side) for index in chosen]
            for number in clip.moving
        ]
        if not read:
            raise InvalidClip(f"no frame of '{clip.folder}' is chosen")
        shape = (len(clip.moving), len(read), side, side)
        return cls(frames=np.stack(read), masks=np.array(masks, np.uint8).reshape(shape), ids=tuple(clip.moving))

    @property
    def shown(self) -> NDArray[np.bool_]:
        """Whether each object shows in each frame, shape [Q, F]."""
        return np.asarray(self.masks.any(axis=(2, 3)))

    @property
    def best_frame(self) -> int:
        """The first frame that shows the most objects."""
        return int(self.shown.sum(axis=0).argmax())

    def scaled(self, side: int) -> "ObjectClip":
        """With frames and masks of side x side pixels."""
        if self.frames.shape[1:3] == (side, side):
            return self
        frames = [resized(frame, width=side, height=side) for frame in self.frames]
        masks = [[resized_mask(mask, width=side, height=side) for mask in of_one] for of_one in self.masks]
        shape = (len(self.masks), len(self.frames), side, side)
        return ObjectClip(frames=np.stack(frames), masks=np.array(masks, np.uint8).reshape(shape), ids=self.ids)

    def at(self, frame: int) -> "ObjectClip":
        """One frame of it.

        Raises:
            InvalidClip: there is no such frame.
        """
        if not 0 <= frame < len(self.frames):
            raise InvalidClip(f"there is no frame {frame}; the clip has 0 to {len(self.frames) - 1}")
        return ObjectClip(frames=self.frames[frame, None], masks=self.masks[:, frame, None], ids=self.ids)

    def check_shown(self) -> None:
        """Refuse a clip with a moving object that no frame shows.

        Raises:
            InvalidClip: naming all of them.
        """
        if unseen := [number for number, shown in zip(self.ids, self.shown, strict=True) if not shown.any()]:
            raise InvalidClip(f"the masks of the moving objects {unseen} are empty in every frame; leave them out")

    def objects(self, number: int) -> Pixels:
        """Frames with nothing but the object of a row, on white, shape [F, H, W, 3]."""
        return np.stack([cut_out(*pair) for pair in zip(self.frames, self.masks[number], strict=True)])
