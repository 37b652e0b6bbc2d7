"""Render Gaussians: one interface, three backends.

| backend | runs on | derivative | |
|---|---|---|---|
| `compiled` | CPU, all cores | analytic | numba; the fastest on a CPU |
| `torch` | CPU, GPU | autograd | the reference; no dependency beyond torch |
| `gsplat` | NVIDIA GPU | analytic | differences: `splat_gsplat.py` |

`compiled` and `torch` are equal within rounding, in pictures and in gradients.
"""

import importlib.util
from collections.abc import Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, Literal, get_args

import numpy as np
from numpy.typing import NDArray

from fourd_ros.errors import InvalidGaussians, InvalidInput, MissingDependency
from fourd_ros.machine import pip_install
from fourd_ros.part_dynamics.gaussians import Gaussians, check_values
from fourd_ros.part_dynamics.splat_camera import SplatCamera
from fourd_ros.part_dynamics.splat_rules import check_size

if TYPE_CHECKING:
    import torch

Backend = Literal["compiled", "torch", "gsplat"]
BACKENDS: tuple[Backend, ...] = get_args(Backend)

WHITE = (1.0, 1.0, 1.0)


@dataclass(frozen=True, kw_only=True)
class RenderReport:
    """What rendered, for the log.

    Args:
        backend: that was used.
        reason: why this one, and what was passed over.
    """

    backend: Backend
    reason: str


@dataclass(frozen=True, kw_only=True, eq=False)
class Rendered:
    """Pictures of Gaussians.

    Args:
        rgb: on the background, 0 to 1, float32 [V, H, W, 3].
        alpha: share of what is seen that Gaussians show, float32 [V, H, W].
        depth: sum of depth times share [m], not divided by alpha: 0 where nothing is, float32 [V, H, W].
        radii: of every Gaussian in every view [px], 0 where it is culled, int32 [V, N].
        report: what rendered.
    """

    rgb: NDArray[np.float32]
    alpha: NDArray[np.float32]
    depth: NDArray[np.float32]
    radii: NDArray[np.int32]
    report: RenderReport


@dataclass(frozen=True, kw_only=True, eq=False)
class RenderedTensors:
    """The same as tensors on the device of the Gaussians, channels first.

    Args:
        rgb: float32 [V, 3, H, W].
        alpha: float32 [V, 1, H, W].
        depth: float32 [V, 1, H, W].
        radii: int32 [V, N].
        report: what rendered.
    """

    rgb: "torch.Tensor"
    alpha: "torch.Tensor"
    depth: "torch.Tensor"
    radii: "torch.Tensor"
    report: RenderReport


def render(
    gaussians: Gaussians,
    cameras: Sequence[SplatCamera],
    *,
    background: Sequence[float] = WHITE,
    scale_modifier: float = 1.0,
    backend: Backend | Literal["auto"] = "auto",
) -> Rendered:
    """Render every view of a set of Gaussians.

    Args:
        gaussians: in the world.
        cameras: views of one size, at least one.
        background: rgb.
        scale_modifier: times all scales, radii included.
        backend: `auto` takes gsplat where it and a GPU are, else the compiled one where numba is, else torch.

    Raises:
        InvalidInput: no view, views of several sizes, a background or modifier that is none, an unknown backend.
        MissingDependency: what the backend needs is not installed.
        TooLarge: more Gaussians or pixels than `splat_rules` allows; nothing was allocated.
    """
    tint = _check(len(gaussians), cameras, background, scale_modifier)
    report = choose_backend(backend, device="cuda" if backend != "torch" and _has_gpu() else "cpu")
    if report.backend == "compiled":
        from fourd_ros.part_dynamics.splat_compiled import draw

        table = np.ascontiguousarray(gaussians.values)
        views = draw(table, cameras, background=tint, modifier=scale_modifier)
        images, radii = np.stack([view.image for view in views]), np.stack([view.radii for view in views])
        rgb, alpha, depth = np.clip(images[:, :3], 0, 1), images[:, 3], images[:, 4]
    else:
        rgb, alpha, depth, radii = _draw_arrays(gaussians, cameras, tint, scale_modifier, report)
    channels_last = np.ascontiguousarray(rgb.transpose(0, 2, 3, 1))
    return Rendered(rgb=channels_last, alpha=alpha, depth=depth, radii=radii, report=report)


def render_tensors(
    values: "torch.Tensor",
    cameras: Sequence[SplatCamera],
    *,
    background: Sequence[float] = WHITE,
    scale_modifier: float = 1.0,
    backend: Backend | Literal["auto"] = "auto",
) -> RenderedTensors:
    """Render every view, differentiable with respect to the Gaussians; in float32 also under autocast.

    Args:
        values: the channels of `Gaussians`, any floating type, shape [N, 14]; their device chooses in `auto`.
        cameras, background, scale_modifier, backend: as for `render`.

    Raises:
        InvalidGaussians: another shape or type, or a value that is not finite.
        InvalidInput, MissingDependency, TooLarge: as `render`.
    """
    import torch

    check_values(tuple(values.shape), values.is_floating_point(), str(values.dtype), needed="floating")
    tint = torch.from_numpy(_check(len(values), cameras, background, scale_modifier)).to(values.device)
    if not _is_finite(values):
        count = int((~torch.isfinite(values)).any(dim=1).sum())
        raise InvalidGaussians(f"{count} of {len(values)} Gaussians hold values that are not finite; all must be")
    report = choose_backend(backend, device=values.device.type)
    with torch.autocast(values.device.type, enabled=False):
        rgb, alpha, depth, radii = _draw_tensors(values, cameras, tint, scale_modifier, report)
    return RenderedTensors(rgb=rgb, alpha=alpha, depth=depth, radii=radii, report=report)


def choose_backend(backend: Backend | Literal["auto"] = "auto", *, device: str = "cpu") -> RenderReport:
    """The backend for Gaussians on a device, and why.

    Args:
        backend: one, or `auto`.
        device: type of device, as torch names it.

    Raises:
        InvalidInput: an unknown backend, or one that does not run on the device.
        MissingDependency: what it needs is not installed.
    """
    if backend not in ("auto", *BACKENDS):
        raise InvalidInput(f"backend '{backend}'; there are auto, {', '.join(BACKENDS)}")
    if backend != "auto":
        obstacle = _obstacle(backend, device)
        if isinstance(obstacle, Exception):
            raise obstacle
        return RenderReport(backend=backend, reason=_told(backend, "it was asked for"))
    passed: list[str] = []
    for candidate in ("gsplat", "torch") if device == "cuda" else ("compiled", "torch"):
        obstacle = _obstacle(candidate, device)
        if obstacle is None:
            return RenderReport(backend=candidate, reason=_told(candidate, "; ".join([*passed, f"first for {device}"])))
        passed.append(str(obstacle))
    raise MissingDependency(f"nothing can render Gaussians here: {'; '.join(passed)}")


def _obstacle(backend: str, device: str) -> Exception | None:
    """Why a backend cannot run."""
    if backend == "gsplat" and device != "cuda":
        return InvalidInput(f"gsplat renders on an NVIDIA GPU, and the Gaussians are on {device}: move them to cuda")
    if backend == "compiled" and device == "cuda":
        return InvalidInput("the compiled backend renders on the CPU, and the Gaussians are on cuda: move them to cpu")
    needed = {"gsplat": "gsplat", "compiled": "numba", "torch": "torch"}[backend]
    if importlib.util.find_spec(needed) is None:
        return MissingDependency(f"{backend} needs {needed}: {pip_install(needed)}")
    return None


def _told(backend: str, reason: str) -> str:
    if backend != "compiled":
        return reason
    from fourd_ros.part_dynamics.splat_compiled import load_kernels

    return f"{reason}; {load_kernels()}"


def _has_gpu() -> bool:
    if importlib.util.find_spec("gsplat") is None:
        return False
    import torch

    return torch.cuda.is_available()


def _check(
    count: int, cameras: Sequence[SplatCamera], background: Sequence[float], modifier: float
) -> NDArray[np.float32]:
    """The background, if all that is asked for can be rendered."""
    sizes = {(camera.width, camera.height) for camera in cameras}
    if len(sizes) != 1:
        raise InvalidInput(f"views of the sizes {sorted(sizes)}; at least one is needed, and all of one size")
    tint = np.array(background, np.float32)
    if tint.shape != (3,) or not np.isfinite(tint).all() or not (np.isfinite(modifier) and modifier > 0):
        raise InvalidInput(
            f"background {background} and scale modifier {modifier}; needed are finite r, g, b and a positive number"
        )
    check_size(count, sum(camera.width * camera.height for camera in cameras))
    return tint


def _draw_arrays(
    gaussians: Gaussians,
    cameras: Sequence[SplatCamera],
    background: NDArray[np.float32],
    modifier: float,
    report: RenderReport,
) -> tuple[NDArray[np.float32], NDArray[np.float32], NDArray[np.float32], NDArray[np.int32]]:
    """rgb [V, 3, H, W], alpha and depth [V, H, W], radii [V, N]."""
    import torch

    device = "cuda" if report.backend == "gsplat" else "cpu"
    tint = torch.from_numpy(background).to(device)
    with torch.inference_mode():
        drawn = _draw_tensors(gaussians.to_tensor(device), cameras, tint, modifier, report)
    rgb, alpha, depth, radii = (part.cpu().numpy() for part in drawn)
    return rgb, alpha[:, 0], depth[:, 0], radii


def _is_finite(values: "torch.Tensor") -> bool:
    if values.device.type == "cpu":  # torch's threads take longer than numpy's single one
        return bool(np.isfinite(values.detach().float().numpy()).all())
    return bool(values.isfinite().all())


def _draw_tensors(values: Any, cameras: Sequence[SplatCamera], tint: Any, modifier: float, report: RenderReport) -> Any:
    """rgb, alpha, depth and radii by the backend of `report`."""
    if report.backend == "gsplat":
        from fourd_ros.part_dynamics.splat_gsplat import draw_gsplat as draw
    elif report.backend == "compiled":
        from fourd_ros.part_dynamics.splat_autograd import draw_compiled as draw
    else:
        from fourd_ros.part_dynamics.splat_torch import draw_torch as draw
    return draw(values, cameras, tint, modifier)
