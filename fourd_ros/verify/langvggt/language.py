"""The language head."""

import re
from typing import Any

import torch

from fourd_ros.verify.checks import check
from fourd_ros.verify.comparison import Comparison
from fourd_ros.verify.langvggt.folder import SYSTEM, compare_all, language, settings, whole_clip
from fourd_ros.verify.langvggt.geometry import outputs_of
from fourd_ros.verify.vectors import Tensors, VectorFolder


@check(SYSTEM, "lang_head.safetensors")
@torch.no_grad()
def language_head(folder: VectorFolder, vectors: Tensors, compare: Comparison) -> None:
    """Its stages on the first frame, its maps of the first and the last one, and at another size."""
    head, sizes, tokens = language(folder), settings(folder)["lang"], whole_clip(folder)
    watched = {f"enc_down{level}_frame0": head.lang_encoder.get_submodule(f"down{level}") for level in range(1, 5)}
    with outputs_of({"dpt_features_frame0": head.feature_extractor, **watched}) as stages:
        first = head(tokens.frames(slice(0, 1)))
    resized = head(tokens.frames(slice(0, 1)), size=(sizes["out_h"], sizes["out_w"]))
    last = head(tokens.frames(slice(-1, None)))
    computed: dict[str, Any] = {
        "lang_feat": torch.cat([first.features, last.features], dim=1),
        "rgb": torch.cat([first.colours, last.colours], dim=1),
        "lang_feat_resized_frame0": resized.features,
        "rgb_resized_frame0": resized.colours,
    }
    for name, array in vectors.items():
        if re.fullmatch(r"enc_down\d_frame0", name):
            stages[name] = stages[name][:, : array.shape[1]]  # the file holds the first channels
    compare_all(vectors, compare, {**stages, **computed})
