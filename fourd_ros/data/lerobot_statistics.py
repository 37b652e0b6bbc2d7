"""Statistics of features as LeRobot keeps them: of every episode, and of all episodes together."""

from collections.abc import Iterable, Mapping
from typing import Any

import numpy as np
from numpy.typing import NDArray

Statistics = dict[str, NDArray[Any]]

QUANTILES = {"q01": 0.01, "q10": 0.10, "q50": 0.50, "q90": 0.90, "q99": 0.99}

MOST_SIDE = 150
"""Pictures with more rows or columns are thinned out to about that many."""

_LEAST_SAMPLES, _MOST_SAMPLES, _SAMPLE_POWER = 100, 10_000, 0.75


def statistics_of(values: NDArray[Any]) -> Statistics | None:
    """Statistics over the first axis of what is known (not NaN), in the shape of one value.

    Args:
        values: of every frame, shape [T, *]; a column of numbers may be [T].

    Returns:
        ``min max mean std q01 q10 q50 q90 q99`` of shape [*] (at least [1]) and ``count`` [1]; None if there is a
        place where nothing is known.
    """
    values = values.reshape(len(values), *(values.shape[1:] or (1,)))
    known = ~np.isnan(values) if values.dtype.kind == "f" else np.ones(values.shape, bool)
    if not known.any(axis=0).all():
        return None
    quantiles = np.nanquantile(values, list(QUANTILES.values()), axis=0, method="inverted_cdf")
    return {
        "min": np.nanmin(values, axis=0),
        "max": np.nanmax(values, axis=0),
        "mean": np.nanmean(values, axis=0),
        "std": np.nanstd(values, axis=0),
        "count": np.array([len(values)]),
        **dict(zip(QUANTILES, quantiles, strict=True)),
    }


def sampled_frames(frames: int) -> frozenset[int]:
    """Which of `frames` pictures are looked at: all of a short episode, a smaller share of a longer one."""
    samples = min(frames, max(_LEAST_SAMPLES, min(int(frames**_SAMPLE_POWER), _MOST_SAMPLES)))
    return frozenset(np.round(np.linspace(0, frames - 1, samples)).astype(int).tolist())


def thinned(picture: NDArray[Any]) -> NDArray[Any]:
    """Every k-th row and column of a picture that is large, shape [H, W, *]."""
    step = max(1, max(picture.shape[:2]) // MOST_SIDE)
    return picture[::step, ::step]


class PixelCounter:
    """How often every value occurred in pictures of whole numbers, a channel at a time.

    Args:
        channels: of the pictures.
        values: that a pixel may have, from 0.
        unit: of one step; statistics are in that unit.
        unknown: value that means nothing was seen, if there is one.
    """

    def __init__(self, channels: int, values: int, *, unit: float, unknown: int | None = None) -> None:
        self._counts = np.zeros((channels, values), np.int64)
        self._unit = unit
        self._unknown = unknown
        self._pictures = 0

    def add(self, picture: NDArray[Any]) -> None:
        """Count the pixels of a picture, shape [H, W] or [H, W, C]."""
        pixels = thinned(picture).reshape(-1, len(self._counts))
        for counts, channel in zip(self._counts, pixels.T, strict=True):
            counts += np.bincount(channel, minlength=len(counts))
        self._pictures += 1

    def statistics(self) -> Statistics | None:
        """As `statistics_of`, of shape [C, 1, 1]; ``count`` is that of pictures; None if nothing was seen."""
        counts = self._counts.copy()
        if self._unknown is not None:
            counts[:, self._unknown] = 0
        totals = counts.sum(axis=1, keepdims=True)
        if not totals.all():
            return None
        levels = np.arange(counts.shape[1]) * self._unit
        mean = (counts * levels).sum(axis=1, keepdims=True) / totals
        below = np.cumsum(counts, axis=1) / totals
        found: dict[str, NDArray[Any]] = {
            "min": levels[(counts > 0).argmax(axis=1)],
            "max": levels[counts.shape[1] - 1 - (counts[:, ::-1] > 0).argmax(axis=1)],
            "mean": mean,
            "std": np.sqrt((counts * (levels - mean) ** 2).sum(axis=1, keepdims=True) / totals),
            **{name: levels[(below >= share).argmax(axis=1)] for name, share in QUANTILES.items()},
        }
        shaped = {name: values.reshape(-1, 1, 1) for name, values in found.items()}
        return {**shaped, "count": np.array([self._pictures])}


def together(parts: Iterable[Mapping[str, Statistics]]) -> dict[str, Statistics]:
    """Statistics of all episodes from those of each; quantiles are means weighted by count, as LeRobot has them."""
    whole: dict[str, Statistics] = {}
    for part in parts:
        for feature, statistics in part.items():
            whole[feature] = _merged(whole[feature], statistics) if feature in whole else statistics
    return whole


def _merged(a: Statistics, b: Statistics) -> Statistics:
    """Mean and variance of a whole from those of its parts (T. F. Chan, G. H. Golub, R. J. LeVeque, 1983)."""
    count = a["count"] + b["count"]
    share = float(b["count"][0] / count[0])

    def mixed(in_a: NDArray[Any], in_b: NDArray[Any]) -> NDArray[Any]:
        return in_a * (1 - share) + in_b * share

    apart = b["mean"] - a["mean"]
    return {
        "min": np.minimum(a["min"], b["min"]),
        "max": np.maximum(a["max"], b["max"]),
        "mean": mixed(a["mean"], b["mean"]),
        "std": np.sqrt(mixed(a["std"] ** 2, b["std"] ** 2) + share * (1 - share) * apart**2),
        "count": count,
        **{name: mixed(a[name], b[name]) for name in QUANTILES},
    }
