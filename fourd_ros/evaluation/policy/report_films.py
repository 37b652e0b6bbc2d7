"""Films of a report: what was imagined beside what happened, agreements and disagreements, within a budget."""

import tempfile
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from itertools import chain, zip_longest
from pathlib import Path

import numpy as np

from fourd_ros.data.video import FORMATS, decode, describe, encode
from fourd_ros.errors import InvalidImage, TooLarge
from fourd_ros.evaluation.policy.units import Unit, UnitResult
from fourd_ros.records import Pixels

FILM = replace(FORMATS["compatible"], crf=26, options=(*FORMATS["compatible"].options, ("g", "50")))
"""Plays in every browser; small, since nobody jumps about in a few seconds."""

GAP = 4
"""Pixels between both halves."""

MAX_SIDE = 1024
"""Largest height or width of a video that is shown [px]."""

FALSE_SUCCESS, MISSED_SUCCESS, AGREED_SUCCESS, AGREED_FAILURE = (
    "imagined success, true failure",
    "imagined failure, true success",
    "success in both",
    "failure in both",
)
KINDS = (FALSE_SUCCESS, MISSED_SUCCESS, AGREED_SUCCESS, AGREED_FAILURE)
"""Disagreements come first."""


@dataclass(frozen=True, kw_only=True, eq=False)
class UnitVideo:
    """Two short videos of one unit.

    Args:
        unit: what was tried.
        imagined: colour, shape [T, H, W, 3], uint8, or an mp4 file.
        true: the same; both may differ in size and length.
        rate: pictures a second of both [Hz].
    """

    unit: Unit
    imagined: Pixels | Path
    true: Pixels | Path
    rate: float


@dataclass(frozen=True, kw_only=True)
class PairOfFilms:
    """Both videos of a unit in one: imagined on the left, true on the right.

    Args:
        unit: what was tried.
        kind: one of `KINDS`.
        mp4: of the film.
    """

    unit: Unit
    kind: str
    mp4: bytes


def make_films(
    videos: Iterable[UnitVideo], results: Sequence[UnitResult], *, max_bytes: int
) -> tuple[tuple[PairOfFilms, ...], int]:
    """Films of units whose outcome is known in both worlds, kinds and tasks in turn, as many as the budget holds.

    Args:
        videos: of some units.
        results: of all units.
        max_bytes: of all films together.

    Returns:
        The films by task, and how many videos were left out: the budget was spent, or an outcome is unknown.

    Raises:
        InvalidImage: a video is no sequence of pictures.
        InvalidDataset: a file is no video.
        TooLarge: a video is larger than `MAX_SIDE`.
    """
    kinds = {result.unit: kind for result in results if (kind := kind_of(result)) is not None}
    given = list(videos)
    films: list[PairOfFilms] = []
    spent = 0
    for video in _in_turn([video for video in given if video.unit in kinds], kinds):
        mp4 = _side_by_side(video)
        if spent + len(mp4) > max_bytes:
            break
        spent += len(mp4)
        films.append(PairOfFilms(unit=video.unit, kind=kinds[video.unit], mp4=mp4))
    films.sort(key=lambda film: (film.unit.task, KINDS.index(film.kind), film.unit))
    return tuple(films), len(given) - len(films)


def kind_of(result: UnitResult) -> str | None:
    """One of `KINDS`, None where an outcome is unknown."""
    if not result.imagined.counts or result.true is None or not result.true.counts:
        return None
    if result.imagined.success:
        return AGREED_SUCCESS if result.true.success else FALSE_SUCCESS
    return MISSED_SUCCESS if result.true.success else AGREED_FAILURE


def _in_turn(videos: Iterable[UnitVideo], kinds: Mapping[Unit, str]) -> Iterator[UnitVideo]:
    """One of each kind of each task, then the next of each."""
    groups: dict[tuple[int, str], list[UnitVideo]] = {}
    for video in sorted(videos, key=lambda video: video.unit):
        groups.setdefault((KINDS.index(kinds[video.unit]), video.unit.task), []).append(video)
    rounds = zip_longest(*(groups[key] for key in sorted(groups)))
    return (video for video in chain.from_iterable(rounds) if video is not None)


def _side_by_side(video: UnitVideo) -> bytes:
    sides = [_frames(side, video.rate) for side in (video.imagined, video.true)]
    with tempfile.TemporaryDirectory() as folder:
        path = Path(folder) / "film.mp4"
        encode(_joined(*sides), path, rate=video.rate, video=FILM)
        return path.read_bytes()


def _frames(video: Pixels | Path, rate: float) -> Iterator[Pixels]:
    if isinstance(video, Path):
        facts = describe(video)
        size = (int(facts["video.width"]), int(facts["video.height"]))
        _check_size(size)
        return decode(video, size=size, rate=rate)
    if video.ndim != 4 or video.shape[-1] != 3 or video.dtype != np.uint8 or not len(video):
        raise InvalidImage(f"a video is {video.dtype} of shape {list(video.shape)}, needed is uint8 [T, H, W, 3]")
    _check_size(video.shape[1:3])
    return iter(video)


def _check_size(size: Sequence[int]) -> None:
    if max(size) > MAX_SIDE:
        raise TooLarge(f"a video of {' x '.join(map(str, size))} px; a report shows at most {MAX_SIDE} px")


def _joined(left: Iterator[Pixels], right: Iterator[Pixels]) -> Iterator[Pixels]:
    """Pictures side by side on white; the shorter video ends with its last picture."""
    last: list[Pixels | None] = [None, None]
    for pair in zip_longest(left, right):
        last = [old if new is None else new for old, new in zip(last, pair, strict=True)]
        shown = [picture for picture in last if picture is not None]
        if len(shown) < len(last):
            raise InvalidImage("a video has no pictures")
        yield _on_white(shown)


def _on_white(pictures: Sequence[Pixels]) -> Pixels:
    """Of even width and height, as the format needs it."""
    height = max(len(picture) for picture in pictures)
    width = sum(picture.shape[1] for picture in pictures) + GAP
    sheet = np.full((height + height % 2, width + width % 2, 3), 255, np.uint8)
    first, second = pictures
    sheet[: len(first), : first.shape[1]] = first
    sheet[: len(second), first.shape[1] + GAP : first.shape[1] + GAP + second.shape[1]] = second
    return sheet
