"""The parts of `PointDynamicsNetwork` as networks of their own, for ONNX."""

from collections.abc import Callable
from functools import partial

import torch
from torch import Tensor, nn

from fourd_ros.model_io.onnx_export import OnnxSignature
from fourd_ros.world_model.compact.dynamics import LOOK_FILE, LOOK_OUTPUTS, MEMBERS_FILE, RESPOND_FILE, RESPOND_OUTPUTS
from fourd_ros.world_model.compact.dynamics_network import EXAMINED, PointDynamicsNetwork
from fourd_ros.world_model.compact.dynamics_state import Awake, Scene, State


class DynamicsMembers(nn.Module):
    """`PointDynamicsNetwork.members` as a network of its own, for ONNX."""

    def __init__(self, network: PointDynamicsNetwork) -> None:
        super().__init__()
        self.network = network

    def onnx_signature(self) -> OnnxSignature:
        """How it is called, for the export."""
        inputs = _example_members(2, 3, 32)
        return OnnxSignature(
            inputs=inputs,
            outputs=("logits",),
            sizes={
                name: {0: "batch", 1: "things"} | ({2: "points"} if name in ("points", "height") else {})
                for name in inputs
            },
            others=(_example_members(1, 5, 48),),
        )

    def forward(self, points: Tensor, height: Tensor, frame: Tensor, later: Tensor, gap: Tensor) -> Tensor:
        """See `PointDynamicsNetwork.members`."""
        return self.network.members(points, height, frame, later, gap)


class DynamicsLook(nn.Module):
    """`PointDynamicsNetwork.look`, with what it needs of `Scene` and `State`."""

    def __init__(self, network: PointDynamicsNetwork) -> None:
        super().__init__()
        self.network = network

    def onnx_signature(self) -> OnnxSignature:
        """How it is called, for the export."""
        inputs = _example_look(2, 3, 32)
        sizes = {name: {0: "batch", 1: "things"} for name in inputs if name != "frames"}
        sizes["points"][2] = sizes["weight"][2] = "points"
        return OnnxSignature(
            inputs=inputs,
            outputs=LOOK_OUTPUTS,
            sizes={**sizes, "frames": {0: "batch"}},
            others=(_example_look(1, 5, 48),),
        )

    def forward(
        self,
        points: Tensor,
        weight: Tensor,
        present: Tensor,
        rotation: Tensor,
        centre: Tensor,
        twist: Tensor,
        frames: Tensor,
    ) -> tuple[Tensor, Tensor, Tensor]:
        """See `PointDynamicsNetwork.look`; `awake` as 0 and 1."""
        scene = Scene(points, weight, present, centre, present, present, centre)
        look = self.network.look(scene, State(rotation, centre, twist, present, present), frames)
        return look.awake.float(), look.gap, look.motion


class DynamicsRespond(nn.Module):
    """`PointDynamicsNetwork.respond`."""

    def __init__(self, network: PointDynamicsNetwork) -> None:
        super().__init__()
        self.network = network

    def onnx_signature(self) -> OnnxSignature:
        """How it is called, for the export."""
        inputs = _example_respond(self.network.memory, 4, 32)
        of_points = ("points", "weight", "gap", "motion")
        return OnnxSignature(
            inputs=inputs,
            outputs=RESPOND_OUTPUTS,
            sizes={name: {0: "rows"} | ({1: "points"} if name in of_points else {}) for name in inputs},
            others=(_example_respond(self.network.memory, 1, 48),),
        )

    def forward(
        self,
        points: Tensor,
        weight: Tensor,
        height: Tensor,
        origin: Tensor,
        held: Tensor,
        eye: Tensor,
        rotation: Tensor,
        centre: Tensor,
        twist: Tensor,
        memory: Tensor,
        gap: Tensor,
        motion: Tensor,
        frames: Tensor,
        gaps: Tensor,
    ) -> State:
        """See `PointDynamicsNetwork.respond`."""
        return self.network.respond(
            Awake(points, weight, height, origin, held, eye, rotation, centre, twist, memory, gap, motion, frames, gaps)
        )


ONNX_PARTS = {MEMBERS_FILE: DynamicsMembers, LOOK_FILE: DynamicsLook, RESPOND_FILE: DynamicsRespond}
"""What `PointDynamics` runs, by file in the model folder."""


def _example_members(batch: int, things: int, points: int) -> dict[str, Tensor]:
    numbers = torch.Generator().manual_seed(batch)
    return {
        "points": 0.1 * torch.rand(batch, things, points, 3, generator=numbers),
        "height": 0.1 * torch.rand(batch, things, points, generator=numbers),
        "frame": torch.eye(4).repeat(batch, things, 1, 1),
        "later": 0.1 * torch.rand(batch, things, 3, 3, generator=numbers),
        "gap": 0.08 * torch.rand(batch, things, 2, generator=numbers),
    }


def _example_look(batch: int, things: int, points: int) -> dict[str, Tensor]:
    random = _random_of(batch)
    return {
        "points": 0.1 * (random(batch, things, points, 3) - 0.5),
        "weight": random(batch, things, points),
        "present": torch.ones(batch, things),
        "rotation": torch.eye(3).repeat(batch, things, 1, 1),
        "centre": 0.2 * random(batch, things, 3),
        "twist": 0.01 * (random(batch, things, 6) - 0.5),
        "frames": _example_frames(batch, random),
    }


def _example_respond(memory: int, rows: int, points: int) -> dict[str, Tensor]:
    random = _random_of(rows)
    return {
        "points": 0.1 * (random(rows, points, 3) - 0.5),
        "weight": random(rows, points),
        "height": 0.1 * random(rows),
        "origin": 0.2 * random(rows, 3),
        "held": torch.zeros(rows),
        "eye": random(rows, 3) + 1.0,
        "rotation": torch.eye(3).repeat(rows, 1, 1),
        "centre": 0.2 * random(rows, 3),
        "twist": 0.01 * (random(rows, 6) - 0.5),
        "memory": random(rows, memory) - 0.5,
        "gap": 0.1 * (random(rows, points, 3) - 0.5),
        "motion": 0.01 * (random(rows, points, 3) - 0.5),
        "frames": _example_frames(rows, random),
        "gaps": 0.08 * random(rows, EXAMINED),
    }


def _example_frames(batch: int, random: Callable[..., Tensor]) -> Tensor:
    frames = torch.eye(4).repeat(batch, EXAMINED, 1, 1)
    frames[..., :3, 3] += 0.01 * random(batch, EXAMINED, 3)
    return frames


def _random_of(seed: int) -> Callable[..., Tensor]:
    numbers = torch.Generator().manual_seed(seed)
    return partial(torch.rand, generator=numbers)
