"""Guidance video -> the video that a camera will see, at any resolution."""

from collections.abc import Callable, Iterator, Mapping
from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING, Any, Literal, Self

import numpy as np
from numpy.typing import NDArray

from fourd_ros.errors import InvalidInput, InvalidModel, TooLarge
from fourd_ros.model_io.card import ModelCard, check_licence
from fourd_ros.model_io.folder import INDEX, ModelFolder
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
        sha256: of the model folder.
    """

    def __init__(self, network: Network, *, size: int, steps: int, sha256: str = "") -> None:
        self._network, self._size, self._steps = network, size, steps
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
            return cls(torch_network(loaded), size=size, steps=steps, sha256=opened.sha256)
        if runtime != "onnx":
            raise InvalidInput(f"runtime '{runtime}'; there are 'onnx' and 'torch'")
        return cls(_onnx_network(opened, threads), size=size, steps=steps, sha256=opened.sha256)

    def generate(
        self,
        guidance: RolloutView,
        first: View,
        shade: Shade,
        *,
        seed: int,
        steps: int = 1,
        samples: int = 1,
        T_world_robot: FloatArray | None = None,
    ) -> list[RolloutView]:
        """Improve the video of one camera.

        Robot pixels and known points stay as they are. What was hidden gets colours and points, but stays unobserved;
        its sigma stays unknown. The network looks at one pixel in every block of the image; what it adds is brought to
        all of them, with shadows as sharp as they are known. Longer videos are made in chunks: what was hidden in the
        last frame of one is where the next begins.

        Args:
            guidance: frames in steps of 0.2 s.
            first: what the same camera observed, before the first of them.
            shade: shadows in these frames.
            seed: of the noise where the flow begins.
            steps: of the flow; more make samples sharper and less probable.
            samples: how many; a single one begins without noise.
            T_world_robot: pose of the robot's root; the world by default.

        Raises:
            TooLarge: no step or no sample was asked for.
        """
        if steps < 1 or samples < 1:
            raise TooLarge(f"{steps} steps of {samples} samples; at least 1 of each is needed")
        root = np.eye(4) if T_world_robot is None else T_world_robot
        rng = np.random.default_rng(seed)
        parts: list[list[RolloutView]] = [[] for _ in range(samples)]
        for frames, chunk in _chunks(guidance, self._steps):
            given = clip_of(chunk, first, shade.at(frames), size=self._size, T_world_robot=root)
            clips = [_continued(given, part[-1]) if part else given for part in parts]
            for part, clip, change, gains in zip(parts, clips, *self._flow(clips, steps, rng), strict=True):
                part.append(improved(chunk, clip, change, gains, shade.at(frames), T_world_robot=root))
        return [_joined(guidance, part) for part in parts]

    def _flow(self, clips: list[Clip], steps: int, rng: np.random.Generator) -> tuple[Floats, Floats]:
        """Follow the flow to its end: change and gains of every clip (see `generator_network.Prediction`)."""
        inputs = {
            "guidance": np.stack([clip.guidance() for clip in clips]),
            "first": np.stack([clip.first() for clip in clips]),
        }
        free = np.stack([clip.free() for clip in clips])
        flow = np.zeros(free.shape, np.float32)
        if len(clips) > 1:
            flow = rng.standard_normal(free.shape, np.float32) * np.float32(NOISE) * free
        for step in range(steps):
            time = np.full(len(clips), step / steps, np.float32)
            end = self._network({**inputs, "flow": flow, "time": time})
            flow = flow + (end["change"] - flow) / np.float32(steps - step)
        return end["change"], end["gains"]


def torch_network(network: "VideoGeneratorNetwork") -> Network:
    """`network`, wherever it is and of whatever type, as a function of NumPy arrays."""
    import torch

    weight = network.embed.weight

    def run(inputs: Mapping[str, Floats]) -> dict[str, Floats]:
        with torch.inference_mode():
            prediction = network(**{name: torch.from_numpy(values).to(weight) for name, values in inputs.items()})
        return {name: getattr(prediction, name).float().cpu().numpy() for name in OUTPUTS}

    return run


def _onnx_network(folder: ModelFolder, threads: int | None) -> Network:
    from fourd_ros.model_io.onnx_session import OnnxSession

    path = folder.file(ONNX_FILE)
    folder.check(INDEX, ONNX_FILE)
    session = OnnxSession(path, threads=threads)
    names = (*session.inputs, *session.outputs)
    if set(names) != {*INPUTS, *OUTPUTS}:
        raise InvalidModel(f"'{path}' takes and gives {list(names)}, needed are {[*INPUTS, *OUTPUTS]}")
    return lambda inputs: session.run(**inputs)


_FRAMES = ("T_world_camera", "rgb", "points", "sigma", "robot_mask", "observed_mask", "labels")


def _chunks(guidance: RolloutView, steps: int) -> Iterator[tuple[NDArray[np.intp], RolloutView]]:
    """Parts of so many frames, the last one held to its length, with their places in the whole."""
    count = len(guidance.rgb)
    for start in range(0, count, steps):
        frames = np.minimum(np.arange(start, start + steps), count - 1)
        yield frames, replace(guidance, **{name: _picked(guidance, name, frames) for name in _FRAMES})


def _picked(view: RolloutView, name: str, frames: NDArray[np.intp]) -> Any:
    values = getattr(view, name)
    return None if values is None else values[frames]


def _joined(guidance: RolloutView, parts: list[RolloutView]) -> RolloutView:
    """One after the other, in the length of the guidance."""
    count = len(guidance.rgb)
    rgb, points = (np.concatenate([getattr(part, name) for part in parts])[:count] for name in ("rgb", "points"))
    return replace(guidance, rgb=rgb, points=points)


def _continued(clip: Clip, before: RolloutView) -> Clip:
    """The clip, its holes filled with what the last frame of a video before it showed there."""
    if before.mounted_on:
        return clip
    size = len(clip.first_rgb)
    at = np.ix_(represented(before.camera.height, size), represented(before.camera.width, size))
    shown = ~before.robot_mask[-1][at]
    depth = before.points[-1][(*at, 2)]
    return replace(
        clip,
        rgb=np.where((shown & ~clip.seen)[..., None], before.rgb[-1][at], clip.rgb),
        depth=np.where(shown & ~clip.measured & np.isfinite(depth), depth, clip.depth),
    )
