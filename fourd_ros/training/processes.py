"""The processes of a run: where they compute, their threads and seeds, and how they agree to stop."""

import random
import signal
import threading
from datetime import timedelta
from types import FrameType
from typing import Any

import numpy as np
import torch
from accelerate import Accelerator, DistributedDataParallelKwargs, InitProcessGroupKwargs
from accelerate.state import AcceleratorState
from accelerate.utils import GradientAccumulationPlugin, parse_flag_from_env

from fourd_ros.errors import InvalidConfig
from fourd_ros.memory import keep_everything
from fourd_ros.training.config import TrainingConfig
from fourd_ros.training.sampler import step_seed

LONGEST_WAIT = timedelta(hours=8)
"""The others wait for so long while the main one prepares, validates and writes; one that dies is noticed at once."""

_SHARDING = ("ACCELERATE_USE_FSDP", "ACCELERATE_USE_DEEPSPEED", "ACCELERATE_USE_MEGATRON_LM",
             "ACCELERATE_USE_PARALLELISM_CONFIG")  # fmt: skip
"""How `accelerate launch` asks for a network that is cut over the processes."""


def make_accelerator(config: TrainingConfig, *, uses_all_parameters: bool) -> Accelerator:
    """Where to compute, for one process or one of several that were started together.

    Args:
        config: of the training.
        uses_all_parameters: of the task.

    Raises:
        InvalidConfig: the device cannot compute in the precision asked for, or the network is to be cut over processes.
    """
    asked = [name for name in _SHARDING if parse_flag_from_env(name)]
    if asked:
        raise InvalidConfig(
            f"{asked} is set, but every process trains a whole network here (distributed data parallel); take an "
            "accelerate configuration with distributed_type MULTI_GPU. Adapters (training.lora) over a frozen bfloat16 "
            "network and training.gradient_checkpointing make large ones fit"
        )
    torch.set_num_threads(config.threads)
    keep_everything()
    cpu = config.device == "cpu" or not torch.accelerator.is_available()
    if cpu and config.precision == "fp16":
        raise InvalidConfig("'training.precision' is fp16, which needs a GPU; on the CPU choose bf16 or no")
    # A second run in one Python would otherwise be held to the precision of the first.
    AcceleratorState._reset_state()
    return Accelerator(
        cpu=cpu,
        mixed_precision=config.precision,
        gradient_accumulation_plugin=GradientAccumulationPlugin(num_steps=1),  # a batch is cut in the loop
        kwargs_handlers=[
            InitProcessGroupKwargs(timeout=LONGEST_WAIT),
            DistributedDataParallelKwargs(find_unused_parameters=not uses_all_parameters),
        ],
    )


def seed_everything(seed: int, step: int, process: int, device: torch.device) -> None:
    """Seed torch (on the CPU and on `device`), NumPy and Python for one step of one process."""
    number = step_seed(seed, step, process)
    if device.type == "cpu":
        torch.default_generator.manual_seed(number)  # what is below spends a millisecond on GPUs that are not there
    else:
        torch.manual_seed(number)
    np.random.seed(number)
    random.seed(number)


class StopRequest:
    """Ctrl-C or SIGTERM to any process, agreed upon by all; a second signal is obeyed at once.

    Use as a context manager; `agreed` is called once a step. Signals are heard in the main thread only.
    """

    SIGNALS = (signal.SIGINT, signal.SIGTERM)

    def __init__(self, accelerator: Accelerator) -> None:
        self._asked = False
        self._handlers: dict[signal.Signals, Any] = {}
        self._pending: tuple[Any, torch.Tensor] | None = None
        several = accelerator.num_processes > 1
        # Beside the GPUs' own group, since the answer is needed on the CPU and must not hold a GPU up.
        self._group = torch.distributed.new_group(backend="gloo", timeout=LONGEST_WAIT) if several else None

    def __enter__(self) -> "StopRequest":
        if threading.current_thread() is threading.main_thread():
            self._handlers = {number: signal.signal(number, self._ask) for number in self.SIGNALS}
        return self

    def __exit__(self, kind: type[BaseException] | None, *_: object) -> None:
        self._restore()
        if self._pending is not None and kind is None:
            self._pending[0].wait()

    def agreed(self) -> bool:
        """Whether to stop after this step; the same answer in every process.

        With several processes the answer is that of the step before, so that nobody waits for it.
        """
        if self._group is None:
            return self._asked
        answer = False
        if self._pending is not None:
            work, asked = self._pending
            work.wait()
            answer = bool(asked)
        asked = torch.tensor(int(self._asked))
        work = torch.distributed.all_reduce(asked, torch.distributed.ReduceOp.MAX, group=self._group, async_op=True)
        self._pending = (work, asked)
        return answer

    def _ask(self, number: int, frame: FrameType | None) -> None:
        self._asked = True
        self._restore()

    def _restore(self) -> None:
        for number, handler in self._handlers.items():
            signal.signal(number, handler)
