"""Meshes of fields from the whole lattice and from a narrow band around the surface: questions, time, and how far apart
they are.

Three fields: a chair by formula, whose legs are thinner than the cells that the search begins with; a decoder of shapes
with random weights (64 wide, two blocks, 32 tokens, three waves a coordinate, its median taken off so that half of the
cube is inside); and what the shipped autoencoder makes of the chair. The clock is over `extract_surface`, from the
field to the mesh: questions, search and marching cubes; both ways use equal pieces and threads. Chamfer is the mean
distance from the vertices of either mesh to the nearest of the other, both ways added, in voxels of the lattice.
"""

import argparse
import os
import sys
import time
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any

import numpy as np
import torch
from measure import report
from torch import Tensor

from fourd_ros.compositional.field_extraction import extract_surface
from fourd_ros.compositional.field_lattice import BOUND, Field, whole_lattice
from fourd_ros.compositional.model import CompositionalObjects
from fourd_ros.compositional.shape_vae import ShapeVae
from fourd_ros.compositional.sizes import VaeSizes
from fourd_ros.compositional.surface_mesh import SurfaceMesh, sampled
from fourd_ros.evaluation.point_metrics import cloud_distances

RESOLUTIONS = (128, 256)
COMPACT = Path(__file__).resolve().parent.parent / "models" / "compositional_compact"
TOKENS, POINTS = 32, 768


def main() -> None:
    """Print the table."""
    if "OMP_WAIT_POLICY" not in os.environ:  # torch reads it when it is imported
        os.execve(sys.executable, [sys.executable, *sys.argv], {**os.environ, "OMP_WAIT_POLICY": "PASSIVE"})
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--resolutions", type=int, nargs="*", default=RESOLUTIONS, help="of the lattice (128 256)")
    args = parser.parse_args()
    report("field_extraction", [_row(*named, size) for named in _fields() for size in args.resolutions])


def _fields() -> Iterator[tuple[str, Field]]:
    yield "chair", chair
    yield "random decoder", random_decoder()
    yield "compact decoder", decoded_chair()


def _row(name: str, field: Field, resolution: int) -> Mapping[str, Any]:
    dense, narrow = (_measured(field, resolution, dense=dense) for dense in (True, False))
    meshes = dense.pop("mesh"), narrow.pop("mesh")
    return {
        "field": name,
        "resolution": resolution,
        "dense": dense,
        "narrow": narrow,
        "fewer_queries": dense["queries"] / narrow["queries"],
        "faster": dense["seconds"] / narrow["seconds"],
        "chamfer_voxels": _chamfer(*meshes) / (2 * BOUND / resolution),
        "faces": len(meshes[0].faces),
    }


def _measured(field: Field, resolution: int, *, dense: bool) -> dict[str, Any]:
    queries = 0

    def counted(points: Tensor) -> Tensor:
        nonlocal queries
        queries += len(points)
        return field(points)

    start = time.perf_counter()
    mesh = extract_surface(counted, resolution=resolution, dense=dense)
    return {"queries": queries, "seconds": time.perf_counter() - start, "mesh": mesh}


def _chamfer(one: SurfaceMesh, other: SurfaceMesh) -> float:
    return cloud_distances(one.vertices, other.vertices).chamfer(combine="sum")


def chair(queries: Tensor) -> Tensor:
    """A seat, a back and four legs of 1.8 % of the cube's side."""
    legs = [(x, -0.4, z, 0.018, 0.4, 0.018) for x in (-0.3, 0.3) for z in (-0.3, 0.3)]
    boxes = torch.tensor([(0.0, 0.05, 0.0, 0.35, 0.06, 0.35), (0.0, 0.5, -0.33, 0.35, 0.4, 0.02), *legs])
    return torch.stack([-((queries - box[:3]).abs() - box[3:]).amax(dim=1) for box in boxes]).amax(dim=0)


def decoded_chair() -> Field:
    """The chair, from points on it to latents of the shipped model and back."""
    vae = CompositionalObjects.from_folder(COMPACT).vae
    rng = np.random.default_rng(0)
    points, normals = sampled(extract_surface(chair, resolution=128), POINTS, rng=rng)
    seen = torch.from_numpy(np.concatenate([points, normals], axis=1).astype(np.float32))[None]
    with torch.inference_mode():
        latents = vae.encode(seen, tokens=vae.sizes.latent_tokens, rng=rng).mean[0]
    return vae.decode(latents)


def random_decoder() -> Field:
    """A decoder that nobody trained; always the same."""
    torch.manual_seed(0)
    sizes = VaeSizes(
        latent_channels=16,
        num_attention_heads=4,
        width_encoder=64,
        width_decoder=64,
        num_layers_encoder=1,
        num_layers_decoder=2,
        embed_frequency=3,
    )
    field = ShapeVae(sizes).eval().decode(torch.randn(TOKENS, sizes.latent_channels))
    level = float(np.median(whole_lattice(field, 16)))
    return lambda queries: field(queries) - level


if __name__ == "__main__":
    main()
