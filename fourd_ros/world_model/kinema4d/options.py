"""What a user chooses about Kinema4D; needs no torch."""

from dataclasses import dataclass, field
from typing import Literal

from fourd_ros.errors import InvalidParameter

Precision = Literal["auto", "fp32", "bf16"]
Quantization = Literal["none", "int8", "fp8"]

PRECISIONS: tuple[Precision, ...] = ("auto", "fp32", "bf16")
QUANTIZATIONS: tuple[Quantization, ...] = ("none", "int8", "fp8")


@dataclass(frozen=True, kw_only=True)
class PlacementOptions:
    """Where networks compute, and how much memory that takes.

    Args:
        device: of torch; ``auto`` is a GPU where there is one.
        precision: of the transformer and the autoencoder; ``auto`` is bf16 on a GPU and fp32 elsewhere.
        offload: networks are on the device only while they compute, otherwise in the computer's memory.
        tiling: the autoencoder works on one tile after the other. Less memory; seams may show, and results are not
            those of the original.
        quantization: of the weights of the transformer's blocks, through torchao.

    Raises:
        InvalidParameter: there is no such precision or quantization, or 8-bit weights shall be offloaded.
    """

    device: str = "auto"
    precision: Precision = "auto"
    offload: bool = False
    tiling: bool = False
    quantization: Quantization = "none"

    def __post_init__(self) -> None:
        if self.precision not in PRECISIONS or self.quantization not in QUANTIZATIONS:
            raise InvalidParameter(
                f"precision '{self.precision}', quantization '{self.quantization}'; there are {PRECISIONS} and "
                f"{QUANTIZATIONS}"
            )
        if self.offload and self.quantization != "none":
            raise InvalidParameter("8-bit weights cannot be moved to and fro; choose offload or quantization")


@dataclass(frozen=True, kw_only=True)
class Kinema4DOptions:
    """The rung ``kinema4d``.

    Args:
        model: folder that ``fourd convert kinema4d`` wrote, or a Wan folder with a card and an adapter; empty: no rung.
        adapter: folder with the two files of Kinema4D that stay apart from the weights; empty: none.
        num_steps: of the flow.
        guidance: 1 takes one pass a step instead of two and gives another result.
        preview_every: a preview is decoded after so many steps; 0: none.
        native_length: clips are as long as those that the network was trained on and cut afterwards; shorter ones are
            quicker, but not what it knows.
        placement: where networks compute.

    Raises:
        InvalidParameter: a number is out of range.
    """

    model: str = ""
    adapter: str = ""
    num_steps: int = 50
    guidance: float = 5.0
    preview_every: int = 10
    native_length: bool = True
    placement: PlacementOptions = field(default_factory=PlacementOptions)

    def __post_init__(self) -> None:
        if self.num_steps < 1 or self.preview_every < 0:
            raise InvalidParameter(
                f"num_steps {self.num_steps}, preview_every {self.preview_every}; needed are at least 1 and 0"
            )
