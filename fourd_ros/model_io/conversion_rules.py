"""What a system says about its published checkpoints: which networks come out, and which tensor becomes what."""

from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING, Any

from fourd_ros.model_io.card import ModelCard
from fourd_ros.model_io.checkpoint_reader import Checkpoint

if TYPE_CHECKING:
    import torch

Transform = Callable[..., "torch.Tensor | tuple[torch.Tensor, ...]"]


@dataclass(frozen=True)
class Rule:
    """Source tensors that become target tensors.

    Several sources belong together when the groups of their patterns caught the same text.

    Args:
        component: whose weights the targets are.
        sources: regular expression that a whole name must match, or several.
        targets: name, with groups of the pattern as in ``re.sub``, or several names.
        transform: gets the sources, returns the targets (a tuple, where there are several); operators of torch
            only, whose shapes do not depend on values, since shapes are tried out first. By default the sources are
            the targets; one source may have several.
        file: pattern (as of a shell) of the files that it is for.
    """

    component: str
    sources: str | tuple[str, ...]
    targets: str | tuple[str, ...]
    transform: Transform | None = None
    file: str = "*"


@dataclass(frozen=True)
class Drop:
    """Source tensors that nothing needs.

    Args:
        source: regular expression that a whole name must match.
        reason: why they are left out.
        file: pattern (as of a shell) of the files that it is for.
    """

    source: str
    reason: str
    file: str = "*"


Rules = tuple[Rule | Drop, ...]


@dataclass(frozen=True, kw_only=True)
class Network:
    """A network that comes out.

    Args:
        class_name: as registered, or of the other library.
        library: ``fourd_ros``, ``diffusers`` or ``transformers``.
        config: what its ``from_config`` needs.
    """

    class_name: str
    library: str = "fourd_ros"
    config: Mapping[str, Any] = field(default_factory=dict)


@dataclass(frozen=True, kw_only=True)
class Converter:
    """How the checkpoints of one system become a model folder.

    Args:
        system: its name on the command line.
        summary: what is converted, and where it is found, in a line.
        model_class: name in `registry.MODELS` of what the networks make up.
        networks: by component name, maybe after a look at what was found (the number of layers, for example).
        rules: the first that matches a tensor counts. Where they depend on what was found, or on the type in which
            floating-point weights will be stored (None: as they are), a function of both.
        card: what is known about the result.
        self_reading: from the folder, the schedulers, tokenizers and image processors by component name.
        documents: text by file name that goes into the folder, such as the licence that must go with the weights.
        wrappers: prefixes taken off all names, see `Checkpoint`.
        skipped_files: reason by pattern of files that are not opened (``training_args.bin``).
        allowed_types: full names of types that its pickles may mention; they are left out, never built.
    """

    system: str
    summary: str
    model_class: str
    networks: Callable[[Checkpoint], Mapping[str, Network]]
    rules: "Rules | Callable[[Checkpoint, torch.dtype | None], Rules]"
    card: ModelCard
    self_reading: Callable[[Path], Mapping[str, Any]] = lambda _: {}
    documents: Mapping[str, str] = field(default_factory=dict)
    wrappers: tuple[str, ...] = ()
    skipped_files: Mapping[str, str] = field(default_factory=dict)
    allowed_types: tuple[str, ...] = ()
