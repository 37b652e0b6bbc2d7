"""The rasteriser in plain torch: the reference of the others, differentiable, on any device.

What a Gaussian is on the screen is gathered once for all tiles; the pixels of a tile are then blended together, a run
of Gaussians at a time, until the tile is finished. autograd differentiates the projection. Blending has a derivative of
its own (that of `splat_gradients.py`), because what autograd would keep of it, some twenty numbers for every pixel and
Gaussian, takes longer to write than to compute again.
"""

from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor
from torch.autograd.function import once_differentiable

from fourd_ros.part_dynamics.gaussians import named_columns
from fourd_ros.part_dynamics.splat_camera import SplatCamera
from fourd_ros.part_dynamics.splat_rules import (
    DEPTH_EPSILON,
    DILATION,
    MAX_ALPHA,
    MIN_ALPHA,
    MIN_SPREAD,
    MIN_TRANSMITTANCE,
    NEAR,
    RADIUS_SIGMAS,
    TILE,
    check_pairs,
)

RUN = 128
"""Gaussians that are blended at once: 128 kB for each number of theirs and all pixels, which stay in the cache."""

LEAST_POWER = -80.0
"""Of an exponential: far below what can be seen, and above numbers so small that processors are slow with them."""


@dataclass(frozen=True, kw_only=True, eq=False)
class _Splats:
    """Gaussians on the screen, those that are not culled.

    Args:
        table: centre 2 [px], conic 3 [1/px^2], opacity, rgb 3, depth [m], float32 [M, 10].
        radii: [px], float32 [M].
        kept: their indices, shape [M].
    """

    table: Tensor
    radii: Tensor
    kept: Tensor


def draw_torch(
    values: Tensor, cameras: Sequence[SplatCamera], background: Tensor, modifier: float
) -> tuple[Tensor, Tensor, Tensor, Tensor]:
    """Render every view; differentiable with respect to `values`.

    Args:
        values: shape [N, 14].
        cameras: views of one size.
        background: rgb, float32 [3], on the device of `values`.
        modifier: of the scales.

    Returns:
        rgb within 0 and 1 [V, 3, H, W], alpha and depth [V, 1, H, W], and the radii [px], int32 [V, N].

    Raises:
        TooLarge: far too many Gaussians reach far too many tiles.
    """
    views = [_draw_view(values.float(), camera, background, modifier) for camera in cameras]
    images = torch.stack([image for image, _ in views])
    return images[:, :3].clamp(0, 1), images[:, 3:4], images[:, 4:5], torch.stack([radii for _, radii in views])


def _draw_view(values: Tensor, camera: SplatCamera, background: Tensor, modifier: float) -> tuple[Tensor, Tensor]:
    splats = _project(values, camera, modifier)
    tiles = -(-camera.width // TILE), -(-camera.height // TILE)
    members, counts, reached = _sort_into_tiles(splats, tiles)
    radii = values.new_zeros(len(values), dtype=torch.int32)
    radii[splats.kept[reached]] = splats.radii[reached].clamp(max=2**30).int()
    drawn: Tensor = _Blending.apply(splats.table.index_select(0, members), counts, tiles[0], background)  # type: ignore[no-untyped-call]
    grid = drawn.view(tiles[1], tiles[0], 5, TILE, TILE).permute(2, 0, 3, 1, 4)
    return grid.reshape(5, tiles[1] * TILE, tiles[0] * TILE)[:, : camera.height, : camera.width], radii


def _project(values: Tensor, camera: SplatCamera, modifier: float) -> _Splats:
    """Centres and conics; every sum in the order in which `splat_kernels.project` computes it."""
    packed = camera.packed().tolist()
    W, (fx, fy, cx, cy), limits = [packed[0:3], packed[3:6], packed[6:9]], packed[12:16], packed[16:20]
    with torch.no_grad():
        ahead = (_in_camera(values, W[2], packed[11]) > torch.tensor(NEAR, dtype=torch.float32)).nonzero()[:, 0]
    values = values.index_select(0, ahead)
    _, opacity, scale, rotation, rgb = named_columns(values)
    x, y, z = (_in_camera(values, W[row], packed[9 + row]) for row in range(3))
    nearness = 1 / (z + DEPTH_EPSILON)
    centre = fx * x * nearness + cx, fy * y * nearness + cy
    slope_x, slope_y = (x / z).clamp(*limits[:2]), (y / z).clamp(*limits[2:])
    j00, j02, j11, j12 = fx / z, -(fx * slope_x) / z, fy / z, -(fy * slope_y) / z
    toward = [
        [j00 * W[0][k] + j02 * W[2][k] for k in range(3)],
        [j11 * W[1][k] + j12 * W[2][k] for k in range(3)],
    ]
    turn = rotation_rows(rotation)
    axes = [
        [(row[0] * turn[0][k] + row[1] * turn[1][k] + row[2] * turn[2][k]) * (scale[:, k] * modifier) for k in range(3)]
        for row in toward
    ]
    xx, xy, yy = (
        axes[i][0] * axes[j][0] + axes[i][1] * axes[j][1] + axes[i][2] * axes[j][2] for i, j in ((0, 0), (0, 1), (1, 1))
    )
    xx, yy = xx + DILATION, yy + DILATION
    determinant = xx * yy - xy * xy
    with torch.no_grad():
        middle = 0.5 * (xx + yy)
        largest = middle + torch.sqrt((middle * middle - determinant).clamp(min=MIN_SPREAD))
        radii = torch.ceil(RADIUS_SIGMAS * torch.sqrt(largest))
        finite = torch.isfinite(xx / determinant + yy / determinant + centre[0] + centre[1] + radii)
        kept = ((determinant != 0) & finite).nonzero()[:, 0]
    # Only what is not culled is divided: a gradient through an infinite value is not a number.
    determinant, xx, xy, yy = (value.index_select(0, kept) for value in (determinant, xx, xy, yy))
    inverse = 1 / determinant
    whole = torch.stack([*centre, z], dim=1).index_select(0, kept)
    shown = torch.cat([opacity, rgb], dim=1).index_select(0, kept)
    conic = torch.stack([yy * inverse, -xy * inverse, xx * inverse], dim=1)
    return _Splats(
        table=torch.cat([whole[:, :2], conic, shown, whole[:, 2:]], dim=1),
        radii=radii.index_select(0, kept),
        kept=ahead.index_select(0, kept),
    )


def _in_camera(values: Tensor, row: list[float], shift: float) -> Tensor:
    return row[0] * values[:, 0] + row[1] * values[:, 1] + row[2] * values[:, 2] + shift


def rotation_rows(quaternion: Tensor) -> list[list[Tensor]]:
    """Rows of the matrix; the quaternion w, x, y, z is not normalised."""
    w, x, y, z = quaternion.unbind(1)
    return [
        [1 - 2 * (y * y + z * z), 2 * (x * y - w * z), 2 * (x * z + w * y)],
        [2 * (x * y + w * z), 1 - 2 * (x * x + z * z), 2 * (y * z - w * x)],
        [2 * (x * z - w * y), 2 * (y * z + w * x), 1 - 2 * (x * x + y * y)],
    ]


@torch.no_grad()
def _sort_into_tiles(splats: _Splats, tiles: tuple[int, int]) -> tuple[Tensor, list[int], Tensor]:
    """Rows of the table for every tile, front to back; how many for each tile; and which rows reach any tile."""
    bounds = []
    for axis in range(2):
        position = splats.table[:, axis]
        for edge in ((position - splats.radii) / TILE, (position + splats.radii + (TILE - 1)) / TILE):
            bounds.append(edge.clamp(0, tiles[axis]).long())
    low_x, high_x, low_y, high_y = bounds
    columns, rows = (high_x - low_x).clamp(min=0), (high_y - low_y).clamp(min=0)
    areas = columns * rows
    check_pairs(int(areas.sum()))
    order = torch.argsort(splats.table[:, 9], stable=True)
    order = order[areas[order] > 0]
    owners = order.repeat_interleave(areas[order])
    begins = areas[order].cumsum(0) - areas[order]
    within = torch.arange(len(owners), device=owners.device) - begins.repeat_interleave(areas[order])
    tile = (low_y[owners] + within // columns[owners]) * tiles[0] + low_x[owners] + within % columns[owners]
    grouped = torch.argsort(tile, stable=True)
    counts = torch.bincount(tile, minlength=tiles[0] * tiles[1]).tolist()
    return owners[grouped], counts, areas > 0


class _Blending(torch.autograd.Function):
    """Rows of every tile, front to back, one tile after the other, shape [P, 10] -> pixels, shape [tiles, 5, 256]."""

    @staticmethod
    def forward(ctx: Any, rows: Tensor, counts: list[int], tiles_x: int, background: Tensor) -> Tensor:
        behind = torch.cat([background, background.new_zeros(2)])[:, None]
        image = rows.new_empty(len(counts), 5, TILE * TILE)
        with _one_thread():
            for tile, listed in enumerate(torch.split(rows, counts)):
                total = rows.new_zeros(5, TILE * TILE)
                for run in _runs(listed, tile, tiles_x):
                    total += _shown(run.rows).T @ run.weights
                image[tile] = total + (1 - total[3]) * behind
        ctx.save_for_backward(rows, image)
        ctx.counts, ctx.tiles_x = counts, tiles_x
        return image

    @staticmethod
    @once_differentiable
    def backward(ctx: Any, by_image: Tensor) -> tuple[Tensor, None, None, None]:
        rows, image = ctx.saved_tensors
        by_rows = torch.zeros_like(rows)
        with _one_thread():
            for tile, (listed, gradient) in enumerate(
                zip(torch.split(rows, ctx.counts), torch.split(by_rows, ctx.counts), strict=True)
            ):
                remaining = (by_image[tile] * image[tile]).sum(0)
                begin = 0
                for run in _runs(listed, tile, ctx.tiles_x):
                    end = begin + len(run.rows)
                    gradient[begin:end] = _differentiate(run, by_image[tile], remaining)
                    begin = end
        return by_rows, None, None, None


@dataclass(frozen=True, kw_only=True, eq=False)
class _Run:
    """Some Gaussians of a tile.

    Args:
        rows: of the table, shape [K, 10].
        dx, dy: from the pixels of a row and of a column of the tile to the centres [px], shape [K, 16].
        alpha: what each covers of each pixel, 0 where it is not seen, shape [K, 256].
        capped: where more would be covered, shape [K, 256].
        weights: what each pixel shows of each, shape [K, 256].
    """

    rows: Tensor
    dx: Tensor
    dy: Tensor
    alpha: Tensor
    capped: Tensor
    weights: Tensor


def _runs(listed: Tensor, tile: int, tiles_x: int) -> Iterator[_Run]:
    """The Gaussians of a tile, until all its pixels are finished."""
    if not len(listed):
        return
    through = listed.new_ones(TILE * TILE)
    side = torch.arange(TILE, device=listed.device)
    across, down = (tile % tiles_x * TILE + side).float(), (tile // tiles_x * TILE + side).float()
    for rows in torch.split(listed, RUN):
        mx, my, a, b, c, opacity = (rows[:, column, None] for column in range(6))
        dx, dy = mx - across, my - down
        power = (a * dx * dx)[:, None, :] + (c * dy * dy)[:, :, None]
        power = power.mul_(-0.5).sub_((b * dx)[:, None, :] * dy[:, :, None]).flatten(1)
        outside = power > 0
        alpha = power.clamp_(LEAST_POWER, 0).exp_().mul_(opacity)
        capped = alpha > MAX_ALPHA
        alpha.clamp_(max=MAX_ALPHA)
        alpha.masked_fill_(outside | (alpha < MIN_ALPHA), 0)
        left = torch.cumprod(torch.cat([through[None], 1 - alpha]), dim=0)
        weights = (alpha * left[:-1]).masked_fill_(left[1:] < MIN_TRANSMITTANCE, 0)
        yield _Run(rows=rows, dx=dx, dy=dy, alpha=alpha, capped=capped, weights=weights)
        through = left[-1]
        if not bool((through >= MIN_TRANSMITTANCE).any()):
            return


def _shown(rows: Tensor) -> Tensor:
    """What a pixel gets of a Gaussian: r, g, b, alpha, depth, shape [K, 5]."""
    return torch.cat([rows[:, 6:9], torch.ones_like(rows[:, :1]), rows[:, 9:10]], dim=1)


def _differentiate(run: _Run, by_pixels: Tensor, remaining: Tensor) -> Tensor:
    """Gradients of the rows of a run, shape [K, 10].

    Args:
        run: of a tile.
        by_pixels: gradients of its pixels, shape [5, 256].
        remaining: what Gaussians further back and the background show, weighted by these; updated, shape [256].
    """
    shown = (_shown(run.rows) @ by_pixels).mul_(run.weights)
    behind = remaining - shown.cumsum(0)
    remaining.copy_(behind[-1])
    slope = shown.sub_(behind.mul_(run.alpha).div_(1 - run.alpha))
    slope = slope.masked_fill_(run.capped | (run.weights == 0), 0).view(-1, TILE, TILE)
    by_column, by_row = slope.sum(1), slope.sum(2)
    along_x, along_y = (by_column * run.dx).sum(1), (by_row * run.dy).sum(1)
    crossed = ((slope * run.dx[:, None, :]).sum(2) * run.dy).sum(1)
    a, b, c, opacity = run.rows[:, 2:6].unbind(1)
    columns = [
        -a * along_x - b * along_y,
        -b * along_x - c * along_y,
        -0.5 * (by_column * run.dx * run.dx).sum(1),
        -crossed,
        -0.5 * (by_row * run.dy * run.dy).sum(1),
        by_row.sum(1) / opacity.where(opacity != 0, 1),
    ]
    by_shown = run.weights @ by_pixels.T
    return torch.cat([torch.stack(columns, dim=1), by_shown[:, :3], by_shown[:, 4:]], dim=1)


@contextmanager
def _one_thread() -> Iterator[None]:
    """The operations are small: on a busy machine, threads would wait for each other in every one of thousands."""
    threads = torch.get_num_threads()
    torch.set_num_threads(1)
    try:
        yield
    finally:
        torch.set_num_threads(threads)
