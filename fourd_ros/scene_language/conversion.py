"""Published checkpoints of StreamVGGT, 4DLangVGGT and the autoencoders of 4D LangSplat, for ``fourd convert``."""

import re
from collections.abc import Mapping
from typing import Any

from fourd_ros.errors import InvalidCheckpoint
from fourd_ros.model_io.card import ModelCard
from fourd_ros.model_io.checkpoint_reader import Checkpoint
from fourd_ros.model_io.conversion_rules import Converter, Drop, Network, Rule

GEOMETRY, LANGUAGE, CODEC = "geometry", "language", "codec"
"""Components of a `SceneLanguage`."""

PUBLISHED_DEPTH = 24
"""Which layers the heads read is in no file; it is known for networks of this depth."""

Shapes = Mapping[str, tuple[int, ...]]

_LICENCE = "terms of the checkpoint that was converted"
_STREAMVGGT = (
    "StreamVGGT (github.com/wzzheng/StreamVGGT): distilled from VGGT-1B, whose weights (Meta) are not for commercial "
    "use; whatever its own licence says, what contains it or was trained on its tokens is not either."
)


def _geometry(checkpoint: Checkpoint) -> Mapping[str, Network]:
    shapes, source = _shapes(checkpoint), str(checkpoint.path)
    aggregator = "aggregator"
    try:
        patches = shapes[f"{aggregator}.patch_embed.patch_embed.proj.weight"]
        grid = shapes[f"{aggregator}.patch_embed.pos_embed"][1] - 1
        channels, patch_size = patches[0], patches[2]
        heads = channels // shapes[f"{aggregator}.global_blocks.0.attn.k_norm.weight"][0]
        config: dict[str, Any] = {
            "img_size": round(grid**0.5) * patch_size,
            "patch_size": patch_size,
            "embed_dim": channels,
            "depth": _count(shapes, rf"{aggregator}\.global_blocks\.(\d+)\."),
            "num_heads": heads,
            "mlp_ratio": shapes[f"{aggregator}.global_blocks.0.mlp.fc1.weight"][0] / channels,
            "register_tokens": shapes[f"{aggregator}.register_token"][2],
            "vit_depth": _count(shapes, rf"{aggregator}\.patch_embed\.blocks\.(\d+)\."),
            "vit_heads": heads,
            "vit_mlp_ratio": shapes[f"{aggregator}.patch_embed.blocks.0.mlp.fc1.weight"][0] / channels,
            "camera_depth": _count(shapes, r"camera_head\.trunk\.(\d+)\."),
            "camera_heads": heads,
            "dpt_features": shapes["depth_head.scratch.layer1_rn.weight"][0],
            "dpt_channels": [shapes[f"depth_head.projects.{level}.weight"][0] for level in range(4)],
            **_tracks(shapes),
        }
    except (KeyError, IndexError, ZeroDivisionError) as error:
        raise InvalidCheckpoint(f"'{source}' holds no StreamVGGT: there is no {error}") from error
    if config["depth"] != PUBLISHED_DEPTH:
        raise InvalidCheckpoint(
            f"'{source}' has {config['depth']} layers; which of them its heads read is known for {PUBLISHED_DEPTH} only"
        )
    return {GEOMETRY: Network(class_name="GeometryNetwork", config=config)}


def _tracks(shapes: Shapes) -> dict[str, Any]:
    if not any(name.startswith("track_head.") for name in shapes):
        return {"heads": ["camera", "depth", "point"]}
    former = "track_head.tracker.updateformer"
    return {
        "heads": ["camera", "depth", "point", "track"],
        "track_features": shapes["track_head.tracker.fmap_norm.weight"][0],
        "track_hidden": shapes[f"{former}.input_transform.weight"][0],
        "track_depth": _count(shapes, rf"{re.escape(former)}\.time_blocks\.(\d+)\."),
        "track_virtual": shapes[f"{former}.virual_tracks"][1],
    }


def _language(checkpoint: Checkpoint) -> Mapping[str, Network]:
    shapes, extractor = _shapes(checkpoint), "feature_extractor"
    try:
        config = {
            "dim_in": shapes[f"{extractor}.norm.weight"][0],
            "features": shapes[f"{extractor}.scratch.output_conv1.weight"][0],
            "hidden_dim": shapes["lang_encoder.down1.0.weight"][0],
            "lang_dim": shapes["lang_decoder_small.final_conv.weight"][0],
            "dpt_channels": [shapes[f"{extractor}.projects.{level}.weight"][0] for level in range(4)],
        }
    except (KeyError, IndexError) as error:
        raise InvalidCheckpoint(f"'{checkpoint.path}' holds no head of 4DLangVGGT: there is no {error}") from error
    return {LANGUAGE: Network(class_name="LanguageHead", config=config)}


def _codec(checkpoint: Checkpoint) -> Mapping[str, Network]:
    shapes = _shapes(checkpoint)
    config: dict[str, list[int]] = {}
    for side in ("encoder", "decoder"):
        maps = sorted(
            (int(match[1]), shape)
            for name, shape in shapes.items()
            if len(shape) == 2 and (match := re.fullmatch(rf"{side}\.(\d+)\.weight", name))
        )
        if not maps:
            raise InvalidCheckpoint(f"'{checkpoint.path}' holds no autoencoder: there is no {side}.0.weight")
        config[side] = [maps[0][1][1], *(shape[0] for _, shape in maps)]
    return {CODEC: Network(class_name="FeatureCodec", config=config)}


def _shapes(checkpoint: Checkpoint) -> dict[str, tuple[int, ...]]:
    return {tensor.name: tensor.shape for tensor in checkpoint.tensors}


def _count(shapes: Shapes, pattern: str) -> int:
    """Numbers that the pattern finds at the begin of names."""
    return len({match[1] for name in shapes if (match := re.match(pattern, name))})


GEOMETRY_CONVERTER = Converter(
    system="streamvggt",
    summary="StreamVGGT, SRC is its checkpoints.pth or model.safetensors (VGGT-1B has the same names)",
    model_class="SceneLanguage",
    networks=_geometry,
    rules=(Rule(GEOMETRY, r"(.+)", r"\1"),),
    card=ModelCard(
        name="streamvggt",
        system="langvggt",
        purpose="Poses, depth and points of a stream of images, frame by frame.",
        licence=_LICENCE,
        non_commercial=True,
        upstream_terms=(_STREAMVGGT,),
        data="Distilled from VGGT-1B on its data (arXiv 2507.11539).",
        limits="Lengths have no known scale. Trained on clips of 10 frames whose longer side is 518 pixels; quality "
        "falls on sequences beyond about 100 frames.",
    ),
    wrappers=("module.",),
)

LANGUAGE_CONVERTER = Converter(
    system="langvggt",
    summary="the language head of 4DLangVGGT, SRC is checkpoint_epoch_100.pth",
    model_class="SceneLanguage",
    networks=_language,
    rules=(
        Drop(r"(optimizer_state_dict|scaler)\..+|loss|epoch", "state of its training"),
        Rule(LANGUAGE, r"(.+)", r"\1"),
    ),
    card=ModelCard(
        name="langvggt",
        system="langvggt",
        purpose="Language features of the tokens of StreamVGGT, at three granularities.",
        licence=_LICENCE,
        non_commercial=True,
        upstream_terms=(
            _STREAMVGGT,
            "4DLangVGGT (github.com/hustvl/4DLangVGGT): the code is MIT; nothing is said about the weights.",
        ),
        data="Six scenes of HyperNeRF with CLIP features of masks (arXiv 2512.05060).",
        limits="All published numbers are of scenes that it was trained on. Its features mean something only to the "
        "autoencoder that it was trained with.",
    ),
    wrappers=("model_state_dict.", "module."),
    allowed_types=("argparse.Namespace",),
)

CODEC_CONVERTER = Converter(
    system="langsplat_autoencoder",
    summary="an autoencoder of 4D LangSplat, SRC is its best_ckpt.pth",
    model_class="SceneLanguage",
    networks=_codec,
    rules=(Rule(CODEC, r"(.+)", r"\1"),),
    card=ModelCard(
        name="langsplat_autoencoder",
        system="langvggt",
        purpose="Features of CLIP as a few numbers, and back.",
        licence=_LICENCE,
        non_commercial=True,
        upstream_terms=(
            "4D LangSplat (github.com/zrporz/4DLangSplat): read what stands beside the files that you fetch; until "
            "then this counts as not for commercial use.",
        ),
        limits="Knows the scenes that it was trained on.",
    ),
    wrappers=("module.",),
)
