"""Rendering 3D Gaussians by every backend that runs here: one view, forward, and forward with the gradient.

The Gaussians lie on the surface of a box and a ball, are flat, and have radii of about 5 pixels in the mean, as the
networks of part dynamics give them; 16 384 are rendered at 128 x 128, 65 536 at 256 x 256. The clock is over one call
of `render` (arrays to arrays) or of `render_tensors` and `backward`; loading or compiling the kernels is not in it, and
what that took is told. The backends take turns, so a busy machine slows them alike; torch's threads are told to sleep
while they wait (`OMP_WAIT_POLICY=PASSIVE`), or they would slow the backend that is next. The largest difference of
their pictures is told beside the times; gsplat has a row where CUDA and it are.
"""

import argparse
import importlib.util
import os
import sys

import numpy as np
import torch
from measure import measure_side_by_side, report
from torch import Tensor

from fourd_ros.geometry.transforms import look_at
from fourd_ros.part_dynamics.gaussians import Gaussians
from fourd_ros.part_dynamics.rasterise import Backend, Rendered, render, render_tensors
from fourd_ros.part_dynamics.splat_camera import SplatCamera, square_pinhole

SIZES = ((16_384, 128), (65_536, 256))
FOVY = 49.1
DISTANCE = 2.4
SIGMA_PIXELS = 1.55
"""Of the wide axes: radii are three times that, rounded up."""


def main() -> None:
    """Print the table."""
    if "OMP_WAIT_POLICY" not in os.environ:  # torch reads it when it is imported
        os.execve(sys.executable, [sys.executable, *sys.argv], {**os.environ, "OMP_WAIT_POLICY": "PASSIVE"})
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--repeats", type=int, default=9)
    repeats = parser.parse_args().repeats
    report("gaussian_render", [row for count, size in SIZES for row in _rows(count, size, repeats)])


def _rows(count: int, size: int, repeats: int) -> list[dict[str, object]]:
    gaussians = surface(count, size)
    cameras = [_camera(size)]
    rendered: dict[Backend, Rendered] = {name: render(gaussians, cameras, backend=name) for name in _backends()}
    forward = measure_side_by_side(
        {name: lambda name=name: render(gaussians, cameras, backend=name) for name in rendered},  # type: ignore[misc]
        repeat=repeats,
        warmup=1,
    )
    both = measure_side_by_side(
        {name: lambda name=name: _with_gradient(gaussians, cameras, name) for name in rendered},  # type: ignore[misc]
        repeat=max(3, repeats // 3),
        warmup=1,
    )
    return [
        {
            "what": f"{count} at {size} x {size}",
            "backend": name,
            "forward_ms": forward[name],
            "with_gradient_ms": both[name],
            "mean_radius": float(picture.radii[picture.radii > 0].mean()),
            "shown": float((picture.radii > 0).mean()),
            "largest_difference_e6": 1e6 * _difference(picture, rendered["torch"]),
            "reason": picture.report.reason,
        }
        for name, picture in rendered.items()
    ]


def surface(count: int, size: int) -> Gaussians:
    """Gaussians on a box with a ball on it, flat, of the radius that the benchmark is about."""
    random = np.random.default_rng(0)
    on_box = random.uniform(-0.55, 0.55, (count // 2, 3))
    axis = random.integers(0, 3, len(on_box))
    on_box[np.arange(len(on_box)), axis] = random.choice([-0.55, 0.55], len(on_box))
    on_ball = random.normal(size=(count - len(on_box), 3))
    on_ball = 0.45 * on_ball / np.linalg.norm(on_ball, axis=1, keepdims=True) + [0, -0.6, 0]
    metres = SIGMA_PIXELS * DISTANCE * 2 * np.tan(np.deg2rad(FOVY) / 2) / size
    scale = metres * random.uniform([0.7, 0.7, 0.1], [1.0, 1.0, 0.3], (count, 3))
    turn = random.normal(size=(count, 4))
    turn /= np.linalg.norm(turn, axis=1, keepdims=True)
    opacity, rgb = random.uniform(0.2, 1, (count, 1)), random.uniform(0, 1, (count, 3))
    values = np.hstack([np.vstack([on_box, on_ball]), opacity, scale, turn, rgb])
    return Gaussians(values=values.astype(np.float32))


def _camera(size: int) -> SplatCamera:
    pose = look_at(np.array([1.2, -1.2, -1.7]), np.zeros(3), np.array([0.0, -1.0, 0.0]))
    return SplatCamera(camera=square_pinhole(fovy=FOVY, size=size), T_world_camera=pose)


def _backends() -> tuple[Backend, ...]:
    with_gpu = importlib.util.find_spec("gsplat") is not None and torch.cuda.is_available()
    return ("compiled", "torch", "gsplat") if with_gpu else ("compiled", "torch")


def _with_gradient(gaussians: Gaussians, cameras: list[SplatCamera], backend: Backend) -> Tensor | None:
    values = gaussians.to_tensor("cuda" if backend == "gsplat" else "cpu").requires_grad_()
    rendered = render_tensors(values, cameras, backend=backend)
    ((rendered.rgb - 0.5).square().mean() + rendered.alpha.square().mean()).backward()  # type: ignore[no-untyped-call]
    return None if values.grad is None else values.grad.cpu()


def _difference(one: Rendered, other: Rendered) -> float:
    pairs = ((one.rgb, other.rgb), (one.alpha, other.alpha), (one.depth, other.depth))
    return max(float(np.abs(a - b).max()) for a, b in pairs)


if __name__ == "__main__":
    main()
