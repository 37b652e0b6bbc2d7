"""Published checkpoints of PartRM and LGM, for ``fourd convert partrm`` and its likes."""

import re
from collections.abc import Callable, Mapping
from typing import Any

from fourd_ros.errors import InvalidCheckpoint
from fourd_ros.model_io.card import ModelCard
from fourd_ros.model_io.checkpoint_reader import Checkpoint
from fourd_ros.model_io.conversion_rules import Converter, Drop, Network, Rule

COMPONENT = "network"
FAMILIES: dict[str, dict[str, Any]] = {
    "partdrag4d": {"colours": "imagenet", "cam_radius": 2.4, "num_drags": 10},
    "objaverse_hq": {"colours": "plain", "cam_radius": 2.5, "num_drags": 5},
    "lgm": {"colours": "imagenet", "cam_radius": 1.5, "num_drags": 0},
}
"""How each of the published checkpoints wants its input."""

WRAPPERS = ("state_dict.", "model.", "module.")

_TERMS = (
    "PartRM (github.com/GasaiYU/PartRM): the repository and its weights came without a licence file when this was "
    "written; read what stands beside the files that you fetch. Until then this counts as not for commercial use.",
    "LGM, from which it was trained: MIT.",
)


def _networks(family: str) -> Callable[[Checkpoint], Mapping[str, Network]]:
    def networks(checkpoint: Checkpoint) -> Mapping[str, Network]:
        shapes = {tensor.name: tensor.shape for tensor in checkpoint.tensors}
        config = {**_sizes(shapes, str(checkpoint.path)), **FAMILIES[family]}
        return {COMPONENT: Network(class_name="PartNetwork", config=config)}

    return networks


def _sizes(shapes: Mapping[str, tuple[int, ...]], source: str) -> dict[str, Any]:
    """Levels, channels and attention, from the names of weights."""
    down, up = _levels(shapes, "down_blocks"), _levels(shapes, "up_blocks")
    if not down or not up or "unet.conv_in.weight" not in shapes:
        raise InvalidCheckpoint(f"'{source}' holds no U-Net of PartRM; needed are weights such as unet.conv_in.weight")
    return {
        "down_channels": [channels for channels, _ in down],
        "down_attention": [attention for _, attention in down],
        "mid_attention": any(name.startswith("unet.mid_block.attns.") for name in shapes),
        "up_channels": [channels for channels, _ in up],
        "up_attention": [attention for _, attention in up],
        "drags": any(name.startswith("unet.drag_position_net.") for name in shapes),
    }


def _levels(shapes: Mapping[str, tuple[int, ...]], blocks: str) -> list[tuple[int, bool]]:
    """Channels of each level and whether it has attention."""
    found: dict[int, int] = {}
    for name, shape in shapes.items():
        if match := re.fullmatch(rf"unet\.{blocks}\.(\d+)\.nets\.0\.conv1\.weight", name):
            found[int(match[1])] = shape[0]
    prefixes = {level: f"unet.{blocks}.{level}.attns." for level in found}
    return [(found[level], any(name.startswith(prefixes[level]) for name in shapes)) for level in sorted(found)]


def _converter(system: str, family: str, summary: str, purpose: str) -> Converter:
    return Converter(
        system=system,
        summary=summary,
        model_class="PartDynamics",
        networks=_networks(family),
        rules=(
            Drop(r"lpips_loss\..+", "the perceptual loss of its training"),
            Rule(COMPONENT, r"(.+)", r"\1"),
        ),
        card=ModelCard(
            name=system,
            system="partrm",
            purpose=purpose,
            licence="terms of the checkpoint that was converted",
            non_commercial=True,
            upstream_terms=_TERMS,
            data="PartDrag-4D, Objaverse-Animation-HQ (arXiv 2503.19913).",
            limits="Four views like those of its training; one object before a white background.",
        ),
        wrappers=WRAPPERS,
    )


CONVERTER = _converter(
    "partrm",
    "partdrag4d",
    "PartRM for articulated furniture, SRC is partdrag4d.ckpt",
    "Gaussians of a piece of furniture after a drag at one of its parts, from four posed views.",
)
OBJAVERSE_CONVERTER = _converter(
    "partrm_objaverse",
    "objaverse_hq",
    "PartRM for animated objects, SRC is objaverse_hq.ckpt",
    "Gaussians of an animated object after a drag, from four posed views.",
)
LGM_CONVERTER = _converter(
    "lgm",
    "lgm",
    "LGM, which PartRM stands on, SRC is model_fp16.safetensors",
    "Gaussians of an object as it is, from four posed views.",
)
