"""Holes of a depth image filled by the shipped model in ONNX Runtime and torch, beside OpenCV's inpainting.

The clock starts with colour and depth as arrays and stops with the filled depth; loading is outside. A fifth of the
pixels are holes: a border, blobs and speckle. All methods fill the same image in turn.

    python benchmarks/depth_completion.py
    python benchmarks/depth_completion.py --threads 1
"""

import argparse
import os

os.environ.setdefault("OMP_WAIT_POLICY", "PASSIVE")

import numpy as np
import torch
from measure import measure_side_by_side, report
from numpy.typing import NDArray

from fourd_ros.depth_completion.completer import DepthCompleter
from fourd_ros.evaluation.depth_completion import inpaint
from fourd_ros.model_io.folder import shipped_model

SIZES = ((128, 128), (240, 320), (480, 640))
BORDER, SPECKLE, BLOBS = 0.05, 0.03, 12


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--repeat", type=int, default=40)
    parser.add_argument("--threads", type=int, help="of torch and ONNX Runtime alike (default: one a core)")
    arguments = parser.parse_args()
    threads = arguments.threads or len(os.sched_getaffinity(0))
    torch.set_num_threads(threads)
    folder = shipped_model("depth_completion")
    onnx = DepthCompleter.from_folder(folder, threads=threads)
    plain = DepthCompleter.from_folder(folder, runtime="torch")
    rows = []
    for height, width in SIZES:
        rgb, depth = scene(height, width)
        times = measure_side_by_side(
            {
                "onnx": lambda rgb=rgb, depth=depth: onnx.complete(rgb, depth),
                "torch": lambda rgb=rgb, depth=depth: plain.complete(rgb, depth),
                "navier-stokes": lambda depth=depth: inpaint(depth, method="navier-stokes"),
            },
            repeat=arguments.repeat,
        )
        rows.append({"size": f"{width} x {height}", "threads": threads, "ms": times})
    report("depth_completion", rows)


def scene(height: int, width: int) -> tuple[NDArray[np.uint8], NDArray[np.float32]]:
    """A tilted plane in random colours, with holes."""
    rng = np.random.default_rng(0)
    rows, columns = np.mgrid[:height, :width] / height
    depth = (1.0 / (1.0 + 0.3 * columns - 0.5 * rows)).astype(np.float32)
    depth[:, : round(BORDER * width)] = np.nan
    depth[rng.random(depth.shape) < SPECKLE] = np.nan
    for y, x, radius in rng.uniform((0.0, 0.0, 0.03), (1.0, width / height, 0.09), (BLOBS, 3)):
        depth[(rows - y) ** 2 + (columns - x) ** 2 < radius**2] = np.nan
    return rng.integers(0, 256, (height, width, 3), dtype=np.uint8), depth


if __name__ == "__main__":
    main()
