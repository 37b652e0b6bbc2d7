"""Small networks of scene language, and clips for them."""

import torch
from torch import Tensor, nn

from fourd_ros.scene_language.geometry_network import GeometryNetwork
from fourd_ros.scene_language.language_head import LanguageHead
from fourd_ros.scene_language.sizes import GeometrySizes, LanguageSizes

LAYERS = (0, 1, 2, 2)
CHANNELS = (4, 8, 8, 12)

SIZES = GeometrySizes(
    img_size=56,
    embed_dim=16,
    depth=3,
    num_heads=2,
    mlp_ratio=2.0,
    register_tokens=2,
    vit_depth=1,
    vit_heads=4,
    camera_depth=2,
    camera_heads=2,
    camera_iterations=3,
    dpt_features=8,
    dpt_channels=CHANNELS,
    dpt_layers=LAYERS,
    track_features=8,
    track_hidden=16,
    track_depth=1,
    track_heads=2,
    track_virtual=3,
    track_levels=2,
    track_radius=1,
)
LANGUAGE = LanguageSizes(dim_in=32, features=8, hidden_dim=4, dpt_channels=CHANNELS, dpt_layers=LAYERS)

HEIGHT, WIDTH, TOKENS = 42, 56, 1 + 2 + 3 * 4
"""Of a clip, and of a frame of it."""


def lively(network: nn.Module, seed: int = 0) -> nn.Module:
    """The network with weights so large that every part of it matters."""
    torch.manual_seed(seed)
    with torch.no_grad():
        for name, parameter in network.named_parameters():
            if name.endswith("gamma"):
                parameter.fill_(0.5)
            elif parameter.ndim > 1:
                parameter.normal_(0, 1 / parameter[0].numel() ** 0.5)
            elif "norm" not in name:
                parameter.normal_(0, 0.1)
    return network.eval()


def small_geometry() -> GeometryNetwork:
    """With all heads."""
    network = lively(GeometryNetwork(SIZES))
    assert isinstance(network, GeometryNetwork)
    return network


def small_language() -> LanguageHead:
    """That reads the tokens of `small_geometry`."""
    head = lively(LanguageHead(LANGUAGE), seed=1)
    assert isinstance(head, LanguageHead)
    return head


def clips(batch: int, frames: int, *, height: int = HEIGHT, width: int = WIDTH) -> Tensor:
    """Images 0..1, shape [batch, frames, 3, height, width]."""
    return torch.rand(batch, frames, 3, height, width, generator=torch.Generator().manual_seed(frames))
