"""A small network of compositional objects whose shapes are balls, and a scene that a camera at rest films."""

from functools import cache
from pathlib import Path
from typing import Any

import numpy as np
import torch

from fourd_ros.compositional.filmed_scene import FilmedScene
from fourd_ros.compositional.image_tokens import ImageEncoder
from fourd_ros.compositional.model import CompositionalObjects
from fourd_ros.compositional.segmentation.segmenter import SegmentedObject
from fourd_ros.compositional.shape_vae import ShapeVae
from fourd_ros.compositional.sizes import TransformerSizes, VaeSizes
from fourd_ros.compositional.transformer import CompositionalTransformer
from fourd_ros.geometry.camera import PinholeCamera
from fourd_ros.model_io.card import ModelCard
from fourd_ros.model_io.folder import write_model

SIDE, PARTS, FRAMES = 28, 6, 12
RADIUS = 0.5
CAMERA = PinholeCamera(width=64, height=48, K=np.array([[60.0, 0, 31.5], [0, 60.0, 23.5], [0, 0, 1]]))
BALLS = {1: (-0.25, 0.0, 1.2), 2: (0.25, 0.05, 1.3)}
"""Places [m] of two balls before the camera, by number; the first one moves to the left."""

BALL_RADIUS, STEP, WALL = 0.12, 0.03, 2.0
MEAN, STD = (0.5, 0.5, 0.5), (0.5, 0.5, 0.5)


@cache
def networks() -> dict[str, Any]:
    """Of a random model that makes a ball of every latent."""
    from transformers import Dinov2Config, Dinov2Model

    torch.manual_seed(0)
    vae = ShapeVae(
        VaeSizes(
            latent_channels=8,
            num_attention_heads=2,
            width_encoder=16,
            width_decoder=16,
            num_layers_encoder=1,
            num_layers_decoder=1,
            latent_tokens=6,
        )
    )
    make_balls(vae)
    transformer = CompositionalTransformer(
        TransformerSizes(
            num_attention_heads=2,
            width=16,
            in_channels=8,
            num_layers=3,
            cross_attention_dim=16,
            max_num_parts=PARTS,
            max_num_frames=FRAMES,
            enable_static_embedding=True,
            enable_dynamic_embedding=True,
            spatial_global_attn_block_ids=(0, 2),
            temporal_global_attn_block_ids=(0, 1),
        )
    )
    images = Dinov2Model(
        Dinov2Config(hidden_size=16, num_hidden_layers=1, num_attention_heads=2, image_size=SIDE, patch_size=14)
    )
    return {"transformer": transformer.eval(), "vae": vae.eval(), "image_encoder": images.train(False)}


@torch.no_grad()
def make_balls(vae: ShapeVae) -> None:
    """Weights with which the field is cos x + cos y + cos z beyond a limit, nearly a ball, whatever the latents are."""
    decoder: Any = vae.decoder
    waves = vae.sizes.embed_frequency
    look: Any = decoder.blocks[-1]
    for layer in (look.attn2.to_out[0], look.ff.net[2], decoder.proj_query, decoder.proj_out):
        layer.weight.zero_()
        layer.bias.zero_()
    slowest = [3 + 3 * waves + axis * waves for axis in range(3)]
    large = 100.0
    decoder.proj_query.weight[0, slowest], decoder.proj_query.weight[1, slowest] = 1.0, -1.0
    decoder.proj_query.bias[2], decoder.proj_query.bias[3] = large, -large
    decoder.proj_out.weight[0, 0] = -large * float(np.sqrt(2 / vae.sizes.width_decoder))
    decoder.proj_out.bias[0] = 2 + float(np.cos(RADIUS))


def model() -> CompositionalObjects:
    """The networks as a model."""
    made = networks()
    return CompositionalObjects(
        transformer=made["transformer"],
        vae=made["vae"],
        images=ImageEncoder(made["image_encoder"], mean=MEAN, std=STD),
    )


def write(folder: Path) -> Path:
    """The same as a model folder."""
    import diffusers
    from transformers import BitImageProcessor

    card = ModelCard(name="balls", system="com4d", purpose="of tests", licence="Apache-2.0", data="none", limits="all")
    processor = BitImageProcessor(
        size={"shortest_edge": SIDE}, do_center_crop=False, image_mean=list(MEAN), image_std=list(STD)
    )
    scheduler: Any = diffusers.FlowMatchEulerDiscreteScheduler
    parts = {**networks(), "image_processor": processor, "scheduler": scheduler()}
    write_model(folder, parts, card=card, model_class="CompositionalObjects")
    return folder


def film(frames: int = 3) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """Colour [F, H, W, 3], numbers [F, H, W] and depth [m] of the balls before a wall."""
    rays = CAMERA.rays().astype(np.float64)
    rgb = np.full((frames, CAMERA.height, CAMERA.width, 3), 200, np.uint8)
    numbers = np.zeros(rgb.shape[:3], np.uint8)
    depth = np.full(rgb.shape[:3], WALL, np.float32)
    for frame in range(frames):
        for number, place in BALLS.items():
            middle = np.array(place) - np.array([STEP * frame, 0, 0]) * (number == 1)
            a, b = (rays**2).sum(axis=-1), rays @ middle
            inside = b**2 - a * (middle @ middle - BALL_RADIUS**2)
            met = (b - np.sqrt(np.maximum(inside, 0))) / a
            nearer = (inside > 0) & (met < depth[frame])
            depth[frame][nearer], numbers[frame][nearer] = met[nearer], number
            rgb[frame][nearer] = (200, 40, 40) if number == 1 else (40, 40, 200)
    return rgb, numbers, depth


def filmed(frames: int = 3) -> FilmedScene:
    """The film, the first ball moving and the second at rest."""
    rgb, numbers, depth = film(frames)
    objects = tuple(
        SegmentedObject(number=number, label="ball", moves=number == 1, masks=numbers == number) for number in BALLS
    )
    return FilmedScene(rgb=rgb, objects=objects, depth=depth, camera=CAMERA)
