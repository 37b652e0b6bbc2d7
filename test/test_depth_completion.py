"""The shipped hole filler: fills that are exact on planes, known depth untouched, both runtimes alike, in the node."""

import json
import shutil
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from rclpy.node import Node
from rig import Rig
from rig_ros import RigPublisher
from sensor_msgs.msg import PointCloud2
from test_imagine import STAMP, Stage, listen_to_diagnostics

from fourd_ros import simulation
from fourd_ros.bridge.clouds import read_cloud
from fourd_ros.bridge.images import array_to_image
from fourd_ros.cli import main
from fourd_ros.client import WorldModelClient
from fourd_ros.depth_completion.completer import ONNX_FILE, WORKING_SIDE, DepthCompleter
from fourd_ros.depth_completion.fills import FILLS, SOURCES, fill
from fourd_ros.depth_completion.sensor_noise import SensorRanges
from fourd_ros.errors import CorruptModel, InvalidDataset, InvalidImage, InvalidInput, InvalidModel
from fourd_ros.evaluation.depth_completion import BASELINE, OURS, calibration, fillers, hole_errors, measure
from fourd_ros.geometry.transforms import apply
from fourd_ros.model_io.card import read_card
from fourd_ros.model_io.folder import shipped_model
from fourd_ros.model_io.loading import load_model
from fourd_ros.simulation.stills import SPLITS, StillFolder, StillOptions, prepare_stills, render_stills

SIZE = 96
HOLE = np.s_[20:40, 30:60]


@pytest.fixture(scope="module")
def completer() -> DepthCompleter:
    return DepthCompleter.from_folder(shipped_model("depth_completion"), threads=1)


def plane(height: int = SIZE, width: int = SIZE) -> np.ndarray:
    """Depth [m] of a tilted plane: its inverse is affine in the pixels."""
    rows, columns = np.mgrid[:height, :width]
    return (1 / (1.0 + 0.2 * columns / width - 0.4 * rows / height)).astype(np.float32)


def with_holes(depth: np.ndarray, *, seed: int = 0) -> np.ndarray:
    holed = depth.copy()
    holed[HOLE] = np.nan
    holed[np.random.default_rng(seed).random(depth.shape) < 0.05] = np.nan
    return holed


def colours(height: int, width: int) -> np.ndarray:
    return np.random.default_rng(7).integers(0, 256, (height, width, 3), dtype=np.uint8)


def test_what_is_filled_between_two_sides_of_a_plane_is_the_plane() -> None:
    truth = plane()
    filled = fill(colours(SIZE, SIZE), with_holes(truth))
    assert filled is not None
    images = dict(zip(FILLS, np.exp(filled.images()) * filled.median, strict=True))
    inside = np.s_[1:-1, 1:-1]
    for name in ("across", "along"):
        np.testing.assert_allclose(images[name][inside], truth[inside], rtol=2e-3)
        np.testing.assert_allclose(images[name][HOLE], truth[HOLE], rtol=1e-5)
    for image in images.values():
        np.testing.assert_allclose(image[filled.known], truth[filled.known], rtol=1e-6)


def test_every_source_gives_its_depth_and_says_how_far_and_how_unlike_it_is() -> None:
    depth = np.full((5, 7), np.nan, np.float32)
    rgb = np.full((5, 7, 3), 255, np.uint8)
    depth[2, 0], depth[2, 6], depth[0, 3], depth[4, 3] = 1.0, 2.0, 4.0, 8.0
    rgb[0, 3], rgb[4, 3], rgb[2, 0] = 0, (255, 0, 255), 51
    filled = fill(rgb, depth)
    assert filled is not None
    holes = list(zip(*filled.holes, strict=True))
    middle, corner = holes.index((2, 3)), holes.index((0, 0))
    metres = dict(zip(FILLS, np.exp(filled.in_holes[:, middle]) * filled.median, strict=True))
    sides = {"left": 1.0, "right": 2.0, "up": 4.0, "down": 8.0}
    assert {side: metres[side] for side in sides} == pytest.approx(sides)
    assert metres["nearest"] in (pytest.approx(4.0), pytest.approx(8.0))
    assert metres["across"] == pytest.approx(1 / np.mean([1 / 1.0, 1 / 2.0]))
    assert metres["along"] == pytest.approx(1 / np.mean([1 / 4.0, 1 / 8.0]))
    assert metres["alike"] == pytest.approx(sides["right"]), "the one that is as white"
    assert dict(zip(SOURCES, filled.distances[:, middle], strict=True)) == pytest.approx(
        {"nearest": 2, "left": 3, "right": 3, "up": 2, "down": 2}
    )
    assert filled.differences[1:, middle] == pytest.approx([0.8, 0.0, 1.0, 1 / 3])
    assert np.isinf(filled.distances[SOURCES.index("left"), corner])
    assert filled.differences[SOURCES.index("left"), corner] == 1.0
    assert np.isfinite(filled.in_holes).all()
    assert filled.closeness(unit=2.0)[0, 2, 3] == pytest.approx(0.5)
    assert filled.likeness()[2, 2, 3] == pytest.approx(1.0)
    assert filled.likeness()[3, 2, 3] == pytest.approx(0.0)


@pytest.mark.parametrize("size", [(128, 128), (37, 51), (240, 320), (2, WORKING_SIDE + 3)])
def test_both_runtimes_agree_at_every_size_and_known_depth_stays(size: tuple[int, int]) -> None:
    folder = shipped_model("depth_completion")
    models = [
        DepthCompleter.from_folder(folder, runtime="torch"),
        DepthCompleter.from_folder(folder),
        load_model(folder),
    ]
    depth, rgb = with_holes(plane(*size)), colours(*size)
    torch_found, onnx_found, loaded_found = (model.complete(rgb, depth) for model in models)
    known = np.isfinite(depth)
    for found in (torch_found, onnx_found):
        np.testing.assert_array_equal(found.depth[known], depth[known])
        assert np.isfinite(found.depth).all()
        np.testing.assert_array_equal(np.isnan(found.sigma), known)
    np.testing.assert_allclose(onnx_found.depth, torch_found.depth, atol=1e-4)
    np.testing.assert_allclose(onnx_found.sigma, torch_found.sigma, atol=1e-4)
    np.testing.assert_array_equal(loaded_found.depth, torch_found.depth)


def test_the_range_does_not_matter(completer: DepthCompleter) -> None:
    depth, rgb = with_holes(plane()), colours(SIZE, SIZE)
    near, far = completer.complete(rgb, depth), completer.complete(rgb, 16 * depth)
    np.testing.assert_allclose(far.depth, 16 * near.depth, rtol=1e-4)
    np.testing.assert_allclose(far.sigma, 16 * near.sigma, rtol=1e-3)


def test_holes_that_are_not_sure_enough_stay(completer: DepthCompleter) -> None:
    depth, rgb = with_holes(plane()), colours(SIZE, SIZE)
    everything = completer.complete(rgb, depth)
    bound = float(np.nanmedian(everything.sigma))
    some = completer.complete(rgb, depth, max_sigma=bound)
    np.testing.assert_array_equal(np.isnan(some.depth), everything.sigma > bound)
    np.testing.assert_array_equal(some.sigma, everything.sigma)


def test_nothing_known_nothing_missing_and_what_does_not_fit(completer: DepthCompleter) -> None:
    rgb = colours(SIZE, SIZE)
    assert np.isnan(completer.complete(rgb, np.full((SIZE, SIZE), np.nan, np.float32)).depth).all()
    whole = completer.complete(rgb, plane())
    np.testing.assert_array_equal(whole.depth, plane())
    assert np.isnan(whole.sigma).all()
    with pytest.raises(InvalidImage, match="needed uint8"):
        completer.complete(rgb[:-1], plane())
    with pytest.raises(InvalidInput, match="there are 'onnx' and 'torch'"):
        DepthCompleter.from_folder(shipped_model("depth_completion"), runtime="tensorrt")  # type: ignore[arg-type]


def test_a_changed_file_and_a_folder_of_something_else_are_refused(tmp_path: Path) -> None:
    copy = tmp_path / "copy"
    shutil.copytree(shipped_model("depth_completion"), copy)
    content = bytearray((copy / ONNX_FILE).read_bytes())
    content[len(content) // 2] ^= 1
    (copy / ONNX_FILE).write_bytes(content)
    with pytest.raises(CorruptModel, match=ONNX_FILE):
        DepthCompleter.from_folder(copy)
    for runtime in ("onnx", "torch"):
        with pytest.raises(InvalidModel, match="holds a Lpips"):
            DepthCompleter.from_folder(shipped_model("lpips_alex"), runtime=runtime)


@pytest.fixture(scope="module")
def held_out(tmp_path_factory: pytest.TempPathFactory) -> StillFolder:
    """Pictures of scenes that no training has seen."""
    split = SPLITS["new_scenes"]
    folder = tmp_path_factory.mktemp("pictures")
    return prepare_stills(folder, split.seeds(2), split.options, bar=False)


def test_the_shipped_network_beats_inpainting_on_pictures_it_has_not_seen(
    completer: DepthCompleter, held_out: StillFolder
) -> None:
    images = [measure(still, SensorRanges(), seed=number) for number, still in enumerate(held_out)]
    methods = fillers(completer)
    found = {name: [methods[name](image) for image in images] for name in (OURS, BASELINE)}
    errors = {
        name: [hole_errors(image, completed) for image, completed in zip(images, fillings, strict=True)]
        for name, fillings in found.items()
    }

    def mean(method: str, metric: str) -> float:
        return float(np.mean([values[metric] for values in errors[method] if np.isfinite(values[metric])]))

    for metric in ("mae", "mae_near", "mae_edges"):
        assert mean(OURS, metric) < 0.9 * mean(BASELINE, metric), metric
    assert mean(OURS, "median_depth_error") < mean(BASELINE, "median_depth_error")
    assert mean(OURS, "covered_90") > 0.8
    assert 0.5 < calibration(zip(images, found[OURS], strict=True)) < 2.0


def test_pictures_are_kept_taken_once_and_the_same_again(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(simulation.stills, "SCENES_PER_SHARD", 2)
    options = StillOptions(size=32, free_cameras=2, usual_cameras=False)
    first = prepare_stills(tmp_path, range(3), options, bar=False)
    assert len(first) == 6
    shards = {path: path.stat().st_mtime_ns for path in tmp_path.glob("*.safetensors")}
    assert len(shards) == 2
    again = prepare_stills(tmp_path, range(3), options, bar=False)
    assert {path: path.stat().st_mtime_ns for path in shards} == shards
    still, rendered = again[5], render_stills(2, options)[1]
    np.testing.assert_array_equal(still.rgb, rendered.rgb)
    np.testing.assert_allclose(still.depth, rendered.depth, atol=1e-4)
    np.testing.assert_array_equal(still.segmentation, rendered.segmentation)
    assert still.camera == rendered.camera
    with pytest.raises(InvalidDataset, match="other options"):
        prepare_stills(tmp_path, range(1), StillOptions(size=48), bar=False)


def test_splits_share_no_scene_and_the_last_shows_what_is_new() -> None:
    seeds = [set(split.seeds(1000)) for split in SPLITS.values()]
    assert len(set.union(*seeds)) == 1000 * len(SPLITS)
    known, new = SPLITS["training"].options, SPLITS["new_views_and_things"].options
    assert not set(known.kinds) & set(new.kinds)
    assert known.azimuths[1] < new.azimuths[0]


def test_the_card_says_what_the_evaluation_found(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    copy = tmp_path / "model"
    shutil.copytree(shipped_model("depth_completion"), copy)
    command = ["evaluate", "depth_completion", str(copy), "--scenes", "1", "--size", "64", "--workers", "1"]
    assert main([*command, "--pictures", str(tmp_path / "pictures"), "--write-card", "--json"]) == 0
    printed = json.loads(capsys.readouterr().out)
    card = read_card(copy)
    assert {method: dict(values) for method, values in card.metrics.items()}.keys() == printed.keys()
    middle, low, high = card.metrics[f"new_scenes: {OURS}"]["MAE [mm]"]
    assert low <= middle <= high
    assert DepthCompleter.from_folder(copy)
    assert "OpenCV Telea" in (copy / "README.md").read_text()


MAX_SIGMA = 0.05


class HoledRigPublisher(RigPublisher):
    """The rig, whose camera measures nothing in a rectangle on the table."""

    def messages(self, stamp_ns: int) -> dict[str, Any]:
        out = super().messages(stamp_ns)
        header = out["front/depth"].header
        out["front/depth"] = array_to_image(self.holed(), "32FC1", header)
        return out

    def holed(self) -> np.ndarray:
        depth = self.rig.view("front").points[..., 2].copy()
        depth[self.hole] = np.nan
        return depth

    @property
    def hole(self) -> tuple[slice, slice]:
        return np.s_[44:54, 8:24]


@pytest.fixture(params=["", "depth_completion"])
def stage(
    request: pytest.FixtureRequest, spin: Any, other_process: Any, wait_for: Callable[..., Any]
) -> Iterator[tuple[Stage, bool]]:
    node = spin(Node("test_client", use_global_arguments=False))
    server = other_process(
        *("-m", "fourd_ros.cli", "bringup", "world_model"),
        *("--set", "cameras:=[front]", "--set", f"depth_completion:={request.param}"),
        *(
            "--set",
            f"world_model.depth_completion_max_sigma:={MAX_SIGMA}",
            "--set",
            "world_model.image_reliability:=reliable",
        ),
    )
    client = WorldModelClient(node)
    client.wait(timeout=30.0)
    publisher = HoledRigPublisher(node, Rig(size=64), cameras=("front",))
    stage = Stage(
        node=node,
        client=client,
        publisher=publisher,
        server=server,
        start_server=lambda: server,
        wait_for=wait_for,
        counters=listen_to_diagnostics(node),
    )
    stage.observed(STAMP)
    yield stage, bool(request.param)
    client.destroy()


def test_the_world_model_node_fills_holes_when_asked(stage: tuple[Stage, bool]) -> None:
    running, asked = stage
    publisher = running.publisher
    assert isinstance(publisher, HoledRigPublisher)
    clouds: list[PointCloud2] = []
    running.node.create_subscription(PointCloud2, "world_model/points", clouds.append, 5)
    running.wait_for(lambda: clouds, "the live cloud")
    seen = read_cloud(clouds[0])
    cloud = seen["points"]
    view = publisher.rig.view("front")
    measured = int(np.isfinite(publisher.holed()).sum())
    hidden = apply(view.T_world_camera, view.points[publisher.hole].reshape(-1, 3))
    if not asked:
        assert len(cloud) == measured
        return
    assert len(cloud) > measured + 0.8 * len(hidden)
    distances = np.linalg.norm(hidden[:, None] - cloud[None], axis=-1).min(axis=1)
    assert np.median(distances) < MAX_SIGMA
