"""The path of a camera from its pictures alone, without learning: what learned poses are compared with.

Corners are followed (Lucas and Kanade, pyramid of Bouguet 2000) from each picture to the next; five of them at a time
give the motion (Nister 2004, in RANSAC), up to the length of its step. Steps get one common length from the points that
three pictures show: what two of them say of a point's distance has to be what the next two say.
"""

from dataclasses import dataclass
from itertools import pairwise

import cv2
import numpy as np
from numpy.typing import NDArray

from fourd_ros.errors import InvalidImage

FloatArray = NDArray[np.float64]
Places = NDArray[np.float32]

CORNERS, QUALITY, APART, BLOCK = 400, 0.005, 3, 5
WINDOW, PYRAMID = (11, 11), 3
RETURN = 0.5
"""A corner that is followed forth and back has to come home within it [px]."""

INLIER, CONFIDENCE = 0.3, 0.999
"""Of RANSAC: distance to the epipolar line [px], and how sure it has to be."""

LEAST_CORNERS, LEAST_SHARED = 8, 3
LENGTHS = 0.3, 3.0
"""A step over the one before; what lies beyond is no measurement."""


@dataclass(frozen=True, kw_only=True, eq=False)
class _Step:
    """Motion between two pictures.

    Args:
        T_later_earlier: its translation has the length 1 [4, 4].
        places: of the corners in the later picture, shape [N, 2].
        before: in the earlier one, shape [N, 2].
        distance: of the points from the earlier camera along its axis, in the length of the step, shape [N].
        distance_later: from the later one, shape [N].
    """

    T_later_earlier: FloatArray
    places: Places
    before: Places
    distance: FloatArray
    distance_later: FloatArray


def two_view_path(rgb: NDArray[np.uint8], K: FloatArray) -> FloatArray:
    """Poses ``T_first_camera``, in the length of the first step, shape [F, 4, 4].

    Between pictures that do not tell enough the camera is taken to stand still.

    Args:
        rgb: shape [F, H, W, 3].
        K: camera matrix, shape [3, 3].

    Raises:
        InvalidImage: another shape or type.
    """
    if rgb.ndim != 4 or rgb.shape[-1] != 3 or rgb.dtype != np.uint8:
        raise InvalidImage(f"pictures {rgb.dtype} {list(rgb.shape)}; needed are uint8 [F, H, W, 3]")
    grey = [cv2.cvtColor(picture, cv2.COLOR_RGB2GRAY) for picture in rgb]
    path, last, length = [np.eye(4)], None, 1.0
    for earlier, later in pairwise(grey):
        step = _step(earlier, later, K, last)
        if step is None:
            path.append(path[-1])
            continue
        length *= _longer(last, step)
        T_earlier_later = np.linalg.inv(step.T_later_earlier)
        T_earlier_later[:3, 3] *= length
        path.append(path[-1] @ T_earlier_later)
        last = step
    return np.stack(path)


def _step(earlier: NDArray[np.uint8], later: NDArray[np.uint8], K: FloatArray, last: _Step | None) -> _Step | None:
    before, places = _followed(earlier, later, last)
    if len(before) < LEAST_CORNERS:
        return None
    E, chosen = cv2.findEssentialMat(before, places, K, method=cv2.RANSAC, prob=CONFIDENCE, threshold=INLIER)
    if E is None or E.shape != (3, 3):
        return None
    count, R, t, kept, points = cv2.recoverPose(E, before, places, K, distanceThresh=1e3, mask=chosen)
    if count < LEAST_CORNERS:
        return None
    good = kept[:, 0] > 0
    T = np.eye(4)
    T[:3, :3], T[:3, 3] = R, t[:, 0]
    seen = (points[:3, good] / points[3, good]).T
    return _Step(
        T_later_earlier=T,
        places=places[good],
        before=before[good],
        distance=seen[:, 2],
        distance_later=seen @ R[2] + t[2, 0],
    )


def _followed(earlier: NDArray[np.uint8], later: NDArray[np.uint8], last: _Step | None) -> tuple[Places, Places]:
    """Corners in both pictures, shape [N, 2] each; first those that the step before ended with."""
    found = cv2.goodFeaturesToTrack(earlier, CORNERS, QUALITY, APART, blockSize=BLOCK)
    new = np.zeros((0, 2), np.float32) if found is None else found.reshape(-1, 2)
    before: Places = np.asarray(new if last is None else np.concatenate([last.places, new]), np.float32)
    if not len(before):
        return before, before
    options = {"winSize": WINDOW, "maxLevel": PYRAMID}
    places, there, _ = cv2.calcOpticalFlowPyrLK(earlier, later, before, None, **options)  # type: ignore[call-overload]
    home, back, _ = cv2.calcOpticalFlowPyrLK(later, earlier, places, None, **options)  # type: ignore[call-overload]
    same = (there[:, 0] > 0) & (back[:, 0] > 0) & (np.linalg.norm(home - before, axis=1) < RETURN)
    return before[same], np.asarray(places[same], np.float32)


def _longer(last: _Step | None, step: _Step) -> float:
    """How much longer a step is than the one before; 1 where they share too few points."""
    if last is None:
        return 1.0
    known = {tuple(place): distance for place, distance in zip(last.places, last.distance_later, strict=True)}
    ratios = [
        known[tuple(place)] / distance
        for place, distance in zip(step.before, step.distance, strict=True)
        if tuple(place) in known and distance > 0 and known[tuple(place)] > 0
    ]
    return float(np.clip(np.median(ratios), *LENGTHS)) if len(ratios) >= LEAST_SHARED else 1.0
