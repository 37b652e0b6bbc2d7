"""How wrong scene language is on a held-out sequence."""

from collections.abc import Sequence
from dataclasses import asdict, dataclass

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor
from torch.nn.functional import normalize

from fourd_ros.scene_language.pose_encoding import decode_poses
from fourd_ros.training.scene_samples import MAX_THINGS
from fourd_ros.training.task import Batch


@dataclass(frozen=True, kw_only=True)
class SceneErrors:
    """Of a sequence.

    Args:
        abs_rel: mean of |error| / depth, after one factor for the whole sequence (median of the ratios).
        abs_rel_constant: the same of the median depth everywhere, which sees nothing.
        rotation: mean angle to the true rotation against the first camera, later frames alone [deg].
        rotation_still: the same of a camera that never turns.
        position: mean distance to the true position, over the mean distance of what the first camera sees.
        position_still: the same of a camera that never moves.
        words: share of pixels of all things whose label is the nearest of those of the scene; by thing, then the mean.
    """

    abs_rel: float
    abs_rel_constant: float
    rotation: float
    rotation_still: float
    position: float
    position_still: float
    words: float

    @staticmethod
    def mean(errors: Sequence["SceneErrors"]) -> dict[str, float]:
        """Over sequences, by name."""
        rows = [asdict(one) for one in errors]
        return {name: float(np.nanmean([row[name] for row in rows])) for name in rows[0]}


def scene_errors(depth: Tensor, pose: Tensor, features: Tensor, batch: Batch) -> SceneErrors:
    """Errors of one sequence.

    Args:
        depth: predicted, shape [S, H, W].
        pose: encodings, shape [S, 9].
        features: of pixels, shape [S, 3, c, H, W].
        batch: of this sample alone, see `SceneSamples.sample`.
    """
    true_depth = batch["depth"][0]
    known = true_depth > 0
    ratio = (true_depth[known] / depth[known]).median()
    scaled, wanted = ratio * depth[known], true_depth[known]
    true_poses = decode_poses(batch["pose"][0].double().cpu().numpy())
    poses = decode_poses(pose.double().cpu().numpy())
    still = np.repeat(np.eye(4)[None], len(poses), axis=0)
    turned, moved = _pose_errors(poses, true_poses)
    turned_still, moved_still = _pose_errors(still, true_poses)
    return SceneErrors(
        abs_rel=float(((scaled - wanted).abs() / wanted).mean()),
        abs_rel_constant=float(((wanted.median() - wanted).abs() / wanted).mean()),
        rotation=turned,
        rotation_still=turned_still,
        position=moved,
        position_still=moved_still,
        words=_named(features, batch),
    )


def picture(depth: Tensor, batch: Batch) -> NDArray[np.uint8]:
    """The last frame, its depth as it is predicted and as it is, side by side."""
    true_depth = batch["depth"][0, -1]
    near = true_depth[true_depth > 0].min() if (true_depth > 0).any() else true_depth.new_tensor(1.0)
    shown = [(near / one.clamp(min=1e-6)).clamp(0, 1).expand(3, -1, -1) for one in (depth[-1], true_depth)]
    row = torch.cat([batch["images"][0, -1], *shown], dim=-1)
    return (row.movedim(0, -1).cpu().numpy() * 255).astype(np.uint8)


def _pose_errors(poses: NDArray[np.float64], true: NDArray[np.float64]) -> tuple[float, float]:
    """Mean angle [deg] and mean distance of camera centres, of all frames but the first."""
    rotation, true_rotation = poses[1:, :3, :3], true[1:, :3, :3]
    cosines = (np.einsum("nij,nij->n", rotation, true_rotation) - 1) / 2
    centres, true_centres = (-np.einsum("nji,nj->ni", one[1:, :3, :3], one[1:, :3, 3]) for one in (poses, true))
    angles = np.degrees(np.arccos(np.clip(cosines, -1, 1)))
    return float(angles.mean()), float(np.linalg.norm(centres - true_centres, axis=-1).mean())


def _named(features: Tensor, batch: Batch) -> float:
    """Mean over things of the share of their pixels that is nearest to their own label."""
    labels, thing = batch["codes"][0, 0, 1], batch["thing"][0]
    there = labels.norm(dim=-1) > 0
    similar = torch.einsum("schw,tc->sthw", normalize(features[:, 1], dim=1), labels)
    chosen = similar.masked_fill(~there[None, :, None, None], -2.0).argmax(dim=1)
    same = (labels @ labels.T > 1 - 1e-4)[chosen, thing]
    shares = [same[thing == place].float().mean() for place in range(MAX_THINGS - 1) if (thing == place).any()]
    return float(torch.stack(shares).mean()) if shares else float("nan")
