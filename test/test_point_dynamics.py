"""The dynamics of things: what the network may not depend on, its run times, its samples."""

from pathlib import Path

import numpy as np
import pytest
import torch

from fourd_ros.errors import InvalidModel
from fourd_ros.geometry.transforms import apply, from_parts, from_rpy, rotation_about
from fourd_ros.model_io.card import ModelCard
from fourd_ros.model_io.folder import write_model
from fourd_ros.model_io.onnx_export import export_onnx
from fourd_ros.robot.model import RobotModel
from fourd_ros.robot.panda import PANDA_READY, panda_description
from fourd_ros.world_model.compact.dynamics import (
    COMPONENT,
    LEAST_SIGMA,
    PointDynamics,
    ThingMotions,
    torch_networks,
)
from fourd_ros.world_model.compact.dynamics_network import PointDynamicsNetwork
from fourd_ros.world_model.compact.dynamics_onnx import ONNX_PARTS
from fourd_ros.world_model.compact.gripper_path import Approach, GripperPath
from fourd_ros.world_model.compact.things import FIRST_LABEL, Thing

TIMES = np.arange(1, 9) * 0.2
EYE = np.array([1.1, -0.3, 0.6])


def thing(number: int, x: float, y: float, count: int = 40) -> Thing:
    """A few points of a box of 4 cm."""
    points = np.random.default_rng(number).uniform(-0.02, 0.02, (count, 3)) + np.array([x, y, 0.02])
    return Thing(label=FIRST_LABEL + number, pixels={}, points=points, support=0.0, held=False)


def straight_path(shift: tuple[float, float, float] = (0.0, 0.0, 0.0)) -> GripperPath:
    """Fingers down, 20 cm along x at 2 cm of height."""
    frames = np.tile(np.eye(4), (1, 33, 1, 1))
    frames[..., :3, :3] = np.diag([1.0, -1.0, -1.0])
    frames[..., :3, 3] = np.array([0.4, 0.0, 0.02]) + shift
    frames[..., 0, 3] += np.linspace(0.0, 0.2, 33)
    return GripperPath(frames=frames, gaps=np.full((1, 33), 0.02))


def restless_network() -> PointDynamicsNetwork:
    """A network whose things move a lot."""
    torch.manual_seed(1)
    network = PointDynamicsNetwork(width=32, memory=32).eval()
    with torch.no_grad():
        for parameter in network.head.parameters():
            parameter.mul_(8.0)
    return network


@pytest.fixture(scope="module")
def network() -> PointDynamicsNetwork:
    return restless_network()


@pytest.fixture(scope="module")
def dynamics(network: PointDynamicsNetwork) -> PointDynamics:
    return PointDynamics(torch_networks(network))


def test_a_path_starts_as_measured_and_follows_the_command() -> None:
    robot = RobotModel(panda_description())
    ready = robot.kinematics.positions_from(PANDA_READY)
    commanded = np.repeat(ready[None, None], 3, axis=1)
    commanded[..., -1] = 0.01
    T_world_robot = from_rpy((1.0, 2.0, 0.5), (0.0, 0.0, 0.3))
    path = GripperPath.of(robot, PANDA_READY, commanded, T_world_robot)
    assert path.frames.shape == (1, 4, 4, 4)
    hand = robot.kinematics.link_poses(ready)["panda_hand"]
    tips = apply(T_world_robot @ hand, np.array([0.0, 0.0, 0.1123]))
    np.testing.assert_allclose(path.frames[0, :, :3, 3], np.tile(tips, (4, 1)), atol=1e-3)
    np.testing.assert_allclose(path.gaps[0], [0.08, 0.02, 0.02, 0.02], atol=1e-3)
    closing, approaching = path.frames[0, 0, :3, 0], path.frames[0, 0, :3, 2]
    assert abs(closing @ (T_world_robot @ hand)[:3, 1]) == pytest.approx(1.0)
    assert approaching[2] < -0.99


def test_the_nearest_approach_is_found() -> None:
    path = straight_path()
    points = np.array([[[0.5, 0.05, 0.02]], [[0.4, 0.0, 0.02]]])
    approach = Approach.of(points, path)
    np.testing.assert_allclose(approach.distance[0], [0.05, 0.0], atol=1e-6)
    np.testing.assert_allclose(approach.frame[0, 0, :3, 3], [0.5, 0.0, 0.02], atol=1e-9)
    np.testing.assert_allclose(approach.later[0, 0, :, 0], [0.55, 0.6, 0.6], atol=1e-9)


def test_it_does_not_matter_where_on_the_table_things_happen(dynamics: PointDynamics) -> None:
    things = [thing(0, 0.5, 0.01), thing(1, 0.55, 0.03)]
    here = dynamics.predict(things, straight_path(), times=TIMES, eye=EYE)
    move = from_parts(rotation_about([0.0, 0.0, 1.0], 2.0), np.array([0.3, -0.7, 0.2]))
    moved = [
        Thing(label=t.label, pixels={}, points=apply(move, t.points), support=t.support + 0.2, held=False)
        for t in things
    ]
    path = straight_path()
    there = dynamics.predict(
        moved, GripperPath(frames=move @ path.frames, gaps=path.gaps), times=TIMES, eye=apply(move, EYE)
    )
    assert np.abs(here.motion[0, 0, -1] - np.eye(4)).max() > 0.01
    expected = move @ here.motion @ np.linalg.inv(move)
    early = slice(0, 5)  # what is met by a hair's breadth later depends on rounding
    np.testing.assert_allclose(there.motion[:, :, early], expected[:, :, early], atol=2e-4)
    np.testing.assert_allclose(there.sigma[:, :, early], here.sigma[:, :, early], atol=1e-5)


def test_candidates_of_a_batch_do_not_know_of_each_other(dynamics: PointDynamics) -> None:
    things = [thing(0, 0.5, 0.01), thing(1, 0.55, 0.03)]
    paths = [straight_path(), straight_path((0.0, 0.03, 0.01))]
    both = GripperPath(
        frames=np.concatenate([path.frames for path in paths]), gaps=np.concatenate([path.gaps for path in paths])
    )
    together = dynamics.predict(things, both, times=TIMES, eye=EYE)
    for number, path in enumerate(paths):
        alone = dynamics.predict(things, path, times=TIMES, eye=EYE)
        np.testing.assert_allclose(together.motion[number], alone.motion[0], atol=1e-5)
    assert np.abs(together.motion[0] - together.motion[1]).max() > 1e-3


def test_a_thing_feels_another_one_only_when_it_is_near(dynamics: PointDynamics) -> None:
    def motion(other: Thing) -> np.ndarray:
        return dynamics.predict([thing(0, 0.5, 0.01), other], straight_path(), times=TIMES, eye=EYE).motion[0, 0]

    np.testing.assert_allclose(motion(thing(1, 0.9, 0.0)), motion(thing(1, 0.9, 0.2)), atol=1e-6)
    assert np.abs(motion(thing(1, 0.545, 0.01)) - motion(thing(1, 0.9, 0.0))).max() > 1e-4


def test_what_is_far_from_the_gripper_is_not_touched(dynamics: PointDynamics) -> None:
    found = dynamics.predict([thing(0, 0.5, 0.01), thing(1, -0.4, 0.5)], straight_path(), times=TIMES, eye=EYE)
    assert found.moves.tolist() == [[True, False]]
    assert (found.sigma[0, 1] == 0).all()
    assert found.members[1].all()
    nothing = dynamics.predict([], straight_path(), times=TIMES, eye=EYE)
    assert nothing.motion.shape == (1, 0, len(TIMES), 4, 4)


def test_what_nothing_comes_near_to_sleeps_until_something_does(dynamics: PointDynamics) -> None:
    aside = dynamics.predict([thing(0, 0.5, 0.22)], straight_path(), times=TIMES, eye=EYE)
    assert (aside.motion == np.eye(4)).all() and (aside.sigma == np.float32(LEAST_SIGMA)).all()
    ahead = dynamics.predict([thing(0, 0.68, 0.0)], straight_path(), times=TIMES, eye=EYE).motion[0, 0]
    moved = np.abs(ahead - np.eye(4)).max(axis=(1, 2)) > 1e-6
    assert not moved[:2].any() and moved[-1]


def test_motions_are_rigid_at_any_time(dynamics: PointDynamics) -> None:
    times = np.array([0.03, 0.1, 0.25, 1.234])
    found = dynamics.predict([thing(0, 0.5, 0.01)], straight_path(), times=times, eye=EYE)
    rotation = found.motion[0, 0, :, :3, :3]
    np.testing.assert_allclose(rotation @ np.swapaxes(rotation, -1, -2), np.tile(np.eye(3), (4, 1, 1)), atol=1e-5)
    exact = dynamics.predict([thing(0, 0.5, 0.01)], straight_path(), times=np.array([0.2, 0.3]), eye=EYE)
    np.testing.assert_allclose(found.motion[0, 0, 2, :3, 3], exact.motion[0, 0, :, :3, 3].mean(axis=0), atol=1e-4)


def test_samples_spread_as_sigma_says() -> None:
    motion = np.tile(np.eye(4), (1, 2, 1, 1, 1))
    motion[0, 0, 0, 0, 3] = 0.1
    given = ThingMotions(
        things=(thing(0, 0.5, 0.0), thing(1, 0.6, 0.0)),
        motion=motion,
        sigma=np.full((1, 2, 1), 0.02),
        members=(np.ones((1, 40), bool),) * 2,
    )
    rng = np.random.default_rng(0)
    drawn = np.stack([given.sample(rng).motion for _ in range(400)])
    assert drawn[:, 0, 0, 0, 0, 3].std() == pytest.approx(0.02, rel=0.15)
    assert drawn[:, 0, 0, 0, 0, 3].mean() == pytest.approx(0.1, abs=0.004)
    assert (drawn[:, 0, 1] == np.eye(4)).all(), "what stands still stands still in every sample"


def test_onnx_says_the_same_as_torch(network: PointDynamicsNetwork, tmp_path: Path) -> None:
    for name, part in ONNX_PARTS.items():
        module = part(network)
        export_onnx(module, module.onnx_signature(), tmp_path / Path(name).name)
    folder = tmp_path / "model"
    write_model(
        folder,
        {COMPONENT: network},
        card=ModelCard(name="d", system="world_model_compact", purpose="p", licence="Apache-2.0"),
        model_class="PointDynamics",
        extra={name: tmp_path / Path(name).name for name in ONNX_PARTS},
    )
    things = [thing(0, 0.5, 0.01), thing(1, 0.55, 0.03, 7), thing(2, 0.45, -0.05)]
    found = {
        runtime: PointDynamics.from_folder(folder, runtime=runtime).predict(
            things, straight_path(), times=TIMES, eye=EYE
        )
        for runtime in ("onnx", "torch")
    }
    np.testing.assert_allclose(found["onnx"].motion, found["torch"].motion, atol=1e-3)
    np.testing.assert_allclose(found["onnx"].sigma, found["torch"].sigma, atol=1e-4)
    assert PointDynamics.from_folder(folder).sha256
    write_model(
        tmp_path / "other",
        {"network": network},
        card=ModelCard(name="d", system="s", purpose="p", licence="Apache-2.0"),
        model_class="PointDynamics",
    )
    with pytest.raises(InvalidModel, match="needed is 'dynamics'"):
        PointDynamics.from_folder(tmp_path / "other")
