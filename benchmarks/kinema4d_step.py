"""One guided step of Kinema4D beside a plain implementation of what the original does.

The plain one calls the same network twice on the condition with the robot in it once and twice, embeds the text, makes
the robot's tokens, and projects keys and values of robot and image anew in every block of every call; its rotary
embedding is complex128. Ours makes what stays the same once a clip; the clock is over one step of a clip that was
prepared, and preparing is told beside it. Both compute the same velocity (the largest difference is told). They take
turns, so a busy machine slows them alike.

    python benchmarks/kinema4d_step.py                     a mid-size network on the CPU
    python benchmarks/kinema4d_step.py --device cuda       the published size with random bf16 weights, and the GPU's
                                                           matrix multiplication beside it
"""

import argparse
import statistics
import time
from collections.abc import Callable
from dataclasses import dataclass

import torch
from measure import report
from torch import Tensor, nn
from torch.nn import functional

from fourd_ros.world_model.kinema4d.blocks import Block, modulated, modulations
from fourd_ros.world_model.kinema4d.flow import guided
from fourd_ros.world_model.kinema4d.layout import CONDITION_CHANNELS, LATENT_CHANNELS, PATCH
from fourd_ros.world_model.kinema4d.rotary import rotary_table
from fourd_ros.world_model.kinema4d.transformer import Clip, Kinema4DTransformer, TransformerConfig

GUIDANCE = 5.0
IMAGE_TOKENS, TEXT_TOKENS, TEXT_DIM = 257, 512, 4096
MID_SIZE = TransformerConfig(
    num_attention_heads=8,
    attention_head_dim=128,
    num_layers=6,
    ffn_dim=2816,
    frames=3,
    rows=30,
    columns=30,
)
MATMUL = 8192


@dataclass(frozen=True, kw_only=True)
class Inputs:
    """Of one step of one clip."""

    latents: Tensor
    condition: Tensor
    robot: Tensor
    image: Tensor
    text: Tensor
    time: Tensor


def main() -> None:
    """Print the table."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--device", default="cpu")
    parser.add_argument("--repeats", type=int, default=3)
    args = parser.parse_args()
    report("kinema4d_step", _rows(torch.device(args.device), args.repeats))


@torch.inference_mode()
def _rows(device: torch.device, repeats: int) -> list[dict[str, object]]:
    gpu = device.type == "cuda"
    config, dtype = (TransformerConfig(), torch.bfloat16) if gpu else (MID_SIZE, torch.float32)
    torch.manual_seed(0)
    with device:
        network = Kinema4DTransformer(config).to(dtype).eval()
        text = nn.Sequential(nn.Linear(TEXT_DIM, config.dim), nn.GELU("tanh"), nn.Linear(config.dim, config.dim))
        given = _inputs(config, dtype)
    for parameter in network.parameters():
        if parameter.ndim > 1:
            nn.init.normal_(parameter, std=0.02)
    network, text = network.to(device), text.to(device, dtype)
    table = rotary_table(
        frames=config.frames, rows=config.rows // PATCH, columns=config.columns, head_dim=config.attention_head_dim
    ).to(device)

    def prepare() -> tuple[Clip, list[Tensor]]:
        clip = network.understand(given.robot, given.image)
        return clip, [network.show_robot(given.condition, given.robot, times=times) for times in (1, 2)]

    def ours() -> Tensor:
        return guided(*(network(given.latents, shown, given.time, clip) for shown in both), GUIDANCE)

    def plain() -> Tensor:
        return guided(*_plain_passes(network, text, given, table), GUIDANCE)

    clip, both = prepare()
    difference = float((ours() - plain()).abs().max())
    took = _in_turn({"ours": ours, "plain": plain, "prepare": prepare}, device, repeats)
    tokens = config.frames * (config.rows // PATCH) * config.columns
    row: dict[str, object] = {
        "what": "a guided step",
        "device": torch.cuda.get_device_name() if gpu else "cpu",
        "parameters": sum(parameter.numel() for parameter in network.parameters()),
        "tokens": tokens,
        "steps": repeats,
        "ours_ms": 1e3 * took["ours"],
        "plain_ms": 1e3 * took["plain"],
        "ratio": took["ours"] / took["plain"],
        "prepare_ms": 1e3 * took["prepare"],
        "largest_difference_e6": 1e6 * difference,
    }
    if gpu:
        rate = _matmul_rate(device)
        row |= {
            "tokens_per_second": 2 * tokens / took["ours"],
            "peak_gib": torch.cuda.max_memory_allocated() / 2**30,
            "matmul_tflops": rate / 1e12,
            "share_of_matmul": 2 * _operations(config, tokens) / took["ours"] / rate,
        }
    return [row]


def _inputs(config: TransformerConfig, dtype: torch.dtype) -> Inputs:
    shape = (config.frames, config.rows, 2 * config.columns)
    return Inputs(
        latents=torch.randn(1, LATENT_CHANNELS, *shape),
        condition=torch.randn(1, CONDITION_CHANNELS, *shape).to(dtype),
        robot=torch.randn(1, CONDITION_CHANNELS, *shape).to(dtype),
        image=torch.randn(1, IMAGE_TOKENS, config.image_dim).to(dtype),
        text=torch.randn(1, TEXT_TOKENS, TEXT_DIM).to(dtype),
        time=torch.tensor([937]),
    )


def _plain_passes(network: Kinema4DTransformer, text: nn.Module, given: Inputs, table: Tensor) -> list[Tensor]:
    """Two whole passes over an input that the first one changes."""
    hidden = torch.cat([given.latents.to(network.dtype), given.condition], dim=1)
    velocities = []
    for _ in range(2):
        kept = network.show_robot(hidden[:, LATENT_CHANNELS:], given.robot, times=1)
        hidden[:, LATENT_CHANNELS:] = kept
        velocities.append(_plain_pass(network, text, given, hidden, table))
    return velocities


def _plain_pass(network: Kinema4DTransformer, text: nn.Module, given: Inputs, hidden: Tensor, table: Tensor) -> Tensor:
    text(given.text)
    image = network.condition_embedder.image_embedder(given.image)
    robot = network.robot_tokens(given.robot)
    patches = network.patch_embedding(hidden)
    tokens = network._in_domains(patches).flatten(2).transpose(1, 2)
    time, modulation = network.condition_embedder.time(given.time)
    for block in network.blocks:
        tokens = _plain_block(block, tokens, modulation, table, robot, image)
    shift, scale = modulations(network.scale_shift_table, time[:, None])
    out = network.proj_out(modulated(network.norm_out, tokens, shift, scale))
    frames, rows, columns = patches.shape[2:]
    tiles = out.unflatten(-1, (PATCH, PATCH, LATENT_CHANNELS)).unflatten(1, (frames, rows, columns))
    return tiles.permute(0, 6, 1, 2, 4, 3, 5).reshape(1, LATENT_CHANNELS, frames, PATCH * rows, PATCH * columns)


def _plain_block(
    block: Block, tokens: Tensor, modulation: Tensor, table: Tensor, robot: Tensor, image: Tensor
) -> Tensor:
    shift, scale, gate, late_shift, late_scale, late_gate = (block.scale_shift_table + modulation.float()).chunk(6, 1)
    normal = (block.norm1(tokens.float()) * (1 + scale) + shift).type_as(tokens)
    attention = block.attn1
    queries, keys, values = (
        part.unflatten(-1, (attention.heads, -1)).transpose(1, 2)
        for part in (
            attention.norm_q(attention.to_q(normal)),
            attention.norm_k(attention.to_k(normal)),
            attention.to_v(normal),
        )
    )
    looked = functional.scaled_dot_product_attention(_turned(queries, table), _turned(keys, table), values)
    attended = attention.to_out[0](looked.transpose(1, 2).flatten(2))
    tokens = (tokens.float() + attended * gate).type_as(tokens)
    normal = block.norm2(tokens.float()).type_as(tokens)
    tokens = tokens + block.attn2(normal, block.attn2.lookup(robot, image))
    normal = (block.norm3(tokens.float()) * (1 + late_scale) + late_shift).type_as(tokens)
    return (tokens.float() + block.ffn(normal).float() * late_gate).type_as(tokens)


def _turned(channels: Tensor, table: Tensor) -> Tensor:
    pairs = torch.view_as_complex(channels.to(torch.float64).unflatten(-1, (-1, 2)))
    return torch.view_as_real(pairs * table).flatten(-2).type_as(channels)


def _in_turn(jobs: dict[str, Callable[[], object]], device: torch.device, repeats: int) -> dict[str, float]:
    """Median seconds of each, after one round to warm up."""
    seconds: dict[str, list[float]] = {name: [] for name in jobs}
    for turn in range(repeats + 1):
        for name, job in jobs.items():
            began = time.perf_counter()
            job()
            if device.type == "cuda":
                torch.cuda.synchronize()
            if turn:
                seconds[name].append(time.perf_counter() - began)
    return {name: statistics.median(values) for name, values in seconds.items()}


def _operations(config: TransformerConfig, tokens: int) -> float:
    """Of one pass: two for every weight of the blocks that a token meets, and the attention."""
    weights = config.num_layers * (6 * config.dim**2 + 2 * config.dim * config.ffn_dim)
    return 2 * tokens * weights + 4 * config.num_layers * tokens**2 * config.dim


def _matmul_rate(device: torch.device) -> float:
    """Operations a second of one large product in bf16."""
    left, right = (torch.randn(MATMUL, MATMUL, device=device, dtype=torch.bfloat16) for _ in range(2))
    took = _in_turn({"product": lambda: left @ right}, device, 20)
    return 2 * MATMUL**3 / took["product"]


if __name__ == "__main__":
    main()
