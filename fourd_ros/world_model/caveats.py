"""What a user of a rollout should be warned about."""

from collections.abc import Mapping

import numpy as np

from fourd_ros.geometry.transforms import apply
from fourd_ros.records import FloatArray, RobotTrajectory, RolloutFlags, RolloutView
from fourd_ros.world_model.base import Question

UNSEEN_SHARE = 0.5
"""A frame of which more than this share rests on nothing seen raises CAMERA_UNSEEN."""

WORKSPACE_MARGIN = 0.1
"""The robot may leave the box around everything observed by this much before OUTSIDE_WORKSPACE is raised [m]."""

SAMPLE_STRIDE = 7
"""Every so many pixels are enough to find the box."""


def caveats(question: Question, candidate: RobotTrajectory, views: Mapping[str, RolloutView]) -> RolloutFlags:
    """Flags of the rollout of one candidate.

    Args:
        question: what was asked.
        candidate: the commanded motion.
        views: what was imagined of it.
    """
    flags = RolloutFlags.NONE
    last = question.times[-1]
    if candidate.times[-1] > last and not np.allclose(
        candidate.at(candidate.times[-1:]), candidate.at(np.array([last]))
    ):
        flags |= RolloutFlags.TRUNCATED
    if any((~view.observed_mask).mean(axis=(1, 2)).max() > UNSEEN_SHARE for view in views.values()):
        flags |= RolloutFlags.CAMERA_UNSEEN
    if _leaves_workspace(question, candidate):
        flags |= RolloutFlags.OUTSIDE_WORKSPACE
    return flags


def _leaves_workspace(question: Question, candidate: RobotTrajectory) -> bool:
    box = observed_box(question)
    if box is None:
        return False
    poses = question.robot.kinematics.link_poses(candidate.at(question.times))
    origins = np.stack([poses[link][:, :3, 3] for link in question.robot.moving_links], axis=1)
    world = apply(question.observation.T_world_robot, origins)
    return bool((world < box[0] - WORKSPACE_MARGIN).any() or (world > box[1] + WORKSPACE_MARGIN).any())


def observed_box(question: Question) -> tuple[FloatArray, FloatArray] | None:
    """Corners of the box around all observed points and the robot's present links [m]; None without depth."""
    clouds = []
    for view in question.observation.views.values():
        points = view.points.reshape(-1, 3)[::SAMPLE_STRIDE]
        clouds.append(apply(view.T_world_camera, points[np.isfinite(points[:, 2])]))
    cloud = np.concatenate(clouds)
    if len(cloud) == 0:
        return None
    kinematics = question.robot.kinematics
    now = kinematics.link_poses(kinematics.positions_from(question.observation.joint_positions))
    robot = apply(question.observation.T_world_robot, np.stack([pose[:3, 3] for pose in now.values()]))
    everything = np.concatenate([cloud, robot])
    return everything.min(axis=0), everything.max(axis=0)
