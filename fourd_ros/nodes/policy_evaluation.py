"""The policy evaluator node: how often policies succeed, judged in the imagination."""

import os
import sys
from collections.abc import Mapping
from dataclasses import dataclass
from fnmatch import fnmatchcase
from pathlib import Path
from typing import Any

from fourd_msgs.action import EvaluatePolicy

from fourd_ros.bridge.parameters import parameter
from fourd_ros.data.episode import FILE_NAME
from fourd_ros.errors import AlreadyExists, PathNotAllowed, TooLarge, UnknownBackend, UnknownPolicy
from fourd_ros.evaluation.policy.config import PolicyEvaluationConfig
from fourd_ros.evaluation.policy.controls import COPY_FIRST
from fourd_ros.evaluation.policy.evaluation import PolicyEvaluation
from fourd_ros.nodes.base import FourdNode, NodeParameters, run
from fourd_ros.nodes.queued_goals import QueuedGoal, QueuedGoalServer
from fourd_ros.nodes.standings import Standings
from fourd_ros.training.settings import config_tree, make_config, read_config
from fourd_ros.whole_file import is_vacant
from fourd_ros.world_model.base import backend_names


@dataclass(frozen=True, kw_only=True)
class PolicyEvaluatorParameters(NodeParameters):
    """Parameters of the policy evaluator node."""

    output_root: str = parameter(
        "~/.ros/fourd/evaluations", "folder in which every evaluation has one of its own, named by its goal"
    )
    settings_file: str = parameter(
        "",
        "YAML as `fourd evaluate policies` takes it: what a goal leaves open, such as controls, limit and size of the "
        "images; empty: the defaults",
        fixed_while="configured",
    )
    allowed_policies: tuple[str, ...] = parameter(
        ("scripted", "scripted/*", "imitation/*"),
        "patterns of the policies that goals may name; more, such as websocket/*, connect or run what a goal chooses",
    )
    workers: int = parameter(0, "processes that try policies; 0: one for each core", minimum=0, maximum=1024)
    max_units: int = parameter(
        1_000_000, "policies x tasks x starts x seeds of one goal; larger ones are refused", minimum=1
    )
    max_queued_goals: int = parameter(
        1,
        "goals that may wait for the one at work; more are rejected",
        minimum=0,
        maximum=100,
        fixed_while="configured",
    )
    feedback_period: float = parameter(
        0.5, "shortest time between two rounds of feedback, each of what has changed [s]", minimum=0.0, maximum=60.0
    )


class PolicyEvaluatorNode(FourdNode):
    """Lifecycle node ``policy_evaluator``: tries policies in the imagination, and in the simulator too where wanted.

    One evaluation at a time, each in a folder that keeps all of it: one that was cancelled is gone on with by a goal
    that names the same folder and `resume`.
    """

    Parameters = PolicyEvaluatorParameters
    parameters: PolicyEvaluatorParameters

    def __init__(self, **options: Any) -> None:
        super().__init__("policy_evaluator", **options)
        self._standings: Standings | None = None

    def load(self) -> None:
        settings = self.parameters
        path = Path(settings.settings_file).expanduser() if settings.settings_file else None
        self._defaults = read_config(PolicyEvaluationConfig, path)
        self._server = QueuedGoalServer(
            self,
            EvaluatePolicy,
            "~/evaluate_policy",
            answer=self._evaluate,
            report=self.report,
            max_queued_goals=settings.max_queued_goals,
        )
        self.defer(self._server.destroy)

    def start(self) -> None:
        self._server.open()

    def stop(self) -> None:
        self._server.close()

    def status(self) -> Mapping[str, object]:
        standings = self._standings
        if standings is None:
            return {"backend": self._defaults.backend} if self.is_active else {}
        return {"done": standings.done, "total": standings.total, "goals_waiting": len(self._server)}

    def _evaluate(self, goal: QueuedGoal, result: EvaluatePolicy.Result) -> None:
        """Answer a goal in the calling thread; what is known when it ends early is in the result too."""
        request, settings = goal.request, self.parameters
        goal.check_wanted()
        self._check_allowed(request)
        config = self._config(request)
        if config.units > settings.max_units:
            raise TooLarge(f"{config.units} units were asked for; max_units allows {settings.max_units}")
        folder = output_folder(settings.output_root, request.output_name)
        if not request.resume and not is_vacant(folder):
            raise AlreadyExists(f"'{folder}' holds something; set resume to go on with it, or name another output")
        workers = settings.workers or len(os.sched_getaffinity(0))
        evaluation = PolicyEvaluation(config, folder, workers=workers, apart=True)
        self._standings = standings = Standings(config, tell=goal.tell, period=settings.feedback_period)
        try:
            evaluation.run(heard=standings.hear, checkpoint=goal.check_wanted)
            result.report_path = str(evaluation.write_report(checkpoint=goal.check_wanted))
        finally:
            result.results = standings.messages()
            self._standings = None

    def _check_allowed(self, request: EvaluatePolicy.Goal) -> None:
        """Whoever sends goals does not choose the code that runs here; whoever starts the node does.

        Raises:
            UnknownPolicy, UnknownBackend: a name that is not on offer.
        """
        patterns = self.parameters.allowed_policies
        refused = [name for name in request.policies if not any(fnmatchcase(name, pattern) for pattern in patterns)]
        if refused:
            raise UnknownPolicy(f"policies {refused}; allowed_policies of this node are {list(patterns)}")
        backends = dict.fromkeys(("", self._defaults.backend, *backend_names(), COPY_FIRST))
        if request.backend not in backends:
            raise UnknownBackend(f"backend '{request.backend}'; on offer are {[name for name in backends if name]}")

    def _config(self, request: EvaluatePolicy.Goal) -> PolicyEvaluationConfig:
        """What a goal says, and for the rest the settings of the node.

        Raises:
            InvalidConfig, UnknownTask: something of it makes no sense.
        """
        tree = config_tree(self._defaults)
        backend = request.backend or tree["backend"]
        tree |= {
            "policies": list(request.policies),
            "tasks": list(request.tasks),
            "starts": tree["starts"] | {"count": request.starts, "seed": request.seed},
            "backend": backend,
            "controls": [control for control in tree["controls"] if control != backend],
            "truth": request.with_truth,
        }
        return make_config(PolicyEvaluationConfig, tree)


def output_folder(root: str, name: str) -> Path:
    """The folder of an evaluation.

    Raises:
        PathNotAllowed: it is not directly below the root.
    """
    place = Path(root).expanduser().resolve()
    folder = place / name
    if not FILE_NAME.fullmatch(name) or folder.resolve().parent != place:
        raise PathNotAllowed(f"output_name '{name}'; needed is the plain name of a folder in '{place}'")
    return folder


def main(args: list[str] | None = None) -> int:
    """Entry point of ``ros2 run fourd_ros policy_evaluator``."""
    return run(PolicyEvaluatorNode, args)


if __name__ == "__main__":
    sys.exit(main())
