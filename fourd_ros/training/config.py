"""What every training run is told."""

from dataclasses import MISSING, dataclass
from typing import Literal

from fourd_ros.errors import InvalidConfig
from fourd_ros.training.settings import setting

Precision = Literal["no", "bf16", "fp16"]


@dataclass(frozen=True, kw_only=True)
class LoraSettings:
    """Low-rank adapters instead of the weights themselves."""

    rank: int = setting(16, "of the adapters", minimum=1)
    alpha: int = setting(16, "the update is scaled by alpha / rank", minimum=1)
    dropout: float = setting(0.0, "of the adapters' input", minimum=0.0, maximum=0.99)
    target_modules: tuple[str, ...] = setting(
        MISSING, "names (or ends of names) of the linear and convolution layers that get an adapter"
    )

    def __post_init__(self) -> None:
        if not self.target_modules:
            raise InvalidConfig("target_modules is empty; name at least one layer")


@dataclass(frozen=True, kw_only=True)
class TrainingConfig:
    """What every training has in common."""

    seed: int = setting(0, "of weights, samples and dropout", minimum=0, maximum=2**32 - 1)
    steps: int = setting(10_000, "optimizer steps; a resumed run may raise it", minimum=1, changes_result=False)
    batch_size: int = setting(16, "samples of a step, over all processes", minimum=1)
    gradient_accumulation: int = setting(
        1, "parts that a process cuts its share of the batch into", minimum=1, changes_result=False
    )
    learning_rate: float = setting(1e-3, "largest of the schedule", above=0.0)
    warmup_steps: int = setting(0, "steps over which the learning rate rises from 0", minimum=0)
    warmup_from_zero: bool = setting(False, "whether the first step of the warm-up has the rate 0, as in diffusers")
    schedule: Literal["constant", "cosine"] = setting(
        "cosine", "of the learning rate after the warm-up; cosine ends at least_rate"
    )
    rate_steps: int = setting(1, "steps for which the rate stays the same, such as those of an epoch", minimum=1)
    least_rate: float = setting(0.0, "of the schedule, where cosine ends", minimum=0.0)
    weight_decay: float = setting(0.01, "of AdamW, on weights with two dimensions or more", minimum=0.0)
    betas: tuple[float, float] = setting((0.9, 0.999), "of AdamW", minimum=0.0, maximum=0.999999)
    gradient_clip: float | None = setting(1.0, "largest norm of the gradient; null leaves it", above=0.0)
    precision: Precision = setting("no", "autocast of the forward pass; weights stay float32")
    ema_decay: float | None = setting(
        0.999,
        "of the averaged weights that are validated and exported; null: the weights themselves",
        minimum=0.0,
        maximum=0.999999,
    )
    ema_power: float | None = setting(
        None, "the decay begins as 1 - n^-power after n steps, as in diffusers; null: (1 + n) / (10 + n)", above=0.0
    )
    gradient_checkpointing: bool = setting(False, "compute activations twice to save memory", changes_result=False)
    lora: LoraSettings | None = setting(None, "train adapters only")
    export: Literal["last", "best"] = setting("last", "which weights become the model folder", changes_result=False)
    checkpoint_every: int = setting(1000, "steps between checkpoints", minimum=1, changes_result=False)
    keep_checkpoints: int = setting(2, "newest checkpoints that are kept", minimum=1, changes_result=False)
    validate_every: int = setting(1000, "steps between validations", minimum=1, changes_result=False)
    log_every: int = setting(50, "steps that one row of metrics averages", minimum=1, changes_result=False)
    workers: int = setting(0, "data loading processes of each process", minimum=0, changes_result=False)
    threads: int = setting(1, "CPU threads of each process", minimum=1, changes_result=False)
    device: Literal["auto", "cpu"] = setting("auto", "auto takes a GPU where there is one")

    def __post_init__(self) -> None:
        if self.least_rate > self.learning_rate:
            raise InvalidConfig(f"least_rate {self.least_rate} is more than learning_rate {self.learning_rate}")


@dataclass(frozen=True, kw_only=True)
class TaskConfig:
    """Base of the configuration of every task; a task adds its own fields."""

    training: TrainingConfig = setting(TrainingConfig, "what every training has in common")
