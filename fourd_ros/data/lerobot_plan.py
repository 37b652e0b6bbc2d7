"""Which episodes go into which files of a LeRobot data set, decided before anything is written.

So every file can be made by itself: in parallel, and again after an interruption.
"""

import hashlib
import json
from collections.abc import Iterator, Sequence
from dataclasses import asdict, dataclass
from fnmatch import fnmatchcase
from functools import cached_property
from pathlib import Path

from fourd_ros.data.dataset_card import DatasetCard
from fourd_ros.data.dropped import Dropped, DropTally
from fourd_ros.data.episode_dataset import EpisodeDataset
from fourd_ros.data.episode_index import EpisodeRow
from fourd_ros.data.lerobot_features import OPTIONAL, FeatureSet, key_of
from fourd_ros.data.lerobot_layout import CONVERSION, EPISODES, place
from fourd_ros.data.video import FORMATS, VideoFormat
from fourd_ros.errors import InvalidDataset, InvalidParameter
from fourd_ros.strict_json import read_object
from fourd_ros.whole_file import is_vacant, write_whole

FORMAT = 1
MEGABYTE = 1024**2

MAX_FILE_SECONDS = 1000.0
"""LeRobot looks pictures up by float32 seconds to within 0.1 ms; beyond 1024 s one rounding is more than that, and at
29.97 Hz one picture in a thousand would not be found."""

_DEPTH_BYTES, _LABEL_BYTES = 1.0, 0.1
_GROUPS_SHOWN = 5


@dataclass(frozen=True, kw_only=True)
class LeRobotOptions:
    """How a data set is converted.

    Args:
        video: format of the films.
        without: what is left out, of ``depth`` and ``segmentation``.
        robot_type: what LeRobot is told the robot is, empty for nothing.
        data_file_mb: size that files of numbers and images should not exceed [MiB].
        video_file_mb: size that films should not exceed [MiB].
        files_per_chunk: files in one folder.

    Raises:
        InvalidParameter: something is left out that cannot be, or a size is not positive.
    """

    video: VideoFormat = FORMATS["faithful"]
    without: tuple[str, ...] = ()
    robot_type: str = ""
    data_file_mb: float = 100
    video_file_mb: float = 200
    files_per_chunk: int = 1000

    def __post_init__(self) -> None:
        if set(self.without).difference(OPTIONAL):
            raise InvalidParameter(f"cannot leave out {list(self.without)}; possible are {list(OPTIONAL)}")
        if min(self.data_file_mb, self.video_file_mb, self.files_per_chunk) <= 0:
            raise InvalidParameter("sizes of files must be positive")


@dataclass(frozen=True, kw_only=True)
class PlannedFile:
    """Consecutive episodes that share a file of numbers, and a film of each camera.

    Args:
        chunk: number of the folder.
        file: number in it.
        first_episode: number of the first episode in the data set.
        first_frame: number of its first frame in the data set.
        rows: of the episodes.
        tasks: number of each episode's task.
    """

    chunk: int
    file: int
    first_episode: int
    first_frame: int
    rows: tuple[EpisodeRow, ...]
    tasks: tuple[int, ...]

    @property
    def frames(self) -> int:
        """Of all episodes together."""
        return sum(row.frames for row in self.rows)


@dataclass(frozen=True, kw_only=True)
class Conversion:
    """A data set on its way into a LeRobot folder.

    Args:
        dataset: folder with the episodes.
        folder: that LeRobot will read.
        options: how.
        features: what the episodes have in common.
        tasks: in words, by number.
        files: all that will be there.
        card: of the data set.
        dropped: what will not be there.
    """

    dataset: Path
    folder: Path
    options: LeRobotOptions
    features: FeatureSet
    tasks: tuple[str, ...]
    files: tuple[PlannedFile, ...]
    card: DatasetCard
    dropped: tuple[Dropped, ...]

    @cached_property
    def frames(self) -> int:
        """Of all episodes together."""
        return sum(file.frames for file in self.files)

    @cached_property
    def episodes(self) -> int:
        """How many."""
        return sum(len(file.rows) for file in self.files)

    def missing(self) -> list[PlannedFile]:
        """Files that are not there yet; what is there is whole."""
        return [
            file for file in self.files if not place(self.folder, EPISODES, chunk=file.chunk, file=file.file).exists()
        ]


def plan_conversion(
    dataset: Path,
    folder: Path,
    options: LeRobotOptions | None = None,
    *,
    episodes: str = "*",
    split: str | None = None,
) -> Conversion:
    """Decide what goes where, and claim the folder for it.

    Args:
        dataset: folder of episodes.
        folder: to be written; it may hold an interrupted conversion of the same.
        options: how.
        episodes: only those whose names match, like ``sim_*``.
        split: only those of ``train``, ``validation`` or ``test``.

    Raises:
        InvalidDataset: no episodes, episodes that differ in their features, or the folder holds something else.
    """
    options = options or LeRobotOptions()
    source = EpisodeDataset(dataset, split=split)
    rows = [row for row in source.rows() if fnmatchcase(row.name, episodes)]
    if not rows:
        which = f" '{episodes}'; it has {len(source)} in all" if len(source) else f"s in '{split}'" if split else "s"
        raise InvalidDataset(f"'{dataset}' has no episode{which}")
    features = _common_features(rows, options)
    tasks = list(dict.fromkeys(task_of(row) for row in rows))
    conversion = Conversion(
        dataset=dataset,
        folder=folder,
        options=options,
        features=features,
        tasks=tuple(tasks),
        files=tuple(_files(rows, features, options, {task: number for number, task in enumerate(tasks)})),
        card=source.card,
        dropped=tuple(_left_out(rows, options)),
    )
    _claim(conversion, rows)
    return conversion


def task_of(row: EpisodeRow) -> str:
    """The one sentence that LeRobot knows an episode's task by."""
    return "; ".join(row.instructions or row.tasks)


def _common_features(rows: Sequence[EpisodeRow], options: LeRobotOptions) -> FeatureSet:
    groups: dict[FeatureSet, list[str]] = {}
    for row in rows:
        groups.setdefault(FeatureSet.of(row, without=options.without), []).append(row.name)
    if len(groups) > 1:
        largest = sorted(groups.items(), key=lambda group: -len(group[1]))
        lines = [f"{len(names)} like '{names[0]}': {features}" for features, names in largest[:_GROUPS_SHOWN]]
        raise InvalidDataset(
            "all episodes of a LeRobot data set have the same features, these are of "
            f"{len(groups)} kinds; convert one kind at a time with --episodes 'PATTERN' of their names\n  "
            + "\n  ".join(lines)
        )
    (features,) = groups
    keys = [key_of(camera.name) for camera in features.cameras]
    if len(set(keys)) != len(keys):
        raise InvalidDataset(f"two cameras would both be called one of {sorted(keys)}")
    return features


def _files(
    rows: Sequence[EpisodeRow], features: FeatureSet, options: LeRobotOptions, tasks: dict[str, int]
) -> Iterator[PlannedFile]:
    longest = _longest_file(features, options)
    number = first_episode = first_frame = 0
    while first_episode < len(rows):
        last, frames = first_episode, 0
        while last < len(rows) and (last == first_episode or frames + rows[last].frames <= longest):
            frames += rows[last].frames
            last += 1
        chunk, file = divmod(number, options.files_per_chunk)
        chosen = tuple(rows[first_episode:last])
        yield PlannedFile(
            chunk=chunk,
            file=file,
            first_episode=first_episode,
            first_frame=first_frame,
            rows=chosen,
            tasks=tuple(tasks[task_of(row)] for row in chosen),
        )
        number, first_episode, first_frame = number + 1, last, first_frame + frames


def _longest_file(features: FeatureSet, options: LeRobotOptions) -> int:
    """Frames that fit the sizes of files by what they are known to take; one episode is never divided."""
    numbers = sum(8 * len(column.names) for column in features.columns.values())
    images = sum(
        camera.width * camera.height * (_DEPTH_BYTES * camera.depth + _LABEL_BYTES * camera.segmentation)
        for camera in features.cameras
    )
    film = max((camera.width * camera.height for camera in features.cameras), default=0) * options.video.bytes_per_pixel
    return int(
        min(
            MAX_FILE_SECONDS * features.rate,
            options.data_file_mb * MEGABYTE / (numbers + images),
            options.video_file_mb * MEGABYTE / film if film else float("inf"),
        )
    )


def _left_out(rows: Sequence[EpisodeRow], options: LeRobotOptions) -> list[Dropped]:
    tally = DropTally()
    for row in rows:
        for camera in row.cameras:
            for field in options.without:
                if getattr(camera, field):
                    tally.add("not_wanted", f"{field} of '{camera.name}'", row.start_ns, f"--without {field}")
    return tally.result()


def _claim(conversion: Conversion, rows: Sequence[EpisodeRow]) -> None:
    """Note in the folder what becomes of it, or see that this is what is noted there."""
    digest = hashlib.sha256("\n".join(f"{row.name} {row.sha256}" for row in rows).encode()).hexdigest()
    wanted = json.loads(
        json.dumps(
            {
                "format": FORMAT,
                "episodes": digest,
                "features": asdict(conversion.features),
                "options": asdict(conversion.options),
                "card": asdict(conversion.card),
            }
        )
    )
    path = conversion.folder / CONVERSION
    if path.exists():
        found = read_object(path, error=InvalidDataset)
        other = _differing(wanted, found)
        if other:
            raise InvalidDataset(
                f"'{conversion.folder}' holds a conversion with other {', '.join(other)}; "
                "name another folder or remove it"
            )
        return
    if not is_vacant(conversion.folder):
        raise InvalidDataset(f"'{conversion.folder}' holds something else; name a new folder")
    write_whole(path, json.dumps(wanted, indent=1) + "\n")


def _differing(wanted: object, found: object, path: str = "") -> list[str]:
    """Where two JSON values are not the same."""
    if not (isinstance(wanted, dict) and isinstance(found, dict)):
        return [] if wanted == found else [path]
    keys = sorted(wanted.keys() | found.keys())
    return [place for key in keys for place in _differing(wanted.get(key), found.get(key), f"{path}.{key}".lstrip("."))]
