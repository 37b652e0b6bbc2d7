"""Flow by RAFT from a converted checkpoint."""

from collections.abc import Mapping
from pathlib import Path
from typing import TYPE_CHECKING, Any, Self

import numpy as np
from numpy.typing import NDArray

from fourd_ros.errors import InvalidImage, InvalidParameter
from fourd_ros.model_io.card import ModelCard
from fourd_ros.model_io.loading import load_model
from fourd_ros.reconstruction.tracking.flow import check_pair

if TYPE_CHECKING:
    from fourd_ros.reconstruction.tracking.raft_network import RaftNetwork

__all__ = ["Raft", "make_raft"]

LEAST_SIDE = 128
"""The coarsest correlations need it; smaller pictures are padded [px]."""

MAX_PIXELS = 1280 * 736
"""All pixels are correlated with all: larger pictures would take more than a gigabyte."""


class Raft:
    """A `Flow`.

    Args:
        network: in evaluation mode.
        rounds: of improving; more are slower and finer.

    Raises:
        InvalidParameter: no round.
    """

    def __init__(self, network: "RaftNetwork", *, rounds: int = 20) -> None:
        if rounds < 1:
            raise InvalidParameter(f"rounds of RAFT are {rounds}; at least 1 is needed")
        self._network, self._rounds = network.float().eval(), rounds

    @classmethod
    def from_components(cls, components: Mapping[str, Any], card: ModelCard) -> Self:
        """Of a model folder."""
        return cls(components["network"])

    def __call__(self, first: NDArray[np.uint8], second: NDArray[np.uint8]) -> NDArray[np.float32]:
        """Flow between two colour pictures, shape [H, W, 2].

        Raises:
            InvalidImage: not two pictures of one size, or too large.
        """
        import torch

        check_pair(first, second)
        height, width = first.shape[:2]
        if height * width > MAX_PIXELS:
            raise InvalidImage(f"pictures of {width} x {height} for RAFT; at most {MAX_PIXELS} pixels, shrink them")
        top, left = (_padding(side) for side in (height, width))
        device = next(self._network.parameters()).device
        pair = [
            torch.from_numpy(np.pad(picture, (top, left, (0, 0)), mode="edge")).to(device).movedim(-1, 0)[None]
            for picture in (first, second)
        ]
        with torch.inference_mode():
            flow = self._network(*(picture / 127.5 - 1 for picture in pair), rounds=self._rounds)
        inner = flow[0, :, top[0] : top[0] + height, left[0] : left[0] + width]
        return np.asarray(inner.movedim(0, -1).cpu().numpy(), np.float32)


def make_raft(model: Path | None, allow_noncommercial: bool) -> Raft:
    """RAFT of a model folder, on the GPU where there is one.

    Raises:
        InvalidParameter: no folder, or that of another model.
        LicenceRefused: its weights are not for commercial use and that was not allowed.
    """
    import torch

    if model is None:
        raise InvalidParameter("flow 'raft' needs a model: convert raft-things.pth with fourd convert raft SRC DST")
    device = "cuda" if torch.cuda.is_available() else "cpu"
    loaded = load_model(model, allow_noncommercial=allow_noncommercial, device=device)
    if not isinstance(loaded, Raft):
        raise InvalidParameter(f"'{model}' is a {type(loaded).__name__}; needed is a Raft")
    return loaded


def _padding(side: int) -> tuple[int, int]:
    """What makes a side one that the network takes, half on each end."""
    more = max(LEAST_SIDE, -(-side // 8) * 8) - side
    return more // 2, more - more // 2
