"""Episode files: what goes in comes out, and what is broken is refused."""

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
from episode_rig import HEIGHT, JOINTS, STEPS, WIDTH, assert_equal, make_episode

from fourd_ros.data.episode import METADATA, Episode, EpisodeView, load_episode, peek_episode, save_episode
from fourd_ros.errors import InvalidEpisode


@pytest.fixture
def episode() -> Episode:
    return make_episode()


def test_what_is_saved_is_read_back(episode: Episode, tmp_path: Path) -> None:
    save_episode(episode, tmp_path / "sub" / "e.npz")
    assert_equal(episode, load_episode(tmp_path / "sub" / "e.npz"))
    name, size = peek_episode(tmp_path / "sub" / "e.npz")
    assert name == episode.name and size > sum(view.rgb.nbytes for view in episode.views.values())
    assert os.listdir(tmp_path / "sub") == ["e.npz"]


def test_what_only_a_simulator_knows_may_be_absent(episode: Episode, tmp_path: Path) -> None:
    plain = EpisodeView(
        **{field: getattr(episode.views["front"], field) for field in ("camera", "T_mount_camera", "T_world_camera")},
        mounted_on="",
        rgb=episode.views["front"].rgb,
    )
    recorded = Episode(
        name="drive_0",
        source="my_bag",
        start_ns=1,
        tasks=(),
        instructions=("tidy up",),
        rate=10.0,
        times=episode.times,
        joint_names=episode.joint_names,
        commanded=np.full((STEPS, JOINTS), np.nan),
        measured=episode.measured,
        velocities=np.full((STEPS, JOINTS), np.nan),
        action_names=("x", "y"),
        actions=np.arange(2.0 * STEPS).reshape(STEPS, 2),
        views={"camera/colour": plain},
    )
    save_episode(recorded, tmp_path / "e.npz")
    found = load_episode(tmp_path / "e.npz")
    assert (found.success, found.seed, found.policy, found.robot_description) == (None, None, "", "")
    assert found.object_poses.shape == (STEPS, 0, 4, 4) and found.object_sizes.shape == (0, 3)
    assert np.isnan(found.commanded).all() and np.isnan(found.velocities).all()
    assert found.action_names == ("x", "y") and np.array_equal(found.actions, recorded.actions)
    view = found.views["camera/colour"]
    assert view.depth is None and view.segmentation is None and np.array_equal(view.rgb, plain.rgb)


def test_the_same_episode_gives_the_same_bytes(episode: Episode, tmp_path: Path) -> None:
    for name in ("a", "b"):
        save_episode(episode, tmp_path / name)
    assert (tmp_path / "a").read_bytes() == (tmp_path / "b").read_bytes()


def test_numpy_reads_the_file_without_pickle(episode: Episode, tmp_path: Path) -> None:
    save_episode(episode, tmp_path / "e.npz")
    with np.load(tmp_path / "e.npz", allow_pickle=False) as arrays:
        assert np.array_equal(arrays["commanded"], episode.commanded)
        assert arrays["front/depth"].dtype == np.uint16


def test_depth_beyond_what_can_be_kept_is_unknown(episode: Episode, tmp_path: Path) -> None:
    far = episode.views["front"].depth.copy()
    far[1, 1, 1] = 6.56
    save_episode(replace(episode, views={"front": replace(episode.views["front"], depth=far)}), tmp_path / "e.npz")
    assert np.isnan(load_episode(tmp_path / "e.npz").views["front"].depth[1, 1, 1])


def test_a_failed_save_leaves_the_old_file(episode: Episode, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    path = tmp_path / "e.npz"
    save_episode(episode, path)
    before = path.read_bytes()

    def full(*_: Any) -> None:
        raise OSError("disk full")

    monkeypatch.setattr(os, "replace", full)
    with pytest.raises(OSError, match="disk full"):
        save_episode(replace(episode, seed=8), path)
    assert os.listdir(tmp_path) == ["e.npz"] and path.read_bytes() == before


@pytest.mark.parametrize(
    ("field", "value", "message"),
    [
        ("times", np.zeros(STEPS), "increase"),
        ("times", np.zeros(0), "at least one frame"),
        ("commanded", np.zeros((STEPS, JOINTS + 1)), "'commanded'"),
        ("measured", np.zeros((STEPS, JOINTS), np.float32), "needed float64"),
        ("measured", np.full((STEPS, JOINTS), np.nan), "not finite"),
        ("velocities", np.full((STEPS, JOINTS), np.inf), "neither finite nor NaN"),
        ("actions", np.zeros((STEPS, 1)), "'actions'"),
        ("rate", float("nan"), "frames a second"),
        ("name", "../evil", "cannot name a file"),
        ("name", "", "cannot name a file"),
        ("object_labels", ("one",), "1 labels for 2"),
        ("object_poses", np.zeros((STEPS, 1, 4, 4)), "'object_poses'"),
    ],
)
def test_contradictions_are_refused(episode: Episode, field: str, value: Any, message: str) -> None:
    with pytest.raises(InvalidEpisode, match=message):
        replace(episode, **{field: value})


def test_pictures_of_another_size_are_refused(episode: Episode) -> None:
    view = episode.views["front"]
    with pytest.raises(InvalidEpisode, match="front/rgb"):
        replace(episode, views={"front": replace(view, rgb=view.rgb[:, 1:])})


Members = dict[str, bytes]


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
    return lambda members: members.update({METADATA: json.dumps({**json.loads(members[METADATA]), **facts}).encode()})


def with_array(name: str, data: bytes) -> Callable[[Members], None]:
    return lambda members: members.update({f"{name}.npy": data})


HUGE = packed(np.zeros((STEPS, JOINTS))).replace(b"(5, 3)", b"(5555555, 3)").replace(b"      \n", b"\n", 1)


@pytest.mark.parametrize(
    ("change", "message"),
    [
        (lambda members: members.pop("commanded.npy"), "commanded"),
        (lambda members: members.pop("wrist/depth.npy"), "wrist/depth"),
        (lambda members: members.pop(METADATA), METADATA),
        (lambda members: members.update({METADATA: b"{"}), "not readable JSON"),
        (lambda members: members.update({METADATA: b"[]"}), "needed a JSON object"),
        (with_facts(format=99), "format is 99"),
        (with_facts(views={"front": {}}), "width"),
        (with_facts(joint_names=["a"]), "'commanded'"),
        (with_facts(seed="x"), "seed|invalid literal"),
        (with_array("measured", packed(np.array([{}], object), allow_pickle=True)), "plain array"),
        (with_array("measured", packed(np.zeros((STEPS, JOINTS), np.float32))), "float32"),
        (with_array("front/depth", packed(np.zeros((STEPS, HEIGHT, WIDTH), np.float32))), "needed uint16"),
        (with_array("measured", packed(np.zeros((STEPS, JOINTS)))[:-8]), "bytes"),
        (with_array("measured", HUGE), "claims"),
        (with_array("measured", b"nonsense"), "measured|magic"),
    ],
)
def test_broken_archives_are_refused(
    episode: Episode, tmp_path: Path, change: Callable[[Members], None], message: str
) -> None:
    path = tmp_path / "e.npz"
    save_episode(episode, path)
    edit(path, change)
    with pytest.raises(InvalidEpisode, match=message) as caught:
        load_episode(path)
    assert str(path) in str(caught.value)


def test_files_that_are_no_archives_are_refused(episode: Episode, tmp_path: Path) -> None:
    path = tmp_path / "e.npz"
    with pytest.raises(InvalidEpisode, match="there is no file"):
        load_episode(path)
    path.write_bytes(b"not a zip")
    with pytest.raises(InvalidEpisode, match="BadZipFile"):
        load_episode(path)
    save_episode(episode, path)
    whole = path.read_bytes()
    for size in (len(whole) // 3, len(whole) - 30):
        path.write_bytes(whole[:size])
        with pytest.raises(InvalidEpisode):
            load_episode(path)


def test_every_flipped_byte_is_noticed_or_harmless(episode: Episode, tmp_path: Path) -> None:
    path = tmp_path / "e.npz"
    save_episode(episode, path)
    whole = bytearray(path.read_bytes())
    noticed = 0
    for place in range(0, len(whole), max(1, len(whole) // 60)):
        broken = bytearray(whole)
        broken[place] ^= 0xFF
        path.write_bytes(broken)
        try:
            load_episode(path)
        except InvalidEpisode:
            noticed += 1
    assert noticed > 40


def test_size_is_bounded_before_reading(episode: Episode, tmp_path: Path) -> None:
    save_episode(episode, tmp_path / "e.npz")
    with pytest.raises(InvalidEpisode, match="allowed are 1000"):
        load_episode(tmp_path / "e.npz", max_bytes=1000)
