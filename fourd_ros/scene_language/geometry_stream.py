"""Frames one by one: what the network says about each, remembering earlier ones as a policy wants."""

from collections.abc import Callable
from dataclasses import dataclass

import torch
from torch import Tensor

from fourd_ros.errors import InvalidModel
from fourd_ros.scene_language.aggregator import FrameTokens
from fourd_ros.scene_language.dense_head import DenseHead, depth_and_confidence, points_and_confidence
from fourd_ros.scene_language.geometry_network import GeometryNetwork
from fourd_ros.scene_language.token_cache import CachePolicy, KeepWindow, LayerCache


@dataclass(frozen=True, kw_only=True, eq=False)
class GeometryFrame:
    """What the network says about a frame of B streams; lengths are in a unit of its own.

    Args:
        tokens: for other heads, S = 1.
        pose: see `pose_encoding`, in the frame of the first camera, shape [B, 9].
        depth: shape [B, H, W]; None where the network has no such head.
        depth_confidence: above 1, the same shape.
        points: in the frame of the first camera, shape [B, H, W, 3]; None as `depth`, or where they are not asked for.
        points_confidence: above 1, shape [B, H, W].
    """

    tokens: FrameTokens
    pose: Tensor
    depth: Tensor | None
    depth_confidence: Tensor | None
    points: Tensor | None
    points_confidence: Tensor | None


class GeometryStream:
    """B streams of images that go on together.

    Args:
        network: with a camera head, in evaluation mode.
        policy: what is remembered.
        points: ask the point head too, which says again what depth and pose say.
        official_compat: all iterations of the camera head share what they remember, as in the original, whose poses
            then differ from those of a whole clip. Without it they do not, and are the same.

    Raises:
        InvalidModel: the network has no camera head.
    """

    def __init__(
        self,
        network: GeometryNetwork,
        *,
        policy: CachePolicy | None = None,
        points: bool = False,
        official_compat: bool = False,
    ) -> None:
        if network.camera_head is None:
            raise InvalidModel("the network has no camera head, which a stream needs")
        self.network, self._camera = network, network.camera_head
        self._policy = KeepWindow() if policy is None else policy
        self._point_head = network.point_head if points else None
        self._official = official_compat
        self.reset()

    def reset(self) -> None:
        """Forget everything; the next frame is the first one."""
        self.frames = 0
        self.token_caches = [self._policy.token_cache(layer) for layer in range(self.network.sizes.depth)]
        blocks, rounds = range(len(self._camera.trunk)), self._camera.iterations
        if self._official:
            shared = [self._policy.camera_cache(entries=rounds) for _ in blocks]
            self.camera_caches: list[list[LayerCache]] = [shared] * rounds
        else:
            self.camera_caches = [[self._policy.camera_cache(entries=1) for _ in blocks] for _ in range(rounds)]

    @property
    def byte_count(self) -> int:
        """Memory that earlier frames take."""
        caches = {id(cache): cache for cache in self._caches()}
        return sum(cache.byte_count for cache in caches.values())

    @torch.inference_mode()
    def step(self, images: Tensor) -> GeometryFrame:
        """The next frame; if it fails, the stream is reset.

        Args:
            images: 0..1, shape [B, 3, H, W], B, H and W the same in all frames.

        Raises:
            InvalidImage: another shape; after a change of resolution, reset the stream.
        """
        try:
            frame = self._step(images)
        except BaseException:
            self.reset()
            raise
        self.frames += 1
        return frame

    def _step(self, images: Tensor) -> GeometryFrame:
        network = self.network
        tokens = network.aggregator.step(
            images, caches=self.token_caches, first=self.frames == 0, layers=network.layers
        )
        pose = self._camera.step(tokens.camera, caches=self.camera_caches)[-1, :, 0]
        for cache in self._caches():
            cache.settle()
        depth, depth_confidence = _said(network.depth_head, depth_and_confidence, tokens)
        points, points_confidence = _said(self._point_head, points_and_confidence, tokens)
        return GeometryFrame(
            tokens=tokens,
            pose=pose,
            depth=None if depth is None else depth[..., 0],
            depth_confidence=depth_confidence,
            points=points,
            points_confidence=points_confidence,
        )

    def _caches(self) -> list[LayerCache]:
        return [*self.token_caches, *(cache for blocks in self.camera_caches for cache in blocks)]


def _said(
    head: DenseHead | None, meaning: Callable[[Tensor], tuple[Tensor, Tensor]], tokens: FrameTokens
) -> tuple[Tensor, Tensor] | tuple[None, None]:
    """What a head says of the one frame, and how sure it is."""
    if head is None:
        return None, None
    values, confidence = meaning(head(tokens))
    return values[:, 0], confidence[:, 0]
