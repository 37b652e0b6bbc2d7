"""Published checkpoints of COM4D and TripoSG, for ``fourd convert com4d``."""

import glob
import re
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from fourd_ros.compositional.checkpoints import OLD_IMAGE_NAMES, flow_shift, transformer_folder
from fourd_ros.compositional.sizes import TransformerSizes, VaeSizes
from fourd_ros.errors import InvalidCheckpoint, InvalidModel
from fourd_ros.model_io.card import ModelCard
from fourd_ros.model_io.checkpoint_reader import Checkpoint, files_below
from fourd_ros.model_io.components import find_component_class
from fourd_ros.model_io.conversion_rules import Converter, Drop, Network, Rule, Rules
from fourd_ros.strict_json import read_object

CARD = ModelCard(
    name="com4d",
    system="com4d",
    purpose="Complete shapes of the objects of a video, those that stand and those that move, from frames and masks.",
    licence="terms of the checkpoints that were converted",
    non_commercial=True,
    upstream_terms=(
        "COM4D (INSAIT-Institute/COM4D): came without a licence when this was written, and parts of its code are under "
        "the Tencent Hunyuan Community License. Read what stands beside the files that you fetch; until then this "
        "counts as not for commercial use.",
        "TripoSG (VAST-AI/TripoSG), whose autoencoder is in it: MIT.",
        "DINOv2-large (Meta), which is in it: Apache-2.0.",
    ),
    data="3D-FRONT, DeformingThings4D, Objaverse (arXiv 2512.05272).",
    limits="A camera that stands still. Shapes are in a cube without scale; nothing makes the meshes of an object "
    "alike from frame to frame.",
)


def _networks(checkpoint: Checkpoint) -> Mapping[str, Network]:
    base = _base(checkpoint.path)
    transformer = TransformerSizes.from_config(_config(_transformer(checkpoint.path)))
    return {
        "transformer": Network(class_name="CompositionalTransformer", config=transformer.config),
        "vae": Network(class_name="ShapeVae", config=VaeSizes.from_config(_config(base / "vae")).config),
        "image_encoder": Network(
            library="transformers", class_name="Dinov2Model", config=_config(base / "image_encoder_dinov2")
        ),
    }


def _rules(checkpoint: Checkpoint, _: Any) -> Rules:
    used = glob.escape(str(_transformer(checkpoint.path).relative_to(checkpoint.path)))
    return (
        Rule("vae", r"(.+)", r"\1", file="*vae/*"),
        *(
            Rule("image_encoder", rf"(.*){re.escape(old)}(.+)", rf"\1{new}\2", file="*image_encoder_dinov2/*")
            for old, new in OLD_IMAGE_NAMES
        ),
        Rule("image_encoder", r"(.+)", r"\1", file="*image_encoder_dinov2/*"),
        Rule("transformer", r"(.+)", r"\1", file=f"{used}/*"),
        Drop(r".+", "another transformer than the one that is used", file="*"),
    )


def _self_reading(source: Path) -> Mapping[str, Any]:
    base = _base(source)
    scheduler: Any = find_component_class("diffusers", "FlowMatchEulerDiscreteScheduler")
    processor: Any = find_component_class("transformers", "BitImageProcessorPil")
    folder = base / "feature_extractor_dinov2"
    try:
        read = processor.from_pretrained(folder, local_files_only=True)
    except (OSError, ValueError, TypeError, KeyError) as error:
        raise InvalidCheckpoint(f"'{folder}' cannot be read: {error}") from error
    return {"scheduler": scheduler(shift=flow_shift(base / "scheduler")), "image_processor": read}


def _base(source: Path) -> Path:
    """The TripoSG folder below the source."""
    found = [path.parent.parent for path in files_below(source) if path.parts[-2:] == ("vae", "config.json")]
    if len(found) != 1 or found[0] == source:
        raise InvalidCheckpoint(
            f"'{source}' holds {len(found)} TripoSG folders; needed are one folder VAST-AI/TripoSG and, beside it, "
            "INSAIT-Institute/COM4D"
        )
    return found[0]


def _transformer(source: Path) -> Path:
    """The folder of the transformer beside the TripoSG folder."""
    base = _base(source)
    others = sorted(path for path in base.parent.iterdir() if path.is_dir() and path != base)
    found = []
    for folder in others:
        try:
            found.append(transformer_folder(folder))
        except InvalidModel:
            continue
    if len(found) != 1:
        raise InvalidCheckpoint(
            f"'{base.parent}' holds {len(found)} folders of COM4D beside '{base.name}'; needed is one"
        )
    return found[0]


def _config(folder: Path) -> dict[str, Any]:
    found = read_object(folder / "config.json", error=InvalidModel)
    return {key: value for key, value in found.items() if not key.startswith("_")}


CONVERTER = Converter(
    system="com4d",
    summary="COM4D, SRC is a folder that holds VAST-AI/TripoSG and INSAIT-Institute/COM4D as TripoSG/ and COM4D/",
    model_class="CompositionalObjects",
    networks=_networks,
    rules=_rules,
    card=CARD,
    self_reading=_self_reading,
)
