"""A stream through the compact geometry network (140 x 112 pixels, random weights), by what is remembered: everything,
a window with the first frame, or a budget of tokens. Beside it, what the caches of the published network take at
518 x 392 in bfloat16: one layer of each kind is filled and counted as often as there are.

The clock is over one step: pose and depth of one frame; a row apart adds the language head. The policies take turns at
every frame, so a busy machine slows them alike. "Late" is around five sixths of the stream, "early" around a twelfth
(frames 500 and 50 of 600).
"""

import argparse
import os
import sys
import time
from collections.abc import Mapping, Sequence

import numpy as np
import torch
from measure import percentiles, report

from fourd_ros.scene_language.geometry_stream import GeometryStream
from fourd_ros.scene_language.sizes import GeometrySizes
from fourd_ros.scene_language.token_cache import CachePolicy, KeepAll, KeepBudget, KeepWindow, LayerCache
from fourd_ros.training.scene_language import SceneLanguageConfig, SceneLanguageTask, SceneNetwork

HEIGHT, WIDTH = 112, 140
TOKENS = 1 + 4 + (HEIGHT // 14) * (WIDTH // 14)
POLICIES: dict[str, CachePolicy] = {
    "everything": KeepAll(),
    "window": KeepWindow(frames=7),
    "budget": KeepBudget(tokens=8 * TOKENS),
}
FULL_SIZE: dict[str, CachePolicy] = {"window": KeepWindow(), "budget": KeepBudget()}
FULL_TOKENS, FULL_FRAMES = 1 + 4 + 37 * 28, 30
AROUND = 20


def main() -> None:
    """Print the table."""
    if "OMP_WAIT_POLICY" not in os.environ:  # torch reads it when it is imported
        os.execve(sys.executable, [sys.executable, *sys.argv], {**os.environ, "OMP_WAIT_POLICY": "PASSIVE"})
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--frames", type=int, default=600, help="of each stream (default 600)")
    args = parser.parse_args()
    torch.manual_seed(0)
    network = SceneLanguageTask(SceneLanguageConfig()).network().eval()
    report("streaming_geometry", [*stream_rows(network, args.frames), *full_size_rows()])


def stream_rows(network: SceneNetwork, frames: int) -> list[Mapping[str, object]]:
    """Times and memory of streams that go on side by side."""
    streams = {name: GeometryStream(network.geometry, policy=policy) for name, policy in POLICIES.items()}
    times: dict[str, list[float]] = {name: [] for name in (*streams, "with language")}
    images = torch.rand(frames, 1, 3, HEIGHT, WIDTH)
    for picture in images:
        for name, stream in streams.items():
            begin = time.perf_counter()
            frame = stream.step(picture)
            passed = time.perf_counter() - begin
            times[name].append(1e3 * passed)
            if name == "window":
                with torch.inference_mode():
                    network.language(frame.tokens)
                times["with language"].append(1e3 * (time.perf_counter() - begin))
    return [
        {
            "what": name,
            "frames": frames,
            "time_ms": percentiles(values),
            "frames_per_s": 1e3 / float(np.median(values)),
            "late_over_early": late_over_early(values),
            "cache_mb": streams[name].byte_count / 1e6 if name in streams else None,
        }
        for name, values in times.items()
    ]


def late_over_early(values: Sequence[float]) -> float:
    """Ratio of medians of frames around five sixths and around a twelfth of the stream."""
    around = min(AROUND, len(values) // 12)
    early, late = (round(share * len(values)) for share in (1 / 12, 5 / 6))
    first, last = (np.median(values[middle - around // 2 : middle + around // 2 + 1]) for middle in (early, late))
    return float(last / first)


def full_size_rows() -> list[Mapping[str, object]]:
    """Memory of the published network's caches."""
    sizes = GeometrySizes()
    head, camera = sizes.embed_dim // sizes.num_heads, 2 * sizes.embed_dim // sizes.camera_heads
    rows: list[Mapping[str, object]] = []
    for name, policy in FULL_SIZE.items():
        layer = filled(policy.token_cache(0), heads=sizes.num_heads, tokens=FULL_TOKENS, channels=head)
        block = filled(policy.camera_cache(entries=1), heads=sizes.camera_heads, tokens=1, channels=camera)
        count = sizes.depth * layer + sizes.camera_depth * sizes.camera_iterations * block
        rows.append({"what": f"full size, {name}", "cache_gb": count / 1e9})
    return rows


def filled(cache: LayerCache, *, heads: int, tokens: int, channels: int) -> int:
    """Bytes that a cache takes when it has seen more frames than it remembers."""
    for _ in range(FULL_FRAMES):
        keys = torch.rand(1, heads, tokens, channels).to(torch.bfloat16)
        cache.append(keys, keys)
        cache.settle()
    return cache.byte_count


if __name__ == "__main__":
    main()
