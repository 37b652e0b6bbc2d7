"""Where texts are meant in frames: the annotations of 4D LangSplat (COCO, and intervals of frames for prompts)."""

from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import cv2
import numpy as np
from numpy.typing import NDArray

from fourd_ros.errors import InvalidDataset
from fourd_ros.strict_json import read_object

MASKS, INTERVALS = Path("train", "_annotations.coco.json"), Path("video_annotations.json")
MAX_PIXELS = 64_000_000

Intervals = Mapping[str, Mapping[str, tuple[tuple[int, int], ...]]]
"""By label and prompt: first and last frame, both included, in which the prompt is true."""


@dataclass(frozen=True, kw_only=True, eq=False)
class AnnotatedFrame:
    """A frame with masks.

    Args:
        image_id: in the file.
        frame: its place in the sequence, 0 for the first one.
        masks: by label; a label with prompts is there under each of them too, whether it is true or not, shape [H, W].
    """

    image_id: int
    frame: int
    masks: Mapping[str, NDArray[np.bool_]]


def read_intervals(folder: Path) -> Intervals:
    """When prompts are true, from ``video_annotations.json``.

    Raises:
        InvalidDataset: it is missing or something else.
    """
    path = folder / INTERVALS
    found = read_object(path, error=InvalidDataset)
    try:
        return {
            label: {
                prompt: tuple((int(first), int(last)) for first, last in intervals)
                for prompt, intervals in prompts.items()
            }
            for label, prompts in found.items()
        }
    except (AttributeError, TypeError, ValueError) as error:
        raise InvalidDataset(f"'{path}' is not {{label: {{prompt: [[first, last], ...]}}}}: {error}") from error


def read_masks(folder: Path, *, first_frame: int = 1) -> list[AnnotatedFrame]:
    """Annotated frames, from ``train/_annotations.coco.json`` and the prompts of `read_intervals`.

    As in the original, only the first polygon of an annotation counts, and its vertices are cut to whole pixels.

    Args:
        folder: ``annotations`` of a scene.
        first_frame: what the first frame is called in names of files: 1 in HyperNeRF, 0 in Neu3D.

    Raises:
        InvalidDataset: a file is missing or something else.
    """
    path = folder / MASKS
    found = read_object(path, error=InvalidDataset)
    prompts = read_intervals(folder)
    try:
        names = {int(one["id"]): str(one["name"]) for one in found["categories"]}
        return [
            AnnotatedFrame(
                image_id=int(image["id"]),
                frame=int(str(image["file_name"]).split("_")[0]) - first_frame,
                masks=_with_prompts(_masks(image, found["annotations"], names), prompts),
            )
            for image in found["images"]
        ]
    except (KeyError, TypeError, ValueError, IndexError) as error:
        raise InvalidDataset(f"'{path}' is no COCO file of polygons: {type(error).__name__}: {error}") from error


def _masks(
    image: Mapping[str, Any], annotations: list[Mapping[str, Any]], names: Mapping[int, str]
) -> dict[str, NDArray[np.bool_]]:
    height, width = int(image["height"]), int(image["width"])
    if not 0 < height * width <= MAX_PIXELS:
        raise ValueError(f"an image of {width} x {height}; at most {MAX_PIXELS} pixels are read")
    masks: dict[str, NDArray[np.uint8]] = {}
    for annotation in annotations:
        if annotation["image_id"] == image["id"]:
            mask = masks.setdefault(names[annotation["category_id"]], np.zeros((height, width), np.uint8))
            polygon = np.asarray(annotation["segmentation"][0], np.float64).reshape(-1, 2)
            cv2.fillPoly(mask, [polygon.astype(np.int32)], 1)
    return {name: mask > 0 for name, mask in masks.items()}


def _with_prompts(masks: dict[str, NDArray[np.bool_]], prompts: Intervals) -> dict[str, NDArray[np.bool_]]:
    added = {prompt: masks[label] for label in prompts.keys() & masks.keys() for prompt in prompts[label]}
    return masks | added
