"""A frame of a stream as a network without a memory of its own, for ONNX: what is remembered goes in and comes out.

The policy is that of `KeepWindow`: the first frame and the last ones. Places of frames are fixed, so that one graph
does for every frame: a mask hides those that nothing is in yet.
"""

from dataclasses import dataclass

import torch
from torch import Tensor, nn
from torch.nn.functional import scaled_dot_product_attention

from fourd_ros.errors import InvalidModel
from fourd_ros.model_io.onnx_export import OnnxSignature
from fourd_ros.scene_language.aggregator import FrameTokens
from fourd_ros.scene_language.dense_head import depth_and_confidence
from fourd_ros.scene_language.geometry_network import GeometryNetwork
from fourd_ros.scene_language.language_head import LanguageHead

OUTPUTS = ("pose", "depth", "confidence", "layers", "tokens_after", "camera_after")
FRAMES = 7
HIGH = 0.8
"""Height of images over their width where nobody says it: that of the sequences of `fourd data scenes`."""


class StreamStep(nn.Module):
    """A frame of a stream with its memory as tensors.

    Args:
        network: with a camera and a depth head.
        size: rows and columns of images, multiples of a patch; None for as wide as the network was made for.
        frames: see `KeepWindow`.

    Attributes:
        special: tokens before those of patches.

    Raises:
        InvalidModel: the network lacks a head.
    """

    def __init__(self, network: GeometryNetwork, *, size: tuple[int, int] | None = None, frames: int = FRAMES) -> None:
        super().__init__()
        if network.camera_head is None or network.depth_head is None:
            raise InvalidModel("the network has no camera or no depth head, which a step of a stream needs")
        sizes = network.sizes
        rows = max(1, round(HIGH * sizes.img_size / sizes.patch_size)) * sizes.patch_size
        self.network, self.frames = network, frames
        self.size = (rows, sizes.img_size) if size is None else size
        self.special = 1 + sizes.register_tokens
        self._order = sorted(network.layers)
        self._camera, self._depth = network.camera_head, network.depth_head

    def memory(self) -> dict[str, Tensor]:
        """What a stream begins with."""
        sizes = self.network.sizes
        patches = (self.size[0] // sizes.patch_size) * (self.size[1] // sizes.patch_size)
        tokens, places = self.special + patches, 1 + self.frames
        blocks = self._camera.iterations * sizes.camera_depth
        shapes = {
            "tokens": (sizes.depth, 2, sizes.num_heads, places, tokens, sizes.embed_dim // sizes.num_heads),
            "camera": (blocks, 2, sizes.camera_heads, places, 1, 2 * sizes.embed_dim // sizes.camera_heads),
        }
        return {name: torch.zeros(shape) for name, shape in shapes.items()}

    def onnx_signature(self) -> OnnxSignature:
        """How it is called, for the export: the first frame, and one when the oldest is being forgotten."""
        numbers = torch.Generator().manual_seed(0)
        examples = [
            {
                "image": torch.rand(1, 3, *self.size, generator=numbers),
                "count": torch.tensor([count]),
                **{
                    name: torch.randn(zeros.shape, generator=numbers) * (count > 0)
                    for name, zeros in self.memory().items()
                },
            }
            for count in (0, 2, self.frames + 3)
        ]
        with torch.no_grad():
            self(**examples[0])  # places of pixels are computed once and kept; not while the exporter watches
        return OnnxSignature(inputs=examples[0], outputs=OUTPUTS, others=examples[1:])

    def forward(
        self, image: Tensor, count: Tensor, tokens: Tensor, camera: Tensor
    ) -> tuple[Tensor, Tensor, Tensor, Tensor, Tensor, Tensor]:
        """The next frame.

        Args:
            image: 0..1, shape [1, 3, H, W].
            count: frames that came before, shape [1], int64.
            tokens: memory of the global blocks, shape [depth, 2, heads, 1 + frames, P, d].
            camera: memory of the camera head, shape [iterations * blocks, 2, heads, 1 + frames, 1, d].

        Returns:
            ``pose`` [1, 9], ``depth`` and ``confidence`` [1, H, W], ``layers`` [4 or fewer, 1, 1, P, 2 C] for
            `LanguageFrame`, and both memories for the next frame.
        """
        network, trunk = self.network, len(self._camera.trunk)
        wholes = [_Look(memory, count) for memory in tokens]
        refining = [_Look(memory, count) for memory in camera]
        said = network.aggregator.look(image, looks=wholes, first=count == 0, layers=network.layers)
        rounds = [refining[begin : begin + trunk] for begin in range(0, len(refining), trunk)]
        pose = self._camera.refined(said.camera, rounds)[-1, :, 0]
        depth, confidence = depth_and_confidence(self._depth(said))
        return (
            pose,
            depth[:, 0, ..., 0],
            confidence[:, 0],
            torch.stack([said.layers[layer] for layer in self._order]),
            torch.stack([look.after() for look in wholes]),
            torch.stack([look.after() for look in refining]),
        )


class LanguageFrame(nn.Module):
    """The language head of a frame, for ONNX.

    Args:
        head: that is asked.
        special: tokens before those of patches.
        size: rows and columns of images.
    """

    def __init__(self, head: LanguageHead, *, special: int, size: tuple[int, int]) -> None:
        super().__init__()
        self.head, self._special, self._size = head, special, size
        self._order = sorted(set(head.sizes.dpt_layers))

    def onnx_signature(self) -> OnnxSignature:
        """How it is called, for the export."""
        sizes = self.head.sizes
        patches = (self._size[0] // sizes.patch_size) * (self._size[1] // sizes.patch_size)
        shape = (len(self._order), 1, 1, self._special + patches, sizes.dim_in)
        layers = torch.randn(shape, generator=torch.Generator().manual_seed(0))
        return OnnxSignature(inputs={"layers": layers}, outputs=("features",))

    def forward(self, layers: Tensor) -> Tensor:
        """Features [3, c, H, W] of the ``layers`` that `StreamStep` gives."""
        tokens = FrameTokens(
            layers=dict(zip(self._order, layers, strict=True)),
            camera=layers[-1][:, :, 0],
            special=self._special,
            image_size=self._size,
        )
        features: Tensor = self.head(tokens).features[0, 0]
        return features


@dataclass(eq=False)
class _Look:
    """The tokens of a frame look at their own and at remembered ones, and are remembered then.

    Args:
        memory: keys and values, shape [2, heads, places, P, d].
        count: frames that came before, shape [1].
    """

    memory: Tensor
    count: Tensor

    def __call__(self, queries: Tensor, keys: Tensor, values: Tensor) -> Tensor:
        self._new = torch.cat([keys, values])
        places, tokens = self.memory.shape[2:4]
        known = (torch.arange(places, device=keys.device) < self.count)[:, None].expand(places, tokens).flatten()
        seen = torch.cat([known, known.new_ones(tokens)])[None, None, None]
        both = torch.cat([self.memory.flatten(2, 3), self._new], dim=2)
        return scaled_dot_product_attention(queries, both[None, 0], both[None, 1], attn_mask=seen)

    def after(self) -> Tensor:
        """The memory with this frame: at the next free place, or that of the oldest but the first."""
        places = self.memory.shape[2]
        ring = 1 + (self.count - 1).remainder(places - 1)
        place = torch.where(self.count == 0, 0, ring)
        here = (torch.arange(places, device=place.device) == place)[:, None, None]
        return torch.where(here, self._new[:, :, None], self.memory)
