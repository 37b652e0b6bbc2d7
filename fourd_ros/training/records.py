"""What a run tells while it goes: rows of metrics in a file, curves and pictures in TensorBoard, a progress bar."""

import json
import logging
import math
import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from fourd_ros.errors import MissingDependency
from fourd_ros.machine import pip_install
from fourd_ros.training.run_folder import RunFolder, writing
from fourd_ros.whole_file import write_whole

Row = Mapping[str, Any]


class MetricsFile:
    """Rows of metrics, one JSON object a line, in the order of steps.

    The same run writes the same bytes, so nothing in it depends on the clock.

    Args:
        path: of the file.
    """

    def __init__(self, path: Path) -> None:
        self._path = path

    def cut(self, step: int) -> None:
        """Remove the rows after `step`, and what is left of a row that was not finished."""
        if self._path.exists():
            rows = self._path.read_bytes().splitlines(keepends=True)
            kept = [row for row in rows if row.endswith(b"\n") and json.loads(row)["step"] <= step]
            write_whole(self._path, b"".join(kept).decode())

    def append(self, row: Row) -> None:
        """Add a row."""
        with self._path.open("a", encoding="utf-8") as file:
            file.write(json.dumps(row) + "\n")


class Window:
    """The numbers of the steps since the last row; part of a checkpoint, so that a resumed run's rows are the same.

    Args:
        steps: numbers of each step, as they were in the checkpoint.
    """

    def __init__(self, steps: Sequence[Sequence[float | None]] = ()) -> None:
        self.steps = [list(numbers) for numbers in steps]

    def add(self, numbers: Sequence[float]) -> None:
        """Add the numbers of one step; what is not finite (a gradient that fp16 skips) counts as unknown."""
        self.steps.append([number if math.isfinite(number) else None for number in numbers])

    def take(self, names: Sequence[str]) -> dict[str, float | None]:
        """Means over the known numbers by name, and start anew."""
        columns = zip(*self.steps, strict=True)
        means = {name: _mean([n for n in column if n is not None]) for name, column in zip(names, columns, strict=True)}
        self.steps = []
        return means


class Recorder:
    """Everything that is told of a run; used by its main process only.

    Args:
        run: where it is written.
        step: steps that were done before; later rows of an earlier attempt are removed.
        steps: of the whole run.
        bar: show a progress bar.
        report: called with each row, with the pace of the training added.

    Raises:
        MissingDependency: tensorboard is not installed.
        TrainingFailed: the disk is full or fails.
    """

    def __init__(
        self, run: RunFolder, *, step: int, steps: int, bar: bool, report: Callable[[Row], None] | None
    ) -> None:
        from tqdm import tqdm

        self._run = run
        self._metrics = MetricsFile(run.metrics)
        with writing("the metrics"):
            self._metrics.cut(step)
            self._board = _summary_writer(run.tensorboard, step)
        self._bar = tqdm(total=steps, initial=step, unit="step", disable=not bar, dynamic_ncols=True)
        self._report = report
        self._samples, self._since = 0, time.perf_counter()

    def stepped(self, samples: int) -> None:
        """One step with so many samples was done."""
        self._samples += samples
        self._bar.update()

    def trained(self, step: int, numbers: Mapping[str, float | None]) -> None:
        """A row about the steps up to `step`."""
        row = {"step": step, "kind": "train", **numbers}
        pace = self._pace()
        self._write(row, {"samples_per_second": pace})
        loss = numbers["loss"]
        self._bar.set_postfix_str(f"loss {loss:.4g}, {pace:.4g} samples/s")

    def validated(self, step: int, metrics: Mapping[str, float], pictures: Mapping[str, NDArray[np.uint8]]) -> None:
        """A row and the pictures of a validation."""
        self._write({"step": step, "kind": "validation", **metrics}, {})
        with writing("a picture or curve"):
            self._run.save_pictures(pictures, step=step)
            for name, picture in pictures.items():
                self._board.add_image(name, picture, step, dataformats="HWC" if picture.ndim == 3 else "HW")
            self._board.flush()
        self._samples, self._since = 0, time.perf_counter()

    def close(self) -> None:
        """Finish what is open."""
        self._bar.close()
        self._board.close()

    def _pace(self) -> float:
        """Samples per second since it was asked last."""
        now = time.perf_counter()
        pace = self._samples / (now - self._since)
        self._samples, self._since = 0, now
        return pace

    def _write(self, row: Row, unrepeatable: Row) -> None:
        numbers = {name: value for name, value in row.items() if name not in ("step", "kind") and value is not None}
        with writing("a row of metrics"):
            self._metrics.append(row)
            for name, value in {**numbers, **unrepeatable}.items():
                self._board.add_scalar(f"{row['kind']}/{name}", value, row["step"])
        if self._report is not None:
            self._report({**row, **unrepeatable})


@contextmanager
def logging_to(path: Path) -> Iterator[None]:
    """The log of everything below ``fourd_ros`` also in a file, for the block."""
    handler = logging.FileHandler(path, encoding="utf-8", delay=True)
    handler.setFormatter(logging.Formatter("%(asctime)s %(levelname)s %(message)s"))
    logger = logging.getLogger("fourd_ros")
    level = logger.level
    logger.addHandler(handler)
    logger.setLevel(logging.INFO)
    try:
        yield
    finally:
        logger.removeHandler(handler)
        logger.setLevel(level)
        handler.close()


def _summary_writer(folder: Path, step: int) -> Any:
    try:
        from torch.utils.tensorboard import SummaryWriter
    except ImportError as error:
        raise MissingDependency(f"curves need tensorboard: {pip_install('tensorboard')}") from error
    return SummaryWriter(str(folder), purge_step=step + 1)


def _mean(numbers: Sequence[float]) -> float | None:
    return math.fsum(numbers) / len(numbers) if numbers else None
