"""Frames and where each moving object shows in them."""

from collections.abc import Iterable, Sequence
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

    Objects at rest need no masks, the network finds them in the whole picture as the original does. With masks it is
    shown each of them by its own, so that it is known which shape is which object.

    Args:
        frames: colour, shape [F, H, W, 3]; frames that are not square are squeezed, so pad them before.
        masks: of each moving object, 0 to 255, shape [Q, F, H, W].
        ids: what the objects are called by others, shape [Q]; 1, 2, ... where it is empty.
        static_masks: of each object at rest, 0 to 255, shape [S, F, H, W]; None where nobody says where they are.

    Raises:
        InvalidClip: no frame, or shapes, types or ids that do not fit.
    """

    frames: Pixels
    masks: Pixels
    ids: tuple[int, ...] = ()
    static_masks: Pixels | None = None

    def __post_init__(self) -> None:
        frames = self.frames
        if frames.dtype != np.uint8 or frames.ndim != 4 or frames.shape[3] != 3 or 0 in frames.shape:
            raise InvalidClip(
                f"frames {frames.dtype} {list(frames.shape)}; needed are uint8 [F, H, W, 3], F at least 1"
            )
        for masks in (self.masks, *(() if self.static_masks is None else (self.static_masks,))):
            if masks.dtype != np.uint8 or masks.ndim != 4 or masks.shape[1:] != frames.shape[:3]:
                needed = ", ".join(str(size) for size in frames.shape[:3])
                raise InvalidClip(
                    f"masks {masks.dtype} {list(masks.shape)}; needed are uint8 [Q, {needed}] for these frames"
                )
        count = len(self.masks)
        object.__setattr__(self, "ids", self.ids or tuple(range(1, count + 1)))
        if len(self.ids) != count or len(set(self.ids)) != count:
            raise InvalidClip(f"ids {self.ids} of {count} moving objects; needed is one of its own for each")

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
        """The first frame that shows the most objects; where it is known, the share that shows of those at rest."""
        shown = self.shown.sum(axis=0).astype(np.float64)
        if self.static_masks is not None:
            areas = (self.static_masks > 0).sum(axis=(2, 3))
            shown = shown + (areas / np.maximum(areas.max(axis=1, keepdims=True), 1)).sum(axis=0)
        return int(shown.argmax())

    def scaled(self, side: int) -> "ObjectClip":
        """With frames and masks of side x side pixels."""
        if self.frames.shape[1:3] == (side, side):
            return self
        frames = [resized(frame, width=side, height=side) for frame in self.frames]
        return ObjectClip(
            frames=np.stack(frames),
            masks=_scaled(self.masks, side),
            ids=self.ids,
            static_masks=None if self.static_masks is None else _scaled(self.static_masks, side),
        )

    def at(self, frame: int) -> "ObjectClip":
        """One frame of it.

        Raises:
            InvalidClip: there is no such frame.
        """
        return self.chosen([frame])

    def chosen(self, frames: Sequence[int]) -> "ObjectClip":
        """Some frames of it, in their order.

        Raises:
            InvalidClip: there is no such frame.
        """
        rows = list(frames)
        for frame in rows:
            if not 0 <= frame < len(self.frames):
                raise InvalidClip(f"there is no frame {frame}; the clip has 0 to {len(self.frames) - 1}")
        return ObjectClip(
            frames=self.frames[rows],
            masks=self.masks[:, rows],
            ids=self.ids,
            static_masks=None if self.static_masks is None else self.static_masks[:, rows],
        )

    def check_shown(self) -> None:
        """Refuse a clip with a moving object that no frame shows.

        Raises:
            InvalidClip: naming all of them.
        """
        if unseen := [number for number, shown in zip(self.ids, self.shown, strict=True) if not shown.any()]:
            raise InvalidClip(f"the masks of the moving objects {unseen} are empty in every frame; leave them out")

    def objects(self, number: int) -> Pixels:
        """Frames with nothing but the object of a row, on white, shape [F, H, W, 3]."""
        return _alone(self.frames, self.masks[number])

    def static_objects(self, number: int) -> Pixels:
        """The same of an object at rest whose masks are known, shape [F, H, W, 3]."""
        assert self.static_masks is not None
        return _alone(self.frames, self.static_masks[number])


def _alone(frames: Pixels, masks: Pixels) -> Pixels:
    return np.stack([cut_out(*pair) for pair in zip(frames, masks, strict=True)])


def _scaled(masks: Pixels, side: int) -> Pixels:
    scaled = [[resized_mask(mask, width=side, height=side) for mask in of_one] for of_one in masks]
    return np.array(scaled, np.uint8).reshape(*masks.shape[:2], side, side)
