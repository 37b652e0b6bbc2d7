"""Poses of cameras in three ways, their encoding, and points behind pixels."""

from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from fourd_ros.geometry.transforms import from_parts, rotation_from_quaternion, to_quaternion
from fourd_ros.scene_language.dense_head import depth_and_confidence
from fourd_ros.scene_language.lifting import lift, shown_from, sure_pixels
from fourd_ros.scene_language.pose_encoding import decode_intrinsics, decode_poses, encode_poses
from fourd_ros.scene_language.token_cache import KeepAll
from fourd_ros.verify.checks import check
from fourd_ros.verify.comparison import Comparison
from fourd_ros.verify.langvggt.folder import SYSTEM, compare_all, geometry, image, language, numpy_of, whole_clip
from fourd_ros.verify.langvggt.geometry import keys_and_values, step_by_step
from fourd_ros.verify.vectors import Tensors, VectorFolder

DENSE = "dpt.safetensors"


@check(SYSTEM, "camera.safetensors")
@torch.no_grad()
def cameras(folder: VectorFolder, vectors: Tensors, compare: Comparison) -> None:
    """All frames at once, streamed as in the original, and every frame alone."""
    head = geometry(folder).camera_head
    assert head is not None
    frames, _ = step_by_step(folder, image(folder), KeepAll())
    shared = [KeepAll().camera_cache(entries=head.iterations) for _ in head.trunk]
    with keys_and_values(head.trunk) as seen:
        streamed = [head.step(frame.camera, caches=[shared] * head.iterations) for frame in frames]
    full, stream = head(whole_clip(folder).camera), torch.cat(streamed, dim=2)
    ways = {
        "full": full[-1],
        "stream": stream[-1],
        "framewise": torch.cat([head(frame.camera)[-1] for frame in frames], dim=1),
    }
    computed: dict[str, Any] = {
        "pose_enc_full_iters": full,
        "pose_enc_stream_iters": stream,
        "camera_cache_k_layer0": torch.cat([keys for keys, _ in seen[0]], dim=2)[:, :, :, None],
        **_encodings(folder, vectors),
    }
    for name, encodings in ways.items():
        poses, intrinsics = _decoded(folder, encodings)
        computed |= {f"pose_enc_{name}": encodings, f"extrinsics_{name}": poses[..., :3, :]}
        computed[f"intrinsics_{name}"] = intrinsics
    compare_all(vectors, compare, computed)


@check(SYSTEM, "unproject.safetensors")
@torch.no_grad()
def unproject(folder: VectorFolder, vectors: Tensors, compare: Comparison) -> None:
    """Points behind all pixels, and what the original exports of the first frame."""
    network, tokens = geometry(folder), whole_clip(folder)
    assert network.depth_head is not None and network.camera_head is not None
    depth = numpy_of(depth_and_confidence(network.depth_head(tokens))[0])[0]
    poses, intrinsics = _decoded(folder, network.camera_head(tokens.camera)[-1])
    points = lift(depth[..., 0].astype(np.float64), intrinsics=intrinsics[0], T_camera_world=poses[0])
    sure = sure_pixels(folder.load(DENSE)["depth_conf"][0, 0])  # rounding must not change which pixels are kept
    local, shown = points[0][sure], shown_from(poses[0, 0])
    colours = numpy_of(language(folder)(tokens.frames(slice(0, 1))).colours)[0, 0].transpose(1, 2, 0)[sure]
    opaque = np.full((len(local), 1), 255, np.uint8)
    computed = {
        "world_points_from_depth": points,
        "glb_vertices_local": local,
        "glb_vertices_scene": local @ shown[:3, :3].T + shown[:3, 3],
        "glb_node_transform": shown,
        "glb_colors": np.concatenate([(colours * 255).astype(np.uint8), opaque], axis=1),
    }
    compare_all(vectors, compare, computed)


def _decoded(folder: VectorFolder, encodings: Tensor) -> tuple[NDArray[np.float64], NDArray[np.float64]]:
    """Poses and camera matrices."""
    height, width = image(folder).shape[-2:]
    given = numpy_of(encodings)
    return decode_poses(given), decode_intrinsics(given, height=height, width=width)


def _encodings(folder: VectorFolder, vectors: Tensors) -> dict[str, Any]:
    """Rotations and encodings of what is given."""
    height, width = image(folder).shape[-2:]
    given = vectors["enc_extrinsics_in"]
    rotations = from_parts(vectors["mat_in"], np.zeros((*vectors["mat_in"].shape[:-2], 3)))
    return {
        **{name: vectors[name] for name in ("quat_in", "mat_in", "enc_extrinsics_in", "enc_intrinsics_in")},
        "quat_to_mat_out": rotation_from_quaternion(vectors["quat_in"]),
        "mat_to_quat_out": to_quaternion(rotations)[1],
        "enc_out": encode_poses(
            from_parts(given[..., :3], given[..., 3]), vectors["enc_intrinsics_in"], height=height, width=width
        ),
    }
