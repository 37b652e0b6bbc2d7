"""Parallel jobs: a worker that is killed in the middle of a job costs nothing but time."""

import hashlib
import multiprocessing
import os
import signal
import threading
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import psutil
import pytest
from episode_rig import make_episode

from fourd_ros.data.dataset_card import DatasetCard
from fourd_ros.data.episode_dataset import EpisodeDataset
from fourd_ros.data.episode_writer import EpisodeDatasetWriter
from fourd_ros.data.parallel import ATTEMPTS, run_jobs
from fourd_ros.data.validation import validate
from fourd_ros.errors import Cancelled, InvalidEpisode, JobFailed

EPISODES_EACH, SMALL_SHARD = 4, 16_000
JOBS = 4


@dataclass(frozen=True, kw_only=True)
class Preparation:
    """Prepare some episodes; `victim` is a file whose existence makes the first worker that takes it away die."""

    folder: Path
    number: int
    victim: Path | None = None


def prepare(job: Preparation) -> None:
    """Adds the episodes of the job that are missing."""
    with EpisodeDatasetWriter(job.folder, part=f"job-{job.number}", max_shard_bytes=SMALL_SHARD) as writer:
        for number in range(job.number * EPISODES_EACH, (job.number + 1) * EPISODES_EACH):
            episode = make_episode(number)
            if not writer.has(episode.name):
                writer.add(episode)
            if number % EPISODES_EACH == 2:
                die_once(job.victim)


def prepare_and_look(job: Preparation) -> set[str]:
    """The same in a Ray worker; where that and its node listen."""
    prepare(job)
    worker = psutil.Process()
    raylet = worker.parent()
    assert raylet is not None
    return {
        connection.laddr.ip
        for process in (raylet, worker)
        for connection in process.net_connections(kind="inet")
        if connection.status == psutil.CONN_LISTEN
    }


def die_once(victim: Path | None) -> None:
    if victim is None:
        return
    try:
        victim.unlink()
    except FileNotFoundError:
        return
    os.kill(os.getpid(), signal.SIGKILL)


def prepare_all(folder: Path, *, victim: Path | None = None, ray: bool = False, workers: int = 1) -> dict[str, Any]:
    """Results of the jobs; each must come once."""
    with EpisodeDatasetWriter(folder, card=DatasetCard(name="prepared")):
        pass
    jobs = {
        f"job {number}": Preparation(folder=folder, number=number, victim=victim if number == 1 else None)
        for number in range(JOBS)
    }
    if victim is not None:
        victim.touch()
    done = list(run_jobs(prepare_and_look if ray else prepare, jobs, workers=workers, ray=ray))
    assert victim is None or not victim.exists()
    assert sorted(key for key, _ in done) == sorted(jobs)
    return dict(done)


def hashes(folder: Path) -> dict[str, str]:
    return {
        str(path.relative_to(folder)): hashlib.sha256(path.read_bytes()).hexdigest()
        for path in folder.rglob("*")
        if path.is_file()
    }


@pytest.fixture(scope="module")
def undisturbed(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """What one process makes of the jobs."""
    folder = tmp_path_factory.mktemp("undisturbed")
    prepare_all(folder)
    return folder


@pytest.mark.parametrize("ray", [False, True], ids=["processes", "ray"])
def test_a_killed_worker_loses_nothing_and_repeats_nothing(undisturbed: Path, tmp_path: Path, ray: bool) -> None:
    if ray:
        pytest.importorskip("ray")
    folder = tmp_path / "dataset"
    done = prepare_all(folder, victim=tmp_path / "victim", workers=2, ray=ray)
    if ray:
        assert set.union(*done.values()) <= {"127.0.0.1", "::ffff:127.0.0.1", "::1"}
    assert EpisodeDataset(folder).names == tuple(f"episode_{number:06d}" for number in range(JOBS * EPISODES_EACH))
    assert validate(folder) == []
    assert hashes(folder) == hashes(undisturbed)


def twice(value: int) -> int:
    return 2 * value


def complain(value: int) -> int:
    if value == 2:
        raise InvalidEpisode("it has no frames")
    if value == 3:
        raise ZeroDivisionError("nothing to divide by")
    return value


def die(value: int) -> int:
    if value == 1:
        os.kill(os.getpid(), signal.SIGKILL)
    return value


@pytest.mark.parametrize("workers", [1, 2])
def test_every_job_is_done_once(workers: int) -> None:
    jobs = {str(number): number for number in range(7)}
    assert sorted(run_jobs(twice, jobs, workers=workers)) == [(str(number), 2 * number) for number in range(7)]
    assert list(run_jobs(twice, {}, workers=workers)) == []


@pytest.mark.parametrize("workers", [1, 2])
def test_errors_name_their_job(workers: int) -> None:
    with pytest.raises(InvalidEpisode, match="drive_7: it has no frames"):
        list(run_jobs(complain, {"fine": 1, "drive_7": 2}, workers=workers))
    with pytest.raises(JobFailed, match="drive_8: ZeroDivisionError: nothing to divide by"):
        list(run_jobs(complain, {"fine": 1, "drive_8": 3}, workers=workers))


def test_a_job_that_kills_every_worker_is_given_up() -> None:
    with pytest.raises(JobFailed, match=f"deadly: its process died {ATTEMPTS} times"):
        list(run_jobs(die, {"fine": 0, "deadly": 1}, workers=2))


def name_worker(folder: Path) -> None:
    """Tell who works, and never come to an end."""
    (folder / str(os.getpid())).touch()
    threading.Event().wait()


def work_for_ever(folder: Path) -> None:
    list(run_jobs(name_worker, {"one": folder, "two": folder}, workers=2))


def test_workers_do_not_outlive_a_killed_parent(tmp_path: Path) -> None:
    parent = multiprocessing.get_context("fork").Process(target=work_for_ever, args=(tmp_path,))
    parent.start()
    while len(workers := list(tmp_path.iterdir())) < 2:
        assert parent.is_alive()
        parent.join(0.05)
    processes = [psutil.Process(int(worker.name)) for worker in workers]
    parent.kill()
    _, alive = psutil.wait_procs(processes, timeout=20)
    assert alive == []


def test_what_nobody_wants_any_more_is_given_up(tmp_path: Path) -> None:
    workers: list[psutil.Process] = []

    def checkpoint() -> None:
        names = [path.name for path in tmp_path.iterdir()]
        if len(names) == 2:
            workers.extend(psutil.Process(int(name)) for name in names)
            raise Cancelled("by the test")

    with pytest.raises(Cancelled):
        list(run_jobs(name_worker, {"one": tmp_path, "two": tmp_path}, workers=2, checkpoint=checkpoint))
    assert workers and not any(worker.is_running() for worker in workers)


def where(_: int) -> int:
    return os.getpid()


def test_a_job_is_done_apart_where_that_is_wanted() -> None:
    assert dict(run_jobs(where, {"one": 1})) == {"one": os.getpid()}
    assert dict(run_jobs(where, {"one": 1}, apart=True)) != {"one": os.getpid()}


def test_a_cluster_that_is_not_there_is_said_so() -> None:
    pytest.importorskip("ray")
    with pytest.raises(JobFailed, match=r"no Ray cluster at '127\.0\.0\.1:1'"):
        list(run_jobs(twice, {"one": 1}, ray=True, address="127.0.0.1:1"))
