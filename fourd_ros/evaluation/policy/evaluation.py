"""Policies x tasks x start states x seeds: tried in processes or on a cluster, kept as they are done, and resumed."""

import json
from collections import Counter
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from fnmatch import fnmatchcase
from functools import partial
from pathlib import Path

from fourd_ros.data.parallel import run_jobs
from fourd_ros.data.video import FORMATS, encode
from fourd_ros.errors import InvalidConfig, InvalidResults
from fourd_ros.evaluation.policy.config import PolicyEvaluationConfig
from fourd_ros.evaluation.policy.controls import rung_class
from fourd_ros.evaluation.policy.detector_scores import DetectorScore, score_detector
from fourd_ros.evaluation.policy.films import film
from fourd_ros.evaluation.policy.imagination import FRAME_STEP
from fourd_ros.evaluation.policy.report_films import UnitVideo
from fourd_ros.evaluation.policy.trial_setup import Trials
from fourd_ros.evaluation.policy.trials import try_start
from fourd_ros.evaluation.policy.units import IMAGINED, TRUE, Unit, UnitResult, from_row, to_row
from fourd_ros.policies.registry import make_policy
from fourd_ros.strict_json import read_object
from fourd_ros.training.settings import config_tree, differences, read_config, write_config
from fourd_ros.whole_file import write_whole

CONFIG_FILE = "config.yaml"
FILMS, PARTS = "films", "parts"
RESULTS, TRUTHS = "results", "truths"


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
        apart: try nothing in this process, even with one worker.

    Raises:
        FourdError: a rung or a policy cannot be made; the folder is left as it was.
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
        apart: bool = False,
    ) -> None:
        self.config, self.folder = config, folder
        self._workers, self._ray, self._address, self._apart = workers, ray, address, apart
        self._jobs = {_job_name(task, start): self.trials(task, start) for task, start in self._cells()}
        self._check_names()
        self._claim()

    @property
    def total(self) -> int:
        """Number of units."""
        return self.config.units

    def run(
        self,
        *,
        heard: Callable[[Sequence[UnitResult]], None] = lambda results: None,
        checkpoint: Callable[[], None] = lambda: None,
    ) -> None:
        """Try what was not tried yet.

        Args:
            heard: is told the results of the judged rung, those of earlier runs first.
            checkpoint: is called again and again; what it raises ends the run, and what was done is kept.

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
            apart=self._apart,
            checkpoint=checkpoint,
        )
        for name, _ in jobs:
            heard(self._kept(name).results[self.config.backend])

    def results(self, backend: str | None = None) -> list[UnitResult]:
        """All units that are done.

        Args:
            backend: the rung that imagined; the judged one by default.

        Raises:
            InvalidResults: a file of the folder is damaged.
        """
        wanted = self.config.backend if backend is None else backend
        done = (name for name in self._jobs if self._part(name).exists())
        return [result for name in done for result in self._kept(name).results.get(wanted, [])]

    def trials(self, task: str, start: int) -> Trials:
        """All that is tried at one start, for `try_start`."""
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
            answer_limit=config.answer_limit,
            judge=None if config.judge is None else config.judge.judge,
            least_trust=config.least_trust,
        )

    def write_report(self, *, checkpoint: Callable[[], None] = lambda: None) -> Path:
        """The report of all units that are done, with films of some of them; returns its page.

        Args:
            checkpoint: is called before each film; what it raises ends the report, and films that were made are kept.

        Raises:
            InvalidResults: nothing was tried yet, or a file of the folder is damaged.
        """
        from fourd_ros.evaluation.policy.report import write_report

        parts = {name: self._kept(name) for name in self._jobs if self._part(name).exists()}
        results = self.results()
        return write_report(
            self.folder,
            results,
            controls={backend: self.results(backend) for backend in self.config.controls},
            videos=self._videos(results, checkpoint),
            detectors=self._detector_scores(parts),
            contacts=self._contacts(parts),
            config=config_tree(self.config),
            sloppy=[name for name in {result.unit.policy for result in results} if self._is_sloppy(name)],
        )

    def _contacts(self, parts: Mapping[str, "_Part"]) -> dict[Unit, str]:
        """What the robot truly did to things, by unit."""
        return {
            result.unit: contact
            for part in parts.values()
            for result in part.results[self.config.backend]
            if (contact := part.contacts.get((result.unit.policy, result.unit.seed)))
        }

    def _is_sloppy(self, policy: str) -> bool:
        return any(fnmatchcase(policy, pattern) for pattern in self.config.sloppy)

    def _detector_scores(self, parts: Mapping[str, "_Part"]) -> list[DetectorScore]:
        """Of the detector of every task, when it is told how things truly moved."""
        scores = []
        for task in self.config.tasks if self.config.truth else ():
            verdicts = []
            for part in parts.values():
                for result in part.results[self.config.backend]:
                    key = result.unit.policy, result.unit.seed
                    if result.unit.task == task and result.true is not None and result.true.counts:
                        verdicts.append((part.detected[key], bool(result.true.success)))
            scores.append(score_detector(task, verdicts))
        return scores

    def _videos(self, results: Sequence[UnitResult], checkpoint: Callable[[], None]) -> Iterator[UnitVideo]:
        """Of some disagreements and some agreements of each task; made once and kept."""
        for task in self.config.tasks:
            for unit in _shown(results, task, self.config.videos if self.config.truth else 0):
                paths = [self.folder / FILMS / f"{_film_name(unit)}_{world}.mp4" for world in (IMAGINED, TRUE)]
                if not all(path.exists() for path in paths):
                    checkpoint()
                    for path, frames in zip(paths, film(self._jobs[_job_name(task, unit.start)], unit), strict=True):
                        encode(frames, path, rate=1 / FRAME_STEP, video=FORMATS["compatible"])
                yield UnitVideo(unit=unit, imagined=paths[0], true=paths[1], rate=1 / FRAME_STEP)

    def _cells(self) -> Iterator[tuple[str, int]]:
        for start in range(self.config.starts.count):
            for task in self.config.tasks:
                yield task, start

    def _part(self, name: str) -> Path:
        return self.folder / PARTS / f"{name}.json"

    def _kept(self, name: str) -> "_Part":
        return _read_part(self._part(name))

    def _check_names(self) -> None:
        """See that all that is named can be made."""
        for backend in (self.config.backend, *self.config.controls):
            rung_class(backend, allow_noncommercial=self.config.allow_noncommercial)
        for task in self.config.tasks:
            for name in self.config.policies_for(task):
                make_policy(name, task=task).close()

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


def _shown(results: Sequence[UnitResult], task: str, count: int) -> list[Unit]:
    """Units of a task that a report shows: disagreements first, of policies that differ where possible."""
    judged = [r for r in results if r.unit.task == task and r.imagined.counts and r.true is not None and r.true.counts]
    wrong = [r.unit for r in judged if r.true is not None and r.imagined.success != r.true.success]
    right = [r.unit for r in judged if r.true is not None and r.imagined.success and r.true.success]
    disagreements = _of_many_policies(wrong)[: (count + 1) // 2]
    return [*disagreements, *_of_many_policies(right)[: count - len(disagreements)]]


def _of_many_policies(units: Sequence[Unit]) -> list[Unit]:
    """The first of every policy, then the second of every policy, and so on."""
    turns: Counter[str] = Counter()
    order = []
    for unit in units:
        order.append((turns[unit.policy], unit))
        turns[unit.policy] += 1
    return [unit for _, unit in sorted(order)]


def _film_name(unit: Unit) -> str:
    return f"{unit.task}_{unit.policy.replace('/', '_').replace(':', '_')}_{unit.start:05d}_{unit.seed}"


def _job_name(task: str, start: int) -> str:
    return f"{task}_{start:05d}"


def _try_and_keep(folder: Path, trials: Trials) -> None:
    found = try_start(trials)
    tree = {
        RESULTS: {backend: [to_row(result) for result in results] for backend, results in found.results.items()},
        TRUTHS: [
            {"policy": name, "seed": seed, "detected": truth.detected, "contact": truth.contact}
            for (name, seed), truth in found.truths.items()
        ],
    }
    write_whole(folder / PARTS / f"{_job_name(trials.kind, trials.number)}.json", json.dumps(tree, indent=1))


@dataclass(frozen=True, kw_only=True)
class _Part:
    """What is kept of a start.

    Args:
        results: by rung.
        detected: what the detector says when it is told the truth, by policy and seed.
        contacts: what the robot truly did to things, by policy and seed.
    """

    results: dict[str, list[UnitResult]]
    detected: dict[tuple[str, int], bool | None]
    contacts: dict[tuple[str, int], str]


def _read_part(path: Path) -> _Part:
    try:
        tree = read_object(path, error=InvalidResults)
        truths = {(str(row["policy"]), int(row["seed"])): row for row in tree[TRUTHS]}
        return _Part(
            results={backend: [from_row(row) for row in rows] for backend, rows in tree[RESULTS].items()},
            detected={key: row["detected"] for key, row in truths.items()},
            contacts={key: str(row["contact"]) for key, row in truths.items()},
        )
    except (KeyError, TypeError, ValueError, AttributeError) as error:
        raise InvalidResults(f"'{path}' holds no units of a start ({error}); remove it to try it again") from error
