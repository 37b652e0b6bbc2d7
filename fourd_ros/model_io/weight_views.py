"""Weights under other names, and weights from several places as one."""

from collections.abc import Callable, Mapping
from pathlib import Path
from typing import TYPE_CHECKING

from fourd_ros.errors import WeightMismatch
from fourd_ros.model_io.safetensors_file import type_name
from fourd_ros.model_io.weights import Weights

if TYPE_CHECKING:
    import torch


class RenamedWeights:
    """Weights under other names.

    Args:
        weights: those meant.
        rename: a stored name -> the new one, or None for a tensor that is left out.

    Raises:
        WeightMismatch: two tensors would have one name.
    """

    def __init__(self, weights: Weights, rename: Callable[[str], str | None]) -> None:
        self._weights, self.path = weights, weights.path
        self._stored: dict[str, str] = {}
        for stored in weights.names:
            name = rename(stored)
            if name in self._stored:
                raise WeightMismatch(f"'{weights.path}': both '{self._stored[name]}' and '{stored}' would be '{name}'")
            if name is not None:
                self._stored[name] = stored
        self.names = tuple(self._stored)

    def __contains__(self, name: object) -> bool:
        return name in self._stored

    def shape(self, name: str) -> tuple[int, ...]:
        """Of a tensor."""
        return self._weights.shape(self._stored[name])

    def dtype(self, name: str) -> str:
        """Name of the torch type of a tensor."""
        return self._weights.dtype(self._stored[name])

    def read(self, name: str) -> "torch.Tensor":
        """A tensor."""
        return self._weights.read(self._stored[name])


class GivenWeights:
    """Tensors that are in memory already.

    Args:
        tensors: by name.
        path: where they are said to be from.
    """

    def __init__(self, tensors: "Mapping[str, torch.Tensor]", path: Path) -> None:
        self._tensors, self.path, self.names = tensors, path, tuple(tensors)

    def __contains__(self, name: object) -> bool:
        return name in self._tensors

    def shape(self, name: str) -> tuple[int, ...]:
        """Of a tensor."""
        return tuple(self._tensors[name].shape)

    def dtype(self, name: str) -> str:
        """Name of the torch type of a tensor."""
        return type_name(self._tensors[name].dtype)

    def read(self, name: str) -> "torch.Tensor":
        """A tensor."""
        return self._tensors[name]


class JoinedWeights:
    """Weights of several places as one; where a name is in several, the last place counts.

    Args:
        parts: the places; the first one gives its path to messages.
    """

    def __init__(self, *parts: Weights) -> None:
        self._owner = {name: part for part in parts for name in part.names}
        self.path, self.names = parts[0].path, tuple(self._owner)

    def __contains__(self, name: object) -> bool:
        return name in self._owner

    def shape(self, name: str) -> tuple[int, ...]:
        """Of a tensor."""
        return self._owner[name].shape(name)

    def dtype(self, name: str) -> str:
        """Name of the torch type of a tensor."""
        return self._owner[name].dtype(name)

    def read(self, name: str) -> "torch.Tensor":
        """A tensor."""
        return self._owner[name].read(name)
