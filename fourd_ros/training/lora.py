"""Adapters through peft: only they are trained and saved; they are merged into the weights for export."""

import torch

from fourd_ros.errors import InvalidConfig, MissingDependency
from fourd_ros.machine import pip_install
from fourd_ros.training.config import LoraSettings

_NAME = "default"


class Adapters:
    """Low-rank adapters in a network, float32 whatever its type; all its other parameters are frozen.

    Args:
        network: gets the adapters in place.
        settings: of the adapters.

    Raises:
        InvalidConfig: no layer has a name that is asked for, or one has a kind that takes no adapter.
        MissingDependency: peft is not installed.
    """

    def __init__(self, network: torch.nn.Module, settings: LoraSettings) -> None:
        try:
            from peft import LoraConfig, LoraModel
        except ImportError as error:
            raise MissingDependency(f"adapters need peft: {pip_install('peft')}") from error
        config = LoraConfig(
            r=settings.rank,
            lora_alpha=settings.alpha,
            lora_dropout=settings.dropout,
            target_modules=list(settings.target_modules),
        )
        layers = [name for name, module in network.named_modules() if name and not list(module.children())]
        try:
            self._model = LoraModel(network, {_NAME: config}, _NAME)
        except ValueError as error:
            raise InvalidConfig(f"'training.lora.target_modules': {error}; layers are {layers}") from error
        for parameter in network.parameters():
            if parameter.requires_grad:  # peft makes them of the layer's type, in which small updates would vanish
                parameter.data = parameter.data.float()

    def merge(self) -> None:
        """Add the adapters to the weights and take them out; the network is again of its own layers."""
        self._model.merge_and_unload()
