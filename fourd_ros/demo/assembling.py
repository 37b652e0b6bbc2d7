"""Rollouts rebuilt from what the node answered, so that they can be judged pixel by pixel."""

from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np

from fourd_ros.bridge.clouds import ROBOT_LABEL
from fourd_ros.bridge.rollouts import FrameContents
from fourd_ros.bridge.times import duration_to_seconds, stamp_to_ns
from fourd_ros.bridge.trajectories import trajectory_from_message
from fourd_ros.errors import InvalidInput
from fourd_ros.geometry.transforms import apply, invert
from fourd_ros.records import Rollout, RolloutFlags, RolloutView


def assemble(message: Any, frames: Sequence[FrameContents]) -> Rollout:
    """A rollout from its summary and all of its frames.

    Args:
        message: ``fourd_msgs/Rollout``.
        frames: every frame of every view, fetched with all fields and without a voxel size.

    Raises:
        InvalidInput: frames or fields are missing.
    """
    times = np.array([duration_to_seconds(time) for time in message.times_from_start])
    by_view: dict[str, list[FrameContents]] = {name: [] for name in message.views}
    for frame in sorted(frames, key=lambda frame: frame.index):
        by_view[frame.view].append(frame)
    for name, found in by_view.items():
        if len(found) != len(times):
            raise InvalidInput(f"{len(found)} frames of view '{name}', needed {len(times)}")
    return Rollout(
        stamp_ns=stamp_to_ns(message.header.stamp),
        frame=str(message.header.frame_id),
        times=times,
        views={name: _view(found) for name, found in by_view.items()},
        joints=trajectory_from_message(message.joints),
        candidate=int(message.candidate),
        sample=int(message.sample),
        backend=str(message.backend),
        model_sha256=str(message.model_sha256),
        seed=int(message.seed),
        trust=float(message.trust),
        flags=RolloutFlags(message.flags),
        compute_time=float(message.compute_time),
    )


def _view(frames: Sequence[FrameContents]) -> RolloutView:
    images = [_to_pixels(frame) for frame in frames]
    return RolloutView(
        camera=frames[0].camera,
        T_world_camera=np.stack([frame.T_world_camera for frame in frames]),
        rgb=np.stack([image["rgb"] for image in images]),
        points=np.stack([image["points"] for image in images]),
        sigma=np.stack([image["sigma"] for image in images]),
        robot_mask=np.stack([image["robot"] for image in images]),
        observed_mask=np.stack([image["observed"] for image in images]),
    )


def _to_pixels(frame: FrameContents) -> Mapping[str, np.ndarray]:
    """Every point back at the pixel it came from."""
    cloud, camera = frame.cloud, frame.camera
    if cloud is None or frame.rgb is None or frame.observed is None:
        raise InvalidInput(f"frame {frame.index} of '{frame.view}' lacks image, points or observed; ask for all fields")
    local = apply(invert(frame.T_world_camera), cloud["points"])
    columns, rows = np.rint(camera.project(local)).astype(np.intp).T
    rows, columns = np.clip(rows, 0, camera.height - 1), np.clip(columns, 0, camera.width - 1)
    points = np.full((camera.height, camera.width, 3), np.nan, dtype=np.float32)
    sigma = np.full((camera.height, camera.width), np.nan, dtype=np.float32)
    robot = np.zeros((camera.height, camera.width), dtype=bool)
    points[rows, columns] = local
    sigma[rows, columns] = cloud["sigma"]
    robot[rows, columns] = cloud["label"] == ROBOT_LABEL
    return {"rgb": frame.rgb, "points": points, "sigma": sigma, "robot": robot, "observed": frame.observed}
