"""What observations that were let go still say about frames: a quadratic in their poses (a marginal prior)."""

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray


@dataclass(frozen=True, kw_only=True)
class FramePrior:
    """``1/2 d' information d + gradient' d``, where d is the motion of K frames since the prior was made.

    The motion of a frame is its translation and rotation vector in its own axes at that time, and the change of
    its logarithmic depth scale. The point of linearisation stays (first estimates), so what was once found out
    about directions that nothing constrains is not invented later.

    Args:
        frames: indices in the problem it is given to, shape [K].
        T_world_camera: poses when it was made, shape [K, 4, 4].
        log_scales: depth scales when it was made, shape [K].
        information: shape [7 K, 7 K].
        gradient: shape [7 K].
    """

    frames: NDArray[np.int64]
    T_world_camera: NDArray[np.float64]
    log_scales: NDArray[np.float64]
    information: NDArray[np.float64]
    gradient: NDArray[np.float64]
