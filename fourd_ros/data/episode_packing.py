"""Episode files into a data set: in parallel, resumable."""

from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path

from fourd_ros.data.dataset_card import DatasetCard
from fourd_ros.data.episode import load_episode, peek_episode
from fourd_ros.data.episode_writer import SHARD_BYTES, EpisodeDatasetWriter
from fourd_ros.data.parallel import run_jobs
from fourd_ros.errors import InvalidEpisode


@dataclass(frozen=True, kw_only=True)
class PackedFile:
    """What became of an episode file.

    Args:
        path: of the file.
        added: whether its episode is new in the data set.
        dropped: why it is not in the data set; empty where it is.
    """

    path: str
    added: bool = False
    dropped: str = ""


@dataclass(frozen=True, kw_only=True)
class _Group:
    """Files that fill one shard."""

    files: tuple[Path, ...]
    folder: Path
    part: str
    shard_bytes: int


def episode_files(paths: Iterable[Path]) -> list[Path]:
    """The files among `paths`, and those called ``*.npz`` in the folders among them, sorted and each once.

    Raises:
        InvalidEpisode: there is none.
    """
    paths = list(paths)
    found = {file.resolve() for path in paths for file in (path.glob("[!.]*.npz") if path.is_dir() else [path])}
    if not found:
        raise InvalidEpisode(f"no episode files (*.npz) in {', '.join(map(str, paths))}")
    return sorted(found)


def pack_episodes(
    files: Sequence[Path],
    folder: Path | str,
    *,
    card: DatasetCard | None = None,
    shard_bytes: int = SHARD_BYTES,
    workers: int = 1,
    ray: bool = False,
    address: str | None = None,
) -> Iterator[PackedFile]:
    """Add the episodes of `files` to a data set and yield what became of each; those that are there are left alone.

    Args:
        files: written by `save_episode`.
        folder: of the data set; made where it is missing.
        card: of a new data set.
        shard_bytes: largest shard.
        workers: processes.
        ray: pack in Ray tasks.
        address: of a Ray cluster that sees the same folders; see `run_jobs`.

    Raises:
        InvalidDataset: the folder holds something else, or its index is damaged.
        MissingDependency: pyarrow or Ray is not installed.
    """
    folder = Path(folder).resolve()
    with EpisodeDatasetWriter(folder, card=card):
        pass
    groups, unreadable = _groups(files, folder, shard_bytes)
    yield from unreadable
    jobs = {group.part: group for group in groups}
    for _, packed in run_jobs(_pack, jobs, workers=workers, ray=ray, address=address):
        yield from packed


def _groups(files: Sequence[Path], folder: Path, shard_bytes: int) -> tuple[list[_Group], list[PackedFile]]:
    """Groups that fill a shard each, the same whatever was done before; and files that are none, or repeat a name."""
    filled: list[list[Path]] = []
    room = 0
    dropped: list[PackedFile] = []
    seen: dict[str, Path] = {}
    for file in files:
        try:
            name, size = peek_episode(file)
        except InvalidEpisode as error:
            dropped.append(PackedFile(path=str(file), dropped=str(error)))
            continue
        if name in seen:
            dropped.append(PackedFile(path=str(file), dropped=f"'{seen[name]}' has an episode '{name}' too"))
            continue
        seen[name] = file
        if size > room or not filled:
            filled.append([])
            room = shard_bytes
        filled[-1].append(file)
        room -= size
    groups = [
        _Group(files=tuple(members), folder=folder, part=f"pack-{number:05d}", shard_bytes=shard_bytes)
        for number, members in enumerate(filled)
    ]
    return groups, dropped


def _pack(group: _Group) -> list[PackedFile]:
    with EpisodeDatasetWriter(group.folder, part=group.part, max_shard_bytes=group.shard_bytes) as writer:
        return [_add(file, writer) for file in group.files]


def _add(file: Path, writer: EpisodeDatasetWriter) -> PackedFile:
    try:
        name, _ = peek_episode(file)
        if writer.has(name):
            return PackedFile(path=str(file))
        writer.add(load_episode(file))
    except InvalidEpisode as error:
        return PackedFile(path=str(file), dropped=str(error))
    return PackedFile(path=str(file), added=True)
