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


def rows(folder: Path) -> list[dict[str, Any]]:
    return [json.loads(line) for line in (folder / "metrics.jsonl").read_text().splitlines()]


def train_alone(folder: Path, steps: int, *, resume: bool = False) -> None:
    config = read_config(RegressionConfig, None, [*SETTINGS, f"training.steps={steps}"])
    train(RegressionTask(config), folder, resume=resume, bar=False)


def test_two_processes_learn_like_one_and_the_number_may_change(tmp_path: Path) -> None:
    """One process begins, two go on until a signal to their launcher stops both, one finishes."""
    folder, alone = tmp_path / "several", tmp_path / "one"
    train_alone(folder, 10)
    words = ["train", MODEL, "--json", "--run-folder", str(folder), "--resume", "--set", "training.steps=100000"]
    both = subprocess.Popen([sys.executable, *LAUNCHER, *words], stdout=subprocess.PIPE, text=True)
    assert both.stdout is not None
    try:
        next(line for line in both.stdout if json.loads(line)["step"] >= 20)
        both.send_signal(signal.SIGTERM)
        told = [json.loads(line) for line in both.stdout]
        assert both.wait(TIMEOUT) != 0
    finally:
        both.kill()
    assert [row["interrupted"] for row in told if row["kind"] == "end"] == [True]
    done = told[-1]["step"]
    assert (folder / "checkpoints" / f"step_{done:08d}" / "state.json").is_file()
    train_alone(folder, done + 10, resume=True)
    starts = json.loads((folder / "environment.json").read_text())
    assert [(entry["from_step"], entry["processes"]) for entry in starts] == [(0, 1), (10, 2), (done, 1)]

    train_alone(alone, done + 10)
    expected = {(row["step"], row["kind"]): row for row in rows(alone)}
    found = {(row["step"], row["kind"]): row for row in rows(folder)}
    assert found.keys() - expected.keys() == {(10, "validation")}  # where the first part ended
    for place, row in expected.items():
        assert found[place] == pytest.approx(row, abs=1e-5)
