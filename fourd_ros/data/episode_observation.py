"""An instant of a recorded episode as what a world model is told."""

import numpy as np

from fourd_ros.data.episode import Episode, EpisodeView
from fourd_ros.errors import UnknownObservation
from fourd_ros.geometry.pointmap import points_from_depth
from fourd_ros.records import Observation, View


def step_at(episode: Episode, stamp_ns: int) -> int:
    """The frame nearest to a stamp.

    Args:
        episode: the episode.
        stamp_ns: of the instant [ns]; 0 for the first frame.

    Raises:
        UnknownObservation: the episode does not reach to that stamp.
    """
    if stamp_ns == 0:
        return 0
    after = (stamp_ns - episode.start_ns) * 1e-9
    step = int(np.abs(episode.times - after).argmin())
    if abs(episode.times[step] - after) > 0.5 / episode.rate:
        last_ns = episode.start_ns + round(float(episode.times[-1]) * 1e9)
        raise UnknownObservation(
            f"episode '{episode.name}' has no frame at {stamp_ns} ns; it lasts from {episode.start_ns} to {last_ns} ns"
        )
    return step


def observation_of(episode: Episode, step: int, *, frame: str) -> Observation:
    """What was measured and seen at one frame.

    Args:
        episode: the episode.
        step: index of the frame.
        frame: what the world is called, which is the robot's root link.
    """
    return Observation(
        stamp_ns=episode.start_ns + round(float(episode.times[step]) * 1e9),
        frame=frame,
        views={name: _view(view, step) for name, view in episode.views.items()},
        joint_positions=dict(zip(episode.joint_names, episode.measured[step].tolist(), strict=True)),
    )


def _view(view: EpisodeView, step: int) -> View:
    camera = view.camera
    if view.depth is None:
        points = np.full((camera.height, camera.width, 3), np.nan, np.float32)
    else:
        points = points_from_depth(view.depth[step], camera)
    return View(
        camera=camera,
        T_world_camera=view.T_world_camera[step],
        rgb=view.rgb[step],
        points=points,
        mounted_on=view.mounted_on,
    )
