"""Push objects to goals with a robot that imagines what its pushes do, in the simulator, through ROS.

The planner draws pushes (four numbers each), asks a model where each one would leave the object, and draws again
around the best (cross-entropy method). The winner is sent to the simulation node's arm; how far the object truly
ends from its goal is what counts. Four planners push in the same scenes: with the rung `points`, with the rung
`kinematic` (nothing ever moves there), with the simulator's own physics as the model, and without any model
(`straight`: through the middle of the object, as far as the goal is away).

    python examples/push_planner.py --scenes 50 --out out/push_planner
"""

import argparse
import json
import os
import sys
from collections.abc import Sequence
from dataclasses import asdict, dataclass, replace
from pathlib import Path

import numpy as np
from push_foresight import Foresight, Imagination, Physics
from push_planning import PlanSettings, PushPlanner, push_to_goal
from push_results import PushResult, ResultFile, draw, summary, table
from push_robot import CAMERA, PushRobot
from push_search import SearchSettings
from tqdm import tqdm

from fourd_ros.commands.arguments import non_negative_float, non_negative_int, positive_float, positive_int
from fourd_ros.errors import FourdError, UnknownModel
from fourd_ros.model_io.folder import ModelFolder, find_model
from fourd_ros.records import FloatArray
from fourd_ros.robot.model import RobotModel
from fourd_ros.simulation.scene import SceneSpec, sample_scene
from fourd_ros.simulation.tasks import Push, sample_task, task_kind
from fourd_ros.world_model.base import ModelOptions, WorldModel, load_backend

FIRST_SEED = 700_000
"""First scene of seed 0."""

SCENES_OF_A_SEED = 10_000

PHYSICS, STRAIGHT = "physics", "straight"
MODELS = ("points", "kinematic", PHYSICS, STRAIGHT)

PHYSICS_SHARE = 0.25
"""The planner with the true physics tries this share of the candidates: each of them takes a tenth of a second."""


@dataclass(frozen=True, kw_only=True)
class Assignment:
    """A scene, the object to push in it and where to.

    Args:
        spec: the scene, as the simulation node makes it.
        name: of the object.
        kind: of the object.
        goal: for the middle of the object [m], shape [2].
    """

    spec: SceneSpec
    name: str
    kind: str
    goal: FloatArray


def main(arguments: Sequence[str] | None = None) -> int:
    """Entry point."""
    args = _parser().parse_args(arguments)
    os.environ.setdefault("ROS_AUTOMATIC_DISCOVERY_RANGE", "LOCALHOST")
    try:
        run(args)
    except FourdError as error:
        print(f"error: {error}", file=sys.stderr)
        return 1
    return 0


def run(args: argparse.Namespace) -> None:
    """Push in all scenes that the results do not hold yet, and tell what came of it."""
    plan = PlanSettings(
        search=SearchSettings(rounds=args.rounds, candidates=args.candidates, elites=args.elites), pushes=args.pushes
    )
    settings = {"plan": asdict(plan), "physics_share": PHYSICS_SHARE, "weights": weights(args.compact_model)}
    file = ResultFile(args.out / "results.jsonl", settings)
    first = FIRST_SEED + args.seed * SCENES_OF_A_SEED
    wanted = [(seed, model) for seed in range(first, first + args.scenes) for model in args.model]
    missing = [key for key in wanted if key not in file.results]
    if missing:
        push_all(missing, file, plan, args)
    results = [file.results[key] for key in wanted]
    figures = summary(results, args.model, tolerance=args.tolerance)
    draw(results, args.model, args.out / "from_above.png", tolerance=args.tolerance)
    print(json.dumps(figures) if args.json else table(figures, tolerance=args.tolerance))


def weights(model: str) -> str:
    """Hash of a model folder; empty where there is none, as long as nobody asks for its rungs."""
    try:
        return ModelFolder(find_model(model)).sha256
    except UnknownModel:
        return ""


def push_all(
    missing: Sequence[tuple[int, str]], file: ResultFile, plan: PlanSettings, args: argparse.Namespace
) -> None:
    """Carry the missing ones out, in a simulation of their own."""
    options = ModelOptions(compact_model=args.compact_model, threads=args.threads)
    rungs = {name: load_backend(name).from_options(options) for name in args.model if name not in (PHYSICS, STRAIGHT)}
    args.out.mkdir(parents=True, exist_ok=True)
    log = args.out / "simulation.log"
    with PushRobot.simulated(real_time_factor=args.real_time_factor, log=log) as pusher:
        robot = pusher.model()
        for seed, model in tqdm(missing, unit="push", disable=args.json):
            file.add(push_once(pusher, robot, seed, model, rungs.get(model), plan))


def push_once(
    pusher: PushRobot, robot: RobotModel, seed: int, model: str, rung: WorldModel | None, plan: PlanSettings
) -> PushResult:
    """One scene with one model."""
    task = assignment(seed)
    if model == PHYSICS:
        plan = replace(plan, search=fewer(plan.search, PHYSICS_SHARE))
    planner = PushPlanner(robot, foresight(model, rung, robot, task.spec), plan)
    pusher.show(seed)
    outcome = push_to_goal(
        pusher, robot, planner, name=task.name, goal=task.goal, settings=plan, rng=np.random.default_rng((seed, 7))
    )
    known = np.isfinite(outcome.expected).all()
    return PushResult(
        seed=seed,
        model=model,
        kind=task.kind,
        goal=_point(task.goal),
        start=_point(outcome.start),
        end=_point(outcome.end),
        expected=_point(outcome.expected) if known else None,
        pushes=outcome.pushes,
        planning_seconds=outcome.planning_seconds,
    )


def foresight(model: str, rung: WorldModel | None, robot: RobotModel, spec: SceneSpec) -> Foresight | None:
    """What the planner of that name imagines with."""
    if rung is not None:
        return Imagination(rung, robot)
    return Physics(spec) if model == PHYSICS else None


def fewer(search: SearchSettings, share: float) -> SearchSettings:
    """The same search with a share of the candidates."""
    return replace(
        search,
        candidates=max(round(search.candidates * share), 2),
        elites=max(round(search.elites * share**0.5), 2),
    )


def assignment(seed: int) -> Assignment:
    """Of one scene seed: the one of the task `push`, whose goal is 10 to 18 cm away."""
    spec = sample_scene(seed, replace(task_kind("push").options, cameras=(CAMERA,)))
    task = sample_task("push", spec, seed=seed)
    assert isinstance(task, Push)
    kind = next(item.kind for item in spec.objects if item.name == task.target)
    return Assignment(spec=spec, name=task.target, kind=kind, goal=np.array(task.goal))


def _point(place: FloatArray) -> tuple[float, float]:
    return float(place[0]), float(place[1])


def _parser() -> argparse.ArgumentParser:
    search, plan = SearchSettings(), PlanSettings()
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0] if __doc__ else None)
    parser.add_argument("--scenes", type=positive_int, default=50, help="how many (default 50)")
    parser.add_argument("--seed", type=non_negative_int, default=0, help="other scenes (default 0)")
    parser.add_argument("--model", nargs="+", default=MODELS, help=f"default {' '.join(MODELS)}; any rung is possible")
    parser.add_argument(
        "--pushes", type=positive_int, default=plan.pushes, help=f"at most, a scene (default {plan.pushes})"
    )
    parser.add_argument(
        "--rounds", type=positive_int, default=search.rounds, help=f"of the search (default {search.rounds})"
    )
    parser.add_argument(
        "--candidates",
        type=positive_int,
        default=search.candidates,
        help=f"pushes of a round (default {search.candidates})",
    )
    parser.add_argument(
        "--elites", type=positive_int, default=search.elites, help=f"drawn around next (default {search.elites})"
    )
    parser.add_argument(
        "--tolerance", type=positive_float, default=0.03, help="distance that is a success [m] (default 0.03)"
    )
    parser.add_argument("--compact-model", default="world_model_compact", help="folder or name of the weights")
    parser.add_argument("--threads", type=positive_int, help="of the networks (default: the cores of this process)")
    parser.add_argument(
        "--real-time-factor", type=non_negative_float, default=4.0, help="of the simulation (default 4)"
    )
    parser.add_argument("--out", type=Path, default=Path("out/push_planner"), help="folder of results and picture")
    parser.add_argument("--json", action="store_true", help="figures as JSON, no progress bar")
    return parser


if __name__ == "__main__":
    sys.exit(main())
