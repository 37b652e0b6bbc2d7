"""Episodes as pictures, for people who would rather look."""

from pathlib import Path

import numpy as np
from numpy.typing import NDArray
from PIL import Image

from fourd_ros.data.episode import Episode
from fourd_ros.errors import InvalidImage, MissingCamera
from fourd_ros.whole_file import whole_file

Pixels = NDArray[np.uint8]

FORMATS = (".png", ".gif")
_NEAR, _FAR = 0.1, 2.5
_ROBOT = (235, 235, 235)


def save_pictures(episode: Episode, path: Path, *, frames: int = 8) -> None:
    """A contact sheet (``.png``: time runs to the right) or a film at the speed of the recording (``.gif``).

    Each camera gives a row of colour and, where it has them, of depth (near is bright) and of segmentation.

    Args:
        episode: what to show.
        path: file to write; its ending says which.
        frames: columns of a contact sheet.

    Raises:
        InvalidImage: neither ``.png`` nor ``.gif``.
        MissingCamera: the episode has no cameras.
    """
    if path.suffix not in FORMATS:
        raise InvalidImage(f"'{path}' must end with one of {FORMATS}")
    if not episode.views:
        raise MissingCamera(f"episode '{episode.name}' has no cameras, so there is nothing to see")
    with whole_file(path) as file:
        if path.suffix == ".png":
            steps = np.linspace(0, len(episode.times) - 1, min(frames, len(episode.times))).round().astype(int)
            columns = [_column(episode, int(step), stacked=True) for step in steps]
            Image.fromarray(np.concatenate(columns, axis=1)).save(file, "PNG")
            return
        film = [Image.fromarray(_column(episode, step, stacked=False)) for step in range(len(episode.times))]
        period_ms = round(1000 / episode.rate)
        film[0].save(file, "GIF", save_all=True, append_images=film[1:], duration=period_ms, loop=0)


def _column(episode: Episode, step: int, *, stacked: bool) -> Pixels:
    """One instant: all pictures below each other, or a row a camera."""
    rows: list[Pixels] = []
    for view in episode.views.values():
        pictures: list[Pixels] = [view.rgb[step]]
        if view.depth is not None:
            pictures.append(_shade(view.depth[step]))
        if view.segmentation is not None:
            pictures.append(_colours(view.segmentation[step]))
        rows += pictures if stacked else [np.concatenate(pictures, axis=1)]
    return _stacked(rows)


def _stacked(rows: list[Pixels]) -> Pixels:
    """Pictures below each other; black beside narrow ones."""
    widest = max(row.shape[1] for row in rows)
    return np.concatenate([np.pad(row, ((0, 0), (0, widest - row.shape[1]), (0, 0))) for row in rows])


def _shade(depth: NDArray[np.float32]) -> Pixels:
    nearness = 1 - (np.nan_to_num(depth, nan=_FAR) - _NEAR) / (_FAR - _NEAR)
    grey = (255 * np.clip(nearness, 0, 1)).astype(np.uint8)
    return np.repeat(grey[..., None], 3, axis=-1)


def _colours(segmentation: Pixels) -> Pixels:
    """Black scene, light robot, and hues one golden angle apart for the rest."""
    hue = np.arange(256)[:, None] * 2 * np.pi * 0.618 + np.array([0.0, 2.1, 4.2])
    table = (127 + 110 * np.cos(hue)).astype(np.uint8)
    table[0], table[255] = 0, _ROBOT
    return np.asarray(table[segmentation])
