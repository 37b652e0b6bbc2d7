"""The rasteriser against the vectors of the reference, and against a plain one in double precision."""

import json
import math
import multiprocessing
from collections.abc import Callable
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from numpy.typing import NDArray
from safetensors.numpy import load_file
from torch import Tensor

from fourd_ros.errors import (
    InvalidCamera,
    InvalidGaussians,
    InvalidInput,
    InvalidTransform,
    MissingDependency,
    TooLarge,
)
from fourd_ros.geometry.camera import PinholeCamera
from fourd_ros.geometry.transforms import look_at
from fourd_ros.part_dynamics import rasterise, splat_rules
from fourd_ros.part_dynamics.gaussians import Gaussians
from fourd_ros.part_dynamics.kernel_compiler import kept_at
from fourd_ros.part_dynamics.rasterise import Backend, choose_backend, render, render_tensors
from fourd_ros.part_dynamics.splat_camera import OfficialMatrices, SplatCamera, square_pinhole

GOLDEN = Path(__file__).with_name("golden") / "partrm" / "rasteriser"
BACKENDS: tuple[Backend, ...] = ("compiled", "torch")
SCENE, RENDERED = load_file(GOLDEN / "scene.safetensors"), load_file(GOLDEN / "render.safetensors")
CONFIG = json.loads((GOLDEN / "config.json").read_text())


def camera(*, width: int = 53, height: int = 37, fx: float = 60.0, fy: float = 48.0) -> SplatCamera:
    """Not square, its principal point off the centre, looking at the origin from 2 m."""
    K = np.array([[fx, 0, 17.3], [0, fy, 22.6], [0, 0, 1]])
    pose = look_at(np.array([0.9, -0.7, -1.6]), np.zeros(3), np.array([0.0, -1.0, 0.0]))
    return SplatCamera(camera=PinholeCamera(width=width, height=height, K=K), T_world_camera=pose)


def cloud(count: int, *, seed: int = 0, size: float = 0.06) -> NDArray[np.float32]:
    """Gaussians of all shapes within half a metre around the origin, well-behaved."""
    random = np.random.default_rng(seed)
    turn = random.normal(size=(count, 4))
    values = np.hstack(
        [
            random.uniform(-0.5, 0.5, (count, 3)),
            random.uniform(0.1, 0.9, (count, 1)),
            random.uniform(0.2 * size, size, (count, 3)),
            turn / np.linalg.norm(turn, axis=1, keepdims=True),
            random.uniform(0, 1, (count, 3)),
        ]
    )
    return values.astype(np.float32)


def wild_cloud() -> NDArray[np.float32]:
    """The same with all that the vectors of the reference lack."""
    values = cloud(120, seed=3, size=0.12)
    values[:30, 7:11] *= np.random.default_rng(4).uniform(0.6, 1.5, (30, 1)).astype(np.float32)
    values[30:50, 3] = 1
    values[50:70, 11:14] = np.random.default_rng(5).uniform(-0.8, 1.9, (20, 3))
    # Far to the sides and large, so that they are seen although their centres lie beyond 1.3 times the image.
    T = camera().T_world_camera
    beside = np.array([[2.2, 0.3, 1], [-1.6, 0.2, 0.9], [0.1, 2, 0.95], [0.2, -2.1, 1.1], [0, 0, 0.15], [0, 0, -1]])
    values[70:76, :3] = beside @ T[:3, :3].T + T[:3, 3]
    values[70:74, 4:7] = 0.7
    return values


@dataclass(frozen=True, kw_only=True)
class Plain:
    """Pictures by the plain rasteriser."""

    images: Tensor
    radii: NDArray[np.int64]
    beyond: NDArray[np.bool_]


def plain(values: Tensor, view: SplatCamera, background: Tensor, modifier: float = 1.0) -> Plain:
    """The rules in double precision, over whole images, one Gaussian after the other."""
    K, width, height = view.camera.K, view.width, view.height
    T = torch.tensor(np.linalg.inv(view.T_world_camera))
    rows, columns = torch.meshgrid(torch.arange(height), torch.arange(width), indexing="ij")
    image, through = torch.zeros(5, height, width, dtype=torch.float64), torch.ones(height, width, dtype=torch.float64)
    finished = torch.zeros(height, width, dtype=torch.bool)
    radii, beyond = np.zeros(len(values), int), np.zeros(len(values), bool)
    points = values[:, :3] @ T[:3, :3].T + T[:3, 3]
    for n in torch.argsort(points[:, 2], stable=True).tolist():
        x, y, z = points[n]
        if z <= 0.2:
            continue
        slopes = []
        for ratio, focal, centre, size in ((x / z, K[0, 0], K[0, 2], width), (y / z, K[1, 1], K[1, 2], height)):
            margin = 0.3 * size / 2 / focal
            slopes.append(ratio.clamp((-0.5 - centre) / focal - margin, (size - 0.5 - centre) / focal + margin))
            beyond[n] |= bool(slopes[-1] != ratio)
        zero = torch.zeros((), dtype=torch.float64)
        J = torch.stack([torch.stack([K[0, 0] / z, zero, -K[0, 0] * slopes[0] / z]),
                         torch.stack([zero, K[1, 1] / z, -K[1, 1] * slopes[1] / z])])  # fmt: skip
        covariance = _covariance(values[n], modifier)
        screen = J @ T[:3, :3] @ covariance @ T[:3, :3].T @ J.T + 0.3 * torch.eye(2, dtype=torch.float64)
        centre = torch.stack([K[0, 0] * x / (z + 1e-7) + K[0, 2], K[1, 1] * y / (z + 1e-7) + K[1, 2]])
        spread, middle = torch.linalg.det(screen), torch.trace(screen) / 2
        radius = torch.ceil(3 * torch.sqrt(middle + torch.sqrt((middle**2 - spread).clamp(min=0.1)))).item()
        inside, reached = torch.ones(height, width, dtype=torch.bool), True
        for position, index, size in ((centre[0], columns, width), (centre[1], rows, height)):
            tiles = math.ceil(size / 16)
            low = min(max(int((position.item() - radius) / 16), 0), tiles)
            high = min(max(int((position.item() + radius + 15) / 16), 0), tiles)
            inside &= (index // 16 >= low) & (index // 16 < high)
            reached &= low < high
        if not reached:
            continue
        radii[n] = radius
        d = torch.stack([centre[0] - columns, centre[1] - rows], dim=-1)
        power = -0.5 * ((d @ torch.linalg.inv(screen)) * d).sum(-1)
        alpha = (values[n, 3] * torch.exp(power)).clamp(max=0.99)
        seen = inside & (alpha >= 1 / 255) & ~finished
        finished |= seen & (through * (1 - alpha) < 1e-4)
        alpha = torch.where(seen & ~finished, alpha, 0.0)
        shown = torch.cat([values[n, 11:14], torch.ones(1, dtype=torch.float64), z[None]])
        image = image + shown[:, None, None] * alpha * through
        through = through * (1 - alpha)
    image = image + torch.cat([background, torch.zeros(2)]).double()[:, None, None] * through
    return Plain(images=image, radii=radii, beyond=beyond)


def _covariance(value: Tensor, modifier: float) -> Tensor:
    w, x, y, z = value[7:11]
    R = torch.stack(
        [
            torch.stack([1 - 2 * (y * y + z * z), 2 * (x * y - w * z), 2 * (x * z + w * y)]),
            torch.stack([2 * (x * y + w * z), 1 - 2 * (x * x + z * z), 2 * (y * z - w * x)]),
            torch.stack([2 * (x * z - w * y), 2 * (y * z + w * x), 1 - 2 * (x * x + y * y)]),
        ]
    )
    return R @ torch.diag((modifier * value[4:7]) ** 2) @ R.T


def gradient(values: NDArray[np.float32], views: list[SplatCamera], weights: Tensor, **options: Any) -> Tensor:
    """Of the weighted sum of all that is rendered."""
    tensor = torch.tensor(values, requires_grad=True)
    rendered = render_tensors(tensor, views, **options)
    (torch.cat([rendered.rgb, rendered.alpha, rendered.depth], dim=1) * weights).sum().backward()  # type: ignore[no-untyped-call]
    assert tensor.grad is not None
    return tensor.grad


def weights_of(views: list[SplatCamera], seed: int = 0) -> Tensor:
    shape = (len(views), 5, views[0].height, views[0].width)
    return torch.randn(shape, generator=torch.Generator().manual_seed(seed))


def official_cameras() -> list[SplatCamera]:
    return [
        SplatCamera.from_opengl(pose, fovy=CONFIG["fovy"], size=CONFIG["output_size"]) for pose in SCENE["c2w_opengl"]
    ]


def test_matrices_are_the_official_ones() -> None:
    matrices = OfficialMatrices.from_opengl(
        SCENE["c2w_opengl"], fovy=CONFIG["fovy"], znear=CONFIG["znear"], zfar=CONFIG["zfar"]
    )
    for name in ("cam_view", "cam_view_proj", "cam_pos"):
        np.testing.assert_allclose(getattr(matrices, name), SCENE[name][0], atol=1e-6)
    np.testing.assert_allclose(matrices.projection, SCENE["proj_matrix"], atol=1e-6)
    ours, theirs = official_cameras()[1], SplatCamera.from_cam_view(SCENE["cam_view"][0, 1], fovy=49.1, size=72)
    np.testing.assert_allclose(ours.packed(), theirs.packed(), atol=1e-5)


@pytest.mark.parametrize("backend", BACKENDS)
def test_pictures_are_those_of_the_reference(backend: Backend) -> None:
    gaussians = Gaussians(values=SCENE["gaussians"][0])
    white = render(gaussians, official_cameras(), backend=backend)
    dark = render(
        gaussians, official_cameras(), backend=backend, background=RENDERED["bg2"].tolist(), scale_modifier=0.7
    )
    np.testing.assert_allclose(white.rgb.transpose(0, 3, 1, 2), RENDERED["image_white"][0], atol=2e-5)
    np.testing.assert_allclose(white.alpha, RENDERED["alpha"][0, :, 0], atol=2e-5)
    np.testing.assert_allclose(white.depth, RENDERED["depth"][0, :, 0], atol=5e-5)
    np.testing.assert_array_equal(white.radii, RENDERED["radii"][0])
    np.testing.assert_allclose(dark.rgb.transpose(0, 3, 1, 2), RENDERED["image_bg2_scale07"][0], atol=2e-5)
    np.testing.assert_allclose(dark.alpha, RENDERED["alpha_scale07"][0, :, 0], atol=2e-5)
    assert white.report.backend == backend


@pytest.mark.parametrize("backend", BACKENDS)
def test_pictures_are_those_of_the_plain_rules(backend: Backend) -> None:
    values, view, background = wild_cloud(), camera(), (0.2, 0.5, 0.9)
    expected = plain(torch.tensor(values).double(), view, torch.tensor(background), 0.8)
    rendered = render(Gaussians(values=values), [view], background=background, scale_modifier=0.8, backend=backend)
    np.testing.assert_allclose(rendered.rgb[0], expected.images[:3].clamp(0, 1).permute(1, 2, 0), atol=1e-5)
    np.testing.assert_allclose(rendered.alpha[0], expected.images[3], atol=1e-5)
    np.testing.assert_allclose(rendered.depth[0], expected.images[4], atol=2e-5)
    np.testing.assert_array_equal(rendered.radii[0], expected.radii)
    # What the vectors of the reference do not reach, is reached here.
    assert (expected.beyond[70:74] & (expected.radii[70:74] > 0)).all()
    assert (expected.radii[74:76] == 0).all()
    assert (expected.images[:3] > 1.01).any() and (expected.images[:3] < -0.01).any()
    assert (expected.images[3] > 0.98).any()


@pytest.mark.parametrize("backend", BACKENDS)
def test_one_opaque_gaussian_covers_99_percent(backend: Backend) -> None:
    values = cloud(1)
    values[0, :4] = 0, 0, 0, 1
    values[0, 4:7] = 0.5
    rendered = render(Gaussians(values=values), [camera()], backend=backend)
    assert rendered.alpha.max() == pytest.approx(0.99, abs=1e-6)


@pytest.mark.parametrize("backend", BACKENDS)
def test_gradients_are_those_of_the_plain_rules(backend: Backend) -> None:
    values, view, background = wild_cloud()[20:80], camera(), (0.2, 0.5, 0.9)
    weights = weights_of([view])
    exact = torch.tensor(values).double().requires_grad_()
    images = plain(exact, view, torch.tensor(background), 0.8).images
    images = torch.cat([images[:3].clamp(0, 1), images[3:]])
    (images * weights[0]).sum().backward()  # type: ignore[no-untyped-call]
    found = gradient(values, [view], weights, background=background, scale_modifier=0.8, backend=backend)
    assert exact.grad is not None
    for channel in range(14):
        size = float(exact.grad[:, channel].abs().max())
        assert size > 0
        np.testing.assert_allclose(found[:, channel], exact.grad[:, channel], atol=2e-4 * size, err_msg=str(channel))


def test_gradients_are_those_of_finite_differences() -> None:
    """Of Gaussians larger than the image, one behind the other: thresholds, tiles and changes of order would jump."""
    values, views = cloud(5, seed=7), [camera(width=40)]
    values[:, :3] = 0.2 * values[:, :3] + np.linspace(-0.5, 0.5, 5)[:, None] * views[0].T_world_camera[:3, 2]
    values[:, 4:7] = np.random.default_rng(2).uniform(0.6, 1, (5, 3))
    weights = torch.nn.functional.avg_pool2d(weights_of(views, 1), 25, 1, 12) + 1
    found = gradient(values, views, weights, backend="compiled").double().numpy()
    random = np.random.default_rng(8)

    def loss(moved: NDArray[Any]) -> float:
        rendered = render_tensors(torch.tensor(moved.astype(np.float32)), views, backend="compiled")
        both = torch.cat([rendered.rgb, rendered.alpha, rendered.depth], dim=1)
        return float((both.double() * weights).sum())

    for channels in (slice(0, 3), slice(3, 4), slice(4, 7), slice(7, 11), slice(11, 14)):
        step = np.zeros(values.shape)
        step[:, channels] = random.normal(size=step[:, channels].shape)
        difference = (loss(values + 3e-3 * step) - loss(values - 3e-3 * step)) / 6e-3
        assert difference == pytest.approx((found * step).sum(), rel=0.01)


def test_backends_agree_on_many_gaussians_in_several_views() -> None:
    values = cloud(3000, seed=1, size=0.03)
    K = np.array([[95.0, 0, 50], [0, 90, 30], [0, 0, 1]])
    views = [
        SplatCamera(
            camera=PinholeCamera(width=90, height=70, K=K),
            T_world_camera=look_at(np.array(eye), np.zeros(3), np.array([0.0, -1.0, 0.0])),
        )
        for eye in ([1.0, -0.5, -1.2], [-1.3, 0.4, 0.8], [0.3, 0.2, 0.3])
    ]
    compiled, reference = (render(Gaussians(values=values), views, backend=backend) for backend in BACKENDS)
    for name in ("rgb", "alpha", "depth"):
        np.testing.assert_allclose(getattr(compiled, name), getattr(reference, name), atol=1e-4)
    np.testing.assert_array_equal(compiled.radii, reference.radii)
    one, other, again = (gradient(values, views, weights_of(views), backend=b) for b in (*BACKENDS, "compiled"))
    size = other.abs().amax(dim=0)
    assert ((one - other).abs() <= 1e-4 * size).all()
    assert torch.equal(one, again)


@pytest.mark.parametrize("backend", BACKENDS)
@pytest.mark.parametrize("values", [np.zeros((0, 14), np.float32), cloud(20) - np.eye(14, dtype=np.float32)[2] * 90])
def test_nothing_to_see_is_background(values: NDArray[np.float32], backend: Backend) -> None:
    rendered = render(Gaussians(values=values), [camera()], background=(0.1, 0.2, 0.3), backend=backend)
    np.testing.assert_allclose(rendered.rgb, np.broadcast_to([0.1, 0.2, 0.3], rendered.rgb.shape), atol=1e-7)
    assert not rendered.alpha.any() and not rendered.depth.any() and not rendered.radii.any()
    assert not gradient(values, [camera()], weights_of([camera()]), backend=backend).any()


@pytest.mark.parametrize("backend", BACKENDS)
def test_extreme_gaussians_leave_the_others_alone(backend: Backend) -> None:
    values = cloud(12)
    values[0, 4:7] = 1e30
    values[1, 7:11] = 1e20
    values[2, :3] = 1e30
    values[3, 4:7] = 0
    values[4, 3] = 0
    values[5, 3] = -1
    rendered = render(Gaussians(values=values), [camera()], backend=backend)
    assert all(np.isfinite(array).all() for array in (rendered.rgb, rendered.alpha, rendered.depth))
    assert (rendered.radii[0, :3] == 0).all() and (rendered.radii[0, 3:] > 0).all()
    assert gradient(values, [camera()], weights_of([camera()]), backend=backend)[3:].isfinite().all()


@pytest.mark.parametrize("dtype", [torch.float64, torch.bfloat16])
def test_tensors_of_other_types_are_rendered_in_float32(dtype: torch.dtype) -> None:
    tensor = torch.tensor(cloud(30)).to(dtype).requires_grad_()
    with torch.autocast("cpu"):
        rendered = render_tensors(tensor, [camera()])
    rendered.rgb.sum().backward()  # type: ignore[no-untyped-call]
    assert rendered.rgb.dtype == torch.float32 and rendered.rgb.shape == (1, 3, 37, 53)
    assert tensor.grad is not None and tensor.grad.dtype == dtype


@pytest.mark.parametrize("value", [np.nan, np.inf])
def test_values_that_are_not_finite_are_refused(value: float) -> None:
    values = cloud(5)
    values[3, 6] = value
    with pytest.raises(InvalidGaussians, match="channel 6 of Gaussian 3"):
        Gaussians(values=values)
    with pytest.raises(InvalidGaussians, match="1 of 5"):
        render_tensors(torch.tensor(values), [camera()])


@pytest.mark.parametrize("shape", [(14,), (3, 13), (1, 5, 14)])
def test_other_shapes_are_refused(shape: tuple[int, ...]) -> None:
    with pytest.raises(InvalidGaussians, match="14"):
        Gaussians(values=np.zeros(shape, np.float32))
    with pytest.raises(InvalidGaussians, match="14"):
        render_tensors(torch.zeros(shape), [camera()])


def test_other_types_are_refused() -> None:
    with pytest.raises(InvalidGaussians, match="float64"):
        Gaussians(values=np.zeros((2, 14)))  # type: ignore[arg-type]
    with pytest.raises(InvalidGaussians, match="int64"):
        render_tensors(torch.zeros(2, 14, dtype=torch.int64), [camera()])


def test_channels_have_names_and_survive_torch() -> None:
    values = cloud(4)
    gaussians = Gaussians(values=values)
    parts = (gaussians.positions, gaussians.opacities[:, None], gaussians.scales, gaussians.rotations, gaussians.rgb)
    np.testing.assert_array_equal(np.hstack(parts), values)
    np.testing.assert_array_equal(Gaussians.from_tensor(gaussians.to_tensor()).values, values)
    assert len(gaussians) == 4


@pytest.mark.parametrize(
    "change",
    [
        lambda given: replace(given, distortion=np.array([0.1, 0, 0, 0])),
        lambda given: replace(given, K=given.K + np.array([[0, 2.0, 0], [0, 0, 0], [0, 0, 0]])),
    ],
)
def test_cameras_with_distortion_or_skew_are_refused(change: Callable[[PinholeCamera], PinholeCamera]) -> None:
    with pytest.raises(InvalidCamera, match="rectify"):
        replace(camera(), camera=change(camera().camera))


def test_poses_that_are_not_rigid_are_refused() -> None:
    with pytest.raises(InvalidTransform, match="rigid"):
        replace(camera(), T_world_camera=np.diag([2.0, 1, 1, 1]))
    with pytest.raises(InvalidCamera, match="180"):
        square_pinhole(fovy=190, size=8)


@pytest.mark.parametrize(
    ("views", "options", "told"),
    [
        ([], {}, "at least one"),
        ([camera(), camera(width=60)], {}, "all of one size"),
        ([camera()], {"background": (1, 1)}, "background"),
        ([camera()], {"background": (1, math.nan, 1)}, "background"),
        ([camera()], {"scale_modifier": 0}, "modifier"),
        ([camera()], {"backend": "opengl"}, "compiled, torch, gsplat"),
        ([camera()], {"backend": "gsplat"}, "cuda"),
    ],
)
def test_what_cannot_be_rendered_is_refused(views: list[SplatCamera], options: dict[str, Any], told: str) -> None:
    with pytest.raises(InvalidInput, match=told):
        render_tensors(torch.tensor(cloud(3)), views, **options)


def test_bounds_are_checked_first(monkeypatch: pytest.MonkeyPatch) -> None:
    gaussians = Gaussians(values=cloud(300))
    large = replace(camera(), camera=camera().camera.scaled(40_000, 40_000))
    with pytest.raises(TooLarge, match="1600000000 pixels"):
        render(gaussians, [large])
    monkeypatch.setattr(splat_rules, "MAX_PAIRS", 100)
    for backend in BACKENDS:
        with pytest.raises(TooLarge, match="pairs"):
            render(gaussians, [camera()], backend=backend)
    monkeypatch.setattr(splat_rules, "MAX_GAUSSIANS", 200)
    with pytest.raises(TooLarge, match="300 Gaussians"):
        render(gaussians, [camera()])


def test_without_numba_torch_renders_and_says_so(monkeypatch: pytest.MonkeyPatch) -> None:
    find = rasterise.importlib.util.find_spec  # type: ignore[attr-defined]
    monkeypatch.setattr(rasterise.importlib.util, "find_spec", lambda name: None if name == "numba" else find(name))  # type: ignore[attr-defined]
    report = choose_backend()
    assert report.backend == "torch" and "needs numba" in report.reason and "pip install" in report.reason
    with pytest.raises(MissingDependency, match="numba"):
        choose_backend("compiled")


def test_the_compiled_backend_is_first_and_tells_what_loading_took() -> None:
    report = choose_backend()
    assert report.backend == "compiled" and "kernels" in report.reason
    assert kept_at().is_dir()


def test_a_forked_process_renders() -> None:
    gaussians = Gaussians(values=cloud(50))
    render(gaussians, [camera()], backend="compiled")
    child = multiprocessing.get_context("fork").Process(
        target=render, args=(gaussians, [camera()]), kwargs={"backend": "compiled"}
    )
    child.start()
    child.join(30)
    assert child.exitcode == 0
