"""``compressed:=true``: a world model node in another process sees the rig through compressed images."""

import struct
from collections.abc import Callable, Iterator
from typing import Any

import cv2
import numpy as np
import pytest
from conftest import node_command
from rclpy.node import Node
from rig import Rig
from rig_ros import RigPublisher
from sensor_msgs.msg import CompressedImage, PointCloud2
from test_imagine import STAMP, Stage, listen_to_diagnostics

from fourd_ros.bridge.clouds import read_cloud
from fourd_ros.bridge.compressed_images import compress
from fourd_ros.bridge.times import stamp_to_ns
from fourd_ros.client import WorldModelClient
from fourd_ros.geometry.transforms import apply

IMAGE, DEPTH = "front/image/compressed", "front/depth/compressedDepth"
FARTHEST = 5.0
"""Depth beyond this is sent as unknown [m]."""


class CompressedRigPublisher(RigPublisher):
    """The rig behind ``image_transport``.

    Args:
        node: whose publishers these are.
        rig: the scene.
        image_format: ``jpeg`` or ``png``.
        depth_encoding: ``16UC1`` (mm) or ``32FC1`` (quantised inverse depth).
    """

    def __init__(self, node: Node, rig: Rig, *, image_format: str, depth_encoding: str) -> None:
        super().__init__(node, rig, cameras=("front",))
        for publisher in self.images.values():
            node.destroy_publisher(publisher)
        self.images = {topic: node.create_publisher(CompressedImage, topic, 5) for topic in (IMAGE, DEPTH)}
        self.image_format, self.depth_encoding = image_format, depth_encoding

    def messages(self, stamp_ns: int) -> dict[str, Any]:
        out = super().messages(stamp_ns)
        header = out.pop("front/image").header
        view = self.rig.view("front")
        out[IMAGE] = compress(view.rgb, self.image_format, header=header)
        out[DEPTH] = CompressedImage(
            header=out.pop("front/depth").header,
            format=f"{self.depth_encoding}; compressedDepth png",
            data=compressed_depth(view.points[..., 2], self.depth_encoding),
        )
        return out


def compressed_depth(depth: np.ndarray, encoding: str) -> bytes:
    """What ``compressed_depth_image_transport`` sends for a depth image [m], shape [H, W], NaN for unknown."""
    known = depth < FARTHEST
    if encoding == "16UC1":
        quantum_a = quantum_b = 0.0
        stored = 1000 * np.where(known, depth, 0)
    else:
        quantum_a = 100.0 * 101.0
        quantum_b = 1.0 - quantum_a / FARTHEST
        stored = np.where(known, quantum_a / depth + quantum_b, 0)
    png = cv2.imencode(".png", np.rint(stored).astype(np.uint16))[1].tobytes()
    return struct.pack("<iff", 0, quantum_a, quantum_b) + png


@pytest.fixture(params=[("jpeg", "16UC1"), ("png", "32FC1")], ids="-".join)
def stage(
    request: pytest.FixtureRequest, spin: Any, other_process: Any, wait_for: Callable[..., Any]
) -> Iterator[Stage]:
    image_format, depth_encoding = request.param
    node = spin(Node("test_client", use_global_arguments=False))
    command = node_command(
        "fourd_ros.nodes.world_model:WorldModelNode", "-p", "cameras:=[front]",
        compressed=True, diagnostics_period=0.2, image_reliability="reliable",
    )  # fmt: skip
    server = other_process(*command[1:])
    client = WorldModelClient(node)
    client.wait(timeout=30.0)
    publisher = CompressedRigPublisher(node, Rig(size=64), image_format=image_format, depth_encoding=depth_encoding)
    stage = Stage(
        node=node,
        client=client,
        publisher=publisher,
        server=server,
        start_server=lambda: server,
        wait_for=wait_for,
        counters=listen_to_diagnostics(node),
    )
    stage.observed()
    yield stage
    client.destroy()


def test_compressed_images_are_seen_as_they_were_and_broken_ones_lose_nothing(stage: Stage) -> None:
    _check_cloud(stage)
    for count, topic in enumerate((IMAGE, DEPTH), start=1):
        broken = stage.publisher.messages(STAMP + count)[topic]
        broken.data = b"no picture at all, but long enough"
        stage.publisher.publisher(topic).publish(broken)
        stage.wait_for(
            lambda n=count: stage.counters.get("invalid_image", 0) == n, f"{topic}: invalid_image {stage.counters}"
        )
        assert stage.ask(backend="kinematic").result(timeout=10.0)
    stage.observed(STAMP + 10**9)


def _check_cloud(stage: Stage) -> None:
    clouds: list[PointCloud2] = []
    stage.node.create_subscription(PointCloud2, "world_model/points", clouds.append, 5)
    stage.wait_for(lambda: clouds, "the live cloud")
    assert stamp_to_ns(clouds[0].header.stamp) == STAMP
    seen, truth = read_cloud(clouds[0]), stage.publisher.rig.view("front")
    known = truth.points[..., 2] < FARTHEST
    expected = apply(truth.T_world_camera, truth.points[known])
    assert len(seen["points"]) == len(expected) > 1000
    np.testing.assert_allclose(seen["points"], expected, atol=2e-3)
    difference = np.abs(seen["rgb"].astype(int) - truth.rgb[known])
    if stage.publisher.image_format == "png":
        assert not difference.any()
    else:
        assert difference.mean() < 8
