"""Training, validation and test: which episode is for what.

A split is drawn from a hash, so it does not depend on the order or number of the other episodes, and a data set that
grows keeps it.
"""

import hashlib
import json
from collections.abc import Iterable, Mapping
from pathlib import Path
from typing import Literal

from fourd_ros.data.dataset_card import read_card
from fourd_ros.data.episode_index import read_columns
from fourd_ros.errors import InvalidDataset
from fourd_ros.strict_json import read_object
from fourd_ros.whole_file import write_whole

SPLITS = ("train", "validation", "test")
FILE = "splits.json"
Grouping = Literal["name", "source", "task"]
GROUPINGS: tuple[Grouping, ...] = ("name", "source", "task")


def draw_splits(groups: Mapping[str, str], *, validation: float, test: float, seed: int = 0) -> dict[str, str]:
    """The split of every episode.

    Args:
        groups: group by name of the episode; episodes of one group stay together.
        validation: share of the groups, on average.
        test: share of the groups, on average.
        seed: another one gives another draw.

    Raises:
        InvalidDataset: shares that leave nothing for training, or a split that was wanted and got no episode.
    """
    if min(validation, test) < 0 or not validation + test < 1:
        raise InvalidDataset(f"{validation} for validation and {test} for test leave nothing for training")
    drawn = {group: _draw(group, validation=validation, test=test, seed=seed) for group in set(groups.values())}
    splits = {name: drawn[group] for name, group in groups.items()}
    wanted = {"train": True, "validation": validation > 0, "test": test > 0}
    empty = [split for split in SPLITS if wanted[split] and split not in splits.values()]
    if empty:
        raise InvalidDataset(
            f"no episode was drawn for {' and '.join(empty)}: there are {len(drawn)} groups; "
            "group by name, take a larger share or another seed"
        )
    return splits


def _draw(group: str, *, validation: float, test: float, seed: int) -> str:
    digest = hashlib.sha256(f"{seed}\n{group}".encode()).digest()
    place = int.from_bytes(digest[:8], "big") / 2**64
    if place < test:
        return "test"
    return "validation" if place < test + validation else "train"


def split_dataset(
    folder: Path | str, *, validation: float, test: float, by: Grouping = "name", seed: int = 0
) -> dict[str, str]:
    """Draw the splits of a data set and write ``splits.json``, whole or not at all.

    Args:
        folder: of the data set.
        validation: share, on average.
        test: share, on average.
        by: what stays together: nothing (``name``), pieces of one recording (``source``), or a task, so that
            validation and test have tasks that training has not seen (``task``).
        seed: another one gives another draw.

    Returns:
        The split of every episode.

    Raises:
        InvalidDataset: see `draw_splits`; no data set, no episodes, or the index is damaged.
    """
    folder = Path(folder)
    read_card(folder)
    columns = read_columns(folder, ["name", "source", "tasks"])
    if not columns["name"]:
        raise InvalidDataset(f"'{folder}' has no episodes to be split")
    keys: dict[Grouping, Iterable[str]] = {
        "name": columns["name"],
        "source": columns["source"],
        "task": ("+".join(tasks) for tasks in columns["tasks"]),
    }
    groups = dict(zip(columns["name"], keys[by], strict=True))
    splits = draw_splits(groups, validation=validation, test=test, seed=seed)
    rule = {"by": by, "validation": validation, "test": test, "seed": seed}
    names = {split: [name for name in splits if splits[name] == split] for split in SPLITS}
    write_whole(folder / FILE, json.dumps({"drawn": rule, **names}, indent=1) + "\n")
    return splits


def read_splits(folder: Path | str) -> dict[str, str]:
    """The split of every episode in ``splits.json``; empty where there is no such file.

    Raises:
        InvalidDataset: the file is damaged, or has an episode in two splits.
    """
    path = Path(folder) / FILE
    if not path.exists():
        return {}
    try:
        lists = read_object(path, error=InvalidDataset)
        pairs = [(str(name), split) for split in SPLITS for name in lists[split]]
    except (KeyError, TypeError) as error:
        raise InvalidDataset(f"'{path}' is damaged: {type(error).__name__}: {error}") from error
    splits = dict(pairs)
    if len(splits) != len(pairs):
        raise InvalidDataset(f"'{path}' has an episode in more than one split")
    return splits
