"""Our small stand-ins give what the packages of a full ROS give; run where those are installed.

The buffer of ``tf2_ros`` is compared in ``test_bridge_tf.py``.
"""

import numpy as np
import pytest

from fourd_ros.bridge.clouds import make_cloud, read_cloud
from fourd_ros.bridge.times import make_header
from fourd_ros.geometry.transforms import (
    from_quaternion,
    from_rpy,
    interpolate,
    invert,
    rotation_about,
    to_quaternion,
)

ROTATIONS = 50


@pytest.fixture
def rng() -> np.random.Generator:
    return np.random.default_rng(0)


@pytest.fixture
def quaternions(rng: np.random.Generator) -> np.ndarray:
    """Unit quaternions x y z w, shape [N, 4]."""
    drawn = rng.normal(size=(ROTATIONS, 4))
    return drawn / np.linalg.norm(drawn, axis=1, keepdims=True)


def test_clouds_read_as_sensor_msgs_py_reads_them(rng: np.random.Generator) -> None:
    theirs = pytest.importorskip("sensor_msgs_py.point_cloud2")
    points = rng.normal(size=(100, 3)).astype(np.float32)
    points[7] = np.nan
    sigma, label = rng.random(100).astype(np.float32), rng.integers(0, 40, 100).astype(np.uint32)
    cloud = make_cloud(make_header(1, "map"), points, rgb=rng.integers(0, 256, (100, 3)), sigma=sigma, label=label)
    ours, read = read_cloud(cloud), theirs.read_points(cloud)
    for axis, name in enumerate("xyz"):
        np.testing.assert_array_equal(ours["points"][:, axis], read[name])
    np.testing.assert_array_equal(ours["sigma"], read["sigma"])
    np.testing.assert_array_equal(ours["label"], read["label"])
    packed = np.ascontiguousarray(read["rgb"]).view(np.uint32)
    np.testing.assert_array_equal(ours["rgb"], np.stack([packed >> 16 & 255, packed >> 8 & 255, packed & 255], axis=1))


def test_clouds_of_sensor_msgs_py_are_read_as_they_were_meant(rng: np.random.Generator) -> None:
    theirs = pytest.importorskip("sensor_msgs_py.point_cloud2")
    points = rng.normal(size=(100, 3)).astype(np.float32)
    cloud = theirs.create_cloud_xyz32(make_header(1, "map"), points)
    np.testing.assert_array_equal(read_cloud(cloud)["points"], points)


def test_quaternions_as_in_tf_transformations(quaternions: np.ndarray) -> None:
    theirs = pytest.importorskip("tf_transformations")
    for quaternion in quaternions:
        matrix = theirs.quaternion_matrix(quaternion)
        np.testing.assert_allclose(from_quaternion(np.zeros(3), quaternion), matrix, atol=1e-12)
        ours, expected = to_quaternion(matrix)[1], theirs.quaternion_from_matrix(matrix)
        assert abs(float(np.dot(ours, expected))) == pytest.approx(1.0, abs=1e-12)
        np.testing.assert_allclose(invert(matrix), theirs.inverse_matrix(matrix), atol=1e-12)


def test_angles_and_slerp_as_in_tf_transformations(quaternions: np.ndarray, rng: np.random.Generator) -> None:
    theirs = pytest.importorskip("tf_transformations")
    for first, second in zip(quaternions[::2], quaternions[1::2], strict=True):
        rpy, u = rng.uniform(-3, 3, 3), rng.random()
        np.testing.assert_allclose(from_rpy(np.zeros(3), rpy), theirs.euler_matrix(*rpy), atol=1e-12)
        axis = first[:3] / np.linalg.norm(first[:3])
        np.testing.assert_allclose(rotation_about(axis, u), theirs.rotation_matrix(u, axis)[:3, :3], atol=1e-12)
        between = interpolate(theirs.quaternion_matrix(first), theirs.quaternion_matrix(second), u)
        expected = theirs.quaternion_matrix(theirs.quaternion_slerp(first, second, u))
        np.testing.assert_allclose(between, expected, atol=1e-9)
