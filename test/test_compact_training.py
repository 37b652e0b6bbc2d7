"""Training of the video generator: what a clip holds, what a sample is, and the real command on two episodes."""

from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest

from fourd_ros.cli import main
from fourd_ros.data.dataset_card import DatasetCard
from fourd_ros.data.episode import Episode
from fourd_ros.data.episode_writer import EpisodeDatasetWriter
from fourd_ros.geometry.transforms import apply
from fourd_ros.records import FloatArray
from fourd_ros.simulation.tabletop import TabletopOptions, record_tabletop
from fourd_ros.simulation.tabletop_scene import tabletop_seeds
from fourd_ros.training.compact_clips import ClipFolder, ClipOptions, MotionErrors, prepare_clips
from fourd_ros.training.compact_samples import CompactSamples, Importance, sample_of
from fourd_ros.world_model.compact.clips import COLOURS, FIRST_CHANNELS, MEASURED, ROBOT
from fourd_ros.world_model.compact.generator import VideoGenerator

EXACT = ClipOptions(size=32, noisy=0.0, errors=MotionErrors(share=0.0, turn=0.0, missed=0.0))


@pytest.fixture(scope="module")
def episodes() -> list[Episode]:
    seeds = tabletop_seeds("train", seed=0, episodes=2)
    return [record_tabletop(seed, "train", options=TabletopOptions(size=64, shadows=False)) for seed in seeds]


@pytest.fixture(scope="module")
def dataset(episodes: list[Episode], tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("episodes") / "data"
    with EpisodeDatasetWriter(folder, card=DatasetCard(name="test")) as writer:
        for episode in episodes:
            writer.add(episode)
    return folder


@pytest.fixture(scope="module")
def clips(dataset: Path, tmp_path_factory: pytest.TempPathFactory) -> ClipFolder:
    return ClipFolder(prepare_clips(dataset, tmp_path_factory.mktemp("clips"), EXACT))


def samples(clips: ClipFolder) -> CompactSamples:
    return CompactSamples(clips=clips, importance=Importance(), at_start=0.5, smallest_part=0.6)


def test_known_guidance_is_what_will_be_seen_where_motions_are_exact(clips):
    for index in range(len(clips)):
        stored = clips[index]
        clip = stored.clip
        counted = clip.measured & ~clip.robot & ~stored.ignored & np.isfinite(stored.true_depth)
        error = np.abs(clip.depth - stored.true_depth)[counted]
        assert counted.mean() > 0.3 and (error < 0.01).mean() > 0.95
        colour = np.abs(clip.rgb.astype(int) - stored.true_rgb).mean(axis=-1)
        assert np.median(colour[counted]) < 3
        assert stored.moved.shape == clip.robot.shape == (16, 32, 32)


def test_clips_are_made_once(dataset, clips, tmp_path):
    made = prepare_clips(dataset, tmp_path, EXACT)
    before = {path: path.stat().st_mtime_ns for path in made}
    assert prepare_clips(dataset, tmp_path, EXACT) == made
    assert {path: path.stat().st_mtime_ns for path in made} == before
    assert not set(made) & set(prepare_clips(dataset, tmp_path, replace(EXACT, size=16)))


def test_errors_grow_with_the_way_and_things_may_be_missed():
    rng = np.random.default_rng(0)
    motion = np.repeat(np.eye(4)[None], 3, axis=0)
    motion[:, 0, 3] = [0.0, 0.05, 0.4]
    middle = np.array([[0.5, 0.1, 0.05]])

    def misplaced(errors: MotionErrors) -> FloatArray:
        moved = np.stack([errors.disturbed(motion, middle[0], rng) for _ in range(400)])
        return np.linalg.norm(apply(moved, middle) - apply(motion, middle), axis=-1)[..., 0]

    off = misplaced(MotionErrors(missed=0.0))
    assert (off[:, 0] == 0).all() and 0.002 < off[:, 1].mean() < off[:, 2].mean() < 0.03
    assert 0.1 < (misplaced(MotionErrors(share=0.0, turn=0.0, missed=0.25))[:, 2] > 0.1).mean() < 0.4


def test_a_sample_is_the_same_for_the_same_numbers_and_its_flow_leads_to_the_target(clips):
    for seed in range(6):
        sample, again = (samples(clips).sample(0, np.random.default_rng(seed)) for _ in range(2))
        assert all(np.array_equal(sample[name], again[name]) for name in sample)
        noise = sample["flow"] - sample["time"] * sample["target"]
        robot, measured = (sample["guidance"][:, place] > 0 for place in (ROBOT, MEASURED))
        assert not noise[:, 0][robot].any() and not noise[:, COLOURS][robot | measured].any()
        assert abs(noise[:, :COLOURS].std() - 0.35 * (1 - sample["time"])) < 0.1
        assert not sample["weight"][:, 0][robot].any()


def test_the_guidance_and_its_target_give_what_was_seen(clips):
    stored = clips[1]
    sample = sample_of(stored, Importance())
    shown = (sample["guidance"][:, :COLOURS] + sample["target"][:, :COLOURS] + 1) * (255 / 2)
    counted = sample["weight"][:, 0] > 0
    np.testing.assert_allclose(np.moveaxis(shown, 1, -1)[counted], stored.true_rgb[counted], atol=0.01)


def test_points_of_a_mirrored_sample_are_those_of_a_mirrored_world(clips):
    """Whatever is cut and mirrored, the depth of a pixel lies on its ray from the camera."""
    original = sample_of(clips[0], Importance())["guidance"][:, COLOURS:FIRST_CHANNELS]
    heights, sides = np.sort(original[:, 2].ravel()), np.sort(original[:, 1].ravel())
    mirrored = 0
    for seed in range(12):
        samples_ = replace(samples(clips), smallest_part=1.0)
        points = samples_.sample(0, np.random.default_rng(seed))["guidance"][:, COLOURS:FIRST_CHANNELS]
        np.testing.assert_allclose(np.sort(points[:, 2].ravel()), heights, atol=1e-5)
        same = np.allclose(np.sort(points[:, 1].ravel()), sides, atol=1e-5)
        mirrored += not same
        assert same or np.allclose(np.sort(-points[:, 1].ravel()), sides, atol=1e-5)
    assert 0 < mirrored < 12


def test_the_command_trains_and_exports_a_generator(dataset, tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    small = ["network.size=32", "network.width=24", "network.heads=2", "network.layers=st"]
    where = [f"clips.episodes=[{dataset}]", f"clips.validation={dataset}", "clips.folder=clips"]
    run = ["training.steps=3", "training.batch_size=2", "training.validate_every=3", "training.device=cpu"]
    assert main(["train", "compact", "--run", str(tmp_path / "run"), "--set", *small, *where, *run]) == 0
    for runtime in ("onnx", "torch"):
        assert len(VideoGenerator.from_folder(tmp_path / "run" / "model", runtime=runtime).sha256) == 64
    pictures = list((tmp_path / "run" / "pictures").rglob("*.png"))
    assert len(pictures) == 2
