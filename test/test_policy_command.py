"""``fourd policy``: the list, and a policy that is asked through a socket by another program."""

import json
from pathlib import Path
from typing import Any

import pytest

from fourd_ros.cli import main
from fourd_ros.evaluation.policy.starts import StartOptions, simulated_start
from fourd_ros.evaluation.policy.trial_setup import assignment_of
from fourd_ros.policies.registry import make_policy


def test_the_list_names_what_can_be_evaluated(capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["policy", "list", "--json"]) == 0
    listed = json.loads(capsys.readouterr().out)
    assert "websocket" in listed["kinds"]
    for task, names in listed["scripted"].items():
        assert all(make_policy(name, task=task).name for name in names)


def test_a_served_policy_commands_what_it_would_command_here(tmp_path: Path, other_process: Any, wait_for: Any) -> None:
    pytest.importorskip("websockets")
    client = tmp_path / "client.json"
    served = ["-m", "fourd_ros.cli", "policy", "serve", "scripted/expert", "--task", "push"]
    process = other_process(*served, "--port", "0", "--client", str(client))
    wait_for(client.exists, "the file for clients")
    wait_for(lambda: "answers at" in process.output(), "the server")
    here, there = make_policy("scripted/expert", task="push"), make_policy(f"websocket/{client}", task="push")
    with simulated_start("push", 0, StartOptions(width=32, height=32)) as (start, _):
        motions = []
        for policy in (here, there):
            policy.begin(assignment_of(here, start, 0))
            motions.append(policy.act(start.observation, elapsed=0.0))
            policy.close()
    assert motions[0] is not None and motions[1] is not None
    ends = [dict(zip(motion.joint_names, motion.positions[-1], strict=True)) for motion in motions if motion]
    assert ends[0] == pytest.approx(ends[1], abs=0.02)
    assert process.interrupt() == 0
