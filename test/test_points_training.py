"""Training of the point dynamics: samples from the simulator, windows of them, and the real command."""

import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest
import torch

from fourd_ros.robot.model import RobotModel
from fourd_ros.robot.panda import panda_description
from fourd_ros.simulation.tabletop import record_tabletop, watch_tabletop
from fourd_ros.simulation.tabletop_scene import tabletop_seeds
from fourd_ros.training.points import PointsConfig, PointsNetworkSettings, PointsTask
from fourd_ros.training.points_recording import (
    HORIZON,
    STORED_BODIES,
    MotionSource,
    make_samples,
    prepare_samples,
)
from fourd_ros.training.points_samples import Following, PointSamples
from fourd_ros.training.points_windows import INPUTS, unfold
from fourd_ros.world_model.compact.dynamics import POINTS, SUBSTEPS, PointDynamics, spread

SOURCE = MotionSource(split="train", seed=0, motions=6)
PATIENCE = 240.0


@pytest.fixture(scope="module")
def shards(tmp_path_factory: pytest.TempPathFactory) -> list[Path]:
    return prepare_samples(SOURCE, tmp_path_factory.mktemp("samples"))


def batch_of(samples: PointSamples, indices: range, *, begin: int | None = None) -> dict[str, torch.Tensor]:
    """Stacked samples; all begun at one step, and followed to their end, where one is named."""
    rows = [dict(samples.sample(index, np.random.default_rng(index))) for index in indices]
    if begin is not None:
        rows = [{**row, "begin": np.array(begin), "length": row["steps"].astype(np.int64) - begin} for row in rows]
    return {name: torch.from_numpy(np.stack([row[name] for row in rows])) for name in rows[0]}


def test_a_watched_motion_is_that_of_the_episode() -> None:
    seed = tabletop_seeds("train", seed=0, episodes=1)[0]
    episode = record_tabletop(seed, "train")
    motion = watch_tabletop(seed, "train", after=(0, 20))
    first, later = motion.instants
    assert later == first + 20
    np.testing.assert_array_equal(motion.object_poses[first : first + 65 : 4], episode.object_poses)
    (view,) = episode.views.values()
    np.testing.assert_array_equal(motion.view.depth, view.depth[[0, 5]])


def test_samples_are_made_once_and_are_the_same_anew(shards: list[Path], tmp_path: Path) -> None:
    again = prepare_samples(SOURCE, tmp_path)
    assert [path.read_bytes() for path in again] == [path.read_bytes() for path in shards]
    stamps = [path.stat().st_mtime_ns for path in again]
    assert prepare_samples(SOURCE, tmp_path) == again
    assert [path.stat().st_mtime_ns for path in again] == stamps


def test_points_go_where_the_body_they_belong_to_goes() -> None:
    seed = tabletop_seeds("train", seed=0, episodes=1)[0]
    source = MotionSource(split="train", seed=0, motions=1, noisy=0.0)
    sample = next(iter(make_samples(seed, source, RobotModel(panda_description()))))
    motion = watch_tabletop(seed, "train", after=source.after)
    begin, end = motion.instants[0], motion.instants[0] + HORIZON
    assert sample["motions"].shape[0] == sample["steps"] == HORIZON // SUBSTEPS
    for body in range(motion.object_poses.shape[1]):
        carried = sample["motions"][-1, body] @ motion.object_poses[begin, body]
        np.testing.assert_allclose(carried, motion.object_poses[end, body], atol=1e-5)
    present = sample["present"] > 0
    assert (sample["points"][present][..., 2] > sample["support"][present][:, None] - 0.005).all()
    assert set(sample["body"][present].ravel()) <= {*range(motion.object_poses.shape[1]), STORED_BODIES}


def test_the_loss_of_a_sample_does_not_depend_on_its_batch(shards: list[Path]) -> None:
    task = PointsTask(PointsConfig(network=PointsNetworkSettings(width=16, memory=16, hidden=16)))
    torch.manual_seed(0)
    network = task.network()
    batch = batch_of(PointSamples(shards, things=3, following=Following(window=6, whole=0.5)), range(6))
    assert len(set(batch["length"].tolist())) > 1
    together = task.loss(network, batch).per_sample
    for index in range(6):
        alone = task.loss(network, {name: value[index, None] for name, value in batch.items()}).per_sample
        torch.testing.assert_close(alone[0], together[index], atol=1e-4, rtol=1e-4)


def test_a_window_goes_on_where_the_whole_sample_is_by_then(shards: list[Path]) -> None:
    samples = PointSamples(shards, things=3, following=None)
    whole = unfold(batch_of(samples, range(len(samples))))
    begin = 5
    later = unfold(batch_of(samples, range(len(samples)), begin=begin))
    real = whole["present"].bool()
    torch.testing.assert_close(later["points"][real], whole["target"][:, :, :, begin - 1][real], atol=1e-5, rtol=0)
    known = later["known"].bool()[:, None, None, :, None]
    rest = whole["target"][:, :, :, begin:]
    steps = min(rest.shape[3], later["target"].shape[3])
    difference = ((later["target"][:, :, :, :steps] - rest[:, :, :, :steps]) * known[:, :, :, :steps])[real]
    assert difference.abs().max() < 1e-4
    torch.testing.assert_close(later["frames"][:, 0], whole["frames"][:, SUBSTEPS * begin])
    assert whole["moved"].sum() > 0 and set(INPUTS) < set(whole)


def test_samples_are_followed_as_asked_and_mirrored_truly(shards: list[Path]) -> None:
    samples = PointSamples(shards, things=2, following=Following(window=6, whole=0.5))
    drawn = [samples.sample(0, np.random.default_rng(seed)) for seed in range(40)]
    again = samples.sample(0, np.random.default_rng(3))
    assert all(np.array_equal(drawn[3][name], again[name]) for name in again)
    lengths = np.array([sample["length"] for sample in drawn])
    assert 8 < (lengths == 6).sum() < 32 and all(
        sample["begin"] + sample["length"] <= sample["steps"] for sample in drawn
    )
    plain = samples.plain().sample(0, np.random.default_rng(0))
    sides = np.array([np.sign((sample["eye"] * plain["eye"])[1]) for sample in drawn])
    assert {-1.0, 1.0} == set(sides)
    mirrored = drawn[int((sides < 0).argmax())]
    apart = np.linalg.norm(mirrored["points"][0] - mirrored["frames"][0, :3, 3], axis=-1)
    np.testing.assert_allclose(
        apart, np.linalg.norm(plain["points"][0] - plain["frames"][0, :3, 3], axis=-1), atol=0.006
    )


def test_the_outermost_points_are_chosen_first() -> None:
    grid = np.stack(np.meshgrid(*[np.linspace(0.0, 1.0, 9)] * 3), axis=-1).reshape(-1, 3)
    first = grid[spread(grid, 8)]
    assert (np.ptp(first, axis=0) == 1.0).all()
    apart = np.linalg.norm(first[:, None] - first, axis=-1) + 9 * np.eye(8)
    assert apart.min() > 0.7
    assert np.bincount(spread(grid[:3], POINTS)).tolist() == [POINTS // 3] * 3


def test_two_processes_train_and_export_the_dynamics(tmp_path: Path) -> None:
    data = ["data.train=[{motions: 4}]", "data.validation.motions=2", f"data.samples={tmp_path / 'samples'}"]
    network = ["network.width=16", "network.memory=16", "network.hidden=16", "data.workers=1"]
    run = ["training.steps=2", "training.batch_size=2", "training.validate_every=1", "training.device=cpu"]
    launcher = ("-m", "torch.distributed.run", "--nproc-per-node=2", "--standalone", "-m", "fourd_ros.cli")
    words = ("train", "points", "--run-folder", str(tmp_path / "run"), "--set", *data, *network, *run)
    done = subprocess.run([sys.executable, *launcher, *words], capture_output=True, text=True, timeout=PATIENCE)
    assert done.returncode == 0, done.stderr
    for runtime in ("onnx", "torch"):
        assert len(PointDynamics.from_folder(tmp_path / "run" / "model", runtime=runtime).sha256) == 64
    assert len(list((tmp_path / "run" / "pictures").rglob("*.png"))) > 0
