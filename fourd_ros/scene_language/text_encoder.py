"""What turns texts into unit vectors, which features of pixels are compared with."""

from collections.abc import Sequence
from typing import Protocol

import numpy as np
from numpy.typing import NDArray

from fourd_ros.errors import InvalidInput, InvalidText

MAX_CHARACTERS = 1000
"""Of a text; what is longer is refused, since encoders read some dozens of words."""


class TextEncoder(Protocol):
    """Embeddings of one space; those of two encoders cannot be compared."""

    @property
    def name(self) -> str:
        """Of the space, for cards and messages."""
        ...

    @property
    def dimension(self) -> int:
        """Numbers of an embedding."""
        ...

    def encode(self, texts: Sequence[str]) -> NDArray[np.float32]:
        """Unit vectors, shape [n, dimension]; the same text gives the same vector, whatever stands beside it.

        Raises:
            InvalidInput: see `checked_texts`.
        """
        ...


def checked_texts(texts: Sequence[str]) -> list[str]:
    """The texts without spaces around them.

    Raises:
        InvalidText: a text that is empty or longer than `MAX_CHARACTERS`.
        InvalidInput: one string in place of several.
    """
    if isinstance(texts, str):
        raise InvalidInput(f"texts are the one string {texts[:40]!r}; needed is a list of them")
    for text in texts:
        if not text.strip():
            raise InvalidText("a text is empty; needed are words")
        if len(text) > MAX_CHARACTERS:
            raise InvalidText(f"a text of {len(text)} characters; at most {MAX_CHARACTERS} are read")
    return [text.strip() for text in texts]
