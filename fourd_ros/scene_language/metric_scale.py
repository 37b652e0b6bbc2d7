"""How long the network's unit of length is, and its results in metres."""

from dataclasses import dataclass, replace
from typing import Literal

import numpy as np
from numpy.typing import NDArray

from fourd_ros.errors import InvalidInput
from fourd_ros.scene_language.geometry_stream import GeometryFrame
from fourd_ros.scene_language.pose_encoding import TRANSLATION

FloatArray = NDArray[np.float64]
Source = Literal["depth", "baselines", "assumed", "unknown"]

LEAST_PIXELS = 100
LEAST_BASELINE = 0.02
"""Between two cameras, whose distance tells anything [m]; that of TF is known to some millimetres."""

LEAST_PAIRS = 3


@dataclass(frozen=True, kw_only=True)
class MetricScale:
    """Metres in a unit of the network.

    Args:
        metres: NaN where it is not known.
        spread: half the range of the middle half of the ratios, over their median; NaN where it is not known.
        source: what it was read from; `assumed` where nobody measured and a user said so.
    """

    metres: float
    spread: float
    source: Source

    @property
    def is_known(self) -> bool:
        """Whether lengths in metres can be had at all."""
        return self.source != "unknown"


UNKNOWN = MetricScale(metres=float("nan"), spread=float("nan"), source="unknown")


def scale_from_depth(
    predicted: NDArray[np.floating], measured: NDArray[np.floating], *, confidence: NDArray[np.floating] | None = None
) -> MetricScale:
    """The median of the ratios of measured to predicted depth, by pixel; up to half of them may be wrong.

    Args:
        predicted: in units of the network, shape [*, H, W].
        measured: of the same pixels [m]; NaN, zero or less where nothing was measured, the same shape.
        confidence: of the prediction, the same shape; the less sure half then does not count.

    Returns:
        `UNKNOWN` where fewer than `LEAST_PIXELS` were measured.

    Raises:
        InvalidInput: the shapes differ.
    """
    if predicted.shape != measured.shape or (confidence is not None and confidence.shape != predicted.shape):
        shapes = [array.shape for array in (predicted, measured, confidence) if array is not None]
        raise InvalidInput(f"depth images of the shapes {shapes}; needed is one shape")
    with np.errstate(invalid="ignore"):
        known = (measured > 0) & (predicted > 0) & np.isfinite(measured) & np.isfinite(predicted)
    if confidence is not None and known.any():
        known &= confidence >= np.median(confidence[known])
    if known.sum() < LEAST_PIXELS:
        return UNKNOWN
    return _median(measured[known].astype(np.float64) / predicted[known], source="depth")


def scale_from_baselines(T_camera_world: FloatArray, T_world_camera: FloatArray) -> MetricScale:
    """The median of the ratios of known to predicted distances between cameras, each from the first one.

    Args:
        T_camera_world: predicted, in units of the network, shape [n, 4, 4].
        T_world_camera: of the same cameras as TF knows them [m], in any world, shape [n, 4, 4]; NaN where it does not.

    Returns:
        `UNKNOWN` where fewer than `LEAST_PAIRS` cameras stand `LEAST_BASELINE` or more from the first one.

    Raises:
        InvalidInput: not as many of both.
    """
    if T_camera_world.shape != T_world_camera.shape or T_camera_world.shape[-2:] != (4, 4):
        raise InvalidInput(
            f"{T_camera_world.shape} predicted poses and {T_world_camera.shape} known ones; needed is [n, 4, 4] of both"
        )
    if not len(T_camera_world):
        return UNKNOWN
    rotation, translation = T_camera_world[:, :3, :3], T_camera_world[:, :3, 3]
    centres = -np.einsum("nji,nj->ni", rotation, translation)
    predicted = np.linalg.norm(centres - centres[0], axis=1)
    known = np.linalg.norm(T_world_camera[:, :3, 3] - T_world_camera[0, :3, 3], axis=1)
    with np.errstate(invalid="ignore"):
        tells = (known >= LEAST_BASELINE) & (predicted > 0)
    if tells.sum() < LEAST_PAIRS:
        return UNKNOWN
    return _median(known[tells] / predicted[tells], source="baselines")


def in_metres(frame: GeometryFrame, scale: MetricScale) -> GeometryFrame:
    """The frame with poses, depth and points in metres; NaN all over where the scale is unknown.

    Tokens and confidences stay as they are.
    """
    pose = frame.pose.clone()
    pose[..., TRANSLATION] = pose[..., TRANSLATION] * scale.metres
    return replace(
        frame,
        pose=pose,
        depth=None if frame.depth is None else frame.depth * scale.metres,
        points=None if frame.points is None else frame.points * scale.metres,
    )


def _median(ratios: FloatArray, *, source: Source) -> MetricScale:
    low, middle, high = np.percentile(ratios, (25, 50, 75))
    return MetricScale(metres=float(middle), spread=float((high - low) / 2 / middle), source=source)
