"""Damaged data sets: every problem is found, named, and ends in a typed error."""

import json
import os
import shutil
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import pytest
import safetensors
from dataset_rig import write_dataset
from episode_rig import STEPS, assert_equal, make_episode
from safetensors.numpy import save_file

from fourd_ros.data.episode import take_apart
from fourd_ros.data.episode_dataset import EpisodeDataset
from fourd_ros.data.episode_shards import write_shard
from fourd_ros.data.validation import validate
from fourd_ros.errors import InvalidDataset


@pytest.fixture(scope="module")
def whole(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A data set that no test changes."""
    folder = tmp_path_factory.mktemp("whole") / "dataset"
    write_dataset(folder)
    return folder


@pytest.fixture
def folder(whole: Path, tmp_path: Path) -> Path:
    """A data set of its own for the test."""
    return Path(shutil.copytree(whole, tmp_path / "dataset"))


def flip(path: Path, place: int) -> None:
    data = bytearray(path.read_bytes())
    data[place] ^= 0xFF
    path.write_bytes(data)


def shard(folder: Path) -> Path:
    return folder / "shards" / "episodes-00001.safetensors"


def part(folder: Path) -> Path:
    return folder / "index" / "episodes-00001.parquet"


def rewrite_part(folder: Path, change: Callable[[list[dict[str, Any]]], None]) -> None:
    table = pq.read_table(part(folder))
    rows = table.to_pylist()
    change(rows)
    pq.write_table(pa.Table.from_pylist(rows, schema=table.schema), part(folder))


def rewrite_shard(folder: Path, change: Callable[[dict[str, Any]], None]) -> None:
    with safetensors.safe_open(shard(folder), "np") as opened:
        arrays = {name: opened.get_tensor(name) for name in opened.keys()}  # noqa: SIM118
    change(arrays)
    write_shard(shard(folder), {name: np.ascontiguousarray(array) for name, array in arrays.items()})


def spoil(name: str, value: float) -> Callable[[dict[str, Any]], None]:
    return lambda arrays: arrays[f"episode_000002/{name}"].__setitem__(1, value)


DAMAGE: list[tuple[Callable[[Path], object], str, str]] = [
    (lambda folder: flip(shard(folder), -1), "episode_000003", "hash differs"),
    (lambda folder: shard(folder).unlink(), "shards/episodes-00001.safetensors", "cannot read shard"),
    (lambda folder: shard(folder).write_bytes(b""), "shards/episodes-00001.safetensors", "cannot read shard"),
    (lambda folder: os.truncate(shard(folder), 9000), "shards/episodes-00001.safetensors", "outside the file"),
    (lambda folder: os.truncate(shard(folder), 90), "shards/episodes-00001.safetensors", "header claims"),
    (lambda folder: flip(shard(folder), 12), "shards/episodes-00001.safetensors", "is not a shard"),
    (lambda folder: part(folder).unlink(), "shards/episodes-00001.safetensors", "no part of the index"),
    (lambda folder: os.truncate(part(folder), 500), "index/episodes-00001.parquet", "not a part of an index"),
    (
        lambda folder: rewrite_shard(folder, lambda arrays: arrays.pop("episode_000002/measured")),
        "episode_000002",
        "no array",
    ),
    (lambda folder: rewrite_shard(folder, spoil("measured", np.nan)), "episode_000002", "'measured' holds numbers"),
    (lambda folder: rewrite_shard(folder, spoil("velocities", np.inf)), "episode_000002", "'velocities' holds numbers"),
    (lambda folder: rewrite_shard(folder, spoil("times", 9.0)), "episode_000002", "times must increase"),
    (
        lambda folder: rewrite_shard(folder, lambda arrays: arrays.update({"stray/x": np.zeros(3)})),
        "shards/episodes-00001.safetensors",
        "'stray'",
    ),
    (
        lambda folder: rewrite_shard(folder, lambda arrays: arrays.update({"episode_000002/x": np.zeros(3)})),
        "episode_000002",
        "array 'x'",
    ),
    (lambda folder: rewrite_part(folder, lambda rows: rows[0].update(metadata="{")), "episode_000002", "metadata"),
    (
        lambda folder: rewrite_part(folder, lambda rows: rows[0].update(metadata="[" * 99999)),
        "episode_000002",
        "not readable JSON",
    ),
    (
        lambda folder: rewrite_part(folder, lambda rows: rows[0].update(frames=4)),
        "episode_000002",
        "'times' is float64[5], needed float64[4]",
    ),
    (
        lambda folder: rewrite_part(folder, lambda rows: rows[0].update(cameras=None)),
        "index/episodes-00001.parquet",
        "lacks values",
    ),
    (
        lambda folder: rewrite_part(folder, lambda rows: rows[0].update(tasks=["push", None], rate=None)),
        "index/episodes-00001.parquet",
        "lacks values of rate, tasks",
    ),
    (
        lambda folder: rewrite_part(folder, lambda rows: rows[0].update(shard="../elsewhere/episodes-00001")),
        "index/episodes-00001.parquet",
        "but of another",
    ),
    (
        lambda folder: rewrite_part(folder, lambda rows: rows[0].update(name="../\x1b[31m")),
        "index/episodes-00001.parquet",
        "no episode can be called '../\\x1b[31m'",
    ),
    (
        lambda folder: rewrite_part(folder, lambda rows: rows[0].update(robot="../../../secret")),
        "robots/../../../secret.urdf",
        "needed is a SHA-256",
    ),
    (
        lambda folder: rewrite_part(folder, lambda rows: rows[0].update(rate=20.0, success=None)),
        "episode_000002",
        "different things: rate, success",
    ),
    (
        lambda folder: rewrite_part(folder, lambda rows: rows[0].update(name="episode_000005")),
        "episode_000005",
        "2 episodes",
    ),
    (lambda folder: next((folder / "robots").iterdir()).write_text("<robot/>"), "robots/", "its hash differs"),
    (lambda folder: next((folder / "robots").iterdir()).unlink(), "robots/", "cannot read robot"),
    (lambda folder: (folder / "dataset.json").write_text("{}"), "dataset.json", "has format None"),
    (lambda folder: (folder / "dataset.json").write_text("[" * 99999), "dataset.json", "not readable JSON"),
    (lambda folder: (folder / "dataset.json").write_text('{"format": 1, "name": 7}'), "dataset.json", "are texts"),
    (lambda folder: (folder / "splits.json").write_text("[" * 99999), "splits.json", "not readable JSON"),
    (lambda folder: (folder / "splits.json").write_text('{"train": 7}'), "splits.json", "is damaged"),
    (
        lambda folder: (folder / "splits.json").write_text(
            json.dumps({"train": ["gone"], "validation": [], "test": []})
        ),
        "splits.json",
        "no episode 'gone'",
    ),
]


@pytest.mark.parametrize(("damage", "where", "what"), DAMAGE)
def test_damage_is_found_and_named(folder: Path, damage: Callable[[Path], object], where: str, what: str) -> None:
    assert validate(folder) == []
    damage(folder)
    found = [problem for problem in validate(folder) if problem.where.startswith(where) and what in problem.what]
    assert len(found) == 1


def test_flipped_bytes_of_the_index_are_noticed_or_harmless(folder: Path) -> None:
    rows, size = EpisodeDataset(folder).rows(), part(folder).stat().st_size
    noticed = 0
    for place in range(0, size, size // 80):
        flip(part(folder), place)
        try:
            assert EpisodeDataset(folder).rows() == rows
        except InvalidDataset:
            noticed += 1
        flip(part(folder), place)
    assert noticed > 20 and validate(folder) == []


def test_all_problems_are_listed(folder: Path) -> None:
    rewrite_shard(folder, spoil("measured", np.nan))
    rewrite_shard(folder, spoil("velocities", np.inf))
    (folder / "shards" / "episodes-00002.safetensors").unlink()
    assert [problem.where for problem in validate(folder, workers=2)] == [
        "episode_000002",
        "episode_000002",
        "episode_000002",
        "shards/episodes-00002.safetensors",
    ]


@pytest.mark.parametrize("damage", [entry[0] for entry in DAMAGE[1:6]])
def test_reading_damaged_shards_ends_in_a_typed_error(folder: Path, damage: Callable[[Path], object]) -> None:
    damage(folder)
    dataset = EpisodeDataset(folder)
    with pytest.raises(InvalidDataset, match="shard"):
        dataset[2]
    with pytest.raises(InvalidDataset, match="shard"):
        dataset.window(2, 0, 2)
    assert_equal(make_episode(0), dataset[0])


def headers() -> Iterator[dict[str, Any]]:
    """What nobody may believe, each a change to the entry of one array of 120 bytes."""
    yield {"shape": [10**12, 3]}
    yield {"shape": [-5, -3]}
    yield {"shape": [5.0, 3]}
    yield {"data_offsets": [-120, 0]}
    yield {"data_offsets": [0, 10**15], "shape": [125 * 10**12]}
    yield {"dtype": "BF16"}
    yield {"dtype": None}


@pytest.mark.parametrize("change", list(headers()))
def test_headers_are_not_believed(folder: Path, change: dict[str, Any]) -> None:
    data = shard(folder).read_bytes()
    length = int.from_bytes(data[:8], "little")
    header = json.loads(data[8 : 8 + length])
    header["episode_000002/measured"] |= change
    text = json.dumps(header).encode()
    shard(folder).write_bytes(len(text).to_bytes(8, "little") + text + data[8 + length :])
    with pytest.raises(InvalidDataset, match="is not a shard"):
        EpisodeDataset(folder)[2]


def test_arrays_of_another_shape_do_not_reach_training(folder: Path) -> None:
    arrays = {f"episode_000002/{name}": array for name, array in take_apart(make_episode(2))[1].items()}
    arrays["episode_000002/front/rgb"] = np.zeros((STEPS, 60, 80, 3), np.uint8)
    arrays["episode_000002/measured"] = np.zeros((3, 3))
    save_file(arrays, shard(folder))
    dataset = EpisodeDataset(folder)
    with pytest.raises(InvalidDataset, match="front/rgb"):
        dataset.window(2, 0, 2, fields=("rgb",))
    with pytest.raises(InvalidDataset, match="3 of 5 frames"):
        dataset.window(2, 0, 2, fields=("measured",))
    with pytest.raises(InvalidDataset, match="is damaged"):
        dataset[2]
