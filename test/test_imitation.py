"""The learned policy: what it is shown, how it learns, what it does in the simulator."""

from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
import torch

from fourd_ros.errors import ContractViolated, InvalidDataset, InvalidModel, PolicyFailed, UnknownTask
from fourd_ros.evaluation.policy.starts import StartOptions, simulated_start
from fourd_ros.evaluation.policy.trial_setup import assignment_of
from fourd_ros.evaluation.policy.worlds import SimulatedWorld, drive
from fourd_ros.policies.imitation import PERIOD, ImitationPolicy, follower_of, unwound
from fourd_ros.policies.imitation_inputs import SCALE, TASKS, GripperPose, laid_over, network_inputs
from fourd_ros.policies.registry import make_policy
from fourd_ros.robot.model import RobotModel
from fourd_ros.robot.panda import panda_description
from fourd_ros.robot.trajectory import check_trajectory
from fourd_ros.training.imitation import INPUTS, ImitationConfig, ImitationTask
from fourd_ros.training.imitation_samples import (
    DemonstrationOptions,
    ImitationSamples,
    mirrored,
    prepare_demonstrations,
)
from fourd_ros.training.settings import read_config

OPTIONS = DemonstrationOptions(tasks=("push", "pick_place"), seed=4100, steps=12, disturbed=0.0, disturbance=0.0)
HELD_OUT = StartOptions(seed=4002, shadows=False)


@pytest.fixture(scope="module")
def robot() -> RobotModel:
    return RobotModel(panda_description())


@pytest.fixture(scope="module")
def shards(tmp_path_factory: pytest.TempPathFactory) -> list[Path]:
    return prepare_demonstrations(tmp_path_factory.mktemp("demonstrations"), 2, OPTIONS)


@pytest.fixture(scope="module")
def samples(shards: list[Path]) -> ImitationSamples:
    return ImitationSamples(shards, augment=False, gripper_noise=0.0)


def test_demonstrations_are_made_once_and_folders_are_not_mixed(shards):
    folder, written = shards[0].parent, shards[0].stat().st_mtime_ns
    assert prepare_demonstrations(folder, 2, OPTIONS) == shards and shards[0].stat().st_mtime_ns == written
    with pytest.raises(InvalidDataset, match="other options"):
        prepare_demonstrations(folder, 2, replace(OPTIONS, disturbed=0.5))


def test_what_is_done_next_is_told_beside_the_target(samples):
    rows = [samples.sample(index, np.random.default_rng(0)) for index in range(len(samples))]
    lowest = min(np.asarray(row["actions"])[:, 2].min() for row in rows) * SCALE
    assert 0.0 < lowest < 0.05
    held = [np.asarray(row["actions"])[0] for row in rows if row["state"][5] and row["state"][-2]]
    assert held and np.median([np.linalg.norm(action[:2]) for action in held]) * SCALE < 0.06


def test_training_lowers_the_loss_and_what_is_exported_is_what_was_trained(samples, tmp_path, robot):
    torch.manual_seed(0)
    task = ImitationTask(read_config(ImitationConfig, None, ["network.width=32", "network.layers=1"]))
    network = task.network()
    rows = [samples.sample(index, np.random.default_rng(0)) for index in range(len(samples))]
    batch = {name: torch.from_numpy(np.stack([row[name] for row in rows])) for name in rows[0]}
    optimizer = torch.optim.AdamW(network.parameters(), lr=3e-3)
    losses = []
    for _ in range(40):
        optimizer.zero_grad()
        loss = task.loss(network, batch).per_sample.mean()
        loss.backward()
        optimizer.step()
        losses.append(float(loss.detach()))
    assert losses[-1] < 0.5 * losses[0]

    task.export(network, tmp_path / "model", {"place_mm": 1.0})
    with pytest.raises(InvalidModel, match="step_1"):
        ImitationPolicy.from_folder(tmp_path / "model", "step_1", robot=robot)
    policies = [ImitationPolicy.from_folder(tmp_path / "model", runtime=way, robot=robot) for way in ("onnx", "torch")]
    with torch.no_grad():
        expected = network(**{name: batch[name][:1] for name in INPUTS})
    for policy in policies:
        said = policy._network({name: batch[name][:1].numpy() for name in INPUTS})
        np.testing.assert_allclose(said["actions"], expected.actions, atol=1e-4)


def test_in_a_mirror_everything_is_the_same_on_the_other_side(robot):
    with simulated_start("push", 0, HELD_OUT) as (start, _):
        situation = follower_of(robot, "push", start.task, start.scene).see(start.observation)
    there, here = network_inputs(mirrored(situation)), network_inputs(situation)
    flipped = np.ones(len(here["state"]), np.float32)
    flipped[[1, 4, 7, 9, 11, 14, 16]] = -1.0
    np.testing.assert_allclose(there["state"], here["state"] * flipped, atol=1e-5)
    np.testing.assert_allclose(there["points"], here["points"] * [1, -1, 1, 1, 1], atol=1e-5)


def test_a_target_of_which_a_part_is_seen_is_laid_over_it():
    rng = np.random.default_rng(0)
    box = rng.uniform(-0.03, 0.03, (32, 3))
    shift = np.array([0.012, -0.008, 0.0])
    moved = laid_over(box, box[box[:, 0] > -0.01] + shift, part=True)
    np.testing.assert_allclose(moved, box + shift, atol=0.003)


def test_frames_of_gripper_poses_are_theirs():
    poses = GripperPose(position=np.array([[0.4, 0.1, 0.2]]), closing=np.array([0.7]))
    T = poses.frames()
    np.testing.assert_allclose(T[0, :3, :3] @ T[0, :3, :3].T, np.eye(3), atol=1e-12)
    assert np.isclose(np.linalg.det(T[0, :3, :3]), 1.0) and T[0, 2, 2] == -1.0
    assert GripperPose.of(T).closing == pytest.approx(poses.closing)


def test_fingers_do_not_turn_half_a_turn_for_nothing():
    np.testing.assert_allclose(unwound(np.array([3.0, 3.1, -3.1]), 0.0), [3.0 - np.pi, 3.1 - np.pi, -3.1 + np.pi])


def test_what_the_policy_needs_is_declared_and_checked():
    policy = make_policy("imitation", task="push")
    assert policy.contract.cameras == ("front",) and policy.contract.depth and policy.contract.period == PERIOD
    with simulated_start("push", 0, HELD_OUT) as (start, _):
        policy.contract.check(policy.name, start.observation, scene=True)
        with pytest.raises(ContractViolated, match="front"):
            policy.contract.check(policy.name, replace(start.observation, views={}), scene=True)
        with pytest.raises(PolicyFailed, match="place"):
            policy.begin(replace(assignment_of(policy, start, 0), scene=None))
    with pytest.raises(UnknownTask, match="stack"):
        make_policy("imitation", task="stack")


def test_the_shipped_policy_does_what_standing_still_does_not(robot):
    policy = make_policy("imitation", task=TASKS[0])
    done = []
    for number in range(4):
        with simulated_start("push", number, HELD_OUT) as (start, simulator):
            world = SimulatedWorld(simulator)
            assert not start.task.succeeded(start.scene, world.state())
            policy.begin(assignment_of(policy, start, 0))
            motion = policy.act(start.observation, elapsed=0.0)
            now = robot.kinematics.positions_from(start.observation.joint_positions)
            check_trajectory(motion, robot.kinematics, now, targets=robot.gripper.joints)
            drive(policy, world, assignment_of(policy, start, 0), limit=14.0)
            done.append(start.task.succeeded(start.scene, world.state()))
    assert sum(done) >= 2
