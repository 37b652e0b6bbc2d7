"""What may be moved: the connected things above support planes, found by geometry alone."""

from collections.abc import Mapping
from dataclasses import dataclass

from fourd_ros.records import FloatArray, Mask

FIRST_LABEL = 16
"""Labels of things begin here (as in ``fourd_msgs/RolloutFrame``)."""


@dataclass(frozen=True, kw_only=True)
class Thing:
    """Pixels that may move together.

    Args:
        label: 16 and more, distinct in a scene; 16 is the held thing where there is one.
        pixels: True where it was observed, by view, shape [H, W].
        points: those pixels in the world [m], view after view in the order of `pixels`, row by row, shape [N, 3].
        support: height of the plane that it stands on, or hangs over, in the world [m].
        held: it is between the fingers.
    """

    label: int
    pixels: Mapping[str, Mask]
    points: FloatArray
    support: float
    held: bool
