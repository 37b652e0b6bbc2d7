"""A frame of a recorded camera as a world model is told it in training: at times through a depth camera that errs."""

import numpy as np

from fourd_ros.data.episode import EpisodeView
from fourd_ros.depth_completion.sensor_noise import SensorRanges
from fourd_ros.geometry.pointmap import points_from_depth
from fourd_ros.records import View


def seen(view: EpisodeView, frame: int, *, sensor: SensorRanges | None, rng: np.random.Generator) -> View:
    """One frame of a simulated view.

    Args:
        view: with depth and segmentation.
        frame: its index.
        sensor: what errors are drawn from; None for the depth as it is.
        rng: of the errors.
    """
    assert view.depth is not None and view.segmentation is not None
    depth = view.depth[frame]
    if sensor is not None:
        measure = sensor.draw(rng).measure
        depth = measure(depth, rgb=view.rgb[frame], labels=view.segmentation[frame], camera=view.camera, rng=rng)
    return View(
        camera=view.camera,
        T_world_camera=view.T_world_camera[frame],
        rgb=view.rgb[frame],
        points=points_from_depth(depth, view.camera),
        mounted_on=view.mounted_on,
    )
