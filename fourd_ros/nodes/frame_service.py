"""``GetRolloutFrames``: the data of a rollout, in pieces that fit a byte budget."""

from collections.abc import Iterator
from typing import Any

from fourd_msgs.msg import RolloutFrame
from fourd_msgs.srv import GetRolloutFrames

from fourd_ros.bridge.rollouts import FrameFields, make_frame
from fourd_ros.errors import InvalidInput, RolloutExpired, TooLarge, UnknownRollout
from fourd_ros.records import Rollout
from fourd_ros.world_model.store import RolloutStore

Response = GetRolloutFrames.Response


def collect_frames(
    store: RolloutStore, request: Any, *, max_bytes: int, image_format: str
) -> tuple[list[RolloutFrame], int]:
    """As many frames as fit, and the position to go on from (0 when all did).

    Args:
        store: where the rollouts are.
        request: ``GetRolloutFrames.Request``.
        max_bytes: bound on one response when the request names none, and never exceeded.
        image_format: ``jpeg`` or ``png``.

    Raises:
        UnknownRollout, RolloutExpired: nothing of that id, or no such index or view.
        TooLarge: one instant alone exceeds the bound.
        InvalidInput: a voxel size that means nothing.
    """
    rollout = store.get(request.rollout_id)
    budget = min(request.max_bytes or max_bytes, max_bytes)
    indices = list(request.indices) or list(range(len(rollout.times)))
    views = list(request.views) or list(rollout.views)
    _check(rollout, request, indices, views)
    frames: list[RolloutFrame] = []
    used = 0
    for position in range(request.start_index, len(indices)):
        instant = list(_instant(rollout, request, indices[position], views, image_format))
        size = sum(frame_bytes(frame) for frame in instant)
        if size > budget:
            raise TooLarge(
                f"frame {indices[position]} takes {size} bytes, at most {budget} are sent; "
                "ask for one view, fewer fields, or a larger voxel_size"
            )
        if used + size > budget:
            return frames, position
        frames.extend(instant)
        used += size
    return frames, 0


def frame_error_code(error: Exception) -> int:
    """The constant of ``GetRolloutFrames`` that stands for an error of :func:`collect_frames`."""
    for kind, code in (
        (UnknownRollout, Response.UNKNOWN),
        (RolloutExpired, Response.EXPIRED),
        (TooLarge, Response.TOO_LARGE),
        (InvalidInput, Response.INVALID),
    ):
        if isinstance(error, kind):
            return int(code)
    return int(Response.INTERNAL)


def _instant(rollout: Rollout, request: Any, index: int, views: list[str], image_format: str) -> Iterator[RolloutFrame]:
    for view in views:
        yield make_frame(
            rollout,
            request.rollout_id,
            index,
            view,
            fields=FrameFields(request.fields),
            voxel_size=request.voxel_size,
            max_bytes=0,
            image_format=image_format,
        )


def _check(rollout: Rollout, request: Any, indices: list[int], views: list[str]) -> None:
    if not 0.0 <= request.voxel_size < float("inf"):
        raise InvalidInput(f"voxel_size is {request.voxel_size}; needed a finite length in metres, or 0 for all points")
    beyond = [index for index in indices if index >= len(rollout.times)]
    if beyond:
        raise UnknownRollout(f"frames {beyond[:8]} asked for; the rollout has {len(rollout.times)}")
    unknown = sorted(set(views) - set(rollout.views))
    if unknown:
        raise UnknownRollout(f"views {unknown} asked for; the rollout has {sorted(rollout.views)}")


def frame_bytes(frame: RolloutFrame) -> int:
    """Bytes of the bulk data of a frame."""
    return len(frame.image.data) + len(frame.points.data) + len(frame.observed.data)
