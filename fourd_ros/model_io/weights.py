"""The weights of one network: files that are read tensor by tensor, loaded strictly, written in shards.

Tied weights (one tensor under several names of a network) are written once, under the first of their names. When
they are loaded, any of the names will do; where several are stored they must be equal.
"""

import os
import re
from collections.abc import Iterable, Iterator
from contextlib import suppress
from math import prod
from pathlib import Path
from typing import TYPE_CHECKING, Protocol

from fourd_ros.errors import InvalidModel, WeightMismatch
from fourd_ros.model_io.progress import with_progress
from fourd_ros.model_io.safetensors_file import (
    TensorEntry,
    import_torch,
    read_header,
    read_tensor,
    type_name,
    write_tensors,
)
from fourd_ros.strict_json import read_object, to_bytes

if TYPE_CHECKING:
    import torch
    from torch import nn

STEM = "diffusion_pytorch_model"
SUFFIX = ".safetensors"
INDEX_SUFFIX = ".safetensors.index.json"
MAX_SHARD_BYTES = 2 * 10**9

_SHARD_NAME = re.compile(r"[^/\\\0]+\.safetensors")
_SHARD_OF_MANY = re.compile(r"-\d{5}-of-\d{5}\.safetensors$")


class Weights(Protocol):
    """Tensors by name, read one by one: `WeightFiles`, or a view of them."""

    @property
    def path(self) -> Path:
        """Where they are from, for messages."""
        ...

    @property
    def names(self) -> tuple[str, ...]:
        """Of all tensors."""
        ...

    def __contains__(self, name: object) -> bool: ...

    def shape(self, name: str) -> tuple[int, ...]:
        """Of a tensor."""
        ...

    def dtype(self, name: str) -> str:
        """Name of the torch type of a tensor."""
        ...

    def read(self, name: str) -> "torch.Tensor":
        """A tensor in CPU memory of its own, as stored."""
        ...


class WeightFiles:
    """The tensors of a folder with one ``.safetensors`` file, or with shards and their index; torch only for `read`.

    Args:
        path: the folder; or the very file or index, where a folder holds several sets of weights.

    Attributes:
        path: the folder or file.
        files: what is read: the file, or the index and its shards.
        names: of all tensors, in the order in which they lie in the files.
        byte_count: of all tensors.
        element_count: of all tensors.

    Raises:
        InvalidModel: no weights, several sets of weights, a shard that is missing or outside the folder.
        WeightMismatch: index and shards do not list the same tensors; every difference is named.
        CorruptModel: a damaged file.
    """

    def __init__(self, path: Path | str) -> None:
        self.path = Path(path)
        source = _weights_in(self.path) if self.path.is_dir() else self.path
        if source.name.endswith(INDEX_SUFFIX):
            shards, self._entries = _read_index(source)
            self.files = (source, *shards)
        else:
            self._entries = {name: (source, entry) for name, entry in read_header(source).items()}
            self.files = (source,)
        self.names = tuple(self._entries)
        self.byte_count = sum(entry.size for _, entry in self._entries.values())
        self.element_count = sum(prod(entry.shape) for _, entry in self._entries.values())

    def __contains__(self, name: object) -> bool:
        return name in self._entries

    def shape(self, name: str) -> tuple[int, ...]:
        """Of a tensor."""
        return self._entry(name)[1].shape

    def dtype(self, name: str) -> str:
        """Name of the torch type of a tensor, such as ``bfloat16``."""
        return self._entry(name)[1].dtype

    def read(self, name: str) -> "torch.Tensor":
        """A tensor in CPU memory of its own, as stored."""
        return read_tensor(*self._entry(name))

    def _entry(self, name: str) -> tuple[Path, TensorEntry]:
        if name not in self._entries:
            raise WeightMismatch(f"'{self.path}' holds no tensor '{name}'")
        return self._entries[name]


def load_weights(
    network: "nn.Module",
    files: Weights,
    *,
    device: "torch.device | str" = "cpu",
    dtype: "torch.dtype | None" = None,
) -> None:
    """Fill a network, tensor by tensor; when anything differs, nothing is loaded.

    Parameters and buffers are replaced (they may be on the meta device), so an optimiser is made afterwards.

    Args:
        network: its ``state_dict`` says what is needed.
        files: what there is.
        device: where the whole network will be.
        dtype: of floating-point weights; None leaves them as they are stored. Where the network lists
            ``_keep_in_fp32_modules`` (diffusers), what lies below those names becomes float32 instead. Buffers that
            are not in files keep the type that the network gave them.

    Raises:
        WeightMismatch: names or shapes differ, or tied weights are stored with different values; all in one message.
        InvalidModel: a buffer that is not in the files has no values (the network was built on the meta device as a
            whole; see `parameters_on_meta`).
    """
    ties = tied_names(network)
    differences = _differences(network, ties, files)
    if differences:
        lines = "".join(f"\n  {line}" for line in differences)
        raise WeightMismatch(f"'{files.path}' does not fit {type(network).__name__}; {len(differences)} differ:{lines}")
    _check_buffers(network)
    names_of = {next(name for name in names if name in files): names for names in ties}
    for name in with_progress(files.names, task="loading", unit="tensor"):
        if name in names_of:
            tensor = files.read(name)
            _assign(network, names_of[name], tensor.to(device=device, dtype=weight_dtype(network, name, tensor, dtype)))
    for module in network.modules():
        for leaf in module._non_persistent_buffers_set:
            if (buffer := module._buffers[leaf]) is not None:
                module._buffers[leaf] = buffer.to(device)


def named_weights(network: "nn.Module") -> Iterator[tuple[str, "torch.Tensor"]]:
    """Name and tensor of all that is to be stored of a network, tied weights once."""
    state = network.state_dict(keep_vars=True)
    for names in tied_names(network):
        yield names[0], state[names[0]].detach()


def weight_dtype(network: "nn.Module", name: str, stored: "torch.Tensor", asked: "torch.dtype | None") -> "torch.dtype":
    """The type that a stored weight is to have, as `load_weights` says of its `dtype`."""
    if asked is None or not stored.is_floating_point():
        return stored.dtype
    kept = frozenset(getattr(network, "_keep_in_fp32_modules", None) or ())
    return import_torch().float32 if kept & set(name.split(".")) else asked


def type_kind(dtype: str) -> str:
    """What a stored type may stand for: floating-point types for each other, any other only for itself."""
    return "floating point" if "float" in dtype else dtype


def tied_names(network: "nn.Module") -> list[tuple[str, ...]]:
    """Names of the network's state; names of one and the same tensor together, in their order."""
    names: dict[int, list[str]] = {}
    for name, tensor in network.state_dict(keep_vars=True).items():
        names.setdefault(id(tensor), []).append(name)
    return [tuple(tied) for tied in names.values()]


def save_weights(
    tensors: Iterable[tuple[str, "torch.Tensor"]],
    folder: Path,
    *,
    max_shard_bytes: int = MAX_SHARD_BYTES,
    stem: str = STEM,
) -> None:
    """Write tensors as they come; one shard is held in memory at a time.

    Args:
        tensors: names and tensors; a name may come once.
        folder: receives one ``.safetensors`` file, or shards and their index; all of them or none.
        max_shard_bytes: a tensor that is larger has a shard of its own.
        stem: beginning of the file names (transformers uses ``model``).

    Raises:
        InvalidModel: a name twice, a type that cannot be stored, or weights of that stem are there already.
    """
    if any(folder.glob(f"{stem}*{SUFFIX}*")):
        raise InvalidModel(f"'{folder}' holds weights already; name a new folder")
    folder.mkdir(parents=True, exist_ok=True)
    partials: list[Path] = []
    weight_map: dict[str, int] = {}
    total = 0
    try:
        for shard in _shards(tensors, max_shard_bytes):
            repeated = sorted(shard.keys() & weight_map.keys())
            if repeated:
                raise InvalidModel(f"tensors {repeated} were given twice")
            weight_map.update(dict.fromkeys(shard, len(partials)))
            total += sum(tensor.numel() * tensor.element_size() for tensor in shard.values())
            partials.append(folder / f".{stem}-{len(partials):05d}.partial")
            write_tensors(shard, partials[-1])
            del shard  # otherwise it would stay until the next one is full
        _name_shards(partials, weight_map, total, folder / stem)
    finally:
        for partial in partials:
            with suppress(FileNotFoundError):
                partial.unlink()


def _weights_in(folder: Path) -> Path:
    """The one index or file of weights of a folder."""
    indices = sorted(folder.glob(f"*{INDEX_SUFFIX}"))
    plain = [path for path in sorted(folder.glob(f"*{SUFFIX}")) if not _SHARD_OF_MANY.search(path.name)]
    found = indices + plain
    if not found:
        raise InvalidModel(
            f"'{folder}' holds no weights; needed is one {SUFFIX} file, or shards with their {INDEX_SUFFIX[1:]}"
        )
    if len(found) > 1:
        raise InvalidModel(f"'{folder}' holds several sets of weights: {[path.name for path in found]}; keep one")
    return found[0]


def _read_index(index: Path) -> tuple[list[Path], dict[str, tuple[Path, TensorEntry]]]:
    """Shards of an index, and where each tensor lies."""
    weight_map = read_object(index, error=InvalidModel).get("weight_map")
    if not isinstance(weight_map, dict) or not all(isinstance(shard, str) for shard in weight_map.values()):
        raise InvalidModel(f"'{index}' has no 'weight_map' of names to shards")
    shards = []
    for name in sorted(set(weight_map.values())):
        if not _SHARD_NAME.fullmatch(name):
            raise InvalidModel(f"'{index}' names the shard '{name}'; needed is the name of a {SUFFIX} file beside it")
        if not (index.parent / name).is_file():
            raise InvalidModel(f"'{index.parent}' lacks the shard '{name}' that '{index.name}' names")
        shards.append(index.parent / name)
    entries: dict[str, tuple[Path, TensorEntry]] = {}
    differences = []
    for shard in shards:
        for name, entry in read_header(shard).items():
            if name in entries:
                differences.append(f"'{name}' is in both '{entries[name][0].name}' and '{shard.name}'")
            elif weight_map.get(name) != shard.name:
                differences.append(f"'{name}' is in '{shard.name}', the index says {weight_map.get(name, 'nothing')!r}")
            entries[name] = (shard, entry)
    differences += [f"'{name}' is in no shard" for name in sorted(weight_map.keys() - entries.keys())]
    if differences:
        lines = "".join(f"\n  {line}" for line in differences)
        raise WeightMismatch(f"'{index}' and its shards contradict each other:{lines}")
    return shards, entries


def _differences(network: "nn.Module", ties: list[tuple[str, ...]], files: Weights) -> list[str]:
    """Every way in which the files are not what the network needs."""
    state = network.state_dict(keep_vars=True)
    expected = {name: tuple(tensor.shape) for name, tensor in state.items()}
    kinds = {name: type_kind(type_name(tensor.dtype)) for name, tensor in state.items()}
    lines = [
        f"missing: {' = '.join(names)} {list(expected[names[0]])}"
        for names in ties
        if not any(name in files for name in names)
    ]
    lines += [f"unexpected: {name} {list(files.shape(name))}" for name in files.names if name not in expected]
    lines += [
        f"shape: {name} is {list(files.shape(name))}, needed {list(expected[name])}"
        for name in files.names
        if name in expected and files.shape(name) != expected[name]
    ]
    lines += [
        f"type: {name} is {files.dtype(name)}, needed {kinds[name]}"
        for name in files.names
        if name in kinds and type_kind(files.dtype(name)) != kinds[name]
    ]
    return lines or [f"tied: {' = '.join(names)} have different values" for names in ties if not _equal(names, files)]


def _equal(names: tuple[str, ...], files: Weights) -> bool:
    first, *others = [name for name in names if name in files]
    return all(import_torch().equal(files.read(first), files.read(other)) for other in others)


def _check_buffers(network: "nn.Module") -> None:
    """Refuse a network whose buffers outside the files were never computed."""
    lost = [
        f"{path}.{leaf}".lstrip(".")
        for path, module in network.named_modules()
        for leaf in module._non_persistent_buffers_set
        if (buffer := module._buffers[leaf]) is not None and buffer.is_meta
    ]
    if lost:
        raise InvalidModel(f"buffers {lost} have no values; build the network inside 'parameters_on_meta()'")


def _assign(network: "nn.Module", names: tuple[str, ...], tensor: "torch.Tensor") -> None:
    """Put one tensor under all of its names, as the parameter or buffer that each of them is."""
    new: torch.Tensor | None = None
    for name in names:
        path, _, leaf = name.rpartition(".")
        module = network.get_submodule(path)
        if new is None:
            old = module._parameters.get(leaf)
            new = tensor if old is None else import_torch().nn.Parameter(tensor, requires_grad=old.requires_grad)
        setattr(module, leaf, new)


def _shards(tensors: Iterable[tuple[str, "torch.Tensor"]], max_bytes: int) -> Iterator[dict[str, "torch.Tensor"]]:
    """The tensors in portions of at most so many bytes; one portion at least."""
    shard: dict[str, torch.Tensor] = {}
    size = 0
    for name, tensor in tensors:
        if name in shard:
            raise InvalidModel(f"tensor '{name}' was given twice")
        added = tensor.numel() * tensor.element_size()
        if shard and size + added > max_bytes:
            yield shard
            shard, size = {}, 0
        shard[name] = tensor
        size += added
    yield shard


def _name_shards(partials: list[Path], weight_map: dict[str, int], total: int, target: Path) -> None:
    """Give finished shards their names; the index, without which they are not looked at, comes last."""
    if len(partials) == 1:
        os.replace(partials[0], f"{target}{SUFFIX}")
        return
    names = [f"{target.name}-{number:05d}-of-{len(partials):05d}{SUFFIX}" for number in range(1, len(partials) + 1)]
    for partial, name in zip(partials, names, strict=True):
        os.replace(partial, target.parent / name)
    index = {
        "metadata": {"total_size": total},
        "weight_map": {name: names[shard] for name, shard in sorted(weight_map.items())},
    }
    partial = target.parent / f".{target.name}.index.partial"
    partial.write_bytes(to_bytes(index))
    os.replace(partial, f"{target}{INDEX_SUFFIX}")
