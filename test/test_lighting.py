"""The lamp that is found from the robot's shadow, and the shadows that follow from it."""

from dataclasses import replace

import numpy as np
import pytest

from fourd_ros.geometry.camera import PinholeCamera
from fourd_ros.geometry.transforms import apply, look_at
from fourd_ros.records import ObjectMotion, Observation, View
from fourd_ros.robot.model import RobotModel
from fourd_ros.robot.panda import PANDA_READY, panda_description
from fourd_ros.world_model.compact.lighting import Shade, find_lamp
from fourd_ros.world_model.scene import understand

LAMP = np.array([0.9, -0.7, 2.0])
CAMERA = PinholeCamera(width=96, height=96, K=np.array([[100.0, 0, 47.5], [0, 100, 47.5], [0, 0, 1]]))
EYE = look_at((1.3, 0.5, 0.8), (0.4, 0.0, 0.0))


@pytest.fixture(scope="module")
def robot() -> RobotModel:
    return RobotModel(panda_description())


def rendered(robot: RobotModel, positions: np.ndarray, T_robot_camera: np.ndarray, camera: PinholeCamera) -> View:
    """A grey table at height 0 with the robot on it, in the light of a lamp at `LAMP`."""
    poses = robot.kinematics.link_poses(positions)
    seen = robot.renderer.render(poses, camera, T_robot_camera)
    rays = camera.rays()
    down = (rays @ T_robot_camera[:3, :3].T)[..., 2]
    table = rays * (-T_robot_camera[2, 3] / np.minimum(down, -1e-3))[..., None]
    points = np.where(seen.mask[0][..., None], seen.points[0], table).astype(np.float32)
    world = apply(T_robot_camera, points.astype(np.float64))
    dark = ~seen.mask[0] & hidden(robot, positions, world)
    rgb = np.where(dark, 90, 160)[..., None].repeat(3, axis=-1)
    rgb = np.where(seen.mask[0][..., None], seen.rgb[0], rgb).astype(np.uint8)
    return View(camera=camera, T_world_camera=T_robot_camera, rgb=rgb, points=points)


def hidden(robot: RobotModel, positions: np.ndarray, points: np.ndarray) -> np.ndarray:
    """Which points the robot hides from `LAMP`, by another camera there."""
    camera = PinholeCamera(width=400, height=400, K=np.array([[450.0, 0, 199.5], [0, 450, 199.5], [0, 0, 1]]))
    T_robot_lamp = look_at(LAMP, (0.3, 0.0, 0.0))
    mask = robot.renderer.render(robot.kinematics.link_poses(positions), camera, T_robot_lamp, colour=False).mask[0]
    columns, rows = np.moveaxis(camera.project(apply(np.linalg.inv(T_robot_lamp), points)), -1, 0)
    inside = (rows >= 0) & (rows <= 399) & (columns >= 0) & (columns <= 399)
    at = tuple(np.where(inside, np.rint(place), 0).astype(int) for place in (rows, columns))
    return inside & mask[at]


@pytest.fixture(scope="module")
def posture(robot: RobotModel) -> np.ndarray:
    return robot.kinematics.positions_from(PANDA_READY)[None]


@pytest.fixture(scope="module")
def scene(robot: RobotModel, posture: np.ndarray):
    view = rendered(robot, posture, EYE, CAMERA)
    return understand(
        robot,
        Observation(stamp_ns=0, frame="world", views={"front": view}, joint_positions=PANDA_READY),
    )


@pytest.fixture(scope="module")
def lamp(robot: RobotModel, scene):
    return find_lamp(robot, scene, "front")


def test_the_lamp_is_found_from_the_shadow(lamp):
    middle = np.array([0.4, 0.0, 0.0])
    found, true = (place - middle for place in (lamp.T_robot_lamp[:3, 3], LAMP))
    cosine = found @ true / np.linalg.norm(found) / np.linalg.norm(true)
    assert np.degrees(np.arccos(cosine)) < 5
    assert lamp.agreement > 0.6


def test_without_a_shadow_no_lamp_is_believed(robot, scene):
    view = scene.observation.views["front"]
    noise = np.random.default_rng(0).integers(100, 130, view.rgb.shape, np.uint8)
    flat = replace(scene, observation=replace(scene.observation, views={"front": replace(view, rgb=noise)}))
    assert find_lamp(robot, flat, "front") is None
    shade = Shade.of(None, robot, flat, np.zeros((3, 9)), ())
    assert not np.any(shade.changes(np.zeros((3, 5, 3), np.float32)))


def test_shadows_come_and_go_where_the_robot_does(robot, scene, lamp, posture):
    later = posture.copy()
    later[0, 0] += 0.7
    shade = Shade.of(lamp, robot, scene, later, ())
    view = scene.observation.views["front"]
    table = ~scene.robot["front"]
    points = apply(EYE, view.points[table].astype(np.float64))
    shaded, lit = shade.changes(points[None].astype(np.float32))
    before, after = hidden(robot, posture, points), hidden(robot, later, points)
    for found, true in ((shaded[0], after & ~before), (lit[0], before & ~after)):
        assert true.sum() > 50
        assert (found & true).sum() / (found | true).sum() > 0.6


def test_things_that_move_take_their_shadow_along(robot, scene, lamp, posture):
    view = scene.observation.views["front"]
    block = np.zeros(view.rgb.shape[:2], bool)
    block[60:75, 15:30] = True
    assert not (block & scene.robot["front"]).any()
    points = view.points.copy()
    points[block] *= (EYE[2, 3] - 0.3) / EYE[2, 3]  # up to the plane 0.3 m above the table
    higher = replace(scene, observation=replace(scene.observation, views={"front": replace(view, points=points)}))
    motion = np.eye(4)[None].copy()
    motion[0, 1, 3] = 0.5
    item = ObjectMotion(label=17, pixels={"front": block}, motion=motion, sigma=np.zeros(1))
    shade = Shade.of(lamp, robot, higher, posture, [item])
    middle = apply(EYE, points[block].astype(np.float64)).mean(axis=0)
    places = [LAMP + (top - LAMP) * LAMP[2] / (LAMP - top)[2] for top in (middle, middle + motion[0, :3, 3])]
    shaded, lit = shade.changes(np.stack(places)[None].astype(np.float32))
    assert lit.tolist() == [[True, False]] and shaded.tolist() == [[False, True]]


def test_steps_can_be_chosen(robot, scene, lamp, posture):
    later = np.repeat(posture, 3, axis=0)
    later[:, 0] += [0.0, 0.5, 1.0]
    shade = Shade.of(lamp, robot, scene, later, ())
    np.testing.assert_array_equal(shade.at(np.array([2, 2, 1])).after, shade.after[[2, 2, 1]])
