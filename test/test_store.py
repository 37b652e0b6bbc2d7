"""Rollouts by id: bounded in bytes, expiring in time."""

import numpy as np
import pytest

from fourd_ros.errors import RolloutExpired, UnknownRollout
from fourd_ros.geometry.camera import PinholeCamera
from fourd_ros.records import RobotTrajectory, Rollout, RolloutView
from fourd_ros.world_model.store import RolloutStore, rollout_bytes


def make_rollout(steps: int = 2, size: int = 8) -> Rollout:
    camera = PinholeCamera(width=size, height=size, K=np.diag([10.0, 10.0, 1.0]))
    times = np.arange(1, steps + 1) * 0.2
    shape = (steps, size, size)
    view = RolloutView(
        camera=camera,
        T_world_camera=np.repeat(np.eye(4)[None], steps, axis=0),
        rgb=np.zeros((*shape, 3), np.uint8),
        points=np.zeros((*shape, 3), np.float32),
        sigma=np.zeros(shape, np.float32),
        robot_mask=np.zeros(shape, bool),
        observed_mask=np.ones(shape, bool),
    )
    joints = RobotTrajectory(joint_names=("a",), times=times, positions=np.zeros((steps, 1)))
    return Rollout(
        stamp_ns=1,
        frame="base",
        times=times,
        views={"front": view},
        joints=joints,
        candidate=0,
        sample=0,
        backend="test",
        seed=0,
    )


def test_a_rollout_comes_back_by_its_id() -> None:
    store = RolloutStore(max_bytes=10**6, lifetime=60.0)
    rollout = make_rollout()
    store.add("a", rollout)
    assert store.get("a") is rollout and len(store) == 1


def test_old_rollouts_make_room_and_are_told_from_unknown_ones() -> None:
    size = rollout_bytes(make_rollout())
    store = RolloutStore(max_bytes=2 * size, lifetime=60.0)
    for name in "abc":
        store.add(name, make_rollout())
    with pytest.raises(RolloutExpired, match="'a'"):
        store.get("a")
    with pytest.raises(UnknownRollout, match="'z'"):
        store.get("z")
    assert len(store) == 2


def test_the_newest_is_kept_even_if_it_is_too_large() -> None:
    store = RolloutStore(max_bytes=1, lifetime=60.0)
    store.add("a", make_rollout())
    store.get("a")


def test_rollouts_expire(monkeypatch: pytest.MonkeyPatch) -> None:
    now = [100.0]
    monkeypatch.setattr("fourd_ros.world_model.store.time.monotonic", lambda: now[0])
    store = RolloutStore(max_bytes=10**6, lifetime=5.0)
    store.add("a", make_rollout())
    now[0] += 4.0
    store.add("b", make_rollout())
    now[0] += 2.0
    with pytest.raises(RolloutExpired):
        store.get("a")
    store.get("b")
    store.clear()
    with pytest.raises(RolloutExpired):
        store.get("b")
