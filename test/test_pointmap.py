"""Pointmaps from depth images."""

import numpy as np
import pytest

from fourd_ros.errors import InvalidImage
from fourd_ros.geometry.camera import PinholeCamera
from fourd_ros.geometry.pointmap import depth_of, points_from_depth

CAMERA = PinholeCamera(
    width=24,
    height=16,
    K=np.array([[20.0, 0, 11.5], [0, 21.0, 7.5], [0, 0, 1]]),
    distortion=np.array([-0.1, 0.02, 1e-3, 1e-3, 0.0]),
)


def test_points_project_to_their_pixels_at_their_depth() -> None:
    depth = np.random.default_rng(0).uniform(0.4, 3.0, (16, 24)).astype(np.float32)
    points = points_from_depth(depth, CAMERA)
    v, u = np.mgrid[:16, :24]
    np.testing.assert_allclose(CAMERA.project(points), np.stack([u, v], axis=-1), atol=1e-4)
    np.testing.assert_array_equal(depth_of(points), depth)


@pytest.mark.parametrize("unknown", [0.0, -1.0, np.nan, np.inf])
def test_unknown_depth_is_nan_in_every_coordinate(unknown: float) -> None:
    depth = np.ones((16, 24), np.float32)
    depth[3, 5] = unknown
    points = points_from_depth(depth, CAMERA)
    assert np.isnan(points[3, 5]).all()
    assert np.isfinite(points).all(axis=-1).sum() == 16 * 24 - 1


def test_videos_of_depth_are_lifted_at_once() -> None:
    depth = np.random.default_rng(0).uniform(0.4, 3.0, (3, 16, 24))
    points = points_from_depth(depth, CAMERA)
    assert points.dtype == np.float32
    np.testing.assert_array_equal(points[2], points_from_depth(depth[2], CAMERA))


def test_depth_of_another_size_is_refused() -> None:
    with pytest.raises(InvalidImage, match="24 x 16"):
        points_from_depth(np.ones((24, 16)), CAMERA)
