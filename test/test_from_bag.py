"""Bags read as episodes: bags of hardware with all their troubles, and nothing is lost without a word."""

from collections import Counter
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from hardware_bag import (
    JOINTS,
    NS,
    SPEEDS,
    START_NS,
    HardwareBag,
    assert_motion,
    assert_poses,
    calibration,
    header,
    new,
    numbers,
    picture,
    read,
    seconds,
    stamp,
)
from mcap.reader import make_reader
from rosbags.rosbag2 import StoragePlugin, Writer

from fourd_ros.bridge.episode_reader import Dropped, read_episodes
from fourd_ros.data.bags import BagReader, RawMessage
from fourd_ros.data.episode import Episode
from fourd_ros.errors import InvalidBag


def as_sqlite(bag: Path, path: Path, change: Callable[[RawMessage], bytes] = lambda raw: bytes(raw.data)) -> Path:
    """The bag in the other storage, its messages changed."""
    with BagReader(bag) as reader, Writer(path, version=9, storage_plugin=StoragePlugin.SQLITE3) as writer:
        connections = {
            topic.name: writer.add_connection(
                topic.name,
                topic.typename,
                msgdef=reader.types.definition(topic.typename),
                rihs01=reader.types.hash(topic.typename),
            )
            for topic in reader.topics.values()
        }
        for raw in reader.raw():
            writer.write(connections[raw.topic], raw.stamp_ns, change(raw))
    return path


@pytest.fixture
def robot() -> HardwareBag:
    """Two seconds of a robot whose cameras are still to come."""
    return HardwareBag.of_robot(2.0)


def test_an_orderly_bag_is_one_episode(robot: HardwareBag, tmp_path: Path) -> None:
    robot.camera("front", 1.9)
    robot.camera("wrist", 1.9)
    (episode,), dropped = read(robot.write(tmp_path / "my bag"))
    assert dropped == {}
    assert episode.rate == 10.0 and np.array_equal(episode.times, np.arange(19) / 10)
    assert episode.joint_names == JOINTS and episode.start_ns == START_NS
    assert episode.name.startswith("my_bag_") and episode.name.endswith(f"_{START_NS}")
    assert numbers(episode, "front") == numbers(episode, "wrist") == list(range(19))
    assert_motion(episode)
    assert_poses(episode)
    assert np.allclose(episode.velocities, SPEEDS) and np.isnan(episode.commanded).all()
    assert episode.robot_description.startswith("<robot") and episode.success is None and episode.seed is None


def test_cameras_at_different_rates_give_their_nearest_images(robot: HardwareBag, tmp_path: Path) -> None:
    robot.camera("front", 1.95, rate=10.0)
    robot.camera("wrist", 1.95, rate=30.0, start=0.01)
    bag = robot.write(tmp_path / "bag")
    (episode,), dropped = read(bag)
    assert episode.rate == 10.0 and dropped == {}
    shown = numbers(episode, "wrist")
    assert numbers(episode, "front") == list(range(20))
    nearest = np.abs(np.arange(59)[None] / 30 - seconds(episode)[:, None]).argmin(axis=1)
    assert shown == nearest.tolist()
    assert_poses(episode, np.array(shown) / 30)
    (fast,), _ = read(bag, rate=30.0)
    assert fast.rate == 30.0 and numbers(fast, "wrist") == list(range(59))
    assert numbers(fast, "front") == np.clip(np.rint(np.arange(59) / 3 - 1e-9), 0, 19).astype(int).tolist()
    (slow,), _ = read(bag, rate=4.0)
    assert np.round(slow.times, 6).tolist() == [0.0, 0.2, 0.5, 0.7, 1.0, 1.2, 1.5, 1.7, 1.9]
    with pytest.raises(InvalidBag, match=r"no camera gives 100\.0 images a second"):
        read(bag, rate=100.0)


def test_without_a_description_tf_tells_what_carries_a_camera(tmp_path: Path) -> None:
    bag = HardwareBag()
    bag.mounts(recorded=1.5)
    bag.joints(2.0)
    bag.transforms(1.5, delay=0.6)
    bag.camera("wrist", 1.4)
    bag.camera("front", 1.4)
    path = bag.write(tmp_path / "late")
    (episode,), dropped = read(path)
    assert dropped == {} and episode.joint_names == JOINTS and episode.robot_description == ""
    assert len(episode.times) == 14
    assert_poses(episode)
    _, dropped = read(path, patience=0.2)
    assert dropped["transform_unavailable"].count == 14 and "not connected" in dropped["transform_unavailable"].why


def test_frames_before_and_in_gaps_of_tf_are_left_out(tmp_path: Path) -> None:
    bag = HardwareBag()
    bag.mounts()
    bag.joints(4.0)
    bag.transforms(1.0, start=0.5)
    bag.transforms(4.0, start=2.8)
    bag.camera("wrist", 3.9)
    episodes, dropped = read(bag.write(tmp_path / "bag"))
    assert [seconds(episode)[[0, -1]].round(3).tolist() for episode in episodes] == [[0.5, 0.9], [2.8, 3.8]]
    assert dropped["transform_unavailable"].count == 5 + 18
    assert dropped["transform_unavailable"].first_ns == START_NS


def test_kinematics_stand_in_where_tf_is_not_recorded(tmp_path: Path) -> None:
    bag = HardwareBag()
    bag.describe()
    bag.joints(2.0)
    bag.camera("wrist", 1.9)
    bag.camera("front", 1.9)
    (episode,), dropped = read(bag.write(tmp_path / "bag"), cameras=("wrist",))
    assert dropped == {} and list(episode.views) == ["wrist"]
    assert_poses(episode)


def test_joints_of_several_publishers_and_topics_are_put_together(tmp_path: Path) -> None:
    for topics in (("/joint_states", "/joint_states"), ("/left/joint_states", "/hand/joint_states")):
        bag = HardwareBag()
        bag.describe()
        bag.transforms(2.0)
        bag.joints(2.0, names=("a",), topic=topics[0], rate=100.0)
        bag.joints(2.0, names=("b",), topic=topics[1], rate=20.0, start=0.013, delay=0.2, velocities=False)
        bag.camera("front", 1.9)
        (episode,), dropped = read(bag.write(tmp_path / topics[1].replace("/", "_")))
        assert_motion(episode)
        assert np.isnan(episode.velocities[1:, 1]).all() and np.allclose(episode.velocities[:, 0], SPEEDS[0])
        assert dropped == {}


def test_joints_that_fall_silent_and_those_never_measured(tmp_path: Path) -> None:
    bag = HardwareBag()
    bag.describe()
    bag.transforms(3.0)
    bag.joints(1.0)
    bag.camera("front", 2.9)
    (episode,), dropped = read(bag.write(tmp_path / "bag"))
    assert episode.joint_names == ("a", "b") and dropped["no_observation"].count == 17
    bag.messages = [m for m in bag.messages if m[1] != "/joint_states"]
    bag.joints(3.0, names=("a",))
    (episode,), dropped = read(bag.write(tmp_path / "other"))
    assert episode.joint_names == ("a",) and "['b']" in dropped["invalid_joints"].why


def test_a_camera_that_vanishes_ends_the_episode(tmp_path: Path) -> None:
    for gone, left in (("wrist", "front"), ("front", "wrist")):
        bag = HardwareBag()
        bag.robot(6.0)
        bag.camera(gone, 2.0)
        bag.camera(left, 5.9)
        path = bag.write(tmp_path / gone)
        (episode,), dropped = read(path)
        assert len(episode.times) == 20
        assert dropped["missing_image"].count in range(38, 41)
        assert dropped["missing_image"].first_ns - START_NS in range(2 * NS, 21 * NS // 10 + 1)
        (alone,), dropped = read(path, cameras=(left,))
        assert len(alone.times) == 59 and dropped == {}


def test_holes_end_an_episode_or_are_bridged(robot: HardwareBag, tmp_path: Path) -> None:
    robot.camera("front", 0.5)
    robot.camera("front", 1.9, start=0.8)
    path = robot.write(tmp_path / "bag")
    (bridged,), dropped = read(path)
    assert np.diff(bridged.times).round(6).tolist() == [0.1] * 4 + [0.4] + [0.1] * 10
    assert dropped["missing_image"].count == 3
    first, second = read(path, gap=0.0)[0]
    assert (len(first.times), len(second.times)) == (5, 11)
    episodes, dropped = read(path, gap=0.0, min_frames=8)
    assert len(episodes) == 1 and dropped["short_episode"].count == 5


@pytest.mark.parametrize("clock", [True, False])
def test_a_clock_that_is_set_back_begins_anew(tmp_path: Path, clock: bool) -> None:
    bag = HardwareBag()
    for turn in range(2):
        one = HardwareBag()
        one.robot(3.0)
        one.camera("front", 2.9)
        if clock:
            for t in np.arange(0.0, 3.0, 0.01):
                one.put("/clock", "rosgraph_msgs/msg/Clock", new("rosgraph_msgs/msg/Clock", clock=header(t).stamp), t)
        bag.messages += [(when + turn * 3 * NS, *rest) for when, *rest in one.messages]
    episodes, dropped = read(bag.write(tmp_path / "bag"))
    assert len(episodes) == 2 and dropped == {}
    for episode in episodes:
        assert numbers(episode, "front") == list(range(29)) and seconds(episode)[-1] == pytest.approx(2.8)
        assert_motion(episode)


def test_single_wrong_stamps_cost_one_message_each(robot: HardwareBag, tmp_path: Path) -> None:
    def edit(message: Any, index: int) -> Any:
        if index in (5, 9):
            message.header.stamp.sec += 3600 if index == 5 else -3600
        return message

    robot.camera("front", 1.9, edit=edit)
    (episode,), dropped = read(robot.write(tmp_path / "bag"))
    assert numbers(episode, "front") == [n for n in range(19) if n not in (5, 9)]
    assert dropped["wrong_stamp"].count == 2 and "DOUBTFUL" not in dropped["wrong_stamp"].why


def test_unusable_images_are_named(robot: HardwareBag, tmp_path: Path) -> None:
    def edit(message: Any, index: int) -> Any:
        if index == 3:
            message.encoding = "bayer_rggb8"
        if index == 7:
            return picture((stamp(0.7) - START_NS) / NS, "front", index, size=(4, 4))
        return message

    robot.camera("front", 1.9, edit=edit)
    robot.camera("side", 1.9, info=False)
    (episode,), dropped = read(robot.write(tmp_path / "bag"))
    assert numbers(episode, "front") == [n for n in range(19) if n not in (3, 7)]
    assert dropped["invalid_image"].count == 2 and "bayer_rggb8" in dropped["invalid_image"].why
    assert dropped["missing_camera"].count == 19 and "side/camera_info" in dropped["missing_camera"].why
    with pytest.raises(InvalidBag, match=r"no camera .'rear'.*it has .'front', 'side'"):
        read(tmp_path / "bag", cameras=("rear",))


def test_another_calibration_begins_another_episode(robot: HardwareBag, tmp_path: Path) -> None:
    robot.camera("front", 1.0)
    robot.camera("front", 1.9, start=1.0, info=False)
    robot.put("/front/camera_info", "sensor_msgs/msg/CameraInfo", calibration(0.95, "front", focal=20.0), 0.99)
    first, second = read(robot.write(tmp_path / "bag"))[0]
    assert (first.views["front"].camera.K[0, 0], second.views["front"].camera.K[0, 0]) == (10.0, 20.0)
    assert numbers(second, "front") == list(range(9)) and len(first.times) == 10


def test_long_recordings_are_cut_by_time_and_by_memory(robot: HardwareBag, tmp_path: Path) -> None:
    robot.camera("front", 1.9)
    path = robot.write(tmp_path / "bag")
    pieces, dropped = read(path, max_duration=0.5)
    assert [len(piece.times) for piece in pieces] == [5, 5, 5, 4] and dropped == {}
    assert [number for piece in pieces for number in numbers(piece, "front")] == list(range(19))
    assert len({piece.name for piece in pieces}) == 4
    pieces, _ = read(path, max_bytes=6 * 8 * 6 * 3)
    assert [len(piece.times) for piece in pieces] == [6, 6, 6]


def test_recordings_whose_times_are_of_another_clock(robot: HardwareBag, tmp_path: Path) -> None:
    robot.camera("front", 1.9)
    robot.text("/task", "second", 1.05)
    robot.text("/task", "first", 0.0)
    robot.messages = [(when + 10**17, *rest) for when, *rest in robot.messages]
    (episode,), dropped = read(robot.write(tmp_path / "bag"), instruction_topic="/task")
    assert dropped == {} and episode.start_ns == START_NS and episode.instructions == ("first", "second")


def test_sqlite_bags_are_read_alike(robot: HardwareBag, tmp_path: Path) -> None:
    robot.camera("front", 1.9)
    robot.camera("wrist", 1.9)
    path = robot.write(tmp_path / "bag")
    (one,), (other,) = read(path)[0], read(as_sqlite(path, tmp_path / "lite"))[0]
    assert np.array_equal(one.measured, other.measured) and np.array_equal(one.times, other.times)
    for name, view in one.views.items():
        assert np.array_equal(view.rgb, other.views[name].rgb)
        assert np.array_equal(view.T_world_camera, other.views[name].T_world_camera)


def test_a_truncated_bag_is_refused_with_the_command_that_saves_it(robot: HardwareBag, tmp_path: Path) -> None:
    robot.camera("front", 1.9)
    path = robot.write(tmp_path / "bag")
    database = next(path.glob("*.mcap"))
    database.write_bytes(database.read_bytes()[: database.stat().st_size * 2 // 3])
    with pytest.raises(InvalidBag, match="fourd bag recover"):
        read(path)


def test_messages_that_are_damaged_cost_nothing_but_themselves(robot: HardwareBag, tmp_path: Path) -> None:
    robot.camera("front", 1.9)
    bad = {"/joint_states": range(3, 6), "/tf": range(2), "/tf_static": range(1, 2), "/front/image": range(18, 19)}
    robot.mounts(recorded=0.1)
    seen: Counter[str] = Counter()

    def damaged(raw: RawMessage) -> bytes:
        seen[raw.topic] += 1
        return raw.data[:30] if seen[raw.topic] - 1 in bad.get(raw.topic, ()) else raw.data

    path = as_sqlite(robot.write(tmp_path / "bag"), tmp_path / "lite", damaged)
    episode, *dropped = read_episodes(path)
    assert isinstance(episode, Episode) and numbers(episode, "front") == list(range(18))
    assert episode.joint_names == JOINTS
    assert_poses(episode)
    lost = {entry.what: entry.count for entry in dropped if isinstance(entry, Dropped)}
    assert lost == {"/joint_states": 3, "/tf": 2, "/tf_static": 1, "frames": 1}
    assert {entry.kind for entry in dropped if isinstance(entry, Dropped)} == {"unknown_message_type"}


def test_damage_in_the_middle_keeps_what_came_before(robot: HardwareBag, tmp_path: Path) -> None:
    robot.camera("front", 1.9)
    for chunk in range(4):
        robot.text("/notes", "x" * 1024**2, chunk / 2)
    path = robot.write(tmp_path / "bag")
    (whole,), _ = read(path)
    storage = next(path.glob("*.mcap"))
    with storage.open("r+b") as file:
        summary = make_reader(file).get_summary()
        assert summary is not None
        chunk = summary.chunk_indexes[2]
        file.seek(chunk.chunk_start_offset + chunk.chunk_length - chunk.compressed_size)
        file.write(bytes(chunk.compressed_size))
    (episode,), dropped = read(path)
    kept = len(episode.times)
    assert 0 < kept < 19 and numbers(episode, "front") == list(range(kept))
    assert (
        np.array_equal(episode.measured, whole.measured[:kept]) and dropped["invalid_bag"].what == "the rest of the bag"
    )


def test_a_calibration_without_a_frame_is_told(robot: HardwareBag, tmp_path: Path) -> None:
    robot.camera("front", 1.9)
    for _, _, _, message in robot.messages:
        if "CameraInfo" in type(message).__name__:
            message.header.frame_id = ""
    episodes, dropped = read(robot.write(tmp_path / "bag"))
    assert episodes == [] and "names no frame" in dropped["invalid_camera"].why
