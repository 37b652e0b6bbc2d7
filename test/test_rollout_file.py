"""Rollout files: what goes in comes out, what is broken is refused, and `fourd imagine --save` writes them."""

import io
import json
import os
import zipfile
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from rig_bag import NS, START_NS, write_rig_bag
from rollout_rig import HEIGHT, STEPS, WIDTH, assert_same, make_rollout, make_saved, make_truth

from fourd_ros.cli import main
from fourd_ros.errors import InvalidRollout
from fourd_ros.world_model.rollout_file import FACTS, SavedRollout, load_rollout, save_rollout

Members = dict[str, bytes]


@pytest.fixture
def path(tmp_path: Path) -> Path:
    return tmp_path / "sub" / "rollout.npz"


def test_what_is_saved_is_read_back_to_the_last_bit(path: Path) -> None:
    saved = make_saved()
    save_rollout(saved.rollout, path, truth=saved.truth)
    assert_same(saved, load_rollout(path))
    assert os.listdir(path.parent) == ["rollout.npz"]


@pytest.mark.parametrize(
    "changes",
    [
        {"objects": (), "trust": 1 / 3, "flags": type(make_rollout().flags)(0)},
        {"views": {}},
        {"times": np.zeros(0), "views": {}, "objects": ()},
        {"trust": float("inf"), "compute_time": float("nan"), "model_sha256": "", "seed": -1},
    ],
)
def test_much_may_be_absent(path: Path, changes: dict[str, Any]) -> None:
    rollout = make_rollout(**changes)
    save_rollout(rollout, path)
    assert_same(SavedRollout(rollout=rollout), load_rollout(path))


def test_the_same_rollout_gives_the_same_bytes_and_numpy_reads_it(path: Path, tmp_path: Path) -> None:
    save_rollout(make_rollout(), path)
    save_rollout(make_rollout(), tmp_path / "again.npz")
    assert path.read_bytes() == (tmp_path / "again.npz").read_bytes()
    with np.load(path, allow_pickle=False) as arrays:
        assert arrays["view/front/points"].shape == (STEPS, HEIGHT, WIDTH, 3)


def test_a_failed_save_leaves_the_old_file(path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    save_rollout(make_rollout(), path)
    before = path.read_bytes()

    def full(*_: Any) -> None:
        raise OSError("disk full")

    monkeypatch.setattr(os, "replace", full)
    with pytest.raises(OSError, match="disk full"):
        save_rollout(make_rollout(seed=8), path)
    assert os.listdir(path.parent) == ["rollout.npz"] and path.read_bytes() == before


def view_with(**changes: Any) -> dict[str, Any]:
    view = make_rollout().views["front"]
    return {"views": {"front": replace(view, **changes)}}


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"times": np.arange(1.0, STEPS)}, r"'view/front/T_world_camera' is float64\[4, 4, 4\], needed float64\[3"),
        (view_with(sigma=np.zeros((STEPS, HEIGHT, WIDTH))), "'view/front/sigma' is float64"),
        ({"T_world_robot": np.eye(3)}, "'T_world_robot'"),
        ({"views": {"": make_rollout().views["front"]}}, "cannot be called ''"),
        ({"views": {"a\0b": make_rollout().views["front"]}}, "printable"),
        ({"objects": (replace(make_rollout().objects[0], sigma=np.zeros(9)),)}, "'object/0/sigma'"),
    ],
)
def test_contradictions_are_not_saved(path: Path, changes: dict[str, Any], message: str) -> None:
    with pytest.raises(InvalidRollout, match=message):
        save_rollout(make_rollout(**changes), path)
    assert not path.exists()


def test_observations_that_do_not_belong_together_are_not_saved(path: Path) -> None:
    first, second, *_ = make_truth()
    other = replace(second, views={"side": second.views["front"]})
    for truth, message in (
        ([second, first], "not in the order of time"),
        ([first, other], "observation 1 of the truth has other cameras"),
        ([replace(first, frame="map")], "told in 'map', the rollout in 'base'"),
    ):
        with pytest.raises(InvalidRollout, match=message):
            save_rollout(make_rollout(), path, truth=truth)


def edit(path: Path, change: Callable[[Members], None]) -> None:
    """Rewrite the archive with its members changed."""
    with zipfile.ZipFile(path) as archive:
        members = {name: archive.read(name) for name in archive.namelist()}
    change(members)
    with zipfile.ZipFile(path, "w") as archive:
        for name, data in members.items():
            archive.writestr(name, data)


def packed(array: np.ndarray, *, allow_pickle: bool = False) -> bytes:
    buffer = io.BytesIO()
    np.lib.format.write_array(buffer, array, allow_pickle=allow_pickle)
    return buffer.getvalue()


def with_facts(**facts: Any) -> Callable[[Members], None]:
    return lambda members: members.update({FACTS: json.dumps({**json.loads(members[FACTS]), **facts}).encode()})


def with_array(name: str, data: bytes) -> Callable[[Members], None]:
    return lambda members: members.update({f"{name}.npy": data})


HUGE = packed(np.zeros(STEPS)).replace(b"(4,)", b"(44444444,)").replace(b"       \n", b"\n", 1)


@pytest.mark.parametrize(
    ("change", "message"),
    [
        (lambda members: members.pop("times.npy"), "times"),
        (lambda members: members.pop(FACTS), FACTS),
        (with_facts(format=99), "format is 99"),
        (with_facts(frames=2**70), "needed float64"),
        (with_facts(frames="x"), "invalid literal"),
        (with_facts(views=[]), "attribute"),
        (with_facts(objects=[{"label": 16, "pixels": {"front": [1]}}]), "unpack"),
        (with_facts(joint_names=["a", "a"]), "duplicate"),
        (with_facts(truth={"frames": 1}), "joint_names"),
        (with_array("times", packed(np.array([{}], object), allow_pickle=True)), "pickled objects are never read"),
        (with_array("times", packed(np.zeros(STEPS, np.float32))), "float32"),
        (with_array("times", packed(np.zeros(STEPS))[:-8]), "bytes"),
        (with_array("times", HUGE), "claims"),
        (with_array("times", b"nonsense"), "magic"),
    ],
)
def test_broken_archives_are_refused(path: Path, change: Callable[[Members], None], message: str) -> None:
    save_rollout(make_rollout(), path, truth=make_truth())
    edit(path, change)
    with pytest.raises(InvalidRollout, match=message) as caught:
        load_rollout(path)
    assert str(path) in str(caught.value)


def test_files_that_are_no_archives_and_large_ones_are_refused(path: Path) -> None:
    with pytest.raises(InvalidRollout, match=r"there is no file .*fourd imagine BAG --save"):
        load_rollout(path)
    save_rollout(make_rollout(), path)
    with pytest.raises(InvalidRollout, match="allowed are 1000"):
        load_rollout(path, max_bytes=1000)
    whole = path.read_bytes()
    for size in (0, len(whole) // 3, len(whole) - 30):
        path.write_bytes(whole[:size])
        with pytest.raises(InvalidRollout, match="BadZipFile"):
            load_rollout(path)


def test_every_flipped_byte_is_noticed_or_harmless(path: Path) -> None:
    save_rollout(make_rollout(), path)
    whole = bytearray(path.read_bytes())
    noticed = 0
    for place in range(0, len(whole), max(1, len(whole) // 60)):
        broken = bytearray(whole)
        broken[place] ^= 0xFF
        path.write_bytes(broken)
        try:
            load_rollout(path)
        except InvalidRollout:
            noticed += 1
    assert noticed > 30


def test_imagine_saves_what_it_imagined_and_what_the_bag_shows_later(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    bag, folder = write_rig_bag(tmp_path / "bag"), tmp_path / "rollouts"
    words = ["imagine", str(bag), "--out", str(tmp_path / "both"), "--backend", "kinematic", "--json"]
    words += ["--horizon", "0.8", "--step", "0.2", "--at", "0.4", "1.8", "--samples", "2", "--save", str(folder)]
    words += ["--views", "front"]
    assert main(words) == 0
    rows = json.loads(capsys.readouterr().out)["rollouts"]
    assert [Path(row["file"]) for row in rows] == sorted(folder.iterdir()) and len(rows) == 4
    found = [load_rollout(Path(row["file"])) for row in rows]
    assert [(one.rollout.sample, one.rollout.candidate) for one in found] == [(0, 0), (1, 0)] * 2
    for one, seconds in zip(found, [0.4, 0.4, 1.8, 1.8], strict=True):
        assert one.rollout.stamp_ns == START_NS + round(seconds * NS) and list(one.rollout.views) == ["front"]
        known = [(seen.stamp_ns - one.rollout.stamp_ns) / NS for seen in one.truth]
        assert known == [time for time in (0.0, 0.2, 0.4, 0.6, 0.8) if seconds + time <= 2.0]
    view = found[0].rollout.views["front"]
    for step, seen in enumerate(found[0].truth[1:]):
        assert list(seen.views) == ["front"] and seen.views["front"].camera == view.camera
        still = view.observed_mask[step] & (view.labels[step] == 1) & ~view.robot_mask[step]
        difference = np.abs(view.points[step] - seen.views["front"].points)[still]
        assert np.nanmedian(difference) < 1e-3
    assert main([*words, "--out", str(tmp_path / "again")]) == 1
    assert "exists already" in capsys.readouterr().err and not (tmp_path / "again").exists()
