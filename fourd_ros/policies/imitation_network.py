"""The network of the learned policy: a small transformer that answers with a chunk of the gripper's motion."""

import math
from collections.abc import Mapping
from typing import Any, NamedTuple, Self

import torch
from torch import Tensor, nn
from torch.nn import functional

from fourd_ros.model_io.onnx_export import OnnxSignature
from fourd_ros.policies.imitation_inputs import OTHER_POINTS, STATE_SIZE, TARGET_POINTS

POINT_SIZE = 5
ACTION_SIZE = 6
OUTPUTS = ("actions", "preference")


class Chunks(NamedTuple):
    """Some ways to go on, of which one is preferred.

    Args:
        actions: of the gripper at every step, in the frame and units of `network_inputs`: position (3), cosine and
            sine of twice the angle in which the fingers close (2), logit of being closed (1), shape [B, M, T, 6].
        preference: logits, shape [B, M].
    """

    actions: Tensor
    preference: Tensor


class ImitationNetwork(nn.Module):
    """Steps of the chunk look at each other and at the points, like the decoder of a transformer.

    Where the fingers go is said partly from where the target is and partly from where they are; how much of each is
    decided at every step.

    Args:
        width: features of a token, a multiple of `heads`.
        layers: of the transformer.
        heads: of its attention.
        steps: of a chunk, T.
        ways: chunks to choose from, M: what a demonstration does is often one of several equally good things.
    """

    def __init__(self, *, width: int = 64, layers: int = 3, heads: int = 4, steps: int = 12, ways: int = 3) -> None:
        super().__init__()
        self.width, self.heads, self.steps, self.ways = width, heads, steps, ways
        self.points = nn.Sequential(nn.Linear(POINT_SIZE, width), nn.GELU(), nn.Linear(width, width))
        self.state = nn.Sequential(nn.Linear(STATE_SIZE, width), nn.GELU(), nn.Linear(width, width))
        self.queries = nn.Parameter(torch.randn(1 + steps, width) / math.sqrt(width))
        self.layers = nn.ModuleList([Layer(width, heads) for _ in range(layers)])
        self.last = nn.LayerNorm(width)
        self.motion = nn.Linear(width, ways * (ACTION_SIZE + 1))
        self.preference = nn.Linear(width, ways)

    @classmethod
    def from_config(cls, config: Mapping[str, Any]) -> Self:
        """The network of a ``config.json``."""
        return cls(**config)

    @property
    def config(self) -> dict[str, Any]:
        """What `from_config` needs."""
        return {
            "width": self.width,
            "layers": len(self.layers),
            "heads": self.heads,
            "steps": self.steps,
            "ways": self.ways,
        }

    def onnx_signature(self) -> OnnxSignature:
        """How it is called, for the export."""
        numbers = torch.Generator().manual_seed(0)
        points = torch.randn(1, TARGET_POINTS + OTHER_POINTS, POINT_SIZE, generator=numbers)
        state = torch.randn(1, STATE_SIZE, generator=numbers)
        return OnnxSignature(inputs={"points": points, "state": state}, outputs=OUTPUTS)

    def forward(self, points: Tensor, state: Tensor) -> Chunks:
        """Ways to go on.

        Args:
            points: shape [B, P, 5], see `network_inputs`.
            state: shape [B, STATE_SIZE].
        """
        memory = self.points(points)
        tokens = self.queries + self.state(state)[:, None]
        for layer in self.layers:
            tokens = layer(tokens, memory)
        tokens = self.last(tokens)
        said = self.motion(tokens[:, 1:]).unflatten(-1, (self.ways, ACTION_SIZE + 1)).transpose(1, 2)
        here = functional.pad(state[:, None, None, :5], (0, 1))
        actions = said[..., :ACTION_SIZE] + torch.sigmoid(said[..., ACTION_SIZE:]) * here
        return Chunks(actions, self.preference(tokens[:, 0]))


class Layer(nn.Module):
    """Tokens look at each other, then at the points, then think.

    Args:
        width: features of a token.
        heads: of the attention.
    """

    def __init__(self, width: int, heads: int) -> None:
        super().__init__()
        self.among = Attention(width, heads)
        self.at_points = Attention(width, heads)
        self.think = nn.Sequential(nn.Linear(width, 4 * width), nn.GELU(), nn.Linear(4 * width, width))
        self.before_among, self.before_points, self.before_thinking = (nn.LayerNorm(width) for _ in range(3))

    def forward(self, tokens: Tensor, memory: Tensor) -> Tensor:
        normal = self.before_among(tokens)
        tokens = tokens + self.among(normal, normal)
        tokens = tokens + self.at_points(self.before_points(tokens), memory)
        thought: Tensor = self.think(self.before_thinking(tokens))
        return tokens + thought


class Attention(nn.Module):
    """Attention with several heads.

    Args:
        width: features of a token.
        heads: a divisor of it.
    """

    def __init__(self, width: int, heads: int) -> None:
        super().__init__()
        self.heads = heads
        self.query = nn.Linear(width, width)
        self.key_value = nn.Linear(width, 2 * width)
        self.out = nn.Linear(width, width)

    def forward(self, tokens: Tensor, memory: Tensor) -> Tensor:
        query = self.query(tokens).unflatten(-1, (self.heads, -1)).transpose(1, 2)
        keys, values = self.key_value(memory).unflatten(-1, (2 * self.heads, -1)).transpose(1, 2).chunk(2, dim=1)
        found = functional.scaled_dot_product_attention(query, keys, values)
        told: Tensor = self.out(found.transpose(1, 2).flatten(2))
        return told
