"""The flow of OpenCV that the original falls back to."""

import numpy as np

from fourd_ros.reconstruction.tracking.flow import farneback
from fourd_ros.verify.checks import check
from fourd_ros.verify.comparison import Comparison
from fourd_ros.verify.dynamicverse.folder import SYSTEM, Computed, compare_all
from fourd_ros.verify.tolerance import Tolerance
from fourd_ros.verify.vectors import Tensors, VectorFolder

_FLOW = Tolerance(atol=np.inf, mean=0.05)


@check(SYSTEM, "farneback.npz")
def fallback(_: VectorFolder, vectors: Tensors, compare: Comparison) -> None:
    """Of every other frame and the one after it."""
    frames = vectors["rgb"]
    flows = [farneback(first, second) for first, second in zip(frames[::2], frames[1::2], strict=True)]
    computed: Computed = {"flow": (np.stack(flows), _FLOW)}
    compare_all(vectors, compare, computed, inputs="rgb")
