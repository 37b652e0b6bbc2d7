"""Bundle adjustment beside gtsam and pycolmap (Ceres), on the same problems from the same start.

The clock is over adjusting: building the problem in the other libraries' own structures (a loop of Python calls) is
reported apart and not counted, ours includes building its blocks. All three stop when a step lowers the cost by less
than one millionth, hold the focal length, use no robust norm and end at the same optimum: the table gives the error
that is left.
"""

import argparse
import time
from collections.abc import Callable

from bundle_peers import Adjusted, ColmapAdjuster, GtsamAdjuster, bundle, rms_of
from measure import percentiles, report

from fourd_ros.reconstruction.bundle.adjustment import adjust
from fourd_ros.reconstruction.bundle.problem import BundleOptions, BundleProblem

SIZES = ((10, 300), (50, 2000), (100, 4000))
OPTIONS = BundleOptions(focal="fixed", huber_pixels=1e6, pixel_sigma=1.0)


def main() -> None:
    """Print the table."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--repeats", type=int, default=3)
    parser.add_argument("--largest", type=int, default=SIZES[-1][0], help="frames; leaves larger problems out")
    args = parser.parse_args()
    rows = []
    for frames, points in SIZES:
        if frames <= args.largest:
            rows += rows_of(bundle(frames, points), args.repeats)
    report("bundle_adjustment", rows)


def rows_of(problem: BundleProblem, repeats: int) -> list[dict[str, object]]:
    """A row for each solver, which take turns."""
    size = f"{problem.frames} x {len(problem.points)}"
    solvers = {"ours": _ours, "gtsam": _gtsam, "pycolmap": _pycolmap}
    took: dict[str, list[tuple[float, float, float]]] = {name: [] for name in solvers}
    for turn in range(repeats + 1):
        for name, solver in solvers.items():
            measured = solver(problem)
            if turn:  # the first is for warming up
                took[name].append(measured)
    rows: list[dict[str, object]] = []
    ours = percentiles([adjusting for _, adjusting, _ in took["ours"]])["p50"]
    for name, measured in took.items():
        times = percentiles([adjusting for _, adjusting, _ in measured])
        rows.append(
            {
                "size": size,
                "solver": name,
                "time_s": times,
                "beside_ours": times["p50"] / ours,
                "building_s": percentiles([building for building, _, _ in measured])["p50"],
                "rms_px": measured[-1][2],
                "rms_beside_ours": measured[-1][2] / took["ours"][-1][2],
            }
        )
    return rows


def _ours(problem: BundleProblem) -> tuple[float, float, float]:
    start = time.perf_counter()
    found = adjust(problem, OPTIONS)
    adjusting = time.perf_counter() - start
    return 0.0, adjusting, rms_of(problem, found.T_world_camera, found.points)


def _gtsam(problem: BundleProblem) -> tuple[float, float, float]:
    start = time.perf_counter()
    adjuster = GtsamAdjuster(problem)
    return _clocked(start, adjuster.run)


def _pycolmap(problem: BundleProblem) -> tuple[float, float, float]:
    start = time.perf_counter()
    adjuster = ColmapAdjuster(problem)
    scene = adjuster.prepared()
    return _clocked(start, lambda: adjuster.run(scene))


def _clocked(start: float, run: Callable[[], Adjusted]) -> tuple[float, float, float]:
    """Seconds of building and of adjusting, and the error that is left [px]."""
    built = time.perf_counter()
    found = run()
    return built - start, time.perf_counter() - built, found.rms


if __name__ == "__main__":
    main()
