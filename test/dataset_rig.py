"""A small data set of made-up episodes in several shards."""

from pathlib import Path
from typing import Any

from episode_rig import make_episode

from fourd_ros.data.episode_writer import EpisodeDatasetWriter

COUNT = 6
SMALL_SHARD = 16_000
"""Room for two of the episodes [bytes]."""


def write_dataset(folder: Path, numbers: range = range(COUNT), **options: Any) -> None:
    with EpisodeDatasetWriter(folder, max_shard_bytes=SMALL_SHARD, **options) as writer:
        for number in numbers:
            writer.add(make_episode(number))
