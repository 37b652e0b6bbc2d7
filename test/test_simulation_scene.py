"""Scenes, the model built from them, and what its cameras see."""

import ctypes.util
import glob
from collections.abc import Iterator
from dataclasses import replace

import numpy as np
import pytest

pytest.importorskip("mujoco")

import mujoco

from fourd_ros.errors import InvalidJoints, MissingCamera, MissingDependency
from fourd_ros.geometry.pointmap import points_from_depth
from fourd_ros.geometry.transforms import apply, invert
from fourd_ros.robot.kinematics import Kinematics
from fourd_ros.robot.panda import panda_description
from fourd_ros.simulation.controller import SPEED_LIMITS
from fourd_ros.simulation.model import GRIPPER_BODY, SERVOS, build_model
from fourd_ros.simulation.objects import OBJECT_KINDS, sample_object
from fourd_ros.simulation.rendering import ROBOT_ID, choose_backend
from fourd_ros.simulation.scene import SceneOptions, redraw_unseen, sample_scene
from fourd_ros.simulation.simulator import Simulator
from fourd_ros.simulation.tasks import TASK_KINDS

SIZE = 96
CAMERAS = ("front", "side", "wrist")


@pytest.fixture(scope="module")
def simulator() -> Iterator[Simulator]:
    """Four objects and a closed cabinet, at rest, drawn in a size that is not square."""
    options = SceneOptions(objects=(3, 3), kinds=("box", "ball", "mug"), fixture="drawer")
    with Simulator(sample_scene(3, options), width=SIZE + 32, height=SIZE) as simulator:
        simulator.step(0.3)
        yield simulator


def test_the_same_seed_gives_the_same_scene_and_another_one_another() -> None:
    assert sample_scene(5) == sample_scene(5)
    assert sample_scene(5) != sample_scene(6)


@pytest.mark.parametrize("task", TASK_KINDS)
def test_every_scene_has_room_for_what_its_task_needs(task: str) -> None:
    options = TASK_KINDS[task].options
    for seed in range(40):
        scene = sample_scene(seed, options)
        kinds = [item.kind for item in scene.objects]
        assert len(kinds) >= max(1, len(options.required_kinds))
        assert all(kind in choices for kind, choices in zip(kinds, options.required_kinds, strict=False))


def test_what_no_camera_shows_can_be_drawn_anew() -> None:
    scene = sample_scene(3)
    other = redraw_unseen(scene, np.random.default_rng(0))
    pairs = list(zip(scene.objects, other.objects, strict=True))
    assert all(one.density != two.density and one.friction != two.friction for one, two in pairs)
    assert scene.table.friction != other.table.friction
    same = [replace(two, density=one.density, friction=one.friction) for one, two in pairs]
    table = replace(other.table, friction=scene.table.friction)
    assert replace(other, objects=tuple(same), table=table) == scene


def test_objects_lie_inside_their_stated_box() -> None:
    for kind in OBJECT_KINDS:
        item = sample_object(np.random.default_rng(1), name="thing", kind=kind)
        scene = sample_scene(0)
        model = build_model(replace(scene, objects=(item.at(0.5, 0.0, 0.0),)))
        data = mujoco.MjData(model)
        mujoco.mj_forward(model, data)
        body = model.body("thing").id
        low, high = np.full(3, np.inf), np.full(3, -np.inf)
        for geom in np.flatnonzero(model.geom_bodyid == body):
            centre, half = model.geom_aabb[geom, :3], model.geom_aabb[geom, 3:]
            corners = centre + half * np.array(np.meshgrid(*[(-1, 1)] * 3)).reshape(3, -1).T
            world = corners @ data.geom_xmat[geom].reshape(3, 3).T + data.geom_xpos[geom]
            low, high = np.minimum(low, world.min(0)), np.maximum(high, world.max(0))
        assert np.allclose(high - low, item.size, atol=2.5e-3), kind
        assert np.allclose((high + low) / 2, data.xpos[body], atol=2e-3), kind
        assert low[2] > -1e-3, kind


def test_mujoco_and_our_kinematics_place_the_links_alike() -> None:
    model = build_model(sample_scene(0))
    data = mujoco.MjData(model)
    kinematics = Kinematics(panda_description())
    limits = kinematics.limits
    postures = np.random.default_rng(0).uniform(limits.lower, limits.upper, (20, len(kinematics.joint_names)))
    poses = kinematics.link_poses(postures)
    for index, posture in enumerate(postures):
        for name, value in zip(kinematics.joint_names, posture, strict=True):
            data.joint(name).qpos[0] = value
        data.joint("panda_finger_joint2").qpos[0] = data.joint("panda_finger_joint1").qpos[0]
        mujoco.mj_kinematics(model, data)
        for link in kinematics.link_names:
            body = data.body(link)
            assert np.allclose(poses[link][index, :3, 3], body.xpos, atol=1e-9), link
            assert np.allclose(poses[link][index, :3, :3], body.xmat.reshape(3, 3), atol=1e-9), link


def test_servos_drive_all_joints_within_their_speed_limits() -> None:
    kinematics = Kinematics(panda_description())
    assert set(SERVOS) == set(kinematics.joint_names)
    for name, velocity in zip(kinematics.joint_names, kinematics.limits.velocity, strict=True):
        assert SPEED_LIMITS[name] < velocity, name


@pytest.mark.parametrize("camera", CAMERAS)
def test_depth_of_the_table_is_exact(simulator: Simulator, camera: str) -> None:
    picture, pinhole, pose = simulator.render(camera), simulator.camera(camera), simulator.camera_pose(camera)
    rays = pinhole.rays().astype(np.float64) @ pose[:3, :3].T
    with np.errstate(divide="ignore"):
        depth = -pose[2, 3] / rays[..., 2]
    hit = pose[:3, 3] + depth[..., None] * rays
    table = simulator.spec.table
    half = np.array(table.size) / 2 - 0.02
    inside = (depth > 0) & (np.abs(hit[..., :2] - table.centre) < half).all(-1) & (picture.segmentation == 0)
    error = np.abs(picture.depth - depth)[inside]
    assert inside.sum() > 0.1 * inside.size
    # A pixel whose centre just misses an edge may still be drawn as the other side of it.
    assert np.quantile(error, 0.99) < 2e-4


@pytest.mark.parametrize("camera", CAMERAS)
def test_pixels_of_an_object_lie_on_that_object(simulator: Simulator, camera: str) -> None:
    """Depth, segmentation, calibration and camera pose agree with the pose of the object."""
    picture = simulator.render(camera)
    points = points_from_depth(picture.depth, simulator.camera(camera)).astype(np.float64)
    world = apply(simulator.camera_pose(camera), points)
    poses, seen = simulator.object_poses(), 0
    for number, item in enumerate(simulator.spec.objects, start=1):
        mask = picture.segmentation == number
        local = apply(invert(poses[item.name]), world[mask])
        assert (np.abs(local) < np.array(item.size) / 2 + 1e-3).all(), item.label
        seen += int(mask.sum() > 10)
    assert seen >= (1 if camera == "wrist" else len(simulator.spec.objects) - 1)


@pytest.mark.parametrize("camera", ["front", "side"])
def test_the_centre_of_an_object_projects_onto_it(simulator: Simulator, camera: str) -> None:
    picture, pinhole = simulator.render(camera), simulator.camera(camera)
    T_camera_world = invert(simulator.camera_pose(camera))
    hits = 0
    for number, (name, pose) in enumerate(simulator.object_poses().items(), start=1):
        if name not in {item.name for item in simulator.spec.objects}:
            continue
        u, v = np.rint(pinhole.project(apply(T_camera_world, pose[None, :3, 3]))[0]).astype(int)
        found = picture.segmentation[v, u]
        assert found in (number, ROBOT_ID)
        hits += int(found == number)
    assert hits >= 2


def test_segmentation_names_robot_fixture_and_nothing_else(simulator: Simulator) -> None:
    found = set(np.unique(simulator.render("side").segmentation)) | set(
        np.unique(simulator.render("front").segmentation)
    )
    assert {0, ROBOT_ID} < found
    assert found <= {0, ROBOT_ID, *range(1, len(simulator.object_names) + 1)}
    assert simulator.object_names.index("cabinet") + 1 in found


def test_the_wrist_camera_rides_on_the_hand(simulator: Simulator) -> None:
    kinematics = Kinematics(panda_description())
    positions = kinematics.positions_from(simulator.joint_positions())
    hand = kinematics.link_poses(positions)["panda_hand"]
    expected = hand @ simulator.camera_spec("wrist").pose
    assert np.allclose(simulator.camera_pose("wrist"), expected, atol=1e-9)


def test_colour_depends_on_shadows_and_geometry_does_not(simulator: Simulator) -> None:
    with Simulator(simulator.spec, width=simulator.width, height=simulator.height, shadows=False) as plain:
        plain.step(0.3)
        lit, shaded = plain.render("side"), simulator.render("side")
    assert np.array_equal(lit.segmentation, shaded.segmentation)
    assert np.array_equal(lit.depth, shaded.depth)
    assert lit.rgb.mean() > shaded.rgb.mean()


def test_joints_follow_their_commands_and_stop_at_their_limits(simulator: Simulator) -> None:
    with Simulator(simulator.spec) as own:
        own.command({"panda_joint1": 0.3, "panda_finger_joint1": 1.0})
        own.step(1.5)
        assert own.time == pytest.approx(1.5)
        assert own.joint_positions()["panda_joint1"] == pytest.approx(0.3, abs=2e-3)
        assert own.commanded_positions()["panda_finger_joint1"] == pytest.approx(0.04)
        before = own.spec.posture["panda_joint2"]
        assert own.joint_positions()["panda_joint2"] == pytest.approx(before, abs=5e-3)
        own.reset()
        assert own.time == 0.0
        assert own.joint_positions()["panda_joint1"] == pytest.approx(own.spec.posture["panda_joint1"])


def test_bad_commands_are_refused_and_change_nothing(simulator: Simulator) -> None:
    before = simulator.commanded_positions()
    with pytest.raises(InvalidJoints, match="elbow"):
        simulator.command({"elbow": 0.0})
    with pytest.raises(InvalidJoints, match="finite"):
        simulator.command({"panda_joint1": float("nan")})
    assert simulator.commanded_positions() == before
    with pytest.raises(MissingCamera, match="front"):
        simulator.camera("ceiling")


def test_odd_steps_add_up(simulator: Simulator) -> None:
    with Simulator(simulator.spec) as own:
        for _ in range(30):
            own.step(1 / 30)
        assert own.time == pytest.approx(1.0)
        assert own.data.time == pytest.approx(1.0, abs=own.model.opt.timestep)


def test_another_scene_can_be_loaded(simulator: Simulator) -> None:
    with Simulator(simulator.spec, width=32, height=32) as own:
        own.render("front")
        own.reset(sample_scene(9, SceneOptions(objects=(2, 2))))
        assert own.object_names == ("object_1", "object_2")
        assert own.render("front").rgb.shape == (32, 32, 3)


def test_objects_come_to_rest_on_the_table() -> None:
    for seed in range(4):
        with Simulator(sample_scene(seed)) as own:
            own.step(0.3)
            start = own.object_poses()
            own.step(0.5)
            for item in own.spec.objects:
                moved = np.linalg.norm(own.object_poses()[item.name][:3, 3] - start[item.name][:3, 3])
                assert moved < 2e-3, (seed, item.label)
                assert own.object_poses()[item.name][2, 3] == pytest.approx(item.size[2] / 2, abs=3e-3)


def test_without_opengl_the_package_to_install_is_named(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delenv("MUJOCO_GL", raising=False)
    monkeypatch.setattr(ctypes.util, "find_library", lambda name: None)
    with pytest.raises(MissingDependency, match="apt-get install libosmesa6"):
        choose_backend()


def test_the_backend_is_chosen_by_what_is_there(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delenv("MUJOCO_GL", raising=False)
    monkeypatch.setattr(glob, "glob", lambda pattern: [])
    monkeypatch.setattr(ctypes.util, "find_library", lambda name: name)
    assert choose_backend() == "osmesa"
    monkeypatch.setattr(glob, "glob", lambda pattern: ["/dev/nvidia0"])
    assert choose_backend() == "egl"
    monkeypatch.setenv("MUJOCO_GL", "glfw")
    assert choose_backend() == "glfw"


def test_the_grasp_point_lies_between_the_finger_tips() -> None:
    model = build_model(sample_scene(0))
    data = mujoco.MjData(model)
    mujoco.mj_kinematics(model, data)
    middle = (data.body("panda_leftfinger").xpos + data.body("panda_rightfinger").xpos) / 2
    across = np.linalg.norm(np.cross(data.body(GRIPPER_BODY).xpos - middle, data.body("panda_hand").xmat[2::3]))
    assert across < 1e-6
