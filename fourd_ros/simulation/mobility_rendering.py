"""Pictures of objects of PartNet-Mobility in the states of PartDrag-4D, rendered by MuJoCo."""

from collections.abc import Mapping, Sequence
from functools import partial
from pathlib import Path
from zlib import crc32

import mujoco
import numpy as np
from numpy.typing import NDArray
from PIL import Image, UnidentifiedImageError

from fourd_ros.data.articulated_shards import ObjectArrays, ObjectFacts
from fourd_ros.data.articulation import ObjectState, motion_to_z_up, sequences, state_motions, to_z_up
from fourd_ros.data.obj_meshes import Surface, read_surfaces
from fourd_ros.data.partdrag4d_cameras import OBJECT_OFFSET, OBJECT_SCALE, orbit_poses, view_numbers
from fourd_ros.data.partnet_mobility import MobilityObject
from fourd_ros.errors import InvalidDataset
from fourd_ros.geometry.transforms import to_quaternion
from fourd_ros.simulation.articulated_model import Studio, add_cameras, add_studio
from fourd_ros.simulation.articulated_rendering import ArticulatedOptions, arrays_of, render_states

FloatArray = NDArray[np.float64]

MAX_TEXTURE = 1024
_MAX_PICTURE_PIXELS = 64 * 1024**2
_FEWEST_VERTICES = 4
"""Of a mesh in MuJoCo."""


def render_mobility(
    item: MobilityObject, category: str, options: ArticulatedOptions, *, seed: int = 0
) -> tuple[ObjectFacts, ObjectArrays]:
    """An object in its states; the same object, options and seed give the same arrays.

    Args:
        item: the object.
        category: its class.
        options: of the pictures; points are those of the object, as many as it has.
        seed: draws which other joints stand at which ends.

    Raises:
        InvalidDataset: a mesh or picture is missing or damaged, or no joint moves.
        MissingDependency: no OpenGL library is installed.
    """
    rng = np.random.default_rng((seed, crc32(item.name.encode())))
    runs = sequences(item.joints, rng, joints=options.joints, combinations=options.combinations)
    states = [state for run in runs for state in run]
    if not states:
        raise InvalidDataset(f"'{item.folder}' has no joint that moves: {[joint.type for joint in item.joints]}")
    views = view_numbers(options.views)
    poses = orbit_poses()[list(views)]
    parts, labels = np.unique(item.labels, return_inverse=True)
    motions = np.stack([_motions_of_parts(item, state, parts.tolist()) for state in states])
    rendered = render_states(_build(item, poses), states, partial(_place, item), options)
    facts = ObjectFacts(
        name=item.name,
        kind=category,
        category=category,
        size=options.size,
        views=views,
        states=tuple(states),
        joints=item.joints,
    )
    points = np.ascontiguousarray(to_z_up(item.points), np.float32)
    return facts, arrays_of(rendered, poses, points, labels.reshape(-1).astype(np.int32), motions)


def _motions_of_parts(item: MobilityObject, state: ObjectState, parts: Sequence[int]) -> FloatArray:
    """Rest -> state of every part, z-up, shape [parts, 4, 4]; one that hangs on several joints takes all motions."""
    result = np.tile(np.eye(4), (len(parts), 1, 1))
    for joint, motion in state_motions(item.joints, state).items():
        for index, part in enumerate(parts):
            if part in item.joints[joint].parts:
                result[index] = motion_to_z_up(motion) @ result[index]
    return result


def _place(item: MobilityObject, data: mujoco.MjData, state: ObjectState) -> None:
    motions: Mapping[int, FloatArray] = state_motions(item.joints, state)
    for joint in range(len(item.joints)):
        motion = motion_to_z_up(motions.get(joint, np.eye(4)))
        place, rotation = to_quaternion(motion)
        data.mocap_pos[joint] = OBJECT_SCALE * place + OBJECT_OFFSET
        data.mocap_quat[joint] = np.roll(rotation, 1)


def _build(item: MobilityObject, poses: FloatArray) -> mujoco.MjSpec:
    """A body for the meshes of every joint, in order, and one for the rest."""
    spec = mujoco.MjSpec()
    add_studio(spec, Studio())
    add_cameras(spec, poses)
    folder = item.folder / "textured_objs"
    for index, names in enumerate(item.mesh_groups):
        fixed = index == len(item.joints)
        body = spec.worldbody.add_body(name=f"part_{index}", pos=OBJECT_OFFSET, mocap=not fixed)
        surfaces = [surface for name in names for surface in read_surfaces(folder / f"{name}.obj")]
        for number, surface in enumerate(surfaces):
            _add_surface(spec, body, f"{index}_{number}", surface)
    return spec


def _add_surface(spec: mujoco.MjSpec, body: mujoco.MjsBody, name: str, surface: Surface) -> None:
    vertices = OBJECT_SCALE * to_z_up(surface.vertices)
    mesh = spec.add_mesh(name=name, inertia=mujoco.mjtMeshInertia.mjMESH_INERTIA_SHELL)
    spare = max(_FEWEST_VERTICES - len(vertices), 0)
    mesh.uservert = np.concatenate([vertices, np.repeat(vertices[:1], spare, axis=0)]).reshape(-1)
    mesh.userface = surface.faces.reshape(-1)
    material = spec.add_material(name=name, specular=0.1, shininess=0.2)
    if surface.texture_places is None or surface.picture is None:
        material.rgba = [*surface.colour, 1.0]
    else:
        mesh.usertexcoord = (surface.texture_places * (1.0, -1.0) + (0.0, 1.0)).reshape(-1)
        mesh.userfacetexcoord = np.arange(surface.faces.size)
        _add_texture(spec, material, name, surface.picture)
    geom = body.add_geom(name=name, type=mujoco.mjtGeom.mjGEOM_MESH, meshname=name, material=name)
    geom.contype = geom.conaffinity = 0
    geom.mass = 0.01


def _add_texture(spec: mujoco.MjSpec, material: mujoco.MjsMaterial, name: str, path: Path) -> None:
    try:
        with Image.open(path, formats=("PNG", "JPEG")) as picture:
            if picture.width * picture.height > _MAX_PICTURE_PIXELS:
                raise InvalidDataset(f"'{path}' has {picture.width} x {picture.height} pixels; too many")
            colours = picture.convert("RGB")
            colours.thumbnail((MAX_TEXTURE, MAX_TEXTURE))
            pixels = np.asarray(colours)
    except (OSError, UnidentifiedImageError, ValueError, SyntaxError) as error:
        raise InvalidDataset(f"'{path}' is no readable picture: {error}") from error
    texture = spec.add_texture(name=name, type=mujoco.mjtTexture.mjTEXTURE_2D)
    texture.height, texture.width, texture.nchannel = pixels.shape
    texture.data = pixels.tobytes()
    textures = [""] * mujoco.mjtTextureRole.mjNTEXROLE
    textures[mujoco.mjtTextureRole.mjTEXROLE_RGB] = name
    material.textures = textures
