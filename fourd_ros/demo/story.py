"""The whole demo, stage by stage."""

import time
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from pathlib import Path

from fourd_ros import __version__
from fourd_ros.demo.candidates import Motion, plan
from fourd_ros.demo.imagining import Answer, imagine_candidates, imagine_recorded
from fourd_ros.demo.judging import judge, summarise_views
from fourd_ros.demo.recording import Recording
from fourd_ros.demo.showing import make_candidate, make_clip, make_plots, robot_meshes
from fourd_ros.demo.stages import Stages
from fourd_ros.errors import InvalidBag, NoObservation
from fourd_ros.evaluation.findings import Finding, findings, horizon_table, overall_table
from fourd_ros.evaluation.report import write_report
from fourd_ros.evaluation.summary import Summary
from fourd_ros.evaluation.table import Table
from fourd_ros.viewer.content import Page
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
        command_line: shown on the page.
    """

    bag: Path
    page: Path
    instants: int = 8
    horizon: float = 2.0
    step: float = 0.2
    seed: int = 0
    command_line: str = "fourd demo"


@dataclass(frozen=True, kw_only=True)
class DemoResult:
    """What came out.

    Args:
        found: what was predicted better than the baseline.
        missed: what was not.
        tables: the figures.
        page: the written file.
        page_bytes: its size.
        report: page of the folder with every figure.
        seconds: wall time of the whole.
    """

    found: tuple[Finding, ...]
    missed: tuple[Finding, ...]
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
        answers = _imagine(recording, settings, remark)
    with stages.next() as remark:
        judged = [view for answer in answers for view in judge(recording, answer.rollout)]
        summaries = summarise_views(judged, start_ns=recording.start_ns)
        found, missed = findings(summaries)
        tables = (
            overall_table(summaries),
            *(horizon_table(view, summary) for view, summary in summaries.items()),
        )
        remark(f"{len(judged)} imagined videos judged")
    with stages.next() as remark:
        motions, imagined = _candidates(recording, settings)
        remark(", ".join(f"{motion.name} {motion.trajectory.times[-1]:.1f} s" for motion in motions))
    with stages.next() as remark:
        report = _write_report(settings, summaries)
        page = Page(
            title=_title(settings),
            lead=_lead(answers, settings),
            found=found,
            missed=missed,
            clips=tuple(make_clip(view, start_ns=recording.start_ns) for view in judged),
            plots=make_plots(summaries),
            robot=robot_meshes(recording.robot),
            candidates=tuple(
                make_candidate(recording.robot, motion, answer.rollout, answer.frames)
                for motion, answer in zip(motions, imagined, strict=True)
            ),
            tables=tables,
            provenance=_provenance(settings, recording, answers, stages.elapsed),
            links=(("Every instant, as charts, CSV and JSON", f"{REPORT}/{report.name}"),),
        )
        size = write_page(page, settings.page)
        remark(f"{size / 1e6:.1f} MB, opens without network")
    return DemoResult(
        found=found,
        missed=missed,
        tables=tables,
        page=settings.page,
        page_bytes=size,
        report=report,
        seconds=stages.elapsed,
    )


def _write_report(settings: DemoSettings, summaries: Mapping[str, Summary]) -> Path:
    """Every figure of every instant, beside the page."""
    return write_report(
        settings.page.parent / REPORT,
        title=f"Imagined futures of {settings.bag.name}, instant by instant",
        tables=[summary.results for summary in summaries.values()],
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


def _imagine(recording: Recording, settings: DemoSettings, remark: Callable[[str], None]) -> tuple[Answer, ...]:
    stamps = recording.instants(settings.instants, horizon=settings.horizon)
    return imagine_recorded(
        settings.bag,
        recording,
        stamps,
        horizon=settings.horizon,
        step=settings.step,
        seed=settings.seed,
        progress=lambda done: remark(
            f"{done}/{len(stamps)}: from {(stamps[done - 1] - recording.start_ns) * 1e-9:.1f} s, "
            f"{settings.horizon:.1f} s ahead"
        ),
    )


def _candidates(recording: Recording, settings: DemoSettings) -> tuple[tuple[Motion, ...], tuple[Answer, ...]]:
    """Three motions from the first instant at which the gripper is empty and an object stands within reach."""
    for stamp_ns in recording.instants(3 * settings.instants, horizon=0.0):
        if recording.holding(stamp_ns):
            continue
        try:
            motions = plan(recording.robot, recording.at(stamp_ns))
        except NoObservation:
            continue
        answers = imagine_candidates(
            settings.bag,
            recording,
            stamp_ns,
            [motion.trajectory for motion in motions],
            horizon=float(max(motion.trajectory.times[-1] for motion in motions)),
            step=settings.step,
            seed=settings.seed,
        )
        return motions, answers
    raise NoObservation("no instant of the bag shows an empty gripper and an object within reach")


def _title(settings: DemoSettings) -> str:
    return f"The next {settings.horizon:.0f} seconds of a robot, imagined and then compared with what happened"


def _lead(answers: tuple[Answer, ...], settings: DemoSettings) -> str:
    return (
        f"A recording was replayed through ROS 2. At {len(answers)} instants the world model "
        f"“{answers[0].rollout.backend}” was given one observation and the commanded motion, and imagined the next "
        f"{settings.horizon:.1f} s of every camera."
    )


def _provenance(
    settings: DemoSettings, recording: Recording, answers: tuple[Answer, ...], seconds: float
) -> tuple[tuple[str, str], ...]:
    rollout = answers[0].rollout
    mean = 1000 * sum(answer.rollout.compute_time for answer in answers) / len(answers)
    weights = f"sha256 {rollout.model_sha256}" if rollout.model_sha256 else "none: geometry and kinematics only"
    return (
        ("command", settings.command_line),
        ("bag", f"{settings.bag.name}: {_describe(recording)}"),
        (
            "world model",
            f"{rollout.backend}, {mean:.0f} ms for {len(rollout.times)} steps of {len(rollout.views)} cameras",
        ),
        ("weights", weights),
        ("seed", str(settings.seed)),
        ("horizon", f"{settings.horizon:.1f} s in steps of {settings.step:.2f} s, {len(answers)} instants"),
        ("software", f"fourd_ros {__version__}"),
        ("made", f"{time.strftime('%Y-%m-%d %H:%M')} in {seconds:.0f} s"),
    )
