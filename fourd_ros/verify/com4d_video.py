"""Preparation of videos, masked pictures, and packing of batches."""

from typing import Any

import numpy as np

from fourd_ros.compositional.object_pictures import (
    WHITE,
    centring_offset,
    cut_out,
    padded_to_square,
    resized,
    resized_mask,
    shifted,
    union_of,
    without_background,
)
from fourd_ros.data.batch_packing import pack_batches
from fourd_ros.verify.checks import check
from fourd_ros.verify.comparison import Comparison
from fourd_ros.verify.tolerance import Tolerance
from fourd_ros.verify.vectors import Tensors, VectorFolder

SYSTEM = "com4d"
EXACT = Tolerance()
PLACEHOLDER = -1


@check(SYSTEM, "video_prep*.safetensors")
def video_preparation(_: VectorFolder, vectors: Tensors, compare: Comparison) -> None:
    """Background away, everything centred, the first frame padded."""
    frames, moving, still = (vectors[name] for name in ("frames", "masks", "masks_static"))
    shown = [union_of(pair) for pair in zip(moving, still, strict=True)]
    cut = np.stack([without_background(*pair) for pair in zip(frames, shown, strict=True)])
    compare("no_bg", cut)
    offset = centring_offset(union_of(shown))
    for name, pictures, fill in (
        ("no_bg", cut, WHITE),
        ("frames", frames, WHITE),
        ("masks", moving, 0),
        ("masks_static", still, 0),
    ):
        compare(f"centered_{name}", np.stack([shifted(picture, offset, fill=fill) for picture in pictures]))
    compare("padded_frame0", padded_to_square(frames[0], fill=WHITE))


def masked_pictures(vectors: Tensors, compare: Comparison) -> None:
    """The part of ``image.safetensors`` that needs no network: pictures and masks scaled, joined and cut out."""
    height, width = vectors["resized"].shape[:2]
    image = resized(vectors["image"], width=width, height=height)
    mask = resized_mask(vectors["mask"], width=width, height=height)
    compare("resized", image)
    compare("mask_resized", mask)
    compare("masked_white", cut_out(image, mask))
    compare("masked_inverted_dil3_ero1", cut_out(image, mask, dilation=3, erosion=1, keep_foreground=False))
    combined = union_of([vectors["mask"], vectors["mask2"]])
    compare("combined", combined)
    compare("inverted", 255 - combined)


@check(SYSTEM, "batch_packing*.json")
def batch_packing(_: VectorFolder, vectors: Any, compare: Comparison) -> None:
    """The flat list of the original, every batch filled up with placeholders."""
    items, size = vectors["items"], vectors["batch_size"]
    packed: list[int] = []
    for batch in pack_batches([item["num_parts"] for item in items], batch_size=size):
        packed += [items[index]["id"] for index in batch] + [PLACEHOLDER] * (size - len(batch))
    compare("packed_ids", packed, expected=vectors["packed_ids"], tolerance=EXACT)
