"""Sequences of `fourd data scenes` as training samples of scene language."""

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from fourd_ros.data.scene_shards import FLOOR, ROBOT, TABLE, WALL, SceneFacts, SceneFrames, SceneShards, state_words
from fourd_ros.errors import InvalidDataset
from fourd_ros.geometry.transforms import invert
from fourd_ros.scene_language.lifting import lift
from fourd_ros.scene_language.pose_encoding import encode_poses
from fourd_ros.training.task import Sample

MAX_THINGS = 24
"""In a scene; samples have as many rows of codes."""

EVERYWHERE = (TABLE, FLOOR, WALL, ROBOT)
LEAST_DISTANCE = 1e-3

Codes = dict[str, NDArray[np.float32]]


def described(label: str, bits: int) -> str:
    """A thing with what it is at an instant: "held red mug"."""
    return " ".join((*state_words(bits), label))


def texts_of(facts: SceneFacts, states: NDArray[np.uint8]) -> set[str]:
    """Everything that is said of a sequence."""
    said = {thing.category for thing in facts.things} | {thing.label for thing in facts.things}
    for row in np.unique(states, axis=0):
        said |= {described(thing.label, int(bits)) for thing, bits in zip(facts.things, row, strict=True)}
    return said


@dataclass(frozen=True, kw_only=True)
class SceneSamples:
    """Samples by index: frames of a sequence in one or the other direction of time.

    Positions are in the frame of the first camera, over the mean distance of what that one sees: VGGT takes that of
    all frames, but a stream cannot know later ones.

    Args:
        shards: of the sequences.
        codes: unit codes of all that is said of them.
        frames: of a sample.
        mapped: frames of a sample with maps, drawn of all; None for all of them.
        pixels: drawn of each map, with replacement, by importance, whose words are compared.
        things: importance of pixels of things against those of what is in every scene.
        jitter: how far brightness and each colour stray, as a share.
    """

    shards: SceneShards
    codes: Codes
    frames: int
    mapped: int | None = None
    pixels: int = 1024
    things: float = 1.0
    jitter: float = 0.0

    def __len__(self) -> int:
        return len(self.shards)

    def sample(self, index: int, rng: np.random.Generator) -> Sample:
        """S frames of H x W pixels, M of them with maps, whose words are compared in P pixels.

        Returns:
            ``images`` 0..1 [S, 3, H, W]; ``pose`` encodings [S, 9]; ``mapped`` frames in their order [M]; ``depth``
            [M, H, W], 0 where unknown; ``points`` in the frame of the first camera [M, H, W, 3]; ``codes`` of levels
            and things [M, 3, things, c]; ``thing`` of each pixel, the last row of ``codes`` for none [M, H, W];
            ``pixels`` drawn, row by row [M, P]; ``named`` whether anybody can name a pixel of the frame [M].

        Raises:
            InvalidDataset: the sequence is too short, is damaged, or says what has no code.
        """
        facts, chosen = self.shards.facts(index), self._chosen(index, rng)
        frames = self.shards.frames(index, chosen)
        count = self.frames if self.mapped is None else min(self.mapped, self.frames)
        mapped = np.sort(rng.choice(self.frames, count, replace=False))
        thing, weight = self._things(facts, frames.numbers[mapped])
        pixels = [_drawn(row, self.pixels, rng) for row in weight]
        return {
            "images": self._images(frames.rgb, rng),
            **_geometry(frames, mapped),
            "mapped": mapped,
            "codes": self._codes(facts, frames.states[mapped]),
            "thing": thing,
            "pixels": np.stack(pixels),
            "named": np.asarray((weight > 0).any(axis=(1, 2)), np.float32),
        }

    def _chosen(self, index: int, rng: np.random.Generator) -> list[int]:
        length = self.shards.length(index)
        if length < self.frames:
            raise InvalidDataset(f"a sequence of {length} frames in '{self.shards.folder}'; needed are {self.frames}")
        steps = [step for step in (1, 2) if (self.frames - 1) * step < length]
        step = steps[rng.integers(len(steps))]
        span = (self.frames - 1) * step
        begin = int(rng.integers(length - span))
        chosen = list(range(begin, begin + span + 1, step))
        return chosen[::-1] if rng.random() < 0.5 else chosen

    def _images(self, rgb: NDArray[np.uint8], rng: np.random.Generator) -> NDArray[np.float32]:
        images = rgb.transpose(0, 3, 1, 2).astype(np.float32) / np.float32(255)
        gain = 1 + self.jitter * rng.uniform(-1, 1, (3, 1, 1)) + self.jitter * rng.uniform(-1, 1)
        return np.clip(images * gain, 0, 1).astype(np.float32)

    def _codes(self, facts: SceneFacts, states: NDArray[np.uint8]) -> NDArray[np.float32]:
        if len(facts.things) >= MAX_THINGS:
            raise InvalidDataset(f"{len(facts.things)} things in sequence {facts.name}; at most {MAX_THINGS - 1} fit")
        size = len(next(iter(self.codes.values())))
        rows = np.zeros((len(states), 3, MAX_THINGS, size), np.float32)
        for frame, bits in enumerate(states):
            for place, thing in enumerate(facts.things):
                levels = (described(thing.label, int(bits[place])), thing.label, thing.category)
                for level, text in enumerate(levels):
                    if text not in self.codes:
                        raise InvalidDataset(f"'{text}' of sequence {facts.name} has no code")
                    rows[frame, level, place] = self.codes[text]
        return rows

    def _things(self, facts: SceneFacts, numbers: NDArray[np.uint8]) -> tuple[NDArray[np.int64], NDArray[np.float32]]:
        places = np.full(256, MAX_THINGS - 1, np.int64)
        weights = np.zeros(256, np.float32)
        for place, thing in enumerate(facts.things):
            places[thing.number] = place
            weights[thing.number] = 1.0 if thing.number in EVERYWHERE else self.things
        return places[numbers], weights[numbers]


def _drawn(weight: NDArray[np.float32], count: int, rng: np.random.Generator) -> NDArray[np.int64]:
    """Pixels by importance; by chance where none has any."""
    total = np.cumsum(weight.ravel() if weight.any() else np.ones(weight.size, np.float32), dtype=np.float64)
    return np.searchsorted(total, rng.uniform(0, total[-1], count), side="right").clip(max=weight.size - 1)


def _geometry(frames: SceneFrames, mapped: NDArray[np.int64]) -> dict[str, NDArray[np.float32]]:
    height, width = frames.depth.shape[1:]
    T_camera_first = invert(frames.T_world_camera) @ frames.T_world_camera[0]
    intrinsics = np.repeat(frames.K[None], len(frames.depth), axis=0)
    shown = np.concatenate([[0], mapped])
    points = lift(frames.depth[shown], intrinsics=intrinsics[shown], T_camera_world=T_camera_first[shown])
    distances = np.linalg.norm(points[0], axis=-1)
    known = np.isfinite(distances)
    scale = max(float(distances[known].mean()), LEAST_DISTANCE) if known.any() else 1.0
    T_camera_first[:, :3, 3] /= scale
    return {
        "pose": encode_poses(T_camera_first, intrinsics, height=height, width=width).astype(np.float32),
        "depth": np.nan_to_num(frames.depth[mapped] / scale).astype(np.float32),
        "points": np.nan_to_num(points[1:] / scale).astype(np.float32),
    }
