"""Dense optical flow from one picture to the next."""

from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from fourd_ros.errors import InvalidImage, InvalidParameter
from fourd_ros.registries import find_registered

__all__ = ["FLOWS", "DisFlow", "Flow", "check_pair", "dis", "farneback", "find_flow", "grey"]

Picture = NDArray[np.uint8]
FlowField = NDArray[np.float32]

Flow = Callable[[Picture, Picture], FlowField]
"""From colour [H, W, 3] of two frames, uint8, to where every pixel of the first one went in the second, (dx, dy) [px],
shape [H, W, 2]. One may be used by one thread at a time."""

FLOWS: dict[str, str] = {
    "dis": "fourd_ros.reconstruction.tracking.flow:_dis_medium",
    "dis_fast": "fourd_ros.reconstruction.tracking.flow:_dis_fast",
    "dis_ultrafast": "fourd_ros.reconstruction.tracking.flow:_dis_ultrafast",
    "farneback": "fourd_ros.reconstruction.tracking.flow:_plain_farneback",
    "raft": "fourd_ros.reconstruction.tracking.raft:make_raft",
}
"""Name -> ``module:function`` that makes a `Flow`; it is called with what `find_flow` was given: the folder of a
converted checkpoint or None, and whether its weights may be such that are not for commercial use."""

LEAST_SIDE = 12
"""Smaller pictures leave nothing to the coarse levels [px]."""

DIS_LEAST_SIDE, DIS_THINNEST = 48, 8
"""Sides [px] and their proportion; OpenCV 5.0 reads outside of smaller and of thinner pictures."""


def find_flow(name: str, *, model: Path | str | None = None, allow_noncommercial: bool = False) -> Flow:
    """A way to compute flow.

    Args:
        name: one of `FLOWS`, or ``module:function`` of a user's own.
        model: folder of a converted checkpoint, for networks.
        allow_noncommercial: load it though its terms forbid commercial use.

    Raises:
        InvalidParameter: no such flow, or a model that it has no use for, or none where it needs one.
        LicenceRefused: the model is not for commercial use and that was not allowed.
    """
    make: Any = find_registered(FLOWS, name, what="flow", error=InvalidParameter, others=True)
    flow: Flow = make(None if model is None else Path(model), allow_noncommercial)
    return flow


class DisFlow:
    """Dense inverse search of OpenCV; a `Flow`.

    Args:
        preset: ``ultrafast``, ``fast`` or ``medium``; in this order slower and finer.

    Raises:
        InvalidParameter: another preset.

    Source: Kroeger, Timofte, Dai and Van Gool 2016.
    """

    def __init__(self, preset: str) -> None:
        import cv2

        presets = {
            "ultrafast": cv2.DISOPTICAL_FLOW_PRESET_ULTRAFAST,
            "fast": cv2.DISOPTICAL_FLOW_PRESET_FAST,
            "medium": cv2.DISOPTICAL_FLOW_PRESET_MEDIUM,
        }
        if preset not in presets:
            raise InvalidParameter(f"preset '{preset}' of DIS flow; there are {list(presets)}")
        self._search = cv2.DISOpticalFlow.create(presets[preset])

    def __call__(self, first: Picture, second: Picture) -> FlowField:
        """Flow between two colour pictures."""
        return self.of_grey(*_grey_pair(first, second))

    def of_grey(self, first: Picture, second: Picture, *, start: FlowField | None = None) -> FlowField:
        """Flow between two grey pictures.

        Args:
            first: shape [H, W], uint8.
            second: of the same shape.
            start: where to search from, one for all pixels [2] or one for each [H, W, 2]; None for no motion.
        """
        begin = np.zeros((*first.shape, 2), np.float32)
        if start is not None:
            begin[:] = start
        found = self._search.calc(_thickened(first), _thickened(second), _thickened(begin))
        return np.asarray(found, np.float32)[: first.shape[0], : first.shape[1]]


def dis(*, preset: str = "medium") -> DisFlow:
    """Dense inverse search, fast enough for live use.

    Args:
        preset: ``ultrafast``, ``fast`` or ``medium``; in this order slower and finer.

    Raises:
        InvalidParameter: another preset.
    """
    return DisFlow(preset)


def farneback(first: Picture, second: Picture) -> FlowField:
    """Flow by polynomial expansion, with the parameters of DynamicVerse's fallback.

    Args:
        first: colour of a frame, shape [H, W, 3], uint8.
        second: of the next one.

    Returns:
        (dx, dy) of the pixels of `first` [px], shape [H, W, 2].

    Raises:
        InvalidImage: not two pictures of one size.

    Source: Farnebäck 2003; parameters in DynamicVerse's specification, section 2.1.
    """
    import cv2

    before, after = _grey_pair(first, second)
    empty = np.zeros((*before.shape, 2), np.float32)
    return np.asarray(cv2.calcOpticalFlowFarneback(before, after, empty, 0.5, 3, 15, 3, 5, 1.2, 0), np.float32)


def check_pair(first: Picture, second: Picture) -> None:
    """Refuse what is no pair of colour pictures [H, W, 3] of one size, uint8.

    Raises:
        InvalidImage: they are not, or too small for flow.
    """
    for rgb in (first, second):
        if rgb.ndim != 3 or rgb.shape[2] != 3 or rgb.dtype != np.uint8 or min(rgb.shape[:2]) < LEAST_SIDE:
            given = f"{rgb.dtype} {list(rgb.shape)}"
            needed = f"uint8 [H, W, 3] of at least {LEAST_SIDE} pixels a side"
            raise InvalidImage(f"a picture is {given}; needed is {needed}")
    if first.shape != second.shape:
        raise InvalidImage(f"flow between pictures of shapes {list(first.shape)} and {list(second.shape)}; needed: one")


def grey(rgb: Picture) -> Picture:
    """Grey of a colour picture, shape [H, W], uint8.

    Raises:
        InvalidImage: no colour picture, or one too small for flow.
    """
    import cv2

    check_pair(rgb, rgb)
    return np.asarray(cv2.cvtColor(np.ascontiguousarray(rgb), cv2.COLOR_RGB2GRAY), np.uint8)


def _grey_pair(first: Picture, second: Picture) -> tuple[Picture, Picture]:
    check_pair(first, second)
    return grey(first), grey(second)


def _thickened(values: NDArray[Any]) -> NDArray[Any]:
    """The picture, or flow, with its last row or column repeated until DIS finds its coarse patches inside."""
    height, width = values.shape[:2]
    least = max(DIS_LEAST_SIDE, max(height, width) // DIS_THINNEST)
    if min(height, width) >= least:
        return values
    more = ((0, max(0, least - height)), (0, max(0, least - width)), (0, 0))
    return np.pad(values, more[: values.ndim], mode="edge")


def _dis_medium(model: Path | None, allow_noncommercial: bool) -> Flow:
    return _without(model, dis(preset="medium"))


def _dis_fast(model: Path | None, allow_noncommercial: bool) -> Flow:
    return _without(model, dis(preset="fast"))


def _dis_ultrafast(model: Path | None, allow_noncommercial: bool) -> Flow:
    return _without(model, dis(preset="ultrafast"))


def _plain_farneback(model: Path | None, allow_noncommercial: bool) -> Flow:
    return _without(model, farneback)


def _without(model: Path | None, flow: Flow) -> Flow:
    if model is not None:
        raise InvalidParameter(f"model '{model}' for a flow that is no network; leave it out, or choose 'raft'")
    return flow
