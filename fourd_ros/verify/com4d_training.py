"""The loss of COM4D's training in all its modes, and its schedules."""

from typing import Any

import numpy as np

from fourd_ros.training.compositional_objective import NoiseLevels, flow_step, noise_levels
from fourd_ros.training.config import TrainingConfig
from fourd_ros.training.ema import decay_after
from fourd_ros.training.learner import learning_rate
from fourd_ros.verify.checks import check
from fourd_ros.verify.com4d_folder import BASE, SYSTEM, as_numpy, tensors_of, transformer
from fourd_ros.verify.comparison import Comparison
from fourd_ros.verify.vectors import Tensors, VectorFolder

KINDS = {"3d": "scene", "4d": "moving", "single": "single"}

LARGEST_DECAY, POWER = 0.9999, 0.75
BASE_RATE, WARM_UP = 1e-4, 10


@check(SYSTEM, "train_loss*.safetensors")
def train_loss(folder: VectorFolder, vectors: Tensors, compare: Comparison) -> None:
    """Noise of items, what the network says and the loss, for every mode that the file holds."""
    from fourd_ros.compositional.checkpoints import flow_shift

    network, given = transformer(folder), tensors_of(vectors)
    shift = flow_shift(folder.path(f"{BASE}/scheduler"))
    for mode in sorted({name.split("/")[0] for name in given if "/" in name}):
        of_mode = {name.removeprefix(f"{mode}/"): one for name, one in given.items() if name.startswith(f"{mode}/")}
        sizes, history = of_mode["num"].tolist(), of_mode["context_mask"]
        shares = of_mode["u"] if len(of_mode["u"]) == len(history) else of_mode["u"].repeat_interleave(of_mode["num"])
        levels = noise_levels(shares, history=history, shift=shift)
        step = flow_step(
            network,
            of_mode["clean_latents"],
            of_mode["noise"],
            of_mode["encoder"],
            levels,
            history,
            kind=KINDS[mode.split("_")[0]],
            sizes=sizes,
        )
        computed: dict[str, Any] = {
            "timesteps": levels.timesteps,
            "sigmas": levels.sigmas.reshape(of_mode["sigmas"].shape),
            "noisy": step.noisy,
            "pred": step.velocity,
            "loss_per_item": step.errors,
            "loss": step.loss.reshape(1),
        }
        for name, value in computed.items():
            compare(f"{mode}/{name}", as_numpy(value))
        for name in ("num", "clean_latents", "noise", "encoder", "u", "context_mask"):
            compare(f"{mode}/{name}", vectors[f"{mode}/{name}"])
    compare("clean_timestep", as_numpy(_cleanest(shift).timesteps))


@check(SYSTEM, "schedules*.safetensors")
def schedules(folder: VectorFolder, vectors: Tensors, compare: Comparison) -> None:
    """Decay of the averages, and the learning rate before every step."""
    compare("ema_steps", vectors["ema_steps"])
    compare("ema_decay", [decay_after(int(n), limit=LARGEST_DECAY, power=POWER) for n in vectors["ema_steps"]])
    config = TrainingConfig(
        learning_rate=BASE_RATE, warmup_steps=WARM_UP, warmup_from_zero=True, schedule="constant", steps=10**6
    )
    compare("lr", np.array([learning_rate(config, step) for step in range(len(vectors["lr"]))]))


def _cleanest(shift: float) -> NoiseLevels:
    import torch

    return noise_levels(torch.zeros(1), history=torch.ones(1, dtype=torch.bool), shift=shift)
