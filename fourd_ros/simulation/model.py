"""Building a MuJoCo model from a scene: the Panda's own URDF plus table, objects, fixtures, cameras, lights."""

from collections.abc import Sequence

import mujoco
import numpy as np

from fourd_ros.geometry.transforms import to_quaternion
from fourd_ros.robot.panda import PANDA_URDF
from fourd_ros.simulation.appearance import Appearance
from fourd_ros.simulation.cameras import CameraSpec, to_mujoco
from fourd_ros.simulation.fixtures import FIXTURE_DENSITY, FixtureSpec
from fourd_ros.simulation.objects import ObjectSpec
from fourd_ros.simulation.parts import Part, Quaternion, Vector
from fourd_ros.simulation.scene import LightSpec, SceneSpec, TableSpec

ROBOT_ROOT = "panda_link0"
GRIPPER_BODY = "panda_grasptarget"
FINGER_JOINT = "panda_finger_joint1"
TIMESTEP = 0.004
NEAR, FAR = 0.01, 12.0

# joint -> stiffness [N m/rad | N/m], damping [N m s/rad | N s/m], greatest effort [N m | N], armature [kg m^2 | kg].
SERVOS: dict[str, tuple[float, float, float, float]] = {
    **{f"panda_joint{index}": (2000.0, 150.0, 87.0, 0.1) for index in (1, 2, 3, 4)},
    **{f"panda_joint{index}": (400.0, 20.0, 12.0, 0.05) for index in (5, 6, 7)},
    FINGER_JOINT: (3000.0, 60.0, 60.0, 0.1),
}

_ROBOT_CONTACT, _SCENE_CONTACT = 1, 2
_HIDDEN_GROUP = 3
_FINGER_FRICTION = (1.2, 0.02, 0.0005)
_ROLLING_FRICTION = 0.0001
_SHADOW_MAP = 512
_FLOOR_LEVEL = -0.75
SHAPES = {
    "box": mujoco.mjtGeom.mjGEOM_BOX,
    "cylinder": mujoco.mjtGeom.mjGEOM_CYLINDER,
    "sphere": mujoco.mjtGeom.mjGEOM_SPHERE,
    "capsule": mujoco.mjtGeom.mjGEOM_CAPSULE,
}


def build_model(spec: SceneSpec) -> mujoco.MjModel:
    """The compiled model; body, joint and camera names are those of the URDF and of `spec`."""
    robot = mujoco.MjSpec.from_file(str(PANDA_URDF))
    _configure(robot, spec)
    _prepare_robot(robot)
    _add_room(robot, spec)
    for item in spec.objects:
        _add_object(robot, item)
    for fixture in spec.fixtures:
        _add_fixture(robot, fixture)
    for camera in spec.cameras:
        _add_camera(robot, camera)
    return robot.compile()


def _configure(robot: mujoco.MjSpec, spec: SceneSpec) -> None:
    robot.modelname = f"tabletop_{spec.seed}"
    option, visual = robot.option, robot.visual
    option.timestep = TIMESTEP
    option.integrator = mujoco.mjtIntegrator.mjINT_IMPLICITFAST
    # Without these two, things slip slowly out of the gripper.
    option.cone = mujoco.mjtCone.mjCONE_ELLIPTIC
    option.impratio = 5.0
    robot.stat.extent = 1.0
    robot.stat.center = (0.4, 0.0, 0.2)
    visual.map.znear, visual.map.zfar = NEAR, FAR
    visual.quality.shadowsize = _SHADOW_MAP
    # No smoothing of edges, so that colour, depth and segmentation agree to the pixel.
    visual.quality.offsamples = 0
    visual.headlight.active = 1
    visual.headlight.ambient = [spec.ambient] * 3
    visual.headlight.diffuse = [0.15] * 3
    visual.headlight.specular = [0.0] * 3


def _prepare_robot(robot: mujoco.MjSpec) -> None:
    for body in robot.bodies:
        body.gravcomp = 1.0
        for geom in body.geoms:
            if geom.contype:
                geom.group = _HIDDEN_GROUP
                geom.contype, geom.conaffinity = _ROBOT_CONTACT, _SCENE_CONTACT
                if "finger" in body.name:
                    geom.friction, geom.condim = _FINGER_FRICTION, 4
    for joint in robot.joints:
        stiffness, damping, effort, armature = SERVOS.get(joint.name, SERVOS[FINGER_JOINT])
        joint.armature = armature
        if joint.name in SERVOS:
            _add_servo(robot, joint.name, stiffness, damping, effort)


def _add_servo(robot: mujoco.MjSpec, joint: str, stiffness: float, damping: float, effort: float) -> None:
    robot.add_actuator(
        name=joint,
        target=joint,
        trntype=mujoco.mjtTrn.mjTRN_JOINT,
        gaintype=mujoco.mjtGain.mjGAIN_FIXED,
        gainprm=[stiffness] + [0.0] * 9,
        biastype=mujoco.mjtBias.mjBIAS_AFFINE,
        biasprm=[0.0, -stiffness, -damping] + [0.0] * 7,
        forcelimited=True,
        forcerange=[-effort, effort],
    )


def _add_room(robot: mujoco.MjSpec, spec: SceneSpec) -> None:
    world = robot.worldbody
    _add_table(robot, spec.table)
    floor, wall = add_material(robot, "floor", spec.floor), add_material(robot, "wall", spec.wall)
    world.add_geom(
        name="floor",
        type=mujoco.mjtGeom.mjGEOM_PLANE,
        size=[6.0, 6.0, 0.1],
        pos=[0.0, 0.0, _FLOOR_LEVEL],
        material=floor,
        contype=_SCENE_CONTACT,
        conaffinity=_ROBOT_CONTACT | _SCENE_CONTACT,
    )
    for name, position, half in (
        ("wall_back", (-1.6, 0.0, 1.0), (0.05, 3.5, 2.0)),
        ("wall_left", (1.0, 2.2, 1.0), (3.0, 0.05, 2.0)),
    ):
        world.add_geom(
            name=name,
            type=mujoco.mjtGeom.mjGEOM_BOX,
            size=half,
            pos=position,
            material=wall,
            contype=0,
            conaffinity=0,
        )
    for index, light in enumerate(spec.lights):
        _add_light(robot, f"light_{index}", light)


def _add_table(robot: mujoco.MjSpec, table: TableSpec) -> None:
    thickness = 0.04
    robot.worldbody.add_geom(
        name="table",
        type=mujoco.mjtGeom.mjGEOM_BOX,
        size=[table.size[0] / 2, table.size[1] / 2, thickness / 2],
        pos=[*table.centre, -thickness / 2],
        friction=[table.friction, 0.005, _ROLLING_FRICTION],
        material=add_material(robot, "table", table.appearance),
        contype=_SCENE_CONTACT,
        conaffinity=_ROBOT_CONTACT | _SCENE_CONTACT,
    )


def _add_light(robot: mujoco.MjSpec, name: str, light: LightSpec) -> None:
    robot.worldbody.add_light(
        name=name,
        pos=light.position,
        dir=light.direction,
        diffuse=[light.brightness * channel for channel in light.colour],
        specular=[0.2 * light.brightness * channel for channel in light.colour],
        castshadow=light.shadow,
        cutoff=45.0,
    )


def _add_object(robot: mujoco.MjSpec, item: ObjectSpec) -> None:
    body = robot.worldbody.add_body(name=item.name, pos=item.position, quat=_wxyz_of_yaw(item.yaw))
    body.add_freejoint(name=f"{item.name}_joint")
    friction = (item.friction, 0.005, item.rolling_friction)
    _add_parts(robot, body, item.name, item.parts, item.density, friction)


def _add_fixture(robot: mujoco.MjSpec, fixture: FixtureSpec) -> None:
    body = robot.worldbody.add_body(name=fixture.name, pos=fixture.position, quat=_wxyz_of_yaw(fixture.yaw))
    friction = (0.8, 0.005, _ROLLING_FRICTION)
    _add_parts(robot, body, fixture.name, fixture.body_parts(), FIXTURE_DENSITY, friction)
    moving = body.add_body(name=fixture.moving_name, pos=fixture.joint_origin)
    slides = fixture.kind == "drawer"
    moving.add_joint(
        name=fixture.joint_name,
        type=mujoco.mjtJoint.mjJNT_SLIDE if slides else mujoco.mjtJoint.mjJNT_HINGE,
        axis=fixture.joint_axis,
        limited=True,
        range=(0.0, fixture.travel),
        damping=fixture.damping,
        frictionloss=fixture.friction_loss,
        armature=0.05 if slides else 0.001,
    )
    _add_parts(robot, moving, fixture.moving_name, fixture.moving_parts(), FIXTURE_DENSITY, friction)
    robot.add_exclude(bodyname1=fixture.name, bodyname2=fixture.moving_name)


def _add_parts(
    robot: mujoco.MjSpec,
    body: mujoco.MjsBody,
    name: str,
    parts: Sequence[Part],
    density: float,
    friction: Vector,
) -> None:
    materials: dict[Appearance, str] = {}
    for index, part in enumerate(parts):
        if part.appearance not in materials:
            materials[part.appearance] = add_material(robot, f"{name}_{len(materials)}", part.appearance)
        body.add_geom(
            name=f"{name}_part_{index}",
            type=SHAPES[part.shape],
            size=[*part.size, 0.0, 0.0][:3],
            pos=part.position,
            quat=to_wxyz(part.rotation),
            material=materials[part.appearance],
            density=density,
            friction=friction,
            condim=6 if part.shape == "sphere" or friction[2] > _ROLLING_FRICTION else 4,
            contype=_SCENE_CONTACT,
            conaffinity=_ROBOT_CONTACT | _SCENE_CONTACT,
        )


def _add_camera(robot: mujoco.MjSpec, camera: CameraSpec) -> None:
    mount = robot.body(camera.mounted_on) if camera.mounted_on else robot.worldbody
    pose = to_mujoco(camera.pose)
    _, rotation = to_quaternion(pose)
    mount.add_camera(
        name=camera.name, pos=pose[:3, 3], quat=np.roll(rotation, 1), fovy=float(np.rad2deg(camera.vertical_fov))
    )


def add_material(robot: mujoco.MjSpec, name: str, look: Appearance) -> str:
    """Add a material, and its texture where there is a pattern, under `name`, which comes back."""
    material = robot.add_material(name=name, specular=0.25, shininess=0.3)
    if look.pattern == "plain":
        material.rgba = [*look.colour, 1.0]
        return name
    builtin, mark = {
        "checker": (mujoco.mjtBuiltin.mjBUILTIN_CHECKER, mujoco.mjtMark.mjMARK_NONE),
        "gradient": (mujoco.mjtBuiltin.mjBUILTIN_GRADIENT, mujoco.mjtMark.mjMARK_NONE),
        "dots": (mujoco.mjtBuiltin.mjBUILTIN_FLAT, mujoco.mjtMark.mjMARK_RANDOM),
    }[look.pattern]
    robot.add_texture(
        name=name,
        type=mujoco.mjtTexture.mjTEXTURE_2D,
        builtin=builtin,
        mark=mark,
        rgb1=look.colour,
        rgb2=look.accent,
        markrgb=look.accent,
        random=0.12,
        width=64,
        height=64,
    )
    textures = [""] * mujoco.mjtTextureRole.mjNTEXROLE
    textures[mujoco.mjtTextureRole.mjTEXROLE_RGB] = name
    material.textures = textures
    material.texuniform = True
    material.texrepeat = [look.scale / 2, look.scale / 2]
    return name


def to_wxyz(rotation: Quaternion) -> list[float]:
    """A quaternion x y z w in MuJoCo's order."""
    x, y, z, w = rotation
    return [w, x, y, z]


def _wxyz_of_yaw(yaw: float) -> list[float]:
    return [float(np.cos(yaw / 2)), 0.0, 0.0, float(np.sin(yaw / 2))]
