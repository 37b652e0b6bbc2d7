"""Filling a PointCloud2 of 640 x 480 points against one plain copy of the same bytes.

The clock starts with the arrays ready and stops with the message ready to publish; nothing is serialised. All rows are
called in turn, so that a busy machine slows them alike; ``ratio`` is the median over that of the plain copy.

    python benchmarks/cloud_filling.py
"""

import argparse
from array import array

import numpy as np
from measure import measure_side_by_side, report
from std_msgs.msg import Header

from fourd_ros.bridge.clouds import make_cloud, pack_points, packed_cloud

ANCHOR = "plain copy of the bytes into a fresh array"


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--width", type=int, default=640)
    parser.add_argument("--height", type=int, default=480)
    parser.add_argument("--repeat", type=int, default=200)
    arguments = parser.parse_args()
    count = arguments.width * arguments.height
    rng = np.random.default_rng(0)
    points = rng.normal(size=(count, 3)).astype(np.float32)
    columns = {
        "rgb": rng.integers(0, 256, (count, 3), np.uint8),
        "sigma": rng.random(count, np.float32),
        "label": rng.integers(0, 20, count, np.uint32),
    }
    packed = pack_points(points, **columns)
    raw = memoryview(packed.view(np.uint8))
    header = Header(frame_id="world")

    def plain_copy() -> "array[int]":
        copy = array("B")
        copy.frombytes(raw)
        return copy

    figures = measure_side_by_side(
        {
            ANCHOR: plain_copy,
            "packed_cloud: records the producer filled": lambda: packed_cloud(header, packed),
            "make_cloud: separate columns, all six": lambda: make_cloud(header, points, **columns),
            "make_cloud: positions only": lambda: make_cloud(header, points),
        },
        repeat=arguments.repeat,
    )
    anchor = figures[ANCHOR]["p50"]
    report(
        "cloud_filling",
        [
            {"what": name, "points": count, "megabytes": len(raw) / 1e6, "ms": row, "ratio": row["p50"] / anchor}
            for name, row in figures.items()
        ],
    )


if __name__ == "__main__":
    main()
