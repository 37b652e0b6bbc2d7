"""Bags on disk: what is written is read, whole or not at all, and damage has a name."""

import contextlib
import json
from pathlib import Path

import numpy as np
import pytest
import yaml
from bag_rig import IMAGE, NS, START_NS, STRING, TF, make_image, make_transforms, write_small_bag
from mcap.reader import make_reader
from rosbags.rosbag2 import Reader

from fourd_ros.data.bag_inputs import find_inputs
from fourd_ros.data.bag_qos import QosDurability, QosReliability, offered_qos
from fourd_ros.data.bag_summary import summarize
from fourd_ros.data.bags import BagReader, BagWriter, recover
from fourd_ros.data.message_types import MessageTypes
from fourd_ros.errors import InvalidBag, UnknownMessageType

TF_HASH = "RIHS01_e369d0f05a23ae52508854b66f6aa0437f3449d652e8cbf22d5abe85d020f087"


@pytest.fixture
def bag(tmp_path: Path) -> Path:
    return write_small_bag(tmp_path / "small")


def mcap_of(bag: Path) -> Path:
    return bag / f"{bag.name}.mcap"


@pytest.mark.parametrize("compression", ["zstd", ""])
def test_what_is_written_is_read(tmp_path: Path, compression: str) -> None:
    path = write_small_bag(tmp_path / "bag", images=7, compression=compression)
    with BagReader(path) as reader:
        images = list(reader.messages(["/front/image"]))
        assert [int(image.message.data[0]) for image in images] == list(range(7))
        assert images[3].stamp_ns == START_NS + 150_000_000
        assert images[3].message.header.stamp.nanosec == 150_000_000
        assert reader.message_count == 7 + 7 + 3
        assert reader.duration == pytest.approx(0.3)
        assert reader.first("/robot_description").message.data == "<robot name='r'/>"


def test_a_time_range_has_an_open_end(bag: Path) -> None:
    with BagReader(bag) as reader:
        start = START_NS + round(0.25 * NS)
        found = [
            message.stamp_ns for message in reader.raw(["/joint_states"], start_ns=start, stop_ns=start + NS // 10)
        ]
    assert found == [start, start + NS // 20]


def test_metadata_is_what_rosbag2_expects(bag: Path) -> None:
    info = yaml.safe_load((bag / "metadata.yaml").read_text())["rosbag2_bagfile_information"]
    assert (info["version"], info["storage_identifier"], info["relative_file_paths"]) == (9, "mcap", ["small.mcap"])
    topics = {entry["topic_metadata"]["name"]: entry["topic_metadata"] for entry in info["topics_with_message_count"]}
    assert topics["/tf_static"]["type_description_hash"] == TF_HASH
    durability = {name: topic["offered_qos_profiles"][0]["durability"] for name, topic in topics.items()}
    assert durability == {
        "/robot_description": "transient_local",
        "/tf_static": "transient_local",
        "/joint_states": "volatile",
        "/front/image": "volatile",
    }
    assert all(topic["serialization_format"] == "cdr" for topic in topics.values())


def test_another_mcap_library_reads_it_with_checked_checksums(bag: Path) -> None:
    with mcap_of(bag).open("rb") as file:
        reader = make_reader(file, validate_crcs=True)
        assert reader.get_header().profile == "ros2"
        stamps = [message.log_time for _, channel, message in reader.iter_messages() if channel.topic == "/front/image"]
    assert len(stamps) == 20 and stamps == sorted(stamps)


def test_all_of_our_interfaces_can_be_bagged(tmp_path: Path) -> None:
    definitions = Path(__file__).parents[1] / "msg" / "msg"
    names = [f"fourd_msgs/msg/{file.stem}" for file in sorted(definitions.glob("*.msg"))]
    assert len(names) >= 6
    with BagWriter(tmp_path / "bag") as bag:
        for name in names:
            bag.declare(f"/{name}", name)
        drag = bag.types["fourd_msgs/msg/Drag"]
        point = bag.types["geometry_msgs/msg/Point"](x=1.0, y=2.0, z=3.0)
        vector = bag.types["geometry_msgs/msg/Vector3"](x=0.0, y=0.0, z=0.5)
        header = bag.types["std_msgs/msg/Header"](
            stamp=bag.types["builtin_interfaces/msg/Time"](sec=1, nanosec=2), frame_id="base"
        )
        message = drag(header=header, start=point, displacement=vector, object_id="box", radius=0.5)
        bag.write("/drag", "fourd_msgs/msg/Drag", message, 5)
    with Reader(tmp_path / "bag") as reader:
        assert {connection.msgtype for connection in reader.connections} == set(names)
    with BagReader(tmp_path / "bag") as reader:
        assert reader.first("/drag").message.start.y == 2.0


def test_hashes_are_those_of_the_built_interfaces() -> None:
    fourd_msgs = pytest.importorskip("fourd_msgs")
    shares = [Path(fourd_msgs.__file__).parents[depth] / "share" / "fourd_msgs" / "msg" for depth in (3, 4)]
    share = next((share for share in shares if share.is_dir()), None)
    if share is None:
        pytest.skip("fourd_msgs is installed without its share folder")
    types = MessageTypes()
    for file in share.glob("*.json"):
        built = json.loads(file.read_text())["type_hashes"]
        name = f"fourd_msgs/msg/{file.stem}"
        assert types.hash(name) == next(entry["hash_string"] for entry in built if entry["type_name"] == name)


def test_nothing_is_left_of_a_bag_whose_writer_failed(tmp_path: Path) -> None:
    with contextlib.suppress(RuntimeError), BagWriter(tmp_path / "bag") as bag:
        bag.write("/text", STRING, bag.types[STRING](data="x"), 0)
        raise RuntimeError("power cut")
    assert list(tmp_path.iterdir()) == []


def test_an_existing_bag_is_replaced_only_when_asked_and_only_by_a_whole_one(bag: Path) -> None:
    with pytest.raises(InvalidBag, match="exists already"):
        BagWriter(bag)
    with contextlib.suppress(RuntimeError), BagWriter(bag, overwrite=True):
        raise RuntimeError
    assert BagReader(bag).message_count == 43
    with BagWriter(bag, overwrite=True) as writer:
        writer.write("/text", STRING, writer.types[STRING](data="new"), 0)
    assert BagReader(bag).message_count == 1
    assert [entry.name for entry in bag.parent.iterdir()] == ["small"]


def test_a_topic_has_one_type(tmp_path: Path) -> None:
    with BagWriter(tmp_path / "bag") as bag:
        bag.write("/text", STRING, bag.types[STRING](data="x"), 0)
        with pytest.raises(InvalidBag, match="one type"):
            bag.write("/text", TF, make_transforms(bag.types, 0, "camera"), 1)


def test_recorded_profiles_come_back(tmp_path: Path) -> None:
    with BagWriter(tmp_path / "bag") as bag:
        image = bag.types.serialize(make_image(bag.types, 0, 4, 0), IMAGE)
        bag.write_raw("/a", IMAGE, image, 0, qos=offered_qos(reliable=False, depth=3))
        bag.write_raw("/b", IMAGE, image, 0, latched=True)
    with BagReader(tmp_path / "bag") as reader:
        assert reader.topics["/a"].qos[0].reliability == QosReliability.BEST_EFFORT
        assert reader.topics["/a"].qos[0].depth == 3
        assert reader.topics["/b"].qos[0].durability == QosDurability.TRANSIENT_LOCAL
        assert reader.topics["/b"].latched and not reader.topics["/a"].latched


def test_stamps_from_the_index_are_those_of_the_messages(bag: Path) -> None:
    with BagReader(mcap_of(bag)) as reader:
        expected = [message.stamp_ns for message in reader.raw(["/front/image"])]
        assert np.array_equal(reader.stamps("/front/image"), expected)


def test_a_type_is_learned_from_the_bag_but_never_replaces_a_known_one(tmp_path: Path) -> None:
    types = MessageTypes()
    types.offer("other_msgs/msg/Pair", "float64 left\nstd_msgs/String name\n")
    types.offer(STRING, "float64 data\n")
    with BagWriter(tmp_path / "bag", types=types) as bag:
        pair = bag.types["other_msgs/msg/Pair"](left=0.5, name=bag.types[STRING](data="x"))
        bag.write("/pair", "other_msgs/msg/Pair", pair, 0)
    with BagReader(tmp_path / "bag") as reader:
        found = reader.first("/pair").message
    assert (found.left, found.name.data) == (0.5, "x")


@pytest.mark.parametrize("name", ["x/msg/A:\n  pass\nimport os #", "../etc/passwd", "std_msgs/String", ""])
def test_a_type_name_is_checked_before_it_is_used(name: str) -> None:
    types = MessageTypes()
    types.offer(name, "float64 x\n")
    with pytest.raises(UnknownMessageType):
        types[name]


def test_unknown_types_and_wrong_bytes_are_typed_errors() -> None:
    types = MessageTypes()
    with pytest.raises(UnknownMessageType, match="install the package 'nowhere_msgs'"):
        types["nowhere_msgs/msg/Thing"]
    with pytest.raises(UnknownMessageType, match="not a 'sensor_msgs/msg/Image'"):
        types.deserialize(b"\0\1\0\0\xff\xff\xff\xff", IMAGE)


def test_what_dds_serialises_is_read_whatever_follows_it() -> None:
    from rclpy.serialization import serialize_message
    from sensor_msgs.msg import JointState

    types = MessageTypes()
    for length in range(1, 9):
        data = serialize_message(JointState(name=["a" * length], position=[0.25]))
        found = types.deserialize(data, "sensor_msgs/msg/JointState")
        assert found.position.tolist() == [0.25] and found.velocity.tolist() == []


@pytest.mark.parametrize("kept", [0.3, 0.7, 0.99])
def test_a_truncated_bag_says_how_far_it_is_readable_and_can_be_saved(tmp_path: Path, kept: float) -> None:
    bag = write_small_bag(tmp_path / "cut", images=40, size=256, compression="")
    data = mcap_of(bag).read_bytes()
    mcap_of(bag).write_bytes(data[: round(len(data) * kept)])
    with pytest.raises(InvalidBag, match=r"truncated; readable: [0-9.]+ s in \d+ of \d+ bytes.*fourd bag recover"):
        BagReader(bag)
    count = recover(bag, tmp_path / "saved")
    assert 0.6 * kept * 83 < count <= 83
    with BagReader(tmp_path / "saved") as reader:
        values = [int(image.message.data[-1]) for image in reader.messages(["/front/image"])]
        assert reader.topics["/tf_static"].latched
    assert values == list(range(len(values)))


def test_every_truncation_is_a_typed_error(bag: Path) -> None:
    data = mcap_of(bag).read_bytes()
    for size in [*range(0, 60), *range(60, len(data), 97)]:
        mcap_of(bag).write_bytes(data[:size])
        with pytest.raises(InvalidBag):
            BagReader(mcap_of(bag))


def test_flipped_bytes_never_raise_anything_but_typed_errors(tmp_path: Path) -> None:
    bag = write_small_bag(tmp_path / "bag", images=3)
    data = bytearray(mcap_of(bag).read_bytes())
    generator = np.random.default_rng(3)
    for position in generator.integers(0, len(data), 40):
        damaged = data.copy()
        damaged[position] ^= 0xFF
        mcap_of(bag).write_bytes(damaged)
        try:
            with BagReader(mcap_of(bag)) as reader:
                for topic in reader.topics:
                    reader.stamps(topic)
                for _ in reader.messages():
                    pass
        except InvalidBag:
            continue


def test_a_folder_without_metadata_names_the_files_that_can_be_read(bag: Path) -> None:
    (bag / "metadata.yaml").unlink()
    with pytest.raises(InvalidBag, match=r"no metadata.yaml.*small.mcap"):
        BagReader(bag)
    assert BagReader(mcap_of(bag)).message_count == 43


def test_what_is_not_a_bag_is_refused(tmp_path: Path) -> None:
    (tmp_path / "text.mcap").write_text("no bag at all")
    (tmp_path / "text.bag").write_text("no bag at all")
    for path in (tmp_path, tmp_path / "missing", tmp_path / "text.mcap", tmp_path / "text.bag"):
        with pytest.raises(InvalidBag):
            BagReader(path)


def test_a_message_beyond_the_bound_is_refused(bag: Path) -> None:
    with BagReader(bag, max_message_bytes=500) as reader, pytest.raises(InvalidBag, match="allowed: 500"):
        list(reader.raw(["/front/image"]))


def test_the_summary_names_what_a_world_model_lacks(bag: Path) -> None:
    with BagReader(bag) as reader:
        summary = summarize(reader)
        inputs = find_inputs(reader.topics)
    image = next(topic for topic in summary.topics if topic.name == "/front/image")
    assert (image.count, round(image.rate), image.reliability) == (20, 20, "reliable")
    assert [camera.name for camera in inputs.cameras] == ["front"]
    assert any("front/camera_info" in item for item in inputs.missing)
    assert any("front/depth" in item for item in inputs.missing)
    assert not any("joint_states" in item for item in inputs.missing)
    assert json.loads(json.dumps(summary.as_dict()))["topics"][0]["name"] == "/front/image"
