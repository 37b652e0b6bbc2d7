"""Where the robot is in a clip: made from the film of the robot alone, whose background is black.

The original takes whatever is not exactly black, and the first frames of a long film, while its latents are of the
middle ones. Here masks are cut in time and space as the latents are, unless the rule of the original is asked for.
Source of that rule: Kinema4D 2026 (arXiv 2603.16669), written from a specification.
"""

from collections.abc import Iterator
from dataclasses import asdict, dataclass
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from fourd_ros.data.robo4d_films import read_film
from fourd_ros.data.robo4d_folder import Robo4DFolder, Stream, names_of_shard
from fourd_ros.data.robo4d_preparation import (
    FRAMES,
    HEIGHT,
    WIDTH,
    check_clip_size,
    pad_or_crop_temporal,
    resize_centre_crop,
)
from fourd_ros.data.robo4d_work import ClipOutcome, claim, run_on_clips
from fourd_ros.errors import FourdError, InvalidDataset, InvalidParameter
from fourd_ros.whole_file import whole_file

Mask = NDArray[np.uint8]

MAX_MASK_BYTES = 1024**3
NOTE = "robot_masks.json"


@dataclass(frozen=True, kw_only=True)
class MaskOptions:
    """How masks are made.

    Args:
        frames: of a mask.
        height: of a mask, unless `official`.
        width: of a mask, unless `official`.
        threshold: a pixel is the robot's where a channel is above it; 0 is the rule of the original, more is for
            films whose compression has left a rim around the robot.
        official: the first frames instead of the middle ones, at the size of the film.

    Raises:
        InvalidParameter: a size that cannot be encoded, or a threshold that no pixel or every pixel exceeds.
    """

    frames: int = FRAMES
    height: int = HEIGHT
    width: int = WIDTH
    threshold: int = 0
    official: bool = False

    def __post_init__(self) -> None:
        check_clip_size(self.frames, self.height, self.width)
        if not 0 <= self.threshold < 255:
            raise InvalidParameter(f"a threshold of {self.threshold}; needed is a number from 0 to 254")


def occupancy(pictures: NDArray[np.uint8], *, threshold: int = 0) -> Mask:
    """1 where any channel exceeds the threshold, 0 elsewhere, shape [T, H, W, C] -> [T, H, W, 1]."""
    return np.asarray(np.any(pictures > threshold, axis=-1, keepdims=True), np.uint8)


def first_frames(mask: Mask, count: int) -> Mask:
    """The first `count` frames; fewer go on backwards from the last one, once, so to 2 T frames at most."""
    return pad_or_crop_temporal(mask[:count], count)


def make_mask(pictures: NDArray[np.uint8], options: MaskOptions) -> Mask:
    """The mask of a film of the robot alone.

    Args:
        pictures: shape [T, H, W, 3].
        options: how.

    Returns:
        0 or 1, shape [frames, height, width, 1]; with ``official`` the size is that of the film.

    Raises:
        InvalidDataset: the film is so short that even there and back it has too few frames (not with ``official``).
    """
    mask = occupancy(pictures, threshold=options.threshold)
    if options.official:
        return first_frames(mask, options.frames)
    if 2 * len(mask) < options.frames:
        raise InvalidDataset(
            f"{len(mask)} frames, there and back {2 * len(mask)}; needed are {options.frames}, or fewer with --frames"
        )
    sized = resize_centre_crop(mask, (options.height, options.width), "nearest")
    return pad_or_crop_temporal(sized, options.frames)


def write_mask(mask: Mask, path: Path) -> None:
    """Write a mask, whole or not at all."""
    with whole_file(path) as file:
        np.lib.format.write_array(file, np.ascontiguousarray(mask), allow_pickle=False)


def read_mask(path: Path, *, max_bytes: int = MAX_MASK_BYTES) -> Mask:
    """A mask of shape [T, H, W, 1], mapped from its file.

    Raises:
        InvalidDataset: missing, truncated, too large, or no mask.
    """
    try:
        mask = np.load(path, mmap_mode="r", allow_pickle=False)
    except (OSError, ValueError, EOFError) as error:
        raise InvalidDataset(f"'{path}' is no mask: {error}; 'fourd data robot-masks' makes it") from error
    if not isinstance(mask, np.ndarray) or mask.dtype != np.uint8 or mask.ndim != 4 or mask.shape[-1] != 1:
        raise InvalidDataset(f"'{path}' is no mask; needed is uint8 [T, H, W, 1]")
    if not 0 < mask.nbytes <= max_bytes:
        raise InvalidDataset(f"'{path}' has {mask.nbytes} bytes; allowed are 1 to {max_bytes}")
    return mask


def prepare_masks(
    folder: Robo4DFolder,
    options: MaskOptions,
    *,
    shard: tuple[int, int] = (0, 1),
    workers: int = 1,
    ray: bool = False,
    address: str | None = None,
) -> tuple[int, Iterator[ClipOutcome]]:
    """Make the masks that are missing or damaged; those that were made from the rendering itself stay.

    Args:
        folder: with films of the robot.
        options: how.
        shard: which share of the clips, and of how many.
        workers: processes.
        ray: work in Ray tasks.
        address: of a Ray cluster.

    Returns:
        How many clips there are in the share, and what became of each, as it is done.

    Raises:
        InvalidDataset: there is no film of a robot, or masks were made with other options.
        InvalidParameter: there is no such share.
    """
    names = sorted(folder.names_of(Stream.ROBOT_VIDEO))
    if not names:
        where = folder.root / Stream.ROBOT_VIDEO
        raise InvalidDataset(f"'{where}' has no films; 'fourd data to-robo4d' makes them of episodes")
    rendered = folder.names_with_facts()
    if not rendered.issuperset(names):
        claim(folder.root / NOTE, asdict(options), what="masks")
    jobs = [MaskJob(name=name, folder=folder, options=options) for name in names_of_shard(names, shard)]
    return len(jobs), run_on_clips(_prepare, jobs, workers=workers, ray=ray, address=address)


@dataclass(frozen=True, kw_only=True)
class MaskJob:
    """The mask of one clip; see `prepare_masks`."""

    name: str
    folder: Robo4DFolder
    options: MaskOptions


def _prepare(job: MaskJob) -> ClipOutcome:
    film = job.folder.film(Stream.ROBOT_VIDEO, job.name)
    try:
        path = job.folder.mask(job.name)
        if _is_whole(path):
            return ClipOutcome(name=job.name)
        write_mask(make_mask(read_film(film), job.options), path)
    except FourdError as error:
        return ClipOutcome(name=job.name, problem=str(error) if str(film) in str(error) else f"'{film}': {error}")
    return ClipOutcome(name=job.name, made=True)


def _is_whole(path: Path) -> bool:
    try:
        read_mask(path)
    except InvalidDataset:
        return False
    return True
