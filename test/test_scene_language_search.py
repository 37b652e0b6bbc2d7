"""Texts in the features of a model folder, and folders that do not say what texts mean to them."""

import json
from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
import torch
from numpy.typing import NDArray
from torch import Tensor
from torch.nn.functional import normalize

from fourd_ros.errors import InvalidInput, InvalidModel
from fourd_ros.model_io.card import ModelCard
from fourd_ros.model_io.folder import write_model
from fourd_ros.scene_language.conversion import CODEC
from fourd_ros.scene_language.linear_codec import linear_codec
from fourd_ros.scene_language.presence import PresenceGate
from fourd_ros.scene_language.text_search import TEXTS_FILE, ModelTexts, TextSearch

WORDS = ("mug", "table", "robot", "object", "things", "stuff", "texture", "lamp")
HEIGHT, WIDTH = 60, 80


class OneHot:
    """Every known word has a direction of its own."""

    name = "one hot"
    dimension = len(WORDS)

    def __init__(self) -> None:
        self.asked: list[str] = []

    def encode(self, texts: Sequence[str]) -> NDArray[np.float32]:
        self.asked += texts
        return np.stack([np.eye(len(WORDS), dtype=np.float32)[WORDS.index(text)] for text in texts])


def folder_of(path: Path, *, texts: object) -> Path:
    codec = linear_codec(np.eye(len(WORDS)), numbers=len(WORDS))
    card = ModelCard(name="words", system="langvggt", purpose="A codec.", licence="Apache-2.0")
    extra = {TEXTS_FILE: json.dumps(texts).encode()}
    write_model(path, {CODEC: codec}, card=card, model_class="SceneLanguage", extra=extra)
    return path


def features_of(search: TextSearch, *, mug: slice) -> Tensor:
    """A mug on a table at all levels, shape [3, c, H, W]; the features of what is around are the table's."""
    mug_code, table_code = search.codec.encode(torch.from_numpy(OneHot().encode(["mug", "table"])))
    codes = table_code.expand(3, HEIGHT, WIDTH, -1).clone()
    codes[:, 10:50, mug] = normalize(mug_code, dim=0)
    return torch.movedim(codes, -1, 1)


@pytest.fixture
def search(tmp_path: Path) -> TextSearch:
    gate = {"relevancy": 0.5, "similarity": 0.8, "pixels": 20}
    told = {"encoder": "one hot", "negatives": ["object", "things"], "texts": ["mug"], "gate": gate}
    return TextSearch.from_folder(folder_of(tmp_path / "model", texts=told), encoder=OneHot())


def test_what_is_there_is_found_and_what_is_not_has_no_mask(search: TextSearch) -> None:
    found = search.search(features_of(search, mug=slice(5, 40)), ["mug", "lamp", "table"])
    assert found.texts == ("mug", "lamp", "table") and found.present.tolist() == [True, False, True]
    truth = torch.zeros(HEIGHT, WIDTH, dtype=torch.bool)
    truth[10:50, 5:40] = True
    assert (found.masks[0] & truth).sum() > 0.8 * (found.masks[0] | truth).sum()
    assert not found.masks[1].any()
    assert found.relevancy.shape == (3, HEIGHT, WIDTH) and found.level.shape == (3,)


def test_frames_are_searched_one_by_one(search: TextSearch) -> None:
    frames = torch.stack([features_of(search, mug=slice(5, 40)), features_of(search, mug=slice(0, 0))])
    both = search.search(frames, ["mug"])
    assert both.present.tolist() == [[True], [False]] and both.masks.shape == (2, 1, HEIGHT, WIDTH)
    alone = search.search(frames[0], ["mug"])
    for name in ("present", "masks", "relevancy", "level"):
        assert torch.equal(getattr(both, name)[0], getattr(alone, name))


def test_a_gate_of_the_caller_replaces_that_of_the_model(search: TextSearch) -> None:
    features = features_of(search, mug=slice(38, 40))  # 80 pixels
    assert search.search(features, ["mug"]).present.tolist() == [True]
    assert search.search(features, ["mug"], gate=PresenceGate(similarity=0.8, pixels=81)).present.tolist() == [False]


def test_sure_pixels_can_be_the_masks(search: TextSearch) -> None:
    features = features_of(search, mug=slice(38, 40))
    sure = TextSearch(search.codec, search.encoder, replace(search.told, masks="sure"))
    truth = torch.zeros(HEIGHT, WIDTH, dtype=torch.bool)
    truth[10:50, 38:40] = True
    assert torch.equal(sure.search(features, ["mug"]).masks[0], truth)
    assert not sure.search(features, ["lamp"]).masks.any()
    assert not torch.equal(search.search(features, ["mug"]).masks[0], truth), "two columns are no majority"


def test_a_text_is_encoded_once(search: TextSearch) -> None:
    for _ in range(3):
        search.search(features_of(search, mug=slice(5, 40)), ["mug"])
    assert isinstance(search.encoder, OneHot) and search.encoder.asked.count("mug") == 1


@pytest.mark.parametrize("shape", [(3, 8, 6), (3, 7, 6, 6), (0, 3, 8, 6, 6)])
def test_features_of_another_shape_are_refused(search: TextSearch, shape: tuple[int, ...]) -> None:
    with pytest.raises(InvalidInput, match="features"):
        search.search(torch.zeros(shape), ["mug"])


@pytest.mark.parametrize("texts", [[], "mug"])
def test_no_list_of_texts_is_refused(search: TextSearch, texts: list[str]) -> None:
    with pytest.raises(InvalidInput, match="list"):
        search.search(features_of(search, mug=slice(5, 40)), texts)


@pytest.mark.parametrize(
    ("encoder", "message"),
    [("clip/vit", "such as ClipText"), ("another", "such as ClipText")],
)
def test_an_encoder_that_nobody_gives_is_asked_for(tmp_path: Path, encoder: str, message: str) -> None:
    folder = folder_of(tmp_path / "model", texts={"encoder": encoder, "negatives": ["things"]})
    with pytest.raises(InvalidModel, match=message):
        TextSearch.from_folder(folder)
    with pytest.raises(InvalidModel, match="one hot"):
        TextSearch.from_folder(folder, encoder=OneHot())


def test_embeddings_of_another_length_are_refused() -> None:
    codec = linear_codec(np.eye(5), numbers=3)
    with pytest.raises(InvalidModel, match="8 numbers; the model has 5"):
        TextSearch(codec, OneHot(), ModelTexts(encoder="one hot"))


@pytest.mark.parametrize(
    "texts",
    [
        {},
        {"encoder": "one hot"},
        {"encoder": "", "negatives": ["things"]},
        {"encoder": "one hot", "negatives": []},
        {"encoder": "one hot", "negatives": [3]},
        {"encoder": "one hot", "negatives": ["things"], "gate": {"relevance": 0.5}},
        {"encoder": "one hot", "negatives": ["things"], "gate": {"relevancy": 2.0}},
        {"encoder": "one hot", "negatives": ["things"], "gate": {"pixels": "many"}},
        {"encoder": "one hot", "negatives": ["things"], "masks": "any"},
    ],
)
def test_a_folder_that_does_not_say_what_texts_mean_is_refused(tmp_path: Path, texts: object) -> None:
    with pytest.raises(InvalidModel, match=r"texts\.json"):
        ModelTexts.from_folder(folder_of(tmp_path / "model", texts=texts))


def test_what_is_said_of_texts_can_be_read_back(tmp_path: Path) -> None:
    told = ModelTexts(encoder="e", negatives=("a",), texts=("b", "c"), gate=PresenceGate(similarity=0.8, pixels=7))
    (tmp_path / TEXTS_FILE).write_bytes(told.content)
    assert ModelTexts.from_folder(tmp_path) == told
