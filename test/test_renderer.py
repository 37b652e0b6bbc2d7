"""The robot renderer, with MuJoCo's images of the same URDF as the reference."""

import os

os.environ.setdefault("MUJOCO_GL", "osmesa")

from collections.abc import Iterator

import mujoco
import numpy as np
import pytest

from fourd_ros.errors import InvalidCamera
from fourd_ros.geometry.camera import PinholeCamera
from fourd_ros.geometry.transforms import apply, from_parts, invert, look_at
from fourd_ros.robot import renderer as renderer_module
from fourd_ros.robot.culling import NEAR, box_corners, rectangles
from fourd_ros.robot.description import RobotDescription
from fourd_ros.robot.kinematics import Kinematics
from fourd_ros.robot.panda import PANDA_READY, PANDA_URDF, panda_description
from fourd_ros.robot.renderer import RobotRenderer

SIZE = 256
VISUAL_GROUP = 1
KINEMATICS = Kinematics(panda_description())
T_HAND_WRIST = from_parts([[0.0, -1, 0], [1, 0, 0], [0, 0, 1]], [0.07, 0, 0.02])
POSTURES = {
    "ready": PANDA_READY,
    "reaching": PANDA_READY | {"panda_joint1": 0.6, "panda_joint2": 0.5, "panda_joint4": -1.6, "panda_joint6": 2.2},
    "folded": PANDA_READY
    | {"panda_joint2": -1.5, "panda_joint4": -2.9, "panda_joint7": -1.0, "panda_finger_joint1": 0.0},
}
CAMERAS = {
    "front": (look_at((1.5, -0.6, 0.8), (0.3, 0.0, 0.35)), 250.0),
    "side": (look_at((0.2, 1.4, 0.5), (0.25, 0.0, 0.4)), 250.0),
    "close": (look_at((0.75, -0.35, 0.75), (0.35, 0.0, 0.5)), 200.0),
}


def pinhole(focal: float, size: int = SIZE, distortion: tuple[float, ...] = ()) -> PinholeCamera:
    centre = (size - 1) / 2
    K = np.array([[focal, 0, centre], [0, focal, centre], [0, 0, 1]])
    return PinholeCamera(width=size, height=size, K=K, distortion=np.array(distortion, float))


@pytest.fixture(scope="module")
def renderer() -> RobotRenderer:
    return RobotRenderer(panda_description())


class MujocoView:
    """Depth images of the Panda by MuJoCo."""

    def __init__(self) -> None:
        spec = mujoco.MjSpec.from_file(str(PANDA_URDF))
        spec.worldbody.add_camera(name="camera")
        spec.visual.map.znear = 0.005
        self.model = spec.compile()
        self.data = mujoco.MjData(self.model)
        self.renderer = mujoco.Renderer(self.model, SIZE, SIZE)
        self.renderer.enable_depth_rendering()
        self.renderer.scene.flags[mujoco.mjtRndFlag.mjRND_CULL_FACE] = 0  # shells are open, both sides are seen
        self.visible = mujoco.MjvOption()
        self.visible.geomgroup[:] = 0
        self.visible.geomgroup[VISUAL_GROUP] = 1

    def depth(self, posture: dict[str, float], T_root_camera: np.ndarray, focal: float) -> np.ndarray:
        for name, position in posture.items():
            self.data.joint(name).qpos = position
        self.data.joint("panda_finger_joint2").qpos = posture["panda_finger_joint1"]
        self.model.cam_fovy[0] = np.degrees(2 * np.arctan(SIZE / 2 / focal))
        self.model.cam_pos[0] = T_root_camera[:3, 3]
        mujoco.mju_mat2Quat(self.model.cam_quat[0], (T_root_camera[:3, :3] * [1, -1, -1]).ravel())
        mujoco.mj_forward(self.model, self.data)
        self.renderer.update_scene(self.data, "camera", self.visible)
        depth = self.renderer.render()
        return np.where(depth < 10, depth, np.nan)


@pytest.fixture(scope="module")
def mujoco_view() -> Iterator[MujocoView]:
    view = MujocoView()
    yield view
    view.renderer.close()


def render_one(renderer: RobotRenderer, posture: dict[str, float], camera: PinholeCamera, T: np.ndarray):
    return renderer.render(KINEMATICS.link_poses(KINEMATICS.positions_from(posture)[None]), camera, T[None])


def assert_same_image(depth: np.ndarray, reference: np.ndarray) -> None:
    ours, theirs = np.isfinite(depth), np.isfinite(reference)
    both = ours & theirs
    assert theirs.mean() > 0.005
    assert both.sum() / (ours | theirs).sum() >= 0.99
    assert np.median(np.abs(depth - reference)[both]) < 1e-3


@pytest.mark.parametrize("posture", POSTURES)
@pytest.mark.parametrize("view", CAMERAS)
def test_fixed_cameras_see_what_mujoco_renders(
    renderer: RobotRenderer, mujoco_view: MujocoView, posture: str, view: str
) -> None:
    T, focal = CAMERAS[view]
    rendering = render_one(renderer, POSTURES[posture], pinhole(focal), T)
    assert_same_image(rendering.points[0, ..., 2], mujoco_view.depth(POSTURES[posture], T, focal))


@pytest.mark.parametrize("posture", POSTURES)
def test_a_wrist_camera_sees_what_mujoco_renders(
    renderer: RobotRenderer, mujoco_view: MujocoView, posture: str
) -> None:
    poses = KINEMATICS.link_poses(KINEMATICS.positions_from(POSTURES[posture]))
    T = poses["panda_hand"] @ T_HAND_WRIST
    rendering = render_one(renderer, POSTURES[posture], pinhole(120.0), T)
    assert_same_image(rendering.points[0, ..., 2], mujoco_view.depth(POSTURES[posture], T, 120.0))


def trajectory(steps: int) -> tuple[dict[str, np.ndarray], np.ndarray]:
    """Link poses and wrist camera poses of a motion."""
    positions = np.tile(KINEMATICS.positions_from(PANDA_READY), (steps, 1))
    positions[:, 0] = np.linspace(-0.6, 0.6, steps)
    poses = KINEMATICS.link_poses(positions)
    return poses, poses["panda_hand"] @ T_HAND_WRIST


@pytest.mark.parametrize("view", ["front", "wrist"])
def test_a_trajectory_at_once_is_its_frames_one_by_one(
    renderer: RobotRenderer, monkeypatch: pytest.MonkeyPatch, view: str
) -> None:
    poses, wrist = trajectory(5)
    cameras = wrist if view == "wrist" else np.tile(CAMERAS["front"][0], (5, 1, 1))
    camera = pinhole(60.0, 64)
    whole = renderer.render(poses, camera, cameras)
    monkeypatch.setattr(renderer_module, "PIXELS_AT_ONCE", 2 * 64 * 64)
    in_parts = renderer.render(poses, camera, cameras)
    for step in range(5):
        alone = renderer.render({name: T[step : step + 1] for name, T in poses.items()}, camera, cameras[step])
        for name in ("rgb", "points", "mask"):
            np.testing.assert_array_equal(getattr(whole, name)[step], getattr(alone, name)[0])
            np.testing.assert_array_equal(getattr(whole, name), getattr(in_parts, name))


def test_points_lie_on_their_pixels_rays_and_the_rest_is_unknown(renderer: RobotRenderer) -> None:
    camera = pinhole(60.0, 64, (-0.25, 0.08, 1e-3, -1e-3, 0.0))
    poses, _ = trajectory(3)
    rendering = renderer.render(poses, camera, CAMERAS["front"][0])
    _, v, u = np.nonzero(rendering.mask)
    np.testing.assert_allclose(camera.project(rendering.points[rendering.mask]), np.stack([u, v], -1), atol=1e-3)
    assert np.isnan(rendering.points[~rendering.mask]).all()
    assert (rendering.rgb[~rendering.mask] == 0).all()
    assert (rendering.rgb[rendering.mask] > 0).all()


def test_a_distorted_camera_sees_the_undistorted_image_bent(renderer: RobotRenderer) -> None:
    T, _ = CAMERAS["close"]
    distorted = pinhole(110.0, 160, (-0.3, 0.1, 2e-3, -1e-3, -0.01))
    straight = pinhole(600.0, 1200)
    bent = render_one(renderer, PANDA_READY, distorted, T).points[0, ..., 2]
    flat = render_one(renderer, PANDA_READY, straight, T).points[0, ..., 2]
    u, v = np.moveaxis(np.rint(straight.project(distorted.rays())).astype(int), -1, 0)
    inside = (u >= 0) & (v >= 0) & (u < 1200) & (v < 1200)
    assert inside.mean() > 0.9
    assert_same_image(np.where(inside, bent, np.nan), np.where(inside, flat[v % 1200, u % 1200], np.nan))


def test_without_colour_the_shape_is_the_same(renderer: RobotRenderer) -> None:
    poses, wrist = trajectory(4)
    camera = pinhole(60.0, 64)
    full, bare = renderer.render(poses, camera, wrist), renderer.render(poses, camera, wrist, colour=False)
    np.testing.assert_array_equal(full.mask, bare.mask)
    np.testing.assert_array_equal(full.points, bare.points)
    assert not bare.rgb.any()


def test_colours_are_the_urdfs_under_light(renderer: RobotRenderer) -> None:
    rendering = render_one(renderer, PANDA_READY, pinhole(250.0), CAMERAS["side"][0])
    shades = rendering.rgb[rendering.mask].astype(int)
    assert np.ptp(shades, axis=1).max() < 15  # white and grey only
    dark = shades[:, 0] < 64
    assert 0.02 < dark.mean() < 0.4
    assert shades[~dark, 0].max() > 180


PRIMITIVES = """
<robot name="toy">
  <link name="base"><visual><geometry><box size="0.4 0.2 0.1"/></geometry>
    <material name="red"><color rgba="1 0 0 1"/></material></visual></link>
  <link name="ball"><visual><geometry><sphere radius="0.1"/></geometry></visual></link>
  <link name="can"><visual><origin xyz="0 0 0.2" rpy="1.5707963 0 0"/>
    <geometry><cylinder radius="0.05" length="0.3"/></geometry></visual></link>
  <joint name="a" type="fixed"><parent link="base"/><child link="ball"/><origin xyz="0 0 0.15"/></joint>
  <joint name="b" type="continuous"><parent link="ball"/><child link="can"/><axis xyz="0 0 1"/></joint>
</robot>
"""


def test_primitive_shapes_are_drawn_where_they_are() -> None:
    description = RobotDescription.from_urdf(PRIMITIVES)
    poses = Kinematics(description).link_poses(np.zeros((1, 1)))
    above = look_at((0.0, 0.0, 2.0), (0.0, 0.0, 0.0), up=(0, 1, 0))
    rendering = RobotRenderer(description).render(poses, pinhole(200.0, 201), above)
    world = apply(above, rendering.points[0])
    assert world[100, 100, 2] == pytest.approx(0.4, abs=1e-3)  # top of the lying can
    assert world[100, 100 + 17, 2] == pytest.approx(0.05, abs=1e-3)  # the box
    np.testing.assert_allclose(np.nanmax(world.reshape(-1, 3), axis=0), (0.2, 0.15, 0.4), atol=0.012)
    assert rendering.rgb[0, 100, 117, 0] > 100 and not rendering.rgb[0, 100, 117, 1:].any()


def test_a_robot_without_visuals_is_invisible() -> None:
    description = RobotDescription.from_urdf('<robot name="r"><link name="a"/></robot>')
    rendering = RobotRenderer(description).render({"a": np.eye(4)[None]}, pinhole(10.0, 8), np.eye(4)[None])
    assert not rendering.mask.any() and np.isnan(rendering.points).all() and not rendering.rgb.any()


def test_nothing_behind_the_camera_is_seen(renderer: RobotRenderer) -> None:
    away = look_at((1.5, 0.0, 0.5), (3.0, 0.0, 0.5))
    assert not render_one(renderer, PANDA_READY, pinhole(100.0, 64), away).mask.any()


def test_poses_of_another_number_of_frames_are_refused(renderer: RobotRenderer) -> None:
    poses, wrist = trajectory(4)
    with pytest.raises(InvalidCamera, match="4 frames"):
        renderer.render(poses, pinhole(60.0, 64), wrist[:3])


@pytest.mark.parametrize("distortion", [(), (-0.3, 0.1, 2e-3, -1e-3, -0.01)])
def test_no_ray_outside_the_rectangle_meets_the_box(distortion: tuple[float, ...]) -> None:
    generator = np.random.default_rng(0)
    camera = pinhole(18.0, 24, distortion)
    rays = camera.rays().astype(float)
    for _ in range(300):
        T = from_parts(look_at((0, 0, 0), generator.normal(size=3))[:3, :3], generator.uniform(-1, 1, 3))
        size = generator.uniform(0.02, 0.8, 3)
        box = box_corners(np.array([-size, size]))
        top, bottom, left, right = rectangles(apply(T, box)[None], camera)[0]
        direction, origin = rays @ T[:3, :3], invert(T)[:3, 3]
        near, far = np.sort([(-size - origin) / direction, (size - origin) / direction], axis=0)
        enter, leave = np.maximum(near.max(-1), 2 * NEAR), far.min(-1)
        outside = np.ones((24, 24), bool)
        outside[top:bottom, left:right] = False
        assert not (outside & (enter < leave)).any()


def test_the_rectangle_is_tight() -> None:
    box = box_corners(np.array([[-0.11, -0.21, 1.0], [0.11, 0.21, 1.0]]))
    assert rectangles(box, pinhole(10.0, 21)).tolist() == [8, 13, 9, 12]
    assert rectangles(box - [5, 0, 0], pinhole(10.0, 21)).tolist() == [0, 0, 0, 0]
    assert rectangles(box - [0, 0, 2], pinhole(10.0, 21)).tolist() == [0, 0, 0, 0]
