"""Token files: written from pictures, converted from the original's, read by a language head."""

import json
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
import torch
from language_rig import model_folder, small_model
from numpy.typing import NDArray
from PIL import Image
from scene_rig import LAYERS

from fourd_ros.cli import main
from fourd_ros.data.episode_shards import write_shard
from fourd_ros.errors import InvalidCheckpoint, InvalidDataset, InvalidInput
from fourd_ros.scene_language.frames import prepare_frames
from fourd_ros.scene_language.token_files import official_frame, read_tokens, write_tokens

SIZE = (60, 45)
"""Of pictures; 56 x 42 of them are whole patches, turned 42 x 56."""


@pytest.fixture
def pictures(tmp_path: Path) -> Path:
    folder = tmp_path / "rgb"
    folder.mkdir()
    for number in range(1, 4):
        Image.fromarray(pixels(number)).save(folder / f"{number:06d}.png")
    return folder


def pixels(number: int) -> NDArray[np.uint8]:
    return np.random.default_rng(number).integers(0, 255, (SIZE[1], SIZE[0], 3)).astype(np.uint8)


def test_tokens_of_pictures_are_those_of_the_stream_and_a_head_reads_them(
    pictures: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    out, folder = tmp_path / "tokens", model_folder(tmp_path / "model")
    words = ["data", "scene-tokens", str(pictures), str(out), "--model", str(folder), "--json"]
    assert main(words) == 0
    assert json.loads(capsys.readouterr().out)["written"] == 3
    found = read_tokens(sorted(out.iterdir()))
    assert set(found.layers) == set(LAYERS) and found.image_size == (42, 56)

    model = small_model()
    assert model.language is not None
    stream = model.stream()
    for number in range(3):
        image = torch.from_numpy(prepare_frames([pixels(number + 1)], mode="original").pixels)
        expected = stream.step(image).tokens
        for layer, tokens in expected.layers.items():
            torch.testing.assert_close(found.layers[layer][:, number : number + 1], tokens, atol=5e-3, rtol=1e-3)
    with torch.inference_mode():
        features = model.language(found).features
        torch.testing.assert_close(features[:, -1:], model.language(expected).features, atol=2e-2, rtol=2e-2)


def test_what_is_there_is_kept(pictures: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    out, folder = tmp_path / "tokens", model_folder(tmp_path / "model")
    words = ["data", "scene-tokens", str(pictures), str(out), "--model", str(folder), "--as-original"]
    assert main(words) == 0
    first = sorted(out.iterdir())[0]
    assert read_tokens([first]).image_size == (56, 42), "turned, as the original does"
    before = {path: path.read_bytes() for path in out.iterdir()}
    first.unlink()
    assert main(words) == 0
    assert {path: path.read_bytes() for path in out.iterdir()} == before
    assert "1 of them new" in capsys.readouterr().out


def original(path: Path, *, layers: int, tokens: int) -> list[NDArray[np.float32]]:
    """A token file as the original writes it."""
    numbers = np.random.default_rng(0)
    made = [numbers.normal(size=(1, 1, tokens, 8)).astype(np.float32) for _ in range(layers)]
    np.save(path, np.array({"aggregated_tokens_list": made, "patch_start_idx": 5}, dtype=object), allow_pickle=True)
    return made


def test_files_of_the_original_are_converted(pictures: Path, tmp_path: Path) -> None:
    theirs = tmp_path / "streamvggt_token"
    theirs.mkdir()
    made = [original(theirs / f"{number:06d}.npy", layers=6, tokens=5 + 12) for number in range(1, 4)]
    out = tmp_path / "tokens"
    words = ["data", "scene-tokens", str(pictures), str(out), "--official", str(theirs), "--layers", "1,5"]
    assert main(words) == 0
    found = read_tokens(sorted(out.iterdir()))
    assert set(found.layers) == {1, 5} and found.special == 5 and found.image_size == (56, 42)
    np.testing.assert_allclose(found.layers[5][0, 2], made[2][5][0, 0], atol=2e-3)


@pytest.mark.parametrize(("layers", "tokens"), [(6, 16), (4, 17)])
def test_files_of_other_pictures_or_networks_are_refused(
    pictures: Path, tmp_path: Path, layers: int, tokens: int
) -> None:
    original(tmp_path / "a.npy", layers=layers, tokens=tokens)
    with pytest.raises(InvalidCheckpoint, match="needed are layers"):
        official_frame(tmp_path / "a.npy", image=pictures / "000001.png", layers=(1, 5))


def test_files_that_do_not_fit_together_are_refused(tmp_path: Path) -> None:
    stream = small_model().stream()
    frames = [stream.step(torch.rand(1, 3, 42, 56)).tokens]
    stream.reset()
    frames.append(stream.step(torch.rand(1, 3, 28, 56)).tokens)
    for number, tokens in enumerate(frames):
        write_tokens(tmp_path / f"{number}.safetensors", tokens, layers=LAYERS)
    with pytest.raises(InvalidDataset, match="one size"):
        read_tokens([tmp_path / "0.safetensors", tmp_path / "1.safetensors"])
    with pytest.raises(InvalidDataset, match="no token files"):
        read_tokens([])
    write_shard(tmp_path / "other.safetensors", {"rgb": np.zeros(3, np.uint8)})
    with pytest.raises(InvalidDataset, match="special"):
        read_tokens([tmp_path / "other.safetensors"])
    with pytest.raises(InvalidInput, match="layers"):
        write_tokens(tmp_path / "x.safetensors", frames[0], layers=(7,))
    large = replace(frames[0], layers={layer: 1e6 * tokens for layer, tokens in frames[0].layers.items()})
    with pytest.raises(InvalidInput, match="float16"):
        write_tokens(tmp_path / "x.safetensors", large, layers=LAYERS)


def test_no_pictures_and_no_layers_are_refused(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["data", "scene-tokens", str(tmp_path), str(tmp_path / "out"), "--official", str(tmp_path)]) == 1
    assert "has no .png" in capsys.readouterr().err
    for layers in ("a", "-1"):
        with pytest.raises(SystemExit):
            main(["data", "scene-tokens", "a", "b", "--official", "c", f"--layers={layers}"])
