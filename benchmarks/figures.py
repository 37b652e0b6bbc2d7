"""Which figures of each benchmark the page shows, and what was aimed at."""

import math
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

Rows = Sequence[Mapping[str, Any]]


@dataclass(frozen=True, kw_only=True)
class Figure:
    """One line of a table.

    Args:
        what: it is.
        value: picks it from the rows of a report.
        unit: of the value.
        at_most: goal, where less is better.
        at_least: goal, where more is better.
    """

    what: str
    value: Callable[[Rows], float | None]
    unit: str
    at_most: float = math.inf
    at_least: float = -math.inf

    @property
    def goal(self) -> str:
        """As text; empty where a figure is only reported."""
        if math.isfinite(self.at_most):
            return f"≤ {self.at_most:g} {self.unit}"
        return f"≥ {self.at_least:g} {self.unit}" if math.isfinite(self.at_least) else ""

    def is_met(self, value: float) -> bool:
        """Whether `value` is within the goal."""
        return self.at_least <= value <= self.at_most


@dataclass(frozen=True, kw_only=True)
class Benchmark:
    """A script of this folder.

    Args:
        name: of the script.
        anchor: what its figures stand beside.
        figures: that the page shows.
    """

    name: str
    anchor: str
    figures: tuple[Figure, ...]


def at(*path: str, **where: Any) -> Callable[[Rows], float | None]:
    """The value under `path` in the first row whose entries equal `where`."""

    def pick(rows: Rows) -> float | None:
        value: Any = next(row for row in rows if all(row[key] == wanted for key, wanted in where.items()))
        for key in path:
            value = value[key]
        return value

    return pick


def _filling(what: str, row: str) -> Figure:
    return Figure(what=what, value=at("ratio", what=row), unit="× copy", at_most=1.5)


def _delivered(transport: str, *, at_least: float = -math.inf) -> Figure:
    def percent(rows: Rows) -> float:
        row = next(row for row in rows if row["transport"] == transport)
        return 100 * row["delivered"] / row["sent"]

    return Figure(what=f"arrived, {transport}", value=percent, unit="%", at_least=at_least)


def _rendering(size: str, view: str) -> tuple[Figure, ...]:
    whole, small = "colour, points, mask", size == "128 x 128"
    return (
        Figure(
            what=f"frame, {size}, {view} camera",
            value=at("ms_per_frame", whole, "p50", size=size, view=view),
            unit="ms",
            at_most=1.0 if small else math.inf,
        ),
        Figure(
            what=f"beside MuJoCo's, {size}, {view} camera",
            value=at("ratio", size=size, view=view),
            unit="× MuJoCo",
            at_most=math.inf if small else 2.0,
        ),
    )


def _splatting(what: str, *, at_most: float) -> tuple[Figure, ...]:
    compiled, reference = {"what": what, "backend": "compiled"}, {"what": what, "backend": "torch"}
    return (
        Figure(what=f"{what}, compiled", value=at("forward_ms", "p50", **compiled), unit="ms", at_most=at_most),
        Figure(what=f"{what}, torch", value=at("forward_ms", "p50", **reference), unit="ms"),
        Figure(what=f"{what}, with gradient, compiled", value=at("with_gradient_ms", "p50", **compiled), unit="ms"),
        Figure(what=f"{what}, with gradient, torch", value=at("with_gradient_ms", "p50", **reference), unit="ms"),
        Figure(
            what=f"{what}, largest difference of compiled and torch",
            value=at("largest_difference_e6", **compiled),
            unit="1e-6",
            at_most=100.0,
        ),
    )


def _imagine(what: str, row: str, *, at_most: float = math.inf) -> tuple[Figure, ...]:
    return (
        Figure(what=f"{what}, p95", value=at("p95_ms", what=row), unit="ms", at_most=at_most),
        Figure(what=f"{what}, median", value=at("p50_ms", what=row), unit="ms"),
    )


def _rung(backend: str, *, at_most: float) -> tuple[Figure, ...]:
    """What one rung takes for 3.2 s in 16 frames."""
    small, large = (f"answer of {backend}, {size}, front" for size in ("128 x 128", "640 x 480"))
    return (
        *_imagine(f"{backend}, 128 x 128", small, at_most=at_most),
        Figure(
            what=f"{backend}, 128 x 128, beside real time",
            value=at("times_real_time", what=small),
            unit="× real time",
            at_least=6.0,
        ),
        Figure(what=f"{backend}, 128 x 128, memory of the node", value=at("rss_mb", what=small), unit="MB"),
        *_imagine(f"{backend}, 640 x 480", large),
        Figure(what=f"{backend}, 640 x 480, memory of the node", value=at("rss_mb", what=large), unit="MB"),
        *_imagine(f"{backend}, round trip, 128 x 128", f"round trip of {backend}, 128 x 128, front"),
    )


def _windows(size: int) -> tuple[Figure, ...]:
    return (
        Figure(
            what=f"windows of 16 steps, {size} x {size}, beside memory",
            value=at("ratio", what="windows from data set", size=size),
            unit="× memory",
            at_least=0.7,
        ),
        *(
            Figure(
                what=f"windows of 16 steps, {size} x {size}, {where}",
                value=at("windows_per_s", what=f"windows from {where}", size=size),
                unit="/s",
            )
            for where in ("data set", "memory", "npz")
        ),
    )


def _extraction(field: str, size: int) -> tuple[Figure, ...]:
    where = {"field": field, "resolution": size}
    return (
        Figure(
            what=f"{field}, {size}: questions saved",
            value=at("fewer_queries", **where),
            unit="×",
            at_least=20.0 if size == 256 else -math.inf,
        ),
        Figure(what=f"{field}, {size}: time of the narrow band", value=at("narrow", "seconds", **where), unit="s"),
        Figure(what=f"{field}, {size}: time of the whole lattice", value=at("dense", "seconds", **where), unit="s"),
        Figure(
            what=f"{field}, {size}: Chamfer between both meshes",
            value=at("chamfer_voxels", **where),
            unit="voxels",
            at_most=0.5,
        ),
    )


BENCHMARKS = (
    Benchmark(
        name="imagine",
        anchor="a plain copy of the bytes of the frames",
        figures=(
            *_rung("kinematic", at_most=50.0),
            *_imagine("kinematic, 128 x 128, with wrist camera", "answer of kinematic, 128 x 128, front+wrist"),
            *_rung("points", at_most=120.0),
            *_rung("compact", at_most=500.0),
            Figure(
                what="8 samples of compact beside one",
                value=at("ratio", what="8 samples of compact, 128 x 128"),
                unit="×",
                at_most=4.0,
            ),
            Figure(
                what="candidates scored by points",
                value=at("candidates_per_s", what="64 candidates scored by points"),
                unit="/s",
                at_least=100.0,
            ),
            Figure(what="cancel, p95", value=at("p95_ms", what="cancel"), unit="ms", at_most=70.0),
            Figure(
                what="idle node",
                value=at("cpu_percent", what="active node without input"),
                unit="% of a core",
                at_most=3.0,
            ),
        ),
    ),
    Benchmark(
        name="robot_rendering",
        anchor="MuJoCo's renderer without shadows, colour only, on the same CPU",
        figures=tuple(
            figure
            for size in ("128 x 128", "720 x 480")
            for view in ("front", "wrist")
            for figure in _rendering(size, view)
        ),
    ),
    Benchmark(
        name="cloud_filling",
        anchor="one plain copy of the same bytes",
        figures=(
            _filling("records that the producer filled", "packed_cloud: records the producer filled"),
            _filling("separate columns, all six", "make_cloud: separate columns, all six"),
        ),
    ),
    Benchmark(
        name="transport",
        anchor="the same with the defaults of Fast DDS",
        figures=(
            _delivered("shipped profile", at_least=100.0),
            _delivered("Fast DDS defaults"),
            Figure(
                what="latency, shipped profile, median",
                value=at("latency_ms", "p50", transport="shipped profile"),
                unit="ms",
            ),
        ),
    ),
    Benchmark(
        name="import_time",
        anchor="`python -c pass`",
        figures=(
            Figure(what="`import fourd_ros`", value=at("ms", "p50", what="import fourd_ros"), unit="ms", at_most=100.0),
            Figure(what="`import rclpy`", value=at("ms", "p50", what="import rclpy"), unit="ms"),
            Figure(what="`fourd --help`", value=at("ms", "p50", what="fourd --help"), unit="ms"),
            Figure(what="`python -c pass`", value=at("ms", "p50", what="python -c pass"), unit="ms"),
        ),
    ),
    Benchmark(
        name="bags",
        anchor="the same bytes copied into a file",
        figures=tuple(
            Figure(what=operation, value=at("MB_per_s", operation=operation), unit="MB/s")
            for operation in (
                "write serialised messages, no compression",
                "read serialised messages, no compression",
                "read messages, no compression",
                "write serialised messages, zstd",
                "copy the same bytes into a file",
            )
        ),
    ),
    Benchmark(
        name="metrics",
        anchor="scikit-image for images, brute force for clouds, evo for paths, on the same arrays",
        figures=tuple(
            figure
            for what, unit, goal in (
                ("PSNR", "256 x 256 pixels", 1.0),
                ("SSIM", "256 x 256 pixels", 3.0),
                ("Chamfer", "3000 points", 1.0),
                ("ATE", "1000 poses", 1.0),
            )
            for figure in (
                Figure(what=f"{what}, {unit}", value=at("ms", "ours", "p50", what=what), unit="ms"),
                Figure(what=f"{what}, speed", value=at("ratio", what=what), unit="× theirs", at_least=goal),
            )
        ),
    ),
    Benchmark(
        name="episodes",
        anchor="the same arrays in memory, cut and converted in the same way",
        figures=tuple(figure for size in (64, 128) for figure in _windows(size)),
    ),
    Benchmark(
        name="bag_conversion",
        anchor="the same messages read with rosbags, none decoded",
        figures=(
            Figure(what="bag to episodes", value=at("MB_per_s", what="episodes"), unit="MB/s"),
            Figure(what="bag to a data set on disk", value=at("MB_per_s", what="data set"), unit="MB/s"),
            Figure(what="read with rosbags alone", value=at("MB_per_s", what="rosbags"), unit="MB/s"),
            Figure(
                what="recorded time, two cameras 640 x 480 at 30 Hz",
                value=at("recorded_s_per_s", what="data set"),
                unit="s/s",
            ),
        ),
    ),
    Benchmark(
        name="lerobot",
        anchor="the same pictures encoded and decoded with PyAV alone",
        figures=(
            Figure(what="to LeRobot, colour", value=at("pictures_per_s", what="write colour"), unit="/s"),
            Figure(what="to LeRobot, colour, depth, segmentation", value=at("pictures_per_s", what="write"), unit="/s"),
            Figure(what="encoded with PyAV alone", value=at("pictures_per_s", what="PyAV encodes"), unit="/s"),
            Figure(what="from LeRobot, colour", value=at("pictures_per_s", what="read colour"), unit="/s"),
            Figure(
                what="from LeRobot, colour, depth, segmentation", value=at("pictures_per_s", what="read"), unit="/s"
            ),
            Figure(what="decoded with PyAV alone", value=at("pictures_per_s", what="PyAV decodes"), unit="/s"),
        ),
    ),
    Benchmark(
        name="simulation",
        anchor="nothing",
        figures=(
            Figure(
                what="pictures, 128 x 128",
                value=at("per_cpu_second", what="pictures", size=128, shadows=True),
                unit="/s",
            ),
            Figure(what="episodes, 128 x 128", value=at("per_cpu_second", what="episodes", size=128), unit="/s"),
        ),
    ),
    Benchmark(
        name="policy_evaluation",
        anchor="MuJoCo with pictures, the same policies at the same starts",
        figures=(
            *(
                figure
                for loop in ("open loop", "closed loop")
                for figure in (
                    Figure(
                        what=f"{loop}, imagined", value=at("imagined", "per_minute", what=loop), unit="units a minute"
                    ),
                    Figure(what=f"{loop}, MuJoCo", value=at("MuJoCo", "per_minute", what=loop), unit="units a minute"),
                    Figure(
                        what=f"{loop}, beside MuJoCo, by processor time", value=at("ratio", what=loop), unit="× MuJoCo"
                    ),
                )
            ),
            Figure(what="two workers", value=at("two_per_minute", what="workers"), unit="units a minute"),
            Figure(what="two workers beside one", value=at("ratio", what="workers"), unit="×", at_least=1.7),
        ),
    ),
    Benchmark(
        name="depth_completion",
        anchor="OpenCV's inpainting of the same holes",
        figures=(
            Figure(
                what="holes filled, 128 x 128", value=at("ms", "onnx", "p50", size="128 x 128"), unit="ms", at_most=8.0
            ),
            Figure(
                what="holes filled, 640 x 480",
                value=at("ms", "onnx", "p50", size="640 x 480"),
                unit="ms",
                at_most=120.0,
            ),
            Figure(
                what="holes filled, 640 x 480, Navier-Stokes",
                value=at("ms", "navier-stokes", "p50", size="640 x 480"),
                unit="ms",
            ),
        ),
    ),
    Benchmark(
        name="onnx_inference",
        anchor="torch in fp32 with as many threads",
        figures=tuple(
            figure
            for side in (128, 256)
            for figure in (
                Figure(
                    what=f"hole filler's network, {side} x {side}",
                    value=at("ms", "onnx fp32", "p50", network="depth_completion/network", side=side),
                    unit="ms",
                ),
                Figure(
                    what=f"the same in 8 bits, {side} x {side}",
                    value=at("ms", "onnx int8", "p50", network="depth_completion/network", side=side),
                    unit="ms",
                ),
                Figure(
                    what=f"beside torch, {side} x {side}",
                    value=at("ratio", network="depth_completion/network", side=side),
                    unit="× torch",
                ),
            )
        ),
    ),
    Benchmark(
        name="training",
        anchor="a bare PyTorch loop over the same network, samples and optimizer",
        figures=(
            Figure(what="step, `fourd train`", value=at("ms_per_step", what="fourd train"), unit="ms"),
            Figure(what="step, bare loop", value=at("ms_per_step", what="bare loop"), unit="ms"),
            Figure(what="cost of the loop for 32 samples", value=at("ms_per_step", what="overhead"), unit="ms"),
        ),
    ),
    Benchmark(
        name="kinema4d_step",
        anchor="a plain implementation of what the original does",
        figures=(
            Figure(what="a guided step", value=at("ours_ms"), unit="ms"),
            Figure(what="the plain one", value=at("plain_ms"), unit="ms"),
            Figure(what="ours beside it", value=at("ratio"), unit="×", at_most=0.75),
            Figure(what="once a clip", value=at("prepare_ms"), unit="ms"),
        ),
    ),
    Benchmark(
        name="gaussian_render",
        anchor="the same rules in torch",
        figures=(
            *_splatting("16384 at 128 x 128", at_most=30.0),
            *_splatting("65536 at 256 x 256", at_most=80.0),
        ),
    ),
    Benchmark(
        name="part_dynamics",
        anchor="the network alone",
        figures=(
            Figure(what="a drag answered", value=at("time_ms", "p50", what="whole"), unit="ms", at_most=500.0),
            Figure(what="the network, twice", value=at("time_ms", "p50", what="network alone"), unit="ms"),
            Figure(
                what="finding the object and drawing its views", value=at("time_ms", "p50", what="views"), unit="ms"
            ),
            Figure(what="the whole beside the network", value=at("beside_network", what="whole"), unit="×"),
        ),
    ),
    Benchmark(
        name="bundle_adjustment",
        anchor="gtsam and Ceres (pycolmap) on the same problems",
        figures=tuple(
            figure
            for size in ("10 x 300", "50 x 2000", "100 x 4000")
            for figure in (
                Figure(what=f"{size}: ours", value=at("time_s", "p50", size=size, solver="ours"), unit="s"),
                Figure(
                    what=f"{size}: gtsam beside it",
                    value=at("beside_ours", size=size, solver="gtsam"),
                    unit="×",
                    at_least=1.0 if size == "50 x 2000" else -math.inf,
                ),
                Figure(
                    what=f"{size}: Ceres beside it",
                    value=at("beside_ours", size=size, solver="pycolmap"),
                    unit="×",
                    at_least=1.0 if size == "50 x 2000" else -math.inf,
                ),
                Figure(
                    what=f"{size}: error left by Ceres beside ours",
                    value=at("rms_beside_ours", size=size, solver="pycolmap"),
                    unit="×",
                    at_least=0.999,
                ),
            )
        ),
    ),
    Benchmark(
        name="reconstruction_live",
        anchor="30 frames a second, as most RGB-D cameras give",
        figures=(
            Figure(
                what="frames kept at 30 Hz, 640 x 480 with depth", value=at("kept_percent"), unit="%", at_least=95.0
            ),
            Figure(what="latency, median", value=at("latency_ms", "p50"), unit="ms"),
            Figure(what="latency, p95", value=at("latency_ms", "p95"), unit="ms", at_most=100.0),
            Figure(what="CPU time of the node", value=at("cpu_percent"), unit="% of a core"),
            Figure(what="memory at the end", value=at("rss_mb"), unit="MB"),
            Figure(
                what="memory, growth in the second half",
                value=at("rss_growth_mb_per_1000_frames"),
                unit="MB / 1000 frames",
                at_most=2.0,
            ),
        ),
    ),
    Benchmark(
        name="streaming_geometry",
        anchor="a stream that remembers everything, whose frames take ever longer",
        figures=(
            *(
                Figure(
                    what=f"late frame beside an early one, {policy}",
                    value=at("late_over_early", what=policy),
                    unit="×",
                    at_most=math.inf if policy == "everything" else 1.05,
                )
                for policy in ("everything", "window", "budget")
            ),
            *(
                Figure(what=f"frames a second, {what}", value=at("frames_per_s", what=what), unit="1/s", at_least=10.0)
                for what in ("window", "budget", "with language")
            ),
            *(
                Figure(what=f"memory at the end, {policy}", value=at("cache_mb", what=policy), unit="MB")
                for policy in ("everything", "window", "budget")
            ),
            Figure(what="frames of each stream", value=at("frames", what="window"), unit="frames"),
            *(
                Figure(
                    what=f"memory of the published network, {policy}",
                    value=at("cache_gb", what=f"full size, {policy}"),
                    unit="GB",
                    at_most=1.0,
                )
                for policy in ("window", "budget")
            ),
        ),
    ),
    Benchmark(
        name="field_extraction",
        anchor="the whole lattice, as the original asks it",
        figures=tuple(
            figure
            for field in ("chair", "random decoder", "compact decoder")
            for size in (128, 256)
            for figure in _extraction(field, size)
        ),
    ),
    Benchmark(
        name="compositional",
        anchor="nothing else; the goal is absolute",
        figures=(
            Figure(what="whole answer, median", value=at("seconds", "p50"), unit="s", at_most=20.0),
            Figure(what="processor time", value=at("processor_s"), unit="s"),
            *(
                Figure(what=f"of it {stage}", value=at("stages_s", stage), unit="s")
                for stage in ("pictures", "scene", "motion", "meshes", "placing", "messages")
            ),
            Figure(what="largest memory", value=at("peak_rss_mb"), unit="MB", at_most=3000.0),
            Figure(what="weights of all networks", value=at("parameters_million"), unit="million"),
        ),
    ),
)
