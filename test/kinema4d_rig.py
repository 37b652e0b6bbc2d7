"""A tiny Kinema4D in the layout of its published checkpoints, made of the golden vectors."""

import json
import shutil
from pathlib import Path

import numpy as np
import torch
from safetensors.torch import load_file, save_file

from fourd_ros.model_io.conversion import convert
from fourd_ros.records import RobotRendering
from fourd_ros.world_model.kinema4d.adapter import ADDED_FILE, DOMAIN_FILE, DOMAIN_NAME, LORA_FILE
from fourd_ros.world_model.kinema4d.conversion import CONVERTER
from fourd_ros.world_model.kinema4d.layout import Variant

GOLDEN = Path(__file__).parent / "golden" / "kinema4d"
WAN, ADAPTER, PARENT = "Wan2.1-I2V-14B-480P-Diffusers", "kinema4d_ckpt", "4dnex-lora"
FRAMES, HEIGHT, WIDTH = 9, 32, 48
ROBOT_PATCH = 2
"""Of the tiny network; a grid of 3 x 4 x 6 latents."""


def published(folder: Path, *, variant: Variant = Variant.ACT) -> Path:
    """A folder as a user downloads it: Wan, Kinema4D's two files, 4DNeX's two files."""
    base = folder / WAN
    wan_folder(base)
    adapter = folder / "nested" / ADAPTER
    adapter.mkdir(parents=True)
    shutil.copy(GOLDEN / "weights" / LORA_FILE, adapter)
    added = added_weights(variant)
    save_file(added, adapter / ADDED_FILE)
    parent = folder / PARENT
    parent.mkdir()
    shutil.copy(GOLDEN / "weights" / LORA_FILE, parent)
    torch.save(added[DOMAIN_NAME] + 1, parent / DOMAIN_FILE)
    return folder


def added_weights(variant: Variant) -> dict[str, torch.Tensor]:
    """Those of the golden vectors, with places of the robot for a smaller grid."""
    added = load_file(GOLDEN / "weights" / ADDED_FILE)
    draw = torch.Generator().manual_seed(0)
    channels = added["arm_ln.weight"].numel()
    rows, columns = HEIGHT // 8 // ROBOT_PATCH, WIDTH // 8 // ROBOT_PATCH
    added["arm_pos_emb"] = 0.2 * torch.randn(1, channels, (FRAMES + 3) // 4, rows, columns, generator=draw)
    shape = (channels, 20, 1, ROBOT_PATCH, ROBOT_PATCH)
    added["patch_embedding_arm.weight"] = 0.05 * torch.randn(shape, generator=draw)
    if variant is Variant.PMCOND:
        del added["arm_domain_emb"]
    return added


def wan_folder(base: Path) -> Path:
    """A Wan image-to-video folder, its transformer in two shards, with a text encoder that nothing reads."""
    for name in ("transformer", "vae", "image_encoder", "image_processor", "scheduler", "text_encoder"):
        (base / name).mkdir(parents=True)
    weights = load_file(GOLDEN / "weights" / "base_transformer.safetensors")
    _save_shards(weights, base / "transformer" / "diffusion_pytorch_model")
    config = json.loads((GOLDEN / "weights" / "transformer_config.json").read_text())
    del config["arm_grid"]
    _write_json(base / "transformer" / "config.json", {"_class_name": "WanTransformer3DModel", **config})
    for name, stem, file in (
        ("vae", "vae", "diffusion_pytorch_model"),
        ("image_encoder", "clip", "model"),
    ):
        shutil.copy(GOLDEN / "pipeline" / f"{stem}.safetensors", base / name / f"{file}.safetensors")
        shutil.copy(GOLDEN / "pipeline" / f"{stem}_config.json", base / name / "config.json")
    shutil.copy(GOLDEN / "pipeline" / "clip_preprocessor.json", base / "image_processor" / "preprocessor_config.json")
    shutil.copy(GOLDEN / "pipeline" / "scheduler_config.json", base / "scheduler")
    (base / "text_encoder" / "model.safetensors").write_bytes(b"eleven gigabytes that are not needed")
    _write_json(
        base / "model_index.json",
        {
            "_class_name": "WanImageToVideoPipeline",
            "transformer": ["diffusers", "WanTransformer3DModel"],
            "vae": ["diffusers", "AutoencoderKLWan"],
            "image_encoder": ["transformers", "CLIPVisionModel"],
            "image_processor": ["transformers", "CLIPImageProcessor"],
            "scheduler": ["diffusers", "UniPCMultistepScheduler"],
            "text_encoder": ["transformers", "UMT5EncoderModel"],
        },
    )
    return base


def converted(folder: Path, *, variant: Variant = Variant.ACT, dtype: str | None = None) -> Path:
    """A model folder of ours."""
    source = published(folder / "published", variant=variant)
    convert(CONVERTER, source, folder / "model", dtype=dtype)
    return folder / "model"


def first_frame(height: int = HEIGHT, width: int = WIDTH) -> np.ndarray:
    """Colour, shape [H, W, 3]."""
    rows, columns = np.mgrid[:height, :width]
    return np.stack([rows % 256, columns % 256, (rows + columns) % 256], axis=-1).astype(np.uint8)


def first_points(height: int = HEIGHT, width: int = WIDTH) -> np.ndarray:
    """A slanted plane with a hole [m], shape [H, W, 3]."""
    rows, columns = np.mgrid[:height, :width]
    points = np.stack([columns / width - 0.5, rows / height - 0.5, 1 + rows / height], axis=-1).astype(np.float32)
    points[height // 4 : height // 3, width // 4 : width // 3] = np.nan
    return points


def robot(frames: int = FRAMES, height: int = HEIGHT, width: int = WIDTH) -> RobotRendering:
    """A grey box that goes right."""
    mask = np.zeros((frames, height, width), bool)
    for step in range(frames):
        left = width // 8 + step * width // (4 * frames)
        mask[step, height // 3 : height // 2, left : left + width // 4] = True
    rows, columns = np.mgrid[:height, :width]
    box = np.stack([columns / width - 0.5, rows / height - 0.5, 0.6 + columns / width], axis=-1)
    points = np.where(mask[..., None], box, np.nan).astype(np.float32)
    rgb = np.where(mask[..., None], np.uint8(120), np.uint8(0)) * np.ones(3, np.uint8)
    return RobotRendering(rgb=rgb, points=points, mask=mask)


def _save_shards(weights: dict[str, torch.Tensor], stem: Path) -> None:
    names = list(weights)
    parts = {f"{stem.name}-{number:05d}-of-00002.safetensors": names[number - 1 :: 2] for number in (1, 2)}
    for file, part in parts.items():
        save_file({name: weights[name].contiguous() for name in part}, stem.parent / file)
    index = {"metadata": {}, "weight_map": {name: file for file, part in parts.items() for name in part}}
    _write_json(stem.parent / f"{stem.name}.safetensors.index.json", index)


def _write_json(path: Path, content: object) -> None:
    path.write_text(json.dumps(content))
