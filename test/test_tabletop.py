"""Tabletop episodes: what the compact world model is trained and judged on."""

import json
from dataclasses import replace
from itertools import pairwise
from pathlib import Path

import numpy as np
import pytest

from fourd_ros.cli import main
from fourd_ros.data.episode import Episode, take_apart
from fourd_ros.data.episode_dataset import EpisodeDataset
from fourd_ros.errors import InvalidDataset, InvalidEpisode
from fourd_ros.simulation.controller import SPEED_LIMITS
from fourd_ros.simulation.manipulation import BEHAVIOURS, Behaviour
from fourd_ros.simulation.motion import Chance
from fourd_ros.simulation.tabletop import TabletopOptions, commanded_motion, record_tabletop
from fourd_ros.simulation.tabletop_dataset import MANIFEST, record_tabletop_dataset
from fourd_ros.simulation.tabletop_scene import (
    NEW_KINDS,
    TABLETOP_SPLITS,
    TRAINING_KINDS,
    find_split,
    suits,
    tabletop_scene,
    tabletop_seeds,
)
from fourd_ros.simulation.tabletop_statistics import carried, episode_facts, tabletop_statistics

QUICK = TabletopOptions(size=32, shadows=False)
EPISODES = 24


@pytest.fixture(scope="module")
def dataset(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Episodes of the test split, recorded by the command."""
    folder = tmp_path_factory.mktemp("tabletop") / "test"
    assert main(command(folder, EPISODES)) == 0
    return folder


def command(folder: Path, episodes: int, *, seed: int = 0) -> list[str]:
    words = ["data", "tabletop", str(folder), "--split", "test", "--episodes", str(episodes), "--seed", str(seed)]
    return [*words, "--size", "32", "--no-shadows", "--jobs", "1", "--json"]


def bytes_of(episode: Episode) -> bytes:
    facts, arrays = take_apart(episode)
    return json.dumps(facts, sort_keys=True).encode() + b"".join(arrays[name].tobytes() for name in sorted(arrays))


def test_the_same_seed_gives_the_same_bytes_whatever_was_recorded_before(dataset: Path) -> None:
    recorded = EpisodeDataset(dataset)
    for index in (EPISODES - 1, 2):
        seed = tabletop_seeds("test", seed=0, episodes=EPISODES)[index]
        assert bytes_of(record_tabletop(seed, "test", options=QUICK)) == bytes_of(recorded[index])


def test_an_episode_is_17_frames_with_the_commands_in_between(dataset: Path) -> None:
    episode = EpisodeDataset(dataset)[0]
    assert len(episode.times) == 17 and episode.times[-1] == pytest.approx(3.2)
    motion = commanded_motion(episode)
    assert motion.joint_names == episode.joint_names
    np.testing.assert_allclose(motion.times, np.arange(68) * 0.05)
    np.testing.assert_array_equal(motion.positions[::4], episode.commanded)
    assert episode.action_names[0] == "panda_joint1+0.00" and episode.action_names[-1].endswith("+0.15")


def test_commands_are_followed_within_the_speed_limits(dataset: Path) -> None:
    limits = np.array(list(SPEED_LIMITS.values()))
    for episode in (EpisodeDataset(dataset)[index] for index in range(EPISODES)):
        motion = commanded_motion(episode)
        speeds = np.abs(np.diff(motion.positions, axis=0)) / 0.05
        assert (speeds <= limits * (1 + 1e-6)).all()
        arm = slice(0, 7)
        assert np.median(np.abs(episode.commanded - episode.measured)[:, arm]) < 0.01


def test_other_episodes_have_no_commanded_motion(dataset: Path) -> None:
    episode = EpisodeDataset(dataset)[0]
    with pytest.raises(InvalidEpisode, match="fourd data tabletop"):
        commanded_motion(replace(episode, action_names=(), actions=np.zeros((17, 0))))


def test_a_data_set_grows_and_says_what_it_holds(
    dataset: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    folder = tmp_path / "grown"
    assert main(command(folder, 1)) == 0
    before = {path: path.stat().st_mtime_ns for path in folder.rglob("*.safetensors")}
    assert main(command(folder, 2)) == 0
    assert main(command(folder, 1, seed=1)) == 0
    report = json.loads(capsys.readouterr().out.splitlines()[-1])
    assert {path: path.stat().st_mtime_ns for path in before} == before
    manifest = json.loads((folder / MANIFEST).read_text())
    first, other = (tabletop_seeds("test", seed=seed, episodes=1)[0] for seed in (0, 1))
    assert manifest["seeds"] == [[first, first + 1], [other, other]] == report["seeds"]
    assert manifest["sha256"] == report["sha256"] and manifest["episodes"] == report["statistics"]["episodes"] == 3
    same = [row.sha256 for row in EpisodeDataset(dataset).rows()][:2]
    assert [row.sha256 for row in EpisodeDataset(folder).rows() if row.seed != other] == same


def test_the_hash_does_not_depend_on_how_often_it_was_interrupted(tmp_path: Path) -> None:
    hashes = []
    for name, parts in (("once", (2,)), ("twice", (1, 2))):
        for episodes in parts:
            seeds = tabletop_seeds("train", seed=0, episodes=episodes)
            assert sum(record_tabletop_dataset(tmp_path / name, "train", seeds, QUICK)) == episodes
        hashes.append(json.loads((tmp_path / name / MANIFEST).read_text())["sha256"])
    assert hashes[0] == hashes[1]


def test_a_folder_holds_one_kind_of_episodes(dataset: Path) -> None:
    seeds = tabletop_seeds("train", seed=0, episodes=1)
    with pytest.raises(InvalidDataset, match="other split"):
        list(record_tabletop_dataset(dataset, "train", seeds, QUICK))
    with pytest.raises(InvalidDataset, match="other options"):
        list(record_tabletop_dataset(dataset, "test", seeds, TabletopOptions(size=48, shadows=False)))


def test_contacts_are_many_and_failures_too(dataset: Path) -> None:
    recorded = EpisodeDataset(dataset)
    statistics = tabletop_statistics(episode_facts(recorded))
    assert statistics.episodes == EPISODES and sum(statistics.tasks.values()) == EPISODES
    assert statistics.displacement > 0.10
    assert statistics.grasped >= 0.2 and statistics.several >= 0.5
    assert 0.0 < statistics.still < 0.3
    tries = [index for index in range(EPISODES) if recorded[index].tasks[0] in ("carry", "stack")]
    caught = [carried(recorded[index]).any() for index in tries]
    assert any(caught) and not all(caught)


def test_splits_share_no_scene_and_no_kinds() -> None:
    names = [name for name in TABLETOP_SPLITS if name != "noisy_depth"]
    ranges = sorted((tabletop_seeds(name, seed=0, episodes=1)[0], name) for name in names)
    for (first, name), (following, _) in pairwise(ranges):
        assert tabletop_seeds(name, seed=999, episodes=100_000)[-1] < following and first > 0
    assert not set(TRAINING_KINDS) & set(NEW_KINDS)
    for name in names:
        kinds = {item.kind for scene in scenes(name) for item in scene.objects}
        assert kinds <= set(NEW_KINDS if name == "new_shapes" else TRAINING_KINDS)
        assert len(kinds) > 3


def test_new_cameras_stand_where_no_camera_of_the_training_stands() -> None:
    def seen_from(name: str) -> np.ndarray:
        """Azimuth to either side and elevation around the middle of the workspace [deg], shape [N, 2]."""
        eyes = np.array([scene.cameras[0].pose[:3, 3] for scene in scenes(name)]) - (0.45, 0.0, 0.05)
        azimuth = np.abs(np.arctan2(eyes[:, 1], eyes[:, 0]))
        return np.rad2deg(np.stack([azimuth, np.arctan2(eyes[:, 2], np.hypot(eyes[:, 0], eyes[:, 1]))], axis=1))

    # The point looked at is up to 5 cm off, which is 4 degrees at 0.95 m.
    usual, new = seen_from("train"), seen_from("new_cameras")
    assert (usual[:, 0] < 64).all() and (usual[:, 1] > 18).all() and (usual[:, 1] < 54).all()
    assert ((new[:, 0] > 62) | (new[:, 1] > 50)).all() and (new[:, 0] > 62).any() and (new[:, 1] > 50).any()
    assert max(scene.ambient for scene in scenes("new_cameras")) < min(scene.ambient for scene in scenes("train"))


def scenes(split: str) -> list:
    rng = np.random.default_rng(7)
    return [tabletop_scene(seed, find_split(split), BEHAVIOURS["push"], rng) for seed in range(20)]


def test_noisy_depth_is_the_test_split_through_a_sensor(dataset: Path) -> None:
    seed = tabletop_seeds("test", seed=0, episodes=1)[0]
    assert tabletop_seeds("noisy_depth", seed=0, episodes=1)[0] == seed
    exact = EpisodeDataset(dataset)[0]
    noisy = record_tabletop(seed, "noisy_depth", options=QUICK)
    before, after = exact.views["front"], noisy.views["front"]
    np.testing.assert_array_equal(before.rgb, after.rgb)
    np.testing.assert_array_equal(exact.object_poses, noisy.object_poses)
    assert before.depth is not None and after.depth is not None
    lost = np.isnan(after.depth) & ~np.isnan(before.depth)
    assert 0.01 < lost.mean() < 0.7
    off = np.abs(after.depth - before.depth)[~np.isnan(after.depth) & ~np.isnan(before.depth)]
    assert 0 < np.median(off) < 0.02


@pytest.mark.parametrize("name", BEHAVIOURS)
def test_motions_stay_in_reach(name: str) -> None:
    behaviour = BEHAVIOURS[name]
    motions = [behaviour.draw(chance(seed, behaviour)) for seed in range(15)]
    assert sum(motion.in_reach for motion in motions) >= 14
    assert all(point.position[2] > 0.01 for motion in motions for point in (motion.start, *motion.waypoints))
    assert all(0.0 <= point.finger <= 0.04 for motion in motions for point in (motion.start, *motion.waypoints))


def chance(seed: int, behaviour: Behaviour) -> Chance:
    rng = np.random.default_rng(seed)
    while not suits(scene := tabletop_scene(int(rng.integers(1000)), find_split("train"), behaviour, rng), behaviour):
        pass
    return Chance(scene=scene, rng=rng, aim_noise=0.01)


def test_pulled_drawers_are_shut_and_the_gripper_begins_away_from_their_handles() -> None:
    split, behaviour = find_split("drawers"), BEHAVIOURS["pull"]
    away, aimed_beside = [], []
    for seed in range(20):
        rng = np.random.default_rng(seed)
        scene = tabletop_scene(seed, split, behaviour, rng)
        (fixture,) = scene.fixtures
        assert fixture.kind == "drawer"
        assert fixture.opening == 0.0
        motion = behaviour.draw(Chance(scene=scene, rng=rng, aim_noise=0.03))
        handle = (fixture.moving_pose(0.0) @ np.append(fixture.grip_point, 1.0))[:3]
        away.append(np.linalg.norm(motion.start.position - handle))
        aimed_beside.append(np.linalg.norm(motion.waypoints[1].position[:2] - handle[:2]))
    assert min(away) > 0.1
    assert 0.01 < np.median(aimed_beside) < 0.08


def test_shares_add_up() -> None:
    assert sum(behaviour.share for behaviour in BEHAVIOURS.values()) == pytest.approx(1.0)


def test_things_stay_on_the_table_and_are_seen(dataset: Path) -> None:
    recorded = EpisodeDataset(dataset)
    heights = [recorded[index].object_poses[..., 2, 3].min(initial=0.0) for index in range(EPISODES)]
    assert sum(height < -0.01 for height in heights) <= 1
    seen = []
    for index in range(EPISODES):
        first = recorded[index].views["front"].segmentation
        assert first is not None
        seen += [bool((first[0] == number).any()) for number, _ in enumerate(recorded[index].object_names, start=1)]
    assert np.mean(seen) > 0.9


@pytest.mark.parametrize(("seed", "episodes"), [(-1, 1), (1000, 1), (0, 100_001)])
def test_seeds_of_a_split_do_not_run_into_the_next_one(seed: int, episodes: int) -> None:
    with pytest.raises(InvalidDataset, match="seeds go from 0 to 999"):
        tabletop_seeds("test", seed=seed, episodes=episodes)


def test_an_unknown_split_is_refused_with_the_known_ones() -> None:
    with pytest.raises(InvalidDataset, match="new_shapes"):
        record_tabletop(0, "trian")
