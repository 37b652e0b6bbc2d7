"""From a model folder to a model: licence, integrity, then every component, tensor by tensor."""

from pathlib import Path
from typing import TYPE_CHECKING, Any

from fourd_ros.errors import InvalidModel
from fourd_ros.model_io.card import check_licence
from fourd_ros.model_io.components import build_network, find_component_class, is_network
from fourd_ros.model_io.folder import INDEX, ModelFolder
from fourd_ros.model_io.registry import MODELS, find_class
from fourd_ros.model_io.safetensors_file import import_torch
from fourd_ros.model_io.weights import load_weights

if TYPE_CHECKING:
    import torch


def load_model(
    folder: Path | str,
    *,
    allow_noncommercial: bool = False,
    device: "torch.device | str" = "cpu",
    dtype: "torch.dtype | None" = None,
    verify: bool = True,
) -> Any:
    """The model of a folder: the class that ``model_index.json`` names, made of its components.

    Args:
        folder: model folder with a card.
        allow_noncommercial: load it though its terms forbid commercial use.
        device: of all networks.
        dtype: of their floating-point weights; None leaves them as they are stored.
        verify: hash the files that are read and compare them with the card: one to three seconds a GB. Without it,
            a damaged header, a missing tensor or a wrong shape is still an error, a flipped bit in a weight is not.

    Returns:
        An instance of the class registered in `registry.MODELS`, its networks in evaluation mode.

    Raises:
        LicenceRefused: the model is non-commercial and that was not allowed.
        CorruptModel: a file is not the one that was written; all of them are named.
        WeightMismatch: names or shapes of weights are not those of a network; every difference is named.
        UnknownModel: the folder names a class that is not registered.
        InvalidModel: files are missing or contradict each other.
        MissingDependency: torch, diffusers or transformers is needed and not installed.
    """
    opened = ModelFolder(folder)
    check_licence(opened.card, allow_noncommercial=allow_noncommercial)
    model_class: Any = find_class(MODELS, opened.model_class)
    if verify:
        opened.check(INDEX, *opened.components)
    components = _Components((name, _load(opened, name, device, dtype)) for name in opened.components)
    return model_class.from_components(components, opened.card)


def load_component(
    folder: Path | str,
    name: str,
    *,
    allow_noncommercial: bool = False,
    device: "torch.device | str" = "cpu",
    dtype: "torch.dtype | None" = None,
    verify: bool = True,
) -> Any:
    """One component of a folder, whatever its class as a whole is; arguments and errors as of `load_model`."""
    opened = ModelFolder(folder)
    check_licence(opened.card, allow_noncommercial=allow_noncommercial)
    opened.component(name)
    if verify:
        opened.check(INDEX, name)
    return _load(opened, name, device, dtype)


class _Components(dict[str, Any]):
    """The components of a model, which may need another one."""

    def __missing__(self, name: str) -> Any:
        raise InvalidModel(f"the model needs a component '{name}'; its {INDEX} lists {sorted(self)}")


def _load(folder: ModelFolder, name: str, device: "torch.device | str", dtype: "torch.dtype | None") -> Any:
    import_torch()
    from fourd_ros.model_io.meta_device import parameters_on_meta

    library, class_name = folder.components[name]
    found: Any = find_component_class(library, class_name)
    if not is_network(library, found):
        return _read_itself(found, folder.component(name))
    with parameters_on_meta():
        network = build_network(library, found, folder.config(name))
    load_weights(network, folder.weights(name), device=device, dtype=dtype)
    return network


def _read_itself(found: Any, folder: Path) -> Any:
    """A scheduler, tokenizer or image processor from its own files; neither network nor code of others is used."""
    try:
        return found.from_pretrained(folder, local_files_only=True)
    except (OSError, ValueError, TypeError, KeyError, AttributeError) as error:
        raise InvalidModel(f"'{folder}' cannot be read by {found.__name__}: {error}") from error
