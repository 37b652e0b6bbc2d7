"""The policy evaluator: goals over the action, what they are told meanwhile, cancelling and going on, bad goals."""

import threading
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np
import psutil
import pytest
from action_msgs.msg import GoalStatus
from conftest import ros_context, spinning
from fourd_msgs.action import EvaluatePolicy
from rclpy.node import Node
from rclpy.parameter import Parameter

pytest.importorskip("mujoco")

from fourd_ros.bridge.policy_results import policy_result_message
from fourd_ros.client import EvaluationFailed, PolicyEvaluatorClient
from fourd_ros.errors import PathNotAllowed
from fourd_ros.evaluation.policy.units import Outcome, Unit, UnitResult, read_units
from fourd_ros.evaluation.statistics import wilson_interval
from fourd_ros.nodes.policy_evaluation import PolicyEvaluatorNode, output_folder

Code = EvaluatePolicy.Result
EXPERT, RANDOM = "scripted/expert", "scripted/random"
STARTS = 5
SETTINGS = """\
starts: {width: 48, height: 48, shadows: false}
backend: points
controls: [copy_first, kinematic]
videos: 0
"""


class Evaluator:
    """A running node, and who asks it."""

    def __init__(self, node: PolicyEvaluatorNode, client: PolicyEvaluatorClient, root: Path, wait_for: Any) -> None:
        self.node, self.client, self.root, self.wait_for = node, client, root, wait_for

    def ask(self, output_name: str, **options: Any) -> Any:
        """A goal that is small unless something else is said."""
        given = {"policies": [EXPERT, RANDOM], "tasks": ["push"], "starts": 1, "with_truth": False} | options
        return self.client.evaluate(given.pop("policies"), given.pop("tasks"), output_name=output_name, **given)

    def fails(self, output_name: str, **options: Any) -> EvaluationFailed:
        """The error of a goal that cannot succeed."""
        with pytest.raises(EvaluationFailed) as caught:
            self.ask(output_name, **options).result(timeout=60.0)
        return caught.value


@pytest.fixture(scope="module")
def evaluator(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Evaluator]:
    """A node with one worker, which tries one start after the other."""
    from conftest import _wait_for

    root = tmp_path_factory.mktemp("evaluations")
    settings = tmp_path_factory.mktemp("settings") / "settings.yaml"
    settings.write_text(SETTINGS)
    parameters = {"output_root": str(root), "settings_file": str(settings), "workers": 1, "feedback_period": 0.0}
    with ros_context(), spinning() as spin:
        node = PolicyEvaluatorNode(parameter_overrides=[Parameter(k, value=v) for k, v in parameters.items()])
        asker = Node("test_client", use_global_arguments=False)
        client = PolicyEvaluatorClient(asker)
        spin(node, asker)
        client.wait(timeout=30.0)
        _wait_for(lambda: node.is_active, "the node to be active")
        yield Evaluator(node, client, root, _wait_for)
        client.destroy()


def test_policies_are_tried_and_told(evaluator: Evaluator) -> None:
    heard: list[Any] = []
    result = evaluator.ask("whole", with_truth=True, feedback=heard.append).result(timeout=60.0)
    assert result.error_code == Code.NONE
    assert [(row.policy, row.task) for row in result.results] == [(EXPERT, "push"), (RANDOM, "push")]
    units = {unit.unit.policy: unit for unit in read_units(evaluator.root / "whole" / "per_unit.csv")}
    for row in result.results:
        unit = units[row.policy]
        assert (row.valid, row.invalid, row.abstained) == (1, 0, 0)
        assert row.successes == int(bool(unit.imagined.success)) and row.has_truth
        assert unit.true is not None and row.truth_successes == int(bool(unit.true.success))
        assert row.interval_low < row.interval_high
    assert result.results[0].truth_rate == 1.0 and result.results[1].truth_rate == 0.0
    assert Path(result.report_path) == evaluator.root / "whole" / "report.html"
    assert Path(result.report_path).is_file()
    evaluator.wait_for(lambda: len(heard) == 2, "feedback about every policy")
    assert {message.latest.policy for message in heard} == {EXPERT, RANDOM}
    assert all((message.done, message.total) == (2, 2) for message in heard)


def test_a_cancelled_goal_is_gone_on_with(evaluator: Evaluator) -> None:
    first = threading.Event()
    goal = evaluator.ask("interrupted", starts=STARTS, backend="kinematic", feedback=lambda _: first.set())
    assert first.wait(60.0)
    assert goal.cancel()
    with pytest.raises(EvaluationFailed) as caught:
        goal.result(timeout=60.0)
    error = caught.value
    assert (error.code, error.status) == (Code.CANCELLED, GoalStatus.STATUS_CANCELED)
    done = error.result.results[0].valid
    assert 0 < done < STARTS and error.result.report_path == ""
    assert len(list((evaluator.root / "interrupted" / "parts").iterdir())) == done

    refused = evaluator.fails("interrupted", starts=STARTS, backend="kinematic")
    assert refused.code == Code.ALREADY_EXISTS
    other = evaluator.fails("interrupted", starts=STARTS, backend="kinematic", seed=1, resume=True)
    assert other.code == Code.INVALID_CONFIG and "starts.seed: 0 -> 1" in str(other)

    heard: list[Any] = []
    whole = evaluator.ask("interrupted", starts=STARTS, backend="kinematic", resume=True, feedback=heard.append)
    assert [row.valid for row in whole.result(timeout=60.0).results] == [STARTS, STARTS]
    evaluator.wait_for(lambda: heard and heard[-1].done == 2 * STARTS, "the last feedback")
    assert heard[0].done == 2 * done


def test_a_goal_that_waits_is_cancelled_at_once_and_one_too_many_is_rejected(evaluator: Evaluator) -> None:
    at_work = threading.Event()
    running = evaluator.ask("running", starts=50, feedback=lambda _: at_work.set())
    assert at_work.wait(60.0)
    waiting = evaluator.ask("waiting")
    evaluator.wait_for(waiting.is_decided, "the second goal to wait")
    assert evaluator.fails("one_too_many").code == 0
    assert waiting.cancel()
    with pytest.raises(EvaluationFailed, match="cancelled"):
        waiting.result(timeout=60.0)
    assert not running.done()
    assert running.cancel()
    with pytest.raises(EvaluationFailed, match="cancelled"):
        running.result(timeout=60.0)
    assert not (evaluator.root / "waiting").exists()


@pytest.mark.parametrize("name", ["", ".", "..", "../elsewhere", "/tmp/elsewhere", "below/it", ".hidden"])
def test_an_output_has_a_plain_name(name: str, evaluator: Evaluator) -> None:
    error = evaluator.fails(name)
    assert (error.code, error.status) == (Code.PATH_NOT_ALLOWED, GoalStatus.STATUS_ABORTED)


def test_an_output_does_not_leave_the_root_through_a_link(tmp_path: Path) -> None:
    (tmp_path / "root").mkdir()
    (tmp_path / "elsewhere").mkdir()
    (tmp_path / "root" / "link").symlink_to(tmp_path / "elsewhere")
    with pytest.raises(PathNotAllowed):
        output_folder(str(tmp_path / "root"), "link")
    assert output_folder(str(tmp_path / "root"), "fine") == tmp_path / "root" / "fine"


@pytest.mark.parametrize(
    ("options", "code", "words"),
    [
        ({"policies": ["scripted/champion"]}, Code.UNKNOWN_POLICY, "expert"),
        ({"policies": ["policy_kinds:Nodding/0.2"]}, Code.UNKNOWN_POLICY, "allowed_policies"),
        ({"tasks": ["juggle"]}, Code.UNKNOWN_TASK, "push"),
        ({"backend": "slow_model:SlowModel"}, Code.UNKNOWN_BACKEND, "kinematic"),
        ({"starts": 100_000, "policies": ["scripted"]}, Code.TOO_LARGE, "max_units"),
    ],
)
def test_a_bad_goal_is_told_why_and_leaves_nothing(
    options: dict[str, Any], code: int, words: str, evaluator: Evaluator
) -> None:
    error = evaluator.fails("bad", **options)
    assert error.code == code and words in str(error)
    assert not (evaluator.root / "bad").exists()


def test_numbers_out_of_range_are_told(evaluator: Evaluator) -> None:
    for options, named in (({"starts": 0}, "starts.count"), ({"seed": 2**63}, "starts.seed"), ({"tasks": []}, "tasks")):
        error = evaluator.fails("bad", **options)
        assert error.code == Code.INVALID_CONFIG and named in str(error)


def test_an_interrupted_node_ends_what_it_began(run_node: Any, tmp_path: Path) -> None:
    settings = tmp_path / "settings.yaml"
    settings.write_text(SETTINGS)
    target = "fourd_ros.nodes.policy_evaluation:PolicyEvaluatorNode"
    parameters = {"output_root": tmp_path, "settings_file": settings, "workers": 1}
    process = run_node(target, "-r", "__ns:=/elsewhere", **parameters)
    with PolicyEvaluatorClient.connect("/elsewhere/policy_evaluator", timeout=30.0) as client:
        begun = threading.Event()
        client.evaluate([EXPERT], ["push"], starts=500, output_name="long", feedback=lambda _: begun.set())
        assert begun.wait(60.0)
        workers = psutil.Process(process.process.pid).children(recursive=True)
        assert workers
        assert process.interrupt() == 0
    _, alive = psutil.wait_procs(workers, timeout=20)
    assert alive == [] and "Traceback" not in process.output()
    assert list((tmp_path / "long" / "parts").iterdir())


def test_rates_count_what_tells_of_success() -> None:
    def unit(start: int, imagined: Outcome, true: Outcome | None) -> UnitResult:
        return UnitResult(unit=Unit(task="push", policy="p", start=start, seed=0), imagined=imagined, true=true)

    row = policy_result_message(
        "p",
        "push",
        [
            unit(0, Outcome(success=True), Outcome(success=True)),
            unit(1, Outcome(success=False), Outcome(success=True)),
            unit(2, Outcome(success=None, abstained=True), Outcome(success=False)),
            unit(3, Outcome(success=None, invalid="no answer"), None),
        ],
    )
    assert (row.valid, row.invalid, row.abstained, row.successes, row.truth_successes) == (2, 1, 1, 1, 2)
    assert row.rate == 0.5 and row.truth_rate == pytest.approx(2 / 3)
    low, high = (float(end) for end in (wilson_interval(2, 3).low, wilson_interval(2, 3).high))
    assert (row.truth_interval_low, row.truth_interval_high) == pytest.approx((low, high))
    nothing = policy_result_message("p", "push", [])
    assert np.isnan(nothing.rate) and not nothing.has_truth
