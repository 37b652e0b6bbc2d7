"""Pictures of a page: films as one JPEG each, error maps in colour, and a hatch where nothing is known."""

import base64
from collections.abc import Sequence

import cv2
import numpy as np
from numpy.typing import NDArray

from fourd_ros.records import Mask, Pixels, Points
from fourd_ros.viewer.content import Clip

ERROR_LIMIT = 0.10
"""Errors from here on share the last colour [m]."""

ERROR_COLOURS = np.array(
    [
        [38, 70, 120],
        [44, 134, 158],
        [122, 190, 120],
        [245, 205, 70],
        [240, 128, 48],
        [196, 34, 60],
    ],
    dtype=np.float64,
)
"""Equidistant stops from 0 to `ERROR_LIMIT`; lightness rises to the middle and hue keeps the ends apart."""

FILM_WIDTH = 320
"""Wider frames are shown smaller [px]."""

_VISIBLE_FROM = 0.002
_OPAQUE_FROM = 0.012
_JPEG_QUALITY = 88


def error_picture(recorded: Pixels, depth_error: Points) -> Pixels:
    """Depth error in colour over the dimmed recording, hatched where it is unknown; all of shape [T, H, W, ...]."""
    grey = recorded @ np.array([0.299, 0.587, 0.114])
    base = np.repeat((0.45 * grey + 20)[..., None], 3, axis=-1)
    known = np.isfinite(depth_error)
    error = np.where(known, depth_error, 0.0)
    opacity = np.clip((error - _VISIBLE_FROM) / (_OPAQUE_FROM - _VISIBLE_FROM), 0, 1)[..., None]
    picture = (1 - opacity) * base + opacity * error_colour(error)
    return hatch_unknown(picture.astype(np.uint8), known)


def error_colour(error: Points) -> NDArray[np.float64]:
    """Colour of an error [m], 0 to 255, shape [*, 3]."""
    stops = np.linspace(0, ERROR_LIMIT, len(ERROR_COLOURS))
    return np.stack([np.interp(error, stops, channel) for channel in ERROR_COLOURS.T], axis=-1)


def hatch_unknown(frames: Pixels, known: Mask) -> Pixels:
    """Replace pixels that are not known by diagonal grey stripes; shape [T, H, W, 3]."""
    rows, columns = np.indices(frames.shape[1:3])
    stripes = np.where((rows + columns) % 6 < 1, 190, 150).astype(np.uint8)
    return np.where(known[..., None], frames, stripes[None, :, :, None])


def film(frames: Pixels) -> dict[str, object]:
    """Frames side by side in one JPEG, at most `FILM_WIDTH` wide.

    Args:
        frames: shape [T, H, W, 3].

    Returns:
        ``src`` (data URI), ``columns`` of the grid, ``width`` and ``height`` of one frame, ``count``.
    """
    frames = _small(frames)
    count, height, width, _ = frames.shape
    columns = int(np.ceil(np.sqrt(count)))
    rows = -(-count // columns)
    sheet = np.zeros((rows * height, columns * width, 3), dtype=np.uint8)
    for index, frame in enumerate(frames):
        top, left = index // columns * height, index % columns * width
        sheet[top : top + height, left : left + width] = frame
    _, encoded = cv2.imencode(".jpg", sheet[..., ::-1], [cv2.IMWRITE_JPEG_QUALITY, _JPEG_QUALITY])
    source = "data:image/jpeg;base64," + base64.b64encode(encoded.tobytes()).decode()
    return {
        "src": source,
        "columns": columns,
        "width": width,
        "height": height,
        "count": count,
    }


def _small(frames: Pixels) -> Pixels:
    height, width = frames.shape[1:3]
    if width <= FILM_WIDTH:
        return frames
    size = (FILM_WIDTH, round(height * FILM_WIDTH / width))
    return np.stack([cv2.resize(frame, size, interpolation=cv2.INTER_AREA) for frame in frames])


def clip_films(clip: Clip) -> dict[str, object]:
    """What was recorded, and by model what was imagined and how far it is off."""
    return {
        "recorded": film(clip.recorded),
        "imagined": {one.model: film(hatch_unknown(one.rgb, one.known)) for one in clip.imagined},
        "error": {one.model: film(error_picture(clip.recorded, one.depth_error)) for one in clip.imagined},
    }


def legend_stops() -> Sequence[str]:
    """CSS colours of the error scale from 0 to `ERROR_LIMIT`."""
    return [f"rgb({r:.0f} {g:.0f} {b:.0f})" for r, g, b in ERROR_COLOURS]
