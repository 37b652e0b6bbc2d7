"""Data sets of episodes: what goes in comes out, whole or as windows; what was interrupted or damaged is noticed."""

import hashlib
import json
import multiprocessing
import os
import pickle
import shutil
import signal
import threading
from concurrent.futures import ProcessPoolExecutor
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow.parquet as pq
import pytest
import safetensors
from dataset_rig import COUNT, SMALL_SHARD, write_dataset
from episode_rig import STEPS, assert_equal, make_episode

from fourd_ros.data import episode_writer
from fourd_ros.data.dataset_card import DatasetCard
from fourd_ros.data.dataset_summary import summarize_dataset
from fourd_ros.data.episode import Episode, take_apart
from fourd_ros.data.episode_dataset import STATE_FIELDS, VIEW_FIELDS, EpisodeDataset
from fourd_ros.data.episode_index import arrays_sha256, read_part, write_part
from fourd_ros.data.episode_writer import EpisodeDatasetWriter
from fourd_ros.data.splits import draw_splits, read_splits, split_dataset
from fourd_ros.data.validation import validate
from fourd_ros.errors import InvalidDataset, MissingCamera
from fourd_ros.geometry.pointmap import points_from_depth


@pytest.fixture(scope="module")
def whole(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A data set that no test changes."""
    folder = tmp_path_factory.mktemp("whole") / "dataset"
    write_dataset(folder, card=DatasetCard(name="noise", licence="CC0-1.0"))
    return folder


@pytest.fixture
def folder(whole: Path, tmp_path: Path) -> Path:
    """A data set of its own for the test."""
    return Path(shutil.copytree(whole, tmp_path / "dataset"))


def files(folder: Path) -> dict[str, str]:
    return {
        str(path.relative_to(folder)): hashlib.sha256(path.read_bytes()).hexdigest()
        for path in sorted(folder.rglob("*"))
        if path.is_file()
    }


def test_episodes_are_read_back_in_the_order_of_their_names(whole: Path) -> None:
    dataset = EpisodeDataset(whole)
    assert dataset.card == DatasetCard(name="noise", licence="CC0-1.0")
    assert dataset.names == tuple(f"episode_{number:06d}" for number in range(COUNT))
    assert dataset.frames.tolist() == [STEPS] * COUNT
    for number in range(COUNT):
        assert_equal(make_episode(number), dataset[dataset.index(f"episode_{number:06d}")])
    assert len(list((whole / "shards").iterdir())) == COUNT / 2
    assert len(list((whole / "robots").iterdir())) == 1
    with pytest.raises(InvalidDataset, match=r"no episode 'x'.*and 3 more"):
        dataset.index("x")


def test_what_only_a_simulator_knows_may_be_absent(tmp_path: Path) -> None:
    episode = make_episode(3)
    view = replace(episode.views["front"], depth=None, segmentation=None)
    nowhere = np.zeros(0)
    bare = replace(
        episode,
        views={"camera/colour": view},
        robot_description="",
        object_names=(),
        object_labels=(),
        object_sizes=nowhere,
        object_poses=nowhere,
        action_names=(),
        actions=nowhere,
        commanded=np.full_like(episode.commanded, np.nan),
        success=None,
        seed=None,
        policy="",
    )
    with EpisodeDatasetWriter(tmp_path) as writer:
        writer.add(bare)
    dataset = EpisodeDataset(tmp_path)
    assert_equal(bare, dataset[0])
    window = dataset.window(0, 1, 2, fields=("rgb", "actions", "commanded"))
    assert window.actions is not None and window.actions.shape == (2, 0)
    with pytest.raises(InvalidDataset, match=r"'camera/colour' .* has no depth"):
        dataset.window(0, 0, 2, fields=("depth",))
    row = dataset.rows()[0]
    assert (row.success, row.seed, row.robot) == (None, None, "")
    assert validate(tmp_path) == []


def test_shards_are_plain_safetensors_and_the_index_plain_parquet(whole: Path) -> None:
    rows = pq.read_table(whole / "index" / "episodes-00001.parquet").to_pylist()
    facts, arrays = take_apart(make_episode(2))
    assert [row["name"] for row in rows] == ["episode_000002", "episode_000003"]
    assert rows[0]["sha256"] == arrays_sha256(arrays)
    assert json.loads(rows[0]["metadata"])["views"]["front"] == facts["views"]["front"]
    with safetensors.safe_open(whole / "shards" / "episodes-00001.safetensors", "np") as shard:
        for name, array in arrays.items():
            found = shard.get_tensor(f"episode_000002/{name}")
            assert found.dtype == array.dtype and np.array_equal(found, array, equal_nan=True)


def test_windows_are_cut_out_of_the_episode(whole: Path) -> None:
    dataset, every = EpisodeDataset(whole), (*STATE_FIELDS, *VIEW_FIELDS)
    for index, start, steps in [(0, 0, STEPS), (4, 2, 3), (5, STEPS - 1, 1)]:
        episode, window = dataset[index], dataset.window(index, start, steps, fields=every)
        frames = slice(start, start + steps)
        assert (window.episode, window.start, window.instructions) == (episode.name, start, episode.instructions)
        for field in ("times", *STATE_FIELDS):
            assert np.array_equal(getattr(window, field), getattr(episode, field)[frames]), field
        for name, view in episode.views.items():
            assert window.views[name].camera == view.camera and window.views[name].mounted_on == "hand"
            for field in ("T_world_camera", "rgb", "depth", "segmentation"):
                assert np.array_equal(getattr(window.views[name], field), getattr(view, field)[frames], equal_nan=True)
            assert view.depth is not None
            expected = points_from_depth(view.depth[frames], view.camera)
            assert np.array_equal(window.views[name].points, expected, equal_nan=True)


def test_windows_hold_what_was_asked_for_and_belong_to_the_caller(whole: Path) -> None:
    dataset = EpisodeDataset(whole)
    window = dataset.window(1, 0, 2, cameras=["wrist"], fields=("rgb", "measured"))
    assert list(window.views) == ["wrist"] and window.commanded is None and window.views["wrist"].depth is None
    assert window.views["wrist"].rgb is not None
    before = dataset[1].views["wrist"].rgb.copy()
    window.views["wrist"].rgb[:] = 0
    assert np.array_equal(dataset[1].views["wrist"].rgb, before)


@pytest.mark.parametrize(
    ("arguments", "options", "error", "message"),
    [
        ((0, 0, STEPS + 1), {}, InvalidDataset, "6 frames from frame 0"),
        ((0, STEPS - 1, 2), {}, InvalidDataset, "which has 5"),
        ((0, -1, 2), {}, InvalidDataset, "frame -1"),
        ((0, 0, 0), {}, InvalidDataset, "0 frames"),
        ((0, 0, 1), {"fields": ("colour",)}, InvalidDataset, "no fields"),
        ((0, 0, 1), {"cameras": ("side",)}, MissingCamera, "no camera 'side'"),
    ],
)
def test_impossible_windows_are_refused(
    whole: Path, arguments: tuple[int, int, int], options: dict[str, Any], error: type[Exception], message: str
) -> None:
    with pytest.raises(error, match=message):
        EpisodeDataset(whole).window(*arguments, **options)


def test_what_is_there_is_never_written_twice(folder: Path) -> None:
    before = files(folder)
    with EpisodeDatasetWriter(folder) as writer:
        assert writer.has("episode_000003") and not writer.has("episode_000099")
        with pytest.raises(InvalidDataset, match="has an episode 'episode_000003' already"):
            writer.add(make_episode(3))
        writer.add(make_episode(99))
        assert writer.has("episode_000099")
    after = files(folder)
    assert {name: after[name] for name in before} == before
    assert EpisodeDataset(folder).names[-1] == "episode_000099"


def test_the_same_episodes_give_the_same_files(tmp_path: Path) -> None:
    for name in ("a", "b"):
        write_dataset(tmp_path / name, card=DatasetCard(name="same"))
    assert files(tmp_path / "a") == files(tmp_path / "b")


def test_a_part_has_one_writer(folder: Path) -> None:
    with (
        EpisodeDatasetWriter(folder),
        EpisodeDatasetWriter(folder, part="other"),
        pytest.raises(InvalidDataset, match="another process"),
    ):
        EpisodeDatasetWriter(folder)
    EpisodeDatasetWriter(folder).close()


@pytest.mark.parametrize("written", ["write_shard", "write_part"])
def test_a_shard_counts_only_with_its_part_of_the_index(
    whole: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, written: str
) -> None:
    folder = tmp_path / "dataset"
    writer = EpisodeDatasetWriter(
        folder, card=DatasetCard(name="noise", licence="CC0-1.0"), max_shard_bytes=SMALL_SHARD
    )
    for number in range(3):
        writer.add(make_episode(number))

    def full(*_: Any) -> None:
        raise OSError("disk full")

    with monkeypatch.context() as patch:
        patch.setattr(episode_writer, written, full)
        with pytest.raises(OSError, match="disk full"):
            writer.close()
    assert EpisodeDataset(folder).names == ("episode_000000", "episode_000001")
    write_dataset(folder, range(2, COUNT))
    assert files(folder) == files(whole)


def killed(folder: Path) -> None:
    writer = EpisodeDatasetWriter(
        folder, card=DatasetCard(name="noise", licence="CC0-1.0"), max_shard_bytes=SMALL_SHARD
    )
    for number in range(5):
        writer.add(make_episode(number))
    (folder / "shards" / ".episodes-00002.safetensors.0badcafe.partial").touch()
    os.kill(os.getpid(), signal.SIGKILL)


def test_a_killed_writer_loses_only_what_waited(whole: Path, tmp_path: Path) -> None:
    folder = tmp_path / "dataset"
    process = multiprocessing.get_context("fork").Process(target=killed, args=(folder,))
    process.start()
    process.join()
    assert process.exitcode == -signal.SIGKILL
    assert len(EpisodeDataset(folder)) == 4
    write_dataset(folder, range(4, COUNT))
    assert files(folder) == files(whole)


def test_a_folder_of_something_else_is_left_alone(tmp_path: Path) -> None:
    (tmp_path / "thesis.tex").write_text("do not touch")
    with pytest.raises(InvalidDataset, match="no data set"):
        EpisodeDatasetWriter(tmp_path)
    with pytest.raises(InvalidDataset, match="'fourd data pack' makes one"):
        EpisodeDataset(tmp_path)
    with pytest.raises(InvalidDataset, match="cannot name files"):
        EpisodeDatasetWriter(tmp_path / "new", part="../evil")
    assert files(tmp_path).keys() == {"thesis.tex"}


def sum_of_windows(dataset: EpisodeDataset, place: int) -> float:
    window = dataset.window(place % len(dataset), place % 3, 2)
    return float(sum(view.rgb.sum() for view in window.views.values() if view.rgb is not None))


@pytest.mark.parametrize("method", ["fork", "spawn"])
def test_other_processes_read_on(whole: Path, method: str) -> None:
    dataset = EpisodeDataset(whole)
    expected = [sum_of_windows(dataset, place) for place in range(12)]
    with ProcessPoolExecutor(2, mp_context=multiprocessing.get_context(method)) as pool:
        assert list(pool.map(sum_of_windows, [dataset] * 12, range(12))) == expected
    assert len(pickle.dumps(dataset)) < 5000


def test_threads_share_a_dataset(whole: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("fourd_ros.data.episode_dataset.MAX_OPEN_SHARDS", 1)
    dataset = EpisodeDataset(whole)
    expected = [sum_of_windows(EpisodeDataset(whole), place) for place in range(60)]
    found: dict[int, list[float]] = {}
    threads = [
        threading.Thread(
            target=lambda number=number: found.update({number: [sum_of_windows(dataset, place) for place in range(60)]})
        )
        for number in range(4)
    ]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert found == dict.fromkeys(range(4), expected)


def test_an_index_of_thousands_is_opened_without_reading_their_arrays(folder: Path) -> None:
    (row,) = [row for row in read_part(folder, "episodes-00000") if row.name == "episode_000000"]
    for number in range(20):
        names = [f"copy_{number:02d}_{index:03d}" for index in range(500)]
        write_part(
            folder, f"copy-{number:05d}", [replace(row, name=name, shard=f"copy-{number:05d}") for name in names]
        )
    dataset = EpisodeDataset(folder)
    assert len(dataset) == 10_000 + COUNT
    assert dataset.window(dataset.index("episode_000000"), 0, 2).episode == "episode_000000"
    with pytest.raises(InvalidDataset, match="cannot read shard"):
        dataset[0]


def test_splits_do_not_depend_on_the_others(folder: Path) -> None:
    groups = {f"episode_{number}": f"bag_{number // 4}" for number in range(400)}
    alone = draw_splits({name: name for name in groups}, validation=0.1, test=0.2)
    counts = [list(alone.values()).count(split) for split in ("train", "validation", "test")]
    assert sum(counts) == 400 and abs(counts[1] - 40) < 20 and abs(counts[2] - 80) < 25
    fewer = draw_splits({name: name for name in list(groups)[::3]}, validation=0.1, test=0.2)
    assert all(alone[name] == split for name, split in fewer.items())
    together = draw_splits(groups, validation=0.1, test=0.2)
    assert all(len({together[name] for name in groups if groups[name] == bag}) == 1 for bag in set(groups.values()))
    assert draw_splits(groups, validation=0.1, test=0.2, seed=1) != together


def test_a_split_of_the_dataset_can_be_opened(folder: Path) -> None:
    with pytest.raises(InvalidDataset, match="6 of 6 episodes are in no split"):
        EpisodeDataset(folder, split="train")
    splits = split_dataset(folder, validation=0.3, test=0.3)
    assert read_splits(folder) == splits
    for split in ("train", "validation", "test"):
        dataset = EpisodeDataset(folder, split=split)
        assert set(dataset.names) == {name for name in splits if splits[name] == split}
        assert [row.name for row in dataset.rows()] == list(dataset.names)
    with pytest.raises(InvalidDataset, match="no split 'dev'"):
        EpisodeDataset(folder, split="dev")
    with pytest.raises(InvalidDataset, match="no episode was drawn"):
        split_dataset(folder, validation=0.3, test=0.3, by="source")
    assert summarize_dataset(folder).splits.keys() == {"train", "validation", "test"}


def test_shares_that_leave_nothing_are_refused() -> None:
    for validation, test in [(0.5, 0.5), (-0.1, 0.1)]:
        with pytest.raises(InvalidDataset, match="leave nothing"):
            draw_splits({"a": "a"}, validation=validation, test=test)


def test_an_episode_larger_than_a_shard_gets_one_of_its_own(tmp_path: Path) -> None:
    large: Episode = make_episode(1, steps=40)
    with EpisodeDatasetWriter(tmp_path, max_shard_bytes=SMALL_SHARD) as writer:
        for episode in (make_episode(0), large, make_episode(2)):
            writer.add(episode)
    assert sorted(path.stem for path in (tmp_path / "shards").iterdir()) == [f"episodes-0000{n}" for n in range(3)]
    assert_equal(large, EpisodeDataset(tmp_path)[1])
