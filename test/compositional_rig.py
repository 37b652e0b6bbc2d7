"""A tiny COM4D in the layout of its published checkpoints, made of the golden vectors, and clips for it."""

from functools import cache
from pathlib import Path

import numpy as np
import torch
from torch import Tensor

from fourd_ros.compositional.checkpoints import load_checkpoints
from fourd_ros.compositional.model import CompositionalObjects
from fourd_ros.compositional.object_clip import ObjectClip
from fourd_ros.compositional.options import MotionOptions, ObjectOptions, SceneOptions
from fourd_ros.compositional.sizes import TransformerSizes
from fourd_ros.compositional.transformer import CompositionalTransformer

GOLDEN = Path(__file__).parent / "golden" / "com4d"
TRIPOSG, COM4D = GOLDEN / "weights" / "TripoSG", GOLDEN / "weights" / "COM4D"
TOKENS, SEEN = 3, 2
"""Latent and image tokens of an item."""


@cache
def tiny_model() -> CompositionalObjects:
    """The networks of the vectors."""
    return load_checkpoints(TRIPOSG, COM4D, allow_noncommercial=True)


def small_sizes(**changes: object) -> TransformerSizes:
    """Of a network that is quick, with an even number of blocks and one that is in no list."""
    given: dict[str, object] = {
        "num_attention_heads": 2,
        "width": 8,
        "in_channels": 3,
        "num_layers": 6,
        "cross_attention_dim": 5,
        "max_num_parts": 4,
        "max_num_frames": 6,
        "enable_static_embedding": True,
        "enable_dynamic_embedding": True,
        "spatial_global_attn_block_ids": (0, 2, 5),
        "temporal_global_attn_block_ids": (0, 1, 3),
    }
    return TransformerSizes(**(given | changes))  # type: ignore[arg-type]


def small_transformer(seed: int = 0, **changes: object) -> CompositionalTransformer:
    """With weights, biases and tables that all matter."""
    network = CompositionalTransformer(small_sizes(**changes)).eval()
    generator = torch.Generator().manual_seed(seed)
    with torch.no_grad():
        for parameter in network.parameters():
            parameter.normal_(std=0.5, generator=generator)
    return network


def normal(*shape: int, seed: int = 0) -> Tensor:
    """Numbers that are always the same."""
    return torch.randn(shape, generator=torch.Generator().manual_seed(seed))


def small_clip(*, frames: int = 3, moving: int = 2, side: int = 56) -> ObjectClip:
    """Squares that move through noise."""
    rng = np.random.default_rng(0)
    masks = np.zeros((moving, frames, side, side), np.uint8)
    for number in range(moving):
        for frame in range(frames):
            masks[number, frame, 8 * frame : 8 * frame + 20, 20 * number : 20 * number + 18] = 255
    return ObjectClip(frames=rng.integers(0, 256, (frames, side, side, 3), np.uint8), masks=masks)


def quick(**changes: object) -> ObjectOptions:
    """Options with few steps."""
    given: dict[str, object] = {
        "static_objects": 1,
        "tokens": 4,
        "scene": SceneOptions(steps=2, mixed_steps=2),
        "motion": MotionOptions(steps=2, mix_cutoff=0, block=2, memory=3),
    }
    return ObjectOptions(**(given | changes))  # type: ignore[arg-type]
