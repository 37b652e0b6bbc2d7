"""A video made ready for reconstruction: its folder, written picture by picture and read back.

Layout (COM4D, arXiv 2512.05272, sections 2 and 11 of the specification this was written from): ``frames/`` and
``frames_no_bg/`` with ``000012.jpg`` or ``.png``, ``masks/`` of moving objects and ``masks_static/`` of those at rest
with ``000012_object_001.png`` (0 or 255) and ``object_labels.txt``. Beyond it ``depth/`` (16-bit PNG, millimetres, 0
unknown) where depth is known, and ``preparation.json``, which is written last.
"""

import re
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import cv2
import numpy as np
from numpy.typing import NDArray
from PIL import Image, UnidentifiedImageError

from fourd_ros.errors import InvalidCamera, InvalidClip
from fourd_ros.geometry.camera import PinholeCamera
from fourd_ros.strict_json import read_object
from fourd_ros.whole_file import whole_file, write_whole

__all__ = [
    "DEPTH",
    "FACTS",
    "FRAMES",
    "FRAMES_NO_BG",
    "MASKS",
    "MASKS_STATIC",
    "PreparedClip",
    "mask_name",
    "read_prepared",
    "write_depth",
    "write_labels",
    "write_pixels",
]

Pixels = NDArray[np.uint8]

FRAMES, FRAMES_NO_BG, MASKS, MASKS_STATIC, DEPTH = "frames", "frames_no_bg", "masks", "masks_static", "depth"
FACTS, LABELS = "preparation.json", "object_labels.txt"
ENDINGS = frozenset({".png", ".jpg", ".jpeg", ".bmp", ".webp"})
MAX_PIXELS = 8192 * 8192
MAX_LABEL_BYTES = 1_000_000
JPEG_QUALITY = 95

_MASK = re.compile(r"(.*?)_?object_(\d{3,6})")
_MILLIMETRE = 0.001
_FARTHEST = 65.535


@dataclass(frozen=True, kw_only=True)
class PreparedClip:
    """The files of a prepared video; pictures are read as they are asked for.

    Args:
        folder: of the clip.
        frames: files of the frames, sorted by name.
        moving: files of the masks of each moving object, by its number and the name of the frame.
        static: likewise of the objects at rest.
        labels: what objects are called, by whether they move and by number.
        facts: of ``preparation.json``; empty where another program made the folder.
    """

    folder: Path
    frames: tuple[Path, ...]
    moving: Mapping[int, Mapping[str, Path]]
    static: Mapping[int, Mapping[str, Path]]
    labels: Mapping[tuple[bool, int], str] = field(default_factory=dict)
    facts: Mapping[str, Any] = field(default_factory=dict)

    @property
    def camera(self) -> PinholeCamera | None:
        """Of the prepared pictures, where the source had a calibration."""
        if self.facts.get("K") is None:
            return None
        try:
            side = int(self.facts["size"])
            return PinholeCamera(
                width=side,
                height=side,
                K=np.array(self.facts["K"], np.float64).reshape(3, 3),
                distortion_model=str(self.facts["distortion_model"]),
                distortion=np.array(self.facts["distortion"], np.float64),
            )
        except (KeyError, TypeError, ValueError) as error:
            raise InvalidCamera(f"'{self.folder / FACTS}' holds no calibration: {error}") from error

    def rgb(self, index: int) -> Pixels:
        """Colour of a frame, shape [H, W, 3]."""
        return _read(self.frames[index], "RGB")

    def mask(self, number: int, index: int, *, moving: bool) -> Pixels:
        """Where an object shows in a frame, 0 to 255, shape [H, W]; nothing where it has no file.

        Raises:
            InvalidClip: the object is not there, or its mask is of another size than the frame.
        """
        objects = self.moving if moving else self.static
        if number not in objects:
            raise InvalidClip(f"'{self.folder}' has no object {number}; it has {sorted(objects)}")
        size = _size(self.frames[index])
        path = objects[number].get(self.frames[index].stem)
        if path is None:
            return np.zeros(size[::-1], np.uint8)
        if _size(path) != size:
            given, needed = (f"{one[0]} x {one[1]}" for one in (_size(path), size))
            raise InvalidClip(f"'{path}' has {given} pixels, its frame has {needed}")
        return _read(path, "L")

    def depth(self, index: int) -> NDArray[np.float32] | None:
        """Z-depth of a frame [m], NaN where unknown, shape [H, W]; None where none is known.

        Raises:
            InvalidClip: a damaged file, or one of another size than the frame.
        """
        path = self.folder / DEPTH / f"{self.frames[index].stem}.png"
        if not path.is_file():
            return None
        steps = cv2.imread(str(path), cv2.IMREAD_UNCHANGED)
        size = _size(self.frames[index])[::-1]
        if steps is None or steps.dtype != np.uint16 or steps.shape != size:
            raise InvalidClip(f"'{path}' is no depth of {size[1]} x {size[0]} pixels in millimetres as 16-bit PNG")
        return np.where(steps > 0, steps * np.float32(_MILLIMETRE), np.float32(np.nan)).astype(np.float32)


def read_prepared(folder: Path | str) -> PreparedClip:
    """The prepared video in a folder, of this package or of others with the same layout.

    Objects may have any number, and masks may be missing in frames where an object is hidden.

    Raises:
        InvalidClip: no frames, no masks of moving objects, or masks of frames that are not there.
    """
    folder = Path(folder)
    frames = _pictures(folder / FRAMES)
    if not frames:
        raise InvalidClip(f"'{folder}' has no pictures in {FRAMES}/; make it with: fourd prepare-video VIDEO --out DIR")
    names = {path.stem for path in frames}
    if len(names) < len(frames):
        raise InvalidClip(f"'{folder / FRAMES}' has several pictures of one name")
    moving, static = (_masks(folder / kind, names) for kind in (MASKS, MASKS_STATIC))
    if not moving and not static:
        raise InvalidClip(f"'{folder}' has no masks; needed are {MASKS}/ or {MASKS_STATIC}/ with *_object_001.png")
    facts = read_object(folder / FACTS, error=InvalidClip) if (folder / FACTS).is_file() else {}
    labels = {
        (moves, number): label
        for moves, kind in ((True, MASKS), (False, MASKS_STATIC))
        for number, label in _labels(folder / kind / LABELS).items()
    }
    return PreparedClip(folder=folder, frames=tuple(frames), moving=moving, static=static, labels=labels, facts=facts)


def mask_name(frame: str, number: int) -> str:
    """File name of the mask of an object in a frame."""
    return f"{frame}_object_{number:03d}.png"


def write_pixels(path: Path, pixels: Pixels) -> None:
    """Write colour [H, W, 3] or grey [H, W] as the ending of `path` says, whole or not at all."""
    options = [cv2.IMWRITE_JPEG_QUALITY, JPEG_QUALITY] if path.suffix == ".jpg" else [cv2.IMWRITE_PNG_COMPRESSION, 3]
    done, data = cv2.imencode(path.suffix, pixels[..., ::-1] if pixels.ndim == 3 else pixels, options)
    if not done:
        raise InvalidClip(f"{pixels.dtype} {list(pixels.shape)} cannot be written as '{path}'")
    with whole_file(path) as file:
        file.write(bytes(np.asarray(data)))


def write_depth(path: Path, depth: NDArray[np.float32]) -> None:
    """Write depth [m] in millimetres as 16-bit PNG, 0 where it is unknown or beyond 65.5 m."""
    known = np.isfinite(depth) & (depth > 0) & (depth < _FARTHEST)
    steps = np.where(known, np.rint(np.where(known, depth, 0) / _MILLIMETRE), 0).astype(np.uint16)
    done, data = cv2.imencode(".png", steps)
    assert done
    with whole_file(path) as file:
        file.write(bytes(np.asarray(data)))


def write_labels(folder: Path, labels: Mapping[int, str]) -> None:
    """Write ``object_labels.txt``: a number, a tabulator and a label a line."""
    lines = (f"{number}\t{' '.join(label.split()) or 'object'}\n" for number, label in sorted(labels.items()))
    write_whole(folder / LABELS, "".join(lines))


def _pictures(folder: Path) -> list[Path]:
    return sorted(path for path in folder.glob("*") if path.suffix.lower() in ENDINGS and path.is_file())


def _masks(folder: Path, frames: Iterable[str]) -> dict[int, dict[str, Path]]:
    """Files by object and name of the frame."""
    known = set(frames)
    found: dict[int, dict[str, Path]] = {}
    for path in _pictures(folder):
        match = _MASK.fullmatch(path.stem)
        if match is None:
            raise InvalidClip(f"'{path}' is named otherwise than masks are: 000012_object_001.png")
        if match[1] not in known:
            raise InvalidClip(f"'{path}' is the mask of a frame '{match[1]}', which is not in {FRAMES}/")
        found.setdefault(int(match[2]), {})[match[1]] = path
    return dict(sorted(found.items()))


def _labels(path: Path) -> dict[int, str]:
    if not path.is_file():
        return {}
    if path.stat().st_size > MAX_LABEL_BYTES:
        raise InvalidClip(f"'{path}' is larger than {MAX_LABEL_BYTES} bytes, no list of labels")
    labels = {}
    for line in path.read_text(encoding="utf-8", errors="replace").splitlines():
        number, _, label = line.partition("\t")
        if line.strip():
            if not number.isdecimal():
                raise InvalidClip(f"'{path}' has the line '{line[:80]}'; needed is a number, a tabulator, a label")
            labels[int(number)] = label
    return labels


def _size(path: Path) -> tuple[int, int]:
    """Width and height without decoding."""
    try:
        with Image.open(path) as image:
            return image.size
    except (OSError, UnidentifiedImageError, ValueError, SyntaxError, Image.DecompressionBombError) as error:
        raise InvalidClip(f"'{path}' is no readable picture: {error}") from error


def _read(path: Path, mode: str) -> Pixels:
    try:
        with Image.open(path) as image:
            if image.width * image.height > MAX_PIXELS:
                raise InvalidClip(f"'{path}' has {image.width} x {image.height} pixels; at most {MAX_PIXELS} are read")
            return np.asarray(image.convert(mode), np.uint8)
    except (OSError, UnidentifiedImageError, ValueError, SyntaxError, Image.DecompressionBombError) as error:
        raise InvalidClip(f"'{path}' is no readable picture: {error}") from error
