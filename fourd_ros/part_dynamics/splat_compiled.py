"""The compiled rasteriser: what the kernels do, on all cores, for several views of one set of Gaussians."""

import math
import os
import threading
import time
from collections.abc import Callable, Iterable, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from functools import lru_cache
from typing import Any

import numpy as np
from numpy.typing import NDArray

from fourd_ros.part_dynamics.kernel_compiler import kept_at
from fourd_ros.part_dynamics.splat_camera import SplatCamera
from fourd_ros.part_dynamics.splat_rules import TILE, check_pairs

Array = NDArray[Any]

JOBS_PER_THREAD = 4
"""More jobs than threads, because some tiles take longer than others."""

_loading = threading.Lock()


@dataclass(frozen=True, kw_only=True, eq=False)
class DrawnView:
    """One view, and all that its gradients need; what the arrays hold `splat_kernels` says.

    Args:
        camera: `SplatCamera.packed`.
        tiles_x, tiles_y: of the image.
        splats, rectangles, radii, firsts, starts, members: of the kernels.
        image: r, g, b (not clamped), alpha, depth, shape [5, H, W].
    """

    camera: Array
    tiles_x: int
    tiles_y: int
    splats: Array
    rectangles: Array
    radii: Array
    firsts: Array
    starts: Array
    members: Array
    image: Array


def load_kernels() -> str:
    """Compile the kernels, or load what was compiled before; in words, how long that took in this process."""
    with _loading:
        return _load_kernels()


def draw(values: Array, cameras: Sequence[SplatCamera], *, background: Array, modifier: float) -> list[DrawnView]:
    """Render every view.

    Args:
        values: finite, C-contiguous float32 [N, 14].
        cameras: the views.
        background: rgb, float32 [3].
        modifier: of the scales.

    Raises:
        MissingDependency: numba is not installed.
        TooLarge: far too many Gaussians reach far too many tiles.
    """
    load_kernels()
    from fourd_ros.part_dynamics import splat_kernels as kernels

    views = [_empty_view(len(values), camera, kernels.SPLAT_COLUMNS) for camera in cameras]

    def project(view: DrawnView, begin: int, end: int) -> None:
        screen = view.splats, view.rectangles, view.radii
        kernels.project(values, view.camera, modifier, view.tiles_x, view.tiles_y, begin, end, *screen)

    def sort(index: int) -> DrawnView:
        view = views[index]
        order = kernels.front_to_back(view.splats, view.rectangles)
        members = np.empty(pairs[index], np.int32)
        kernels.fill_tiles(order, view.rectangles, view.tiles_x, view.starts, members)
        return _with_members(view, members)

    def draw_tiles(view: DrawnView, begin: int, end: int) -> None:
        listed = view.splats, view.starts, view.members, view.tiles_x
        kernels.draw_tiles(*listed, begin, end, background, view.image)

    _run(project, ((view, *part) for view in views for part in _parts(len(values), len(views))))
    pairs = [kernels.number_pairs(view.rectangles, view.firsts) for view in views]
    check_pairs(sum(pairs))
    views = _run(sort, ((index,) for index in range(len(views))))
    tiles = [(view, *part) for view in views for part in _parts(view.tiles_x * view.tiles_y, len(views))]
    _run(draw_tiles, tiles)
    return views


def differentiate(values: Array, views: Sequence[DrawnView], *, modifier: float, gradients: Array) -> Array:
    """The gradient of a loss with respect to the Gaussians.

    Args:
        values: as they were drawn.
        views: of `draw`.
        modifier: of the scales.
        gradients: of the loss with respect to the images, C-contiguous float32 [V, 5, H, W].

    Returns:
        Float32 [N, 14].
    """
    from fourd_ros.part_dynamics import splat_gradients as kernels

    pairs = [np.zeros((len(view.members), kernels.PAIR_COLUMNS), np.float32) for view in views]
    total = np.zeros_like(values)

    def differentiate_tiles(index: int, begin: int, end: int) -> None:
        view = views[index]
        listed = view.splats, view.rectangles, view.firsts, view.starts, view.members, view.tiles_x
        kernels.differentiate_tiles(*listed, begin, end, view.image, gradients[index], pairs[index])

    def add(begin: int, end: int) -> None:
        for view, of_view in zip(views, pairs, strict=True):
            screen = view.splats, view.rectangles, view.firsts, of_view
            kernels.add_gradients(values, view.camera, modifier, *screen, begin, end, total)

    tiles = [
        (index, *part) for index, view in enumerate(views) for part in _parts(view.tiles_x * view.tiles_y, len(views))
    ]
    _run(differentiate_tiles, tiles)
    _run(add, _parts(len(values), 1))
    return total


def _empty_view(count: int, camera: SplatCamera, columns: int) -> DrawnView:
    tiles_x, tiles_y = math.ceil(camera.width / TILE), math.ceil(camera.height / TILE)
    return DrawnView(
        camera=camera.packed(),
        tiles_x=tiles_x,
        tiles_y=tiles_y,
        splats=np.empty((count, columns), np.float32),
        rectangles=np.empty((count, 4), np.int32),
        radii=np.empty(count, np.int32),
        firsts=np.empty(count, np.int64),
        starts=np.empty(tiles_x * tiles_y + 1, np.int64),
        members=np.empty(0, np.int32),
        image=np.empty((5, camera.height, camera.width), np.float32),
    )


def _with_members(view: DrawnView, members: Array) -> DrawnView:
    return DrawnView(**{**vars(view), "members": members})


def _parts(count: int, views: int) -> list[tuple[int, int]]:
    """Runs of equal length, as many as keep all threads busy with `views` views."""
    wanted = max(1, math.ceil(JOBS_PER_THREAD * _threads() / views))
    length = max(1, math.ceil(count / wanted))
    return [(begin, min(begin + length, count)) for begin in range(0, count, length)]


def _run(function: Callable[..., Any], jobs: Iterable[tuple[Any, ...]]) -> list[Any]:
    jobs = list(jobs)
    if len(jobs) == 1 or _threads() == 1:
        return [function(*job) for job in jobs]
    return list(_pool(os.getpid()).map(lambda job: function(*job), jobs))


def _threads() -> int:
    return len(os.sched_getaffinity(0))


@lru_cache(maxsize=1)
def _pool(process: int) -> ThreadPoolExecutor:
    """The threads of this process: those of its parent do not live on in a fork."""
    return ThreadPoolExecutor(_threads(), thread_name_prefix="splat")


@lru_cache(maxsize=1)
def _load_kernels() -> str:
    began = time.perf_counter()
    from fourd_ros.part_dynamics import splat_gradients

    took = time.perf_counter() - began
    kernel: Any = splat_gradients.add_gradients
    if kernel.stats.cache_hits:
        return f"kernels loaded in {took:.1f} s"
    return f"kernels compiled in {took:.1f} s; later processes load them from {kept_at()}"
