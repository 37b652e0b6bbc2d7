"""From generated objects through the real command to a folder, and what the model of it says about bad input."""

import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest
import torch

from fourd_ros.data.articulated_shards import ArticulatedShards
from fourd_ros.data.partdrag4d import ItemOptions, PackedPartDataset
from fourd_ros.data.partdrag4d_cameras import CAM_RADIUS, TRUE_FOV
from fourd_ros.errors import InvalidDrag, InvalidImage
from fourd_ros.part_dynamics.drags import MAX_DRAGS
from fourd_ros.part_dynamics.gaussians import OPACITY, POSITION, Gaussians
from fourd_ros.part_dynamics.joint_fit import JointType
from fourd_ros.part_dynamics.model import PartDynamics, moving_part
from fourd_ros.part_dynamics.network import PartNetwork, PartNetworkConfig
from fourd_ros.part_dynamics.objective import motion_loss
from fourd_ros.training.part_samples import PartSamples, surface_targets

SIZE, SPLATS = 32, 16
NETWORK = (
    f"network.input_size={SIZE}",
    "network.down_channels=[32,32]",
    "network.down_attention=[false,true]",
    "network.up_channels=[32]",
    "network.up_attention=[true]",
)
PATIENCE = 240.0
FRONT = np.array([[1, 0, 0, 0], [0, 1, 0, 0], [0, 0, 1, CAM_RADIUS], [0, 0, 0, 1]], np.float32)


@pytest.fixture(scope="module")
def objects(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("articulated") / "train"
    run(
        "data",
        "articulated",
        folder,
        "--split",
        "train",
        "--objects",
        2,
        "--packed",
        "--depth",
        "--size",
        64,
        "--points",
        512,
        "--depth",
    )
    return folder


@pytest.fixture
def model() -> PartDynamics:
    network = PartNetworkConfig(
        input_size=SIZE,
        down_channels=(32, 32),
        down_attention=(False, True),
        up_channels=(32,),
        up_attention=(True,),
    )
    return PartDynamics(PartNetwork(network))


def run(*words: object) -> None:
    command = [sys.executable, "-m", "fourd_ros.cli", *(str(word) for word in words)]
    done = subprocess.run(command, capture_output=True, text=True, timeout=PATIENCE)
    assert done.returncode == 0, done.stderr


def items(folder: Path) -> PackedPartDataset:
    options = ItemOptions(input_size=SIZE, output_size=SIZE, cam_radius=CAM_RADIUS, imagenet=False)
    return PackedPartDataset(ArticulatedShards(folder), options, target_views=1)


def test_both_stages_train_and_the_folder_answers(objects: Path, tmp_path: Path) -> None:
    data = (f"data.train={objects}", f"data.validation={objects}", "data.validation_items=2", "data.target_views=1")
    length = ("training.steps=2", "training.batch_size=2", "training.validate_every=2", "training.checkpoint_every=2")
    motion, appearance = tmp_path / "motion", tmp_path / "appearance"
    run("train", "part_dynamics", "--run", motion, "--set", *data, *length, *NETWORK)
    start = f"network.start={motion / 'model'}"
    run("train", "part_dynamics", "--run", appearance, "--set", "stage=appearance", start, *data, *length, *NETWORK)
    assert list((appearance / "pictures").rglob("*.png"))

    item = items(objects).training_item(0, np.random.default_rng(0))
    model = PartDynamics.from_folder(appearance / "model")
    answer = model.predict(item.images, item.input_poses, item.drags.start, item.drags.end)
    assert len(answer.before) == len(answer.after) == 4 * SPLATS**2
    np.testing.assert_allclose(answer.displacement, answer.after.positions - answer.before.positions)
    still = model.predict(item.images, item.input_poses, item.drags.start, item.drags.start)
    assert not still.displacement.any()
    assert not still.moving.any() and still.joint is None


def test_a_target_is_the_surface_that_a_pixel_shows_after_its_motion() -> None:
    near, hidden, beside = (0.0, 0.0, 0.3), (0.0, 0.0, -0.3), (0.5, 0.25, 0.0)
    before = np.array([hidden, near, beside], np.float32)
    after = before + np.array([[9, 9, 9], [0.1, 0, 0], [0, 0.2, 0]], np.float32)
    image = np.full((1, 3, SIZE, SIZE), 0.25, np.float32)
    target = surface_targets(image, FRONT[None], before, after, size=SPLATS, fovy=TRUE_FOV)
    shown = np.flatnonzero(target.values[:, OPACITY].ravel())
    assert len(shown) == 2
    found = target.values[shown][:, POSITION]
    np.testing.assert_allclose(found[np.argsort(found[:, 0])], [after[1], after[2]])
    upper, lower = shown // SPLATS
    assert upper < SPLATS // 2 <= lower, "what is higher in the world is in an upper row"
    assert (target.weight[shown] == 1).all()
    assert target.weight[0, OPACITY] == 1 and target.weight[0, POSITION].sum() == 0, "background is known to be empty"


def test_samples_without_motion_ask_for_the_object_as_it_is(objects: Path) -> None:
    all_still = PartSamples(items(objects), splat_size=SPLATS, fovy=TRUE_FOV, still=1.0)
    sample = all_still.sample(0, np.random.default_rng(3))
    np.testing.assert_array_equal(sample["start"], sample["end"])
    assert sample["moves"] == 0
    moved = PartSamples(items(objects), splat_size=SPLATS, fovy=TRUE_FOV, still=0.0).sample(0, np.random.default_rng(3))
    assert moved["moves"] == 1 and np.abs(moved["start"] - moved["end"]).max() > 1


def test_what_is_not_known_does_not_count() -> None:
    predicted, target, weight = torch.rand(1, 5, 14), torch.rand(1, 5, 14), torch.zeros(1, 5, 14)
    weight[0, 2, :3] = 1
    other = target.clone()
    other[0, [0, 1, 3, 4]] = 7.0
    assert torch.equal(motion_loss(predicted, target, weight), motion_loss(predicted, other, weight))
    other[0, 2, 0] += 1
    assert not torch.equal(motion_loss(predicted, target, weight), motion_loss(predicted, other, weight))


def test_the_part_is_what_is_seen_and_moves_like_the_farthest() -> None:
    values = np.zeros((40, 14), np.float32)
    values[:, OPACITY] = 1
    values[30:, OPACITY] = 0.01
    displacement = np.zeros((40, 3), np.float32)
    displacement[:10, 0], displacement[10:20, 0], displacement[30:, 0] = 0.4, 0.02, 5.0
    moving = moving_part(Gaussians(values=values), displacement)
    assert moving[:10].all() and not moving[10:].any()
    assert not moving_part(Gaussians(values=values), displacement * 1e-3).any(), "a jitter is no motion"


@pytest.mark.parametrize(
    ("drags", "named"),
    [
        (np.zeros((4, 0, 2)), "0 drags"),
        (np.zeros((4, MAX_DRAGS + 1, 2)), f"{MAX_DRAGS + 1} drags"),
        (np.zeros((3, 1, 2)), "needed are two of"),
        (np.full((4, 1, 2), np.nan), "not finite"),
    ],
)
def test_drags_that_cannot_be_are_named(model: PartDynamics, drags: np.ndarray, named: str) -> None:
    images, poses = np.ones((4, 3, SIZE, SIZE), np.float32), np.stack([FRONT] * 4)
    with pytest.raises(InvalidDrag, match=named):
        model.gaussians(images, poses, drags, drags)


def test_images_of_another_size_are_named(model: PartDynamics) -> None:
    drags = np.full((4, 1, 2), 256.0, np.float32)
    with pytest.raises(InvalidImage, match=r"needed are \[4, 3, 32, 32\]"):
        model.gaussians(np.ones((4, 3, 64, 64), np.float32), np.stack([FRONT] * 4), drags, drags)


def test_joint_kinds_are_those_of_the_action() -> None:
    text = (Path(__file__).parents[1] / "msg" / "action" / "PredictPartMotion.action").read_text()
    for kind in JointType:
        assert f"uint8 {kind.name}={kind.value}\n" in text
