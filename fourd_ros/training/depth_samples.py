"""Samples for the depth-hole filler: a part of a picture at some scale, in other colours, through some depth camera."""

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from fourd_ros.depth_completion.completer import network_inputs
from fourd_ros.depth_completion.fills import Fills, fill
from fourd_ros.depth_completion.sensor_noise import SensorRanges
from fourd_ros.geometry.camera import PinholeCamera
from fourd_ros.simulation.stills import Still, StillFolder
from fourd_ros.training.task import Sample

ATTEMPTS = 5
"""Cameras that are tried on one part of a picture until one measures anything there."""

DEPTH_SCALE = (0.6, 1.6)
"""The world may be larger or smaller by such factors; the camera stays as it is."""

_GAMMA_SPREAD, _GAIN_SPREAD, _NOISE = 0.25, 0.15, 0.04


@dataclass(frozen=True, kw_only=True)
class DepthSamples:
    """The training set.

    Args:
        stills: whole pictures.
        ranges: of the depth cameras.
        crop: width and height of a sample [pixels].
        smallest_part: of a picture's width that a sample shows; the largest is all of it.
    """

    stills: StillFolder
    ranges: SensorRanges
    crop: int
    smallest_part: float

    def __len__(self) -> int:
        return len(self.stills)

    def sample(self, index: int, rng: np.random.Generator) -> Sample:
        """Inputs of the network; ``target`` [1, S, S], the true logarithm of depth over the same median; ``holes``
        [1, S, S], 1 in holes behind which something is, and ``known`` [1, S, S], 1 where the target is known."""
        still = self._part(self.stills[index], rng)
        for _ in range(ATTEMPTS):
            measured = self.ranges.draw(rng).measure(
                still.depth, rgb=still.rgb, labels=still.segmentation, camera=still.camera, rng=rng
            )
            rgb = recoloured(still.rgb, rng)
            filled = fill(rgb, measured)
            if filled is not None:
                return sample_of(rgb, filled, still.depth)
        nothing = fill(still.rgb, np.ones_like(still.depth))
        assert nothing is not None
        return sample_of(still.rgb, nothing, still.depth)

    def _part(self, still: Still, rng: np.random.Generator) -> Still:
        """A square of the picture, enlarged or reduced to the size of a sample, perhaps mirrored."""
        full = still.camera.width
        width = int(rng.integers(round(self.smallest_part * full), full + 1))
        left, top = rng.integers(0, full - width + 1, 2)
        K = still.camera.K - [[0, 0, left], [0, 0, top], [0, 0, 0]]
        camera = PinholeCamera(width=width, height=width, K=K).scaled(self.crop, self.crop)
        places = ((np.arange(self.crop) + 0.5) * width / self.crop).astype(np.intp)
        columns = left + places
        if rng.random() < 0.5:
            columns, camera = columns[::-1], mirrored(camera)
        rows = (top + places)[:, None]
        scale = np.float32(np.exp(rng.uniform(*np.log(DEPTH_SCALE))))
        return Still(
            seed=still.seed,
            camera=camera,
            rgb=still.rgb[rows, columns],
            depth=still.depth[rows, columns] * scale,
            segmentation=still.segmentation[rows, columns],
        )


def sample_of(rgb: NDArray[np.uint8], filled: Fills, truth: NDArray[np.float32]) -> Sample:
    """What `DepthSamples.sample` gives, of one image."""
    known = np.isfinite(truth)
    target = np.log(np.where(known, truth, filled.median) / np.float32(filled.median))
    return {
        **network_inputs(rgb, filled),
        "target": target[None].astype(np.float32),
        "holes": (known & ~filled.known)[None].astype(np.float32),
        "known": known[None].astype(np.float32),
    }


def recoloured(rgb: NDArray[np.uint8], rng: np.random.Generator) -> NDArray[np.uint8]:
    """The same image in other light, through another camera: channels swapped, gamma, gains, noise."""
    gamma = np.exp(rng.normal(0.0, _GAMMA_SPREAD))
    gains = np.exp(rng.normal(0.0, _GAIN_SPREAD, 3))
    table = (np.arange(256) / 255.0) ** gamma
    colour = table.astype(np.float32)[rgb[..., rng.permutation(3)]] * gains.astype(np.float32)
    colour += rng.normal(0.0, rng.uniform(0.0, _NOISE), rgb.shape).astype(np.float32)
    return np.asarray(np.clip(colour, 0.0, 1.0) * 255).astype(np.uint8)


def mirrored(camera: PinholeCamera) -> PinholeCamera:
    """The camera of the image with left and right swapped."""
    K = camera.K.copy()
    K[0, 2] = camera.width - 1 - K[0, 2]
    return PinholeCamera(width=camera.width, height=camera.height, K=K)
