"""From filmed sequences through the real command to a folder that answers; and what is trained for, by itself."""

import json
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch

from fourd_ros.cli import main
from fourd_ros.data.scene_shards import SceneShards
from fourd_ros.errors import InvalidDataset, InvalidInput
from fourd_ros.model_io.folder import ModelFolder
from fourd_ros.model_io.loading import load_model
from fourd_ros.scene_language.attention import Block
from fourd_ros.scene_language.lifting import lift
from fourd_ros.scene_language.linear_codec import linear_codec
from fourd_ros.scene_language.model import SceneLanguage
from fourd_ros.scene_language.pose_encoding import decode_intrinsics, decode_poses
from fourd_ros.scene_language.text_search import TEXTS_FILE
from fourd_ros.scene_language.word_vectors import WordVectors
from fourd_ros.simulation.scene_dataset import record_scenes
from fourd_ros.simulation.scene_sequences import SequenceOptions
from fourd_ros.simulation.scene_splits import scene_seeds
from fourd_ros.training.scene_language import SceneLanguageConfig, SceneLanguageTask, drawn, say, targets
from fourd_ros.training.scene_objective import camera_loss, confident_loss, words_loss
from fourd_ros.training.scene_samples import EVERYWHERE, MAX_THINGS, SceneSamples, texts_of
from fourd_ros.training.scene_validation import scene_errors

HEIGHT, WIDTH, FRAMES = 28, 42, 3
SMALL = (
    "network.image_side=42",
    "network.width=16",
    "network.heads=2",
    "network.blocks=2",
    "network.patch_blocks=1",
    "network.camera_iterations=2",
    "network.dense=8",
    "network.levels=[8,8,8,8]",
    "network.read=[0,0,1,1]",
    "network.words=12",
    "network.hidden=4",
    f"data.frames={FRAMES}",
    "data.validation_sequences=2",
)


@pytest.fixture(scope="module")
def sequences(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("scenes") / "train"
    options = SequenceOptions(width=WIDTH, height=HEIGHT, frames=5, shadows=False)
    list(record_scenes(folder, "train", scene_seeds("train", sequences=3), options))
    return folder


@pytest.fixture(scope="module")
def samples(sequences: Path) -> SceneSamples:
    shards, encoder = SceneShards(sequences), WordVectors()
    texts = sorted(set().union(*(texts_of(shards.facts(i), shards.frames(i).states) for i in range(len(shards)))))
    codes = linear_codec(encoder.encode(texts), numbers=12).encode(torch.from_numpy(encoder.encode(texts))).numpy()
    return SceneSamples(shards=shards, codes=dict(zip(texts, codes, strict=True)), frames=FRAMES, things=7.0)


def test_a_run_learns_resumes_and_its_folder_answers(
    sequences: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    run = tmp_path / "run"
    data = (f"data.train={sequences}", f"data.validation={sequences}", "data.jitter=0")
    length = ("training.batch_size=2", "training.learning_rate=3e-3", "training.ema_decay=null", "training.log_every=1")
    every = (
        "training.validate_every=12",
        "training.checkpoint_every=12",
        "training.schedule=constant",
        "training.precision=bf16",
    )
    words = ["train", "scene_language", "--run", str(run), "--json", "--set", *SMALL, *data, *length, *every]
    assert main([*words, "training.steps=12"]) == 0
    first = json.loads(capsys.readouterr().out.splitlines()[-1])
    assert main(["train", "scene-language", "--run", str(run), "--json", "--resume", "--set", "training.steps=24"]) == 0
    second = json.loads(capsys.readouterr().out.splitlines()[-1])
    assert (first["step"], second["step"]) == (12, 24)
    assert second["metrics"]["loss"] < first["metrics"]["loss"] - 0.1

    model = load_model(run / "model")
    assert isinstance(model, SceneLanguage) and model.language is not None and model.codec is not None
    told = json.loads((run / "model" / TEXTS_FILE).read_text())
    encoder = WordVectors()
    assert told["encoder"] == encoder.name and "table" in told["texts"]
    assert ModelFolder(run / "model").card.licence == "Apache-2.0"
    stream = model.stream()
    frames = SceneShards(sequences).frames(0)
    for rgb in frames.rgb[:2]:
        frame = stream.step(torch.from_numpy(rgb).permute(2, 0, 1)[None].float() / 255)
        with torch.inference_mode():
            maps = model.language(frame.tokens)
            decoded = model.codec.decode(maps.features[0, 0, 1].movedim(0, -1))
    assert frame.depth is not None and frame.depth.shape == (1, HEIGHT, WIDTH) and (frame.depth > 0).all()
    assert maps.features.shape == (1, 1, 3, 12, HEIGHT, WIDTH)
    assert decoded.shape == (HEIGHT, WIDTH, encoder.dimension)


def test_a_sample_fits_together(samples: SceneSamples) -> None:
    """What depth and poses lift is what the points say, and the first camera sees at the mean distance 1."""
    sample: Any = samples.sample(1, np.random.default_rng(0))
    assert sample["images"].shape == (FRAMES, 3, HEIGHT, WIDTH) and 0 <= sample["images"].min() <= 1
    T_camera_first = decode_poses(sample["pose"])
    np.testing.assert_allclose(T_camera_first[0], np.eye(4), atol=1e-6)
    known = sample["depth"] > 0
    assert np.linalg.norm(sample["points"][0][known[0]], axis=-1).mean() == pytest.approx(1, rel=1e-3)
    K = decode_intrinsics(sample["pose"], height=HEIGHT, width=WIDTH)
    K[:, :2, 2] -= 0.5
    lifted = lift(sample["depth"], intrinsics=K, T_camera_world=T_camera_first)
    np.testing.assert_allclose(lifted[known], sample["points"][known], atol=1e-4)
    facts = samples.shards.facts(1)
    for place, thing in enumerate(facts.things):
        np.testing.assert_array_equal(sample["codes"][0, 1, place], samples.codes[thing.label])
        np.testing.assert_array_equal(sample["codes"][0, 2, place], samples.codes[thing.category])
    assert sample["thing"].max() < MAX_THINGS and (sample["named"] == 1).all()


def test_some_frames_have_maps_and_their_important_pixels_are_drawn_more_often(samples: SceneSamples) -> None:
    whole: Any = replace(samples, pixels=20000).sample(1, np.random.default_rng(0))
    some: Any = replace(samples, mapped=2, pixels=50).sample(1, np.random.default_rng(0))
    mapped = some["mapped"]
    assert len(mapped) == 2 and some["depth"].shape == (2, HEIGHT, WIDTH) and some["pixels"].shape == (2, 50)
    assert some["images"].shape == whole["images"].shape
    np.testing.assert_array_equal(some["pose"], whole["pose"])
    for name in ("depth", "points", "codes", "thing"):
        np.testing.assert_array_equal(some[name], whole[name][mapped])
    things = len(samples.shards.facts(1).things) - len(EVERYWHERE)
    for frame in range(FRAMES):
        place = whole["thing"][frame].ravel()
        weight = np.where(place < things, 7.0, np.where(place < MAX_THINGS - 1, 1.0, 0.0))
        share = np.bincount(whole["pixels"][frame], minlength=weight.size) / 20000
        assert (share[weight == 0] == 0).all()
        assert share[place < things].sum() == pytest.approx(weight[place < things].sum() / weight.sum(), abs=0.02)


def test_samples_that_cannot_be_are_refused(samples: SceneSamples) -> None:
    with pytest.raises(InvalidDataset, match="needed are 9"):
        SceneSamples(shards=samples.shards, codes=samples.codes, frames=9).sample(0, np.random.default_rng(0))
    few = {"nothing": np.zeros(12, np.float32)}
    with pytest.raises(InvalidDataset, match="has no code"):
        SceneSamples(shards=samples.shards, codes=few, frames=2).sample(0, np.random.default_rng(0))


def test_codes_of_pixels_are_those_of_their_things(samples: SceneSamples) -> None:
    rows: Any = [samples.sample(index, np.random.default_rng(0)) for index in range(2)]
    batch = {name: torch.stack([torch.as_tensor(row[name]) for row in rows]) for name in rows[0]}
    found = targets(batch)
    assert found.shape == (2, FRAMES, 3, 12, samples.pixels)
    for row, frame, level, number in ((0, 0, 1, 5), (1, 2, 0, 1023), (1, 1, 2, 0)):
        place = rows[row]["thing"][frame].ravel()[rows[row]["pixels"][frame, number]]
        np.testing.assert_array_equal(found[row, frame, level, :, number], rows[row]["codes"][frame, level, place])
    maps = _maps(batch)
    torch.testing.assert_close(drawn(maps, batch["pixels"]), found)


def _maps(batch: Any) -> torch.Tensor:
    """The codes of all pixels, shape [B, S, 3, c, H, W]."""
    rows = [
        torch.stack([codes[:, place].movedim(-1, 1) for codes, place in zip(sample, places, strict=True)])
        for sample, places in zip(batch["codes"], batch["thing"], strict=True)
    ]
    return torch.stack(rows)


def test_losses_are_of_each_sample_and_least_at_the_truth(samples: SceneSamples) -> None:
    rows: Any = [samples.sample(index, np.random.default_rng(0)) for index in range(2)]
    batch = {name: torch.stack([torch.as_tensor(row[name]) for row in rows]) for name in rows[0]}
    known, depth = batch["depth"] > 0, batch["depth"][..., None]
    sure = torch.ones_like(batch["depth"])
    assert torch.allclose(confident_loss(depth, sure, depth, known), torch.zeros(2))
    wrong = depth.clone()
    wrong[1] += 0.25
    wrong[~known] = 99.0
    torch.testing.assert_close(confident_loss(wrong, sure, depth, known), torch.tensor([0.0, 0.25]))
    doubt = torch.full_like(sure, 2.0)
    expected = torch.tensor([0.0, 0.5]) - 0.2 * torch.log(torch.tensor(2.0))
    torch.testing.assert_close(confident_loss(wrong, doubt, depth, known), expected)

    poses = torch.stack([batch["pose"] + 1.0, batch["pose"]])
    loss = camera_loss(poses, batch["pose"])
    per_number = 0.1 * (1.0 - 0.05)
    torch.testing.assert_close(loss, torch.full((2,), 0.6 / 1.6 * 2.5 * per_number))

    true = targets(batch)
    exact = words_loss(true, true, batch["named"], distance=1.0, angle=1.0)
    torch.testing.assert_close(exact, torch.zeros(2), atol=1e-5, rtol=0)
    opposite = words_loss(-true, true, batch["named"], distance=0.0, angle=1.0)
    torch.testing.assert_close(opposite, torch.full((2,), 2.0), atol=1e-4, rtol=0)
    nobody = words_loss(-true, true, torch.zeros_like(batch["named"]), distance=1.0, angle=1.0)
    assert torch.equal(nobody, torch.zeros(2))


def test_errors_of_the_truth_are_none_and_those_of_a_still_camera_are_known(samples: SceneSamples) -> None:
    sample: Any = samples.sample(0, np.random.default_rng(0))
    batch = {name: torch.as_tensor(value)[None] for name, value in sample.items()}
    depth, features = batch["depth"][0], _maps(batch)[0]
    errors = scene_errors(2.5 * depth + (depth == 0), batch["pose"][0], features, batch)
    assert errors.abs_rel == pytest.approx(0, abs=1e-5) and errors.abs_rel_constant > 0.02
    assert errors.position == pytest.approx(0, abs=1e-5) and errors.rotation == pytest.approx(0, abs=0.1)
    assert errors.words == pytest.approx(1)
    still = scene_errors(depth + 1, batch["pose"][0, :1].expand(FRAMES, -1), -features, batch)
    assert still.position == pytest.approx(errors.position_still) and still.position > 0.01
    assert still.rotation == pytest.approx(errors.rotation_still) and still.words < 0.5 and still.abs_rel > 0


def test_the_default_network_is_compact_and_every_weight_is_trained() -> None:
    network = SceneLanguageTask(SceneLanguageConfig()).network()
    count = sum(parameter.numel() for parameter in network.parameters())
    assert 5e6 < count < 10e6
    said = say(network, torch.rand(1, 2, 3, 28, 42), torch.tensor([[0, 1]]))
    total = sum(getattr(said, name).sum() for name in vars(said))
    total.backward()
    unused = [name for name, one in network.named_parameters() if one.requires_grad and one.grad is None]
    assert not unused


def test_every_block_of_a_new_network_counts() -> None:
    network = SceneLanguageTask(SceneLanguageConfig()).network()
    changes = []

    def change(_: torch.nn.Module, given: tuple[torch.Tensor, ...], out: torch.Tensor) -> None:
        changes.append(float((out - given[0]).norm() / given[0].norm()))

    for module in network.modules():
        if isinstance(module, Block):
            module.register_forward_hook(change)
    with torch.no_grad():
        say(network, torch.rand(1, 2, 3, 28, 42), torch.tensor([[0, 1]]))
    assert len(changes) > 15 and min(changes) > 0.05


def test_a_linear_codec_loses_nothing_of_few_words() -> None:
    vectors = WordVectors().encode(["red", "box", "red box", "blue", "blue box"])
    codec = linear_codec(vectors, numbers=3)
    given = torch.from_numpy(vectors)
    codes = codec.encode(given)
    torch.testing.assert_close(codec.decode(codes), given, atol=1e-5, rtol=0)
    torch.testing.assert_close(codes.norm(dim=1), torch.ones(5))
    for numbers in (0, 257):
        with pytest.raises(InvalidInput, match="needed are 1 to 256"):
            linear_codec(vectors, numbers=numbers)
