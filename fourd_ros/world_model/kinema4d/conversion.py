"""Published checkpoints of Kinema4D, for ``fourd convert kinema4d``."""

import glob
from collections.abc import Mapping
from functools import partial
from pathlib import Path
from typing import Any

import torch

from fourd_ros.errors import InvalidCheckpoint, InvalidModel
from fourd_ros.model_io.card import ModelCard
from fourd_ros.model_io.checkpoint_reader import Checkpoint, files_below
from fourd_ros.model_io.components import find_component_class
from fourd_ros.model_io.conversion_rules import Converter, Drop, Network, Rule, Rules
from fourd_ros.strict_json import read_object
from fourd_ros.world_model.kinema4d.adapter import ADDED_FILE, DOMAIN_FILE, LORA_FILE, TARGET_PATTERN, merged
from fourd_ros.world_model.kinema4d.layout import Variant
from fourd_ros.world_model.kinema4d.wan import UNUSED, config_of_wan

NETWORKS = {"transformer": "WanTransformer3DModel", "vae": "AutoencoderKLWan", "image_encoder": "CLIPVisionModel"}
"""Sub-folders of the Wan folder that are used, and what is in them."""

SELF_READING = {
    "scheduler": ("diffusers", "UniPCMultistepScheduler"),
    "image_processor": ("transformers", "CLIPImageProcessorPil"),
}

CARD = ModelCard(
    name="kinema4d",
    system="kinema4d",
    purpose="Colour and geometry of what a camera will see, given the first frame and the robot's motion: a diffusion "
    "transformer of 14 billion parameters that is shown renderings of the robot.",
    licence="terms of the checkpoints that were converted",
    non_commercial=True,
    upstream_terms=(
        "Wan2.1-I2V-14B-480P (base): Apache-2.0.",
        "Kinema4D and 4DNeX (adapters): no terms were known when this was written. Read those beside the files that "
        "you downloaded; until then this counts as not for commercial use.",
    ),
    data="Robo4D-200k: 201,426 robot episodes of DROID, Bridge and RT-1 with estimated pointmaps (arXiv 2603.16669).",
    limits="Cameras that stand still; 49 frames of 480 x 720. Pointmaps of its data are estimates without a known "
    "scale: metres come from the scale that is given at run time.",
)


def _networks(checkpoint: Checkpoint) -> Mapping[str, Network]:
    base, added = _base(checkpoint.path), _added_file(checkpoint)
    shapes = {tensor.name: tensor.shape for tensor in checkpoint.tensors if tensor.file == added}
    variant = Variant.ACT if "arm_domain_emb" in shapes else Variant.PMCOND
    config_path = base / "transformer" / "config.json"
    config = config_of_wan(_config(config_path), config_path, variant=variant, robot=shapes)
    own = {key: list(value) if isinstance(value, tuple) else value for key, value in vars(config).items()}
    return {
        "transformer": Network(class_name="Kinema4DTransformer", config=own | {"variant": str(variant)}),
        "vae": Network(library="diffusers", class_name=NETWORKS["vae"], config=_config(base / "vae" / "config.json")),
        "image_encoder": Network(
            library="transformers",
            class_name=NETWORKS["image_encoder"],
            config=_config(base / "image_encoder" / "config.json"),
        ),
    }


def _rules(checkpoint: Checkpoint, dtype: "torch.dtype | None") -> Rules:
    added = _added_file(checkpoint)
    adapter = f"{added.removesuffix(ADDED_FILE)}{LORA_FILE}"
    others = {tensor.file for tensor in checkpoint.tensors if tensor.file.endswith(LORA_FILE)} - {adapter}
    replaced = "4DNeX's, from which Kinema4D's were trained, which take their place"
    return (
        *(Drop(r".+", replaced, file=glob.escape(file)) for file in sorted(others)),
        Drop(r"", replaced, file=f"*{DOMAIN_FILE}"),
        *(Drop(pattern, reason, file="*transformer/*") for pattern, reason in UNUSED),
        Rule("vae", r"(.+)", r"\1", file="*vae/*"),
        Drop(r"(?:vision_model\.)?embeddings\.position_ids", "counted, not learned", file="*image_encoder/*"),
        Rule("image_encoder", r"(?:vision_model\.)?(.+)", r"\1", file="*image_encoder/*"),
        Rule(
            "transformer",
            (
                rf"({TARGET_PATTERN})\.weight",
                rf"transformer\.({TARGET_PATTERN})\.lora_A\.weight",
                rf"transformer\.({TARGET_PATTERN})\.lora_B\.weight",
            ),
            r"\1.weight",
            transform=partial(_merged_in, dtype),
        ),
        Rule("transformer", r"(.+)", r"\1", file=glob.escape(added)),
        Rule("transformer", r"(.+)", r"\1", file="*transformer/*"),
    )


def _merged_in(dtype: "torch.dtype | None", weight: torch.Tensor, down: torch.Tensor, up: torch.Tensor) -> torch.Tensor:
    """Merged in the type in which the weight will be stored, which is the order of the original's loader."""
    return merged(weight if dtype is None else weight.to(dtype), down, up)


def _self_reading(source: Path) -> Mapping[str, Any]:
    base = _base(source)
    made = {}
    for name, (library, class_name) in SELF_READING.items():
        found: Any = find_component_class(library, class_name)
        try:
            made[name] = found.from_pretrained(base / name, local_files_only=True)
        except (OSError, ValueError, TypeError, KeyError) as error:
            raise InvalidCheckpoint(f"'{base / name}' cannot be read as {class_name}: {error}") from error
    return made


def _base(source: Path) -> Path:
    """The Wan folder in or below the source."""
    configs = (path for path in files_below(source) if path.parts[-2:] == ("transformer", "config.json"))
    found = [path.parent.parent for path in configs]
    if len(found) != 1:
        raise InvalidCheckpoint(
            f"'{source}' holds {len(found)} Wan folders {[str(path) for path in found]}; needed is one, with the "
            f"sub-folders {[*NETWORKS, *SELF_READING]} (Wan-AI/Wan2.1-I2V-14B-480P-Diffusers)"
        )
    missing = [name for name in NETWORKS if not (found[0] / name / "config.json").is_file()]
    missing += [name for name in SELF_READING if not (found[0] / name).is_dir()]
    if missing:
        raise InvalidCheckpoint(f"the Wan folder '{found[0]}' lacks {missing}; download them too")
    return found[0]


def _added_file(checkpoint: Checkpoint) -> str:
    """The one file of added weights, whose adapter lies beside it."""
    found = sorted(name for name in checkpoint.files if Path(name).name == ADDED_FILE)
    if len(found) != 1:
        raise InvalidCheckpoint(
            f"'{checkpoint.path}' holds {len(found)} files {ADDED_FILE} {found}; needed is the Wan folder and one "
            f"folder of Kinema4D with {LORA_FILE} and {ADDED_FILE}"
        )
    return found[0]


def _config(path: Path) -> dict[str, Any]:
    return {key: value for key, value in read_object(path, error=InvalidModel).items() if not key.startswith("_")}


CONVERTER = Converter(
    system="kinema4d",
    summary="SRC is a folder that holds Wan2.1-I2V-14B-480P-Diffusers and a folder of Kinema4D's two files",
    model_class="Kinema4DPipeline",
    networks=_networks,
    rules=_rules,
    card=CARD,
    self_reading=_self_reading,
    skipped_files={"*text_encoder/*": "the text has no effect on the output"},
)
