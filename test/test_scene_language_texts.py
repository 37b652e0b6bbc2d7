"""Texts become unit vectors of one space, bad ones are refused, and what is not there is not found."""

import json
from pathlib import Path

import numpy as np
import pytest
import torch

from fourd_ros.errors import InvalidInput, InvalidModel, MissingDependency
from fourd_ros.scene_language import word_vectors
from fourd_ros.scene_language.clip_text import ClipText
from fourd_ros.scene_language.feature_codec import FeatureCodec
from fourd_ros.scene_language.presence import PresenceGate
from fourd_ros.scene_language.relevancy import find_texts
from fourd_ros.scene_language.sizes import CodecSizes
from fourd_ros.scene_language.text_encoder import MAX_CHARACTERS, TextEncoder
from fourd_ros.scene_language.word_vectors import WordVectors

TEXTS = ["red mug", "blue box", "a drawer that is open"]


@pytest.fixture(scope="module")
def clip_folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A CLIP of a few weights, as transformers writes one."""
    from transformers import CLIPTextConfig, CLIPTextModelWithProjection, CLIPTokenizer

    folder = tmp_path_factory.mktemp("clip")
    letters = [chr(code) for code in range(ord("a"), ord("z") + 1)]
    pieces = [*letters, *(f"{letter}</w>" for letter in letters), "<|startoftext|>", "<|endoftext|>"]
    vocabulary = {piece: index for index, piece in enumerate(pieces)}
    (folder / "vocab.json").write_text(json.dumps(vocabulary))
    (folder / "merges.txt").write_text("#version: 0.2\n")
    CLIPTokenizer(str(folder / "vocab.json"), str(folder / "merges.txt")).save_pretrained(folder)
    torch.manual_seed(0)
    sizes = CLIPTextConfig(
        vocab_size=len(pieces),
        hidden_size=16,
        intermediate_size=16,
        num_hidden_layers=1,
        num_attention_heads=2,
        max_position_embeddings=24,
        projection_dim=8,
        bos_token_id=vocabulary["<|startoftext|>"],
        eos_token_id=vocabulary["<|endoftext|>"],
    )
    CLIPTextModelWithProjection(sizes).save_pretrained(folder)
    return folder


@pytest.fixture(params=["words", "clip"])
def encoder(request: pytest.FixtureRequest, clip_folder: Path) -> TextEncoder:
    return WordVectors() if request.param == "words" else ClipText(clip_folder)


def test_a_text_has_one_unit_vector_whatever_stands_beside_it(encoder: TextEncoder) -> None:
    together = encoder.encode(TEXTS)
    assert together.shape == (3, encoder.dimension) and together.dtype == np.float32
    np.testing.assert_allclose(np.linalg.norm(together, axis=1), 1, atol=1e-6)
    alone = np.concatenate([encoder.encode([text]) for text in TEXTS])
    np.testing.assert_allclose(alone, together, atol=1e-6)
    assert np.abs(together[0] - together[1]).max() > 0.01
    np.testing.assert_array_equal(encoder.encode(["  red mug "]), encoder.encode(["Red mug"]))
    assert encoder.encode([]).shape == (0, encoder.dimension)
    assert encoder.encode(["ab " * (MAX_CHARACTERS // 3)]).shape == (1, encoder.dimension)


@pytest.mark.parametrize("texts", [[""], ["red mug", "  \n"], ["x" * 10_000], "red mug"])
def test_what_is_no_text_is_refused(encoder: TextEncoder, texts: list[str]) -> None:
    with pytest.raises(InvalidInput):
        encoder.encode(texts)


def test_words_that_have_to_do_with_each_other_are_near() -> None:
    cup, mug, person, hand = WordVectors().encode(["glass cup", "coffee mug", "person", "human hand"])
    assert cup @ mug > 0.2 and person @ hand > 0.4
    assert max(cup @ person, mug @ hand) < 0.2


def test_without_wordllama_the_error_says_how_to_get_it(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(word_vectors, "find_spec", lambda name: None)
    with pytest.raises(MissingDependency, match=r"pip install .*wordllama"):
        WordVectors()


def test_a_clip_that_cannot_be_read_is_refused(clip_folder: Path, tmp_path: Path) -> None:
    with pytest.raises(InvalidModel, match="no folder"):
        ClipText(tmp_path / "nowhere")
    with pytest.raises(InvalidModel, match="no CLIP that can be read"):
        ClipText(tmp_path)
    for file in clip_folder.iterdir():
        content = file.read_bytes()
        (tmp_path / file.name).write_bytes(content[: len(content) // 2] if file.suffix == ".safetensors" else content)
    with pytest.raises(InvalidModel, match="no CLIP that can be read"):
        ClipText(tmp_path)


def test_a_text_that_is_not_there_is_not_found() -> None:
    """Features of the texts themselves, in half of an image each; a third text is like the first, but not there."""
    mug, box, other = torch.eye(4)[:3]
    near = torch.nn.functional.normalize(mug + 0.9 * other, dim=0)
    codec = FeatureCodec(CodecSizes(encoder=(4, 4), decoder=(4, 4)))
    with torch.no_grad():
        codec.decoder[0].weight.copy_(torch.eye(4))
        codec.decoder[0].bias.zero_()
    codes = torch.cat([mug.expand(1, 40, 20, 4), box.expand(1, 40, 20, 4)], dim=2)
    texts = torch.stack([mug, near, other])
    with torch.inference_mode():
        found = find_texts(codes, codec, texts=texts, negatives=torch.eye(4)[3:])
        present, masks = PresenceGate(similarity=0.9, pixels=50).masks(found, codes, codec, texts=texts)
        assert found.masks.flatten(1).any(dim=1)[:2].all() and found.is_present()[:2].all()
        assert present.tolist() == [True, False, False]
        assert masks[0, :, :15].all() and not masks[0, :, 25:].any() and not masks[1:].any()
        assert not PresenceGate(similarity=0.9, pixels=40 * 20 + 1).masks(found, codes, codec, texts=texts)[0].any()


@pytest.mark.parametrize("limits", [{"relevancy": 1.5}, {"similarity": -2.0}, {"pixels": 0}])
def test_limits_that_make_no_sense_are_refused(limits: dict[str, float]) -> None:
    with pytest.raises(InvalidInput, match="needed are"):
        PresenceGate(**limits)
