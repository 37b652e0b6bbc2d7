"""Asks every world model about a bag, over ROS, and takes their answers back as records."""

from collections.abc import Callable, Mapping, Sequence
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


@dataclass(frozen=True, kw_only=True)
class Futures:
    """What all world models said.

    Args:
        answers: by model, quickest first; each in the order of the questions.
        missing: models that could not be loaded, and why.
    """

    answers: Mapping[str, tuple[Answer, ...]]
    missing: Mapping[str, str]


def imagine_recorded(
    bag: Path,
    recording: Recording,
    stamps: Sequence[int],
    *,
    horizon: float,
    step: float,
    seed: int,
    params_file: Path | None = None,
    progress: Callable[[int], None],
) -> Futures:
    """What the motion commanded in the bag will bring, from every stamp.

    Args:
        bag: replayed into the node.
        recording: of the same bag.
        stamps: instants to imagine from, increasing [ns].
        horizon: how far [s].
        step: between frames [s].
        seed: of the samples.
        params_file: further parameters of the world model node.
        progress: called with the number of stamps done.
    """
    settings = _settings(recording, horizon=horizon, step=step, seed=seed, params_file=params_file)
    with BagLoop(bag, settings) as loop:
        answers: dict[str, tuple[Answer, ...]] = dict.fromkeys(loop.backends, ())
        for done, stamp in enumerate(stamps, start=1):
            for model in loop.backends:
                answers[model] += _answers(loop.ask(stamp, backend=model))
            progress(done)
        return Futures(answers=answers, missing=_reasons(loop))


def imagine_candidates(
    bag: Path,
    recording: Recording,
    stamp_ns: int,
    candidates: Sequence[RobotTrajectory],
    *,
    horizon: float,
    step: float,
    seed: int,
    params_file: Path | None = None,
) -> Futures:
    """What each of several motions would bring from one stamp; arguments as in `imagine_recorded`.

    Only the cameras that stand still are imagined, as long as there are any: they see the whole scene.
    """
    views = recording.at(stamp_ns).views
    still = [name for name, view in views.items() if not view.mounted_on]
    settings = _settings(recording, views=still, horizon=horizon, step=step, seed=seed, params_file=params_file)
    with BagLoop(bag, settings) as loop:
        answers = {model: _answers(loop.ask(stamp_ns, candidates, backend=model)) for model in loop.backends}
        return Futures(answers=answers, missing=_reasons(loop))


def _settings(
    recording: Recording,
    *,
    views: Sequence[str] = (),
    horizon: float,
    step: float,
    seed: int,
    params_file: Path | None,
) -> BagLoopSettings:
    return BagLoopSettings(
        cameras=recording.cameras,
        views=views,
        horizon=horizon,
        step=step,
        seed=seed,
        parameters=dict(PARAMETERS),
        params_file=params_file,
    )


def _reasons(loop: BagLoop) -> dict[str, str]:
    return {name: str(error) for name, error in loop.missing_backends.items()}


def _answers(instant: ImaginedInstant) -> tuple[Answer, ...]:
    answers = []
    for message, messages in zip(instant.rollouts, instant.frames, strict=True):
        frames = tuple(read_frame(frame) for frame in messages)
        answers.append(Answer(rollout=assemble(message, frames), frames=frames))
    return tuple(answers)
