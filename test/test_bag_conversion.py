"""From simulation to bag to episode and back: what is exactly equal; and the conversion of many bags."""

import json
import shutil
from collections.abc import Callable
from dataclasses import fields
from pathlib import Path

import numpy as np
import pytest
from conftest import ROOT
from hardware_bag import HardwareBag

from fourd_ros.bridge.bag_conversion import BagJob, convert_bag
from fourd_ros.bridge.bag_motion import read_commanded, read_measured
from fourd_ros.bridge.episode_options import EpisodeOptions
from fourd_ros.bridge.episode_reader import read_episodes
from fourd_ros.cli import main
from fourd_ros.data.bag_inputs import find_inputs
from fourd_ros.data.bags import BagReader
from fourd_ros.data.episode import Episode
from fourd_ros.data.episode_bag import BagOptions, DepthEncoding, write_bag
from fourd_ros.data.episode_dataset import EpisodeDataset
from fourd_ros.errors import InvalidDataset
from fourd_ros.simulation.recording import RecordingOptions, record_episode

ROUNDING = 1e-14
"""A rotation that was a quaternion on the way."""

HALF_MILLIMETRE = 0.5e-3 + 1e-6
NOT_IN_BAGS = {"name", "source"}
THROUGH_QUATERNIONS = {"object_poses"}


@pytest.fixture(scope="module")
def simulated() -> Episode:
    options = RecordingOptions(
        tasks=("push",), policies=("expert",), cameras=("front", "wrist"), width=24, height=18, max_duration=1.5
    )
    return record_episode(3, options)


def only(bag: Path, options: EpisodeOptions | None = None) -> Episode:
    """The one episode of a bag of which nothing is dropped."""
    (episode,) = read_episodes(bag, options)
    assert isinstance(episode, Episode)
    return episode


@pytest.mark.parametrize("encoding", ["16UC1", "32FC1"])
def test_a_simulated_episode_comes_back_from_its_bag(
    simulated: Episode, encoding: DepthEncoding, tmp_path: Path
) -> None:
    write_bag(simulated, tmp_path / "bag", options=BagOptions(depth_encoding=encoding))
    found = only(tmp_path / "bag")
    for field in fields(Episode):
        value, twin = getattr(simulated, field.name), getattr(found, field.name)
        if field.name in THROUGH_QUATERNIONS:
            assert np.allclose(value, twin, rtol=0, atol=ROUNDING), field.name
        elif isinstance(value, np.ndarray):
            assert np.array_equal(value, twin), field.name
        elif field.name not in {"views", *NOT_IN_BAGS}:
            assert value == twin, field.name
    assert list(found.views) == list(simulated.views)
    for name, view in simulated.views.items():
        twin = found.views[name]
        assert view.camera == twin.camera and view.mounted_on == twin.mounted_on and twin.segmentation is None
        assert np.array_equal(view.rgb, twin.rgb)
        assert np.allclose(view.T_mount_camera, twin.T_mount_camera, rtol=0, atol=ROUNDING)
        assert np.allclose(view.T_world_camera, twin.T_world_camera, rtol=0, atol=ROUNDING)
        assert view.depth is not None and twin.depth is not None
        if encoding == "32FC1":
            assert np.array_equal(view.depth, twin.depth, equal_nan=True)
        else:
            assert np.array_equal(np.isnan(view.depth), np.isnan(twin.depth))
            assert np.nanmax(np.abs(view.depth - twin.depth)) <= HALF_MILLIMETRE


def test_a_part_of_a_bag_is_neither_success_nor_failure(simulated: Episode, tmp_path: Path) -> None:
    write_bag(simulated, tmp_path / "bag")
    parts = list(read_episodes(tmp_path / "bag", EpisodeOptions(max_duration=0.8)))
    assert [(part.success, part.seed) for part in parts if isinstance(part, Episode)] == [(None, 3)] * 2


def test_the_demo_bag_is_read_as_it_was_recorded() -> None:
    bag = ROOT / "demo" / "bag"
    episode = only(bag)
    assert len(episode.times) == 113 and episode.tasks == ("push", "pick_place") and episode.success
    with BagReader(bag) as reader:
        inputs = find_inputs(reader.topics)
        for name, view in episode.views.items():
            pictures = [found.message.data.reshape(view.rgb.shape[1:]) for found in reader.messages([f"/{name}/image"])]
            assert np.array_equal(view.rgb, pictures)
            depths = [found.message.data.view(np.uint16) for found in reader.messages([f"/{name}/depth"])]
            shown = np.nan_to_num(np.rint(view.depth * 1000.0)).astype(np.uint16).reshape(len(depths), -1)
            assert np.array_equal(shown, depths)
        joints = [found.message for found in reader.messages(["/joint_states"])]
        assert np.array_equal(episode.measured, [message.position for message in joints])
        assert np.array_equal(episode.velocities, [message.velocity for message in joints])
        commands = read_commanded(reader, inputs, read_measured(reader, inputs))
    stamps = episode.start_ns + np.rint(episode.times * 1e9).astype(np.int64)
    assert np.array_equal(episode.commanded, [commands.at(episode.joint_names, int(stamp)) for stamp in stamps])


@pytest.fixture(scope="module")
def bags(tmp_path_factory: pytest.TempPathFactory) -> list[Path]:
    """Two bags of one name, as folders of recordings have them."""
    found = []
    for day, seconds in (("monday", 1.0), ("tuesday", 1.4)):
        bag = HardwareBag()
        bag.robot(seconds + 0.1)
        bag.camera("front", seconds)
        found.append(bag.write(tmp_path_factory.mktemp(day) / "drive"))
    return found


def contents(folder: Path) -> dict[str, bytes]:
    """Every file of a folder but the reports, which say how long it took."""
    return {
        str(path.relative_to(folder)): path.read_bytes()
        for path in folder.rglob("*")
        if path.is_file() and path.parent.name != "conversions"
    }


def test_the_command_converts_each_bag_once(
    bags: list[Path], tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    dataset = tmp_path / "dataset"
    twin = shutil.copytree(bags[0], tmp_path / "twin" / "drive")
    words = ["data", "from-bag", *map(str, [*bags, twin]), str(dataset), "--instruction", "drive", "--size", "4x3"]
    assert main([*words, "--jobs", "2", "--json"]) == 0
    reports = [json.loads(line) for line in capsys.readouterr().out.splitlines()]
    assert sorted(sum(report["frames"].values()) for report in reports) == [10, 14]
    assert all(report["dropped"] == [] and report["bytes"] > 0 and not report["resumed"] for report in reports)
    episodes = [EpisodeDataset(dataset)[index] for index in range(2)]
    for episode, bag in zip(sorted(episodes, key=lambda episode: len(episode.times)), bags, strict=True):
        read = only(bag, EpisodeOptions(instruction="drive", size=(4, 3)))
        assert episode.name == read.name and episode.instructions == ("drive",)
        assert np.array_equal(episode.views["front"].rgb, read.views["front"].rgb)
        assert np.array_equal(episode.measured, read.measured)

    before = contents(dataset)
    assert main([*words, "--jobs", "1"]) == 0
    assert contents(dataset) == before and capsys.readouterr().out.count("was there") == 2
    assert main([*words[:-2], "--jobs", "1"]) == 1
    assert "made with other options" in capsys.readouterr().err and contents(dataset) == before


def test_a_bag_that_cannot_be_read_does_not_stop_the_others(
    bags: list[Path], tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    torn = tmp_path / "torn.mcap"
    whole = next(bags[0].glob("*.mcap")).read_bytes()
    torn.write_bytes(whole[: len(whole) // 2])
    missing = tmp_path / "missing"
    status = main(["data", "from-bag", str(torn), str(missing), str(bags[0]), str(tmp_path / "out"), "--jobs", "1"])
    printed = capsys.readouterr().out
    assert status == 1 and "fourd bag recover" in printed and "there is no bag" in printed
    assert len(EpisodeDataset(tmp_path / "out")) == 1


def interrupt_at(share: float) -> Callable[[float], None]:
    """What Control-C does, when that share of a bag is done."""

    def progress(done: float) -> None:
        if done >= share:
            raise KeyboardInterrupt

    return progress


def test_an_interrupted_conversion_goes_on(bags: list[Path], tmp_path: Path) -> None:
    options = EpisodeOptions(max_duration=0.3)
    whole = convert_bag(BagJob(bag=bags[1], dataset=tmp_path / "whole", options=options))
    job = BagJob(bag=bags[1], dataset=tmp_path / "resumed", options=options)
    with pytest.raises(KeyboardInterrupt):
        convert_bag(job, progress=interrupt_at(0.7))
    begun = EpisodeDataset(tmp_path / "resumed").names
    assert 0 < len(begun) < len(whole.frames)
    with pytest.raises(InvalidDataset, match="other options"):
        convert_bag(BagJob(bag=bags[1], dataset=tmp_path / "resumed", options=EpisodeOptions()))
    report = convert_bag(job)
    assert report.frames == whole.frames and not report.resumed and convert_bag(job).resumed
    one, other = EpisodeDataset(tmp_path / "whole"), EpisodeDataset(tmp_path / "resumed")
    assert one.names == other.names == tuple(sorted(whole.frames))
    for index in range(len(one)):
        assert np.array_equal(one[index].views["front"].rgb, other[index].views["front"].rgb)
        assert np.array_equal(one[index].measured, other[index].measured)
