"""Sequences that are filmed for scene language: what they say of themselves is true, and they are the same again."""

import json
import shutil
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest

from fourd_ros.data.scene_shards import FLOOR, MANIFEST, ROBOT, STATES, TABLE, WALL, SceneShards, state_words
from fourd_ros.errors import InvalidDataset, InvalidParameter
from fourd_ros.geometry.camera import PinholeCamera
from fourd_ros.geometry.pointmap import points_from_depth
from fourd_ros.geometry.transforms import apply
from fourd_ros.simulation.appearance import PALETTE
from fourd_ros.simulation.scene_dataset import record_scenes
from fourd_ros.simulation.scene_sequences import SequenceOptions, film_sequence
from fourd_ros.simulation.scene_splits import SCENE_SPLITS, is_held_out, scene_seeds
from fourd_ros.simulation.tabletop_scene import NEW_KINDS, TRAINING_KINDS

OPTIONS = SequenceOptions(width=70, height=56, frames=6)
CARRIES = 1
"""The place among the training sequences of one in which a thing is carried."""


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    made = tmp_path_factory.mktemp("scenes") / "train"
    assert sum(record_scenes(made, "train", scene_seeds("train", sequences=3), OPTIONS)) == 3
    return made


def test_pixels_of_things_lie_where_the_things_are(folder: Path) -> None:
    """Depth, poses and numbers belong together: the table is flat at the height 0, the floor is below."""
    shards = SceneShards(folder)
    for index in range(len(shards)):
        frames = shards.frames(index)
        assert frames.rgb.shape == (6, 56, 70, 3) and frames.depth.shape == frames.numbers.shape == (6, 56, 70)
        camera = PinholeCamera(width=70, height=56, K=frames.K)
        points = np.stack(
            [
                apply(pose, points_from_depth(depth, camera))
                for pose, depth in zip(frames.T_world_camera, frames.depth, strict=True)
            ]
        )
        table, floor = frames.numbers == TABLE, frames.numbers == FLOOR
        assert table.any() and np.abs(points[table][:, 2]).max() < 0.06
        assert not floor.any() or np.nanmax(points[floor][:, 2]) < -0.6
        numbers = {thing.number for thing in shards.facts(index).things}
        assert set(np.unique(frames.numbers)) - {0} <= numbers
        moved = np.linalg.norm(np.diff(frames.T_world_camera[:, :3, 3], axis=0), axis=1)
        assert moved.min() > 0.001, "the camera moves all the time"


def test_a_carried_thing_is_held_and_moves(folder: Path) -> None:
    shards = SceneShards(folder)
    facts, states = shards.facts(CARRIES), shards.frames(CARRIES).states
    assert facts.behaviour == "carry"
    words = {
        (thing.label, word)
        for row in states
        for thing, bits in zip(facts.things, row, strict=True)
        for word in state_words(int(bits))
    }
    held = {label for label, word in words if word == "held"}
    assert held and all((label, "moving") in words for label in held)
    assert ("table", "moving") not in words and ("robot", "moving") in words


def test_a_fixture_is_open_or_closed() -> None:
    options = SequenceOptions(width=28, height=28, frames=2, shadows=False)
    seen = set()
    for seed in scene_seeds("train", sequences=60)[2:]:
        facts, frames = film_sequence(seed, "train", options)
        for thing, bits in zip(facts.things, frames.states[0], strict=True):
            if thing.label in ("drawer", "lid"):
                seen |= set(state_words(int(bits))) & {"open", "closed"}
        if len(seen) == 2:
            break
    assert seen == {"open", "closed"}
    assert state_words(0) == () and state_words(0b101) == (STATES[0], STATES[2])


def test_the_same_seeds_give_the_same_bytes_and_what_is_there_stays(folder: Path, tmp_path: Path) -> None:
    again = tmp_path / "again"
    list(record_scenes(again, "train", scene_seeds("train", sequences=3), OPTIONS))
    (shard,) = (folder / "shards").iterdir()
    assert (again / "shards" / shard.name).read_bytes() == shard.read_bytes()
    (again / "shards" / shard.name).write_bytes(b"")
    with pytest.raises(InvalidDataset, match="cannot read shard"):
        list(record_scenes(again, "train", scene_seeds("train", sequences=3), OPTIONS))
    before = shard.stat().st_mtime_ns
    list(record_scenes(folder, "train", scene_seeds("train", sequences=3), OPTIONS))
    assert shard.stat().st_mtime_ns == before


def test_a_folder_of_other_sequences_is_refused(folder: Path) -> None:
    with pytest.raises(InvalidDataset, match="other options"):
        list(record_scenes(folder, "train", scene_seeds("train", sequences=1), SequenceOptions(frames=3)))
    with pytest.raises(InvalidDataset, match="no split 'nonsense'"):
        scene_seeds("nonsense", sequences=1)
    with pytest.raises(InvalidParameter, match="2 to 17"):
        SequenceOptions(frames=18)


def test_a_damaged_folder_is_refused(folder: Path, tmp_path: Path) -> None:
    with pytest.raises(InvalidDataset, match="fourd data scenes"):
        SceneShards(tmp_path)
    copied = tmp_path / "copied"
    shutil.copytree(folder, copied)
    (shard,) = (copied / "shards").iterdir()
    content = shard.read_bytes()
    assert content.count(b'"behaviour"') == 3
    shard.write_bytes(content.replace(b'"behaviour"', b'"behaviors"', 1))
    damaged = SceneShards(copied)
    with pytest.raises(InvalidDataset, match="facts that cannot be read"):
        [damaged.facts(index) for index in range(3)]
    with pytest.raises(InvalidDataset, match="that has 6"):
        damaged.frames(0, [6])


def test_words_that_are_held_out_never_meet_in_training() -> None:
    """Every colour of every thing of some scenes; of each kind two or three colours are held out."""
    options = SequenceOptions(width=14, height=14, frames=2, shadows=False)
    for split in ("train", "new_combinations"):
        for seed in scene_seeds(split, sequences=4):
            facts, _ = film_sequence(seed, split, options)
            coloured = [thing.label.split() for thing in facts.things if " " in thing.label]
            assert coloured
            assert all(is_held_out(*words) == (split == "new_combinations") for words in coloured)
    for kind in (*TRAINING_KINDS, *NEW_KINDS):
        assert 2 <= sum(is_held_out(colour, kind) for colour in PALETTE) <= 3


def test_splits_share_no_scene() -> None:
    seeds = [seed for split in SCENE_SPLITS for seed in scene_seeds(split, sequences=1000)]
    assert len(set(seeds)) == 5000


def test_the_command_films_and_tells(tmp_path: Path) -> None:
    words = ("data", "scenes", str(tmp_path / "made"), "--sequences", "1", "--frames", "2", "--size", "28x28", "--json")
    done = subprocess.run(
        [sys.executable, "-m", "fourd_ros.cli", *words], capture_output=True, text=True, timeout=240, check=True
    )
    told = json.loads(done.stdout)
    assert told["sequences"] == 1 and told["frames"] == 2 and sum(told["behaviours"].values()) == 1
    manifest = SceneShards(tmp_path / "made").manifest
    assert manifest["options"]["width"] == 28 and manifest["categories"] == told["categories"]
    assert (tmp_path / "made" / MANIFEST).is_file() and {WALL, ROBOT} <= {
        thing.number for thing in SceneShards(tmp_path / "made").facts(0).things
    }
