"""What a vision network tells of pictures: one token for all of it and one for every patch."""

from collections.abc import Sequence
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from fourd_ros.errors import InvalidImage

__all__ = ["ImageEncoder"]

AT_ONCE = 8
"""Pictures in one pass."""


class ImageEncoder:
    """Makes tokens of pictures.

    Args:
        network: DINOv2 of `transformers`, of any size.
        mean: that is taken from colours 0..1, a number for each channel.
        std: by which they are divided then.
    """

    def __init__(self, network: Any, *, mean: Sequence[float], std: Sequence[float]) -> None:
        self.network = network
        self.mean, self.std = (torch.tensor(numbers, dtype=torch.float32) for numbers in (mean, std))

    @property
    def side(self) -> int:
        """Of the pictures that the network was trained with [px]."""
        return int(self.network.config.image_size)

    @property
    def width(self) -> int:
        """Channels of a token."""
        return int(self.network.config.hidden_size)

    def pixel_values(self, pictures: NDArray[np.uint8]) -> Tensor:
        """What the network is shown of pictures [N, S, S, 3], float32, shape [N, 3, S, S].

        Raises:
            InvalidImage: not square, not uint8, or a side that is no multiple of a patch.
        """
        patch = int(self.network.config.patch_size)
        shape = pictures.shape
        if (
            pictures.dtype != np.uint8
            or pictures.ndim != 4
            or shape[1] != shape[2]
            or shape[3] != 3
            or shape[1] % patch
        ):
            raise InvalidImage(
                f"pictures {pictures.dtype} {list(shape)}; needed are uint8 [N, S, S, 3] with S a multiple of {patch}"
            )
        colours = torch.from_numpy(np.ascontiguousarray(pictures)).float() / 255
        return ((colours - self.mean) / self.std).permute(0, 3, 1, 2)

    @torch.inference_mode()
    def tokens(self, pictures: NDArray[np.uint8]) -> Tensor:
        """Tokens of pictures [N, S, S, 3], shape [N, 1 + patches, width]; in the type and on the device of the network.

        See `pixel_values` for the errors.
        """
        parameter = next(self.network.parameters())
        parts = torch.split(self.pixel_values(pictures), AT_ONCE)
        return torch.cat([self.network(part.to(parameter)).last_hidden_state for part in parts])
