"""Recording: the same every time, resumable, and the same as a bag."""

import json
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from PIL import Image

pytest.importorskip("mujoco")

from fourd_ros.bridge.images import depth_to_metres, image_to_array
from fourd_ros.bridge.tf import TransformBuffer
from fourd_ros.cli import main
from fourd_ros.data.bag_inputs import find_inputs
from fourd_ros.data.bags import BagReader
from fourd_ros.data.episode import Episode, load_episode
from fourd_ros.data.episode_bag import COMMAND_TOPIC, OBJECTS_TOPIC, BagOptions, write_bag
from fourd_ros.errors import InvalidBag, InvalidEpisode, MissingCamera, TooLarge, UnknownTask
from fourd_ros.robot.description import RobotDescription
from fourd_ros.robot.kinematics import Kinematics
from fourd_ros.simulation.dataset import Target, record_dataset
from fourd_ros.simulation.recording import RecordingOptions, record_episode

OPTIONS = RecordingOptions(
    tasks=("reach", "push"), policies=("expert",), cameras=("front", "wrist"), width=24, height=18, rate=5
)


@pytest.fixture(scope="module")
def episode() -> Episode:
    return record_episode(1, replace(OPTIONS, tasks=("push+pick_place",)))


def test_an_episode_holds_the_whole_story(episode: Episode) -> None:
    assert episode.success and episode.tasks == ("push", "pick_place") and len(episode.instructions) == 2
    assert np.allclose(np.diff(episode.times), 0.2)
    moved = np.ptp(episode.object_poses[:, :, :3, 3], axis=0).max(-1)
    assert (moved > 0.03).sum() >= 2
    lifted = np.ptp(episode.object_poses[:, :, 2, 3], axis=0)
    assert lifted.max() > 0.08
    assert set(episode.views) == {"front", "wrist"}
    assert (episode.name, episode.source) == ("episode_000001", "simulation")
    assert Kinematics(RobotDescription.from_urdf(episode.robot_description)).joint_names == episode.joint_names
    wrist = episode.views["wrist"]
    assert wrist.mounted_on == "panda_hand" and np.ptp(wrist.T_world_camera[:, :3, 3], axis=0).max() > 0.1
    assert np.ptp(episode.views["front"].T_world_camera, axis=0).max() == 0


def test_commands_and_measurements_differ_where_something_is_held(episode: Episode) -> None:
    finger = episode.joint_names.index("panda_finger_joint1")
    held = (episode.measured - episode.commanded)[:, finger] > 0.005
    assert held.sum() >= 3
    arm = [index for index in range(len(episode.joint_names)) if index != finger]
    assert np.abs(episode.measured - episode.commanded)[:, arm].max() < 0.1
    assert np.abs(episode.measured - episode.commanded)[:, arm].max() > 0


def test_the_same_seed_records_the_same_bytes_in_any_process(tmp_path: Path) -> None:
    here, there = Target(folder=tmp_path / "here"), Target(folder=tmp_path / "there")
    options = replace(OPTIONS, cameras=("wrist",), max_duration=2.0)
    alone = sorted(summary.seed for summary in record_dataset([3, 4], options, here))
    parallel = sorted(summary.seed for summary in record_dataset([3, 4], options, there, workers=2))
    assert alone == parallel == [3, 4]
    for seed in alone:
        assert here.path(seed, "episode").read_bytes() == there.path(seed, "episode").read_bytes()
    assert here.path(3, "episode").read_bytes() != here.path(4, "episode").read_bytes()


def test_recording_goes_on_where_it_stopped(tmp_path: Path) -> None:
    target = Target(folder=tmp_path, formats=("episode", "bag"))
    options = replace(OPTIONS, tasks=("reach",), cameras=("front",), max_duration=1.0)
    assert [summary.seed for summary in record_dataset([1, 2], options, target)] == [1, 2]
    kept = target.path(1, "episode").stat().st_mtime_ns
    before = target.path(2, "episode").read_bytes()
    target.path(2, "episode").unlink()
    assert [summary.seed for summary in record_dataset([1, 2], options, target)] == [2]
    assert target.path(1, "episode").stat().st_mtime_ns == kept
    assert target.path(2, "episode").read_bytes() == before
    assert list(record_dataset([1, 2], options, target)) == []
    with pytest.raises(InvalidEpisode, match="other height, width"):
        list(record_dataset([1, 2], replace(options, width=32, height=32), target))


@pytest.mark.parametrize(
    ("change", "error", "message"),
    [
        ({"tasks": ("push+juggle",)}, UnknownTask, "juggle"),
        ({"tasks": ()}, UnknownTask, "at least one"),
        ({"policies": ("genius",)}, UnknownTask, "genius"),
        ({"cameras": ("ceiling",)}, MissingCamera, "ceiling"),
        ({"width": 100_000}, TooLarge, "100000"),
        ({"rate": 0.0}, TooLarge, "frames a second"),
        ({"max_duration": float("nan")}, TooLarge, "nan"),
    ],
)
def test_impossible_options_are_refused(change: dict[str, Any], error: type[Exception], message: str) -> None:
    with pytest.raises(error, match=message):
        replace(OPTIONS, **change)


def test_an_episode_is_cut_at_its_longest_duration() -> None:
    short = record_episode(1, replace(OPTIONS, tasks=("push",), max_duration=1.0))
    assert short.times[-1] == pytest.approx(1.0) and not short.success


@pytest.fixture(scope="module")
def bag(episode: Episode, tmp_path_factory: pytest.TempPathFactory) -> Path:
    path = tmp_path_factory.mktemp("bags") / "episode"
    write_bag(episode, path)
    return path


def test_the_bag_has_all_that_a_world_model_needs(episode: Episode, bag: Path) -> None:
    with BagReader(bag) as reader:
        inputs = find_inputs(reader.topics)
        assert inputs.missing == ()
        assert [camera.name for camera in inputs.cameras] == ["front", "wrist"]
        assert len(reader.stamps("/clock")) == len(episode.times)
        assert "panda_link0" in reader.first("/robot_description").message.data


def test_pictures_in_the_bag_are_those_of_the_episode(episode: Episode, bag: Path) -> None:
    with BagReader(bag) as reader:
        for name, view in episode.views.items():
            images = [found.message for found in reader.messages([f"/{name}/image"])]
            assert np.array_equal([image_to_array(image) for image in images], view.rgb)
            depths = np.array([depth_to_metres(found.message) for found in reader.messages([f"/{name}/depth"])])
            assert np.array_equal(np.isnan(depths), np.isnan(view.depth))
            assert np.nanmax(np.abs(depths - view.depth)) < 0.51e-3
            info = reader.first(f"/{name}/camera_info").message
            assert np.array_equal(np.reshape(info.k, (3, 3)), view.camera.K)


def test_transforms_in_the_bag_lead_to_the_cameras(episode: Episode, bag: Path) -> None:
    transforms = TransformBuffer(duration=60.0)
    with BagReader(bag) as reader:
        for found in reader.messages(["/tf_static", "/tf"]):
            for transform in found.message.transforms:
                transforms.add(transform, static=found.topic == "/tf_static")
    for name, view in episode.views.items():
        for index in (0, len(episode.times) // 2, len(episode.times) - 1):
            stamp = episode.start_ns + round(episode.times[index] * 1e9)
            T = transforms.lookup("panda_link0", f"{name}_optical_frame", stamp)
            assert np.allclose(T, view.T_world_camera[index], atol=1e-9)


def test_commands_in_the_bag_tell_the_future_that_was_commanded(episode: Episode, bag: Path) -> None:
    with BagReader(bag) as reader:
        messages = [found.message for found in reader.messages([COMMAND_TOPIC])]
        stamps = reader.stamps(COMMAND_TOPIC)
    assert len(messages) >= episode.times[-1] - 1
    for message, stamp in zip(messages, stamps, strict=True):
        first = round((int(stamp) - episode.start_ns) * 1e-9 * episode.rate)
        positions = np.array([point.positions for point in message.points])
        assert np.array_equal(positions, episode.commanded[first : first + len(positions)])
        seconds = [point.time_from_start.sec + point.time_from_start.nanosec * 1e-9 for point in message.points]
        assert np.allclose(seconds, np.arange(len(positions)) / episode.rate)
        assert len(positions) == min(4 * episode.rate + 1, len(episode.times) - first)


def test_the_truth_about_objects_is_in_the_bag(episode: Episode, bag: Path) -> None:
    with BagReader(bag) as reader:
        last = [found.message for found in reader.messages([OBJECTS_TOPIC])][-1]
    assert [item.id for item in last.objects] == list(episode.object_names)
    for number, item in enumerate(last.objects):
        point = item.pose.pose.position
        assert np.allclose([point.x, point.y, point.z], episode.object_poses[-1, number, :3, 3])
        assert item.labels == [episode.object_labels[number]]


def test_exact_depth_can_be_asked_for_and_bags_are_not_overwritten(episode: Episode, bag: Path, tmp_path: Path) -> None:
    write_bag(episode, tmp_path / "exact", options=BagOptions(depth_encoding="32FC1", chunk=1.0, chunk_period=2.0))
    with BagReader(tmp_path / "exact") as reader:
        depth = depth_to_metres(reader.first("/front/depth").message)
        assert np.array_equal(depth, episode.views["front"].depth[0], equal_nan=True)
        assert np.allclose(np.diff(reader.stamps(COMMAND_TOPIC)), 2e9)
        assert len(reader.first(COMMAND_TOPIC).message.points) == 6
    with pytest.raises(InvalidBag, match="exists already"):
        write_bag(episode, bag)


def test_a_bag_leaves_out_what_an_episode_does_not_know(episode: Episode, tmp_path: Path) -> None:
    commanded = episode.commanded.copy()
    commanded[:, -1] = np.nan
    commanded[:3] = np.nan
    commanded[8:] = np.nan
    sparse = replace(
        episode,
        commanded=commanded,
        velocities=np.full_like(episode.velocities, np.nan),
        views={"front": replace(episode.views["front"], depth=None, segmentation=None)},
        object_names=(),
        object_labels=(),
        object_sizes=np.zeros(0),
        object_poses=np.zeros(0),
        success=None,
        seed=None,
    )
    write_bag(sparse, tmp_path / "sparse", options=BagOptions(chunk_period=0.2))
    with BagReader(tmp_path / "sparse") as reader:
        assert not {"/front/depth", OBJECTS_TOPIC} & set(reader.topics)
        assert len(reader.first("/joint_states").message.velocity) == 0
        commands = [found.message for found in reader.messages([COMMAND_TOPIC])]
    assert [len(command.points) for command in commands] == [5, 4, 3, 2, 1]
    assert list(commands[0].joint_names) == list(episode.joint_names[:-1])
    assert np.array_equal(commands[0].points[0].positions, commanded[3, :-1])
    for unknown in (replace(sparse, robot_description=""), replace(sparse, joint_names=tuple("abcdefgh"))):
        with pytest.raises(InvalidEpisode, match=r"no robot description|lacks the robot's joints"):
            write_bag(unknown, tmp_path / "unknown")
    assert not (tmp_path / "unknown").exists()


def test_the_command_line_records_views_and_converts(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    record = ["sim", "record", "--tasks", "reach", "--size", "24x18", "--rate", "5", "--cameras", "front"]
    assert main([*record, "--episodes", "1", "--seed", "5", "--out", str(tmp_path), "--json"]) == 0
    assert json.loads(capsys.readouterr().out)["seed"] == 5
    file = tmp_path / "episode_000005.npz"
    assert load_episode(file).views["front"].rgb.shape[1:] == (18, 24, 3)
    assert main(["sim", "view", str(file), "--out", str(tmp_path / "sheet.png"), "--frames", "4"]) == 0
    assert Image.open(tmp_path / "sheet.png").size == (4 * 24, 3 * 18)
    assert main(["sim", "view", str(file), "--out", str(tmp_path / "film.gif")]) == 0
    assert Image.open(tmp_path / "film.gif").n_frames > 5
    assert main(["sim", "bag", str(file), str(tmp_path / "bag")]) == 0
    assert main(["sim", "bag", str(file), str(tmp_path / "bag")]) == 1
    assert main([*record, "--policies", "genius", "--out", str(tmp_path)]) == 1
    assert "genius" in capsys.readouterr().err
