"""Masks of moving objects in files: written as DynamicVerse's segmentation stage does, read from it and from others.

Layout of a scene (sections 1 and 4 of the specification): ``segmentation/frames/{original,masks,overlay,segmented}``,
``segmentation/videos/*.mp4``, ``instance_labels.json``, ``result_summary.json``, and copies of the masks in
``qwen/Annotations``, where the bundle adjustment looks for them.
"""

import json
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray
from PIL import Image, UnidentifiedImageError

from fourd_ros.data.video import FORMATS, encode
from fourd_ros.errors import InvalidClip
from fourd_ros.reconstruction.clips.picture_files import write_picture
from fourd_ros.reconstruction.masks.instance_map import (
    InstanceMap,
    Pixels,
    numbers_of,
    overlay,
    paint,
    palette,
    segmented,
)
from fourd_ros.strict_json import read_object
from fourd_ros.whole_file import write_whole

SEGMENTATION, ANNOTATIONS = "segmentation", "qwen/Annotations"
LABELS, SUMMARY = "instance_labels.json", "result_summary.json"
KINDS = {"original": "jpg", "masks": "png", "segmented": "jpg", "overlay": "jpg"}

RATE = 30.0
"""Of the videos, as the original's driver has it [Hz]."""


def write_segmentation(
    scene: Path,
    *,
    rgb: Pixels,
    masks: InstanceMap,
    labels: Mapping[int, str],
    rate: float = RATE,
    official_compat: bool = False,
) -> None:
    """Write ``segmentation/`` and ``qwen/Annotations/`` of a scene; the labels last, which tell that it is whole.

    Args:
        scene: its folder.
        rgb: the frames, shape [F, H, W, 3].
        masks: number of the object at every pixel, 0 none, shape [F, H, W].
        labels: what the objects are called, by number.
        rate: of the videos [Hz].
        official_compat: colours that repeat with more than twelve objects, as DynamicVerse has them.

    Raises:
        InvalidClip: the shapes differ, or there are more objects than colours.
    """
    if masks.shape != rgb.shape[:3]:
        raise InvalidClip(f"masks of {list(masks.shape)} for frames of {list(rgb.shape)}")
    colours = palette(max(int(masks.max(initial=0)), *labels, 0), official_compat=official_compat)
    folder = scene / SEGMENTATION
    for number, (image, mask) in enumerate(zip(rgb, masks, strict=True)):
        painted = paint(mask, colours)
        _write_frame(folder, number, image, mask, colours)
        write_picture(scene / ANNOTATIONS / f"frame_{number:05d}.png", painted)
    _write_videos(folder, rgb, masks, colours, rate)
    named = {str(number): name for number, name in sorted(labels.items())}
    _write_json(folder / SUMMARY, summary(folder, frames=len(rgb), labels=named, rate=rate))
    _write_json(folder / LABELS, named)


def summary(folder: Path | str, *, frames: int, labels: Mapping[str, str], rate: float) -> dict[str, Any]:
    """``result_summary.json`` of a segmentation in `folder`."""
    return {
        "total_frames": frames,
        "total_instances": len(labels),
        "instance_labels": dict(labels),
        "video_fps": int(rate) if rate == int(rate) else rate,
        "output_structure": {
            "frames": {kind: f"{folder}/frames/{kind}" for kind in KINDS},
            "videos": {kind: f"{folder}/videos/{kind}.mp4" for kind in KINDS},
        },
    }


def is_segmented(scene: Path) -> bool:
    """Whether the segmentation of a scene is complete, by the original's rule."""
    folder = scene / SEGMENTATION
    frames = folder / "frames"
    return (
        (folder / LABELS).exists()
        and any(frames.glob("masks/*.png"))
        and any(path.stat().st_size for path in frames.glob("segmented/*.jpg"))
    )


def read_labels(scene: Path) -> dict[int, str]:
    """What the objects of a scene are called, by number.

    Raises:
        InvalidClip: the file is missing or no such list.
    """
    path = scene / SEGMENTATION / LABELS
    found = read_object(path, error=InvalidClip)
    if not all(key.isdecimal() and isinstance(name, str) for key, name in found.items()):
        raise InvalidClip(f'\'{path}\' must name objects by number, such as {{"1": "tall person"}}')
    return {int(key): name for key, name in found.items()}


def find_masks(scene: Path) -> Path | None:
    """Where a scene has masks: ``qwen/Annotations``, else ``segmentation/frames/masks``; None where it has none."""
    for folder in (scene / ANNOTATIONS, scene / SEGMENTATION / "frames" / "masks"):
        if any(folder.glob("*.png")) or any(folder.glob("*.npy")):
            return folder
    return None


def read_masks(path: Path, *, frames: int, width: int, height: int) -> InstanceMap:
    """Masks of a clip.

    Args:
        path: a folder with a file for every frame, in the order of their names, or one array file for all: pictures
            in colour (see `numbers_of`), grey pictures of 8 or 16 bits or with a table of colours (their values are
            the numbers), or ``.npy`` arrays of whole numbers.
        frames: of the clip.
        width: of a frame [px].
        height: of a frame [px].

    Returns:
        Number of the object at every pixel, 0 none, shape [frames, height, width].

    Raises:
        InvalidClip: another count or size, values that are no numbers of objects, or a damaged file.
    """
    if path.is_file():
        return _numbers(_array(path), (frames, height, width), path)
    files = sorted([*path.glob("*.png"), *path.glob("*.npy")])
    if len(files) != frames:
        raise InvalidClip(f"'{path}' has masks of {len(files)} frames, the clip has {frames}")
    images = [_array(file) if file.suffix == ".npy" else _picture(file, (width, height)) for file in files]
    for file, image in zip(files, images, strict=True):
        if image.shape[:2] != (height, width) or image.ndim != images[0].ndim:
            raise InvalidClip(f"'{file}' has the shape {list(image.shape)}, needed is {height} x {width}, alike in all")
    stack = np.stack(images)
    return numbers_of(stack) if stack.ndim == 4 else _numbers(stack, (frames, height, width), path)


def _write_frame(folder: Path, number: int, image: Pixels, mask: InstanceMap, colours: Pixels) -> None:
    for kind, ending in KINDS.items():
        pixels = _drawn(kind, image, mask, colours)
        write_picture(folder / "frames" / kind / f"frame_{number:05d}.{ending}", pixels)


def _write_videos(folder: Path, rgb: Pixels, masks: InstanceMap, colours: Pixels, rate: float) -> None:
    halves = rgb.shape[1] % 2 == 0 and rgb.shape[2] % 2 == 0
    video = FORMATS["compatible" if halves else "faithful"]  # a quarter of the colour needs even sizes
    for kind in KINDS:
        pictures = (_drawn(kind, image, mask, colours) for image, mask in zip(rgb, masks, strict=True))
        encode(pictures, folder / "videos" / f"{kind}.mp4", rate=rate, video=video)


def _drawn(kind: str, image: Pixels, mask: InstanceMap, colours: Pixels) -> Pixels:
    match kind:
        case "masks":
            return paint(mask, colours)
        case "overlay":
            return overlay(image, mask, colours)
        case "segmented":
            return segmented(image, mask)
    return image


def _write_json(path: Path, value: Mapping[str, Any]) -> None:
    write_whole(path, json.dumps(value, indent=2, ensure_ascii=False) + "\n")


def _array(path: Path) -> NDArray[Any]:
    try:
        return np.asarray(np.load(path, mmap_mode="r", allow_pickle=False))
    except (OSError, ValueError, EOFError) as error:
        raise InvalidClip(f"'{path}' is no readable array file: {error}") from error


def _picture(path: Path, size: tuple[int, int]) -> NDArray[Any]:
    """Colour as [H, W, 3], everything else as values [H, W]; nothing of another size is decoded."""
    try:
        with Image.open(path, formats=("PNG",)) as image:
            if image.size != size:
                raise InvalidClip(
                    f"'{path}' has {image.width} x {image.height} pixels, needed are {size[0]} x {size[1]}"
                )
            if image.mode in ("RGB", "RGBA"):
                return np.asarray(image.convert("RGB"))
            if image.mode not in ("1", "L", "P", "I", "I;16"):
                raise InvalidClip(f"'{path}' has pixels '{image.mode}'; needed is colour or grey")
            return np.asarray(image).astype(np.int32)
    except (OSError, UnidentifiedImageError, ValueError, SyntaxError) as error:
        raise InvalidClip(f"'{path}' is no readable PNG: {error}") from error


def _numbers(values: NDArray[Any], shape: tuple[int, ...], path: Path) -> InstanceMap:
    if values.shape != shape or values.dtype.kind not in "biu":
        given = f"{values.dtype} {list(values.shape)}"
        raise InvalidClip(f"'{path}' holds {given}, needed are whole numbers {list(shape)}")
    if values.min() < 0 or values.max() > np.iinfo(np.int32).max:
        raise InvalidClip(f"'{path}' holds {values.min()} to {values.max()}; objects have numbers from 1, 0 is none")
    return values.astype(np.int32)
