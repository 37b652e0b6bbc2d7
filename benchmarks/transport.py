"""Large clouds between two processes, best effort, with the shipped Fast DDS profile and with the defaults.

The clock starts before ``publish`` of a finished message (so serialising counts) and stops in the callback of the
other process, with the message deserialised; both read the machine's steady clock.

    python benchmarks/transport.py
"""

import argparse
import json
import os
import subprocess
import sys
import threading
import time
from pathlib import Path

from measure import percentiles, report

ROOT = Path(__file__).resolve().parent.parent
PROFILE = ROOT / "config" / "fastdds_large_messages.xml"
PROFILE_VARIABLES = ("FASTDDS_DEFAULT_PROFILES_FILE", "FASTRTPS_DEFAULT_PROFILES_FILE")
"""Fast DDS 3 (Kilted) and Fast DDS 2 (Jazzy)."""

TOPIC = "transport_benchmark"
SETTLE = 1.0
"""Time for the last messages to arrive [s]."""


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--megabytes", type=float, default=5.5)
    parser.add_argument("--rate", type=float, default=10.0, help="clouds a second")
    parser.add_argument("--count", type=int, default=60)
    parser.add_argument("--role", choices=("parent", "sender", "receiver"), default="parent", help=argparse.SUPPRESS)
    arguments = parser.parse_args()
    if arguments.role == "sender":
        _send(arguments)
    elif arguments.role == "receiver":
        _receive()
    else:
        rows = [
            _measure(arguments, "shipped profile", {_profile_variable(): str(PROFILE)}),
            _measure(arguments, "Fast DDS defaults", {}),
        ]
        report("transport", rows)


def _profile_variable() -> str:
    return PROFILE_VARIABLES[os.environ.get("ROS_DISTRO") == "jazzy"]


def _measure(arguments: argparse.Namespace, name: str, profile: dict[str, str]) -> dict[str, object]:
    environment = {key: value for key, value in os.environ.items() if key not in PROFILE_VARIABLES}
    environment |= {"ROS_AUTOMATIC_DISCOVERY_RANGE": "LOCALHOST", "PYTHONPATH": str(ROOT), **profile}
    words = [sys.executable, __file__, f"--megabytes={arguments.megabytes}", f"--rate={arguments.rate}"]
    words.append(f"--count={arguments.count}")
    receiver = subprocess.Popen(
        [*words, "--role=receiver"], env=environment, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True
    )
    subprocess.run([*words, "--role=sender"], env=environment, check=True)
    time.sleep(SETTLE)
    output, _ = receiver.communicate(timeout=30)
    latencies = json.loads(output)
    return {
        "transport": name,
        "megabytes": arguments.megabytes,
        "rate_hz": arguments.rate,
        "sent": arguments.count,
        "delivered": len(latencies),
        "latency_ms": percentiles(latencies),
    }


def _send(arguments: argparse.Namespace) -> None:
    import numpy as np
    import rclpy
    from rclpy.node import Node
    from sensor_msgs.msg import PointCloud2

    from fourd_ros.bridge.clouds import POINT, packed_cloud
    from fourd_ros.bridge.qos import sensor_qos
    from fourd_ros.bridge.times import make_header, ns_to_stamp

    packed = np.zeros(int(arguments.megabytes * 1e6) // POINT.itemsize, POINT)
    cloud = packed_cloud(make_header(0, "world"), packed)
    with rclpy.init():
        node = Node("transport_sender", use_global_arguments=False)
        publisher = node.create_publisher(PointCloud2, TOPIC, sensor_qos(depth=5))
        while publisher.get_subscription_count() == 0:
            time.sleep(0.01)
        time.sleep(SETTLE)
        start = time.monotonic()
        for index in range(arguments.count):
            time.sleep(max(0.0, start + index / arguments.rate - time.monotonic()))
            cloud.header.stamp = ns_to_stamp(time.monotonic_ns())
            publisher.publish(cloud)
        time.sleep(SETTLE)
        node.destroy_node()


def _receive() -> None:
    """Print the latencies [ms] as JSON once the standard input ends."""
    import rclpy
    from rclpy.executors import SingleThreadedExecutor
    from rclpy.node import Node
    from sensor_msgs.msg import PointCloud2

    from fourd_ros.bridge.qos import sensor_qos
    from fourd_ros.bridge.times import stamp_to_ns

    latencies: list[float] = []

    def take(message: PointCloud2) -> None:
        latencies.append((time.monotonic_ns() - stamp_to_ns(message.header.stamp)) * 1e-6)

    with rclpy.init():
        node = Node("transport_receiver", use_global_arguments=False)
        node.create_subscription(PointCloud2, TOPIC, take, sensor_qos(depth=5))
        executor = SingleThreadedExecutor()
        executor.add_node(node)
        spinning = threading.Thread(target=executor.spin, daemon=True)
        spinning.start()
        sys.stdin.read()
        executor.shutdown()
        spinning.join()
        node.destroy_node()
    print(json.dumps(latencies))


if __name__ == "__main__":
    main()
