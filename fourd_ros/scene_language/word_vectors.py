"""Embeddings of texts from fixed vectors of word pieces, which the wheel of wordllama (MIT) holds: no download.

They know what words have to do with each other, but were never shown an image: they are for networks that are trained
towards them, such as the compact one.
"""

from collections.abc import Sequence
from importlib.util import find_spec
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from fourd_ros.errors import MissingDependency
from fourd_ros.machine import pip_install
from fourd_ros.scene_language.text_encoder import checked_texts

TOKENIZER = "tokenizers/l2_supercat_tokenizer_config.json"
VECTORS = "weights/l2_supercat_256.safetensors"


class WordVectors:
    """The mean of the vectors of a text's word pieces; order does not matter, nor do capitals.

    Raises:
        MissingDependency: wordllama or tokenizers is not installed, or wordllama without these files.
    """

    name = "wordllama/l2_supercat_256"

    def __init__(self) -> None:
        try:
            from safetensors.numpy import load_file
            from tokenizers import Tokenizer
        except ImportError as error:
            raise MissingDependency(f"texts are cut by tokenizers: {pip_install('tokenizers')}") from error
        folder = _folder_of_wordllama()
        self._tokenizer = Tokenizer.from_file(str(folder / TOKENIZER))
        self._tokenizer.no_truncation()
        self._vectors: NDArray[np.float16] = load_file(folder / VECTORS)["embedding.weight"]

    @property
    def dimension(self) -> int:
        """Numbers of an embedding."""
        return int(self._vectors.shape[1])

    def encode(self, texts: Sequence[str]) -> NDArray[np.float32]:
        """Unit vectors, shape [n, dimension].

        Raises:
            InvalidInput: see `checked_texts`.
        """
        means = np.zeros((len(texts), self.dimension), np.float32)
        for row, text in enumerate(checked_texts(texts)):
            pieces = self._tokenizer.encode(text.lower(), add_special_tokens=False).ids
            means[row] = self._vectors[pieces].astype(np.float32).mean(axis=0)
        unit: NDArray[np.float32] = means / np.linalg.norm(means, axis=1, keepdims=True)
        return unit


def _folder_of_wordllama() -> Path:
    """Where the package lies; it is not imported, as its own loader wants the network."""
    found = find_spec("wordllama")
    needed = f"word vectors come with wordllama: {pip_install('wordllama')}"
    if found is None or found.origin is None:
        raise MissingDependency(needed)
    folder = Path(found.origin).parent
    if missing := [name for name in (TOKENIZER, VECTORS) if not (folder / name).is_file()]:
        raise MissingDependency(f"wordllama at '{folder}' lacks {missing}; {needed}")
    return folder
