"""Live scene reconstruction through the real node: 640 x 480 with depth at 30 Hz, a camera that flies, boxes that move.

A feeder in one process publishes pictures that were drawn and turned into messages before; the node is another process.
The clock of a frame starts before its colour, depth and calibration are published and stops when its objects have
arrived back at the feeder. A frame is kept when that happens at all: the node takes the newest and drops what it has no
time for. Memory is the node's, sampled every second; its growth is a straight line through the second half.

    python benchmarks/reconstruction_live.py [--frames 5000] [--rate 30]
"""

import argparse
import os
import subprocess
import sys
import threading
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import numpy as np
from measure import percentiles, report

ROOT = Path(__file__).resolve().parent.parent
sys.path.insert(0, str(ROOT / "tools"))
os.environ.setdefault("ROS_DOMAIN_ID", "96")
os.environ.setdefault("ROS_AUTOMATIC_DISCOVERY_RANGE", "LOCALHOST")

from fourd_ros.nodes.transport import use_large_messages  # noqa: E402

WIDTH, HEIGHT = 640, 480
START_NS = 1_700_000_000 * 1_000_000_000
SETTLE = 2.0
"""Time for the last answers to arrive [s]."""


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--frames", type=int, default=5000)
    parser.add_argument("--rate", type=float, default=30.0, help="frames a second")
    args = parser.parse_args()
    use_large_messages()
    import rclpy

    with rclpy.init(args=[]), node() as process:
        report("reconstruction_live", [measured(process.pid, frames=args.frames, rate=args.rate)])


@contextmanager
def node() -> Iterator["subprocess.Popen[bytes]"]:
    """The node in another process."""
    command = [sys.executable, "-m", "fourd_ros.nodes.scene_reconstruction", "--ros-args"]
    command += ["-p", "image_reliability:=reliable", "--log-level", "error"]
    process = subprocess.Popen(command, env={**os.environ, "PYTHONPATH": str(ROOT)})
    try:
        yield process
    finally:
        process.terminate()
        process.wait(20.0)


def measured(pid: int, *, frames: int, rate: float) -> dict[str, Any]:
    """Feed and listen."""
    from rclpy.executors import SingleThreadedExecutor
    from rclpy.node import Node

    feeder = Feeder(Node("feeder"))
    executor = SingleThreadedExecutor()
    executor.add_node(feeder.node)
    thread = threading.Thread(target=executor.spin, daemon=True)
    thread.start()
    feeder.wait_until_heard()
    memory: list[tuple[int, float]] = []
    cpu, began = cpu_seconds(pid), time.monotonic()
    for number in range(frames):
        time.sleep(max(0.0, began + number / rate - time.monotonic()))
        feeder.publish(number, rate)
        if number % round(rate) == 0:
            memory.append((number, resident_mb(pid)))
    seconds = time.monotonic() - began
    time.sleep(SETTLE)
    cpu = cpu_seconds(pid) - cpu
    executor.shutdown()
    half = [sample for sample in memory if sample[0] >= frames / 2]
    growth = float(np.polyfit(*np.array(half).T, 1)[0]) * 1000 if len(half) > 2 else float("nan")
    return {
        "what": f"{WIDTH} x {HEIGHT} with depth",
        "frames": frames,
        "sent_hz": frames / seconds,
        "kept_percent": 100 * len(feeder.latencies) / frames,
        "latency_ms": percentiles(feeder.latencies),
        "cpu_percent": 100 * cpu / seconds,
        "objects": feeder.objects,
        "stages_ms": feeder.stages,
        "rss_mb": memory[-1][1],
        "rss_growth_mb_per_1000_frames": growth,
    }


class Feeder:
    """Publishes drawn frames to and fro, and hears what becomes of them."""

    def __init__(self, node: Any) -> None:
        from diagnostic_msgs.msg import DiagnosticArray
        from fourd_msgs.msg import SceneObjectArray
        from record_tabletop_bag import camera_of, instants
        from sensor_msgs.msg import CameraInfo, Image

        from fourd_ros.bridge.cameras import camera_to_info
        from fourd_ros.bridge.images import array_to_image
        from fourd_ros.bridge.qos import RESULT
        from fourd_ros.bridge.times import make_header

        self.node = node
        header = make_header(START_NS, "camera_optical_frame")
        self._info = camera_to_info(camera_of(WIDTH, HEIGHT), header)
        seen = [now.image for now in instants(width=WIDTH, height=HEIGHT, rate=30.0)]
        pairs = [(array_to_image(one.rgb, "rgb8", header), array_to_image(one.depth, "32FC1", header)) for one in seen]
        self._frames = [*pairs, *pairs[-2:0:-1]]
        self._publishers = [
            node.create_publisher(kind, f"camera/{name}", RESULT)
            for kind, name in ((CameraInfo, "camera_info"), (Image, "image"), (Image, "depth"))
        ]
        self._sent: dict[int, float] = {}
        self.latencies: list[float] = []
        self.stages: dict[str, float] = {}
        self.objects = 0
        node.create_subscription(SceneObjectArray, "scene_reconstruction/objects", self._hear, RESULT)
        node.create_subscription(DiagnosticArray, "/diagnostics", self._hear_stages, RESULT)

    def wait_until_heard(self) -> None:
        """Until the node listens."""
        give_up = time.monotonic() + 60.0
        while not all(one.get_subscription_count() for one in self._publishers):
            if time.monotonic() > give_up:
                raise SystemExit("the node does not come up")
            time.sleep(0.1)
        time.sleep(SETTLE)

    def publish(self, number: int, rate: float) -> None:
        """The frame of a number."""
        from fourd_ros.bridge.times import ns_to_stamp

        stamp_ns = START_NS + round(number / rate * 1e9)
        messages = (self._info, *self._frames[number % len(self._frames)])
        self._sent[stamp_ns] = time.perf_counter()
        for publisher, message in zip(self._publishers, messages, strict=True):
            message.header.stamp = ns_to_stamp(stamp_ns)
            publisher.publish(message)

    def _hear(self, message: Any) -> None:
        stamp = message.header.stamp
        began = self._sent.pop(stamp.sec * 1_000_000_000 + stamp.nanosec, None)
        if began is not None:
            self.latencies.append((time.perf_counter() - began) * 1e3)
            self.objects = max(self.objects, len(message.objects))

    def _hear_stages(self, message: Any) -> None:
        for status in message.status:
            if "scene_reconstruction" in status.name:
                self.stages = {one.key: float(one.value) for one in status.values if one.key.endswith("_ms")}


def resident_mb(pid: int) -> float:
    """Resident memory of a process [MB]."""
    return int(Path(f"/proc/{pid}/statm").read_text().split()[1]) * os.sysconf("SC_PAGE_SIZE") / 1e6


def cpu_seconds(pid: int) -> float:
    """User and system time of a process [s]."""
    fields = Path(f"/proc/{pid}/stat").read_text().rsplit(")", 1)[1].split()
    return sum(map(int, fields[11:13])) / os.sysconf("SC_CLK_TCK")


if __name__ == "__main__":
    main()
