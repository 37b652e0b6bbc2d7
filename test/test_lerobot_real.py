"""The package ``lerobot`` itself reads what we write, and we read what it writes.

It cannot be in the locked environment (docs/data.md tells why, and how to run this), so these tests are skipped where
it is not installed.
"""

import json
from importlib.metadata import version
from importlib.util import find_spec
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from lerobot_rig import JOINTS, made_dataset, made_episode

from fourd_ros.data.episode import Episode
from fourd_ros.data.episode_dataset import EpisodeDataset
from fourd_ros.data.lerobot_foreign import ForeignOptions
from fourd_ros.data.lerobot_plan import LeRobotOptions, plan_conversion
from fourd_ros.data.lerobot_reader import plan_reading, read
from fourd_ros.data.lerobot_writer import convert
from fourd_ros.data.video import FORMATS, decode

if find_spec("lerobot") is None:
    pytest.skip("lerobot is not installed (docs/data.md: 'The real lerobot')", allow_module_level=True)

lerobot_dataset = pytest.importorskip("lerobot.datasets.lerobot_dataset")
video_utils = pytest.importorskip("lerobot.datasets.video_utils")

RATE, FRAMES = 10.0, 12
FRONT, WRIST = "observation.images.front", "observation.images.arm.wrist"


@pytest.fixture(autouse=True, scope="module")
def offline() -> Any:
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("HF_HUB_OFFLINE", "1")
        yield


@pytest.fixture(scope="module")
def episodes() -> list[Episode]:
    return [made_episode(number, FRAMES, rate=RATE) for number in range(3)]


@pytest.fixture(scope="module", params=["faithful", "lossless", "compatible"])
def written(tmp_path_factory: pytest.TempPathFactory, episodes: list[Episode], request: pytest.FixtureRequest) -> Path:
    folder = tmp_path_factory.mktemp("lerobot")
    two_to_a_file = 2 * FRAMES * 32 * 24 * FORMATS[request.param].bytes_per_pixel / 1024**2
    options = LeRobotOptions(video=FORMATS[request.param], video_file_mb=two_to_a_file)
    convert(plan_conversion(made_dataset(folder / "made", episodes), folder / "lerobot", options))
    return folder / "lerobot"


@pytest.fixture(scope="module", params=["pyav", "torchcodec"])
def backend(request: pytest.FixtureRequest, written: Path) -> str:
    name: str = request.param
    try:
        video_utils.decode_video_frames(written / f"videos/{FRONT}/chunk-000/file-000.mp4", [0.0], 1e-4, name)
    except (ImportError, RuntimeError, OSError, AttributeError) as error:
        pytest.skip(f"this installation of lerobot {version('lerobot')} cannot decode with {name}: {error}")
    return name


def _opened(folder: Path, backend: str, **options: Any) -> Any:
    return lerobot_dataset.LeRobotDataset("local/made", root=folder, video_backend=backend, **options)


def _bytes(picture: Any) -> Any:
    """Colour of LeRobot, [*, C, H, W] in 0..1, as it was before, [*, H, W, C]."""
    return np.moveaxis(np.rint(np.asarray(picture) * 255).astype(np.uint8), -3, -1)


def test_frames_are_those_of_our_own_decoder(written: Path, backend: str) -> None:
    dataset = _opened(written, backend)
    assert len(dataset) == 3 * FRAMES and dataset.num_episodes == 3
    for key, size in ((FRONT, (32, 24)), (WRIST, (16, 16))):
        for file, frames in ((0, range(2 * FRAMES)), (1, range(2 * FRAMES, 3 * FRAMES))):
            film = decode(written / f"videos/{key}/chunk-000/file-{file:03d}.mp4", size=size, rate=RATE)
            for frame, picture in zip(frames, film, strict=True):
                np.testing.assert_array_equal(_bytes(dataset[frame][key]), picture)


def test_numbers_images_and_tasks_are_those_of_the_episodes(
    written: Path, backend: str, episodes: list[Episode]
) -> None:
    dataset = _opened(written, backend)
    metres = {"depth_output_unit": "m"} if hasattr(dataset, "depth_output_unit") else {}
    dataset = _opened(written, backend, **metres)
    for number, episode in enumerate(episodes):
        for frame in (0, 5, FRAMES - 1):
            item = dataset[number * FRAMES + frame]
            assert (item["episode_index"], item["frame_index"]) == (number, frame)
            assert item["task"] == "; ".join(episode.instructions)
            for key, expected in {
                "observation.state": episode.measured[frame],
                "observation.velocity": episode.velocities[frame],
                "action": episode.actions[frame],
                "commanded": episode.commanded[frame],
                "time": episode.times[frame],
                "camera_pose.arm.wrist": episode.views["arm/wrist"].T_world_camera[frame].reshape(-1),
                "observation.depth.front": episode.views["front"].depth[frame][None],
            }.items():
                np.testing.assert_array_equal(item[key], np.asarray(expected, np.float32), err_msg=key)
            labels = np.rint(np.asarray(item["observation.segmentation.front"]) * 255)
            np.testing.assert_array_equal(labels[0], episode.views["front"].segmentation[frame])


def test_windows_stop_at_the_ends_of_episodes(written: Path, backend: str, episodes: list[Episode]) -> None:
    wanted = {FRONT: [-0.2, -0.1, 0.0], "action": [0.0, 0.1, 0.2]}
    item = _opened(written, backend, delta_timestamps=wanted)[FRAMES + 1]
    assert item[FRONT].shape == (3, 3, 24, 32)
    assert item[f"{FRONT}_is_pad"].tolist() == [True, False, False]
    np.testing.assert_array_equal(item["action"], episodes[1].actions[1:4].astype(np.float32))
    last = _opened(written, backend, delta_timestamps=wanted)[FRAMES - 1]
    assert last["action_is_pad"].tolist() == [False, True, True]


def test_some_episodes_can_be_taken(written: Path, backend: str, episodes: list[Episode]) -> None:
    dataset = _opened(written, backend, episodes=[2])
    assert len(dataset) == FRAMES
    np.testing.assert_array_equal(dataset[0]["observation.state"], episodes[2].measured[0].astype(np.float32))


def test_statistics_are_those_that_lerobot_computes(written: Path, episodes: list[Episode]) -> None:
    """Of every frame; lerobot's quantiles are those of a histogram, and it cannot take NaN."""
    compute_stats = pytest.importorskip("lerobot.datasets.compute_stats")
    ours = _opened(written, "pyav").meta.stats
    parts = []
    for episode in episodes:
        values = {"observation.state": episode.measured, "action": episode.actions, "time": episode.times}
        features = {key: {"dtype": "float64", "shape": array.shape[1:] or (1,)} for key, array in values.items()}
        parts.append(compute_stats.compute_episode_stats(values, features))
    for key, theirs in compute_stats.aggregate_stats(parts).items():
        for name, expected in theirs.items():
            loose = {"atol": 2e-3} if name.startswith("q") else {"rtol": 1e-9}
            np.testing.assert_allclose(ours[key][name], expected, err_msg=f"{key} {name}", **loose)
    assert ours[FRONT]["mean"].shape == (3, 1, 1)


def test_lerobots_tools_merge_what_we_write(written: Path, tmp_path: Path) -> None:
    aggregate = pytest.importorskip("lerobot.datasets.aggregate")
    both = tmp_path / "both"
    aggregate.aggregate_datasets(
        repo_ids=["local/a", "local/b"], aggr_repo_id="local/both", roots=[written, written], aggr_root=both
    )
    target = read(plan_reading(both, tmp_path / "back", ForeignOptions(fov=1.0)))
    assert target.added == 6
    first, fourth = (EpisodeDataset(tmp_path / "back")[place] for place in (0, 3))
    np.testing.assert_array_equal(first.measured, fourth.measured)
    np.testing.assert_array_equal(first.views["front"].rgb, fourth.views["front"].rgb)


@pytest.fixture(scope="module", params=[True, False], ids=["films", "images"])
def recorded(tmp_path_factory: pytest.TempPathFactory, episodes: list[Episode], request: pytest.FixtureRequest) -> Path:
    """A folder that lerobot wrote, frame by frame."""
    folder = tmp_path_factory.mktemp("real") / "recorded"
    dataset = lerobot_dataset.LeRobotDataset.create(
        "local/recorded",
        fps=int(RATE),
        root=folder,
        use_videos=request.param,
        features={
            "observation.state": {"dtype": "float32", "shape": (3,), "names": list(JOINTS)},
            "action": {"dtype": "float32", "shape": (3,), "names": list(JOINTS)},
            "observation.force": {"dtype": "float32", "shape": (2,), "names": ["x", "y"]},
            FRONT: {
                "dtype": "video" if request.param else "image",
                "shape": (24, 32, 3),
                "names": ["height", "width", "channels"],
            },
        },
    )
    for episode in episodes:
        for frame in range(FRAMES):
            dataset.add_frame(
                {
                    "observation.state": episode.measured[frame].astype(np.float32),
                    "action": episode.actions[frame].astype(np.float32),
                    "observation.force": np.zeros(2, np.float32),
                    FRONT: episode.views["front"].rgb[frame],
                    "task": episode.instructions[0],
                }
            )
        dataset.save_episode()
    dataset.finalize()
    return folder


def test_we_read_what_lerobot_writes(recorded: Path, episodes: list[Episode], tmp_path: Path) -> None:
    reading = plan_reading(recorded, tmp_path / "back", ForeignOptions(fov=1.0))
    assert {dropped.what for dropped in reading.dropped} == {"feature 'observation.force'", "pose of 'front'"}
    assert read(reading).added == len(episodes)
    real = _opened(recorded, "pyav")
    film = json.loads((recorded / "meta/info.json").read_text())["features"][FRONT]["dtype"] == "video"
    for number, (source, episode) in enumerate(zip(episodes, EpisodeDataset(tmp_path / "back"), strict=True)):
        assert episode.joint_names == JOINTS and episode.instructions == source.instructions[:1]
        np.testing.assert_array_equal(episode.measured, source.measured.astype(np.float32))
        np.testing.assert_array_equal(episode.commanded, source.actions.astype(np.float32))
        pictures = episode.views["front"].rgb
        if not film:
            np.testing.assert_array_equal(pictures, source.views["front"].rgb)
        for frame in (0, 5, FRAMES - 1):
            np.testing.assert_array_equal(pictures[frame], _bytes(real[number * FRAMES + frame][FRONT]))
