"""Guidance video -> the video that a camera will see, at any resolution."""

import os
from collections.abc import Callable, Iterator, Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import replace
from functools import partial
from itertools import repeat
from pathlib import Path
from typing import TYPE_CHECKING, Any, Literal, Self

import numpy as np
from numpy.typing import NDArray

from fourd_ros.errors import InvalidInput, InvalidModel
from fourd_ros.model_io.card import ModelCard, check_licence
from fourd_ros.model_io.folder import INDEX, ModelFolder
from fourd_ros.model_io.onnx_session import PREFERENCE, OnnxSession, Processor
from fourd_ros.records import FloatArray, RolloutView, View
from fourd_ros.world_model.compact.clips import (
    NOISE,
    Clip,
    clip_of,
    represented,
)
from fourd_ros.world_model.compact.detail import improved
from fourd_ros.world_model.compact.lighting import Shade

if TYPE_CHECKING:
    from fourd_ros.world_model.compact.generator_network import VideoGeneratorNetwork

Floats = NDArray[np.float32]
Runtime = Literal["onnx", "torch"]
Network = Callable[[Mapping[str, Floats]], Mapping[str, Floats]]
"""Inputs and outputs of a `VideoGeneratorNetwork`, by name."""

COMPONENT = "generator"
ONNX_FILE = "generator/model.onnx"
INPUTS = ("guidance", "first", "flow", "time")
OUTPUTS = ("change", "gains")


class VideoGenerator:
    """Adds to guidance what it lacks: shadows, what was hidden, how contacts look.

    Args:
        network: computes one step of the flow for a batch of clips.
        size: width and height of its frames [pixels].
        steps: frames of its clips.
        threads: that work on the videos of a batch; None for as many as there are cores.
        sha256: of the model folder.
    """

    def __init__(
        self, network: Network, *, size: int, steps: int, threads: int | None = None, sha256: str = ""
    ) -> None:
        self._network, self._size, self._steps = network, size, steps
        self._threads = threads or os.cpu_count() or 1
        self.sha256 = sha256

    @classmethod
    def from_components(cls, components: Mapping[str, Any], card: ModelCard) -> Self:
        """The model of a folder that `load_model` has read: it runs in torch."""
        network = components[COMPONENT]
        return cls(torch_network(network), size=network.size, steps=network.steps)

    @classmethod
    def from_folder(
        cls,
        folder: Path | str,
        *,
        runtime: Runtime = "onnx",
        allow_noncommercial: bool = False,
        processors: Sequence[Processor] = PREFERENCE,
        threads: int | None = None,
    ) -> Self:
        """The model of a folder; the runtime ``onnx`` needs no torch.

        Raises:
            InvalidModel: the folder has no component ``generator``, or a file is missing.
            CorruptModel: a file is not the one that was written.
            LicenceRefused: it is non-commercial and that was not allowed.
            MissingDependency: the runtime is not installed.
        """
        opened = ModelFolder(folder)
        check_licence(opened.card, allow_noncommercial=allow_noncommercial)
        if COMPONENT not in opened.components:
            raise InvalidModel(f"'{folder}' has the components {list(opened.components)}, needed is '{COMPONENT}'")
        config = opened.config(COMPONENT)
        size, steps = int(config["size"]), int(config["steps"])
        if runtime == "torch":
            from fourd_ros.model_io.loading import load_component

            loaded = load_component(folder, COMPONENT, allow_noncommercial=allow_noncommercial)
            return cls(torch_network(loaded), size=size, steps=steps, threads=threads, sha256=opened.sha256)
        if runtime != "onnx":
            raise InvalidInput(f"runtime '{runtime}'; there are 'onnx' and 'torch'")
        network = _onnx_network(opened, processors, threads)
        return cls(network, size=size, steps=steps, threads=threads, sha256=opened.sha256)

    def generate(
        self,
        guidance: Sequence[RolloutView],
        first: View,
        shades: Sequence[Shade],
        *,
        seeds: Sequence[int | None],
        steps: int = 1,
        T_world_robot: FloatArray | None = None,
    ) -> list[RolloutView]:
        """Improve videos of one camera, all at once.

        Robot pixels and known points stay as they are. What was hidden gets colours and points, but stays unobserved;
        its sigma stays unknown. The network looks at one pixel in every block of the image; what it adds is brought to
        all of them, with shadows as sharp as they are known. Longer videos are made in chunks: what was hidden in the
        last frame of one is where the next begins.

        Args:
            guidance: videos in steps of 0.2 s, all of one length.
            first: what the camera observed before the first frame.
            shades: shadows in each video.
            seeds: of the noise where the flow of each begins; None begins without noise, at the most probable video.
            steps: of the flow; more make videos sharper and less probable.
            T_world_robot: pose of the robot's root; the world by default.

        Raises:
            InvalidInput: no step was asked for, or lists differ in length.
        """
        if steps < 1 or not len(guidance) == len(shades) == len(seeds):
            raise InvalidInput(
                f"{steps} steps for {len(guidance)} videos with {len(shades)} shades and {len(seeds)} seeds; needed "
                "are at least 1 step, one shade and one seed a video"
            )
        root = np.eye(4) if T_world_robot is None else T_world_robot
        generators = [None if seed is None else np.random.default_rng(seed) for seed in seeds]
        parts: list[list[RolloutView]] = [[] for _ in guidance]
        make_clip = partial(clip_of, size=self._size, T_world_robot=root)
        improve = partial(improved, T_world_robot=root)
        with ThreadPoolExecutor(min(self._threads, max(len(guidance), 1))) as pool:
            for frames in _chunks(len(guidance[0].rgb), self._steps) if guidance else ():
                chunks = [_at(video, frames) for video in guidance]
                shaded = [shade.at(frames) for shade in shades]
                made = pool.map(make_clip, chunks, repeat(first), shaded)
                clips = [_continued(*pair) for pair in zip(made, parts, strict=True)]
                ends = self._flow(clips, generators, steps)
                for part, video in zip(parts, pool.map(improve, chunks, clips, *ends, shaded), strict=True):
                    part.append(video)
        return [_joined(*pair) for pair in zip(guidance, parts, strict=True)]

    def _flow(
        self, clips: Sequence[Clip], generators: Sequence[np.random.Generator | None], steps: int
    ) -> tuple[Floats, Floats]:
        """Follow the flow to its end: change and gains of every clip (see `generator_network.Prediction`)."""
        inputs = {
            "guidance": np.stack([clip.guidance() for clip in clips]),
            "first": np.stack([clip.first() for clip in clips]),
        }
        flow = np.stack([_noise(clip, rng) for clip, rng in zip(clips, generators, strict=True)])
        for step in range(steps):
            time = np.full(len(clips), step / steps, np.float32)
            end = self._network({**inputs, "flow": flow, "time": time})
            flow = flow + (end["change"] - flow) / np.float32(steps - step)
        return end["change"], end["gains"]


def _noise(clip: Clip, rng: np.random.Generator | None) -> Floats:
    """Where the flow begins, shape [T, 4, S, S]."""
    free = clip.free()
    return free * 0 if rng is None else free * rng.standard_normal(free.shape, np.float32) * np.float32(NOISE)


def torch_network(network: "VideoGeneratorNetwork") -> Network:
    """`network`, wherever it is and of whatever type, as a function of NumPy arrays."""
    import torch

    weight = network.embed.weight

    def run(inputs: Mapping[str, Floats]) -> dict[str, Floats]:
        with torch.inference_mode():
            prediction = network(**{name: torch.from_numpy(values).to(weight) for name, values in inputs.items()})
        return {name: getattr(prediction, name).float().cpu().numpy() for name in OUTPUTS}

    return run


def _onnx_network(folder: ModelFolder, processors: Sequence[Processor], threads: int | None) -> Network:
    path = folder.file(ONNX_FILE)
    folder.check(INDEX, ONNX_FILE)
    session = OnnxSession(path, processors=processors, threads=threads)
    names = (*session.inputs, *session.outputs)
    if set(names) != {*INPUTS, *OUTPUTS}:
        raise InvalidModel(f"'{path}' takes and gives {list(names)}, needed are {[*INPUTS, *OUTPUTS]}")
    return lambda inputs: session.run(**inputs)


_FRAMES = ("T_world_camera", "rgb", "points", "sigma", "robot_mask", "observed_mask", "labels")


def _chunks(count: int, steps: int) -> Iterator[NDArray[np.intp]]:
    """Places of so many frames, one chunk after the other; the last one holds its last frame."""
    for start in range(0, count, steps):
        yield np.minimum(np.arange(start, start + steps), count - 1)


def _at(view: RolloutView, frames: NDArray[np.intp]) -> RolloutView:
    values = {name: getattr(view, name) for name in _FRAMES}
    return replace(view, **{name: None if value is None else value[frames] for name, value in values.items()})


def _joined(guidance: RolloutView, parts: list[RolloutView]) -> RolloutView:
    """One after the other, in the length of the guidance."""
    count = len(guidance.rgb)
    rgb, points = (np.concatenate([getattr(part, name) for part in parts])[:count] for name in ("rgb", "points"))
    return replace(guidance, rgb=rgb, points=points)


def _continued(clip: Clip, parts: Sequence[RolloutView]) -> Clip:
    """The clip, its holes filled with what the last frame of the video so far shows there."""
    if not parts or parts[-1].mounted_on:
        return clip
    before, size = parts[-1], len(clip.first_rgb)
    at = np.ix_(represented(before.camera.height, size), represented(before.camera.width, size))
    shown = ~before.robot_mask[-1][at]
    depth = before.points[-1][(*at, 2)]
    return replace(
        clip,
        rgb=np.where((shown & ~clip.seen)[..., None], before.rgb[-1][at], clip.rgb),
        depth=np.where(shown & ~clip.measured & np.isfinite(depth), depth, clip.depth),
    )
