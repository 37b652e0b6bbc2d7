"""Objects by name: Grounding DINO finds them in some frames, SAM 2 follows them through all.

Source: COM4D (arXiv 2512.05272), section 11 of the specification this was written from. It looks at the first frame
only; here others are looked at too, and what is found there and is not yet followed is followed both ways from there.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
from numpy.typing import NDArray

from fourd_ros.compositional.segmentation.segmenter import MAX_OBJECTS, Footage, Progress, SegmentedObject
from fourd_ros.errors import InvalidClip, InvalidModel, InvalidParameter

if TYPE_CHECKING:
    from torch import Tensor

__all__ = ["BOX_MOVING", "BOX_STATIC", "Sam2Segmenter"]

Mask = NDArray[np.bool_]

BOX_MOVING, BOX_STATIC, TEXT = 0.5, 0.35, 0.4
"""Scores that a box of a moving and of a static object, and a word of its label, need."""

KNOWN = 0.5
"""A found object is one that is followed already if this share of it, or of that one, is covered by the other."""


_MEAN, _DEVIATION = (0.485, 0.456, 0.406), (0.229, 0.224, 0.225)


@dataclass(frozen=True, kw_only=True)
class _Found:
    label: str
    moves: bool
    mask: Mask


class Sam2Segmenter:
    """Finds what a text names. Networks are read from folders of transformers, safetensors only, never from elsewhere.

    All frames are held at the size of the network: 13 MB each at 1024 pixels.

    Args:
        model: folder of a SAM 2 video model with its processor.
        detector: folder of a Grounding DINO model with its processor.
        moving: what moves, as ``a man. a ball.``; empty for nothing.
        static: what stands still, likewise.
        every: so many frames are between those in which objects are looked for; 0: only the first one, as COM4D does.
        device: of torch.

    Raises:
        InvalidParameter: no text, or `every` below 0.
        InvalidModel: a folder is none of such a model.
    """

    def __init__(
        self,
        *,
        model: Path | str,
        detector: Path | str,
        moving: str = "",
        static: str = "",
        every: int = 30,
        device: str = "cpu",
    ) -> None:
        if not (moving.strip() or static.strip()) or every < 0:
            raise InvalidParameter(
                f"moving '{moving}', static '{static}', every {every}; needed is a text, and every >= 0"
            )
        self._texts = {True: _with_stops(moving), False: _with_stops(static)}
        self._every, self._device = every, device
        from transformers import (
            GroundingDinoForObjectDetection,
            GroundingDinoProcessor,
            Sam2Model,
            Sam2VideoModel,
        )

        self._detector = _load(GroundingDinoForObjectDetection, detector, device)
        self._reader = _load(GroundingDinoProcessor, detector)
        self._video = _load(Sam2VideoModel, model, device)
        self._image = _load(Sam2Model, model, device)

    def segment(self, footage: Footage, *, progress: Progress) -> tuple[SegmentedObject, ...]:
        """The objects that the texts name, those found first with the first numbers.

        Raises:
            InvalidClip: more objects than have numbers.
        """
        looked_at = range(0, footage.frames, self._every) if self._every else range(1)
        followed: list[SegmentedObject] = []
        for step, frame in enumerate(looked_at):
            new = [found for found in self._find(footage.rgb[frame]) if not _is_known(found, followed, frame)]
            if len(followed) + len(new) > MAX_OBJECTS:
                raise InvalidClip(f"{len(followed) + len(new)} objects; at most {MAX_OBJECTS} have a number")
            for found, masks in zip(new, self._follow(footage, frame, new), strict=True):
                number = len(followed) + 1
                followed.append(SegmentedObject(number=number, label=found.label, moves=found.moves, masks=masks))
            progress((step + 1) / len(looked_at))
        return tuple(followed)

    def _find(self, rgb: NDArray[np.uint8]) -> list[_Found]:
        """Objects in one frame; of two that are the same, the first one."""
        found: list[_Found] = []
        for moves, text in self._texts.items():
            boxes, labels = self._boxes(rgb, text, BOX_MOVING if moves else BOX_STATIC) if text else ([], [])
            masks = self._masks_in(rgb, boxes) if boxes else []
            for label, mask in zip(labels, masks, strict=True):
                if mask.any() and not any(_cover_each_other(mask, other.mask) for other in found):
                    found.append(_Found(label=label, moves=moves, mask=mask))
        return found

    def _boxes(self, rgb: NDArray[np.uint8], text: str, threshold: float) -> tuple[list[list[float]], list[str]]:
        """Left, top, right and bottom [px] of what a text names, and which of its words."""
        import torch
        from PIL import Image

        inputs = self._reader(images=Image.fromarray(rgb), text=text, return_tensors="pt").to(self._device)
        with torch.inference_mode():
            outputs = self._detector(**inputs)
        result = self._reader.post_process_grounded_object_detection(
            outputs, inputs["input_ids"], threshold=threshold, text_threshold=TEXT, target_sizes=[rgb.shape[:2]]
        )[0]
        return result["boxes"].tolist(), [str(label) for label in result["text_labels"]]

    def _masks_in(self, rgb: NDArray[np.uint8], boxes: Sequence[Sequence[float]]) -> list[Mask]:
        """What boxes of one frame show, shape [H, W] each."""
        import torch

        height, width = rgb.shape[:2]
        side = self._side
        corners = torch.tensor(boxes) * torch.tensor([side / width, side / height] * 2)
        with torch.inference_mode():
            outputs = self._image(
                pixel_values=self._pixels(rgb)[None].to(self._device),
                input_boxes=corners[None].to(self._device),
                multimask_output=False,
            )
        return _in_size(outputs.pred_masks[0], (height, width))

    def _follow(self, footage: Footage, frame: int, found: Sequence[_Found]) -> list[Mask]:
        """Masks of objects in all frames, from the one in which they were found on and back, shape [F, H, W] each."""
        import torch
        from transformers.models.sam2_video.modeling_sam2_video import Sam2VideoInferenceSession

        masks = [np.zeros((footage.frames, *footage.size), bool) for _ in found]
        if not found:
            return masks
        session = Sam2VideoInferenceSession(
            video=torch.stack([self._pixels(rgb) for rgb in footage.rgb]),
            video_height=footage.size[0],
            video_width=footage.size[1],
            inference_device=self._device,
            inference_state_device=self._device,
            dtype=torch.float32,
        )
        for number, one in enumerate(found, start=1):
            index = session.obj_id_to_idx(number)
            session.add_mask_inputs(index, frame, self._shown(one.mask))
        session.obj_with_new_inputs = list(session.obj_ids)
        with torch.inference_mode():
            self._video(inference_session=session, frame_idx=frame)
            for reverse in (False, True) if frame else (False,):
                for output in self._video.propagate_in_video_iterator(session, start_frame_idx=frame, reverse=reverse):
                    shown = _in_size(output.pred_masks, footage.size)
                    for mask, in_frame in zip(masks, shown, strict=True):
                        mask[output.frame_idx] = in_frame
        return masks

    @property
    def _side(self) -> int:
        """Of the squares that SAM 2 looks at [px]."""
        return int(self._video.config.image_size)

    def _pixels(self, rgb: NDArray[np.uint8]) -> "Tensor":
        """A frame as SAM 2 takes it: squeezed into its square, normalised, shape [3, side, side]."""
        import torch

        size = (self._side, self._side)
        values = torch.from_numpy(np.array(rgb)).permute(2, 0, 1)[None].float() / 255
        values = torch.nn.functional.interpolate(values, size, mode="bilinear", antialias=True)[0]
        return (values - torch.tensor(_MEAN)[:, None, None]) / torch.tensor(_DEVIATION)[:, None, None]

    def _shown(self, mask: Mask) -> "Tensor":
        """A mask as SAM 2 takes it, shape [1, 1, side, side]."""
        import torch

        values = torch.from_numpy(mask).float()[None, None].to(self._device)
        size = (self._side, self._side)
        return (torch.nn.functional.interpolate(values, size, mode="bilinear", antialias=True) >= 0.5).float()


def _with_stops(text: str) -> str:
    """In the form that Grounding DINO reads: small letters, a full stop behind every thing."""
    things = [thing.strip().lower() for thing in text.split(".") if thing.strip()]
    return "".join(f"{thing}. " for thing in things).strip()


def _is_known(found: _Found, followed: Sequence[SegmentedObject], frame: int) -> bool:
    return any(_cover_each_other(found.mask, one.mask(frame)) for one in followed)


def _cover_each_other(first: Mask, second: Mask) -> bool:
    smaller = min(int(first.sum()), int(second.sum()))
    return smaller > 0 and int((first & second).sum()) > KNOWN * smaller


def _in_size(logits: "Tensor", size: tuple[int, int]) -> list[Mask]:
    """Where objects are, from logits [n, 1, h, w], shape [H, W] each."""
    import torch

    scaled = torch.nn.functional.interpolate(logits.float(), size, mode="bilinear", align_corners=False)
    return [np.asarray(one[0].cpu() > 0) for one in scaled]


def _load(kind: Any, folder: Path | str, device: str | None = None) -> Any:
    """A network or processor of transformers from a folder of this machine."""
    if not (Path(folder) / "config.json").is_file():
        raise InvalidModel(f"'{folder}' is no model folder of transformers: it has no config.json")
    try:
        if device is None:
            return kind.from_pretrained(str(folder), local_files_only=True)
        return kind.from_pretrained(str(folder), local_files_only=True, use_safetensors=True).to(device).eval()
    except (OSError, ValueError, KeyError, RuntimeError) as error:
        raise InvalidModel(f"'{folder}' gives no {kind.__name__}: {error}") from error
