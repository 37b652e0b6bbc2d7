"""Fields on lattices, the meshes at their zero, and what shapes are measured by."""

import re
from typing import Any

import numpy as np
import torch
from torch import Tensor

from fourd_ros.compositional.field_lattice import Field, grid_surface
from fourd_ros.compositional.official_field import official_field
from fourd_ros.compositional.shape_vae import ShapeVae
from fourd_ros.compositional.surface_mesh import SurfaceMesh
from fourd_ros.errors import InvalidManifest
from fourd_ros.evaluation.point_metrics import cloud_distances
from fourd_ros.evaluation.shape_metrics import PITCH, filled_voxels, voxel_iou
from fourd_ros.model_io.weight_views import GivenWeights
from fourd_ros.model_io.weights import load_weights
from fourd_ros.verify.checks import check
from fourd_ros.verify.comparison import Comparison
from fourd_ros.verify.manifest import NAME
from fourd_ros.verify.tolerance import Tolerance
from fourd_ros.verify.vectors import Tensors, VectorFolder

SYSTEM = "com4d"
VAE = "weights/TripoSG/vae"
CLOSE, IOU = Tolerance(rtol=1e-4, atol=1e-5), Tolerance(atol=0.01)
"""Of numbers; of shares of voxels, since voxelisers may differ. The manifest says both in prose."""

_FORMULA = re.compile(r"f\(x\)=([\d.]+)\*\(1-\|x/\(([\d., ]+)\)\|\)")
_DEPTHS = re.compile(r"depth (\d+)->(\d+)")
_BAND = re.compile(r"band threshold ([\d.]+)")
_FACTOR = re.compile(r"f\*([\d.]+)")


@check(SYSTEM, "extract*.safetensors")
def extraction(folder: VectorFolder, vectors: Tensors, compare: Comparison) -> None:
    """Lattices as the original fills them, and its mesh, whose faces turn inwards."""
    said = {name: tensor["meaning"] for name, tensor in _about(folder, compare.file)["tensors"].items()}
    first, last = (int(number) for number in _found(_DEPTHS, said["ellipsoid_field"]).groups())
    band = float(_found(_BAND, said["ellipsoid_field"])[1])
    steeper = float(_found(_FACTOR, said["ellipsoid_field_steep"])[1])
    field = _ellipsoid(said["ellipsoid_field"])
    compare("ellipsoid_field", official_field(field, first=first, last=last, band=band))
    compare(
        "ellipsoid_field_steep",
        official_field(lambda queries: steeper * field(queries), first=first, last=last, band=band),
    )
    first, last = (int(number) for number in _found(_DEPTHS, said["vae_field"]).groups())
    decoded = _shape_vae(folder).decode(torch.from_numpy(np.array(vectors["vae_z"][0])))
    compare("vae_field", official_field(decoded, first=first, last=last, band=band))
    mesh = grid_surface(np.array(vectors["ellipsoid_field"]))
    compare("mesh_vertices", mesh.vertices)
    compare("mesh_faces", mesh.faces[:, ::-1])


@check(SYSTEM, "metrics*.safetensors")
def metrics(folder: VectorFolder, vectors: Tensors, compare: Comparison) -> None:
    """Distances of points both ways, and filled voxels."""
    distances = cloud_distances(vectors["points1"], vectors["points2"])
    compare("dist12", distances.to_truth, tolerance=CLOSE)
    compare("dist21", distances.from_truth, tolerance=CLOSE)
    compare("chamfer", [distances.chamfer(combine="sum")], tolerance=CLOSE)
    threshold = float(_about(folder, compare.file)["extra"]["threshold"])
    compare("fscore", [distances.f_score(threshold)], tolerance=CLOSE)
    one, other = (
        SurfaceMesh(vertices=vectors[f"{name}_v"].astype(np.float32), faces=vectors[f"{name}_f"].astype(np.int32))
        for name in ("mesh1", "mesh2")
    )
    compare("iou", [voxel_iou(one, other, pitch=PITCH)], tolerance=IOU)
    compare("iou_num_voxels1", [len(filled_voxels(one, pitch=PITCH))])


def _about(folder: VectorFolder, file: str) -> dict[str, Any]:
    """What the manifest says about a file."""
    found: dict[str, Any] = folder.load(NAME)["files"][file]
    return found


def _ellipsoid(meaning: str) -> Field:
    scale, radii = _found(_FORMULA, meaning).groups()
    lengths = torch.tensor([float(number) for number in radii.split(",")])

    def field(queries: Tensor) -> Tensor:
        value: Tensor = float(scale) * (1 - (queries / lengths).norm(dim=-1))
        return value

    return field


def _found(pattern: re.Pattern[str], text: str) -> re.Match[str]:
    found = pattern.search(text)
    if found is None:
        raise InvalidManifest(f"the meaning '{text}' does not say '{pattern.pattern}'; the field cannot be made again")
    return found


def _shape_vae(folder: VectorFolder) -> ShapeVae:
    network = ShapeVae.from_config(folder.load(f"{VAE}/config.json")).eval()
    file = f"{VAE}/diffusion_pytorch_model.safetensors"
    tensors = {name: torch.from_numpy(np.array(array)) for name, array in folder.load(file).items()}
    load_weights(network, GivenWeights(tensors, folder.path(file)))
    return network
