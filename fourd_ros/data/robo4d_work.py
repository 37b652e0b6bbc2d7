"""What the commands over clips share: how files of a folder are made is noted there, and what becomes of each clip."""

import json
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Protocol, TypeVar

from fourd_ros.data.parallel import run_jobs
from fourd_ros.data.robo4d_folder import Robo4DFolder
from fourd_ros.data.robo4d_preparation import FRAMES, HEIGHT, WIDTH
from fourd_ros.errors import InvalidDataset
from fourd_ros.strict_json import read_object
from fourd_ros.whole_file import write_whole


@dataclass(frozen=True, kw_only=True)
class ClipOutcome:
    """What became of a clip.

    Args:
        name: of the clip.
        made: whether something was written now; otherwise it was there already, or cannot be made.
        problem: why it cannot be made, empty where it can.
    """

    name: str
    made: bool = False
    problem: str = ""


class NamedJob(Protocol):
    """Work on one clip."""

    @property
    def name(self) -> str:
        """Of the clip."""
        ...


Job = TypeVar("Job", bound=NamedJob)


def run_on_clips(
    function: Callable[[Job], ClipOutcome],
    jobs: Sequence[Job],
    *,
    workers: int = 1,
    ray: bool = False,
    address: str | None = None,
) -> Iterator[ClipOutcome]:
    """Do the jobs of many clips, see `run_jobs`; yields what became of each as it is done."""
    keyed = {job.name: job for job in jobs}
    return (outcome for _, outcome in run_jobs(function, keyed, workers=workers, ray=ray, address=address))


def claim(path: Path, wanted: Mapping[str, Any], *, what: str) -> None:
    """Note how files of a folder are made, or see that this is what is noted.

    Args:
        path: of the note, a JSON file; its folder exists.
        wanted: what JSON can hold.
        what: the files, in words.

    Raises:
        InvalidDataset: they are made in another way, or the note cannot be read.
    """
    plain = json.loads(json.dumps(wanted))
    if not path.exists():
        write_whole(path, json.dumps(plain, indent=1) + "\n")
        return
    found = read_object(path, error=InvalidDataset)
    differing = sorted(key for key in plain.keys() | found.keys() if plain.get(key) != found.get(key))
    if differing:
        pairs = ", ".join(f"{key} {found.get(key)!r} (now {plain.get(key)!r})" for key in differing)
        raise InvalidDataset(
            f"'{path}' says that {what} were made with other options: {pairs}; take those, name another folder, or "
            f"remove these files together with '{path.name}'"
        )


def clip_size(folder: Robo4DFolder) -> tuple[int, int, int]:
    """Frames, height and width of the clips: what the manifest says, or those of the original where there is none.

    Raises:
        InvalidDataset: the manifest is damaged.
    """
    if not folder.manifest.exists():
        return FRAMES, HEIGHT, WIDTH
    facts = read_object(folder.manifest, error=InvalidDataset)
    size = tuple(facts.get(key) for key in ("frames", "height", "width"))
    if not all(type(number) is int and number > 0 for number in size):
        raise InvalidDataset(f"'{folder.manifest}' is damaged: frames, height and width are {size}")
    frames, height, width = size
    return frames, height, width  # type: ignore[return-value]
