"""From pictures through tokens, features, an autoencoder and a head to answers; and what does not fit together."""

import json
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from language_rig import model_folder
from numpy.typing import NDArray
from PIL import Image

from fourd_ros.cli import main
from fourd_ros.errors import InvalidConfig, InvalidDataset, LicenceRefused
from fourd_ros.model_io.card import ModelCard
from fourd_ros.model_io.folder import ModelFolder, write_model
from fourd_ros.model_io.loading import load_model
from fourd_ros.scene_language.conversion import CODEC, GEOMETRY
from fourd_ros.scene_language.feature_codec import FeatureCodec
from fourd_ros.scene_language.feature_files import MaskFeatures, read_features, texts_beside, write_features
from fourd_ros.scene_language.frames import prepare_frames, read_image
from fourd_ros.scene_language.language_objective import LanguageObjective
from fourd_ros.scene_language.model import SceneLanguage
from fourd_ros.scene_language.sizes import CodecSizes
from fourd_ros.scene_language.text_search import TEXTS_FILE, ModelTexts, TextSearch
from fourd_ros.scene_language.word_vectors import WordVectors
from fourd_ros.training.feature_codec import FeatureCodecConfig, FeatureCodecTask
from fourd_ros.training.language_head import LanguageHeadConfig, LanguageHeadTask, say
from fourd_ros.training.language_samples import LanguageFrame, LanguageSamples
from fourd_ros.training.language_validation import language_errors, picture
from fourd_ros.training.settings import read_config

TEXTS = ("red mug", "blue box", "table")
WIDTH, HEIGHT, SEEN, FRAMES = 60, 45, (42, 56), 8
COLOURS = np.array([(200, 30, 30), (30, 40, 210), (150, 140, 120)], np.uint8)
NOTHING = np.random.default_rng(0)
HEAD = ("network.features=8", "network.hidden=4", "network.levels=[4,8,8,12]", "network.read=[0,1,2,2]")
CODEC_NETWORK = ("network.encoder=[16]", "network.decoder=[16]")
SHORT = ("training.batch_size=3", "training.ema_decay=null", "training.rate_steps=1", "training.schedule=constant",
         "training.validate_every=50", "training.checkpoint_every=50", "training.learning_rate=1e-2")  # fmt: skip


def rows(number: int) -> NDArray[np.int32]:
    """A mug and a box that move over a table, as places in `TEXTS`; the large level does not tell the two apart."""
    found = np.full((4, HEIGHT, WIDTH), 2, np.int32)
    left = 3 * number
    found[:, 4:20, 2 + left : 24 + left] = 0
    found[:, 24:42, 34 - left : 58 - left] = 1
    found[3, found[3] == 1] = 0
    found[1, :2] = -1
    return found


@pytest.fixture(scope="module")
def scene(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Pictures, masks with texts, tokens and features of words; the network that made tokens is beside it."""
    folder = tmp_path_factory.mktemp("scenes") / "kitchen"
    (folder / "rgb/2x").mkdir(parents=True)
    (folder / "masks").mkdir()
    for number in range(FRAMES):
        found = rows(number)
        Image.fromarray(COLOURS[found[2]]).save(folder / f"rgb/2x/{number:06d}.png")
        np.save(folder / f"masks/{number:06d}_s.npy", found.astype(np.float32))
    (folder / "texts.json").write_text(json.dumps({"texts": TEXTS}))
    geometry = model_folder(folder.parent / "geometry")
    assert (
        main(["data", "scene-tokens", f"{folder}/rgb/2x", f"{folder}/tokens", "--model", str(geometry), "--json"]) == 0
    )
    words = [
        "data",
        "scene-features",
        f"{folder}/masks",
        f"{folder}/words",
        "--texts",
        f"{folder}/texts.json",
        "--json",
    ]
    assert main(words) == 0
    return folder


@pytest.fixture
def task(scene: Path) -> LanguageHeadTask:
    """Of features that are words as they are."""
    return head_task(scene, "data.features=words")


def head_task(scene: Path, *changes: str) -> LanguageHeadTask:
    given = (f"data.scenes=[{scene}]", "data.held_out=4", *HEAD, *changes)
    return LanguageHeadTask(read_config(LanguageHeadConfig, None, given))


def test_from_pictures_to_a_head_that_answers(scene: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    codec, geometry, run = tmp_path / "codec", scene.parent / "geometry", tmp_path / "head"
    change = ("training.steps=60", "data.held_out=4", f"data.features=[{scene}/words]")
    assert (
        main(["train", "feature-codec", "--run", str(codec), "--json", "--set", *SHORT, *CODEC_NETWORK, *change]) == 0
    )
    learnt = json.loads(capsys.readouterr().out.splitlines()[-1])["metrics"]
    assert learnt["cosine"] > 0.9 > learnt["cosine_mean"]

    codes = ["data", "scene-features", f"{scene}/words", f"{scene}/codes", "--codec", f"{codec}/model", "--json"]
    assert main(codes) == 0
    found = read_features(scene / "codes", "000003")
    np.testing.assert_allclose(np.linalg.norm(found.vectors, axis=1), 1, rtol=1e-5)
    np.testing.assert_array_equal(found.rows, rows(3))
    assert main(codes) == 1 and "is there already" in capsys.readouterr().err

    data = (f"data.scenes=[{scene}]", "data.features=codes", "data.held_out=4", "training.warmup_steps=0")
    parts = (f"model.geometry={geometry}", f"model.codec={codec}/model", "training.batch_size=2")
    start = ["train", "language-head", "--run", str(run), "--json"]
    assert main([*start, "--set", *SHORT, *HEAD, *data, *parts, "training.steps=15"]) == 0
    first = json.loads(capsys.readouterr().out.splitlines()[-1])
    assert main([*start, "--resume", "--set", "training.steps=40"]) == 0
    second = json.loads(capsys.readouterr().out.splitlines()[-1])
    assert (first["step"], second["step"]) == (15, 40)
    assert second["metrics"]["loss"] < first["metrics"]["loss"]
    assert second["metrics"]["cosine"] > second["metrics"]["cosine_mean"] and second["metrics"]["nearest"] > 0.7
    shown = np.asarray(Image.open(run / "pictures/features/00000040.png"))
    assert shown.shape == (2 * 2 * SEEN[0], 4 * SEEN[1], 3)

    model, search = load_model(run / "model"), TextSearch.from_folder(run / "model")
    assert isinstance(model, SceneLanguage) and model.language is not None
    assert ModelTexts.from_folder(run / "model").texts == tuple(sorted(TEXTS))
    stream = model.stream()
    for number in range(3):
        image = prepare_frames([read_image(scene / f"rgb/2x/{number:06d}.png")], mode="original").pixels
        with torch.inference_mode():
            maps = model.language(stream.step(torch.from_numpy(image)).tokens)
    answer = search.search(maps.features[0, 0], ["red mug", "blue box"])
    true = rows(2)[2, 1:43, 2:58]
    assert answer.present.all() and answer.masks.shape == (2, *SEEN)
    with torch.inference_mode():
        said = search.codec.decode(maps.features[0, 0, 1].movedim(0, -1)) @ search.embeddings(TEXTS).T
    assert (said.argmax(dim=-1).numpy() == true).mean() > 0.75


def test_a_head_alone_has_the_terms_of_the_network_before_it(task: LanguageHeadTask, tmp_path: Path) -> None:
    head = task.network()
    task.export(head, tmp_path / "model", {"loss": 1.0})
    folder = ModelFolder(tmp_path / "model")
    assert set(folder.components) == {"language"} and folder.card.non_commercial
    assert "StreamVGGT" in folder.card.upstream_terms[0]
    loaded = SceneLanguage.from_folders(
        model_folder(tmp_path / "geometry"), language=folder.path, allow_noncommercial=True
    )
    assert loaded.language is not None and loaded.language.sizes == head.sizes
    assert head.sizes.lang_dim == WordVectors().dimension


def test_a_sample_is_what_the_tokens_were_made_of(task: LanguageHeadTask, scene: Path) -> None:
    samples = task.dataset()
    assert len(samples) == 6, "the third of each four is held out"
    sample = samples.sample(2, NOTHING)
    assert samples.frames[2].name == "000003"
    expected = rows(3)[1:, 1:43, 2:58]
    vectors = WordVectors().encode(TEXTS)
    np.testing.assert_array_equal(sample["mask"][:, 0], expected >= 0)
    for level, row, column in ((0, 10, 20), (1, 30, 30), (2, 30, 30)):
        np.testing.assert_array_equal(sample["target"][level, :, row, column], vectors[expected[level, row, column]])
    assert not sample["target"][0, :, 0].any() and not sample["mask"][0, 0, 0].any()
    picture_there = read_image(scene / "rgb/2x/000003.png")[1:43, 2:58]
    np.testing.assert_allclose(sample["image"], picture_there.transpose(2, 0, 1) / 255, atol=1e-6)


def test_as_the_original_pictures_are_turned_and_whole(scene: Path, tmp_path: Path) -> None:
    words = ["data", "scene-tokens", f"{scene}/rgb/2x", str(tmp_path), "--model", f"{scene.parent}/geometry"]
    assert main([*words, "--as-original", "--json"]) == 0
    task = head_task(scene, "data.features=words", "data.as_original=true", f"data.tokens={tmp_path}")
    sample = task.dataset().sample(0, NOTHING)
    assert sample["image"].shape == (3, WIDTH, HEIGHT) and tuple(sample["seen"]) == (56, 42)
    np.testing.assert_array_equal(sample["mask"][0, 0], np.rot90(rows(0)[1] >= 0))
    vectors = WordVectors().encode(TEXTS)
    np.testing.assert_array_equal(sample["target"][1, :, WIDTH - 1 - 10, 8], vectors[rows(0)[2, 8, 10]])
    batch = {name: torch.as_tensor(value)[None] for name, value in sample.items()}
    with torch.inference_mode():
        assert say(task.network().eval(), batch).features.shape == (1, 1, 3, 256, WIDTH, HEIGHT)
    for other in ("data.as_original=false", "data.tokens=tokens"):
        changed = head_task(scene, "data.features=words", "data.as_original=true", f"data.tokens={tmp_path}", other)
        with pytest.raises(InvalidDataset, match="as_original"):
            changed.dataset().sample(0, NOTHING)


@pytest.mark.parametrize("official", [False, True])
def test_the_loss_of_frames_is_the_loss_of_their_batch(scene: Path, official: bool) -> None:
    task = head_task(scene, "data.features=words", f"loss.official_compat={str(official).lower()}")
    samples = [task.dataset().sample(index, NOTHING) for index in range(3)]
    batch = {name: torch.stack([torch.as_tensor(one[name]) for one in samples]) for name in samples[0]}
    torch.manual_seed(0)
    head = task.network().eval()
    with torch.no_grad():
        loss, said = task.loss(head, batch), say(head, batch)
    given = {"target": batch["target"], "mask": batch["mask"], "images": batch["image"][None]}
    expected = LanguageObjective(official_compat=official)(said.features, said.colours, **given)
    torch.testing.assert_close(loss.per_sample.mean(), expected)
    assert loss.per_sample.shape == (3,) and set(loss.terms) == {"distance", "angle", "colours"}
    with torch.no_grad():
        alone = task.loss(head, {name: value[1:2] for name, value in batch.items()})
    torch.testing.assert_close(alone.per_sample, loss.per_sample[1:2])


def test_without_the_picture_its_decoder_is_left_alone(scene: Path) -> None:
    head = head_task(scene, "data.features=words", "loss.colours=false").network()
    frozen = {name.split(".")[0] for name, one in head.named_parameters() if not one.requires_grad}
    assert frozen == {"rgb_encoder", "rgb_decoder"}


def test_errors_of_the_truth_are_none(task: LanguageHeadTask) -> None:
    sample = {name: torch.as_tensor(value) for name, value in task.dataset().sample(0, NOTHING).items()}
    exact = language_errors(3 * sample["target"], sample["image"], sample)
    assert exact.cosine == pytest.approx(1) and exact.nearest == 1 and exact.colours == 0 and exact.cosine_mean < 0.95
    opposite = language_errors(-sample["target"], 1 - sample["image"], sample)
    assert opposite.cosine == pytest.approx(-1) and opposite.nearest == 0 and opposite.colours > 0.1
    nowhere = language_errors(sample["target"], sample["image"], {**sample, "mask": torch.zeros_like(sample["mask"])})
    assert np.isnan(nowhere.cosine) and nowhere.colours == 0
    shown = picture(sample["target"][:, :2], sample["image"], sample)
    np.testing.assert_array_equal(shown[: SEEN[0], : SEEN[1]], shown[SEEN[0] :, : SEEN[1]])
    assert not shown[: SEEN[0], SEEN[1] :, 2].any(), "two numbers have no third colour"


def test_features_are_written_as_they_are_read(tmp_path: Path) -> None:
    given = MaskFeatures(vectors=np.random.default_rng(0).normal(size=(3, 5)).astype(np.float32), rows=rows(1))
    write_features(tmp_path, "a", given)
    found = read_features(tmp_path, "a")
    np.testing.assert_array_equal(found.vectors, given.vectors)
    np.testing.assert_array_equal(found.learnt_rows, rows(1)[1:])
    one = replace(given, rows=rows(1)[:1])
    np.testing.assert_array_equal(one.learnt_rows, np.repeat(rows(1)[:1], 3, axis=0))
    empty = MaskFeatures(vectors=np.zeros((0, 5), np.float32), rows=np.full((4, 2, 2), -1, np.int32))
    write_features(tmp_path, "b", empty)
    assert len(read_features(tmp_path, "b").vectors) == 0
    assert texts_beside([tmp_path]) is None


@pytest.mark.parametrize(
    ("name", "array", "message"),
    [
        ("a_s.npy", np.full((4, 2, 2), 3.0), "from -1 to 2"),
        ("a_s.npy", np.full((4, 2, 2), -2.0), "from -1 to 2"),
        ("a_s.npy", np.full((4, 2, 2), 0.5), "whole numbers"),
        ("a_s.npy", np.full((4, 2, 2), np.nan), "from -1 to 2"),
        ("a_s.npy", np.zeros((3, 2, 2)), r"needed are numbers \[4, H, W\]"),
        ("a_s.npy", np.array([{"a": 1}], dtype=object), "no plain array"),
        ("a_f.npy", np.zeros(3), r"needed are finite numbers \[n, C\]"),
        ("a_f.npy", np.full((3, 2), np.inf), "finite"),
        ("a_f.npy", np.zeros((3, 2), np.int64), "int64"),
    ],
)
def test_features_that_cannot_be_are_refused(tmp_path: Path, name: str, array: NDArray[Any], message: str) -> None:
    write_features(tmp_path, "a", MaskFeatures(vectors=np.zeros((3, 2), np.float32), rows=rows(0)))
    np.save(tmp_path / name, array, allow_pickle=True)
    with pytest.raises(InvalidDataset, match=message):
        read_features(tmp_path, "a")
    (tmp_path / name).write_bytes(b"no array")
    with pytest.raises(InvalidDataset, match="no plain array"):
        read_features(tmp_path, "a")


def test_scenes_that_do_not_fit_together_are_refused(scene: Path, tmp_path: Path) -> None:
    with pytest.raises(InvalidDataset, match="has no"):
        head_task(scene, "data.features=nothing").dataset()
    with pytest.raises(InvalidDataset, match="nothing/000000"):
        head_task(scene, "data.features=words", "data.tokens=nothing").dataset()
    with pytest.raises(InvalidConfig, match="0 held out"):
        head_task(scene, "data.features=words", "data.held_out=99").dataset()
    with pytest.raises(InvalidConfig, match="needed are four of the layers"):
        head_task(scene, "data.features=words", "network.read=null").network()
    with pytest.raises(InvalidConfig, match="codes of 3 numbers; the files have 256"):
        head_task(scene, "data.features=words", f"model.codec={scene.parent}/geometry").network()
    write_features(tmp_path, "000000", MaskFeatures(vectors=np.zeros((3, 2), np.float32), rows=rows(0)[:, 1:]))
    frame = LanguageFrame(
        name="000000",
        picture=scene / "rgb/2x/000000.png",
        tokens=scene / "tokens/000000.safetensors",
        features=tmp_path,
    )
    with pytest.raises(InvalidDataset, match=r"are of \(44, 60\) pixels, the picture of \(45, 60\)"):
        LanguageSamples(frames=[frame]).sample(0, NOTHING)


def test_terms_of_the_networks_around_have_to_be_accepted(scene: Path, tmp_path: Path) -> None:
    model = load_model(scene.parent / "geometry")
    card = ModelCard(name="x", system="langvggt", purpose="Tests.", licence="own", non_commercial=True)
    write_model(tmp_path / "x", {GEOMETRY: model.geometry}, card=card, model_class="SceneLanguage")
    changes = ("data.features=words", f"model.geometry={tmp_path}/x")
    with pytest.raises(LicenceRefused):
        head_task(scene, *changes).network()
    assert head_task(scene, *changes, "model.allow_noncommercial=true").network().sizes.dim_in == 32


def test_features_of_two_encoders_are_refused(scene: Path, tmp_path: Path) -> None:
    codec = FeatureCodec(CodecSizes(encoder=(256, 3), decoder=(3, 256)))
    card = ModelCard(name="x", system="langvggt", purpose="Tests.", licence="MIT")
    told = {TEXTS_FILE: ModelTexts(encoder="another").content}
    write_model(tmp_path / "x", {CODEC: codec}, card=card, model_class="SceneLanguage", extra=told)
    with pytest.raises(InvalidDataset, match="of one encoder"):
        texts_beside([scene / "words", tmp_path / "x"])


def test_vectors_of_an_autoencoder_are_of_one_length(scene: Path, tmp_path: Path) -> None:
    write_features(tmp_path, "a", MaskFeatures(vectors=np.zeros((3, 2), np.float32), rows=rows(0)))
    for folders, message in ((f"[{scene}/words, {tmp_path}]", "of one length"), (f"[{tmp_path}]", "needed are 20")):
        config = read_config(FeatureCodecConfig, None, [f"data.features={folders}"])
        with pytest.raises(InvalidDataset, match=message):
            FeatureCodecTask(config).dataset()


@pytest.mark.parametrize(
    ("words", "message"),
    [
        ([], "nothing is to be done"),
        (["--codec", "GEOMETRY", "--clip", "x"], "--clip embeds texts"),
        (["--codec", "GEOMETRY", "--texts", "NONE"], "no list of texts"),
        (["--codec", "GEOMETRY", "--texts", "FEW"], "from -1 to 0"),
        (["--codec", "SHORT"], "features of 256 numbers; the autoencoder takes 5"),
        (["--codec", "OTHER", "--texts", "TEXTS"], "was trained with 'another'"),
    ],
)
def test_the_command_refuses(
    scene: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str], words: list[str], message: str
) -> None:
    paths = {"GEOMETRY": scene.parent / "geometry", "TEXTS": scene / "texts.json"}
    card = ModelCard(name="x", system="langvggt", purpose="Tests.", licence="MIT")
    for name, length in (("SHORT", 5), ("OTHER", 256)):
        codec = FeatureCodec(CodecSizes(encoder=(length, 3), decoder=(3, length)))
        told = ModelTexts(encoder="another" if name == "OTHER" else WordVectors.name)
        extra = {TEXTS_FILE: told.content}
        paths[name] = write_model(
            tmp_path / name, {CODEC: codec}, card=card, model_class="SceneLanguage", extra=extra
        ).path
    for name, texts in (("NONE", []), ("FEW", ["one"])):
        paths[name] = tmp_path / f"{name}.json"
        paths[name].write_text(json.dumps({"texts": texts}))
    given = [str(paths.get(word, word)) for word in words]
    out = tmp_path / "out"
    assert main(["data", "scene-features", f"{scene}/words", str(out), "--json", *given]) == 1
    assert message in capsys.readouterr().err and not out.exists()
