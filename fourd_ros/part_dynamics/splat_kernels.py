"""The forward pass of the compiled rasteriser: projection, tiles, blending.

Decisions (which pixels, which Gaussians, when a pixel is finished) are computed in float32 with one rounding for every
operation, in the order in which `splat_torch.py` computes them, so that both decide alike. Only the exponential is our
own: numba calls the C library for it, once for every pixel.

The columns of ``splats`` float32 [N, 11]: 0-1 centre [px], 2-4 conic a, b, c [1/px^2], 5 opacity, 6-8 rgb, 9 depth [m],
10 half the height of what can be seen of it [px].
"""

import math
from typing import Any

import numpy as np
from numpy.typing import NDArray

from fourd_ros.part_dynamics.kernel_compiler import FUSED, kernel
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
)

Array = NDArray[Any]

SPLAT_COLUMNS = 11
PIXELS = TILE * TILE
MAX_RADIUS = np.float32(2**30)

ZERO, HALF, ONE, TWO = np.float32(0), np.float32(0.5), np.float32(1), np.float32(2)
NEAREST, EPSILON, WIDER = np.float32(NEAR), np.float32(DEPTH_EPSILON), np.float32(DILATION)
SPREAD, SIGMAS, SIDE = np.float32(MIN_SPREAD), np.float32(RADIUS_SIGMAS), np.float32(TILE)
OPAQUE, FAINT, FINISHED = np.float32(MAX_ALPHA), np.float32(MIN_ALPHA), np.float32(MIN_TRANSMITTANCE)

WELL_CONDITIONED = np.float32(1e-4)
"""Least determinant beside the product of the variances for which the extent of what is seen is computed."""

SLACK = np.float32(1.01)
"""By how much that extent is widened, so that rounding never cuts off a pixel."""

# Cody-Waite reduction by ln 2 and a polynomial of the Cephes library: relative error below 1e-7.
LOG2_E, LN2_HIGH, LN2_LOW = np.float32(1.44269504088896341), np.float32(0.693359375), np.float32(-2.12194440e-4)
E7, E6, E5 = np.float32(1.9875691500e-4), np.float32(1.3981999507e-3), np.float32(8.3334519073e-3)
E4, E3, E2 = np.float32(4.1665795894e-2), np.float32(1.6666665459e-1), np.float32(5.0000001201e-1)
LEAST_EXPONENT, EXPONENT_BIAS, MANTISSA_BITS = np.float32(-80), np.int32(127), np.int32(23)

# Planes of the scratch memory of a tile, each of PIXELS values.
ACROSS, DOWN, TRANSMITTANCE = 0, PIXELS, 2 * PIXELS
RED, GREEN, BLUE, DEPTH = 3 * PIXELS, 4 * PIXELS, 5 * PIXELS, 6 * PIXELS
SCRATCH = 7 * PIXELS

RADIX_BITS = 11
BUCKETS = 1 << RADIX_BITS


@kernel("float32(float32)", fast=FUSED)
def exponential(power: Any) -> Any:
    """e to the `power` <= 0, for vectors of pixels at once."""
    power = max(power, LEAST_EXPONENT)
    halvings = np.floor(power * LOG2_E + HALF)
    rest = power - halvings * LN2_HIGH - halvings * LN2_LOW
    series = ((((E7 * rest + E6) * rest + E5) * rest + E4) * rest + E3) * rest + E2
    scale = np.int32((np.int32(halvings) + EXPONENT_BIAS) << MANTISSA_BITS).view(np.float32)
    return (series * (rest * rest) + rest + ONE) * scale


@kernel("void(float32[::1], int64, float32[:, ::1])")
def rotation(values: Any, at: int, matrix: Any) -> None:
    """The matrix of the quaternion w, x, y, z at `at`, which is not normalised."""
    w, x, y, z = values[at], values[at + 1], values[at + 2], values[at + 3]
    matrix[0, 0] = ONE - TWO * (y * y + z * z)
    matrix[0, 1] = TWO * (x * y - w * z)
    matrix[0, 2] = TWO * (x * z + w * y)
    matrix[1, 0] = TWO * (x * y + w * z)
    matrix[1, 1] = ONE - TWO * (x * x + z * z)
    matrix[1, 2] = TWO * (y * z - w * x)
    matrix[2, 0] = TWO * (x * z - w * y)
    matrix[2, 1] = TWO * (y * z + w * x)
    matrix[2, 2] = ONE - TWO * (x * x + y * y)


@kernel("int64(float32, int64)")
def tile_index(position: Any, tiles: int) -> int:
    """A coordinate in tiles, truncated towards zero and kept within the image."""
    return int(min(max(position, ZERO), np.float32(tiles)))


@kernel(
    "void(float32[:, ::1], float32[::1], float32, int64, int64, int64, int64,"
    " float32[:, ::1], int32[:, ::1], int32[::1])"
)
def project(
    values: Array,
    camera: Array,
    modifier: float,
    tiles_x: int,
    tiles_y: int,
    begin: int,
    end: int,
    splats: Array,
    rectangles: Array,
    radii: Array,
) -> None:
    """Put Gaussians `begin` to `end` on the screen.

    Args:
        values: of the Gaussians, shape [N, 14].
        camera: `SplatCamera.packed`.
        modifier: of the scales.
        tiles_x, tiles_y: of the image.
        splats: written.
        rectangles: written: first and end tile, x before y, shape [N, 4]; empty where nothing can be seen.
        radii: written [px]; 0 is culled.
    """
    turn = np.empty((3, 3), np.float32)
    toward = np.empty((2, 3), np.float32)
    axes = np.empty((2, 3), np.float32)
    fx, fy, cx, cy = camera[12], camera[13], camera[14], camera[15]
    for n in range(begin, end):
        value, splat, rectangle = values[n], splats[n], rectangles[n]
        radii[n] = 0
        rectangle[:] = 0
        px, py, pz = value[0], value[1], value[2]
        x = camera[0] * px + camera[1] * py + camera[2] * pz + camera[9]
        y = camera[3] * px + camera[4] * py + camera[5] * pz + camera[10]
        z = camera[6] * px + camera[7] * py + camera[8] * pz + camera[11]
        if not z > NEAREST:
            continue
        nearness = ONE / (z + EPSILON)
        mx, my = fx * x * nearness + cx, fy * y * nearness + cy
        slope_x = min(max(x / z, camera[16]), camera[17])
        slope_y = min(max(y / z, camera[18]), camera[19])
        j00, j02, j11, j12 = fx / z, -(fx * slope_x) / z, fy / z, -(fy * slope_y) / z
        rotation(value, 7, turn)
        for k in range(3):
            toward[0, k] = j00 * camera[k] + j02 * camera[6 + k]
            toward[1, k] = j11 * camera[3 + k] + j12 * camera[6 + k]
        for k in range(3):
            scale = value[4 + k] * modifier
            for i in range(2):
                turned = toward[i, 0] * turn[0, k] + toward[i, 1] * turn[1, k] + toward[i, 2] * turn[2, k]
                axes[i, k] = turned * scale
        xx = axes[0, 0] * axes[0, 0] + axes[0, 1] * axes[0, 1] + axes[0, 2] * axes[0, 2] + WIDER
        xy = axes[0, 0] * axes[1, 0] + axes[0, 1] * axes[1, 1] + axes[0, 2] * axes[1, 2]
        yy = axes[1, 0] * axes[1, 0] + axes[1, 1] * axes[1, 1] + axes[1, 2] * axes[1, 2] + WIDER
        determinant = xx * yy - xy * xy
        inverse = ONE / determinant
        middle = HALF * (xx + yy)
        largest = middle + np.sqrt(max(SPREAD, middle * middle - determinant))
        radius = np.ceil(SIGMAS * np.sqrt(largest))
        if determinant == ZERO or not np.isfinite(inverse * xx + inverse * yy + mx + my + radius):
            continue
        low_x, high_x = (
            tile_index((mx - radius) / SIDE, tiles_x),
            tile_index((mx + radius + SIDE - ONE) / SIDE, tiles_x),
        )
        low_y, high_y = (
            tile_index((my - radius) / SIDE, tiles_y),
            tile_index((my + radius + SIDE - ONE) / SIDE, tiles_y),
        )
        if low_x >= high_x or low_y >= high_y:
            continue
        radii[n] = int(min(radius, MAX_RADIUS))
        splat[0], splat[1] = mx, my
        splat[2], splat[3], splat[4] = yy * inverse, -xy * inverse, xx * inverse
        splat[5], splat[6], splat[7], splat[8], splat[9] = value[3], value[11], value[12], value[13], z
        visible = np.float32(math.log(max(value[3] / FAINT, FAINT))) + np.float32(1e-3)
        if visible <= ZERO:
            continue
        half_width = half_height = np.float32(np.inf)
        if determinant > WELL_CONDITIONED * xx * yy:
            half_width = np.sqrt(TWO * visible * xx) * SLACK
            half_height = np.sqrt(TWO * visible * yy) * SLACK
        splat[10] = half_height
        rectangle[0] = max(low_x, tile_index((mx - half_width) / SIDE, tiles_x))
        rectangle[1] = max(low_y, tile_index((my - half_height) / SIDE, tiles_y))
        rectangle[2] = min(high_x, tile_index((mx + half_width) / SIDE + ONE, tiles_x))
        rectangle[3] = min(high_y, tile_index((my + half_height) / SIDE + ONE, tiles_y))


@kernel("int64(int32[:, ::1], int64[::1])")
def number_pairs(rectangles: Array, firsts: Array) -> int:
    """Number the pairs of Gaussian and tile by Gaussian, then row, then column of tiles; how many there are.

    Args:
        rectangles: of the Gaussians.
        firsts: written: number of the first pair of each Gaussian, shape [N].
    """
    pairs = 0
    for n in range(len(rectangles)):
        rectangle = rectangles[n]
        firsts[n] = pairs
        pairs += max(0, rectangle[2] - rectangle[0]) * max(0, rectangle[3] - rectangle[1])
    return pairs


@kernel("int32[::1](float32[:, ::1], int32[:, ::1])")
def front_to_back(splats: Array, rectangles: Array) -> Any:
    """Indices of the Gaussians that reach a tile, nearest first, those of equal depth in their own order.

    Depths are positive, so their bits count like integers: a radix sort in three passes.
    """
    order = np.empty(len(rectangles), np.int32)
    count = 0
    for n in range(len(rectangles)):
        rectangle = rectangles[n]
        if rectangle[0] < rectangle[2] and rectangle[1] < rectangle[3]:
            order[count] = n
            count += 1
    keys = np.empty(count, np.uint32)
    for k in range(count):
        keys[k] = np.float32(splats[order[k], 9]).view(np.uint32)
    order = order[:count].copy()
    sorted_keys, sorted_order = np.empty_like(keys), np.empty_like(order)
    for passage in range(3):
        shift = np.uint32(passage * RADIX_BITS)
        places = np.zeros(BUCKETS, np.int64)
        for k in range(count):
            places[(keys[k] >> shift) & np.uint32(BUCKETS - 1)] += 1
        total = 0
        for bucket in range(BUCKETS):
            size = places[bucket]
            places[bucket] = total
            total += size
        for k in range(count):
            bucket = (keys[k] >> shift) & np.uint32(BUCKETS - 1)
            place = places[bucket]
            sorted_keys[place], sorted_order[place] = keys[k], order[k]
            places[bucket] = place + 1
        keys, sorted_keys = sorted_keys, keys
        order, sorted_order = sorted_order, order
    return order


@kernel("void(int32[::1], int32[:, ::1], int64, int64[::1], int32[::1])")
def fill_tiles(order: Array, rectangles: Array, tiles_x: int, starts: Array, members: Array) -> None:
    """List the Gaussians of every tile, nearest first.

    Args:
        order: of `front_to_back`.
        rectangles: of the Gaussians.
        tiles_x: tiles in a row.
        starts: written: where the list of each tile begins, and the end of the last, shape [tiles + 1].
        members: written: the lists one after the other, shape [pairs].
    """
    starts[:] = 0
    for n in order:
        rectangle = rectangles[n]
        for row in range(rectangle[1], rectangle[3]):
            for column in range(rectangle[0], rectangle[2]):
                starts[row * tiles_x + column + 1] += 1
    for tile in range(len(starts) - 1):
        starts[tile + 1] += starts[tile]
    cursors = starts[:-1].copy()
    for n in order:
        rectangle = rectangles[n]
        for row in range(rectangle[1], rectangle[3]):
            for column in range(rectangle[0], rectangle[2]):
                tile = row * tiles_x + column
                members[cursors[tile]] = n
                cursors[tile] += 1


@kernel("void(float32[::1], int64, int64, int64, int64)")
def begin_tile(scratch: Array, left: int, top: int, width: int, height: int) -> None:
    """Fill the scratch memory of a tile: coordinates; 1 passes through, nothing through pixels outside the image."""
    scratch[TRANSMITTANCE:] = ZERO
    for pixel in range(PIXELS):
        x, y = left + pixel % TILE, top + pixel // TILE
        scratch[ACROSS + pixel] = np.float32(x)
        scratch[DOWN + pixel] = np.float32(y)
        if x < width and y < height:
            scratch[TRANSMITTANCE + pixel] = ONE


@kernel("boolean(float32[::1], int64)")
def is_finished(scratch: Array, row: int) -> bool:
    """Whether every pixel in a row of a tile is."""
    left = ZERO
    for column in range(TILE):
        left = max(left, scratch[TRANSMITTANCE + row * TILE + column])
    return bool(left == ZERO)


@kernel("UniTuple(int64, 2)(float32[::1], int64, int64, int64)")
def rows_seen(splat: Array, top: int, first: int, end: int) -> tuple[int, int]:
    """The rows of a tile, of `first` to `end`, in which a Gaussian can be seen."""
    lowest, highest = np.ceil(splat[1] - splat[10]), np.floor(splat[1] + splat[10]) + ONE
    below = int(max(lowest, np.float32(top + first))) - top if lowest < np.float32(top + end) else end
    above = int(min(highest, np.float32(top + end))) - top if highest > np.float32(top + first) else first
    return below, above


@kernel("void(float32[::1], int64, int64, float32[::1])")
def blend(scratch: Array, start: int, count: int, splat: Array) -> None:
    """Add a Gaussian to `count` pixels from `start`; the transmittance of those that it finishes becomes negative."""
    mx, my, a, b, c, opacity = splat[0], splat[1], splat[2], splat[3], splat[4], splat[5]
    red, green, blue, depth = splat[6], splat[7], splat[8], splat[9]
    part = scratch[start:]
    for i in range(count):
        through = part[i + TRANSMITTANCE]
        dx = mx - part[i + ACROSS]
        dy = my - part[i + DOWN]
        power = -HALF * (a * dx * dx + c * dy * dy) - b * dx * dy
        alpha = min(OPAQUE, opacity * exponential(power))
        left = through * (ONE - alpha)
        seen = (through > ZERO) & (power <= ZERO) & (alpha >= FAINT)
        goes_on = left >= FINISHED
        weight = alpha * through if seen & goes_on else ZERO
        part[i + TRANSMITTANCE] = (left if goes_on else -through) if seen else through
        part[i + RED] += red * weight
        part[i + GREEN] += green * weight
        part[i + BLUE] += blue * weight
        part[i + DEPTH] += depth * weight


@kernel("void(float32[:, ::1], int64[::1], int32[::1], int64, int64, int64, float32[::1], float32[:, :, ::1])")
def draw_tiles(
    splats: Array,
    starts: Array,
    members: Array,
    tiles_x: int,
    first_tile: int,
    end_tile: int,
    background: Array,
    image: Array,
) -> None:
    """Draw a run of tiles.

    Args:
        splats, starts, members: of `project` and `fill_tiles`.
        tiles_x: tiles in a row.
        first_tile, end_tile: the run.
        background: rgb.
        image: written: r, g, b (not clamped), alpha, depth, shape [5, H, W].
    """
    height, width = image.shape[1], image.shape[2]
    scratch = np.empty(SCRATCH, np.float32)
    for tile in range(first_tile, end_tile):
        left, top = tile % tiles_x * TILE, tile // tiles_x * TILE
        begin_tile(scratch, left, top, width, height)
        first_row, end_row = 0, min(TILE, height - top)
        for k in range(starts[tile], starts[tile + 1]):
            splat = splats[members[k]]
            begin, end = rows_seen(splat, top, first_row, end_row)
            if begin < end:
                blend(scratch, begin * TILE, (end - begin) * TILE, splat)
            if k & 7 == 7:
                while first_row < end_row and is_finished(scratch, first_row):
                    first_row += 1
                while first_row < end_row and is_finished(scratch, end_row - 1):
                    end_row -= 1
                if first_row == end_row:
                    break
        for row in range(min(TILE, height - top)):
            for column in range(min(TILE, width - left)):
                pixel = row * TILE + column
                through = abs(scratch[TRANSMITTANCE + pixel])
                y, x = top + row, left + column
                image[0, y, x] = scratch[RED + pixel] + through * background[0]
                image[1, y, x] = scratch[GREEN + pixel] + through * background[1]
                image[2, y, x] = scratch[BLUE + pixel] + through * background[2]
                image[3, y, x] = ONE - through
                image[4, y, x] = scratch[DEPTH + pixel]
