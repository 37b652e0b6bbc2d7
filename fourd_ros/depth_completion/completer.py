"""Depth images without holes, as far as the network is sure."""

import math
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any, Literal, Self

import numpy as np
from numpy.typing import NDArray

from fourd_ros.depth_completion.fills import Fills, fill
from fourd_ros.errors import InvalidImage, InvalidInput, InvalidModel
from fourd_ros.model_io.card import ModelCard, check_licence
from fourd_ros.model_io.folder import INDEX, ModelFolder
from fourd_ros.model_io.onnx_session import PREFERENCE, OnnxSession, Processor

if TYPE_CHECKING:
    from fourd_ros.depth_completion.network import DepthCompletionNetwork

Floats = NDArray[np.float32]
Runtime = Literal["onnx", "torch"]

COMPONENT = "network"
ONNX_FILE = "network/model.onnx"
INPUTS = ("colour", "fills", "closeness", "likeness")
OUTPUTS = ("weights", "correction", "log_sigma")
STRIDE = 32
"""Images are continued to a height and width that are multiples of this, enough for networks of five levels."""

HALF_CLOSE = 4.0
"""Distance [pixels] at which the network is told a closeness of a half."""

WORKING_SIDE = 256
"""The network looks at images of at most this width and height; of larger ones at one pixel in every block."""

Network = Callable[[Mapping[str, Floats]], Mapping[str, Floats]]
"""`INPUTS` -> `OUTPUTS`, as of `DepthCompletionNetwork`, for a batch of one."""


@dataclass(frozen=True, kw_only=True)
class Completed:
    """A depth image with filled holes.

    Args:
        depth: [m]; what was known is as it was, NaN in holes that nobody can fill, float32, shape [H, W].
        sigma: standard deviation of the error in holes [m], also in those that were left; NaN where depth was known,
            float32, shape [H, W].
    """

    depth: Floats
    sigma: Floats


class DepthCompleter:
    """Fills the holes of depth images of any size and any range.

    Args:
        network: computes the opinion of a `DepthCompletionNetwork`.
    """

    def __init__(self, network: Network) -> None:
        self._network = network

    @classmethod
    def from_components(cls, components: Mapping[str, Any], card: ModelCard) -> Self:
        """The model of a folder that `load_model` has read: it runs in torch."""
        return cls(torch_network(components[COMPONENT]))

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
        """The model of a folder; a quick way that needs no torch with the runtime ``onnx``.

        Args:
            folder: model folder.
            runtime: what computes the network.
            allow_noncommercial: load it though its terms forbid commercial use.
            processors: of onnxruntime, in the order of preference.
            threads: of onnxruntime; by default the cores this process may use.

        Raises:
            InvalidModel: the folder is none of a depth completer, or a file is missing.
            CorruptModel: a file is not the one that was written.
            LicenceRefused: it is non-commercial and that was not allowed.
            MissingDependency: the runtime is not installed.
        """
        opened = ModelFolder(folder)
        if opened.model_class != cls.__name__:
            raise InvalidModel(f"'{folder}' holds a {opened.model_class}, needed is a {cls.__name__}")
        if runtime == "torch":
            from fourd_ros.model_io.loading import load_component

            return cls(torch_network(load_component(folder, COMPONENT, allow_noncommercial=allow_noncommercial)))
        if runtime != "onnx":
            raise InvalidInput(f"runtime '{runtime}'; there are 'onnx' and 'torch'")
        check_licence(opened.card, allow_noncommercial=allow_noncommercial)
        return cls(_onnx_network(opened, processors, threads))

    def complete(self, rgb: NDArray[np.uint8], depth: Floats, *, max_sigma: float = math.inf) -> Completed:
        """Fill the holes of one image.

        Args:
            rgb: colour of the same pixels, shape [H, W, 3].
            depth: along the optical axis [m], NaN in holes, shape [H, W].
            max_sigma: holes whose error is expected to be larger stay NaN [m].

        Raises:
            InvalidImage: the sizes differ.
        """
        if rgb.shape != (*depth.shape, 3) or rgb.dtype != np.uint8:
            raise InvalidImage(f"colour is {rgb.dtype}{list(rgb.shape)}, needed uint8 {[*depth.shape, 3]} as the depth")
        completed, sigma = depth.astype(np.float32), np.full(depth.shape, np.nan, np.float32)
        filled = fill(rgb, completed)
        if filled is None or filled.known.all():
            return Completed(depth=completed, sigma=sigma)
        metres, deviation = self._in_holes(rgb, filled)
        sigma[filled.holes] = deviation
        completed[filled.holes] = np.where(deviation <= max_sigma, metres, np.float32(np.nan))
        return Completed(depth=completed, sigma=sigma)

    def _in_holes(self, rgb: NDArray[np.uint8], filled: Fills) -> tuple[Floats, Floats]:
        """Depth and its standard deviation in the holes [m], each of shape [N]."""
        block = -(-max(filled.known.shape) // WORKING_SIDE)
        opinion = self._network(_inputs(rgb, filled, block))
        rows, columns = (places // block for places in filled.holes)
        weights, correction, log_sigma = (opinion[name][0][:, rows, columns] for name in OUTPUTS)
        metres = filled.median * np.exp((weights * filled.in_holes).sum(axis=0) + correction[0])
        return metres, metres * np.exp(log_sigma[0])


def network_inputs(rgb: NDArray[np.uint8], filled: Fills, *, block: int = 1) -> dict[str, Floats]:
    """What the network is shown of one image, each of shape [C, H, W], if it looks at one pixel in every block."""
    colour = rgb.transpose(2, 0, 1).astype(np.float32) / np.float32(255)
    closeness = filled.closeness(unit=HALF_CLOSE * block)
    return dict(zip(INPUTS, (colour, filled.images(), closeness, filled.likeness()), strict=True))


def torch_network(network: "DepthCompletionNetwork") -> Network:
    """`network`, wherever it is and of whatever type, as a function of NumPy arrays."""
    import torch

    weight = network.stem.weight

    def run(inputs: Mapping[str, Floats]) -> dict[str, Floats]:
        with torch.inference_mode():
            opinion = network(**{name: torch.from_numpy(values).to(weight) for name, values in inputs.items()})
        return {name: getattr(opinion, name).float().cpu().numpy() for name in OUTPUTS}

    return run


def _onnx_network(folder: ModelFolder, processors: Sequence[Processor], threads: int | None) -> Network:
    path = folder.file(ONNX_FILE)
    folder.check(INDEX, ONNX_FILE)
    session = OnnxSession(path, processors=processors, threads=threads)
    names = (*session.inputs, *session.outputs)
    if set(names) != {*INPUTS, *OUTPUTS}:
        raise InvalidModel(f"'{path}' takes and gives {list(names)}, needed are {[*INPUTS, *OUTPUTS]}")
    return lambda inputs: session.run(**inputs)


def _inputs(rgb: NDArray[np.uint8], filled: Fills, block: int) -> dict[str, Floats]:
    """One pixel of every block of `block` x `block`, as a batch of one, with borders up to a multiple of the stride."""
    rows, columns = _representatives(filled.known, block)
    height, width = rows.shape
    border = ((0, 0), (0, 0), (0, -height % STRIDE), (0, -width % STRIDE))
    inputs = network_inputs(rgb, filled, block=block)
    return {name: np.pad(image[None, :, rows, columns], border, mode="edge") for name, image in inputs.items()}


def _representatives(known: NDArray[np.bool_], block: int) -> tuple[NDArray[np.intp], NDArray[np.intp]]:
    """Row and column of a hole in every block, of any pixel where there is none; each [H / block, W / block]."""
    height, width = known.shape
    padded = np.pad(known, ((0, -height % block), (0, -width % block)), constant_values=True)
    blocks = padded.reshape(padded.shape[0] // block, block, padded.shape[1] // block, block).swapaxes(1, 2)
    row, column = np.divmod(blocks.reshape(*blocks.shape[:2], block * block).argmin(axis=2), block)
    first_row, first_column = (block * np.arange(size) for size in blocks.shape[:2])
    return row + first_row[:, None], column + first_column
