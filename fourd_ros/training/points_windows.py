"""Batches of the point dynamics: inputs of the network and its answers, as they are when a sample is begun later.

A sample that begins at a later step is the same scene with every thing carried to where it truly is by then, so short
windows teach the contact in the middle of a motion without everything that led to it. `held` stays what it was when the
scene was observed: a thing that was grasped since is told by what lies between the fingers alone.
"""

import torch
from torch import Tensor

from fourd_ros.training.task import Batch
from fourd_ros.world_model.compact.dynamics import SUBSTEPS
from fourd_ros.world_model.compact.gripper_path import APPROACH_GAP_LATER, APPROACH_LATER
from fourd_ros.world_model.compact.rigid import inverse, rotation_vector

MEMBER_MOTION = 0.01
"""Points whose body moves farther than this are told from those that stand still [m]."""

EXACT = "donot_use_mm_for_euclid_dist"
"""As `Approach.of` computes them: the nearest of nearly equal places is the same."""

INPUTS = (
    *("points", "present", "held", "support", "eye"),
    *("approach", "later", "approach_gap", "frames", "gaps", "until", "twist"),
)
"""What `PointDynamicsNetwork.forward` takes."""


def unfold(batch: Batch) -> dict[str, Tensor]:
    """Of a stacked batch of `PointSamples`.

    Returns:
        `INPUTS`, and ``target`` [B, K, N, S, 3], where every point is after every step [m]; ``moving`` [B, K, N], 1 for
        points of the body that moves most in a thing (all points of a thing that stands still); ``mixed`` [B, K], 1
        where some points of a thing do not move with the others; ``moved`` [B, K], 1 where anything moves; ``known``
        [B, S], 1 for steps that are followed.
    """
    begin, length = batch["begin"], batch["length"]
    steps = int(length.max())
    row = torch.arange(len(begin), device=begin.device)
    body = batch["body"].long()
    poses = _with_start(batch["motions"])
    start, before = poses[row, begin], poses[row, (begin - 1).clamp(min=0)]
    now, was = (_placed(_of_points(pose, body), batch["points"]) for pose in (start, before))
    after = (begin[:, None] + 1 + torch.arange(steps, device=begin.device)).clamp(max=poses.shape[1] - 1)
    moments = SUBSTEPS * begin[:, None] + torch.arange(SUBSTEPS * steps + 1, device=begin.device)
    moments = moments.clamp(max=batch["frames"].shape[1] - 1)
    whole = SUBSTEPS * begin[:, None] + torch.arange(batch["frames"].shape[1], device=begin.device)
    whole = whole.clamp(max=batch["frames"].shape[1] - 1)
    frames, gaps = batch["frames"], batch["gaps"]
    inputs = {
        "points": now,
        **{name: batch[name] for name in ("present", "held", "support", "eye")},
        **_approach(now, frames[row[:, None], whole], gaps[row[:, None], whole]),
        "frames": frames[row[:, None], moments],
        "gaps": gaps[row[:, None], moments],
        "until": length,
        "twist": _twist(now, was, start, before, body),
    }
    known = (torch.arange(steps, device=begin.device) < length[:, None]).float()
    motion = poses[row[:, None], after] @ inverse(start)[:, None]
    return inputs | _answers(now, body, motion, known)


def _with_start(motions: Tensor) -> Tensor:
    """Poses [B, T + 1, bodies, 4, 4] from motions [B, T, bodies, 4, 4] since the first."""
    first = torch.eye(4, device=motions.device).expand_as(motions[:, :1])
    return torch.cat([first, motions], dim=1)


def _of_points(pose: Tensor, body: Tensor) -> Tensor:
    """Of bodies [B, bodies, 4, 4], for the points [B, K, N] of each; shape [B, K, N, 4, 4]."""
    row = torch.arange(len(body), device=body.device)[:, None, None]
    return pose[row, body]


def _placed(pose: Tensor, points: Tensor) -> Tensor:
    """Points [*, 3] carried by poses [*, 4, 4]."""
    return (pose[..., :3, :3] @ points[..., None])[..., 0] + pose[..., :3, 3]


def _answers(points: Tensor, body: Tensor, motion: Tensor, known: Tensor) -> dict[str, Tensor]:
    """Where points [B, K, N, 3] go under motions [B, S, bodies, 4, 4]; see `unfold`."""
    row = torch.arange(len(body), device=body.device)[:, None, None]
    target = _placed(
        motion.transpose(1, 2)[row, body], points[..., None, :].expand(*points.shape[:3], known.shape[1], 3)
    )
    farthest = ((target - points[..., None, :]).norm(dim=-1) * known[:, None, None]).amax(dim=-1)
    most = farthest.argmax(dim=2, keepdim=True)
    still = torch.gather(farthest, 2, most) <= MEMBER_MOTION
    moving = ((body == torch.gather(body, 2, most)) | still).float()
    return {
        "target": target,
        "moving": moving,
        "mixed": (moving.amin(dim=2) < moving.amax(dim=2)).float(),
        "moved": (~still[..., 0]).float(),
        "known": known,
    }


def _twist(now: Tensor, was: Tensor, start: Tensor, before: Tensor, body: Tensor) -> Tensor:
    """Motion of things in the step before, of the body that moves most; shape [B, K, 6]."""
    most = (now - was).norm(dim=-1).argmax(dim=2, keepdim=True)
    own = torch.gather(body, 2, most)
    part = (body == own).float()[..., None]
    move = ((now - was) * part).sum(dim=2) / part.sum(dim=2)
    turn = _of_points(start, own)[:, :, 0, :3, :3] @ _of_points(before, own)[:, :, 0, :3, :3].transpose(-1, -2)
    return torch.cat([move, rotation_vector(turn)], dim=-1)


def _approach(points: Tensor, frames: Tensor, gaps: Tensor) -> dict[str, Tensor]:
    """What `Approach.of` says of each sample's own things and path."""
    batch, things = points.shape[:2]
    grasp = frames[..., :3, 3]
    last = grasp.shape[1] - 1
    each = grasp[:, None].expand(-1, things, -1, -1)
    distance = (
        torch.cdist(each.flatten(0, 1), points.flatten(0, 1), compute_mode=EXACT)
        .amin(dim=-1)
        .reshape(batch, things, -1)
    )
    nearest = distance.argmin(dim=-1)
    row = torch.arange(batch, device=points.device)[:, None]
    after = (nearest[..., None] + nearest.new_tensor(APPROACH_LATER)).clamp(max=last)
    gap_after = (nearest + APPROACH_GAP_LATER).clamp(max=last)
    return {
        "approach": frames[row, nearest],
        "later": grasp[row[..., None], after],
        "approach_gap": torch.stack([gaps[row, nearest], gaps[row, gap_after]], dim=-1),
    }
