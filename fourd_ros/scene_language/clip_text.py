"""Embeddings of texts by CLIP, from a folder that the user has."""

from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from torch.nn.functional import normalize

from fourd_ros.errors import InvalidModel, MissingDependency
from fourd_ros.machine import pip_install
from fourd_ros.scene_language.text_encoder import checked_texts

BATCH = 64


class ClipText:
    """The text half of a CLIP in the layout of transformers: ``config.json``, ``model.safetensors``, a tokenizer.

    Nothing is downloaded and no pickle is read. Texts are taken as they are, without a template, as LangSplat does.

    Args:
        folder: of the model.
        device: to compute on.

    Raises:
        InvalidModel: the folder is missing, or holds no CLIP that can be read.
        MissingDependency: transformers is not installed.
    """

    def __init__(self, folder: Path | str, *, device: str = "cpu") -> None:
        try:
            from safetensors import SafetensorError
            from transformers import CLIPTextModelWithProjection, CLIPTokenizer
        except ImportError as error:
            raise MissingDependency(f"CLIP needs transformers: {pip_install('transformers')}") from error
        if not Path(folder).is_dir():
            raise InvalidModel(f"'{folder}' is no folder; needed is a CLIP with config.json and model.safetensors")
        try:
            self._tokenizer = CLIPTokenizer.from_pretrained(folder, local_files_only=True)
            loaded: Any = CLIPTextModelWithProjection.from_pretrained(
                folder, local_files_only=True, use_safetensors=True, output_loading_info=True
            )
        except (SafetensorError, OSError, ValueError, TypeError, KeyError, RuntimeError) as error:
            raise InvalidModel(f"'{folder}' holds no CLIP that can be read: {error}") from error
        model, report = loaded
        if missing := sorted(report["missing_keys"]):
            raise InvalidModel(f"'{folder}' lacks weights of a CLIP for texts: {missing[:5]}")
        self._model = model.to(device).eval()
        self._device = device
        self.name = f"clip/{Path(folder).name}"

    @property
    def dimension(self) -> int:
        """Numbers of an embedding."""
        return int(self._model.config.projection_dim)

    @torch.inference_mode()
    def encode(self, texts: Sequence[str]) -> NDArray[np.float32]:
        """Unit vectors, shape [n, dimension]; of a long text its beginning counts, some 75 word pieces.

        Raises:
            InvalidInput: see `checked_texts`.
        """
        made = [np.zeros((0, self.dimension), np.float32)]
        checked, longest = checked_texts(texts), self._model.config.max_position_embeddings
        for begin in range(0, len(checked), BATCH):
            some = checked[begin : begin + BATCH]
            pieces = self._tokenizer(
                some, padding="max_length", truncation=True, max_length=longest, return_tensors="pt"
            ).to(self._device)
            embedded = self._model(**pieces).text_embeds
            made.append(normalize(embedded.float(), dim=-1).cpu().numpy())
        return np.concatenate(made)
