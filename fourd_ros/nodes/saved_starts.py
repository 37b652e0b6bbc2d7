"""Episodes and bags by name, below configured folders, from which an imagination can start."""

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

from fourd_ros.bridge.episode_options import EpisodeOptions
from fourd_ros.bridge.episode_reader import read_episodes
from fourd_ros.data.dataset_card import CARD
from fourd_ros.data.episode import FILE_NAME, Episode, load_episode
from fourd_ros.data.episode_dataset import EpisodeDataset
from fourd_ros.data.episode_observation import step_at
from fourd_ros.errors import UnknownEpisode, UnknownObservation

PART_OF_BAG = 10.0
"""Bags are read in parts of this length [s]."""

LISTED = 8
"""Names in an error message."""


@dataclass(frozen=True)
class SavedStarts:
    """What lies below some folders: episode files, data sets of episodes, bags.

    Args:
        folders: that are looked through, the first that has the name wins; a data set is a folder of its own.
    """

    folders: Sequence[Path]

    def find(self, name: str, stamp_ns: int) -> Episode:
        """The episode of that name, or the part of the bag of that name with an instant in it.

        Args:
            name: of an episode file without its ending, of an episode in a data set, or of a bag.
            stamp_ns: of the instant [ns]; 0 for the first.

        Raises:
            UnknownEpisode: there is none.
            InvalidEpisode, InvalidDataset, InvalidBag: it cannot be read.
            UnknownObservation: the bag has no instant of that stamp.
        """
        if FILE_NAME.fullmatch(name):
            for folder in self.folders:
                for look in (_in_file, _in_dataset, _in_bag):
                    episode = look(folder, name, stamp_ns)
                    if episode is not None:
                        return episode
        raise UnknownEpisode(f"no episode or bag '{name}' below {[str(one) for one in self.folders]}; {self._offer()}")

    def _offer(self) -> str:
        names = sorted({path.stem for folder in self.folders if folder.is_dir() for path in folder.iterdir()})
        return f"there are {names[:LISTED]}" + (f" and {len(names) - LISTED} more" if len(names) > LISTED else "")


def _in_file(folder: Path, name: str, stamp_ns: int) -> Episode | None:
    path = folder / f"{name}.npz"
    return load_episode(path) if path.is_file() else None


def _in_dataset(folder: Path, name: str, stamp_ns: int) -> Episode | None:
    if not (folder / CARD).is_file():
        return None
    dataset = EpisodeDataset(folder)
    return dataset[dataset.index(name)] if name in dataset.names else None


def _in_bag(folder: Path, name: str, stamp_ns: int) -> Episode | None:
    path = next((path for path in (folder / name, folder / f"{name}.mcap") if path.exists()), None)
    if path is None:
        return None
    for part in read_episodes(path, EpisodeOptions(max_duration=PART_OF_BAG)):
        if isinstance(part, Episode) and _reaches(part, stamp_ns):
            return part
    raise UnknownObservation(f"bag '{path}' has no usable frame at {stamp_ns} ns")


def _reaches(episode: Episode, stamp_ns: int) -> bool:
    try:
        step_at(episode, stamp_ns)
    except UnknownObservation:
        return False
    return True
