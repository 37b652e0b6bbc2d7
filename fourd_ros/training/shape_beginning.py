"""Weights that a shape autoencoder begins with: a place asks the tokens near it from the first step on.

With weights that know nothing, the decoder finds out late which token is where; see docs/compositional.md.
"""

import numpy as np
import torch

from fourd_ros.compositional.attention import Attention
from fourd_ros.compositional.shape_vae import ShapeVae
from fourd_ros.compositional.sizes import VaeSizes

COORDINATES = 3
WAVE = 1
"""Of the waves of a position, the one that latents carry: its period is a little more than the cube's side."""

LATENT_SCALE = 0.4
"""Of features that the encoder normalised, so that latents have about their size."""

SHARED_GAIN = 3.0
"""Of features of a place that latents have, over the finer ones that they have not."""

QUIET = 0.3
"""Of what blocks add, so that positions arrive."""

SHARPNESS = (2.0, 6.0)
"""Gain of queries and of keys, of the first and of the last head."""


def begin_locally(vae: ShapeVae) -> None:
    """Let latents carry positions and normals, and places look at tokens by how near they are.

    Args:
        vae: new; its shape stays as it is.
    """
    with torch.no_grad():
        for block in [*vae.encoder.blocks, *vae.decoder.blocks[:-1]]:
            attention = block.attn1 if hasattr(block, "attn1") else block.attn2
            attention.to_out[0].weight *= QUIET
            block.ff.net[2].weight *= QUIET
        positions, normals = _features(vae.sizes)
        carried = [*positions, *normals][: vae.sizes.latent_channels]
        places = positions[: len(carried)]
        vae.quant.weight[: len(carried)] = LATENT_SCALE * torch.linalg.pinv(vae.encoder.proj_in.weight)[carried]
        vae.quant.bias[: len(carried)] = 0
        asked = vae.decoder.proj_query.weight
        asked[:, places] *= SHARED_GAIN
        vae.post_quant.weight[:, : len(places)] = asked[:, places]
        _look_by_likeness(vae.decoder.look_block.attn2)


def _features(sizes: VaeSizes) -> tuple[list[int], list[int]]:
    """Which features of a point are its position and the chosen wave of it, and which are its normal."""
    waves = sizes.embed_frequency
    sines = [COORDINATES + axis * waves + min(WAVE, waves - 1) for axis in range(COORDINATES)]
    cosines = [feature + COORDINATES * waves for feature in sines]
    normals = COORDINATES * (1 + 2 * waves)
    return [*range(COORDINATES), *sines, *cosines], list(range(normals, normals + COORDINATES))


def _look_by_likeness(attention: Attention) -> None:
    """Give keys the weights of queries, the more of them the further the head; see `Attention` for which rows."""
    queries = torch.unflatten(attention.to_q.weight, 0, (attention.heads, -1))
    queries *= torch.from_numpy(np.geomspace(*SHARPNESS, attention.heads))[:, None, None].to(queries)
    joined = torch.cat([attention.to_k.weight, attention.to_v.weight])
    torch.unflatten(joined, 0, (attention.heads, -1))[:, : queries.shape[1]] = queries
    keys, values = joined.chunk(2)
    attention.to_k.weight.copy_(keys)
    attention.to_v.weight.copy_(values)
