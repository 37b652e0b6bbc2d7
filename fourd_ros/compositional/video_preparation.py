"""A video becomes a prepared clip: square frames, masks of every object, background away, everything centred.

Rules: COM4D (arXiv 2512.05272), sections 11 and 15 of the specification this was written from, mended where section 13
names defects: frames without masks stay (all white without background), so that no frame shifts; objects may appear at
any time; a JPEG is encoded once, from pictures that were kept without loss.
"""

import json
import shutil
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any, Literal, overload

import cv2
import numpy as np
from numpy.typing import NDArray

from fourd_ros.compositional.object_pictures import (
    WHITE,
    centring_offset,
    padded_to_square,
    resized,
    resized_mask,
    shifted,
    without_background,
)
from fourd_ros.compositional.prepared_clip import (
    DEPTH,
    FACTS,
    FRAMES,
    FRAMES_NO_BG,
    MASKS,
    MASKS_STATIC,
    mask_name,
    write_depth,
    write_labels,
    write_pixels,
)
from fourd_ros.compositional.segmentation.segmenter import Footage, SegmentedObject, Segmenter
from fourd_ros.data.array_archive import ArchiveKind
from fourd_ros.errors import AlreadyExists, InvalidClip, InvalidParameter
from fourd_ros.geometry.camera import PinholeCamera
from fourd_ros.strict_json import read_object
from fourd_ros.whole_file import write_whole

__all__ = ["PreparationOptions", "SourceClip", "prepare_video"]

Pixels = NDArray[np.uint8]
Progress = Callable[[str, float], None]

FORMAT = 1
WORK = "work"
"""Folder of what is needed until the clip is whole: frames without loss, masks before centring."""

MAX_SIZE = 4096
_SEGMENTED = ArchiveKind(
    what="a segmentation of a video",
    made_by="remove the folder work/",
    error=InvalidClip,
    facts="objects.json",
    version=1,
)


@dataclass(frozen=True, kw_only=True)
class PreparationOptions:
    """How a video is prepared.

    Args:
        size: side of the square frames [px].
        pictures: ``jpg`` as COM4D has them, or ``png`` without loss; masks are always PNG.
        centred: move everything so that the objects of all frames are in the middle.

    Raises:
        InvalidParameter: a value out of range.
    """

    size: int = 768
    pictures: Literal["jpg", "png"] = "jpg"
    centred: bool = True

    def __post_init__(self) -> None:
        if not 16 <= self.size <= MAX_SIZE or self.pictures not in ("jpg", "png"):
            raise InvalidParameter(
                f"size {self.size} and pictures '{self.pictures}'; needed: 16 to {MAX_SIZE}, jpg or png"
            )


@dataclass(frozen=True, kw_only=True, eq=False)
class SourceClip:
    """What is prepared.

    Args:
        name: of the source, for ``preparation.json``.
        indices: of the frames in their source, by which files are named, increasing, shape [F].
        stamps_ns: when they were taken [ns], shape [F].
        rgb: colour, shape [F, H, W, 3], uint8.
        depth: z-depth [m], NaN where unknown, shape [F, H, W]; None where there is none.
        camera: calibration of the frames as they are here; None where it is unknown.

    Raises:
        InvalidClip: no frames, or shapes that contradict each other.
    """

    name: str
    indices: Sequence[int]
    stamps_ns: Sequence[int]
    rgb: Pixels
    depth: NDArray[np.float32] | None = None
    camera: PinholeCamera | None = None

    def __post_init__(self) -> None:
        frames = len(self.rgb)
        if self.rgb.ndim != 4 or self.rgb.dtype != np.uint8 or not frames:
            raise InvalidClip(f"frames are {self.rgb.dtype} {list(self.rgb.shape)}; needed is uint8 [F, H, W, 3]")
        if len(self.indices) != frames or len(self.stamps_ns) != frames or (np.diff(self.indices) <= 0).any():
            raise InvalidClip(f"{frames} frames need as many increasing indices and stamps")
        if self.depth is not None and self.depth.shape != self.rgb.shape[:3]:
            raise InvalidClip(f"depth is {list(self.depth.shape)}, the frames are {list(self.rgb.shape[:3])}")

    @property
    def names(self) -> list[str]:
        """Of the frames in files."""
        return [f"{index:06d}" for index in self.indices]


def prepare_video(
    source: SourceClip,
    folder: Path | str,
    *,
    segmenter: Segmenter,
    options: PreparationOptions | None = None,
    recipe: Mapping[str, Any],
    progress: Progress = lambda stage, share: None,
) -> dict[str, Any]:
    """Prepare a video, or go on where it was stopped; what is whole is not made again.

    Args:
        source: the frames.
        folder: of the prepared clip; made where it is missing.
        segmenter: finds the objects.
        options: sizes and formats.
        recipe: what else decides about the result, for JSON: the segmenter's name and options; a folder that was begun
            with another one is left alone.
        progress: is told the stage and the share of it that is done.

    Returns:
        The contents of ``preparation.json``.

    Raises:
        AlreadyExists: the folder holds something else, or a clip prepared otherwise.
        InvalidClip: the segmenter finds no object, or what it needs is missing.
    """
    folder, options = Path(folder), options or PreparationOptions()
    claim = _claim(source, options, recipe)
    if (done := _begin(folder, claim)) is not None:
        return done
    work = folder / WORK
    frames = _square_frames(source, options.size, work / FRAMES, progress)
    objects = _objects(source, frames, segmenter, work, progress)
    offset = centring_offset(_seen_anywhere(objects)) if options.centred else (0, 0)
    _write_clip(folder, source, frames, objects, offset, options, progress)
    facts = claim | _result(source, objects, offset, options.size)
    write_whole(folder / FACTS, json.dumps(facts, indent=1) + "\n")
    shutil.rmtree(work)
    return facts


def _claim(source: SourceClip, options: PreparationOptions, recipe: Mapping[str, Any]) -> dict[str, Any]:
    """What a folder was begun with."""
    height, width = source.rgb.shape[1:3]
    claim = {
        "format": FORMAT,
        "source": source.name,
        "source_size": [width, height],
        "indices": [int(index) for index in source.indices],
        **asdict(options),
        "recipe": dict(recipe),
    }
    result: dict[str, Any] = json.loads(json.dumps(claim))
    return result


def _begin(folder: Path, claim: dict[str, Any]) -> dict[str, Any] | None:
    """Note what a folder is for; the facts of one that is whole already."""
    for path in (folder / FACTS, folder / WORK / FACTS):
        if path.is_file():
            found = read_object(path, error=InvalidClip)
            other = sorted(key for key in claim if found.get(key) != claim[key])
            if other:
                raise AlreadyExists(
                    f"'{folder}' holds a clip prepared with other {', '.join(other)}; name another folder or remove it"
                )
            return found if path.parent == folder else None
    if folder.exists() and any(folder.iterdir()):
        raise AlreadyExists(f"'{folder}' is not empty and holds no clip that was prepared here; name another folder")
    write_whole(folder / WORK / FACTS, json.dumps(claim) + "\n")
    return None


class _Pictures(Sequence[Pixels]):
    """Pictures in files, read as they are asked for."""

    def __init__(self, paths: Sequence[Path]) -> None:
        self._paths = paths

    def __len__(self) -> int:
        return len(self._paths)

    @overload
    def __getitem__(self, index: int) -> Pixels: ...
    @overload
    def __getitem__(self, index: slice) -> Sequence[Pixels]: ...
    def __getitem__(self, index: int | slice) -> Pixels | Sequence[Pixels]:
        if isinstance(index, slice):
            return _Pictures(self._paths[index])
        picture = cv2.imread(str(self._paths[index]), cv2.IMREAD_COLOR)
        if picture is None:
            raise InvalidClip(f"'{self._paths[index]}' is damaged; remove the folder {WORK}/ and begin again")
        return np.ascontiguousarray(picture[..., ::-1], np.uint8)


def _square_frames(source: SourceClip, size: int, folder: Path, progress: Progress) -> _Pictures:
    paths = [folder / f"{name}.png" for name in source.names]
    for number, (path, rgb) in enumerate(zip(paths, source.rgb, strict=True), start=1):
        if not path.is_file():
            write_pixels(path, resized(padded_to_square(rgb, fill=WHITE), width=size, height=size))
        progress("frames", number / len(paths))
    return _Pictures(paths)


def _square_depth(source: SourceClip, size: int) -> list[NDArray[np.float32]] | None:
    if source.depth is None:
        return None
    squares = (padded_to_square(depth, fill=np.float32(np.nan)) for depth in source.depth)
    return [resized_mask(square, width=size, height=size) for square in squares]


def _objects(
    source: SourceClip, frames: _Pictures, segmenter: Segmenter, work: Path, progress: Progress
) -> tuple[SegmentedObject, ...]:
    """Of the segmenter, or of an earlier run that was stopped later."""
    path = work / "segmentation.npz"
    if path.is_file():
        return tuple(_read_objects(path))
    size = len(frames[0])
    footage = Footage(
        rgb=frames,
        depth=_square_depth(source, size),
        camera=_square_camera(source, size, (0, 0)),
        source_size=(source.rgb.shape[1], source.rgb.shape[2]),
    )
    objects = segmenter.segment(footage, progress=lambda share: progress("objects", share))
    if not objects:
        raise InvalidClip("no object was found in any frame; give masks, or look with another segmenter")
    listed = [{"number": one.number, "label": one.label, "moves": one.moves} for one in objects]
    masks = {f"masks_{one.number}": np.packbits(one.masks, axis=-1) for one in objects}
    _SEGMENTED.write(path, {"objects": listed, "size": size}, masks)
    return objects


def _read_objects(path: Path) -> Iterator[SegmentedObject]:
    with _SEGMENTED.open(path) as archive:
        facts = archive.facts()
        for one in facts["objects"]:
            masks = np.unpackbits(archive.read(f"masks_{one['number']}"), axis=-1, count=facts["size"]).astype(bool)
            yield SegmentedObject(number=one["number"], label=one["label"], moves=one["moves"], masks=masks)


def _seen_anywhere(objects: Iterable[SegmentedObject]) -> NDArray[np.bool_]:
    masks = (one.mask(frame) for one in objects for frame in range(one.frames))
    return np.asarray(np.logical_or.reduce(list(masks)), np.bool_)


def _write_clip(
    folder: Path,
    source: SourceClip,
    frames: _Pictures,
    objects: Sequence[SegmentedObject],
    offset: tuple[int, int],
    options: PreparationOptions,
    progress: Progress,
) -> None:
    depth = _square_depth(source, options.size)
    for number, name in enumerate(source.names):
        rgb = frames[number]
        masks = {one: (one.mask(number) * np.uint8(255)).astype(np.uint8) for one in objects}
        shown = np.maximum.reduce(list(masks.values()))
        for kind, picture in ((FRAMES, rgb), (FRAMES_NO_BG, without_background(rgb, shown))):
            write_pixels(folder / kind / f"{name}.{options.pictures}", shifted(picture, offset, fill=WHITE))
        for one, mask in masks.items():
            kind = MASKS if one.moves else MASKS_STATIC
            write_pixels(folder / kind / mask_name(name, one.number), shifted(mask, offset, fill=0))
        if depth is not None:
            write_depth(folder / DEPTH / f"{name}.png", shifted(depth[number], offset, fill=np.nan))
        progress("files", (number + 1) / len(frames))
    for moves, kind in ((True, MASKS), (False, MASKS_STATIC)):
        if labels := {one.number: one.label for one in objects if one.moves == moves}:
            write_labels(folder / kind, labels)


def _result(
    source: SourceClip, objects: Sequence[SegmentedObject], offset: tuple[int, int], size: int
) -> dict[str, Any]:
    camera = _square_camera(source, size, offset)
    return {
        "stamps_ns": [int(stamp) for stamp in source.stamps_ns],
        "offset": list(offset),
        "K": None if camera is None else camera.K.tolist(),
        "distortion_model": None if camera is None else camera.distortion_model,
        "distortion": None if camera is None else camera.distortion.tolist(),
        "moving": [one.number for one in objects if one.moves],
        "static": [one.number for one in objects if not one.moves],
        "frames_seen": {
            str(one.number): sum(bool(one.mask(frame).any()) for frame in range(one.frames)) for one in objects
        },
    }


def _square_camera(source: SourceClip, size: int, offset: tuple[int, int]) -> PinholeCamera | None:
    """The calibration after padding, scaling and moving; pixel centres are at whole numbers before and after."""
    if source.camera is None:
        return None
    height, width = source.rgb.shape[1:3]
    side = max(height, width)
    scale = size / side
    K = source.camera.K.copy()
    K[0, 2] = (K[0, 2] + (side - width) // 2 + 0.5) * scale - 0.5 + offset[0]
    K[1, 2] = (K[1, 2] + (side - height) // 2 + 0.5) * scale - 0.5 + offset[1]
    K[0, :2] *= scale
    K[1, 1] *= scale
    return PinholeCamera(
        width=size,
        height=size,
        K=K,
        distortion_model=source.camera.distortion_model,
        distortion=source.camera.distortion,
    )
