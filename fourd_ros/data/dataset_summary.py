"""What a data set holds, in numbers."""

from collections import Counter
from collections.abc import Mapping
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

from fourd_ros.data.dataset_card import DatasetCard, read_card
from fourd_ros.data.episode_index import IndexedCamera, part_names, read_index
from fourd_ros.data.splits import read_splits


@dataclass(frozen=True, kw_only=True)
class DatasetSummary:
    """About all episodes of a data set.

    Args:
        path: of the data set.
        card: what it says about itself.
        episodes: how many.
        shards: files they are in.
        bytes: of their arrays.
        frames: of all together.
        duration: of all together [s].
        rates: number of episodes by frames a second.
        cameras: number of episodes by camera.
        joints: number of episodes by the joints of their robot.
        actions: number of episodes by the names of their actions, those without any left out.
        sources: number of episodes by where they are from.
        tasks: number of episodes by task.
        policies: number of episodes by policy, those of unknown policy left out.
        instructions: different ones.
        judged: episodes of which it is known whether they succeeded.
        successes: those that did.
        splits: number of episodes in each split; empty where none was drawn.
    """

    path: str
    card: DatasetCard
    episodes: int
    shards: int
    bytes: int
    frames: int
    duration: float
    rates: Mapping[float, int]
    cameras: Mapping[IndexedCamera, int]
    joints: Mapping[tuple[str, ...], int]
    actions: Mapping[tuple[str, ...], int]
    sources: Mapping[str, int]
    tasks: Mapping[str, int]
    policies: Mapping[str, int]
    instructions: int
    judged: int
    successes: int
    splits: Mapping[str, int]

    def as_dict(self) -> dict[str, Any]:
        """The same for JSON."""
        plain = {key: value for key, value in vars(self).items() if not isinstance(value, Mapping)}
        return {
            **plain,
            "card": asdict(self.card),
            "rates": [{"rate": rate, "episodes": count} for rate, count in self.rates.items()],
            "cameras": [{**asdict(camera), "episodes": count} for camera, count in self.cameras.items()],
            "joints": [{"names": list(names), "episodes": count} for names, count in self.joints.items()],
            "actions": [{"names": list(names), "episodes": count} for names, count in self.actions.items()],
            **{name: dict(getattr(self, name)) for name in ("sources", "tasks", "policies", "splits")},
        }


def summarize_dataset(folder: Path | str) -> DatasetSummary:
    """Count what the index of a data set says; no shard is opened.

    Raises:
        InvalidDataset: no data set, or a damaged index.
        MissingDependency: pyarrow is not installed.
    """
    folder = Path(folder)
    card, rows, splits = read_card(folder), read_index(folder), read_splits(folder)
    return DatasetSummary(
        path=str(folder),
        card=card,
        episodes=len(rows),
        shards=len(part_names(folder)),
        bytes=sum(row.bytes for row in rows),
        frames=sum(row.frames for row in rows),
        duration=sum(row.duration for row in rows),
        rates=Counter(row.rate for row in rows),
        cameras=Counter(camera for row in rows for camera in row.cameras),
        joints=Counter(row.joint_names for row in rows),
        actions=Counter(row.action_names for row in rows if row.action_names),
        sources=Counter(row.source for row in rows),
        tasks=Counter(task for row in rows for task in row.tasks),
        policies=Counter(row.policy for row in rows if row.policy),
        instructions=len({text for row in rows for text in row.instructions}),
        judged=sum(row.success is not None for row in rows),
        successes=sum(bool(row.success) for row in rows),
        splits=Counter(splits[row.name] for row in rows if row.name in splits),
    )
