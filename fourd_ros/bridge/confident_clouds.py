"""``PointCloud2`` of points that a network is more or less sure of: x y z rgb confidence, 20 bytes a point."""

from typing import Any

import numpy as np
from numpy.typing import NDArray

from fourd_ros.bridge.buffers import append_bytes
from fourd_ros.bridge.clouds import FLOAT32, empty_cloud

CONFIDENT = np.dtype(
    [
        *((axis, "<f4") for axis in "xyz"),
        *((colour, "u1") for colour in ("blue", "green", "red", "unused")),
        ("confidence", "<f4"),
    ]
)
CONFIDENT_FIELDS = (
    ("x", 0, FLOAT32),
    ("y", 4, FLOAT32),
    ("z", 8, FLOAT32),
    ("rgb", 12, FLOAT32),
    ("confidence", 16, FLOAT32),
)


def confident_cloud(
    header: Any, points: NDArray[np.floating], *, rgb: NDArray[np.uint8], confidence: NDArray[np.floating]
) -> Any:
    """The cloud.

    Args:
        header: stamp of the image, frame of the points.
        points: finite, shape [N, 3].
        rgb: shape [N, 3].
        confidence: as the network says it, shape [N].
    """
    records = np.zeros(len(points), CONFIDENT)
    for place, axis in enumerate("xyz"):
        records[axis] = points[:, place]
    for place, colour in enumerate(("red", "green", "blue")):
        records[colour] = rgb[:, place]
    records["confidence"] = confidence
    cloud = empty_cloud(header, CONFIDENT_FIELDS, len(records), point_step=CONFIDENT.itemsize, is_dense=True)
    append_bytes(cloud.data, records)
    return cloud
