"""Cameras: projection, undistortion, equality and resizing, with OpenCV's model as the reference."""

import cv2
import numpy as np
import pytest

from fourd_ros.errors import InvalidCamera
from fourd_ros.geometry.camera import PinholeCamera

K = np.array([[310.0, 0.0, 161.5], [0.0, 305.0, 118.0], [0.0, 0.0, 1.0]])
DISTORTIONS = {
    "none": ("plumb_bob", []),
    "plumb_bob": ("plumb_bob", [-0.28, 0.09, 1.2e-3, -0.8e-3, -0.012]),
    "rational": ("rational_polynomial", [0.4, -0.2, 5e-4, -3e-4, 0.01, 0.7, -0.15, 0.02]),
}


def make_camera(name: str) -> PinholeCamera:
    model, coefficients = DISTORTIONS[name]
    return PinholeCamera(width=320, height=240, K=K, distortion_model=model, distortion=np.array(coefficients, float))


@pytest.fixture(params=DISTORTIONS)
def camera(request: pytest.FixtureRequest) -> PinholeCamera:
    return make_camera(request.param)


def test_rays_project_back_to_their_pixels(camera: PinholeCamera) -> None:
    v, u = np.mgrid[: camera.height, : camera.width]
    pixels = camera.project(camera.rays().astype(np.float64) * 1.7)
    np.testing.assert_allclose(pixels, np.stack([u, v], axis=-1), atol=1e-4)


def test_projection_is_opencvs(camera: PinholeCamera) -> None:
    points = np.random.default_rng(0).uniform((-0.5, -0.4, 0.8), (0.5, 0.4, 2.0), (200, 3))
    expected, _ = cv2.projectPoints(points, np.zeros(3), np.zeros(3), K, camera.distortion)
    np.testing.assert_allclose(camera.project(points), expected[:, 0], atol=1e-9)


def test_skew_is_honoured() -> None:
    skewed = PinholeCamera(width=8, height=6, K=np.array([[10.0, 2.0, 3.5], [0, 9.0, 2.5], [0, 0, 1]]))
    v, u = np.mgrid[:6, :8]
    np.testing.assert_allclose(skewed.project(skewed.rays()), np.stack([u, v], axis=-1), atol=1e-5)


def test_points_behind_or_far_outside_are_unknown() -> None:
    camera = make_camera("plumb_bob")
    assert np.isnan(camera.project(np.array([[0.1, 0.1, -1.0], [0.0, 0.0, 0.0], [3.0, 0.0, 1.0]]))).all()


def test_precision_follows_the_points(camera: PinholeCamera) -> None:
    assert camera.rays().dtype == np.float32
    assert camera.project(camera.rays()).dtype == np.float32


def test_equal_calibrations_share_their_rays() -> None:
    first, second = make_camera("plumb_bob"), make_camera("plumb_bob")
    assert first == second and first is not second
    assert first.rays() is second.rays()
    assert first != make_camera("none") and make_camera("none") != make_camera("rational")
    with pytest.raises(ValueError, match="read-only"):
        first.rays()[0, 0, 0] = 1


@pytest.mark.parametrize("name", DISTORTIONS)
def test_scaled_image_corners_keep_their_directions(name: str) -> None:
    camera = make_camera(name)
    half = camera.scaled(160, 120)
    point = np.array([0.13, -0.21, 1.0])
    expected = (camera.project(point) + 0.5) / 2 - 0.5
    np.testing.assert_allclose(half.project(point), expected, atol=1e-9)
    assert half.rays().shape == (120, 160, 3)


@pytest.mark.parametrize(
    "change",
    [
        {"K": np.zeros((3, 3))},
        {"K": np.full((3, 3), np.nan)},
        {"K": np.array([[300.0, 0, 1], [0, 300.0, 1], [0, 0, 0]])},
        {"width": 0},
        {"distortion_model": "fisheye"},
        {"distortion": np.array([0.1, 0.2])},
        {"distortion": np.array([np.nan, 0, 0, 0, 0])},
    ],
)
def test_calibrations_that_mean_nothing_are_refused(change: dict[str, object]) -> None:
    with pytest.raises(InvalidCamera):
        PinholeCamera(**{"width": 320, "height": 240, "K": K, **change})
