"""Small made-up episodes, and when two are equal."""

from dataclasses import fields
from typing import Any

import numpy as np

from fourd_ros.data.depth_steps import DEPTH_STEP
from fourd_ros.data.episode import Episode, EpisodeView
from fourd_ros.geometry.camera import PinholeCamera

STEPS, JOINTS, OBJECTS, HEIGHT, WIDTH = 5, 3, 2, 6, 8


def make_view(rng: np.random.Generator, *, steps: int = STEPS) -> EpisodeView:
    """A camera with everything, on the hand."""
    depth = rng.uniform(0.1, 6.5, (steps, HEIGHT, WIDTH)).astype(np.float32)
    depth[0, 0, 0] = np.nan
    K = np.array([[10.0, 0.0, 3.5], [0.0, 10.0, 2.5], [0.0, 0.0, 1.0]])
    return EpisodeView(
        camera=PinholeCamera(width=WIDTH, height=HEIGHT, K=K, distortion=np.array([0.1, 0.0, 0.0, 0.0, 0.0])),
        mounted_on="hand",
        T_mount_camera=np.eye(4),
        T_world_camera=np.tile(np.eye(4), (steps, 1, 1)),
        rgb=rng.integers(0, 256, (steps, HEIGHT, WIDTH, 3), dtype=np.uint8),
        depth=depth,
        segmentation=rng.integers(0, 3, (steps, HEIGHT, WIDTH), dtype=np.uint8),
    )


def make_episode(number: int = 7, *, steps: int = STEPS, **changes: Any) -> Episode:
    """An episode of noise that `number` decides."""
    rng = np.random.default_rng(number)
    facts: dict[str, Any] = {
        "name": f"episode_{number:06d}",
        "source": "simulation",
        "start_ns": 1_700_000_000_000_000_123,
        "robot_description": "<robot name='r'/>",
        "seed": number,
        "tasks": ("push",),
        "instructions": ("push the grün box",),
        "policy": "expert",
        "success": True,
        "rate": 10.0,
        "times": np.arange(steps) / 10,
        "joint_names": ("a", "b", "c"),
        "commanded": rng.normal(size=(steps, JOINTS)),
        "measured": rng.normal(size=(steps, JOINTS)),
        "velocities": rng.normal(size=(steps, JOINTS)),
        "action_names": ("x", "y"),
        "actions": rng.normal(size=(steps, 2)),
        "object_names": ("object_1", "object_2"),
        "object_labels": ("red box", "blue mug"),
        "object_sizes": rng.uniform(size=(OBJECTS, 3)),
        "object_poses": np.tile(np.eye(4), (steps, OBJECTS, 1, 1)),
        "views": {"front": make_view(rng, steps=steps), "wrist": make_view(rng, steps=steps)},
    }
    return Episode(**{**facts, **changes})


def assert_equal(one: Episode, other: Episode) -> None:
    """Equal to the bit; depth to half a step."""
    for field in fields(Episode):
        value, twin = getattr(one, field.name), getattr(other, field.name)
        if isinstance(value, np.ndarray):
            assert np.array_equal(value, twin, equal_nan=True), field.name
        elif field.name != "views":
            assert value == twin, field.name
    assert list(one.views) == list(other.views)
    for name, view in one.views.items():
        _assert_views_equal(view, other.views[name])


def _assert_views_equal(view: EpisodeView, twin: EpisodeView) -> None:
    assert view.mounted_on == twin.mounted_on
    assert view.camera == twin.camera
    for field in ("rgb", "T_world_camera", "T_mount_camera"):
        assert np.array_equal(getattr(view, field), getattr(twin, field))
    assert (view.segmentation is None) == (twin.segmentation is None)
    if view.segmentation is not None and twin.segmentation is not None:
        assert np.array_equal(view.segmentation, twin.segmentation)
    assert (view.depth is None) == (twin.depth is None)
    if view.depth is not None and twin.depth is not None:
        assert np.array_equal(np.isnan(view.depth), np.isnan(twin.depth))
        assert np.nanmax(np.abs(view.depth - twin.depth)) <= 0.51 * DEPTH_STEP
