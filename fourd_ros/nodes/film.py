"""Frames that a goal names, from messages to arrays; what cannot be used is left out and counted."""

from collections.abc import Callable, Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from fourd_ros.errors import FourdError, InvalidImage, NoObservation
from fourd_ros.geometry.camera import PinholeCamera
from fourd_ros.nodes.camera_frames import CameraFrame

__all__ = ["Film", "decode_film"]


@dataclass(frozen=True, kw_only=True, eq=False)
class Film:
    """F frames of one camera.

    Args:
        stamps_ns: when they were taken [ns].
        frame_id: of the camera.
        camera: its calibration.
        rgb: colour, shape [F, H, W, 3], uint8.
        depth: [m], NaN where unknown, shape [F, H, W]; None for a camera without.
        masks: number of the object at every pixel, 0 for none, shape [F, H, W]; None where nobody says.
    """

    stamps_ns: tuple[int, ...]
    frame_id: str
    camera: PinholeCamera
    rgb: NDArray[np.uint8]
    depth: NDArray[np.float32] | None
    masks: NDArray[np.int32] | None


def decode_film(
    frames: Sequence[CameraFrame], *, report: Callable[[Exception], None], count: Callable[[str], object]
) -> Film:
    """Decode frames; those of another camera than the newest one's, and damaged ones, are left out.

    Args:
        frames: in time, at least one.
        report: is told what is wrong with a frame.
        count: is told ``other_camera`` for each frame of another calibration.

    Raises:
        NoObservation: no frame is left.
    """
    newest = frames[-1]
    kept, rgb, depth, masks = [], [], [], []
    for frame in frames:
        if frame.calibration != newest.calibration or frame.frame_id != newest.frame_id:
            count("other_camera")
            continue
        try:
            colour, numbers = frame.rgb(), frame.masks()
        except FourdError as error:
            report(error)
            continue
        kept.append(frame)
        rgb.append(colour)
        masks.append(numbers)
        depth.append(_depth(frame, report))
    if not kept:
        raise NoObservation(f"none of the {len(frames)} frames can be used; see /diagnostics for what is wrong")
    return Film(
        stamps_ns=tuple(frame.stamp_ns for frame in kept),
        frame_id=newest.frame_id,
        camera=newest.calibration,
        rgb=np.stack(rgb),
        depth=None if depth[0] is None else np.stack([one for one in depth if one is not None]),
        masks=None if masks[0] is None else np.stack([one for one in masks if one is not None]),
    )


def _depth(frame: CameraFrame, report: Callable[[Exception], None]) -> NDArray[np.float32] | None:
    """Of a frame; one whose depth cannot be used has none that is known."""
    try:
        return frame.depth()
    except InvalidImage as error:
        report(error)
        camera = frame.calibration
        return np.full((camera.height, camera.width), np.nan, np.float32)
