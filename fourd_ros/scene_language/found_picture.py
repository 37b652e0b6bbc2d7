"""Pictures of what texts mean: masks over the image, every text in a colour of its own."""

from collections.abc import Sequence

import cv2
import numpy as np
from numpy.typing import NDArray

COLOURS = np.array(
    [(230, 60, 60), (60, 130, 240), (60, 190, 90), (240, 170, 40), (170, 80, 220), (40, 190, 200), (240, 100, 180)],
    np.uint8,
)
"""Of texts, in turn; red, green, blue."""

STRENGTH = 0.55
LINE, LETTER = 18, 0.45
"""Height of a line of the legend [px], and of its letters as OpenCV counts it."""


def colour_of(number: int) -> tuple[int, int, int]:
    """Red, green, blue of a text, from 0."""
    red, green, blue = COLOURS[number % len(COLOURS)].tolist()
    return red, green, blue


def found_picture(rgb: NDArray[np.uint8], masks: NDArray[np.bool_]) -> NDArray[np.uint8]:
    """The image with masks over it.

    Args:
        rgb: shape [H, W, 3].
        masks: of P texts, shape [P, H, W]; where they overlap, the last one is seen.
    """
    shown = rgb.copy()
    for number, mask in enumerate(masks):
        mixed = (1 - STRENGTH) * rgb[mask] + STRENGTH * np.array(colour_of(number))
        shown[mask] = mixed.round().astype(np.uint8)
        edges, _ = cv2.findContours(mask.astype(np.uint8), cv2.RETR_EXTERNAL, cv2.CHAIN_APPROX_NONE)
        cv2.drawContours(shown, edges, -1, colour_of(number), 1)
    return shown


def with_legend(rgb: NDArray[np.uint8], texts: Sequence[str], found: Sequence[bool]) -> NDArray[np.uint8]:
    """The image above a line for each text, in its colour, which says where one was not found.

    Args:
        rgb: shape [H, W, 3].
        texts: of the masks.
        found: of each.
    """
    legend = np.full((LINE * len(texts) + 4, rgb.shape[1], 3), 255, np.uint8)
    for number, (text, there) in enumerate(zip(texts, found, strict=True)):
        line = text if there else f"{text}: not found"
        cv2.putText(
            legend,
            line.encode("ascii", "replace").decode(),
            (4, LINE * (number + 1) - 4),
            cv2.FONT_HERSHEY_SIMPLEX,
            LETTER,
            colour_of(number),
            1,
            cv2.LINE_AA,
        )
    return np.concatenate([rgb, legend])
