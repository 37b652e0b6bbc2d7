"""Where and in which precision the networks compute, and how little memory that takes."""

from collections.abc import Iterator
from contextlib import contextmanager

import torch
from torch import nn

from fourd_ros.errors import InvalidParameter, MissingDependency
from fourd_ros.machine import pip_install
from fourd_ros.world_model.kinema4d.options import PlacementOptions, Quantization


class Placement:
    """Where networks compute.

    Args:
        options: what the user chose.

    Raises:
        InvalidParameter: torch knows no such device.
    """

    def __init__(self, options: PlacementOptions | None = None) -> None:
        self.options = options or PlacementOptions()
        self.device = _device(self.options.device)

    @property
    def dtype(self) -> torch.dtype:
        """Of transformer and autoencoder."""
        precision = self.options.precision
        half = precision == "bf16" or (precision == "auto" and self.device.type == "cuda")
        return torch.bfloat16 if half else torch.float32

    @property
    def loading_device(self) -> torch.device:
        """Where weights are read to."""
        return torch.device("cpu") if self.options.offload else self.device

    @contextmanager
    def using(self, network: nn.Module) -> Iterator[None]:
        """Have a network on the device for the block."""
        if next(network.parameters()).device != self.device:
            network.to(self.device)
        try:
            yield
        finally:
            if self.options.offload:
                network.to("cpu")
                if self.device.type == "cuda":
                    torch.cuda.empty_cache()


def quantize(blocks: nn.Module, kind: Quantization) -> None:
    """Keep the weights of all linear layers in 8 bits; they are widened where they are used.

    Raises:
        MissingDependency: torchao is not installed.
    """
    if kind == "none":
        return
    try:
        from torchao.quantization import Float8WeightOnlyConfig, Int8WeightOnlyConfig, quantize_
    except ImportError as error:
        raise MissingDependency(f"8-bit weights need torchao: {pip_install('torchao')}") from error
    quantize_(blocks, Int8WeightOnlyConfig() if kind == "int8" else Float8WeightOnlyConfig())


def _device(name: str) -> torch.device:
    if name == "auto":
        return torch.device("cuda" if torch.cuda.is_available() else "cpu")
    try:
        device = torch.device(name)
    except RuntimeError as error:
        raise InvalidParameter(f"device '{name}' is none of torch's: {error}") from error
    if device.type == "cuda" and not torch.cuda.is_available():
        raise InvalidParameter(f"device '{name}': this torch sees no GPU; device 'cpu' is slow but works")
    return device
