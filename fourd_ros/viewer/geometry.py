"""Points and meshes of a page as quantised binary blocks that a browser hands to WebGL unchanged."""

import base64
from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from fourd_ros.records import Points
from fourd_ros.viewer.content import (
    LABEL_FIRST_OBJECT,
    LABEL_UNKNOWN,
    Candidate,
    Cloud,
    LinkMesh,
)

SIGMA_LIMIT = 0.05
"""Spread with the last colour [m]."""
_SIGMA_UNKNOWN = 255

POINT_LAYOUT = np.dtype(
    [
        ("position", "<u2", 3),
        ("rgb", "u1", 3),
        ("label", "u1"),
        ("sigma", "u1"),
        ("padding", "u1"),
    ]
)
"""One point: 12 bytes; ``cloud.js`` reads the same layout."""


@dataclass(frozen=True, kw_only=True)
class Box:
    """The box that positions are quantised in: position = low + code / 65535 * size, in metres."""

    low: NDArray[np.float64]
    size: NDArray[np.float64]

    @classmethod
    def around(cls, clouds: Sequence[Cloud]) -> "Box":
        """The smallest box around all points of all clouds, never flat."""
        filled = [cloud.points for cloud in clouds if len(cloud.points)]
        if not filled:
            return cls(low=np.zeros(3), size=np.ones(3))
        low = np.min([points.min(0) for points in filled], axis=0).astype(np.float64)
        high = np.max([points.max(0) for points in filled], axis=0).astype(np.float64)
        return cls(low=low, size=np.maximum(high - low, 1e-3))

    def encode(self, points: Points) -> NDArray[np.uint16]:
        """Codes of shape [N, 3]; points outside are moved to its faces."""
        unit = np.clip((points - self.low) / self.size, 0, 1)
        return np.rint(unit * 65535).astype(np.uint16)


def pack_cloud(cloud: Cloud, box: Box) -> dict[str, object]:
    """One cloud in `POINT_LAYOUT`."""
    packed = np.zeros(len(cloud.points), dtype=POINT_LAYOUT)
    packed["position"] = box.encode(cloud.points)
    packed["rgb"] = cloud.rgb
    packed["label"] = np.minimum(cloud.label, 255)
    known = np.isfinite(cloud.sigma)
    code = np.rint(np.clip(np.where(known, cloud.sigma, 0) / SIGMA_LIMIT, 0, 1) * (_SIGMA_UNKNOWN - 1))
    packed["sigma"] = np.where(known, code, _SIGMA_UNKNOWN)
    return {"count": len(packed), "data": _base64(packed)}


def pack_mesh(mesh: LinkMesh) -> dict[str, object]:
    """One link: flat-shaded triangles, float32 positions in the link frame [m]."""
    triangles = np.ascontiguousarray(mesh.triangles, dtype="<f4")
    return {
        "link": mesh.link,
        "colour": list(mesh.colour),
        "count": 3 * len(triangles),
        "data": _base64(triangles),
    }


def pack_candidate(candidate: Candidate, box: Box) -> dict[str, object]:
    """One candidate with its clouds, robot poses (column-major, as WebGL takes them) and tool path."""
    columns_first = np.swapaxes(candidate.link_poses, -1, -2)
    return {
        "name": candidate.name,
        "model": candidate.model,
        "description": candidate.description,
        "times": candidate.times.tolist(),
        "clouds": [pack_cloud(cloud, box) for cloud in candidate.clouds],
        "poses": _base64(np.ascontiguousarray(columns_first, dtype="<f4")),
        "path": _base64(np.ascontiguousarray(candidate.path, dtype="<f4")),
        "stops": _base64(np.ascontiguousarray(candidate.stops, dtype="<f4")),
    }


def label_names(clouds: Sequence[Cloud]) -> dict[str, str]:
    """Names of the labels that occur, by label."""
    seen = sorted({int(label) for cloud in clouds for label in np.unique(cloud.label)})
    fixed = {LABEL_UNKNOWN: "unlabelled", 1: "static scene", 2: "robot"}
    return {str(label): fixed.get(label, f"object {label - LABEL_FIRST_OBJECT + 1}") for label in seen}


def _base64(array: NDArray[np.generic]) -> str:
    return base64.b64encode(array.tobytes()).decode()
