"""Episodes and bags by name, as starts of an imagination."""

from dataclasses import replace

import numpy as np
import pytest
from dataset_rig import write_dataset
from episode_rig import assert_equal, make_episode

from fourd_ros.data.episode import save_episode
from fourd_ros.data.episode_observation import observation_of, step_at
from fourd_ros.errors import UnknownEpisode, UnknownObservation
from fourd_ros.nodes.saved_starts import SavedStarts
from fourd_ros.resources import find_resource


@pytest.fixture(scope="module")
def starts(tmp_path_factory: pytest.TempPathFactory) -> SavedStarts:
    """A data set, a folder with an episode, and the bag of the demo."""
    top = tmp_path_factory.mktemp("starts")
    write_dataset(top / "data", range(3))
    (top / "files").mkdir()
    save_episode(make_episode(9), top / "files" / "mine.npz")
    return SavedStarts([top / "data", top / "files", find_resource("demo"), top / "nowhere"])


def test_episodes_of_files_and_data_sets_are_found(starts: SavedStarts) -> None:
    assert_equal(starts.find("mine", 0), make_episode(9))
    assert_equal(starts.find("episode_000002", 0), make_episode(2))


def test_the_part_of_a_bag_with_the_instant_is_found(starts: SavedStarts) -> None:
    first = starts.find("bag", 0)
    assert set(first.views) == {"front", "wrist"} and first.robot_description
    late = first.start_ns + 10_400_000_000
    part = starts.find("bag", late)
    assert part.start_ns > first.start_ns
    assert abs(part.start_ns + part.times[step_at(part, late)] * 1e9 - late) < 0.06e9
    with pytest.raises(UnknownObservation, match="bag"):
        starts.find("bag", first.start_ns + 60_000_000_000)


@pytest.mark.parametrize("name", ["other", "", "..", "../files/mine", "/etc/passwd"])
def test_other_names_are_refused_and_what_there_is_is_named(starts: SavedStarts, name: str) -> None:
    with pytest.raises(UnknownEpisode, match="mine"):
        starts.find(name, 0)


def test_an_instant_becomes_an_observation() -> None:
    episode = make_episode(3)
    step = len(episode.times) - 1
    stamp_ns = episode.start_ns + round(float(episode.times[step]) * 1e9)
    assert step_at(episode, stamp_ns) == step and step_at(episode, 0) == 0
    observation = observation_of(episode, step, frame="base")
    (name, view), *_ = episode.views.items()
    seen = observation.views[name]
    assert (observation.stamp_ns, observation.frame, seen.mounted_on) == (stamp_ns, "base", "hand")
    np.testing.assert_array_equal(seen.rgb, view.rgb[step])
    np.testing.assert_allclose(seen.points[..., 2], view.depth[step])
    assert list(observation.joint_positions.values()) == episode.measured[step].tolist()
    for outside in (episode.start_ns - 10**9, stamp_ns + 10**9):
        with pytest.raises(UnknownObservation, match="lasts"):
            step_at(episode, outside)


def test_without_depth_nothing_is_known_of_distances() -> None:
    episode = make_episode(3)
    name, view = next(iter(episode.views.items()))
    blind = replace(episode, views={name: replace(view, depth=None)})
    assert np.isnan(observation_of(blind, 0, frame="base").views[name].points).all()
