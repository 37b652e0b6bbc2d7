"""``GetRolloutFrames``: the data of a rollout, in pieces that fit a byte budget."""

from collections.abc import Iterator
from typing import Any

from fourd_msgs.msg import RolloutFrame
from fourd_msgs.srv import GetRolloutFrames

from fourd_ros.bridge.rollouts import FrameFields, make_frame
from fourd_ros.errors import RolloutExpired, TooLarge, UnknownRollout
from fourd_ros.records import Rollout
from fourd_ros.world_model.store import RolloutStore

Response = GetRolloutFrames.Response


def serve_frames(store: RolloutStore, request: Any, *, max_bytes: int, image_format: str) -> Any:
    """Answer a request; errors go into the response.

    Args:
        store: where the rollouts are.
        request: ``GetRolloutFrames.Request``.
        max_bytes: bound on one response when the request names none, and never exceeded.
        image_format: ``jpeg`` or ``png``.
    """
    response = Response()
    budget = min(request.max_bytes or max_bytes, max_bytes)
    try:
        rollout = store.get(request.rollout_id)
        response.frames, response.next_index = _frames(rollout, request, budget, image_format)
    except UnknownRollout as error:
        response.error_code, response.error_msg = Response.UNKNOWN, str(error)
    except RolloutExpired as error:
        response.error_code, response.error_msg = Response.EXPIRED, str(error)
    except TooLarge as error:
        response.error_code, response.error_msg = Response.TOO_LARGE, str(error)
    return response


def _frames(rollout: Rollout, request: Any, budget: int, image_format: str) -> tuple[list[RolloutFrame], int]:
    """As many frames as fit, and the position to go on from (0 when all did)."""
    indices = list(request.indices) or list(range(len(rollout.times)))
    views = list(request.views) or list(rollout.views)
    _check(rollout, indices, views)
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


def _check(rollout: Rollout, indices: list[int], views: list[str]) -> None:
    beyond = [index for index in indices if index >= len(rollout.times)]
    if beyond:
        raise UnknownRollout(f"frames {beyond[:8]} asked for; the rollout has {len(rollout.times)}")
    unknown = sorted(set(views) - set(rollout.views))
    if unknown:
        raise UnknownRollout(f"views {unknown} asked for; the rollout has {sorted(rollout.views)}")


def frame_bytes(frame: RolloutFrame) -> int:
    """Bytes of the bulk data of a frame."""
    return len(frame.image.data) + len(frame.points.data) + len(frame.observed.data)
