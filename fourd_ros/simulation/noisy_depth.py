"""Simulated episodes as a stereo depth camera would have measured them."""

from dataclasses import replace

import numpy as np

from fourd_ros.data.episode import Episode, EpisodeView
from fourd_ros.depth_completion.sensor_noise import DepthSensor, SensorRanges


def through_sensor(episode: Episode, *, seed: int) -> Episode:
    """The same episode with holes and noise in its depth images; views without depth or labels stay as they are.

    Args:
        episode: with exact depth.
        seed: of the sensor and its noise; the same seed gives the same depth.
    """
    ranges, rng = SensorRanges(), np.random.default_rng((seed, 5))
    return replace(
        episode, views={name: _measured(view, ranges.draw(rng), rng) for name, view in episode.views.items()}
    )


def _measured(view: EpisodeView, sensor: DepthSensor, rng: np.random.Generator) -> EpisodeView:
    if view.depth is None or view.segmentation is None:
        return view
    depth = [
        sensor.measure(depth, rgb=rgb, labels=labels, camera=view.camera, rng=rng)
        for depth, rgb, labels in zip(view.depth, view.rgb, view.segmentation, strict=True)
    ]
    return replace(view, depth=np.stack(depth))
