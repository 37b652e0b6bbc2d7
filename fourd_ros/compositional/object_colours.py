"""Which colour an object has, in files and markers alike: the palette of COM4D (arXiv 2512.05272)."""

__all__ = ["PALETTE", "object_colour"]

RGB = tuple[int, int, int]

PALETTE: tuple[RGB, ...] = (
    (82, 170, 220),
    (215, 91, 78),
    (45, 136, 117),
    (247, 172, 83),
    (124, 121, 121),
    (127, 171, 209),
    (243, 152, 101),
    (145, 204, 192),
    (150, 59, 121),
    (181, 206, 78),
    (189, 119, 149),
    (199, 193, 222),
    (200, 151, 54),
    (236, 110, 102),
    (238, 182, 212),
)


def object_colour(number: int) -> RGB:
    """Red, green and blue, 0..255, of an object by its number from 0; they come again after 15."""
    return PALETTE[number % len(PALETTE)]
