"""From what a rung says of seen pixels to tracks of things, which detectors look at."""

from collections.abc import Sequence

import numpy as np
from numpy.typing import NDArray

from fourd_ros.evaluation.policy.goals import Track
from fourd_ros.geometry.transforms import apply
from fourd_ros.records import ObjectMotion, Observation
from fourd_ros.robot.model import RobotModel
from fourd_ros.world_model.base import Forecast
from fourd_ros.world_model.compact.things import find_things
from fourd_ros.world_model.scene import understand

FloatArray = NDArray[np.float64]


def resting(robot: RobotModel, observation: Observation) -> tuple[ObjectMotion, ...]:
    """All things that are seen in an observation, as if nothing ever moved them."""
    return tuple(
        ObjectMotion(label=thing.label, pixels=thing.pixels, motion=np.eye(4)[None], sigma=np.zeros(1))
        for thing in find_things(understand(robot, observation))
    )


def tracks_of(forecast: Forecast, index: int, observation: Observation, at_rest: Sequence[ObjectMotion]) -> list[Track]:
    """Where things are at one instant of a forecast.

    Args:
        forecast: by a rung.
        index: of the instant.
        observation: that it starts from.
        at_rest: all things that were seen; those that the forecast does not speak of stay.
    """
    spoken = [track_of(item, index, observation) for item in forecast.objects]
    silent = [item for item in at_rest if not any(_overlap(item, other) for other in forecast.objects)]
    return [track for track in (*spoken, *(track_of(item, 0, observation) for item in silent)) if len(track.points)]


def track_of(item: ObjectMotion, index: int, observation: Observation) -> Track:
    """Where one thing is at one instant."""
    clouds = [
        apply(view.T_world_camera, view.points[item.pixels[name] & np.isfinite(view.points[..., 2])])
        for name, view in observation.views.items()
    ]
    points = np.concatenate(clouds).astype(np.float64)
    return Track(points=points, motion=item.motion[index], sigma=float(item.sigma[index]))


def _overlap(one: ObjectMotion, other: ObjectMotion) -> bool:
    return any(bool((mask & other.pixels[name]).any()) for name, mask in one.pixels.items())


def grasp_point(robot: RobotModel, positions: FloatArray) -> FloatArray:
    """Where the point between the finger tips is [m], shape [3]; NaN for a robot without a gripper."""
    if robot.gripper is None:
        return np.full(3, np.nan)
    pose = robot.kinematics.link_poses(positions)[robot.gripper.carrier] @ robot.gripper.grasp_frame
    return np.asarray(pose[:3, 3], np.float64)
