"""Asks the world model node about a bag, over ROS, and takes its answers back as records."""

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path

from fourd_ros.bridge.rollouts import FrameContents, read_frame
from fourd_ros.demo.assembling import assemble
from fourd_ros.demo.recording import Recording
from fourd_ros.nodes.bag_loop import BagLoop, BagLoopSettings, ImaginedInstant
from fourd_ros.records import RobotTrajectory, Rollout

PARAMETERS = {"image_format": "png"}
"""Imagined colours are judged, so they travel without loss; recorded set points of a gripper may step."""


@dataclass(frozen=True, kw_only=True)
class Answer:
    """One imagined future, as frames came over the wire and put together again."""

    rollout: Rollout
    frames: tuple[FrameContents, ...]


def imagine_recorded(
    bag: Path,
    recording: Recording,
    stamps: Sequence[int],
    *,
    horizon: float,
    step: float,
    seed: int,
    progress: Callable[[int], None],
) -> tuple[Answer, ...]:
    """What the motion commanded in the bag will bring, from every stamp.

    Args:
        bag: replayed into the node.
        recording: of the same bag.
        stamps: instants to imagine from, increasing [ns].
        horizon: how far [s].
        step: between frames [s].
        seed: of the samples.
        progress: called with the number of answers so far.
    """
    answers: list[Answer] = []
    with BagLoop(bag, _settings(recording, horizon=horizon, step=step, seed=seed)) as loop:
        for stamp in stamps:
            answers += _answers(loop.ask(stamp))
            progress(len(answers))
    return tuple(answers)


def imagine_candidates(
    bag: Path,
    recording: Recording,
    stamp_ns: int,
    candidates: Sequence[RobotTrajectory],
    *,
    horizon: float,
    step: float,
    seed: int,
) -> tuple[Answer, ...]:
    """What each of several motions would bring from one stamp; arguments as in `imagine_recorded`.

    Only the cameras that stand still are imagined, as long as there are any: they see the whole scene.
    """
    views = recording.at(stamp_ns).views
    still = [name for name, view in views.items() if not view.mounted_on]
    with BagLoop(bag, _settings(recording, views=still, horizon=horizon, step=step, seed=seed)) as loop:
        return _answers(loop.ask(stamp_ns, candidates))


def _settings(
    recording: Recording, *, views: Sequence[str] = (), horizon: float, step: float, seed: int
) -> BagLoopSettings:
    return BagLoopSettings(
        cameras=recording.cameras,
        views=views,
        horizon=horizon,
        step=step,
        seed=seed,
        parameters=dict(PARAMETERS),
    )


def _answers(instant: ImaginedInstant) -> tuple[Answer, ...]:
    answers = []
    for message, messages in zip(instant.rollouts, instant.frames, strict=True):
        frames = tuple(read_frame(frame) for frame in messages)
        answers.append(Answer(rollout=assemble(message, frames), frames=frames))
    return tuple(answers)
