"""``fourd bag`` as a user or a script meets it."""

import json
from pathlib import Path

import pytest
from bag_rig import write_small_bag

from fourd_ros.cli import main
from fourd_ros.data.bags import BagReader

Output = pytest.CaptureFixture[str]


@pytest.fixture
def bag(tmp_path: Path) -> Path:
    return write_small_bag(tmp_path / "small")


def test_info_shows_topics_qos_and_what_is_missing(bag: Path, capsys: Output) -> None:
    assert main(["bag", "info", str(bag)]) == 0
    lines = capsys.readouterr().out.splitlines()
    assert lines[0].startswith(f"{bag}: 0.950 s, 43 messages")
    (image,) = [line.split() for line in lines if line.startswith("/front/image")]
    assert image[1:] == ["sensor_msgs/Image", "20", "20.0", "0.050", "s", "reliable", "volatile"]
    assert any(line.startswith("/tf_static") and line.endswith("(latched)") for line in lines)
    assert "cameras:   front (no depth)" in lines
    assert "  - the calibration of camera 'front': front/camera_info" in lines


def test_info_for_scripts(bag: Path, capsys: Output) -> None:
    assert main(["bag", "info", str(bag), "--json"]) == 0
    found = json.loads(capsys.readouterr().out)
    assert found["message_count"] == 43 and found["duration"] == pytest.approx(0.95)
    assert found["inputs"]["joint_states"] == "/joint_states" and found["inputs"]["command"] == ""
    assert {topic["name"] for topic in found["topics"]} >= {"/front/image", "/tf_static"}


def test_a_truncated_bag_ends_each_verb_with_one_line_and_is_recovered(bag: Path, capsys: Output) -> None:
    file = bag / "small.mcap"
    file.write_bytes(file.read_bytes()[:-50])
    for words in (["info", str(bag)], ["play", str(bag)]):
        assert main(["bag", *words]) == 1
        error = capsys.readouterr().err
        assert error.count("\n") == 1 and f"fourd bag recover {bag} NEW_BAG" in error
    new = bag.parent / "new"
    assert main(["bag", "recover", str(bag), str(new)]) == 0
    assert BagReader(new).message_count == 43
    assert main(["bag", "recover", str(bag), str(new)]) == 1
    assert "exists already" in capsys.readouterr().err
    assert main(["bag", "recover", str(bag), str(new), "--overwrite"]) == 0


@pytest.mark.parametrize(
    "words",
    [
        ["play", "BAG", "--remap", "front"],
        ["play", "BAG", "--rate", "2", "--as-fast-as-possible"],
        ["record"],
        ["rewind", "BAG"],
    ],
)
def test_wrong_usage_ends_with_status_two(bag: Path, words: list[str], capsys: Output) -> None:
    with pytest.raises(SystemExit) as ended:
        main(["bag", *(str(bag) if word == "BAG" else word for word in words)])
    assert ended.value.code == 2
    assert "usage: fourd bag" in capsys.readouterr().err


def test_wrong_values_are_one_line(bag: Path, capsys: Output) -> None:
    assert main(["bag", "play", str(bag), "--start", "9"]) == 1
    assert "lasts 0.950 s" in capsys.readouterr().err
    assert main(["imagine", str(bag)]) == 1
    assert "lacks" in capsys.readouterr().err
