"""Predicted motions of things, for many commanded motions at once."""

import math
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import TYPE_CHECKING, Any, Literal, Self

import numpy as np
from numpy.typing import NDArray
from scipy.spatial import cKDTree

from fourd_ros.errors import InvalidInput, InvalidModel
from fourd_ros.geometry.transforms import from_parts, interpolate
from fourd_ros.model_io.card import ModelCard, check_licence
from fourd_ros.model_io.folder import INDEX, ModelFolder
from fourd_ros.model_io.onnx_session import PREFERENCE, OnnxSession, Processor
from fourd_ros.records import FloatArray, Mask
from fourd_ros.world_model.compact.gripper_path import SUBSTEP, Approach, GripperPath
from fourd_ros.world_model.compact.things import Thing

if TYPE_CHECKING:
    from fourd_ros.world_model.compact.dynamics_network import PointDynamicsNetwork

Floats = NDArray[np.float32]
Runtime = Literal["onnx", "torch"]
Network = Callable[[Mapping[str, Floats]], Mapping[str, Floats]]

COMPONENT = "dynamics"
MEMBERS_FILE = "dynamics/members.onnx"
LOOK_FILE = "dynamics/look.onnx"
RESPOND_FILE = "dynamics/respond.onnx"
LOOK_OUTPUTS = ("awake", "gap", "motion")
OF_THINGS = ("points", "weight", "height", "origin", "held")
RESPOND_OUTPUTS = ("rotation_next", "centre_next", "twist_next", "memory_next", "sigma_next")

POINTS = 48
"""Of every thing that the network is shown."""

POOL = 1500
"""Points of a thing among which those are chosen."""

SUBSTEPS = 2
"""Of a path in one step of the network."""

REACH = 0.3
"""Nothing happens to things that the grasp point passes at a greater distance, unless another thing is near [m]."""

TOUCH = 0.12
"""Things nearer to each other than this may push each other [m]."""

LEAST_SIGMA = 5e-4
"""Nothing that the gripper comes near to is said to be surer than this [m]."""

WHOLE = 0.8
"""A thing of which more than this share takes part moves as a whole: parts that stay are larger."""

STILL = 0.003
"""What moves less than this is said to stand still [m]."""


@dataclass(frozen=True, kw_only=True)
class ThingMotions:
    """What becomes of K things under C commanded motions.

    Args:
        things: as given.
        motion: from where their points were to where they are at each time, in the world, shape [C, K, T, 4, 4].
        sigma: standard deviation of each coordinate of their points [m], shape [C, K, T].
        members: which points of each thing take part, shape [C, N_k] each; the others stand still.
    """

    things: tuple[Thing, ...]
    motion: FloatArray
    sigma: FloatArray
    members: tuple[Mask, ...]

    @property
    def moves(self) -> Mask:
        """True where a thing moves at all, shape [C, K]."""
        return np.asarray((self.motion != np.eye(4)).any(axis=(2, 3, 4)))

    def sample(self, rng: np.random.Generator) -> "ThingMotions":
        """Motions drawn from the predicted distribution: what moves ends elsewhere on its plane."""
        count, things = self.motion.shape[:2]
        shift = np.zeros((count, things, 1, 3))
        shift[..., :2] = rng.normal(size=(count, things, 1, 2))
        drawn = self.motion.copy()
        drawn[..., :3, 3] += shift * self.sigma[..., None] * self.moves[..., None, None]
        return replace(self, motion=drawn)


@dataclass(frozen=True, kw_only=True)
class Networks:
    """What computes the parts of a `PointDynamicsNetwork`.

    Args:
        members: `DynamicsMembers`.
        look: `DynamicsLook`.
        respond: `DynamicsRespond`.
        memory: features that a thing remembers.
    """

    members: Network
    look: Network
    respond: Network
    memory: int


class PointDynamics:
    """Predicts how things move when a gripper moves among them.

    Args:
        networks: what computes it.
        sha256: of the model folder.
    """

    def __init__(self, networks: Networks, *, sha256: str = "") -> None:
        self._networks = networks
        self.sha256 = sha256

    @classmethod
    def from_components(cls, components: Mapping[str, Any], card: ModelCard) -> Self:
        """The model of a folder that `load_model` has read: it runs in torch."""
        return cls(torch_networks(components[COMPONENT]))

    @classmethod
    def from_folder(
        cls,
        folder: Path | str,
        *,
        runtime: Runtime = "onnx",
        allow_noncommercial: bool = False,
        processors: Sequence[Processor] = PREFERENCE,
        threads: int | None = None,
    ) -> Self:
        """The model of a folder; the runtime ``onnx`` needs no torch.

        Raises:
            InvalidModel: the folder has no component ``dynamics``, or a file is missing.
            CorruptModel: a file is not the one that was written.
            LicenceRefused: it is non-commercial and that was not allowed.
            MissingDependency: the runtime is not installed.
        """
        opened = ModelFolder(folder)
        check_licence(opened.card, allow_noncommercial=allow_noncommercial)
        if COMPONENT not in opened.components:
            raise InvalidModel(f"'{folder}' has the components {list(opened.components)}, needed is '{COMPONENT}'")
        if runtime == "torch":
            from fourd_ros.model_io.loading import load_component

            network = load_component(folder, COMPONENT, allow_noncommercial=allow_noncommercial)
            return cls(torch_networks(network), sha256=opened.sha256)
        if runtime != "onnx":
            raise InvalidInput(f"runtime '{runtime}'; there are 'onnx' and 'torch'")
        return cls(_onnx_networks(opened, processors, threads), sha256=opened.sha256)

    def predict(
        self, things: Sequence[Thing], path: GripperPath, *, times: FloatArray, eye: FloatArray
    ) -> ThingMotions:
        """The most probable motion of every thing.

        Args:
            things: what may move.
            path: of the gripper; held after its end.
            times: instants from the observation [s], shape [T].
            eye: where the things were seen from, in the world [m], shape [3].
        """
        count = len(path.frames)
        motion = np.tile(np.eye(4), (count, len(things), len(times), 1, 1))
        sigma = np.zeros((count, len(things), len(times)))
        members = [np.ones((count, len(thing.points)), bool) for thing in things]
        if things:
            shown = np.stack([thing.points[spread(thing.points, POINTS)] for thing in things])
            near = _may_move(shown, path)
            if near.any():
                chosen = [thing for thing, is_near in zip(things, near, strict=True) if is_near]
                moved = self._simulate(chosen, shown[near], path, times, eye)
                motion[:, near], sigma[:, near] = moved.motion, moved.sigma
                for number, mask in zip(np.flatnonzero(near), moved.members, strict=True):
                    members[number] = mask
        return ThingMotions(things=tuple(things), motion=motion, sigma=sigma, members=tuple(members))

    def _simulate(
        self, things: Sequence[Thing], shown: FloatArray, path: GripperPath, times: FloatArray, eye: FloatArray
    ) -> ThingMotions:
        """Of things given by points [K, N, 3]."""
        support = np.array([thing.support for thing in things])
        held = np.array([float(thing.held) for thing in things])
        weight = self._weights(shown, support, path)
        scene = _scene(shown, weight, held, support, eye)
        steps = max(1, math.ceil(round(float(times[-1]) / (SUBSTEPS * SUBSTEP), 6)))
        frames, gaps = _held_to(path, SUBSTEPS * steps)
        state = _begin(scene, self._networks.memory)
        poses, deviations = [_motion(scene, state)], [state["sigma"].copy()]
        for step in range(steps):
            moments = slice(SUBSTEPS * step, SUBSTEPS * (step + 1) + 1)
            self._advance(scene, state, frames[:, moments], gaps[:, moments])
            poses.append(_motion(scene, state))
            deviations.append(state["sigma"].copy())
        motion, sigma = _at(np.stack(poses, axis=2), np.stack(deviations, axis=2), times)
        still = _greatest_displacement(motion, scene["origin"]) < STILL
        motion[still] = np.eye(4)
        part = weight > 0.5
        part |= part.mean(axis=2, keepdims=True) > WHOLE
        members = tuple(_spread(thing.points, shown[k], part[:, k]) for k, thing in enumerate(things))
        return ThingMotions(things=tuple(things), motion=motion, sigma=sigma, members=members)

    def _advance(self, scene: Mapping[str, Floats], state: dict[str, Floats], frames: Floats, gaps: Floats) -> None:
        """One step of `state`, in place; what sleeps costs nothing but the look."""
        seen = {name: scene[name] for name in ("points", "weight", "present")}
        posture = {name: state[name] for name in ("rotation", "centre", "twist")}
        look = self._networks.look({**seen, **posture, "frames": frames})
        awake = look["awake"] > 0
        if awake.any():
            of_things = {name: scene[name] for name in OF_THINGS} | posture | {"memory": state["memory"]}
            of_things |= {name: look[name] for name in ("gap", "motion")}
            of_candidates = {"eye": scene["eye"], "frames": frames, "gaps": gaps}
            candidates = awake.nonzero()[0]
            answer = self._networks.respond(
                {name: values[awake] for name, values in of_things.items()}
                | {name: values[candidates] for name, values in of_candidates.items()}
            )
            for name in state:
                state[name][awake] = answer[f"{name}_next"]
        state["twist"][~awake] = 0

    def _weights(self, shown: FloatArray, support: FloatArray, path: GripperPath) -> Floats:
        """How much every point takes part, shape [C, K, N]."""
        approach = Approach.of(shown, path)
        points = np.broadcast_to(shown, (len(path.frames), *shown.shape)).astype(np.float32)
        logits = self._networks.members(
            {
                "points": points,
                "height": points[..., 2] - support.astype(np.float32)[:, None],
                "frame": approach.frame.astype(np.float32),
                "later": approach.later.astype(np.float32),
                "gap": approach.gap.astype(np.float32),
            }
        )["logits"]
        return np.asarray(1 / (1 + np.exp(-logits)), np.float32)


def spread(points: FloatArray, count: int) -> NDArray[np.intp]:
    """Indices of `count` of the points [N, 3], as far from each other as can be: the outermost first.

    The first few outline a thing already. All are repeated alike where there are fewer.
    """
    pool = np.arange(len(points)) if len(points) <= POOL else np.linspace(0, len(points) - 1, POOL).round().astype(int)
    few = points[pool]
    distance = np.full(len(few), np.inf)
    latest = int(((few - few.mean(axis=0)) ** 2).sum(axis=1).argmax())
    chosen = []
    for _ in range(min(count, len(few))):
        chosen.append(latest)
        distance = np.minimum(distance, ((few - few[latest]) ** 2).sum(axis=1))
        latest = int(distance.argmax())
    return np.asarray(pool[np.resize(chosen, count)], np.intp)


def torch_networks(network: "PointDynamicsNetwork") -> Networks:
    """`network` as functions of NumPy arrays."""
    import torch

    from fourd_ros.world_model.compact.dynamics_onnx import DynamicsLook, DynamicsMembers, DynamicsRespond

    def run(module: Any, names: Sequence[str]) -> Network:
        def compute(inputs: Mapping[str, Floats]) -> dict[str, Floats]:
            device = next(module.parameters()).device
            with torch.inference_mode():
                out = module(**{name: torch.from_numpy(value).to(device) for name, value in inputs.items()})
            values = out if isinstance(out, tuple) else (out,)
            return {name: value.float().cpu().numpy() for name, value in zip(names, values, strict=True)}

        return compute

    return Networks(
        members=run(DynamicsMembers(network), ("logits",)),
        look=run(DynamicsLook(network), LOOK_OUTPUTS),
        respond=run(DynamicsRespond(network), RESPOND_OUTPUTS),
        memory=network.memory,
    )


def _onnx_networks(folder: ModelFolder, processors: Sequence[Processor], threads: int | None) -> Networks:
    files = (MEMBERS_FILE, LOOK_FILE, RESPOND_FILE)
    folder.check(INDEX, *files)
    members, look, respond = (OnnxSession(folder.file(name), processors=processors, threads=threads) for name in files)
    return Networks(
        members=lambda inputs: members.run(**inputs),
        look=lambda inputs: look.run(**inputs),
        respond=lambda inputs: respond.run(**inputs),
        memory=int(folder.config(COMPONENT)["memory"]),
    )


def _may_move(shown: FloatArray, path: GripperPath) -> Mask:
    """Things that the gripper comes near to, and those near to these; shape [K]."""
    near = Approach.of(shown, path).distance.min(axis=0) < REACH
    flat = shown.reshape(-1, 3)
    apart = np.linalg.norm(flat[:, None] - flat, axis=-1).reshape(*shown.shape[:2], *shown.shape[:2]).min(axis=(1, 3))
    return np.asarray(near | ((apart < TOUCH) & near).any(axis=1))


def _scene(
    shown: FloatArray, weight: Floats, held: FloatArray, support: FloatArray, eye: FloatArray
) -> dict[str, Floats]:
    """Inputs of a step that stay the same; see `dynamics_state.Scene`."""
    total = np.maximum(weight.sum(axis=2, keepdims=True), 1e-3)
    origin = (shown * weight[..., None]).sum(axis=2) / total
    scene = {
        "points": shown - origin[:, :, None],
        "weight": weight,
        "height": origin[..., 2] - support,
        "origin": origin,
        "present": np.ones(weight.shape[:2]),
        "held": np.broadcast_to(held, weight.shape[:2]),
        "eye": np.broadcast_to(eye, (len(weight), 3)),
    }
    return {name: value.astype(np.float32) for name, value in scene.items()}


def _begin(scene: Mapping[str, Floats], memory: int) -> dict[str, Floats]:
    """Everything stands still; see `dynamics_state.State`."""
    shape = scene["weight"].shape[:2]
    return {
        "rotation": np.tile(np.eye(3, dtype=np.float32), (*shape, 1, 1)),
        "centre": scene["origin"].copy(),
        "twist": np.zeros((*shape, 6), np.float32),
        "memory": np.zeros((*shape, memory), np.float32),
        "sigma": np.full(shape, LEAST_SIGMA, np.float32),
    }


def _motion(scene: Mapping[str, Floats], state: Mapping[str, Floats]) -> FloatArray:
    """Of things since the start, in the world, shape [C, K, 4, 4]."""
    rotation, origin = state["rotation"].astype(np.float64), scene["origin"].astype(np.float64)
    return from_parts(rotation, state["centre"] - (rotation @ origin[..., None])[..., 0])


def _held_to(path: GripperPath, last: int) -> tuple[Floats, Floats]:
    """Frames and gaps at the substeps 0 .. `last`; after its end the gripper stands still."""
    places = np.minimum(np.arange(last + 1), path.frames.shape[1] - 1)
    return path.frames[:, places].astype(np.float32), path.gaps[:, places].astype(np.float32)


def _at(poses: FloatArray, deviations: FloatArray, times: FloatArray) -> tuple[FloatArray, FloatArray]:
    """Poses [C, K, S + 1, 4, 4] and deviations [C, K, S + 1] after every step, at `times` [T] instead."""
    place = times / (SUBSTEPS * SUBSTEP)
    before = np.minimum(np.floor(place + 1e-6).astype(np.intp), poses.shape[2] - 2)
    share = np.clip(place - before, 0.0, 1.0)
    motion = interpolate(poses[:, :, before], poses[:, :, before + 1], share)
    return motion, (1 - share) * deviations[:, :, before] + share * deviations[:, :, before + 1]


def _greatest_displacement(motion: FloatArray, origin: NDArray[np.floating]) -> FloatArray:
    """Of points [C, K, 3] under motions [C, K, T, 4, 4] [m], shape [C, K]."""
    moved = (motion[..., :3, :3] @ origin[:, :, None, :, None])[..., 0] + motion[..., :3, 3]
    return np.asarray(np.linalg.norm(moved - origin[:, :, None], axis=-1).max(axis=2))


def _spread(points: FloatArray, shown: FloatArray, part: Mask) -> Mask:
    """What is said of some points, [C, S], for all [N, 3] by the nearest of them, shape [C, N]."""
    if part.all():
        return np.ones((len(part), len(points)), bool)
    return np.asarray(part[:, cKDTree(shown).query(points)[1]])
