"""Where everything lies in a folder of the layout of Robo4D-200k, and which clips it has.

Layout: Kinema4D 2026 (arXiv 2603.16669). Beside what the original has there are ``clips/<name>.json`` with the facts of
a clip and ``pointmap_float/<name>.npz`` with its points as they were measured.
"""

import hashlib
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from enum import StrEnum
from pathlib import Path, PurePosixPath

from fourd_ros.data.episode import FILE_NAME
from fourd_ros.errors import InvalidDataset, InvalidParameter
from fourd_ros.whole_file import write_whole

TRAIN_LIST, TRAIN_IMAGE_LIST = "train_shuffled.txt", "train_img_shuffled.txt"
MANIFEST = "robo4d.json"

MAX_LIST_BYTES = 256 * 1024**2


class Stream(StrEnum):
    """What a clip has a film of; the name of its folder."""

    VIDEO = "videos"
    POINTMAP = "pointmap"
    ROBOT_VIDEO = "mask_videos"
    ROBOT_POINTMAP = "mask_pointmap"

    @property
    def of_points(self) -> bool:
        """Whether its colours are coordinates."""
        return self in (Stream.POINTMAP, Stream.ROBOT_POINTMAP)


LATENTS = {
    Stream.VIDEO: ("video_latents", ".safetensors"),
    Stream.POINTMAP: ("pointmap_latents", ".pt"),
    Stream.ROBOT_VIDEO: ("mask_video_latents", ".safetensors"),
    Stream.ROBOT_POINTMAP: ("mask_pointmap_latents", ".pt"),
}
"""Folder and ending of what becomes of each film."""

_FIRST_FRAMES, _MASKS, _MEASURED, _FACTS = "first_frames", "arm_masks_npy", "pointmap_float", "clips"


@dataclass(frozen=True)
class Robo4DFolder:
    """Paths in such a folder; nothing is read until it is asked for.

    Args:
        root: the folder.
    """

    root: Path

    def film(self, stream: Stream, name: str) -> Path:
        """The mp4 file of a stream."""
        return self._path(stream, name, ".mp4")

    def first_frame(self, name: str) -> Path:
        """The first picture, a PNG."""
        return self._path(_FIRST_FRAMES, name, ".png")

    def mask(self, name: str) -> Path:
        """Where the robot is, a NumPy array."""
        return self._path(_MASKS, name, ".npy")

    def latents(self, stream: Stream, name: str) -> Path:
        """Latents of a stream; those of colour also hold the tokens of the first frame."""
        folder, ending = LATENTS[stream]
        return self._path(folder, name, ending)

    def measured(self, name: str) -> Path:
        """Points in metres, without loss."""
        return self._path(_MEASURED, name, ".npz")

    def facts(self, name: str) -> Path:
        """Facts of a clip; written last, so a clip of ours is whole where they are."""
        return self._path(_FACTS, name, ".json")

    @property
    def manifest(self) -> Path:
        """Facts of the whole folder."""
        return self.root / MANIFEST

    def names_of(self, stream: Stream) -> set[str]:
        """Clips that have a film of that stream."""
        return self._names(stream, ".mp4")

    def names_with_facts(self) -> set[str]:
        """Clips that were written by this package, and whole."""
        return self._names(_FACTS, ".json")

    def names_with_latents(self) -> set[str]:
        """Clips with latents of all streams."""
        return set.intersection(*(self._names(folder, ending) for folder, ending in LATENTS.values()))

    def complete_names(self) -> tuple[list[str], dict[str, list[str]]]:
        """Names that have a film of every stream, and of all others the folders in which they are missing.

        Raises:
            InvalidDataset: there is not a single film.
        """
        by_stream = {stream: self.names_of(stream) for stream in Stream}
        every = sorted(set().union(*by_stream.values()))
        if not every:
            raise InvalidDataset(
                f"'{self.root}' has no films; needed are {', '.join(f'{stream}/<name>.mp4' for stream in Stream)}: "
                "'fourd data to-robo4d' makes them of episodes"
            )
        missing = {name: [str(stream) for stream in Stream if name not in by_stream[stream]] for name in every}
        return [name for name in every if not missing[name]], {name: where for name, where in missing.items() if where}

    def write_lists(self, names: Iterable[str]) -> None:
        """The lists that training reads, in an order that each name alone decides."""
        shuffled = sorted(names, key=_md5)
        for file, path in ((TRAIN_LIST, self._video), (TRAIN_IMAGE_LIST, self.first_frame)):
            lines = (path(name).relative_to(self.root).as_posix() for name in shuffled)
            write_whole(self.root / file, "".join(f"{line}\n" for line in lines))

    def _video(self, name: str) -> Path:
        return self.film(Stream.VIDEO, name)

    def _path(self, folder: str, name: str, ending: str) -> Path:
        return self.root / folder / f"{checked_name(name)}{ending}"

    def _names(self, folder: str, ending: str) -> set[str]:
        return {path.name.removesuffix(ending) for path in (self.root / folder).glob(f"[!.]*{ending}")}


def checked_name(name: str) -> str:
    """The name of a clip, seen to name a file of its folder and nothing else.

    Raises:
        InvalidDataset: it has other characters than letters, digits and ``_ . + = @ -``, or is too long.
    """
    if not FILE_NAME.fullmatch(name):
        raise InvalidDataset(f"'{name[:250]}' cannot name a clip; a name has letters, digits and _.+=@-, up to 200")
    return name


def read_list(path: Path) -> tuple[str, ...]:
    """Names in a list of films or of first frames, such as ``train_shuffled.txt``.

    Raises:
        InvalidDataset: missing, too large, or a line that is neither ``videos/<name>.mp4`` nor
            ``first_frames/<name>.png``.
    """
    try:
        if path.stat().st_size > MAX_LIST_BYTES:
            raise InvalidDataset(f"'{path}' has {path.stat().st_size} bytes; at most {MAX_LIST_BYTES} are read")
        lines = path.read_text(encoding="utf-8").splitlines()
    except (OSError, UnicodeDecodeError) as error:
        raise InvalidDataset(f"'{path}' is no list of clips: {error}") from error
    return tuple(_listed_name(line.strip(), path) for line in lines if line.strip())


def _listed_name(line: str, path: Path) -> str:
    listed = PurePosixPath(line)
    if (str(listed.parent), listed.suffix) not in ((str(Stream.VIDEO), ".mp4"), (_FIRST_FRAMES, ".png")):
        raise InvalidDataset(f"'{path}' has a line '{line[:250]}'; needed are lines such as {Stream.VIDEO}/<name>.mp4")
    return checked_name(listed.stem)


def shard_of(name: str, count: int) -> int:
    """Which of `count` workers a clip belongs to, as the original decides it: MD5 of the name, modulo."""
    return int.from_bytes(_md5(name), "big") % count


def _md5(name: str) -> bytes:
    return hashlib.md5(name.encode(), usedforsecurity=False).digest()


def names_of_shard(names: Sequence[str], shard: tuple[int, int]) -> list[str]:
    """Those of one worker.

    Args:
        names: of all clips.
        shard: number of the worker from 0, and how many there are.

    Raises:
        InvalidParameter: there is no such worker.
    """
    index, count = shard
    if not 0 <= index < count:
        raise InvalidParameter(f"shard {index} of {count}; needed is a number from 0 to {count - 1}")
    return [name for name in names if shard_of(name, count) == index]
