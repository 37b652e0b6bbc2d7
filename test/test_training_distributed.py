"""Several processes that were started together train like one."""

import json
import signal
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest
from conftest import TIMEOUT
from regression_task import RegressionConfig, RegressionTask

from fourd_ros.training.loop import train
from fourd_ros.training.settings import read_config

MODEL = "regression_task:RegressionTask"
SETTINGS = ("training.batch_size=8", "training.log_every=1", "training.validate_every=20", "training.device=cpu",
            "training.checkpoint_every=10", "training.schedule=constant", "dropout=0", "training.learning_rate=0.01",
            "training.gradient_accumulation=2")  # fmt: skip
LAUNCHER = ("-m", "torch.distributed.run", "--nproc-per-node=2", "--standalone", "-m", "fourd_ros.cli")


def start(*words: str) -> "subprocess.Popen[str]":
    command = [sys.executable, *LAUNCHER, "train", MODEL, "--json", *words]
    return subprocess.Popen(command, stdout=subprocess.PIPE, text=True)


def rows(folder: Path) -> list[dict[str, Any]]:
    return [json.loads(line) for line in (folder / "metrics.jsonl").read_text().splitlines()]


def test_two_processes_learn_like_one_stop_together_and_resume(tmp_path: Path) -> None:
    folder, alone = tmp_path / "two", tmp_path / "one"
    first = start("--run-folder", str(folder), "--set", *SETTINGS, "training.steps=100000")
    assert first.stdout is not None
    next(line for line in first.stdout if json.loads(line)["step"] >= 12)
    first.send_signal(signal.SIGTERM)
    end = [json.loads(line) for line in first.stdout][-1]
    assert first.wait(TIMEOUT) != 0
    done = end["step"]
    assert end["interrupted"] and (folder / "checkpoints" / f"step_{done:08d}" / "state.json").is_file()

    more = f"training.steps={done + 10}"
    second = start("--run-folder", str(folder), "--resume", "--set", more)
    output, _ = second.communicate(timeout=2 * TIMEOUT)
    assert second.returncode == 0
    assert [json.loads(line)["kind"] for line in output.splitlines()].count("end") == 1
    starts = json.loads((folder / "environment.json").read_text())
    assert [(entry["from_step"], entry["processes"]) for entry in starts] == [(0, 2), (done, 2)]

    train(RegressionTask(read_config(RegressionConfig, None, [*SETTINGS, more])), alone, bar=False)
    assert_close(rows(folder), rows(alone))


def assert_close(together: list[dict[str, Any]], single: list[dict[str, Any]]) -> None:
    for one, other in zip(together, single, strict=True):
        assert one == pytest.approx(other, abs=1e-5)
