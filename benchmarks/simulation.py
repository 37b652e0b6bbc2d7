"""Speed of the simulator on one core: pictures a second and episodes a second.

``pictures``: the clock runs around ``Simulator.render`` of the front camera, which draws colour, depth and
segmentation of a scene at rest; building the scene and the OpenGL context is not counted.
``episodes``: the clock runs around ``record_episode`` (scene, model, OpenGL context, planning, physics, pictures of
the front camera at 5 Hz), without writing a file. CPU seconds are those of the process, so that the figure does not
depend on what else the machine does.
"""

import argparse
import time
from collections.abc import Callable, Iterator

from measure import report

from fourd_ros.simulation.recording import RecordingOptions, record_episode
from fourd_ros.simulation.scene import sample_scene
from fourd_ros.simulation.simulator import Simulator

SIZES = (64, 128, 256)
TASKS = ("push", "pick_place", "open_drawer")


def rows(*, pictures: int, episodes: int) -> Iterator[dict[str, object]]:
    """Both measurements at every size, with and without cast shadows."""
    for size in SIZES:
        for shadows in (True, False):
            with Simulator(sample_scene(0), width=size, height=size, shadows=shadows) as simulator:
                simulator.render("front")
                wall, cpu = _seconds(lambda simulator=simulator: simulator.render("front"), pictures)
            yield {"what": "pictures", "size": size, "shadows": shadows, **_rates(pictures, wall, cpu)}
    for size in SIZES:
        options = RecordingOptions(
            tasks=TASKS, policies=("expert",), cameras=("front",), width=size, height=size, rate=5.0
        )
        seeds = iter(range(1_000_000))
        frames: list[int] = []
        wall, cpu = _seconds(
            lambda seeds=seeds, options=options, frames=frames: frames.append(
                len(record_episode(next(seeds), options).times)
            ),
            episodes,
        )
        mean = sum(frames) / len(frames)
        yield {"what": "episodes", "size": size, "frames": mean, **_rates(episodes, wall, cpu)}


def _seconds(function: Callable[[], object], count: int) -> tuple[float, float]:
    """Wall and CPU seconds of `count` calls."""
    wall, cpu = time.perf_counter(), time.process_time()
    for _ in range(count):
        function()
    return time.perf_counter() - wall, time.process_time() - cpu


def _rates(count: int, wall: float, cpu: float) -> dict[str, float]:
    return {"per_second": count / wall, "per_cpu_second": count / cpu}


if __name__ == "__main__":
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--pictures", type=int, default=50, help="timed pictures of each kind")
    parser.add_argument("--episodes", type=int, default=6, help="timed episodes at each size")
    args = parser.parse_args()
    report("simulation", rows(pictures=args.pictures, episodes=args.episodes))
