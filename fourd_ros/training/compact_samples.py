"""Training samples of the video generator: stored clips cut, mirrored and recoloured, somewhere in the flow."""

from dataclasses import dataclass, replace

import numpy as np
from numpy.typing import NDArray

from fourd_ros.training.compact_clips import ClipFolder, StoredClip
from fourd_ros.training.task import Sample
from fourd_ros.world_model.compact.clips import COLOURS, DEPTH_UNIT, NOISE, Clip

Floats = NDArray[np.float32]
Indices = NDArray[np.intp]

_GAMMA_SPREAD, _GAIN_SPREAD = 0.15, 0.10
_MIRROR = np.diag([1.0, -1.0, 1.0, 1.0])
"""In the robot's root: left becomes right."""
_MIRROR_CAMERA = np.diag([-1.0, 1.0, 1.0, 1.0])


@dataclass(frozen=True, kw_only=True)
class Importance:
    """How much pixels count.

    Args:
        moved: what shows a thing that has moved, or did at first.
        hidden: other pixels whose colour is not known.
        depth: errors of unknown depth in `DEPTH_UNIT`, against those of colour in -1..1.
    """

    moved: float = 12.0
    hidden: float = 5.0
    depth: float = 0.5


@dataclass(frozen=True, kw_only=True)
class CompactSamples:
    """The training set.

    Args:
        clips: stored.
        importance: of pixels.
        at_start: share of samples whose flow is at its beginning.
        smallest_part: of a clip's width and height that a sample shows.
    """

    clips: ClipFolder
    importance: Importance
    at_start: float
    smallest_part: float

    def __len__(self) -> int:
        return len(self.clips)

    def sample(self, index: int, rng: np.random.Generator) -> Sample:
        """Inputs of the network, and what `sample_of` adds."""
        stored = self._seen_otherwise(self.clips[index], rng)
        sample = sample_of(_recoloured(stored, rng), self.importance)
        time = 0.0 if rng.random() < self.at_start else rng.random()
        free = sample.pop("free")
        noise = rng.standard_normal(free.shape, np.float32) * np.float32(NOISE * (1 - time)) * free
        return {**sample, "flow": noise + np.float32(time) * sample["target"], "time": np.float32(time)}

    def _seen_otherwise(self, stored: StoredClip, rng: np.random.Generator) -> StoredClip:
        """Perhaps a rectangle of the pictures, in the size of all of them; perhaps left and right swapped."""
        size = len(stored.clip.first_rgb)
        cut, mirrored = rng.random(2) < 0.5
        smallest = self.smallest_part if cut else 1.0
        rows, columns = (_part_of(size, rng.uniform(smallest, 1.0), rng) for _ in range(2))
        if mirrored:
            return _mirrored(_picked(stored, rows, columns[::-1]))
        return _picked(stored, rows, columns) if cut else stored


def _part_of(size: int, share: float, rng: np.random.Generator) -> Indices:
    """Every pixel of a row from a part of it."""
    part = size * share
    return (rng.uniform(0, size - part) + (np.arange(size) + 0.5) * part / size).astype(np.intp)


def sample_of(stored: StoredClip, importance: Importance) -> dict[str, Floats]:
    """What the network is shown of a clip, and what it should answer.

    Returns:
        ``guidance`` and ``first``; ``target``, the true change of the guidance where it is free to change, shape
        [T, 4, S, S]; ``weight`` of the errors of colour and depth, shape [T, 2, S, S]; ``free``, shape [T, 4, S, S].
    """
    clip = stored.clip
    free = clip.free()
    known = np.isfinite(stored.true_depth)
    target = np.empty(free.shape, np.float32)
    difference = stored.true_rgb.astype(np.float32) - clip.rgb
    target[:, :COLOURS] = np.moveaxis(difference, -1, 1) * np.float32(2 / 255)
    ratio = np.where(known, stored.true_depth, clip.depth) / clip.depth
    target[:, COLOURS] = np.clip(np.log(ratio) / np.float32(DEPTH_UNIT), -10, 10)
    target *= free
    counted = ~(stored.ignored | clip.robot)
    weight = np.empty((len(free), 2, *free.shape[2:]), np.float32)
    weight[:, 0] = np.where(stored.moved, importance.moved, np.where(clip.seen, 1.0, importance.hidden)) * counted
    weight[:, 1] = (counted & known) * free[:, COLOURS] * np.float32(importance.depth)
    return {"guidance": clip.guidance(), "first": clip.first(), "target": target, "weight": weight, "free": free}


def _picked(stored: StoredClip, rows: Indices, columns: Indices) -> StoredClip:
    """The clip at other pixels of its own."""
    at = np.ix_(rows, columns)
    frames = (slice(None), *at)
    clip = stored.clip
    still = {name: getattr(clip, name)[at] for name in ("first_rgb", "first_depth", "rays")}
    moving = {
        name: getattr(clip, name)[frames]
        for name in ("rgb", "depth", "robot", "seen", "measured", "thing", "shaded", "lit")
    }
    answers = {name: getattr(stored, name)[frames] for name in ("true_rgb", "true_depth", "moved", "ignored")}
    return StoredClip(clip=replace(clip, **still, **moving), **answers)


def _mirrored(stored: StoredClip) -> StoredClip:
    """The world in which pictures that were mirrored already are true."""
    clip = stored.clip
    rays = clip.rays * np.float32([-1, 1, 1])
    return replace(stored, clip=replace(clip, rays=rays, T_robot_camera=_MIRROR @ clip.T_robot_camera @ _MIRROR_CAMERA))


def _recoloured(stored: StoredClip, rng: np.random.Generator) -> StoredClip:
    """In other light, through another camera: channels swapped, gamma, gains."""
    gamma, gains = np.exp(rng.normal(0.0, _GAMMA_SPREAD)), np.exp(rng.normal(0.0, _GAIN_SPREAD, 3))
    channels = rng.permutation(3)
    table = (np.arange(256) / 255.0) ** gamma * 255
    tables = np.clip(table[:, None] * gains, 0, 255).astype(np.uint8)

    def changed(rgb: NDArray[np.uint8]) -> NDArray[np.uint8]:
        return np.stack([tables[rgb[..., source], place] for place, source in enumerate(channels)], axis=-1)

    clip: Clip = stored.clip
    return replace(
        stored,
        clip=replace(clip, rgb=changed(clip.rgb), first_rgb=changed(clip.first_rgb)),
        true_rgb=changed(stored.true_rgb),
    )
