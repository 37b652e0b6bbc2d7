"""Numbers that make no sense end in one line of usage, before anything is started."""

from pathlib import Path

import pytest

from fourd_ros.cli import main

REFUSED = [
    "demo --instants 0",
    "demo --step 0",
    "demo --horizon 0",
    "demo --horizon nan",
    "imagine a_bag --samples 0",
    "imagine a_bag --step 0",
    "imagine a_bag --horizon -1",
    "imagine a_bag --every 0",
    "imagine a_bag --at -1",
    "imagine a_bag --voxel-size inf",
    "bag play a_bag --rate 0",
    "bag play a_bag --start -1",
    "bag record a_bag --max-size nan",
    "doctor --topics --seconds 0",
    "report results.json --out report --confidence 95",
    "data pack episodes dataset --shard-size 0",
    "data split dataset --test -0.1",
    "data validate dataset --jobs 0",
    "data view dataset --frames 0",
    "sim record --episodes 0",
    "sim record --rate fast",
    "sim view --size 64x0",
]


@pytest.mark.parametrize("line", REFUSED)
def test_a_number_out_of_range_is_wrong_usage(line: str, capsys: pytest.CaptureFixture[str]) -> None:
    with pytest.raises(SystemExit) as caught:
        main(line.split())
    assert caught.value.code == 2
    option, value = line.split()[-2:]
    last = capsys.readouterr().err.strip().splitlines()[-1]
    assert f"error: argument {option}" in last
    assert f"got '{value.split('x')[-1]}'" in last


def test_an_episode_that_is_not_there_is_named(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    missing = tmp_path / "missing.npz"
    assert main(["sim", "view", str(missing), "--out", str(tmp_path / "view.png")]) == 1
    assert f"there is no file '{missing}'" in capsys.readouterr().err
