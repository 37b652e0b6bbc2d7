"""What a model folder may be made of, and how each kind is made: by class name from three libraries, never by code.

``fourd_ros``: the networks of our registry. ``diffusers`` and ``transformers``: their networks, and their schedulers,
tokenizers and image processors, which read and write their files themselves.
"""

import importlib
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

from fourd_ros.errors import InvalidModel, MissingDependency, UnknownModel
from fourd_ros.machine import pip_install
from fourd_ros.model_io.registry import NETWORKS, find_class

if TYPE_CHECKING:
    import torch
    from torch import nn

OWN = "fourd_ros"

_NETWORK_BASE = {"diffusers": "ModelMixin", "transformers": "PreTrainedModel"}
_SELF_READING_BASES = {
    "diffusers": ("SchedulerMixin",),
    "transformers": ("PreTrainedTokenizerBase", "ImageProcessingMixin", "FeatureExtractionMixin"),
}


@dataclass(frozen=True, kw_only=True)
class Component:
    """A network to be written, built or not (a converter needs no network).

    Args:
        library: ``fourd_ros``, ``diffusers`` or ``transformers``.
        class_name: of the network there.
        config: what makes an equal network.
        weights: names and tensors, taken one by one.
    """

    library: str
    class_name: str
    config: Mapping[str, Any]
    weights: Iterable[tuple[str, "torch.Tensor"]]


def find_component_class(library: str, name: str) -> type:
    """The class that a ``model_index.json`` names.

    Raises:
        UnknownModel: no such library or class, or a class of another kind than those above.
        MissingDependency: the library is not installed.
    """
    if library == OWN:
        return find_class(NETWORKS, name)
    if library not in _NETWORK_BASE:
        raise UnknownModel(f"'{name}' is of the library '{library}'; allowed are {[OWN, *_NETWORK_BASE]}")
    module = _import(library)
    found = getattr(module, name, None) if name.isidentifier() and not name.startswith("_") else None
    if not (isinstance(found, type) and issubclass(found, _bases(library))):
        raise UnknownModel(
            f"'{name}' is no network, scheduler, tokenizer or image processor of {library} {module.__version__}"
        )
    return found


def is_network(library: str, found: type) -> bool:
    """Whether a component class has weights that are loaded here; the others read their files themselves."""
    return library == OWN or issubclass(found, getattr(_import(library), _NETWORK_BASE[library]))


def build_network(library: str, found: type[Any], config: Mapping[str, Any]) -> "nn.Module":
    """A network of a component class, its weights yet to be loaded.

    Raises:
        InvalidModel: the class does not take the configuration, or it asks for code of others.
    """
    _refuse_kernels(config)
    try:
        if library == "transformers":
            network = found(found.config_class.from_dict(dict(config)))
        else:
            network = found.from_config(dict(config))
    except Exception as error:  # what networks raise for sizes that cannot be has no common base
        raise InvalidModel(
            f"{found.__name__} cannot be made of its config.json: {type(error).__name__}: {error}"
        ) from error
    return network.eval()  # type: ignore[no-any-return]


def describe_network(network: "nn.Module") -> Component:
    """What is to be written of a network.

    Raises:
        UnknownModel: its class is not one that could be loaded again.
    """
    from fourd_ros.model_io.weights import named_weights

    library, name = _library_of(type(network)), type(network).__name__
    config: Any = network.config
    fields = config.to_dict() if hasattr(config, "to_dict") else dict(config)
    return Component(library=library, class_name=name, config=fields, weights=named_weights(network))


def save_self_reading(component: Any, folder: Path) -> tuple[str, str]:
    """Let a scheduler, tokenizer or image processor write itself; returns its library and class name."""
    library, name = _library_of(type(component)), type(component).__name__
    component.save_pretrained(folder)
    return library, name


def _refuse_kernels(config: Mapping[str, Any]) -> None:
    """Refuse what transformers would fetch from a hub and run: ``"attn_implementation": "owner/repository"``."""
    for name, value in config.items():
        if isinstance(value, Mapping):
            _refuse_kernels(value)
        if name.endswith("_implementation") and "/" in str(value):
            raise InvalidModel(f"config.json asks for the code of others: '{name}' is {value!r}; remove it")


def _library_of(found: type) -> str:
    """The library under whose name `found` is found again."""
    top = found.__module__.partition(".")[0]
    library = top if top in _NETWORK_BASE else OWN
    if find_component_class(library, found.__name__) is not found:
        raise UnknownModel(f"'{found.__name__}' is another class in {library} than {found.__module__}.{found.__name__}")
    return library


def _bases(library: str) -> tuple[type, ...]:
    module = _import(library)
    return tuple(getattr(module, name) for name in (_NETWORK_BASE[library], *_SELF_READING_BASES[library]))


def _import(library: str) -> Any:
    try:
        return importlib.import_module(library)
    except ImportError as error:
        raise MissingDependency(f"the model has components of {library}: {pip_install(library)}") from error
