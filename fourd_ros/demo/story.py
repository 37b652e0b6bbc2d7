"""The whole demo, stage by stage."""

import time
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from pathlib import Path

from fourd_ros import __version__
from fourd_ros.demo.candidates import Motion, plan
from fourd_ros.demo.imagining import Futures, imagine_candidates, imagine_recorded
from fourd_ros.demo.judging import judge, summarise_models
from fourd_ros.demo.recording import Recording
from fourd_ros.demo.showing import make_candidate, make_clips, make_findings, make_plots, robot_meshes
from fourd_ros.demo.stages import Stages
from fourd_ros.errors import InvalidBag, NoObservation
from fourd_ros.evaluation.findings import horizon_table, overall_table
from fourd_ros.evaluation.report import write_report
from fourd_ros.evaluation.summary import Summary, side_by_side
from fourd_ros.evaluation.table import Table
from fourd_ros.records import Rollout
from fourd_ros.viewer.content import ModelFindings, Page
from fourd_ros.viewer.page import write_page

REPORT = "report"
"""Folder beside the page."""

STAGES = (
    "read what the bag shows",
    "replay it through ROS 2 and imagine what the commanded motion will bring",
    "compare with what the bag shows later",
    "imagine three other motions from one instant",
    "write the page and the report",
)


@dataclass(frozen=True, kw_only=True)
class DemoSettings:
    """What the demo is made of.

    Args:
        bag: recorded cameras with depth, joints, transforms, description and commands.
        page: the HTML file to write.
        instants: number of instants to imagine from.
        horizon: how far [s].
        step: between imagined frames [s].
        seed: of the samples and of the bootstrap.
        params_file: further parameters of the world model node, such as its backends.
        command_line: shown on the page.
    """

    bag: Path
    page: Path
    instants: int = 8
    horizon: float = 2.0
    step: float = 0.2
    seed: int = 0
    params_file: Path | None = None
    command_line: str = "fourd demo"


@dataclass(frozen=True, kw_only=True)
class DemoResult:
    """What came out.

    Args:
        findings: what every world model predicted better than the baseline, and what not; the best one last.
        missing: models that could not be loaded, and why.
        tables: the figures.
        page: the written file.
        page_bytes: its size.
        report: page of the folder with every figure.
        seconds: wall time of the whole.
    """

    findings: tuple[ModelFindings, ...]
    missing: Mapping[str, str]
    tables: tuple[Table, ...]
    page: Path
    page_bytes: int
    report: Path
    seconds: float


def tell(settings: DemoSettings, *, write: Callable[[str], None]) -> DemoResult:
    """Run every stage.

    Args:
        settings: what the demo is made of.
        write: takes lines on the progress.

    Raises:
        InvalidBag: the bag is not there, or lacks something; the message says what.
        FourdError: whatever else stands in the way.
    """
    if not settings.bag.exists():
        raise InvalidBag(
            f"there is no bag '{settings.bag}'; leave --bag out for the demo's own, make one with "
            "'fourd sim record --format bag', or record a robot with 'fourd bag record'"
        )
    stages = Stages(STAGES, write=write)
    with stages.next() as remark:
        recording = Recording(settings.bag, every=settings.step)
        remark(_describe(recording))
    with stages.next() as remark:
        imagined = _imagine(recording, settings, remark)
    with stages.next() as remark:
        judged = [
            view
            for answers in imagined.answers.values()
            for answer in answers
            for view in judge(recording, answer.rollout)
        ]
        models = summarise_models(judged, start_ns=recording.start_ns)
        findings = make_findings(models, imagined.answers)
        tables = _tables(models)
        remark(f"{len(judged)} imagined videos judged")
    with stages.next() as remark:
        motions, futures = _candidates(recording, settings)
        remark(", ".join(f"{motion.name} {motion.trajectory.times[-1]:.1f} s" for motion in motions))
    with stages.next() as remark:
        report = _write_report(settings, models)
        page = Page(
            title=_title(settings),
            lead=_lead(imagined, settings),
            findings=findings,
            clips=make_clips(judged, start_ns=recording.start_ns),
            plots=make_plots(models),
            robot=robot_meshes(recording.robot),
            candidates=tuple(
                make_candidate(recording.robot, motion, answer.rollout, answer.frames)
                for answers in futures.answers.values()
                for motion, answer in zip(motions, answers, strict=True)
            ),
            tables=tables,
            provenance=_provenance(settings, recording, imagined, stages.elapsed),
            links=(("Every instant, as charts, CSV and JSON", f"{REPORT}/{report.name}"),),
        )
        size = write_page(page, settings.page)
        remark(f"{size / 1e6:.1f} MB, opens without network")
    return DemoResult(
        findings=findings,
        missing=imagined.missing,
        tables=tables,
        page=settings.page,
        page_bytes=size,
        report=report,
        seconds=stages.elapsed,
    )


def _tables(models: Mapping[str, Mapping[str, Summary]]) -> tuple[Table, ...]:
    """All models side by side, then the best one over the horizon."""
    best, summaries = next(reversed(models.items()))
    return (overall_table(models), *(horizon_table(best, view, summary) for view, summary in summaries.items()))


def _write_report(settings: DemoSettings, models: Mapping[str, Mapping[str, Summary]]) -> Path:
    """Every figure of every instant, beside the page."""
    views = next(iter(models.values()))
    return write_report(
        settings.page.parent / REPORT,
        title=f"Imagined futures of {settings.bag.name}, instant by instant",
        tables=[
            side_by_side({model: summaries[view] for model, summaries in models.items()}, title=f"{view} camera")
            for view in views
        ],
        notes=(
            f"From each instant the next {settings.horizon:.1f} s were imagined in steps of {settings.step:.2f} s and "
            "compared with what was recorded; a value is the mean over that horizon. The instants of one recording are "
            "not independent, so the intervals are narrower than those of many recordings would be.",
            f"Command: {settings.command_line}. Software: fourd_ros {__version__}.",
        ),
        seed=settings.seed,
    )


def _describe(recording: Recording) -> str:
    names = ", ".join(recording.cameras)
    return (
        f"{len(recording.observations)} instants of {names} in {recording.duration:.1f} s, "
        f"robot '{recording.robot.description.name}'"
    )


def _imagine(recording: Recording, settings: DemoSettings, remark: Callable[[str], None]) -> Futures:
    stamps = recording.instants(settings.instants, horizon=settings.horizon)
    imagined = imagine_recorded(
        settings.bag,
        recording,
        stamps,
        horizon=settings.horizon,
        step=settings.step,
        seed=settings.seed,
        params_file=settings.params_file,
        progress=lambda done: remark(
            f"{done}/{len(stamps)}: from {(stamps[done - 1] - recording.start_ns) * 1e-9:.1f} s, "
            f"{settings.horizon:.1f} s ahead"
        ),
    )
    for name, reason in imagined.missing.items():
        remark(f"without the world model '{name}': {reason}")
    return imagined


def _candidates(recording: Recording, settings: DemoSettings) -> tuple[tuple[Motion, ...], Futures]:
    """Three motions from the first instant at which the gripper is empty and an object stands within reach."""
    for stamp_ns in recording.instants(3 * settings.instants, horizon=0.0):
        if recording.holding(stamp_ns):
            continue
        try:
            motions = plan(recording.robot, recording.at(stamp_ns))
        except NoObservation:
            continue
        futures = imagine_candidates(
            settings.bag,
            recording,
            stamp_ns,
            [motion.trajectory for motion in motions],
            horizon=float(max(motion.trajectory.times[-1] for motion in motions)),
            step=settings.step,
            seed=settings.seed,
            params_file=settings.params_file,
        )
        return motions, futures
    raise NoObservation("no instant of the bag shows an empty gripper and an object within reach")


def _title(settings: DemoSettings) -> str:
    return f"The next {settings.horizon:.0f} seconds of a robot, imagined and then compared with what happened"


def _lead(imagined: Futures, settings: DemoSettings) -> str:
    names = list(imagined.answers)
    who = f"the world model “{names[0]}” was" if len(names) == 1 else f"{len(names)} world models were each"
    instants = len(next(iter(imagined.answers.values())))
    missing = "".join(f" “{name}” is not shown: {reason}" for name, reason in imagined.missing.items())
    return (
        f"A recording was replayed through ROS 2. At {instants} instants {who} given one observation and the commanded "
        f"motion, and imagined the next {settings.horizon:.1f} s of every camera.{missing}"
    )


def _provenance(
    settings: DemoSettings, recording: Recording, imagined: Futures, seconds: float
) -> tuple[tuple[str, str], ...]:
    firsts = {model: answers[0].rollout for model, answers in imagined.answers.items()}
    return (
        ("command", settings.command_line),
        ("bag", f"{settings.bag.name}: {_describe(recording)}"),
        *((f"world model {model}", _weights(rollout)) for model, rollout in firsts.items()),
        ("seed", str(settings.seed)),
        ("horizon", f"{settings.horizon:.1f} s in steps of {settings.step:.2f} s, {settings.instants} instants"),
        ("software", f"fourd_ros {__version__}"),
        ("made", f"{time.strftime('%Y-%m-%d %H:%M')} in {seconds:.0f} s"),
    )


def _weights(rollout: Rollout) -> str:
    return f"weights sha256 {rollout.model_sha256}" if rollout.model_sha256 else "geometry and kinematics only"
