"""A network and all that changes it: loss, gradient, optimizer, averaged weights, adapters."""

import math
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager, nullcontext
from typing import Any

import torch
from accelerate import Accelerator

from fourd_ros.errors import InvalidConfig
from fourd_ros.training.checkpoint import Tensors, check_shapes, fill
from fourd_ros.training.config import TrainingConfig
from fourd_ros.training.ema import AveragedWeights
from fourd_ros.training.lora import Adapters
from fourd_ros.training.task import Batch, TrainingTask

_SLOTS = ("step", "exp_avg", "exp_avg_sq")
"""What AdamW keeps of a parameter."""


def learning_rate(config: TrainingConfig, step: int) -> float:
    """Of the step after `step` steps: linear from 0 over the warm-up, then constant or half a cosine down.

    With ``rate_steps`` it is that of the first of so many steps.
    """
    step -= step % config.rate_steps
    if step < config.warmup_steps:
        return config.learning_rate * (step + (not config.warmup_from_zero)) / config.warmup_steps
    if config.schedule == "constant":
        return config.learning_rate
    done = (step - config.warmup_steps) / max(config.steps - config.warmup_steps, 1)
    return config.least_rate + (config.learning_rate - config.least_rate) * 0.5 * (1 + math.cos(math.pi * done))


class Learner:
    """Trains the network of a task.

    Args:
        task: brings network and loss.
        accelerator: where it computes.

    Raises:
        InvalidConfig: the network cannot do what the configuration asks for.
    """

    def __init__(self, task: TrainingTask[Any], accelerator: Accelerator) -> None:
        self._config = task.config.training
        self._accelerator = accelerator
        self.network = task.network()
        if self._config.gradient_checkpointing:
            _enable_gradient_checkpointing(self.network)
        self._adapters = Adapters(self.network, self._config.lora) if self._config.lora else None
        self.network.to(accelerator.device)
        if not self.network.training:
            self.network.train()
        self._trained = {name: p for name, p in self.network.named_parameters() if p.requires_grad}
        if not self._trained:
            raise InvalidConfig(f"no parameter of {type(self.network).__name__} can be trained; all are frozen")
        self._owners = _owners(self.network)
        decay = self._config.ema_decay
        self._average = (
            None if decay is None else AveragedWeights(lambda: self.tensors, decay=decay, power=self._config.ema_power)
        )
        self._adamw = _optimizer(self._config, self._trained, accelerator.device)
        self._losses = _Losses(task, self.network)
        self._uses_all_parameters = task.uses_all_parameters
        self._model, self._optimizer = accelerator.prepare(self._losses, self._adamw)

    @property
    def names(self) -> tuple[str, ...]:
        """Of what `step` returns; known after the first step."""
        return ("loss", "gradient_norm", *self._losses.terms)

    def step(self, step: int, parts: Sequence[Batch]) -> torch.Tensor:
        """Learn from one batch.

        Args:
            step: steps done before.
            parts: micro batches of equal size.

        Returns:
            the numbers called `names`: means over the batch of this process, and the norm of the whole gradient.
        """
        for group in self._adamw.param_groups:
            group["lr"] = learning_rate(self._config, step)
        means: list[torch.Tensor] = []
        for number, batch in enumerate(parts, 1):
            last = number == len(parts)
            with nullcontext() if last else self._accelerator.no_sync(self._model):
                mean = self._model(batch).mean(dim=1) / len(parts)
                self._accelerator.backward(mean[0])
            means.append(mean.detach())
        if self._uses_all_parameters:
            self._refuse_unused_parameters()
        norm = self._accelerator.clip_grad_norm_(self._trained.values(), self._config.gradient_clip or math.inf)
        self._optimizer.step()
        self._optimizer.zero_grad()
        if self._average is not None:
            self._average.update(step + 1)
        total = torch.stack(means).sum(dim=0)
        return torch.cat([total[:1], norm.detach().reshape(1).to(total), total[1:]])

    @property
    def learning_rate(self) -> float:
        """Of the last step."""
        return float(self._adamw.param_groups[0]["lr"])

    @property
    def tensors(self) -> dict[str, torch.Tensor]:
        """What training changes in the network: parameters that are not frozen, and buffers that are saved."""
        return {name: getattr(module, attribute) for name, (module, attribute) in self._owners.items()}

    @property
    def exported_tensors(self) -> dict[str, torch.Tensor]:
        """Those of `tensors` that are validated and exported: averages, where there are any."""
        return self.tensors if self._average is None else self._average.tensors

    def files(self) -> dict[str, Tensors]:
        """All that a checkpoint keeps."""
        kept: dict[str, Tensors] = {"network": self.tensors, "optimizer": self._optimizer_tensors()}
        return kept if self._average is None else {**kept, "average": self._average.tensors}

    def state(self) -> dict[str, Any]:
        """What a checkpoint keeps beside tensors."""
        scaler = self._accelerator.scaler
        return {} if scaler is None else {"scaler": scaler.state_dict()}

    def restore(self, files: Mapping[str, Tensors], state: Mapping[str, Any]) -> None:
        """Go on from a checkpoint.

        Raises:
            InvalidCheckpoint: it is of another network.
        """
        fill(self.tensors, files.get("network", {}), what="network")
        if self._average is not None:
            fill(self._average.tensors, files.get("average", {}), what="network (averages)")
        self._restore_optimizer(files.get("optimizer", {}))
        if self._accelerator.scaler is not None and "scaler" in state:
            self._accelerator.scaler.load_state_dict(state["scaler"])

    @contextmanager
    def evaluating(self) -> Iterator[torch.nn.Module]:
        """The network as it would be exported, in evaluation mode and without gradients, for the block."""
        modes = {module: module.training for module in self.network.modules()}
        self.network.eval()
        with torch.no_grad(), self._average.in_place() if self._average else nullcontext():
            yield self.network
        for module, mode in modes.items():
            module.training = mode

    def finish(self, tensors: Tensors) -> torch.nn.Module:
        """The network with these of its tensors, adapters merged, on the CPU; nothing is trained afterwards."""
        fill(self.tensors, tensors, what="network")
        if self._adapters is not None:
            self._adapters.merge()
        return self.network.eval().cpu()

    def _refuse_unused_parameters(self) -> None:
        unused = [name for name, parameter in self._trained.items() if parameter.grad is None]
        if unused:
            raise InvalidConfig(
                f"the loss does not depend on {unused}; freeze them, or set uses_all_parameters = False in the task, "
                "so that several processes do not wait for their gradients"
            )

    def _optimizer_tensors(self) -> dict[str, torch.Tensor]:
        return {
            f"{slot}/{name}": value
            for name, parameter in self._trained.items()
            for slot, value in self._adamw.state[parameter].items()
        }

    def _restore_optimizer(self, tensors: Tensors) -> None:
        """A parameter that never had a gradient has no moments."""
        shapes = {
            f"{slot}/{name}": () if slot == "step" else tuple(parameter.shape)
            for name, parameter in self._trained.items()
            for slot in _SLOTS
        }
        check_shapes({key: shape for key, shape in shapes.items() if key in tensors}, tensors, what="optimizer")
        names = {parameter: name for name, parameter in self._trained.items()}
        state: dict[int, dict[str, torch.Tensor]] = {}
        for number, parameter in enumerate(p for group in self._adamw.param_groups for p in group["params"]):
            moments = {slot: tensors.get(f"{slot}/{names[parameter]}") for slot in _SLOTS}
            state[number] = {
                slot: moment if slot == "step" else _laid_out_like(parameter, moment)
                for slot, moment in moments.items()
                if moment is not None
            }
        self._adamw.load_state_dict({"state": state, "param_groups": self._adamw.state_dict()["param_groups"]})


class _Losses(torch.nn.Module):
    """The task's loss as one module, so that whatever the task calls of its network is trained on all processes."""

    def __init__(self, task: TrainingTask[Any], network: torch.nn.Module) -> None:
        super().__init__()
        self._task = task
        self.network = network
        self.terms: tuple[str, ...] = ()

    def forward(self, batch: Batch) -> torch.Tensor:
        """The loss and its terms for each sample, shape [1 + terms, B]."""
        loss = self._task.loss(self.network, batch)
        if loss.per_sample.ndim != 1 or any(term.shape != loss.per_sample.shape for term in loss.terms.values()):
            shapes = {name: list(term.shape) for name, term in loss.terms.items()}
            raise ValueError(
                f"{type(self._task).__name__}.loss gives {list(loss.per_sample.shape)} and terms {shapes}; needed [B]"
            )
        self.terms = tuple(loss.terms)
        return torch.stack([loss.per_sample, *(term.detach() for term in loss.terms.values())])


def _owners(network: torch.nn.Module) -> dict[str, tuple[torch.nn.Module, str]]:
    """Module and attribute of each parameter that is not frozen and each buffer that is saved."""
    saved = network.state_dict(keep_vars=True)
    names = [name for name, parameter in network.named_parameters() if parameter.requires_grad]
    names += [name for name, _ in network.named_buffers() if name in saved]
    places = ((name, *name.rpartition(".")[::2]) for name in names)
    return {name: (network.get_submodule(module), attribute) for name, module, attribute in places}


def _laid_out_like(parameter: torch.Tensor, moment: torch.Tensor) -> torch.Tensor:
    """The fused optimizer goes through the memory of both in one order."""
    return torch.empty_like(parameter).copy_(moment)


def _enable_gradient_checkpointing(network: torch.nn.Module) -> None:
    enable = getattr(network, "enable_gradient_checkpointing", None)
    if enable is None:
        raise InvalidConfig(
            f"'training.gradient_checkpointing' is true, but {type(network).__name__} has no "
            "enable_gradient_checkpointing()"
        )
    enable()


def _optimizer(
    config: TrainingConfig, parameters: Mapping[str, torch.nn.Parameter], device: torch.device
) -> torch.optim.AdamW:
    """AdamW (Loshchilov and Hutter, 2019); biases and scales do not decay."""
    groups = [
        {"params": [p for p in parameters.values() if p.ndim >= 2], "weight_decay": config.weight_decay},
        {"params": [p for p in parameters.values() if p.ndim < 2], "weight_decay": 0.0},
    ]
    return torch.optim.AdamW(
        [group for group in groups if group["params"]],
        lr=config.learning_rate,
        betas=config.betas,
        fused=device.type in ("cpu", "cuda"),
    )
