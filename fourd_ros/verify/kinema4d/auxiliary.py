"""Masks, pointmaps, sizes, and the file for the original's viewer."""

import re

import numpy as np
import torch

from fourd_ros.data.robo4d_masks import MaskOptions, first_frames, make_mask, occupancy
from fourd_ros.data.robo4d_preparation import FRAMES, pad_or_crop_temporal, resize_centre_crop
from fourd_ros.data.viser_npz import ViserOptions, content_of_videos, reproject
from fourd_ros.geometry.pointmap_range import PointmapRange, sigmoid, to_bytes, uniform_pointmap, without_outliers
from fourd_ros.verify.checks import check
from fourd_ros.verify.comparison import Comparison
from fourd_ros.verify.kinema4d.folder import SYSTEM, as_numpy, meaning
from fourd_ros.verify.vectors import Tensors, VectorFolder
from fourd_ros.world_model.kinema4d.conditions import robot_mask_latents
from fourd_ros.world_model.kinema4d.latents import point_latents_from_network, point_latents_to_network

MASK, POINTMAP, VISER = (f"aux/{name}.safetensors" for name in ("mask", "pointmap", "viser"))
SIGMOID_SCALE = 2.0
VIEWED = "viewer_"
"""Of what the viewer shows: ``viewer_pts_t1``, ``viewer_cols_t1``, ``viewer_fov_aspect``."""


@check(SYSTEM, MASK)
def mask(folder: VectorFolder, vectors: Tensors, compare: Comparison) -> None:
    """Where the robot is, in pixels and in latents."""
    video = np.array(vectors["mask_video"])
    found = occupancy(video)
    padded = first_frames(found, len(vectors["padded_mask"]))
    stated = re.search(r"target (\d+) frames", meaning(folder, MASK, "save_mask_output"))
    official = MaskOptions(frames=int(stated[1]) if stated else FRAMES, official=True)
    rows, columns = vectors["mask_latent"].shape[-2:]
    made = {
        "mask_video": video,
        "binary_mask": found,
        "padded_mask": padded,
        "save_mask_output": make_mask(video, official),
        "mask_latent": as_numpy(
            robot_mask_latents(torch.from_numpy(padded[..., 0].copy())[None], rows=rows, columns=columns)
        ),
    }
    for name in vectors:
        compare(name, made[name])


@check(SYSTEM, POINTMAP)
def pointmap(folder: VectorFolder, vectors: Tensors, compare: Comparison) -> None:
    """Between metres and what networks see."""
    points = np.array(vectors["points"])
    flat = points.reshape(1, -1, 3)
    whole, frames = PointmapRange.of_frames(flat), PointmapRange.of_frames(points)
    drawn = without_outliers(points)
    parent = PointmapRange.of_frames(drawn).to_signed(drawn)
    unit = whole.to_unit(flat)
    scale = re.search(r"scale=([\d.]+)", meaning(folder, POINTMAP, "sigmoid"))
    seen = point_latents_to_network(torch.from_numpy(points))
    made = {
        "points": points,
        "norm_-1": whole.to_signed(flat),
        "norm_0": unit,
        "denorm_-1": whole.to_metres((whole.to_signed(flat) + 1) / 2),
        "denorm_0": whole.to_metres(unit),
        "sigmoid": sigmoid(points, float(scale[1]) if scale else SIGMOID_SCALE),
        "latent_norm": as_numpy(seen),
        "latent_denorm": as_numpy(point_latents_from_network(torch.from_numpy(np.array(vectors["latent_norm"])))),
        "norm_frames": frames.to_signed(points),
        "center_frames": frames.centre[:, None],
        "scale_frames": np.array([frames.scale]),
        "fourdnex_norm": parent,
        "fourdnex_u8": to_bytes(parent),
        "uniform_pointmap": uniform_pointmap(*vectors["uniform_pointmap"].shape[:2]),
        **{f"center_{least}": whole.centre[:, None] for least in ("-1", "0")},
        **{f"scale_{least}": np.array([whole.scale]) for least in ("-1", "0")},
    }
    for name in vectors:
        compare(name, made[name])


@check(SYSTEM, "aux/encode_latents_preproc.safetensors")
def preparation(_folder: VectorFolder, vectors: Tensors, compare: Comparison) -> None:
    """Sizes and lengths before encoding."""
    for name, wanted in vectors.items():
        if resized := re.fullmatch(r"(bilinear|nearest)(\d+)", name):
            source, size = np.array(vectors[f"in{resized[2]}"]), (wanted.shape[1], wanted.shape[2])
            compare(name, resize_centre_crop(source, size, "bilinear" if resized[1] == "bilinear" else "nearest"))
        elif lengths := re.fullmatch(r"(?:pad|crop)_(\d+)to(\d+)", name):
            frames = np.arange(int(lengths[1]), dtype=np.float32).reshape(-1, 1, 1, 1)
            compare(name, pad_or_crop_temporal(frames, int(lengths[2])))
        else:
            compare(name, wanted)


@check(SYSTEM, VISER)
def viser(folder: VectorFolder, vectors: Tensors, compare: Comparison) -> None:
    """What the original's viewer reads, and what it shows."""
    factor = re.search(r"downsample_factor=(\d+)", meaning(folder, VISER, "images"))
    options = ViserOptions(downsample_factor=int(factor[1]) if factor else 1)
    content = content_of_videos(folder.path("aux/viser/rgb.mp4"), folder.path("aux/viser/xyz.mp4"), options)
    shown = next(name for name in vectors if name.startswith(f"{VIEWED}pts"))
    stated = re.search(r"stride=(\d+),\s*time_stride=(\d+)\)\.get\((\d+)\)", meaning(folder, VISER, shown))
    stride, time_stride, index = (int(number) for number in stated.groups()) if stated else (2, 2, 1)
    frame = reproject(content, index, stride=stride, time_stride=time_stride)
    viewed = {"pts": frame.points, "cols": frame.colours, "fov": np.array([frame.fov, frame.aspect])}
    for name in vectors:
        if name.startswith(VIEWED):
            compare(name, viewed[name.removeprefix(VIEWED).partition("_")[0]])
        elif time := re.fullmatch(r"(video|pointmap)_t(\d+)", name):
            compare(name, content[time[1]][int(time[2])])
        else:
            compare(name, content[name])
