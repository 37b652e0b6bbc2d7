"""A scene language of small networks, live, and what is found in it."""

from pathlib import Path

import numpy as np
import torch
from numpy.typing import NDArray
from scene_rig import small_geometry, small_language

from fourd_ros.geometry.camera import PinholeCamera
from fourd_ros.model_io.card import ModelCard
from fourd_ros.model_io.folder import write_model
from fourd_ros.scene_language.conversion import CODEC, GEOMETRY, LANGUAGE
from fourd_ros.scene_language.linear_codec import linear_codec
from fourd_ros.scene_language.model import SceneLanguage
from fourd_ros.scene_language.pose_encoding import FIELD_OF_VIEW
from fourd_ros.scene_language.text_search import TEXTS_FILE, ModelTexts
from fourd_ros.scene_language.word_vectors import WordVectors

TEXTS = ("red mug", "blue box", "table", "robot")
WIDTH, HEIGHT = 80, 60
"""Of pictures; the networks see 56 x 42 of them."""

SEEN = (42, 56)


def small_model() -> SceneLanguage:
    """Untrained, always the same; it sees a field of view in every picture."""
    geometry = small_geometry()
    assert geometry.camera_head is not None
    with torch.no_grad():
        last = geometry.camera_head.pose_branch.fc2
        last.weight[FIELD_OF_VIEW], last.bias[FIELD_OF_VIEW] = 0.0, 0.9 / geometry.camera_head.iterations
    return SceneLanguage(geometry, language=small_language())


def model_folder(path: Path, *, language: bool = True) -> Path:
    """The same, with word vectors."""
    card = ModelCard(name="small", system="langvggt", purpose="Tests.", licence="Apache-2.0")
    if not language:
        write_model(path, {GEOMETRY: small_model().geometry}, card=card, model_class="SceneLanguage")
        return path
    model, encoder = small_model(), WordVectors()
    assert model.language is not None
    codec = linear_codec(encoder.encode(TEXTS), numbers=model.language.sizes.lang_dim)
    told = ModelTexts(encoder=encoder.name, texts=TEXTS)
    networks = {GEOMETRY: model.geometry, LANGUAGE: model.language, CODEC: codec}
    write_model(path, networks, card=card, model_class="SceneLanguage", extra={TEXTS_FILE: told.content})
    return path


def camera(*, width: int = WIDTH, height: int = HEIGHT, focal: float = 90.0) -> PinholeCamera:
    """Without distortion."""
    K = np.array([[focal, 0, (width - 1) / 2], [0, focal, (height - 1) / 2], [0, 0, 1]])
    return PinholeCamera(width=width, height=height, K=K)


def picture(number: int, *, width: int = WIDTH, height: int = HEIGHT) -> NDArray[np.uint8]:
    """One of many, shape [height, width, 3]."""
    small = torch.rand(1, 3, 6, 8, generator=torch.Generator().manual_seed(number))
    large = torch.nn.functional.interpolate(small, size=(height, width), mode="bilinear")
    return (255 * large[0].movedim(0, -1)).byte().numpy()
