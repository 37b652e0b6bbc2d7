"""Bags written and read, in MB/s, beside a plain copy of the same bytes.

Messages are 640 x 480 colour images and clouds of 150 000 points, made before the clock starts. Writing is timed
from the first message to the whole bag under its name; reading from opening the bag to the last message. The copy
reads the same messages' bytes from memory into a file and is closed. All three end in the page cache.
"""

import argparse
import shutil
import tempfile
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import numpy as np
from measure import report

from fourd_ros.data.bags import BagReader, BagWriter
from fourd_ros.data.message_types import MessageTypes

IMAGE = "sensor_msgs/msg/Image"
CLOUD = "sensor_msgs/msg/PointCloud2"
POINTS = 150_000
POINT_BYTES = 24


def main() -> None:
    """Print the report."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--pairs", type=int, default=40, help="images and clouds to write (4.5 MB a pair)")
    parser.add_argument("--repeat", type=int, default=3, help="the best of so many runs counts")
    parser.add_argument("--folder", type=Path, help="where to write (default: a temporary folder)")
    args = parser.parse_args()
    folder = Path(tempfile.mkdtemp(prefix="bags_", dir=args.folder))
    try:
        report("bags", list(rows(folder, args.pairs, args.repeat)))
    finally:
        shutil.rmtree(folder)


def rows(folder: Path, pairs: int, repeat: int) -> Iterator[dict[str, object]]:
    """One row per operation."""
    messages = list(make_messages(MessageTypes(), pairs))
    types = MessageTypes()
    serialised = [(topic, kind, bytes(types.serialize(message, kind))) for topic, kind, message in messages]
    size = sum(len(data) for _, _, data in serialised)

    def row(name: str, function: Callable[[], object]) -> dict[str, object]:
        seconds = min(timed(function) for _ in range(repeat))
        return {"operation": name, "MB": size / 1e6, "seconds": seconds, "MB_per_s": size / 1e6 / seconds}

    yield row("copy the same bytes into a file", lambda: copy(folder / "copy", serialised))
    for compression in ("", "zstd"):
        bag = folder / f"bag_{compression or 'plain'}"
        name = compression or "no compression"
        yield row(f"write messages, {name}", lambda: write(bag, messages, compression))  # noqa: B023
        yield row(f"write serialised messages, {name}", lambda: write_raw(bag, serialised, compression))  # noqa: B023
        yield row(f"read serialised messages, {name}", lambda: read(bag, decode=False))  # noqa: B023
        yield row(f"read messages, {name}", lambda: read(bag, decode=True))  # noqa: B023


def make_messages(types: MessageTypes, pairs: int) -> Iterator[tuple[str, str, Any]]:
    """Images and clouds with the entropy of a smooth scene with sensor noise."""
    generator = np.random.default_rng(0)
    ramp = np.add.outer(np.arange(480), np.arange(640))[..., None] // 5 % 256
    fields = [
        types["sensor_msgs/msg/PointField"](name=name, offset=4 * index, datatype=7, count=1)
        for index, name in enumerate(("x", "y", "z", "rgb", "sigma", "label"))
    ]
    for index in range(pairs):
        header = types["std_msgs/msg/Header"](
            stamp=types["builtin_interfaces/msg/Time"](sec=index, nanosec=0), frame_id="camera"
        )
        pixels = (ramp + generator.integers(0, 4, (480, 640, 3))).astype(np.uint8)
        yield (
            "/camera/image",
            IMAGE,
            types[IMAGE](
                header=header, height=480, width=640, encoding="rgb8", is_bigendian=0, step=1920, data=pixels.ravel()
            ),
        )
        points = generator.random((POINTS, POINT_BYTES // 4), np.float32)
        yield (
            "/camera/points",
            CLOUD,
            types[CLOUD](
                header=header,
                height=1,
                width=POINTS,
                fields=fields,
                is_bigendian=False,
                point_step=POINT_BYTES,
                row_step=POINTS * POINT_BYTES,
                data=points.view(np.uint8).ravel(),
                is_dense=True,
            ),
        )


def timed(function: Callable[[], object]) -> float:
    """Wall time of one call [s]."""
    start = time.perf_counter()
    function()
    return time.perf_counter() - start


def copy(path: Path, serialised: list[tuple[str, str, bytes]]) -> None:
    """The same bytes without a bag."""
    with path.open("wb") as file:
        for _, _, data in serialised:
            file.write(data)


def write(path: Path, messages: list[tuple[str, str, Any]], compression: Any) -> None:
    """Serialise and write."""
    with BagWriter(path, compression=compression, overwrite=True) as bag:
        for index, (topic, kind, message) in enumerate(messages):
            bag.write(topic, kind, message, index)


def write_raw(path: Path, serialised: list[tuple[str, str, bytes]], compression: Any) -> None:
    """Write what is serialised already, as the recorder does."""
    with BagWriter(path, compression=compression, overwrite=True) as bag:
        for index, (topic, kind, data) in enumerate(serialised):
            bag.write_raw(topic, kind, data, index)


def read(path: Path, *, decode: bool) -> int:
    """Read the whole bag; returns the number of messages."""
    with BagReader(path) as bag:
        return sum(1 for _ in (bag.messages() if decode else bag.raw()))


if __name__ == "__main__":
    main()
