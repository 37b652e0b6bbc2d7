"""The geometry network: its tokens, at once and streamed, and its heads."""

import re
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from typing import Any

import torch
from torch import Tensor, nn

from fourd_ros.scene_language.aggregator import FrameTokens
from fourd_ros.scene_language.attention import Attention
from fourd_ros.scene_language.dense_head import depth_and_confidence, points_and_confidence
from fourd_ros.scene_language.key_redundancy import layer_budgets, least_redundant
from fourd_ros.scene_language.place_waves import place_grid, place_waves
from fourd_ros.scene_language.rotary import Rotation
from fourd_ros.scene_language.token_cache import CachePolicy, KeepAll, KeepWindow, LayerCache
from fourd_ros.verify.checks import check
from fourd_ros.verify.comparison import Comparison
from fourd_ros.verify.langvggt.folder import (
    SYSTEM,
    compare_all,
    facts,
    geometry,
    image,
    meanings,
    settings,
    streamed,
    torch_of,
    whole_clip,
)
from fourd_ros.verify.vectors import Tensors, VectorFolder

_ANCHORED = re.compile(r"first (\d+) tokens")


@check(SYSTEM, "inputs.safetensors")
def inputs(_: VectorFolder, vectors: Tensors, compare: Comparison) -> None:
    """They are given."""
    compare_all(vectors, compare, vectors)


@check(SYSTEM, "patch_embed.safetensors")
@torch.no_grad()
def patch_embed(folder: VectorFolder, vectors: Tensors, compare: Comparison) -> None:
    """DINOv2 on frames and on a square image, and rotary positions."""
    network = geometry(folder)
    sizes, patches = network.sizes, network.aggregator.patch_embed
    images = _normalised(folder, image(folder)[0])
    before, after = patches.before_blocks(images), patches.everything(images)
    turned = Rotation.of(
        torch_of(vectors["rope_pos"][0]), channels=vectors["rope_in"].shape[-1], frequency=sizes.rope_frequency
    ).turn(torch_of(vectors["rope_in"]))
    computed = {
        "dino_tokens_in": before,
        "pos_embed_interp": patches.positions(*(side // sizes.patch_size for side in images.shape[-2:])),
        "dino_block0_out": patches.blocks[0](before),
        "patch_tokens": patches(images),
        "cls_token": after[:, 0],
        "patch_tokens_square": patches(_normalised(folder, image(folder, "image_square")[0])),
        "rope_in": vectors["rope_in"],
        "rope_pos": vectors["rope_pos"],
        "rope_out": turned,
    }
    compare_all(vectors, compare, computed)


@check(SYSTEM, "aggregator_full.safetensors")
@torch.no_grad()
def aggregator_full(folder: VectorFolder, vectors: Tensors, compare: Comparison) -> None:
    """Every layer, all frames at once; and two clips in one batch."""
    last = geometry(folder).sizes.depth - 1
    computed = {f"layer{number}": tokens for number, tokens in whole_clip(folder).layers.items()}
    if "b2_last" in vectors:
        batch = geometry(folder).aggregator(image(folder, "images_b2"), layers=[last])
        computed["b2_last"] = batch.layers[last]
    compare_all(vectors, compare, computed)


@check(SYSTEM, "aggregator_stream.safetensors")
def aggregator_stream(folder: VectorFolder, vectors: Tensors, compare: Comparison) -> None:
    """Every layer, frame by frame; keys and values before norm and turn."""
    blocks = geometry(folder).aggregator.global_blocks
    last = len(blocks) - 1
    with keys_and_values(blocks) as seen:
        frames, _ = step_by_step(folder, image(folder), KeepAll())
    computed = {f"layer{number}": _layer(frames, number) for number in range(last + 1)}
    for name, block in (("layer0", 0), ("last", last)):
        for place, part in enumerate("kv"):
            computed[f"cache_{part}_{name}"] = torch.stack([pair[place] for pair in seen[block]], dim=2)
    compare_all(vectors, compare, computed)


@check(SYSTEM, "aggregator_window.safetensors")
def aggregator_window(folder: VectorFolder, vectors: Tensors, compare: Comparison) -> None:
    """The window of the original, which forgets the first frame first."""
    _windowed(folder, vectors, compare, KeepWindow(frames=settings(folder)["max_num"], anchor=False))


@check(SYSTEM, "aggregator_anchor_window.safetensors")
def aggregator_anchor_window(folder: VectorFolder, vectors: Tensors, compare: Comparison) -> None:
    """The window that keeps the first frame; how long it is, its number of frames says."""
    frames = max(1, int(vectors["cached_frames_after"].max()) - 1)
    _windowed(folder, vectors, compare, KeepWindow(frames=frames))


@check(SYSTEM, "bounded_cache_reference.safetensors")
def bounded_cache(folder: VectorFolder, vectors: Tensors, compare: Comparison) -> None:
    """What a budget keeps, beside the tokens of the anchor, whose number the manifest tells."""
    keys, values = torch_of(vectors["k"]), torch_of(vectors["v"])
    budget = vectors["k_kept"].shape[2]
    computed: dict[str, Any] = dict(vectors)
    anchored = _ANCHORED.search(meanings(folder, compare.file)["k_kept"])
    assert anchored is not None
    first = int(anchored[1])
    kept, computed["mean_similarity"] = least_redundant(keys[:, :, first:], budget - first)
    for name, memory in (("k_kept", keys), ("v_kept", values)):
        place = kept[..., None].expand(-1, -1, -1, memory.shape[-1])
        computed[name] = torch.cat([memory[:, :, :first], memory[:, :, first:].gather(2, place)], dim=2)
    for name in vectors:
        if name.startswith("budgets_total"):
            computed[name] = layer_budgets(vectors["last_scores"].tolist(), int(name.removeprefix("budgets_total")))
    compare_all(vectors, compare, computed)


@check(SYSTEM, "dpt.safetensors")
@torch.no_grad()
def dense_heads(folder: VectorFolder, vectors: Tensors, compare: Comparison) -> None:
    """Depth and points, every stage of the depth head on the first frame, waves of places, activations."""
    network, tokens = geometry(folder), whole_clip(folder)
    head = network.depth_head
    assert head is not None
    first = tokens.frames(slice(0, 1))
    watched: dict[str, nn.Module] = {
        **{f"depth_resized{level}_frame0": module for level, module in enumerate(head.resize_layers)},
        **{f"depth_refinenet{n}_frame0": head.scratch.get_submodule(f"refinenet{n}") for n in range(1, 5)},
        "depth_output_conv1_frame0": head.scratch.output_conv1,
    }
    with outputs_of(watched) as stages:
        raw = head(first)
    (height, width), size = tokens.image_size, network.sizes.patch_size
    grid, aspect = (height // size, width // size), width / height
    given = torch_of(vectors["act_raw"])[:, None]
    computed: dict[str, Any] = {**stages, "depth_raw_frame0": raw[:, 0], "act_raw": vectors["act_raw"]}
    computed["depth"], computed["depth_conf"] = depth_and_confidence(head(tokens))
    if network.point_head is not None:
        computed["world_points"], computed["world_points_conf"] = points_and_confidence(network.point_head(tokens))
    computed["uv_grid"] = place_grid(*grid, aspect=aspect)
    for name, activated, raw_channels in (
        ("act_inv_log", points_and_confidence, given),
        ("act_exp", depth_and_confidence, given[:, :, :2]),
    ):
        computed[name], computed[f"{name}_conf"] = (each[:, 0] for each in activated(raw_channels))
    for name in vectors:
        if name.startswith("uv_embed"):
            channels = int(name.removeprefix("uv_embed"))
            computed[name] = place_waves(channels, *grid, aspect=aspect).movedim(0, -1)
    compare_all(vectors, compare, computed)


@check(SYSTEM, "track.safetensors")
@torch.no_grad()
def track(folder: VectorFolder, vectors: Tensors, compare: Comparison) -> None:
    """Tracks of points of the first frame."""
    head = geometry(folder).track_head
    assert head is not None
    made = head(whole_clip(folder), torch_of(vectors["query_points"]))
    computed = {
        "query_points": vectors["query_points"],
        "tracks_iters": made.places,
        "vis": made.visible,
        "conf": made.confidence,
    }
    compare_all(vectors, compare, computed)


@check(SYSTEM, "api_inference.safetensors")
def inference(folder: VectorFolder, vectors: Tensors, compare: Comparison) -> None:
    """What a stream says of the last frame, and the poses of all."""
    _, frames = streamed(folder, image(folder), KeepAll(), points=True)
    last = frames[-1]
    assert last.depth is not None and last.depth_confidence is not None
    assert last.points is not None and last.points_confidence is not None
    computed = {
        "pts3d": last.points[:, None],
        "conf": last.points_confidence[:, None],
        "depth": last.depth[:, None, ..., None],
        "depth_conf": last.depth_confidence[:, None],
        "camera_pose": torch.stack([frame.pose for frame in frames], dim=1),
    }
    compare_all(vectors, compare, computed)


@torch.no_grad()
def step_by_step(folder: VectorFolder, images: Tensor, policy: CachePolicy) -> tuple[list[FrameTokens], list[int]]:
    """Tokens of all layers of frames that come one by one, and how many frames are remembered after each."""
    aggregator, layers = geometry(folder).aggregator, range(geometry(folder).sizes.depth)
    caches: list[LayerCache] = [policy.token_cache(layer) for layer in layers]
    frames, remembered = [], []
    for number, frame in enumerate(images.unbind(1)):
        frames.append(aggregator.step(frame, caches=caches, first=number == 0, layers=layers))
        for cache in caches:
            cache.settle()
        remembered.append(caches[0].tokens // frames[-1].layers[0].shape[2])
    return frames, remembered


@contextmanager
def keys_and_values(blocks: nn.ModuleList) -> Iterator[list[list[tuple[Tensor, Tensor]]]]:
    """Keys and values [B, h, N, d] of blocks, by block, for every time that it is called, before norm and turn."""
    seen: list[list[tuple[Tensor, Tensor]]] = [[] for _ in blocks]

    def keep(number: int, heads: int) -> Any:
        def hook(_module: nn.Module, _given: Any, made: Tensor) -> None:
            _, keys, values = torch.unflatten(made, -1, (3, heads, -1)).permute(2, 0, 3, 1, 4)
            seen[number].append((keys, values))

        return hook

    attentions = [module for block in blocks for module in block.modules() if isinstance(module, Attention)]
    hooks = [one.qkv.register_forward_hook(keep(number, one.heads)) for number, one in enumerate(attentions)]
    try:
        yield seen
    finally:
        for hook in hooks:
            hook.remove()


@contextmanager
def outputs_of(modules: dict[str, nn.Module]) -> Iterator[dict[str, Tensor]]:
    """What modules gave when they were called last."""
    seen: dict[str, Tensor] = {}

    def keep(name: str) -> Any:
        return lambda _module, _given, made: seen.update({name: made})

    hooks = [module.register_forward_hook(keep(name)) for name, module in modules.items()]
    try:
        yield seen
    finally:
        for hook in hooks:
            hook.remove()


def _windowed(folder: VectorFolder, vectors: Tensors, compare: Comparison, policy: CachePolicy) -> None:
    frames, remembered = step_by_step(folder, image(folder), policy)
    last = geometry(folder).sizes.depth - 1
    compare_all(vectors, compare, {"last_layer": _layer(frames, last), "cached_frames_after": remembered})


def _layer(frames: Sequence[FrameTokens], layer: int) -> Tensor:
    return torch.cat([frame.layers[layer] for frame in frames], dim=1)


def _normalised(folder: VectorFolder, images: Tensor) -> Tensor:
    given = facts(folder)["image_normalisation"]
    mean, std = (torch.tensor(given[name]).view(3, 1, 1) for name in ("mean", "std"))
    return (images - mean) / std
