"""What every backend of the rasteriser agrees on: the constants of 3D Gaussian splatting, and how much it will take on.

The rules are those of the forward pass of 3DGS (Kerbl et al., ACM Transactions on Graphics 42, 2023) with EWA
projection (Zwicker et al., IEEE Visualization 2001), as the published models of PartRM were trained with them.
"""

from fourd_ros.errors import TooLarge

TILE = 16
"""Pixels along the side of a tile."""

NEAR = 0.2
"""Gaussians at this depth [m] or nearer are culled; no other side of the frustum is tested."""

DILATION = 0.3
"""Added to both variances on the screen [px^2], so that no Gaussian falls between pixels."""

SLOPE_MARGIN = 0.3
"""How far outside the image the projection is linearised at most, in half widths of the image."""

MIN_SPREAD = 0.1
"""Least squared half difference [px^4] of the variances along the axes, when the radius is computed."""

RADIUS_SIGMAS = 3.0
DEPTH_EPSILON = 1e-7
"""Added to a depth [m] before the centre is divided by it."""

MAX_ALPHA = 0.99
MIN_ALPHA = 1 / 255
MIN_TRANSMITTANCE = 1e-4
"""A pixel is finished before the Gaussian that would let less than this through."""

MAX_GAUSSIANS = 4_000_000
MAX_PIXELS = 32_000_000
"""Of all views of one call together."""

MAX_PAIRS = 200_000_000
"""Of a Gaussian and a tile that it reaches, in all views of one call together."""


def check_size(gaussians: int, pixels: int) -> None:
    """Refuse what would need more memory than anyone means to use, before any is allocated.

    Raises:
        TooLarge: more Gaussians or pixels than the bounds.
    """
    if gaussians > MAX_GAUSSIANS:
        raise TooLarge(f"{gaussians} Gaussians; at most {MAX_GAUSSIANS} are rendered: prune or split them")
    if pixels > MAX_PIXELS:
        raise TooLarge(f"{pixels} pixels in all views; at most {MAX_PIXELS} are rendered at once: use fewer views")


def check_pairs(pairs: int) -> None:
    """Refuse scenes in which far too many Gaussians reach far too many tiles.

    Raises:
        TooLarge: more pairs than the bound.
    """
    if pairs > MAX_PAIRS:
        raise TooLarge(
            f"{pairs} pairs of Gaussian and tile; at most {MAX_PAIRS} are rendered at once: "
            "the Gaussians are too large for the views (are scales in metres?)"
        )
