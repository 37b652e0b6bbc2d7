"""Finding the robot's own pixels in an observation."""

import numpy as np
import pytest

from fourd_ros.geometry.camera import PinholeCamera
from fourd_ros.geometry.transforms import from_parts, look_at, rotation_about
from fourd_ros.records import RobotRendering
from fourd_ros.robot.kinematics import Kinematics
from fourd_ros.robot.panda import PANDA_READY, panda_description
from fourd_ros.robot.renderer import RobotRenderer
from fourd_ros.robot.segmentation import robot_pixels

CAMERA = PinholeCamera(width=160, height=120, K=np.array([[150.0, 0, 79.5], [0, 150.0, 59.5], [0, 0, 1]]))
T_CAMERA = look_at((1.3, -0.5, 0.7), (0.3, 0.0, 0.3))
WALL = 3.0


def render(T_root_camera: np.ndarray) -> RobotRendering:
    description = panda_description()
    kinematics = Kinematics(description)
    poses = kinematics.link_poses(kinematics.positions_from(PANDA_READY)[None])
    return RobotRenderer(description).render(poses, CAMERA, T_root_camera, colour=False)


@pytest.fixture(scope="module")
def expected() -> RobotRendering:
    return render(T_CAMERA)


def before_a_wall(rendering: RobotRendering, distance: float = WALL) -> np.ndarray:
    scene = CAMERA.rays() * np.float32(distance)
    return np.where(rendering.mask[0][..., None], rendering.points[0], scene)


def found(points: np.ndarray, expected: RobotRendering) -> np.ndarray:
    return robot_pixels(points, expected.points[0], expected.mask[0])


def test_exact_calibration_finds_the_silhouette_and_no_wall(expected: RobotRendering) -> None:
    np.testing.assert_array_equal(found(before_a_wall(expected), expected), expected.mask[0])


@pytest.mark.parametrize("axis", [(1, 0, 0), (0, 1, 0)])
def test_two_pixels_of_calibration_error_leave_nothing_behind(expected: RobotRendering, axis: tuple[int, ...]) -> None:
    turned = T_CAMERA @ from_parts(rotation_about(axis, 2 / 150), np.zeros(3))
    actual = render(turned)
    mask = found(before_a_wall(actual), expected)
    assert (actual.mask[0] & ~mask).sum() / actual.mask[0].sum() < 0.01
    wall = ~actual.mask[0]
    assert (mask & wall).sum() / wall.sum() < 0.02


def test_what_stands_before_the_robot_is_not_the_robot(expected: RobotRendering) -> None:
    points = before_a_wall(expected)
    points[:, 70:90] = CAMERA.rays()[:, 70:90] * 0.5
    mask = found(points, expected)
    assert expected.mask[0][:, 70:90].any() and not mask[:, 70:90].any()
    np.testing.assert_array_equal(mask[:, :68], expected.mask[0][:, :68])


def test_unknown_depth_inside_the_silhouette_is_the_robot(expected: RobotRendering) -> None:
    points = before_a_wall(expected)
    points[40:60] = np.nan
    np.testing.assert_array_equal(found(points, expected), expected.mask[0])


def test_a_table_that_the_robot_stands_on_stays(expected: RobotRendering) -> None:
    """Only a fringe of the table next to the base may go with the robot."""
    directions = CAMERA.rays() @ T_CAMERA[:3, :3].T
    with np.errstate(divide="ignore"):
        depth = np.where(directions[..., 2] < 0, -T_CAMERA[2, 3] / directions[..., 2], WALL).astype(np.float32)
    table = CAMERA.rays() * depth[..., None]
    hidden = expected.mask[0] & ~(expected.points[0, ..., 2] > depth)
    mask = found(np.where(hidden[..., None], expected.points[0], table), expected)
    assert not (hidden & ~mask).any()
    assert (mask & ~hidden).sum() / hidden.sum() < 0.05


def test_without_a_robot_in_sight_nothing_is_found(expected: RobotRendering) -> None:
    empty = np.zeros_like(expected.mask[0])
    assert not robot_pixels(before_a_wall(expected), np.full((120, 160, 3), np.nan, np.float32), empty).any()
