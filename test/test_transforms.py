"""Rigid transforms, with SciPy's rotations as the reference."""

import numpy as np
import pytest
from scipy.spatial.transform import Rotation, Slerp

from fourd_ros.geometry import transforms

RANDOM = np.random.default_rng(7)


def random_transforms(count: int) -> np.ndarray:
    return transforms.from_parts(Rotation.random(count, random_state=3).as_matrix(), RANDOM.normal(size=(count, 3)))


def test_invert_undoes() -> None:
    T = random_transforms(6).reshape(2, 3, 4, 4)
    np.testing.assert_allclose(transforms.invert(T) @ T, np.broadcast_to(np.eye(4), T.shape), atol=1e-12)


def test_compose_chains_frames() -> None:
    a, b, c = random_transforms(3)
    np.testing.assert_allclose(transforms.compose(a, b, c), a @ b @ c)


@pytest.mark.parametrize("batch", [(), (5,)])
def test_apply_moves_points(batch: tuple[int, ...]) -> None:
    T = random_transforms(5)[: batch[0]] if batch else random_transforms(1)[0]
    points = RANDOM.normal(size=(*batch, 11, 3))
    homogeneous = np.concatenate([points, np.ones((*points.shape[:-1], 1))], axis=-1)
    expected = np.einsum("...ij,...nj->...ni", T, homogeneous)[..., :3]
    np.testing.assert_allclose(transforms.apply(T, points), expected)
    assert transforms.apply(T, points.astype(np.float32)).dtype == np.float32


def test_apply_takes_one_point_and_images_of_points() -> None:
    T = random_transforms(1)[0]
    image = RANDOM.normal(size=(4, 5, 3))
    np.testing.assert_allclose(transforms.apply(T, image)[2, 3], transforms.apply(T, image[2, 3]))
    assert transforms.apply(T, image[2, 3]).shape == (3,)


def test_quaternions_there_and_back() -> None:
    T = random_transforms(200)
    xyz, xyzw = transforms.to_quaternion(T)
    np.testing.assert_allclose(transforms.from_quaternion(xyz, xyzw), T, atol=1e-12)
    np.testing.assert_allclose(transforms.from_quaternion(xyz, -3 * xyzw), T, atol=1e-12)
    expected = Rotation.from_matrix(T[:, :3, :3]).as_quat(canonical=True)
    np.testing.assert_allclose(xyzw, expected, atol=1e-12)


@pytest.mark.parametrize("axis", np.eye(3))
def test_half_turns_have_a_quaternion(axis: np.ndarray) -> None:
    T = transforms.from_parts(transforms.rotation_about(axis, np.pi), np.zeros(3))
    np.testing.assert_allclose(np.abs(transforms.to_quaternion(T)[1]), [*axis, 0], atol=1e-9)


def test_interpolation_is_slerp() -> None:
    T0, T1 = random_transforms(2)
    u = np.linspace(0, 1, 9)
    between = transforms.interpolate(T0, T1, u)
    rotations = Slerp([0, 1], Rotation.from_matrix([T0[:3, :3], T1[:3, :3]]))(u)
    np.testing.assert_allclose(between[:, :3, :3], rotations.as_matrix(), atol=1e-9)
    np.testing.assert_allclose(between[:, :3, 3], np.outer(1 - u, T0[:3, 3]) + np.outer(u, T1[:3, 3]))
    np.testing.assert_allclose(transforms.interpolate(T0, T0, 0.3), T0, atol=1e-12)


def test_rpy_turns_about_fixed_axes() -> None:
    rpy = [0.3, -1.1, 2.0]
    expected = Rotation.from_euler("xyz", rpy).as_matrix()
    np.testing.assert_allclose(transforms.from_rpy([1, 2, 3], rpy)[:3, :3], expected, atol=1e-12)


def test_camera_looks_at_its_target_with_up_upwards() -> None:
    T = transforms.look_at((1.0, -0.5, 0.8), (0.2, 0.1, 0.3))
    np.testing.assert_allclose(T[:3, :3] @ T[:3, :3].T, np.eye(3), atol=1e-12)
    assert np.linalg.det(T[:3, :3]) == pytest.approx(1)
    target = transforms.apply(transforms.invert(T), np.array([0.2, 0.1, 0.3]))
    np.testing.assert_allclose(target[:2], 0, atol=1e-12)
    assert target[2] > 0
    assert T[2, 1] < 0  # image y points down
