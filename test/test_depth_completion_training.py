"""Training of the hole filler: what a sample is, and the real command on a dozen pictures."""

import shutil
from dataclasses import fields
from pathlib import Path

import numpy as np
import pytest
from rig import make_camera

from fourd_ros.cli import main
from fourd_ros.depth_completion.completer import DepthCompleter
from fourd_ros.depth_completion.sensor_noise import SensorRanges
from fourd_ros.errors import InvalidConfig, InvalidDataset
from fourd_ros.model_io.folder import ModelFolder
from fourd_ros.simulation.stills import StillFolder, StillOptions, prepare_stills
from fourd_ros.training.depth_completion import DepthCompletionConfig
from fourd_ros.training.depth_samples import DepthSamples, mirrored
from fourd_ros.training.settings import make_config

HARMLESS = {"nearest": 0.0, "farthest": 1e3, "grazing": 9.0, "disparity_step": 1e-9, "glare": 9.0}
PERFECT = SensorRanges(**{item.name: (HARMLESS.get(item.name, 0.0),) * 2 for item in fields(SensorRanges)})


@pytest.fixture(scope="module")
def pictures(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return tmp_path_factory.mktemp("pictures")


@pytest.fixture(scope="module")
def stills(pictures: Path) -> StillFolder:
    return prepare_stills(pictures / "samples", range(2), StillOptions(size=64), bar=False)


def test_a_sample_is_a_part_of_a_picture_and_its_truth_fits(stills: StillFolder) -> None:
    samples = DepthSamples(stills=stills, ranges=PERFECT, crop=32, smallest_part=0.5)
    for index in range(len(samples)):
        sample = samples.sample(index, np.random.default_rng(index))
        again = samples.sample(index, np.random.default_rng(index))
        assert all(np.array_equal(sample[name], again[name]) for name in sample)
        fills, target, holes, known = (np.asarray(sample[name]) for name in ("fills", "target", "holes", "known"))
        assert not holes.any()
        np.testing.assert_allclose(fills[3][known[0] > 0], target[known > 0], atol=1e-5)
        assert np.asarray(sample["colour"]).shape == (3, 32, 32)


def test_holes_are_where_something_is_that_was_not_measured(stills: StillFolder) -> None:
    samples = DepthSamples(stills=stills, ranges=SensorRanges(), crop=32, smallest_part=0.5)
    for index in range(len(samples)):
        sample = samples.sample(index, np.random.default_rng(index))
        closeness, holes, known = (np.asarray(sample[name]) for name in ("closeness", "holes", "known"))
        np.testing.assert_array_equal(holes[0] > 0, (closeness[0] < 1) & (known[0] > 0))


def test_a_mirrored_camera_sees_mirrored_rays() -> None:
    camera = make_camera(32, 48)
    shifted = type(camera)(width=48, height=32, K=camera.K + np.outer([5, 2, 0], [0, 0, 1]))
    np.testing.assert_allclose(mirrored(shifted).rays(), shifted.rays()[:, ::-1] * [-1, 1, 1], atol=1e-6)


@pytest.mark.parametrize("tree", [{"sensor": {"base_line": [0.0, 0.1]}}, {"crop": 100}, {"network": {"channels": [0]}}])
def test_settings_that_mean_nothing_are_refused(tree: dict[str, object]) -> None:
    with pytest.raises(InvalidConfig):
        make_config(DepthCompletionConfig, tree)


def test_the_command_trains_resumes_exactly_and_ships_a_model_that_runs(pictures: Path, tmp_path: Path) -> None:
    run, continued = tmp_path / "run", tmp_path / "continued"
    settings = [
        "training.steps=4", "training.batch_size=2", "training.checkpoint_every=2", "training.validate_every=3",
        "pictures.scenes=2", "pictures.validation_scenes=1", f"pictures.folder={pictures}", "pictures.size=64",
        "pictures.workers=1", "network.channels=[8,8]", "crop=32",
    ]  # fmt: skip
    assert main(["train", "depth_completion", "--run", str(run), "--json", "--set", *settings]) == 0
    taken = {path: path.stat().st_mtime_ns for path in pictures.rglob("*.safetensors")}
    shutil.copytree(run, continued)
    shutil.rmtree(continued / "model")
    shutil.rmtree(continued / "checkpoints" / "step_00000004")
    assert main(["train", "depth_completion", "--run", str(continued), "--json", "--resume"]) == 0
    assert {path: path.stat().st_mtime_ns for path in pictures.rglob("*.safetensors")} == taken
    first, second = ModelFolder(run / "model"), ModelFolder(continued / "model")
    assert (
        first.card.files["network/diffusion_pytorch_model.safetensors"]
        == (second.card.files["network/diffusion_pytorch_model.safetensors"])
    )
    assert (run / "metrics.jsonl").read_text() == (continued / "metrics.jsonl").read_text()
    assert "14 pictures of 2 simulated table-top scenes" in first.card.data
    assert first.card.metrics["validation"]["mae"] > 0
    depth = np.linspace(0.5, 1.5, 40 * 60, dtype=np.float32).reshape(40, 60)
    depth[10:20, 10:20] = np.nan
    rgb = np.zeros((40, 60, 3), np.uint8)
    filled = [DepthCompleter.from_folder(run / "model", runtime=r).complete(rgb, depth) for r in ("onnx", "torch")]
    np.testing.assert_allclose(filled[0].depth, filled[1].depth, atol=1e-4)
    assert np.isfinite(filled[0].depth).all()
    assert list((run / "pictures").rglob("*.png"))


def test_pictures_taken_with_other_options_are_not_mixed(stills: StillFolder, pictures: Path) -> None:
    with pytest.raises(InvalidDataset, match="other options"):
        prepare_stills(pictures / "samples", range(2), StillOptions(size=48), bar=False)
