"""From 8 frames with masks and depth of one object at rest and one that moves to placed meshes as messages.

A generated scene of the split `test`, 112 x 112 pixels. The clock is over what the node does with a goal after
decoding: pictures for the network, its image tokens, the scene stage, the motion of all frames in one block, meshes,
their thinning, the placement by depth, poses over time and the messages; two threads. Stages are told apart by what
progress says. Steps and guidance are those of the node. Where `models/compositional_compact` is not there, networks of
its size with random weights take its place, whose shapes are made to be balls; the time of networks does not depend on
weights. Processor time is that of all threads. Memory is the largest resident set of the process.
"""

import argparse
import os
import resource
import sys
import time
from pathlib import Path
from typing import Any

import numpy as np
import torch
from measure import percentiles, report

from fourd_ros.bridge.placed_objects import placed_arrays, placed_markers
from fourd_ros.compositional.filmed_scene import FilmedScene
from fourd_ros.compositional.image_tokens import ImageEncoder
from fourd_ros.compositional.model import CompositionalObjects
from fourd_ros.compositional.placed_objects import FilmOptions, reconstruct_filmed
from fourd_ros.compositional.shape_vae import ShapeVae
from fourd_ros.compositional.sizes import TransformerSizes, VaeSizes
from fourd_ros.compositional.transformer import CompositionalTransformer
from fourd_ros.nodes.object_parameters import CompositionalObjectsParameters
from fourd_ros.simulation.compositional_scenes import CompositionalOptions, film_scene
from fourd_ros.simulation.compositional_splits import compositional_seeds

COMPACT = Path(__file__).resolve().parent.parent / "models" / "compositional_compact"
FRAMES, OBJECTS = 8, 2
PERIOD_NS = 200_000_000


def main() -> None:
    """Print the table."""
    if "OMP_WAIT_POLICY" not in os.environ:  # torch reads it when it is imported
        os.execve(sys.executable, [sys.executable, *sys.argv], {**os.environ, "OMP_WAIT_POLICY": "PASSIVE"})
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--repeats", type=int, default=3)
    parser.add_argument("--model", type=Path, default=COMPACT, help="folder; random networks where it is not there")
    args = parser.parse_args()
    torch.set_num_threads(2)
    shipped = args.model.is_dir()
    model = CompositionalObjects.from_folder(args.model) if shipped else random_model()
    scene, options = two_objects(), CompositionalObjectsParameters().film_options()
    runs, processor = [], []
    for _ in range(args.repeats):
        began = time.process_time()
        runs.append(run(model, scene, options))
        processor.append(time.process_time() - began)
    stages = [name for name in runs[0] if name != "whole"]
    row: dict[str, Any] = {
        "what": "8 frames, 2 objects",
        "weights": "shipped" if shipped else "random",
        "parameters_million": sum(one.numel() for one in _parameters(model)) / 1e6,
        "seconds": percentiles([one["whole"] for one in runs]),
        "processor_s": float(np.median(processor)),
        "stages_s": {name: float(np.median([one[name] for one in runs])) for name in stages},
        "steps": options.scene.steps,
        "peak_rss_mb": resource.getrusage(resource.RUSAGE_SELF).ru_maxrss * 1024 / 1e6,
    }
    report("compositional", [row])


def run(model: CompositionalObjects, scene: FilmedScene, options: FilmOptions) -> dict[str, float]:
    """Seconds of every stage, and of all together."""
    ends: dict[str, float] = {}
    began = time.perf_counter()

    def told(what: str, done: int, steps: int) -> None:
        ends[what] = time.perf_counter()

    made = reconstruct_filmed(model, scene, options, progress=told)
    stamps = [index * PERIOD_NS for index in range(FRAMES)]
    placed_arrays(made, stamps_ns=stamps, frame="camera", T_frame_camera=np.eye(4))
    for index, stamp_ns in enumerate(stamps):
        placed_markers(made, index, stamp_ns=stamp_ns, frame="camera", T_frame_camera=np.eye(4))
    ends["messages"] = time.perf_counter()
    times = np.diff([began, *ends.values()])
    return {"whole": float(times.sum()), **dict(zip(ends, times.tolist(), strict=True))}


def two_objects() -> FilmedScene:
    """The first generated clip of one object at rest and one that moves."""
    from fourd_ros.evaluation.compositional import film_of

    options = CompositionalOptions(frames=FRAMES, points=64, queries=8)
    for seed in compositional_seeds("test", scenes={"clip": 16}):
        facts, arrays = film_scene(seed, "test", options)
        if len(facts.solids) == OBJECTS:
            return film_of(arrays, [solid.moves for solid in facts.solids])
    raise SystemExit("no clip of two objects among the first ones")


def random_model() -> CompositionalObjects:
    """Networks of the size of the compact model."""
    from transformers import Dinov2Config, Dinov2Model

    torch.manual_seed(0)
    vae = ShapeVae(
        VaeSizes(
            latent_channels=16,
            num_attention_heads=4,
            width_encoder=128,
            width_decoder=192,
            num_layers_encoder=3,
            num_layers_decoder=5,
            embed_frequency=7,
            latent_tokens=64,
        )
    )
    make_balls(vae)
    transformer = CompositionalTransformer(
        TransformerSizes(
            num_attention_heads=6,
            width=192,
            in_channels=16,
            num_layers=9,
            cross_attention_dim=128,
            max_num_parts=16,
            max_num_frames=32,
            enable_static_embedding=True,
            enable_dynamic_embedding=True,
            spatial_global_attn_block_ids=(0, 2, 4, 6, 8),
            temporal_global_attn_block_ids=(0, 1, 3, 5, 7),
        )
    )
    images = Dinov2Model(
        Dinov2Config(hidden_size=128, num_hidden_layers=6, num_attention_heads=4, image_size=112, patch_size=14)
    )
    encoder = ImageEncoder(images.train(False), mean=(0.485, 0.456, 0.406), std=(0.229, 0.224, 0.225))
    return CompositionalObjects(transformer=transformer.train(False), vae=vae.train(False), images=encoder)


@torch.no_grad()
def make_balls(vae: ShapeVae) -> None:
    """The field becomes cos x + cos y + cos z beyond a limit, whatever the latents are; all layers still compute."""
    decoder: Any = vae.decoder
    waves, large = vae.sizes.embed_frequency, 100.0
    for layer in (
        decoder.blocks[-1].attn2.to_out[0],
        decoder.blocks[-1].ff.net[2],
        decoder.proj_query,
        decoder.proj_out,
    ):
        layer.weight.zero_()
        layer.bias.zero_()
    slowest = [3 + 3 * waves + axis * waves for axis in range(3)]
    decoder.proj_query.weight[0, slowest], decoder.proj_query.weight[1, slowest] = 1.0, -1.0
    decoder.proj_query.bias[2], decoder.proj_query.bias[3] = large, -large
    decoder.proj_out.weight[0, 0] = -large * float(np.sqrt(2 / vae.sizes.width_decoder))
    decoder.proj_out.bias[0] = 2 + float(np.cos(0.5))


def _parameters(model: CompositionalObjects) -> list[torch.nn.Parameter]:
    return [
        parameter
        for network in (model.transformer, model.vae, model.images.network)
        for parameter in network.parameters()
    ]


if __name__ == "__main__":
    main()
