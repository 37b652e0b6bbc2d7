"""``fourd data``: what people and scripts see of data sets."""

import json
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
from episode_rig import HEIGHT, WIDTH, make_episode, make_view
from PIL import Image

from fourd_ros.cli import main
from fourd_ros.data.contact_sheet import save_pictures
from fourd_ros.data.dataset_card import DatasetCard, read_card
from fourd_ros.data.episode import save_episode
from fourd_ros.data.episode_dataset import EpisodeDataset
from fourd_ros.data.episode_writer import EpisodeDatasetWriter

COUNT = 5


@pytest.fixture
def episodes(tmp_path: Path) -> Path:
    """A folder of episode files."""
    for number in range(COUNT):
        save_episode(make_episode(number), tmp_path / "episodes" / f"{number}.npz")
    return tmp_path / "episodes"


@pytest.fixture(scope="module")
def dataset(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("data") / "dataset"
    with EpisodeDatasetWriter(folder, card=DatasetCard(name="noise", licence="CC0-1.0")) as writer:
        for number in range(COUNT):
            writer.add(make_episode(number, source=f"bag_{number // 2}", success=None if number else False))
    return folder


def packed(*words: str, capsys: pytest.CaptureFixture[str]) -> tuple[int, list[dict[str, object]]]:
    """Exit status and report of ``fourd data pack``."""
    status = main(["data", "pack", *words, "--json"])
    return status, [json.loads(line) for line in capsys.readouterr().out.splitlines()]


def test_pack_makes_a_dataset_and_goes_on_where_it_stopped(
    episodes: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    folder = tmp_path / "dataset"
    words = [str(episodes), str(folder), "--jobs", "2", "--shard-size", "0.026", "--licence", "CC-BY-4.0"]
    status, report = packed(*words, capsys=capsys)
    assert status == 0 and [line["added"] for line in report] == [True] * COUNT
    assert EpisodeDataset(folder).names == tuple(f"episode_{number:06d}" for number in range(COUNT))
    assert read_card(folder) == DatasetCard(name="dataset", licence="CC-BY-4.0", made_by="fourd data pack")
    assert len(list((folder / "shards").iterdir())) == 3
    before = {path: path.stat().st_mtime_ns for path in folder.rglob("*") if path.is_file()}
    save_episode(make_episode(77), episodes / "new.npz")
    status, report = packed(*words, capsys=capsys)
    assert status == 0 and [line["path"] for line in report if line["added"]] == [str(episodes / "new.npz")]
    assert all(path.stat().st_mtime_ns == stamp for path, stamp in before.items())
    assert main(["data", "pack", *words]) == 0
    assert "0 new episodes, 6 were there already, 0 left out" in capsys.readouterr().out


def test_pack_says_what_it_left_out_and_why(episodes: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    (episodes / "2.npz").write_bytes((episodes / "2.npz").read_bytes()[:-100])
    save_episode(make_episode(4), episodes / "again.npz")
    status, report = packed(str(episodes), str(tmp_path / "dataset"), "--jobs", "1", capsys=capsys)
    why = {Path(str(line["path"])).name: str(line["dropped"]) for line in report if line["dropped"]}
    assert status == 1 and why.keys() == {"2.npz", "again.npz"}
    assert "is not an episode" in why["2.npz"] and "4.npz' has an episode 'episode_000004' too" in why["again.npz"]
    assert len(EpisodeDataset(tmp_path / "dataset")) == COUNT - 1
    assert main(["data", "pack", str(tmp_path / "nowhere" / "x.npz"), str(tmp_path / "dataset")]) == 1
    assert "there is no file" in capsys.readouterr().out
    (tmp_path / "empty").mkdir()
    assert main(["data", "pack", str(tmp_path / "empty"), str(tmp_path / "dataset")]) == 1
    assert "no episode files" in capsys.readouterr().err


def test_info_counts(dataset: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["data", "info", str(dataset), "--json"]) == 0
    facts = json.loads(capsys.readouterr().out)
    assert (facts["episodes"], facts["frames"], facts["shards"]) == (COUNT, 5 * COUNT, 1)
    assert facts["sources"] == {"bag_0": 2, "bag_1": 2, "bag_2": 1} and facts["tasks"] == {"push": COUNT}
    assert (facts["judged"], facts["successes"]) == (1, 0)
    front = {"name": "front", "width": WIDTH, "height": HEIGHT, "depth": True, "segmentation": True, "episodes": COUNT}
    assert front in facts["cameras"] and facts["joints"] == [{"names": ["a", "b", "c"], "episodes": COUNT}]
    assert main(["data", "info", str(dataset)]) == 0
    text = capsys.readouterr().out
    assert "noise" in text and "CC0-1.0" in text and "colour, depth, segmentation, 8 x 6, 5 episodes" in text


def test_split_keeps_recordings_together(dataset: Path, capsys: pytest.CaptureFixture[str]) -> None:
    words = ["data", "split", str(dataset), "--validation", "0.4", "--test", "0", "--by", "source", "--json"]
    assert main([*words, "--seed", "1"]) == 0
    counts = json.loads(capsys.readouterr().out)
    assert sum(counts.values()) == COUNT and counts["validation"] > 0 and counts["test"] == 0
    rows = {split: EpisodeDataset(dataset, split=split).rows() for split in ("train", "validation")}
    sources = {split: {row.source for row in found} for split, found in rows.items()}
    assert not sources["train"] & sources["validation"]
    assert main([*words[:-3], "--by", "task"]) == 1
    assert "another seed" in capsys.readouterr().err


def test_validate_ends_with_status_1_where_anything_is_wrong(
    episodes: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    folder = tmp_path / "dataset"
    assert main(["data", "pack", str(episodes), str(folder), "--jobs", "1"]) == 0
    assert main(["data", "validate", str(folder), "--jobs", "1"]) == 0
    assert "no problems" in capsys.readouterr().out
    (shard,) = (folder / "shards").iterdir()
    data = bytearray(shard.read_bytes())
    data[-1] ^= 1
    shard.write_bytes(data)
    assert main(["data", "validate", str(folder), "--json", "--jobs", "1"]) == 1
    report = json.loads(capsys.readouterr().out)
    assert not report["ok"] and [problem["where"] for problem in report["problems"]] == ["episode_000004"]
    assert main(["data", "validate", str(tmp_path / "nowhere")]) == 1
    assert "no folder" in capsys.readouterr().err


def test_view_shows_an_episode_of_a_dataset_or_of_a_file(
    dataset: Path, episodes: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    sheet, film = tmp_path / "sheet.png", tmp_path / "film.gif"
    assert main(["data", "view", str(dataset), "--out", str(sheet), "--frames", "3"]) == 0
    assert Image.open(sheet).size == (3 * WIDTH, 2 * 3 * HEIGHT)
    assert "push the grün box" in capsys.readouterr().out
    pixels = np.asarray(Image.open(sheet))
    assert np.array_equal(pixels[:HEIGHT, :WIDTH], make_episode(0).views["front"].rgb[0])
    assert main(["data", "view", str(dataset), "--episode", "episode_000003", "--out", str(film)]) == 0
    assert Image.open(film).n_frames == 5
    assert main(["data", "view", str(episodes / "1.npz"), "--out", str(sheet)]) == 0
    assert main(["data", "view", str(dataset), "--episode", "lost", "--out", str(sheet)]) == 1
    assert main(["data", "view", str(dataset), "--out", str(tmp_path / "sheet.bmp")]) == 1


def test_what_is_of_one_name_and_another_kind_is_told_apart(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    view = make_view(np.random.default_rng(0))
    with EpisodeDatasetWriter(tmp_path / "mixed") as writer:
        writer.add(make_episode(0, views={"front": view}))
        writer.add(make_episode(1, views={"front": replace(view, depth=None)}, joint_names=("d", "e", "f")))
    assert main(["data", "info", str(tmp_path / "mixed")]) == 0
    text = capsys.readouterr().out
    assert text.count("camera front") == 2 and "a, b, c (1 episodes)" in text and "d, e, f (1 episodes)" in text


def test_nothing_to_see_or_to_split_is_said_so(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    with EpisodeDatasetWriter(tmp_path / "empty"):
        pass
    save_episode(make_episode(0, views={}), tmp_path / "blind.npz")
    words = {
        ("view", str(tmp_path / "empty")): "has no episodes",
        ("view", str(tmp_path / "blind.npz"), "--out", str(tmp_path / "x.png")): "has no cameras",
        ("split", str(tmp_path / "empty")): "has no episodes",
        ("split", str(tmp_path)): "is no data set",
        ("to-lerobot", str(tmp_path / "empty"), str(tmp_path / "lerobot")): "has no episodes",
        ("pack", str(tmp_path / "blind.npz"), str(tmp_path / "blind.npz")): "is no data set",
    }
    for command, why in words.items():
        assert main(["data", *command]) == 1 and why in capsys.readouterr().err, command
    assert main(["data", "validate", str(tmp_path / "empty")]) == 1
    assert "there are no episodes" in capsys.readouterr().out


def test_a_place_that_cannot_be_written_is_told_in_a_line(
    episodes: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    (tmp_path / "file").touch()
    for command in (["pack", str(episodes)], ["view", str(episodes / "0.npz"), "--out"]):
        assert main(["data", *command, str(tmp_path / "file" / "x.png")]) == 1
        (line,) = [line for line in capsys.readouterr().err.splitlines() if line.startswith("fourd data")]
        assert str(tmp_path / "file") in line and "Errno" in line


def test_cameras_of_other_sizes_and_without_depth_are_shown_beside_each_other(tmp_path: Path) -> None:
    view = make_view(np.random.default_rng(0))
    wide = make_episode(0, views={"front": view, "plain": replace(view, depth=None, segmentation=None)})
    save_pictures(wide, tmp_path / "film.gif")
    assert Image.open(tmp_path / "film.gif").size == (3 * WIDTH, 2 * HEIGHT)
