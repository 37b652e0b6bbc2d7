"""A rollout of noise with everything a rollout can hold, and what truly happened."""

from dataclasses import replace
from typing import Any

import numpy as np

from fourd_ros.geometry.camera import PinholeCamera
from fourd_ros.geometry.transforms import look_at
from fourd_ros.records import ObjectMotion, Observation, RobotTrajectory, Rollout, RolloutFlags, RolloutView, View
from fourd_ros.world_model.rollout_file import SavedRollout

STEPS, HEIGHT, WIDTH = 4, 12, 16
START_NS = 1_700_000_000_123_456_789
STEP = 0.25
T_WORLD_CAMERA = look_at(np.array([1.5, -0.6, 0.8]), np.array([0.4, 0.0, 0.1]))


def make_camera() -> PinholeCamera:
    """A distorted one, of numbers that have no short decimals."""
    K = np.array([[20.0 / 3, 0, 7.5], [0, 19.0 / 3, 5.5], [0, 0, 1]])
    return PinholeCamera(width=WIDTH, height=HEIGHT, K=K, distortion=np.array([-0.1, 0.01, 1e-3, -1e-3, 1 / 7]))


def make_view(seed: int, *, mounted_on: str = "", labels: bool = True) -> RolloutView:
    """Points about a metre before the camera; a column of them is unknown."""
    rng = np.random.default_rng(seed)
    size = (STEPS, HEIGHT, WIDTH)
    points = rng.normal([0.0, 0.0, 1.2], 0.2, (*size, 3)).astype(np.float32)
    points[:, :, 3] = np.nan
    sigma = rng.uniform(0, 0.08, size).astype(np.float32)
    sigma[0] = np.nan
    label = rng.choice(np.array([0, 1, 16, 17], np.uint32), size)
    return RolloutView(
        camera=make_camera(),
        T_world_camera=np.repeat(T_WORLD_CAMERA[None], STEPS, axis=0),
        rgb=rng.integers(0, 256, (*size, 3), dtype=np.uint8),
        points=points,
        sigma=sigma,
        robot_mask=rng.random(size) < 0.2,
        observed_mask=rng.random(size) < 0.8,
        mounted_on=mounted_on,
        labels=label if labels else None,
    )


def make_rollout(**changes: Any) -> Rollout:
    """With two cameras, two objects and a trust that nobody knows."""
    rng = np.random.default_rng(5)
    times = STEP * np.arange(1, STEPS + 1)
    moved = tuple(
        ObjectMotion(
            label=16 + index,
            pixels={"front": rng.random((HEIGHT, WIDTH)) < 0.1, "elsewhere": rng.random((3, 5)) < 0.5},
            motion=rng.normal(size=(STEPS, 4, 4)),
            sigma=np.array([0.0, 1e-300, np.inf, np.nan]),
        )
        for index in range(2)
    )
    rollout = Rollout(
        stamp_ns=START_NS,
        frame="base",
        times=times,
        views={"front": make_view(1), "wrist/colour": make_view(2, mounted_on="hand", labels=False)},
        joints=RobotTrajectory(
            joint_names=("a", "b"), times=np.array([0.1, 2 / 3]), positions=np.array([[0.1, -0.0], [1 / 3, 5e-324]])
        ),
        candidate=3,
        sample=1,
        backend="test",
        seed=2**64 - 1,
        model_sha256="ab" * 32,
        flags=RolloutFlags.CAMERA_UNSEEN | RolloutFlags.TRUNCATED,
        compute_time=0.1,
        objects=moved,
        T_world_robot=rng.normal(size=(4, 4)),
    )
    return replace(rollout, **changes)


def make_truth(steps: tuple[int, ...] = (0, 1, 2, 4)) -> tuple[Observation, ...]:
    """What the front camera saw at the start (step 0) and at some times of the rollout."""
    rng = np.random.default_rng(7)
    return tuple(
        Observation(
            stamp_ns=START_NS + round(step * STEP * 1e9),
            frame="base",
            views={
                "front": View(
                    camera=make_camera(),
                    T_world_camera=T_WORLD_CAMERA,
                    rgb=rng.integers(0, 256, (HEIGHT, WIDTH, 3), dtype=np.uint8),
                    points=rng.normal([0.0, 0.0, 1.2], 0.2, (HEIGHT, WIDTH, 3)).astype(np.float32),
                )
            },
            joint_positions={"a": 0.1 * step, "b": -0.0},
        )
        for step in steps
    )


def make_saved(**changes: Any) -> SavedRollout:
    """Both."""
    return SavedRollout(rollout=make_rollout(**changes), truth=make_truth())


def assert_same(one: Any, other: Any, where: str = "") -> None:
    """Equal to the last bit: types, shapes, NaN, the sign of zero."""
    assert type(one) is type(other), where
    if isinstance(one, np.ndarray):
        assert (one.dtype, one.shape) == (other.dtype, other.shape), where
        assert one.tobytes() == other.tobytes(), where
    elif isinstance(one, PinholeCamera):
        assert one == other, where
    elif isinstance(one, dict):
        assert list(one) == list(other), where
        for key in one:
            assert_same(one[key], other[key], f"{where}.{key}")
    elif isinstance(one, tuple):
        assert len(one) == len(other), where
        for index, pair in enumerate(zip(one, other, strict=True)):
            assert_same(*pair, f"{where}[{index}]")
    elif hasattr(one, "__dataclass_fields__"):
        assert_same(vars(one), vars(other), where or type(one).__name__)
    elif isinstance(one, float):
        assert np.float64(one).tobytes() == np.float64(other).tobytes(), where
    else:
        assert one == other, where
