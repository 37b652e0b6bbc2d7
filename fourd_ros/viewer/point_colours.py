"""Colours of points for the live viewer: what they look like, and what is known about them.

The same colours as in the page of the demo (``template/cloud.js``).
"""

import numpy as np
from numpy.typing import NDArray

from fourd_ros.records import Mask, Pixels, Points
from fourd_ros.viewer.content import LABEL_FIRST_OBJECT, LABEL_ROBOT, LABEL_STATIC
from fourd_ros.viewer.geometry import SIGMA_LIMIT

Shares = NDArray[np.floating]

_UNLABELLED, _STATIC, _ROBOT = (0.55, 0.55, 0.55), (0.62, 0.65, 0.68), (0.20, 0.47, 0.85)
_SURE, _UNSURE, _LOST = (0.16, 0.42, 0.62), (0.95, 0.80, 0.30), (0.78, 0.14, 0.24)
_SIGMA_UNKNOWN = (0.5, 0.5, 0.5)
_UNSEEN = (0.85, 0.25, 0.65)
_UNSEEN_SHARE = 0.7
_TURN = 0.61803
"""Neighbouring objects are this far apart on the colour wheel [turns]."""


def by_sigma(rgb: Pixels, sigma: Points) -> Pixels:
    """From blue (sure) over yellow to red (`SIGMA_LIMIT` and more); grey where it is unknown.

    Args:
        rgb: of the points, whose light and shade is kept, shape [N, 3].
        sigma: spread [m], NaN unknown, shape [N].
    """
    share = np.clip(np.nan_to_num(sigma / SIGMA_LIMIT), 0, 1)
    stops = np.array([_SURE, _UNSURE, _LOST])
    colours = np.stack([np.interp(share, (0, 0.5, 1), channel) for channel in stops.T], axis=-1)
    colours[np.isnan(sigma)] = _SIGMA_UNKNOWN
    return _lit(colours, rgb)


def by_label(rgb: Pixels, labels: NDArray[np.uint32]) -> Pixels:
    """Grey for what is static or unknown, blue for the robot, a colour for every object.

    Args:
        rgb: of the points, whose light and shade is kept, shape [N, 3].
        labels: as in ``fourd_msgs/RolloutFrame``, shape [N].
    """
    turn = (labels.astype(np.float64) - LABEL_FIRST_OBJECT) * _TURN + 0.06
    colours = 0.55 + 0.42 * np.cos(2 * np.pi * (turn[:, None] + np.array([0.0, 0.33, 0.67])))
    for label, colour in ((LABEL_STATIC, _STATIC), (LABEL_ROBOT, _ROBOT)):
        colours[labels == label] = colour
    colours[(labels < LABEL_FIRST_OBJECT) & (labels != LABEL_STATIC) & (labels != LABEL_ROBOT)] = _UNLABELLED
    return _lit(colours, rgb)


def by_observed(rgb: Pixels, observed: Mask) -> Pixels:
    """As they look; purple where no camera could have seen them.

    Args:
        rgb: of the points, shape [N, 3].
        observed: False where nobody saw them, shape [N].
    """
    tinted = (1 - _UNSEEN_SHARE) * rgb + 255 * _UNSEEN_SHARE * np.array(_UNSEEN)
    return np.where(observed[:, None], rgb, np.rint(tinted)).astype(np.uint8)


def _lit(colours: Shares, rgb: Pixels) -> Pixels:
    """Colours 0..1 as bright as the picture: shapes stay visible under flat colours."""
    light = 0.6 + 0.7 * (rgb @ np.array([0.299, 0.587, 0.114])) / 255
    return np.asarray(np.rint(255 * np.clip(colours * light[:, None], 0, 1)), np.uint8)
