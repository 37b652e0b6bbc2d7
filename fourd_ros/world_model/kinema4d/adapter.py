"""What Kinema4D adds to Wan: low-rank adapters of the attentions, and the weights that know the robot.

In published folders they are two files beside each other. 4DNeX, from which Kinema4D was trained, has adapters of the
same names, and the domain embeddings in a pickle.
"""

import re
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path

from torch import Tensor, nn

from fourd_ros.errors import InvalidModel, MissingDependency, WeightMismatch
from fourd_ros.machine import pip_install
from fourd_ros.model_io.checkpoint_files import open_weights
from fourd_ros.model_io.checkpoint_reader import files_below
from fourd_ros.model_io.safetensors_file import write_tensors
from fourd_ros.model_io.weight_views import GivenWeights
from fourd_ros.model_io.weights import WeightFiles, Weights
from fourd_ros.world_model.kinema4d.layout import Variant
from fourd_ros.world_model.kinema4d.transformer import Kinema4DTransformer

LORA_FILE = "pytorch_lora_weights.safetensors"
ADDED_FILE = "added_weights.safetensors"
DOMAIN_FILE = "learnable_domain_embeddings.pt"
DOMAIN_NAME = "learnable_domain_embeddings"

LORA_TARGETS = ("to_q", "to_k", "to_v", "to_out.0")
"""Layers of both attentions of every block."""

LORA_STRENGTH = 0.5
"""Of the adapters, whatever their rank; training scales them by alpha / rank = 32 / 64."""

LORA_PREFIX = "transformer."
TARGET_PATTERN = r"blocks\.\d+\.attn[12]\.(?:to_q|to_k|to_v|to_out\.0)"

_LORA_NAME = re.compile(rf"{re.escape(LORA_PREFIX)}({TARGET_PATTERN})\.lora_([AB])\.weight")
_ADDED_NAME = re.compile(rf"{DOMAIN_NAME}|arm_\w+(?:\.\w+)?|patch_embedding_arm\.\w+")
_PEFT_NAME = "default"


@dataclass(frozen=True, kw_only=True)
class AdapterFiles:
    """The files of one adapter.

    Args:
        lora: low-rank weights.
        added: the other weights, or those of them that are there; None where there are none.
    """

    lora: Path
    added: Path | None

    @classmethod
    def find(cls, folder: Path | str) -> "AdapterFiles":
        """Those in a folder or below it.

        Raises:
            InvalidModel: there is no adapter, or more than one.
        """
        root = Path(folder)
        found = [path for path in files_below(root) if path.name == LORA_FILE]
        if len(found) != 1:
            places = ", ".join(f"'{path.parent}'" for path in found) or "none"
            raise InvalidModel(f"'{root}' holds {len(found)} adapters ({places}); needed is one {LORA_FILE}")
        beside = [found[0].parent / name for name in (ADDED_FILE, DOMAIN_FILE)]
        return cls(lora=found[0], added=next((path for path in beside if path.is_file()), None))

    def added_weights(self) -> Weights | None:
        """The weights beside the adapter; of 4DNeX the domain embeddings alone."""
        if self.added is None:
            return None
        if self.added.name == ADDED_FILE:
            return WeightFiles(self.added)
        return GivenWeights({DOMAIN_NAME: open_weights(self.added).read("").clone()}, self.added)


def is_added(name: str) -> bool:
    """Whether a weight of the transformer is not one of Wan's."""
    return _ADDED_NAME.fullmatch(name) is not None


def variant_of(added: Weights) -> Variant:
    """Of added weights: those that see colour tell the modalities apart."""
    return Variant.ACT if "arm_domain_emb" in added.names else Variant.PMCOND


def merged(weight: Tensor, down: Tensor, up: Tensor) -> Tensor:
    """A weight with its adapter in it.

    Args:
        weight: shape [out, in].
        down: A, shape [rank, in].
        up: B, shape [out, rank].

    Returns:
        ``weight + 0.5 B A`` in the type of `weight`; in half precision A, B and the product are rounded to it, as the
        original's loader does.
    """
    down, up = (part.to(weight.dtype).float() for part in (down, up))
    return weight + (LORA_STRENGTH * (up @ down)).to(weight.dtype)


def check_lora(lora: Weights, transformer: nn.Module) -> int:
    """The rank of low-rank weights that fit a transformer.

    Raises:
        WeightMismatch: missing, unexpected or mis-shaped tensors, or ranks that differ; all in one message.
    """
    wanted = {name: module for name, module in transformer.named_modules() if re.fullmatch(TARGET_PATTERN, name)}
    found: dict[str, dict[str, tuple[int, ...]]] = {}
    problems = []
    for name in lora.names:
        match = _LORA_NAME.fullmatch(name)
        if match is None:
            problems.append(f"unexpected: {name} {list(lora.shape(name))}; biases and alphas are not allowed for")
        elif match[1] not in wanted:
            problems.append(f"unexpected: {name}, the transformer has no {match[1]}")
        else:
            found.setdefault(match[1], {})[match[2]] = lora.shape(name)
    ranks = {shapes["A"][0] for shapes in found.values() if len(shapes.get("A", ())) == 2}
    rank = max(ranks, default=0)
    for target, module in wanted.items():
        out, into = module.weight.shape  # type: ignore[union-attr, misc]
        for part, shape in (("A", (rank, into)), ("B", (out, rank))):
            given = found.get(target, {}).get(part)
            if given is None:
                problems.append(f"missing: {LORA_PREFIX}{target}.lora_{part}.weight {list(shape)}")
            elif given != shape:
                problems.append(f"shape: {target}.lora_{part} is {list(given)}, needed {list(shape)}")
    if problems:
        lines = "".join(f"\n  {line}" for line in problems)
        raise WeightMismatch(f"'{lora.path}' is no adapter of this transformer; {len(problems)} problems:{lines}")
    return rank


def attach(transformer: Kinema4DTransformer, *, rank: int, lora: Weights | None = None) -> None:
    """Put adapters into a transformer through peft; only they and the added weights can be trained, in float32.

    Args:
        transformer: is changed.
        rank: of the adapters.
        lora: their values, see `check_lora`; without, they begin with no effect.

    Raises:
        MissingDependency: peft is not installed.
    """
    try:
        from peft import LoraConfig, inject_adapter_in_model
    except ImportError as error:
        raise MissingDependency(f"adapters need peft: {pip_install('peft')}") from error
    config = LoraConfig(r=rank, lora_alpha=LORA_STRENGTH * rank, target_modules=TARGET_PATTERN)  # type: ignore[arg-type]
    inject_adapter_in_model(config, transformer, _PEFT_NAME)
    for name, parameter in transformer.named_parameters():
        trained = "lora_" in name or is_added(name)
        parameter.requires_grad_(trained)
        if trained:
            parameter.data = parameter.data.float()
    if lora is not None:
        for name, parameter in adapter_parameters(transformer):
            parameter.data.copy_(lora.read(name))


def adapter_parameters(transformer: nn.Module) -> Iterator[tuple[str, nn.Parameter]]:
    """Low-rank weights of a transformer under the names of published files."""
    for name, parameter in transformer.named_parameters():
        if ".lora_" in name:
            yield f"{LORA_PREFIX}{name.replace(f'.{_PEFT_NAME}.', '.')}", parameter


def adapter_tensors(transformer: nn.Module) -> tuple[Mapping[str, Tensor], Mapping[str, Tensor]]:
    """Low-rank and added weights, float32, as published files hold them."""
    lora = {name: parameter.detach().float() for name, parameter in adapter_parameters(transformer)}
    added = {name: tensor.detach().float() for name, tensor in transformer.named_parameters() if is_added(name)}
    return lora, added


def write_adapter(transformer: nn.Module, folder: Path) -> None:
    """Write the two files of an adapter into a folder that is there."""
    for file, tensors in zip((LORA_FILE, ADDED_FILE), adapter_tensors(transformer), strict=True):
        write_tensors(tensors, folder / file)
