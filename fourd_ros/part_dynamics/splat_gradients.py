"""The backward pass of the compiled rasteriser, analytic.

A pixel shows A = sum_i q_i alpha_i T_i + T_end q_background, where q_i is what a Gaussian shows (colour, depth, 1),
weighted by the gradient of the loss. With S_i, the sum up to and including i,

    dA / dalpha_i = q_i T_i - (A - S_i) / (1 - alpha_i),

and A is known from the image. So the pixels are walked through front to back once more, with the very transmittances of
the forward pass, and nothing has to be kept for every pixel and Gaussian. Sums over the pixels of a tile are written to
the numbered pair of Gaussian and tile; `add_gradients` then carries the sum over the tiles of each Gaussian through the
projection. No two threads write to one place, so the result is always the same.
"""

from typing import Any

import numpy as np
from numpy.typing import NDArray

from fourd_ros.part_dynamics.kernel_compiler import REORDERED, kernel
from fourd_ros.part_dynamics.splat_kernels import (
    ACROSS,
    BLUE,
    DEPTH,
    DOWN,
    EPSILON,
    FAINT,
    FINISHED,
    GREEN,
    HALF,
    ONE,
    OPAQUE,
    PIXELS,
    RED,
    TRANSMITTANCE,
    TWO,
    ZERO,
    begin_tile,
    exponential,
    is_finished,
    rotation,
    rows_seen,
)
from fourd_ros.part_dynamics.splat_rules import TILE

Array = NDArray[Any]

# Planes of the scratch memory beyond those of the forward pass; where that one sums, the gradients of the pixel stand.
OPACITY, REMAINING = 7 * PIXELS, 8 * PIXELS
WEIGHT, SLOPE = 9 * PIXELS, 10 * PIXELS
SCRATCH = 11 * PIXELS

PAIR_COLUMNS = 10
"""Gradients of a pair: centre 2, conic 3, opacity, rgb 3, depth."""


@kernel("void(float32[::1], int64, int64, float32[::1])")
def weigh(scratch: Array, start: int, count: int, splat: Array) -> None:
    """What `count` pixels from `start` show of a Gaussian, and the gradient of its exponent in each of them."""
    mx, my, a, b, c, opacity = splat[0], splat[1], splat[2], splat[3], splat[4], splat[5]
    red, green, blue, depth = splat[6], splat[7], splat[8], splat[9]
    part = scratch[start:]
    for i in range(count):
        through = part[i + TRANSMITTANCE]
        dx = mx - part[i + ACROSS]
        dy = my - part[i + DOWN]
        power = -HALF * (a * dx * dx + c * dy * dy) - b * dx * dy
        uncapped = opacity * exponential(power)
        alpha = min(OPAQUE, uncapped)
        left = through * (ONE - alpha)
        seen = (through > ZERO) & (power <= ZERO) & (alpha >= FAINT)
        goes_on = left >= FINISHED
        weight = alpha * through if seen & goes_on else ZERO
        part[i + TRANSMITTANCE] = (left if goes_on else -through) if seen else through
        shown = red * part[i + RED] + green * part[i + GREEN] + blue * part[i + BLUE]
        shown = shown + depth * part[i + DEPTH] + part[i + OPACITY]
        remaining = part[i + REMAINING] - shown * weight
        part[i + REMAINING] = remaining
        slope = shown * weight - remaining * alpha / (ONE - alpha)
        part[i + WEIGHT] = weight
        part[i + SLOPE] = slope if (weight > ZERO) & (uncapped <= OPAQUE) else ZERO


@kernel("void(float32[::1], int64, int64, float32[::1], float32[::1])", fast=REORDERED)
def sum_pixels(scratch: Array, start: int, count: int, splat: Array, pair: Array) -> None:
    """Sum the gradients of a Gaussian over `count` pixels from `start` into those of its pair with the tile."""
    mx, my = splat[0], splat[1]
    part = scratch[start:]
    total = along_x = along_y = xx = xy = yy = red = green = blue = depth = ZERO
    for i in range(count):
        slope, weight = part[i + SLOPE], part[i + WEIGHT]
        dx = mx - part[i + ACROSS]
        dy = my - part[i + DOWN]
        total += slope
        along_x += slope * dx
        along_y += slope * dy
        xx += slope * dx * dx
        xy += slope * dx * dy
        yy += slope * dy * dy
        red += weight * part[i + RED]
        green += weight * part[i + GREEN]
        blue += weight * part[i + BLUE]
        depth += weight * part[i + DEPTH]
    pair[0] = -splat[2] * along_x - splat[3] * along_y
    pair[1] = -splat[3] * along_x - splat[4] * along_y
    pair[2], pair[3], pair[4] = -HALF * xx, -xy, -HALF * yy
    pair[5] = total / splat[5]
    pair[6], pair[7], pair[8], pair[9] = red, green, blue, depth


@kernel("void(float32[::1], int64, int64, float32[:, :, ::1], float32[:, :, ::1])")
def load_gradients(scratch: Array, left: int, top: int, image: Array, gradients: Array) -> None:
    """Put the gradients of the pixels of a tile into its scratch memory, and what they show weighted by these."""
    height, width = image.shape[1], image.shape[2]
    for row in range(min(TILE, height - top)):
        for column in range(min(TILE, width - left)):
            pixel, y, x = row * TILE + column, top + row, left + column
            scratch[RED + pixel] = gradients[0, y, x]
            scratch[GREEN + pixel] = gradients[1, y, x]
            scratch[BLUE + pixel] = gradients[2, y, x]
            scratch[OPACITY + pixel] = gradients[3, y, x]
            scratch[DEPTH + pixel] = gradients[4, y, x]
            for channel in range(5):
                scratch[REMAINING + pixel] += gradients[channel, y, x] * image[channel, y, x]


@kernel(
    "void(float32[:, ::1], int32[:, ::1], int64[::1], int64[::1], int32[::1], int64, int64, int64,"
    " float32[:, :, ::1], float32[:, :, ::1], float32[:, ::1])"
)
def differentiate_tiles(
    splats: Array,
    rectangles: Array,
    firsts: Array,
    starts: Array,
    members: Array,
    tiles_x: int,
    first_tile: int,
    end_tile: int,
    image: Array,
    gradients: Array,
    pairs: Array,
) -> None:
    """Gradients of what is on the screen, for a run of tiles.

    Args:
        splats, rectangles, firsts, starts, members: of the forward pass.
        tiles_x: tiles in a row.
        first_tile, end_tile: the run.
        image: of `draw_tiles`.
        gradients: of the loss with respect to it, shape [5, H, W].
        pairs: written, where not zero: shape [pairs, 10].
    """
    height, width = image.shape[1], image.shape[2]
    scratch = np.empty(SCRATCH, np.float32)
    for tile in range(first_tile, end_tile):
        tile_x, tile_y = tile % tiles_x, tile // tiles_x
        left, top = tile_x * TILE, tile_y * TILE
        begin_tile(scratch, left, top, width, height)
        load_gradients(scratch, left, top, image, gradients)
        first_row, end_row = 0, min(TILE, height - top)
        for k in range(starts[tile], starts[tile + 1]):
            n = members[k]
            splat, rectangle = splats[n], rectangles[n]
            begin, end = rows_seen(splat, top, first_row, end_row)
            if begin < end:
                row, columns = tile_y - rectangle[1], rectangle[2] - rectangle[0]
                pair = pairs[firsts[n] + row * columns + tile_x - rectangle[0]]
                weigh(scratch, begin * TILE, (end - begin) * TILE, splat)
                sum_pixels(scratch, begin * TILE, (end - begin) * TILE, splat, pair)
            if k & 7 == 7:
                while first_row < end_row and is_finished(scratch, first_row):
                    first_row += 1
                while first_row < end_row and is_finished(scratch, end_row - 1):
                    end_row -= 1
                if first_row == end_row:
                    break


@kernel("void(float32[::1], int64, float32[:, ::1], float32[::1])")
def turn_back(values: Array, at: int, by_matrix: Array, gradient: Array) -> None:
    """Add the gradient of the quaternion at `at` from that of its matrix."""
    w, x, y, z = values[at], values[at + 1], values[at + 2], values[at + 3]
    m = by_matrix
    skew_x, skew_y, skew_z = m[2, 1] - m[1, 2], m[0, 2] - m[2, 0], m[1, 0] - m[0, 1]
    even_x, even_y, even_z = m[2, 1] + m[1, 2], m[0, 2] + m[2, 0], m[1, 0] + m[0, 1]
    gradient[at] += TWO * (x * skew_x + y * skew_y + z * skew_z)
    gradient[at + 1] += TWO * (w * skew_x + y * even_z + z * even_y - TWO * x * (m[1, 1] + m[2, 2]))
    gradient[at + 2] += TWO * (w * skew_y + x * even_z + z * even_x - TWO * y * (m[0, 0] + m[2, 2]))
    gradient[at + 3] += TWO * (w * skew_z + x * even_y + y * even_x - TWO * z * (m[0, 0] + m[1, 1]))


@kernel("void(float32[::1], float32[::1], float32[:, ::1])", fast=REORDERED)
def by_covariance(splat: Array, total: Array, matrix: Array) -> None:
    """The gradient of the covariance on the screen from that of the conic: -K G K, with K the conic."""
    a, b, c = splat[2], splat[3], splat[4]
    ga, gb, gc = total[2], HALF * total[3], total[4]
    top, cross, back, low = ga * a + gb * b, ga * b + gb * c, gb * a + gc * b, gb * b + gc * c
    matrix[0, 0] = -(a * top + b * back)
    matrix[0, 1] = matrix[1, 0] = -(a * cross + b * low)
    matrix[1, 1] = -(b * cross + c * low)


@kernel(
    "void(float32[:, ::1], float32[::1], float32, float32[:, ::1], int32[:, ::1], int64[::1], float32[:, ::1],"
    " int64, int64, float32[:, ::1])",
    fast=REORDERED,
)
def add_gradients(
    values: Array,
    camera: Array,
    modifier: float,
    splats: Array,
    rectangles: Array,
    firsts: Array,
    pairs: Array,
    begin: int,
    end: int,
    gradients: Array,
) -> None:
    """Carry the gradients of one view through the projection, for Gaussians `begin` to `end`.

    Args:
        values, camera, modifier, splats, rectangles, firsts: as in the forward pass.
        pairs: of `differentiate_tiles`.
        gradients: those of the Gaussians are added to it, shape [N, 14].
    """
    total = np.empty(PAIR_COLUMNS, np.float32)
    turn, by_turn = np.empty((3, 3), np.float32), np.empty((3, 3), np.float32)
    toward, by_toward = np.empty((2, 3), np.float32), np.empty((2, 3), np.float32)
    axes, by_screen = np.empty((2, 3), np.float32), np.empty((2, 2), np.float32)
    fx, fy = camera[12], camera[13]
    for n in range(begin, end):
        rectangle = rectangles[n]
        count = max(0, rectangle[2] - rectangle[0]) * max(0, rectangle[3] - rectangle[1])
        if not count:
            continue
        total[:] = ZERO
        for k in range(firsts[n], firsts[n] + count):
            for column in range(PAIR_COLUMNS):
                total[column] += pairs[k, column]
        value, gradient = values[n], gradients[n]
        px, py, pz = value[0], value[1], value[2]
        x = camera[0] * px + camera[1] * py + camera[2] * pz + camera[9]
        y = camera[3] * px + camera[4] * py + camera[5] * pz + camera[10]
        z = camera[6] * px + camera[7] * py + camera[8] * pz + camera[11]
        slope_x, slope_y = min(max(x / z, camera[16]), camera[17]), min(max(y / z, camera[18]), camera[19])
        j00, j02, j11, j12 = fx / z, -(fx * slope_x) / z, fy / z, -(fy * slope_y) / z
        rotation(value, 7, turn)
        by_covariance(splats[n], total, by_screen)
        by_toward[:] = ZERO
        for k in range(3):
            toward[0, k] = j00 * camera[k] + j02 * camera[6 + k]
            toward[1, k] = j11 * camera[3 + k] + j12 * camera[6 + k]
        for k in range(3):
            scale, by_scale = value[4 + k] * modifier, ZERO
            for i in range(2):
                axes[i, k] = toward[i, 0] * turn[0, k] + toward[i, 1] * turn[1, k] + toward[i, 2] * turn[2, k]
            by_turn[0, k] = by_turn[1, k] = by_turn[2, k] = ZERO
            for i in range(2):
                by_axis = TWO * (by_screen[i, 0] * axes[0, k] + by_screen[i, 1] * axes[1, k]) * scale
                by_scale += by_axis * axes[i, k]
                for j in range(3):
                    by_turn[j, k] += by_axis * scale * toward[i, j]
                    by_toward[i, j] += by_axis * scale * turn[j, k]
            gradient[4 + k] += by_scale * modifier
        turn_back(value, 7, by_turn, gradient)
        by00 = by02 = by11 = by12 = ZERO
        for k in range(3):
            by00 += by_toward[0, k] * camera[k]
            by02 += by_toward[0, k] * camera[6 + k]
            by11 += by_toward[1, k] * camera[3 + k]
            by12 += by_toward[1, k] * camera[6 + k]
        nearness, square = ONE / (z + EPSILON), z * z
        by_x, by_y = total[0] * fx * nearness, total[1] * fy * nearness
        by_z = total[9] - (by_x * x + by_y * y) * nearness
        by_z -= (by00 * fx + by11 * fy) / square
        by_z += (by02 * fx * slope_x + by12 * fy * slope_y) / square
        if camera[16] < x / z < camera[17]:
            by_x -= by02 * fx / square
            by_z += by02 * fx * slope_x / square
        if camera[18] < y / z < camera[19]:
            by_y -= by12 * fy / square
            by_z += by12 * fy * slope_y / square
        for k in range(3):
            gradient[k] += by_x * camera[k] + by_y * camera[3 + k] + by_z * camera[6 + k]
            gradient[11 + k] += total[6 + k]
        gradient[3] += total[5]
