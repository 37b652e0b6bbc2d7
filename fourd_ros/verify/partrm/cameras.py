"""Poses and rays."""

import re

import numpy as np
import torch

from fourd_ros.part_dynamics.rays import orbit_pose, pluecker_rays, ray_directions
from fourd_ros.verify.checks import check
from fourd_ros.verify.comparison import Comparison
from fourd_ros.verify.partrm.folder import SYSTEM, as_numpy, default_poses, meanings
from fourd_ros.verify.vectors import Tensors, VectorFolder

FILE = "cameras/rays.safetensors"
_DEFAULT = re.compile(r"elevation (-?[\d.]+) radius ([\d.]+) fovy ([\d.]+)")
_ORBIT = re.compile(r"elevation (-?[\d.]+) azimuth (-?[\d.]+) radius ([\d.]+)")
_RAYS = re.compile(r"orbit\((-?[\d.]+),(-?[\d.]+),([\d.]+)\).*fovy ([\d.]+)")


@check(SYSTEM, FILE)
def rays(folder: VectorFolder, vectors: Tensors, compare: Comparison) -> None:
    """Whatever the texts of the manifest ask for."""
    texts = meanings(folder, FILE)
    asked = next(match for text in texts.values() if (match := _RAYS.search(text)))
    elevation, azimuth, radius, fovy = (float(number) for number in asked.groups())
    pose = torch.from_numpy(orbit_pose(elevation, azimuth, radius)).float()
    for name, wanted in vectors.items():
        text = texts[name]
        if default := _DEFAULT.search(text):
            tilt, far, angle = (float(number) for number in default.groups())
            compare(name, as_numpy(pluecker_rays(default_poses(tilt, far), size=wanted.shape[-1], fovy=angle)))
        elif orbit := _ORBIT.search(text):
            compare(name, orbit_pose(*(float(number) for number in orbit.groups())))
        elif name == "rays_d":
            compare(name, as_numpy(ray_directions(pose, size=wanted.shape[0], fovy=fovy)))
        else:
            compare(name, np.broadcast_to(as_numpy(pose[:3, 3]), wanted.shape))
