"""The base that Kinema4D stands on: a Wan image-to-video folder in the layout of diffusers."""

import re
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from fourd_ros.errors import InvalidModel
from fourd_ros.model_io.weight_views import GivenWeights, JoinedWeights, RenamedWeights
from fourd_ros.model_io.weights import Weights
from fourd_ros.world_model.kinema4d.adapter import is_added
from fourd_ros.world_model.kinema4d.layout import INPUT_CHANNELS, LATENT_CHANNELS, PATCH, Variant
from fourd_ros.world_model.kinema4d.transformer import Kinema4DTransformer, TransformerConfig

UNUSED = (
    (r"condition_embedder\.text_embedder\..+", "the text has no effect on the output"),
    (r".+\.norm_added_q\..+", "the image's branch has no queries of its own"),
)
"""Patterns of weights of Wan that are left out, and why."""

_COPIED = (
    *("num_attention_heads", "attention_head_dim", "num_layers", "ffn_dim", "freq_dim", "image_dim", "eps"),
    "rope_max_seq_len",
)


def config_of_wan(
    wan: Mapping[str, Any], path: Path, *, variant: Variant, robot: Mapping[str, tuple[int, ...]] | None = None
) -> TransformerConfig:
    """Sizes of the transformer over a Wan transformer.

    Args:
        wan: its ``config.json``.
        path: of it, for messages.
        variant: what of the robot is shown.
        robot: shapes of the added weights by name, which tell the grid; None for that of the published network.

    Raises:
        InvalidModel: it is not an image-to-video transformer of the kind that Kinema4D stands on.
    """
    heads, head_dim = wan.get("num_attention_heads"), wan.get("attention_head_dim")
    needed = {
        "patch_size": [1, PATCH, PATCH],
        "in_channels": INPUT_CHANNELS,
        "out_channels": LATENT_CHANNELS,
        "cross_attn_norm": True,
        "qk_norm": "rms_norm_across_heads",
        "pos_embed_seq_len": None,
        "added_kv_proj_dim": None if heads is None or head_dim is None else heads * head_dim,
    }
    wrong = [f"{key} is {wan.get(key)!r}, needed {value!r}" for key, value in needed.items() if wan.get(key) != value]
    wrong += [f"{key} is missing" for key in _COPIED if key not in wan]
    if wrong:
        raise InvalidModel(f"'{path}' is no Wan image-to-video transformer: {'; '.join(wrong)}")
    return TransformerConfig(variant=variant, **{key: wan[key] for key in _COPIED}, **_grid(robot, path))


def weights_over_wan(wan: Weights, network: Kinema4DTransformer, added: Weights | None) -> Weights:
    """All weights of the transformer: Wan's, added ones where there are some, else those with which training begins."""

    def kept(name: str) -> str | None:
        return None if any(re.fullmatch(pattern, name) for pattern, _ in UNUSED) else name

    base = RenamedWeights(wan, kept)
    begun = {name: tensor for name, tensor in _fresh_robot(network).items() if name not in base}
    parts: list[Weights] = [base, GivenWeights(begun, wan.path)]
    return JoinedWeights(*parts, *([] if added is None else [added]))


def _fresh_robot(network: Kinema4DTransformer) -> dict[str, Any]:
    """Added weights with the values with which training begins; `network` itself may have no values."""
    small = Kinema4DTransformer(TransformerConfig(**{**vars(network.settings), "num_layers": 0}))
    small.begin_robot_weights()
    return {name: tensor.detach() for name, tensor in small.named_parameters() if is_added(name)}


def _grid(robot: Mapping[str, tuple[int, ...]] | None, path: Path) -> dict[str, Any]:
    if robot is None:
        return {}
    try:
        _, _, frames, rows, columns = robot["arm_pos_emb"]
        _, _, _, high, wide = robot["patch_embedding_arm.weight"]
    except (KeyError, ValueError) as error:
        shapes = {name: list(robot[name]) for name in ("arm_pos_emb", "patch_embedding_arm.weight") if name in robot}
        raise InvalidModel(
            f"'{path}': the added weights tell no grid: needed are arm_pos_emb [1, channels, frames, rows, columns] "
            f"and patch_embedding_arm.weight [channels, 20, 1, rows, columns], found {shapes}"
        ) from error
    return {"frames": frames, "rows": rows * high, "columns": columns * wide, "robot_patch": (high, wide)}


def shapes_of(weights: Weights) -> dict[str, tuple[int, ...]]:
    """Shapes by name."""
    return {name: weights.shape(name) for name in weights.names}
