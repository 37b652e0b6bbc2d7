"""What the network is told: the first frame and the robot, as latents and masks."""

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor
from torch.nn import functional

from fourd_ros.errors import InvalidImage
from fourd_ros.world_model.kinema4d.latents import LatentCodec, join_modalities
from fourd_ros.world_model.kinema4d.layout import LATENT_CHANNELS, MASK_CHANNELS, TIME_FACTOR, Grid, Variant

KNOWN, KNOWN_POINTS = 1.0, 0.5
"""In the mask of the first frame: its colour is given; its pointmap may be a placeholder."""

UNSURE = 0.5
"""In the mask of the robot, of cells that training has made uncertain."""

SEEDS = 2**64
"""That a generator tells apart; further ones begin again."""


def to_signed(values: NDArray[np.generic]) -> Tensor:
    """uint8 or 0..1, shape [*, H, W, 3] -> float32 -1..1, shape [*, 3, H, W]."""
    scaled = torch.from_numpy(np.ascontiguousarray(values))
    scaled = scaled.float() / 255 if scaled.dtype == torch.uint8 else scaled
    return (scaled * 2 - 1).movedim(-1, -3).float()


def first_frame_condition(
    codec: LatentCodec, image: Tensor, points: Tensor, *, frames: int, generator: torch.Generator | None = None
) -> Tensor:
    """The first frame, followed by grey, as latents with a mask.

    Args:
        codec: encodes both modalities side by side in one image, so that it sees the seam as in training.
        image: colour -1..1, shape [B, 3, H, W].
        points: pointmap -1..1, shape [B, 3, H, W].
        frames: of the video, 4 k + 1.
        generator: see `LatentCodec.encode`.

    Returns:
        float32, shape [B, 20, k + 1, H / 8, 2 W / 8].
    """
    both = torch.cat([image, points], dim=-1)[:, :, None]
    video = torch.cat([both, both.new_zeros(*both.shape[:2], frames - 1, *both.shape[3:])], dim=2)
    latents = codec.encode(video, generator=generator)
    return torch.cat([first_frame_mask(latents.shape), latents.cpu()], dim=1).to(latents.device)


def first_frame_mask(shape: tuple[int, ...]) -> Tensor:
    """1 for colour and 1/2 for geometry at the first of the frames, 0 after it; shape [B, 4, F, h, 2w] for latents of
    `shape` [B, 16, F, h, 2w]."""
    batch, _, frames, rows, columns = shape
    mask = torch.zeros(batch, MASK_CHANNELS, frames, rows, columns)
    mask[:, :, 0, :, : columns // 2], mask[:, :, 0, :, columns // 2 :] = KNOWN, KNOWN_POINTS
    return mask


def robot_mask_latents(mask: Tensor, *, rows: int, columns: int) -> Tensor:
    """Where the robot is, in latents: nearest pixel of the first frame, then anywhere in four frames.

    Args:
        mask: 0 or 1, shape [B, T, H, W], T = 4 k + 1.
        rows: of latents.
        columns: of latents of one modality.

    Returns:
        float32, shape [B, 1, k + 1, rows, columns].

    Raises:
        InvalidImage: another number of frames.
    """
    if (mask.shape[1] - 1) % TIME_FACTOR:
        raise InvalidImage(f"a mask of {mask.shape[1]} frames; needed are {TIME_FACTOR} k + 1")
    small = functional.interpolate(mask.float(), size=(rows, columns), mode="nearest")
    later = small[:, 1:].unflatten(1, (-1, TIME_FACTOR)).amax(dim=2)
    return torch.cat([small[:, :1], later], dim=1)[:, None]


def robot_condition(colour: Tensor, points: Tensor, mask: Tensor, *, variant: Variant) -> Tensor:
    """The robot's mask and latents as the network wants them.

    Args:
        colour: latents of the video of the robot alone, shape [B, 16, F, h, w].
        points: latents of its pointmap as the autoencoder gives them, the same shape.
        mask: from `robot_mask_latents`, shape [B, 1, F, h, w].
        variant: whether colour is shown too.

    Returns:
        float32, shape [B, 20, F, h, 2w], or [B, 20, F, h, w] without colour.

    Raises:
        InvalidImage: frames, rows or columns differ.
    """
    if not colour.shape == points.shape or colour.shape[2:] != mask.shape[2:]:
        raise InvalidImage(
            f"latents of the robot are {list(colour.shape)} (colour) and {list(points.shape)} (points), its mask "
            f"{list(mask.shape)}; needed are equal frames, rows and columns"
        )
    latents = join_modalities(colour.float(), points.float())
    both = torch.cat([mask.expand(-1, MASK_CHANNELS, -1, -1, -1).repeat(1, 1, 1, 1, 2).to(latents), latents], dim=1)
    return both if variant is Variant.ACT else both[..., both.shape[-1] // 2 :]


def mark_unsure(mask: Tensor, order: Tensor, *, share: float) -> Tensor:
    """Set the first `share` of the cells that are 1 to 1/2, taken in an order.

    Args:
        mask: shape [B, 1, F, h, w].
        order: permutation of these cells, which are counted in C order.
        share: of the cells, rounded down.
    """
    cells = torch.nonzero(mask == 1)
    chosen = cells[order[: int(share * len(cells))].to(cells.device)]
    marked = mask.clone()
    marked[tuple(chosen.T)] = UNSURE
    return marked


def initial_noise(grid: Grid, *, seed: int) -> Tensor:
    """Where the flow begins: drawn on the CPU in one call, so that a seed means the same everywhere; float32, shape
    [1, 16, F, h, 2w]."""
    shape = (1, LATENT_CHANNELS, grid.frames, grid.rows, 2 * grid.columns)
    return torch.randn(shape, generator=torch.Generator().manual_seed(seed % SEEDS))


def latent_grid(latents: Tensor) -> Grid:
    """The grid of latents [B, C, F, h, 2w] of both modalities."""
    frames, rows, columns = latents.shape[2:]
    return Grid(frames=frames, rows=rows, columns=columns // 2)
