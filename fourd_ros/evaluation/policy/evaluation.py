"""Policies x tasks x start states x seeds: tried in processes or on a cluster, kept as they are done, and resumed."""

import json
from collections.abc import Callable, Iterator, Sequence
from functools import partial
from pathlib import Path

from fourd_ros.data.parallel import run_jobs
from fourd_ros.errors import InvalidConfig, InvalidResults
from fourd_ros.evaluation.policy.config import PolicyEvaluationConfig
from fourd_ros.evaluation.policy.trials import Trials, try_start
from fourd_ros.evaluation.policy.units import UnitResult, from_row, to_row
from fourd_ros.strict_json import read_object
from fourd_ros.training.settings import differences, read_config, write_config
from fourd_ros.whole_file import write_whole

CONFIG_FILE = "config.yaml"
PARTS = "parts"


class PolicyEvaluation:
    """One evaluation in one folder.

    All units of a start are one job, kept in one file when they are done: what was interrupted is done again, and
    nothing is lost or counted twice.

    Args:
        config: what is tried.
        folder: that keeps it; one that holds part of the same evaluation is gone on with.
        workers: processes.
        ray: spread over Ray instead.
        address: of a Ray cluster; one is started here by default.

    Raises:
        InvalidConfig: the folder holds another evaluation.
    """

    def __init__(
        self,
        config: PolicyEvaluationConfig,
        folder: Path,
        *,
        workers: int = 1,
        ray: bool = False,
        address: str | None = None,
    ) -> None:
        self.config, self.folder = config, folder
        self._workers, self._ray, self._address = workers, ray, address
        self._jobs = {_job_name(task, start): self._trials(task, start) for task, start in self._cells()}
        self._claim()

    @property
    def total(self) -> int:
        """Number of units."""
        seeds = len(self.config.seeds)
        return sum(len(trials.policies) * seeds for trials in self._jobs.values())

    def run(self, *, heard: Callable[[Sequence[UnitResult]], None] = lambda results: None) -> None:
        """Try what was not tried yet.

        Args:
            heard: is told the results of the judged rung, those of earlier runs first.

        Raises:
            FourdError: a start, a rung or a policy cannot be made.
            JobFailed: a worker died again and again.
        """
        missing = {name: trials for name, trials in self._jobs.items() if not self._part(name).exists()}
        heard(self.results())
        jobs = run_jobs(
            partial(_try_and_keep, self.folder),
            missing,
            workers=self._workers,
            ray=self._ray,
            address=self._address,
        )
        for name, _ in jobs:
            heard(self._kept(name)[self.config.backend])

    def results(self, backend: str | None = None) -> list[UnitResult]:
        """All units that are done.

        Args:
            backend: the rung that imagined; the judged one by default.

        Raises:
            InvalidResults: a file of the folder is damaged.
        """
        wanted = self.config.backend if backend is None else backend
        done = (name for name in self._jobs if self._part(name).exists())
        return [result for name in done for result in self._kept(name).get(wanted, [])]

    def _cells(self) -> Iterator[tuple[str, int]]:
        for start in range(self.config.starts.count):
            for task in self.config.tasks:
                yield task, start

    def _trials(self, task: str, start: int) -> Trials:
        config = self.config
        return Trials(
            kind=task,
            number=start,
            options=config.starts.options,
            policies=config.policies_for(task),
            seeds=config.seeds,
            backends=(config.backend, *config.controls),
            model=config.model_options,
            truth=config.truth,
            limit=config.limit,
            least_trust=config.least_trust,
        )

    def _part(self, name: str) -> Path:
        return self.folder / PARTS / f"{name}.json"

    def _kept(self, name: str) -> dict[str, list[UnitResult]]:
        return _read_part(self._part(name))

    def _claim(self) -> None:
        """Note the settings in the folder, or see that they are those noted there."""
        path = self.folder / CONFIG_FILE
        if path.exists():
            before = read_config(PolicyEvaluationConfig, path)
            changed = [change for change in differences(before, self.config) if change.changes_result]
            if changed:
                told = "; ".join(map(str, changed))
                raise InvalidConfig(f"'{self.folder}' holds another evaluation ({told}); name another folder")
        write_config(self.config, path)


def _job_name(task: str, start: int) -> str:
    return f"{task}_{start:05d}"


def _try_and_keep(folder: Path, trials: Trials) -> None:
    results = try_start(trials)
    rows = {backend: [to_row(result) for result in found] for backend, found in results.items()}
    write_whole(folder / PARTS / f"{_job_name(trials.kind, trials.number)}.json", json.dumps(rows, indent=1))


def _read_part(path: Path) -> dict[str, list[UnitResult]]:
    try:
        rows = read_object(path, error=InvalidResults)
        return {backend: [from_row(row) for row in found] for backend, found in rows.items()}
    except (KeyError, TypeError, ValueError, AttributeError) as error:
        raise InvalidResults(
            f"'{path}' does not hold the units of a start ({error}); remove it to try it again"
        ) from error
