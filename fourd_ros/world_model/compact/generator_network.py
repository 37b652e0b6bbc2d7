"""A space-time transformer that turns guidance video into what a camera will see."""

import math
from collections.abc import Mapping, Sequence
from typing import Any, NamedTuple, Self

import torch
from torch import Tensor, nn
from torch.nn import functional

from fourd_ros.errors import InvalidModel
from fourd_ros.model_io.onnx_export import OnnxSignature
from fourd_ros.world_model.compact.clips import (
    CHANGE_CHANNELS,
    COLOURS,
    FIRST_CHANNELS,
    GAINS,
    GUIDANCE_CHANNELS,
    MEASURED,
    ROBOT,
    SHADED,
)
from fourd_ros.world_model.compact.generator import INPUTS, OUTPUTS

PREDICTED_CHANNELS = GAINS + CHANGE_CHANNELS
SHORTEST_PERIOD, FREQUENCIES = 0.05, 32
"""Of the waves that the flow time (0..1) is told in."""

MODULATIONS = 6
"""Shift, scale and gate before and after the attention and the perceptron of a layer."""


class Prediction(NamedTuple):
    """The end of the flow, as the network expects it from where it is.

    Args:
        change: to be added to the guidance: colours, and the logarithm of depth in `clips.DEPTH_UNIT`,
            shape [B, T, 4, S, S]; 0 on the robot, that of depth where it was measured.
        gains: how many times the brightness of the guidance is added in that change: everywhere, where it has come into
            a shadow, and where it has come out of one, shape [B, T, 3, S, S].
    """

    change: Tensor
    gains: Tensor


class VideoGeneratorNetwork(nn.Module):
    """One step of flow matching with prediction of the end.

    Patches of a few frames are tokens; the first frame is one more row of them in time. Layers attend within a frame
    (``s``) or along time in one place (``t``). The flow begins at the guidance with noise and ends at the video; a
    network that has not been trained predicts the guidance.

    Args:
        size: width and height of frames [pixels].
        steps: frames of a clip.
        patch: frames and pixels of a patch.
        width: features of a token.
        heads: of the attention.
        layers: what each layer attends to, a letter each.
        expansion: features of the perceptron, in `width`.

    Raises:
        InvalidModel: frames that patches do not fill, or layers of another kind.

    Source: Lipman et al. 2023, *Flow Matching for Generative Modeling*; Peebles and Xie 2023, *Scalable Diffusion
    Models with Transformers* (modulation by the flow time, here one for all layers with an offset each).
    """

    def __init__(
        self,
        *,
        size: int = 64,
        steps: int = 16,
        patch: Sequence[int] = (4, 8),
        width: int = 144,
        heads: int = 6,
        layers: str = "stst",
        expansion: int = 2,
    ) -> None:
        super().__init__()
        frames, pixels = patch
        if size % pixels or steps % frames or width % heads or not set(layers) <= {"s", "t"}:
            raise InvalidModel(
                f"{steps} frames of {size} x {size} pixels in patches of {frames} x {pixels} x {pixels}, {width} "
                f"features in {heads} heads, layers '{layers}'; needed are whole patches and heads, and 's' and 't'"
            )
        self.config: dict[str, Any] = {
            "size": size,
            "steps": steps,
            "patch": [frames, pixels],
            "width": width,
            "heads": heads,
            "layers": layers,
            "expansion": expansion,
        }
        self.size, self.steps = size, steps
        self._frames, self._pixels, self._side = frames, pixels, size // pixels
        volume = frames * pixels * pixels
        self.embed = nn.Linear((GUIDANCE_CHANNELS + CHANGE_CHANNELS) * volume, width)
        self.embed_first = nn.Linear(FIRST_CHANNELS * pixels * pixels, width)
        self.place = nn.Parameter(torch.randn(self._side**2, width) * 0.02)
        self.moment = nn.Parameter(torch.randn(steps // frames + 1, 1, width) * 0.02)
        self.flow_time = nn.Sequential(
            nn.Linear(2 * FREQUENCIES, width), nn.SiLU(), nn.Linear(width, MODULATIONS * width)
        )
        self.layers = nn.ModuleList([Layer(width, heads, expansion, along_time=kind == "t") for kind in layers])
        self.norm = nn.LayerNorm(width)
        self.head = nn.Linear(width, PREDICTED_CHANNELS * volume)
        nn.init.zeros_(self.flow_time[2].weight)
        nn.init.zeros_(self.flow_time[2].bias)
        nn.init.zeros_(self.head.weight)
        nn.init.zeros_(self.head.bias)

    @classmethod
    def from_config(cls, config: Mapping[str, Any]) -> Self:
        """The network of a ``config.json``."""
        return cls(**config)

    def onnx_signature(self) -> OnnxSignature:
        """How it is called, for the export."""
        return OnnxSignature(
            inputs=self._example(2),
            outputs=OUTPUTS,
            sizes={name: {0: "batch"} for name in INPUTS},
            others=(self._example(1),),
        )

    def _example(self, batch: int) -> dict[str, Tensor]:
        numbers = torch.Generator().manual_seed(batch)
        frame = (self.size, self.size)
        guidance = torch.randn(batch, self.steps, GUIDANCE_CHANNELS, *frame, generator=numbers)
        guidance[:, :, ROBOT:] = (guidance[:, :, ROBOT:] > 0).float()
        return {
            "guidance": guidance,
            "first": torch.randn(batch, FIRST_CHANNELS, *frame, generator=numbers),
            "flow": torch.randn(batch, self.steps, CHANGE_CHANNELS, *frame, generator=numbers),
            "time": torch.rand(batch, generator=numbers),
        }

    def forward(self, guidance: Tensor, first: Tensor, flow: Tensor, time: Tensor) -> Prediction:
        """Where the flow will end.

        Args:
            guidance: channels as in `clips.Clip.guidance`, shape [B, T, 12, S, S].
            first: the first frame, as in `clips.Clip.first`, shape [B, 6, S, S].
            flow: where the flow is, as a difference from the guidance, shape [B, T, 4, S, S].
            time: of the flow, 0 at the guidance with noise, 1 at the video, shape [B].
        """
        video = self.embed(self._patches(torch.cat([guidance, flow], dim=2), self._frames))
        start = self.embed_first(self._patches(first[:, None], 1))
        x = torch.cat([start, video], dim=1) + self.place + self.moment
        modulation = self.flow_time(_waves(time)).unflatten(-1, (MODULATIONS, 1, 1, -1))
        for layer in self.layers:
            x = layer(x, modulation)
        return self._prediction(self._images(self.head(self.norm(x[:, 1:]))), guidance)

    def _patches(self, images: Tensor, frames: int) -> Tensor:
        """Cut [B, T, C, S, S] into [B, T / frames, places, frames * C * pixels * pixels]."""
        cut = images.unflatten(4, (self._side, self._pixels)).unflatten(3, (self._side, self._pixels))
        return cut.unflatten(1, (-1, frames)).permute(0, 1, 4, 6, 2, 3, 5, 7).flatten(4).flatten(2, 3)

    def _images(self, patches: Tensor) -> Tensor:
        """Put [B, T / frames, places, frames * C * pixels * pixels] together to [B, T, C, S, S]."""
        cut = patches.unflatten(3, (self._frames, PREDICTED_CHANNELS, self._pixels, self._pixels))
        rows = cut.unflatten(2, (self._side, self._side)).permute(0, 1, 4, 5, 2, 6, 3, 7)
        return rows.flatten(6, 7).flatten(4, 5).flatten(1, 2)

    def _prediction(self, said: Tensor, guidance: Tensor) -> Prediction:
        gains, rest = said[:, :, :GAINS], said[:, :, GAINS:]
        shadows = guidance[:, :, SHADED : SHADED + 2]
        gain = gains[:, :, :1] + (gains[:, :, 1:] * shadows).sum(dim=2, keepdim=True)
        colour = rest[:, :, :COLOURS] + gain * (guidance[:, :, :COLOURS] + 1)
        free = 1 - guidance[:, :, MEASURED : MEASURED + 1]
        change = torch.cat([colour, rest[:, :, COLOURS:] * free], dim=2)
        return Prediction(change * (1 - guidance[:, :, ROBOT : ROBOT + 1]), gains)


class Layer(nn.Module):
    """Attention and a perceptron, each modulated by the flow time."""

    def __init__(self, width: int, heads: int, expansion: int, *, along_time: bool) -> None:
        super().__init__()
        self._heads, self._along_time = heads, along_time
        self.offset = nn.Parameter(torch.zeros(MODULATIONS, 1, 1, width))
        self.attention_norm = nn.LayerNorm(width, elementwise_affine=False)
        self.attention_in = nn.Linear(width, 3 * width)
        self.attention_out = nn.Linear(width, width)
        self.perceptron_norm = nn.LayerNorm(width, elementwise_affine=False)
        self.perceptron = nn.Sequential(
            nn.Linear(width, expansion * width), nn.GELU(approximate="tanh"), nn.Linear(expansion * width, width)
        )

    def forward(self, x: Tensor, modulation: Tensor) -> Tensor:
        """Shape [B, rows in time, places, width] as given; `modulation` has the shape [B, 6, 1, 1, width]."""
        shift, scale, gate, later_shift, later_scale, later_gate = (modulation + self.offset).unbind(1)
        attended = self._attend(self.attention_norm(x) * (1 + scale) + shift)
        x = x + (1 + gate) * attended
        told: Tensor = self.perceptron(self.perceptron_norm(x) * (1 + later_scale) + later_shift)
        return x + (1 + later_gate) * told

    def _attend(self, x: Tensor) -> Tensor:
        if self._along_time:
            x = x.transpose(1, 2)
        split = self.attention_in(x).unflatten(-1, (3, self._heads, -1))
        query, key, value = split.permute(3, 0, 1, 4, 2, 5).flatten(1, 2).unbind(0)
        mixed = functional.scaled_dot_product_attention(query, key, value)
        y: Tensor = self.attention_out(mixed.transpose(1, 2).flatten(2).unflatten(0, (-1, x.shape[1])))
        return y.transpose(1, 2) if self._along_time else y


def _waves(time: Tensor) -> Tensor:
    """Sines and cosines of the flow time [B], shape [B, 2 * FREQUENCIES]."""
    powers = torch.linspace(0, 1, FREQUENCIES, dtype=time.dtype, device=time.device)
    phases = time[:, None] * (2 * math.pi / SHORTEST_PERIOD**powers)
    return torch.cat([phases.sin(), phases.cos()], dim=1)
