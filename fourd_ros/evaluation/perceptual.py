"""LPIPS: how different two images look (the only metric here that needs torch)."""

from collections.abc import Mapping
from functools import cache
from typing import TYPE_CHECKING, Any, Self

import numpy as np
from numpy.typing import NDArray

from fourd_ros.errors import InvalidImage
from fourd_ros.evaluation.metric import Metric
from fourd_ros.model_io.card import ModelCard
from fourd_ros.model_io.folder import shipped_model
from fourd_ros.model_io.loading import load_model

if TYPE_CHECKING:
    from fourd_ros.evaluation.lpips_network import ShiftTolerantLpips

SHIPPED = "lpips_alex"

LPIPS = Metric(name="lpips", title="LPIPS", source="Ghildyal and Liu 2022, shift-tolerant, AlexNet")

MIN_SIDE = 21
"""Pixels; the network reflects the borders of its features, and smaller images leave too few."""

MAX_PIXELS = 8 * 128 * 128
"""In the images that go through the network at once, unless a single one has more: about 200 MB."""

Images = NDArray[np.uint8] | NDArray[np.floating[Any]]


class Lpips:
    """A perceptual distance; calls may come from several threads.

    Args:
        network: computes in float32, whatever its weights were stored as.
    """

    def __init__(self, network: "ShiftTolerantLpips") -> None:
        self._network = network.float().eval()

    @classmethod
    def from_components(cls, components: Mapping[str, Any], card: ModelCard) -> Self:
        """Of a model folder."""
        return cls(components["network"])

    def __call__(self, a: Images, b: Images, *, batch: int | None = None) -> NDArray[np.float32]:
        """The distance of every image of `a` to that of `b`; see `lpips`."""
        _check(a, b)
        leading = a.shape[:-3]
        batch = batch or max(1, MAX_PIXELS // (a.shape[-3] * a.shape[-2]))
        firsts, seconds = (images.reshape(-1, *images.shape[-3:]) for images in (a, b))
        parts = [
            self._distances(firsts[start : start + batch], seconds[start : start + batch])
            for start in range(0, len(firsts), batch)
        ]
        return np.concatenate([np.empty(0, np.float32), *parts]).reshape(leading)

    def _distances(self, a: Images, b: Images) -> NDArray[np.float32]:
        import torch

        device = self._network.mean.device
        with torch.inference_mode():
            pair = [torch.from_numpy(_as_signed(images)).to(device) for images in (a, b)]
            found: NDArray[np.float32] = self._network(*pair).cpu().numpy()
        return found


def lpips(a: Images, b: Images, *, model: Lpips | None = None, batch: int | None = None) -> NDArray[np.float32]:
    """Perceptual distance: 0 for equal images, about 0.5 for unrelated ones.

    Source: A. Ghildyal and F. Liu, "Shift-tolerant Perceptual Similarity Metric", ECCV 2022 (AlexNet).

    Args:
        a: images, uint8 or floating-point in 0 to 1, RGB, shape [*, H, W, 3], at least `MIN_SIDE` pixels a side.
        b: images of the same shape.
        model: what computes it; the shipped weights by default, loaded once.
        batch: images that go through the network at once; by default as many as have `MAX_PIXELS` together.

    Returns:
        A distance for every pair, shape [*].

    Raises:
        InvalidImage: shapes that differ or are no images, NaN, or values outside 0 to 1.
    """
    return (model or _shipped())(a, b, batch=batch)


@cache
def _shipped() -> Lpips:
    model: Lpips = load_model(shipped_model(SHIPPED))
    return model


def _check(a: Images, b: Images) -> None:
    if a.shape != b.shape or a.ndim < 3 or a.shape[-1] != 3 or min(a.shape[-3:-1]) < MIN_SIDE:
        raise InvalidImage(
            f"images have shapes {list(a.shape)} and {list(b.shape)}; needed is the same [*, H, W, 3] with sides of "
            f"at least {MIN_SIDE} pixels"
        )
    for images in (a, b):
        if images.dtype == np.uint8:
            continue
        if not np.issubdtype(images.dtype, np.floating):
            raise InvalidImage(f"images are {images.dtype}; needed uint8, or floating point in 0 to 1")
        if images.size and not (images.min() >= 0 and images.max() <= 1):
            raise InvalidImage(f"images range from {images.min():.3g} to {images.max():.3g}; needed 0 to 1 without NaN")


def _as_signed(images: Images) -> NDArray[np.float32]:
    """Channels first, -1 to 1."""
    half = np.float32(127.5 if images.dtype == np.uint8 else 0.5)
    return np.ascontiguousarray(np.moveaxis(images.astype(np.float32) / half - 1, -1, 1))
