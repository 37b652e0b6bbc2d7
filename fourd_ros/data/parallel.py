"""Many jobs at once: in processes of this machine, or as Ray tasks.

A job must be idempotent: done twice, it leaves what it leaves when done once. Then a killed worker costs nothing but
time, because its job is simply done again.
"""

import logging
import multiprocessing
import os
import signal
import socket
import threading
from collections.abc import Callable, Iterator, Mapping, Sized
from concurrent.futures import FIRST_COMPLETED, Future, ProcessPoolExecutor, wait
from concurrent.futures.process import BrokenProcessPool
from multiprocessing.connection import Connection
from multiprocessing.connection import wait as wait_for_any
from typing import Any, TypeVar

from fourd_ros.errors import FourdError, JobFailed, MissingDependency
from fourd_ros.machine import pip_install

Job = TypeVar("Job")
Result = TypeVar("Result")

ATTEMPTS = 3
"""How often a job is begun whose worker dies."""

CHECK_PERIOD = 0.2
"""Between two looks whether the results are still wanted [s]."""

_START_ATTEMPTS = 3
_CONNECT_SECONDS = 5.0

# One worker does one core's work; more threads would only get into each other's way.
_ONE_THREAD = {"OMP_NUM_THREADS": "1", "OPENBLAS_NUM_THREADS": "1", "LP_NUM_THREADS": "1"}


def run_jobs(
    function: Callable[[Job], Result],
    jobs: Mapping[str, Job],
    *,
    workers: int = 1,
    ray: bool = False,
    address: str | None = None,
    apart: bool = False,
    checkpoint: Callable[[], None] = lambda: None,
) -> Iterator[tuple[str, Result]]:
    """Do every job and yield its key and result as it is done.

    Jobs that are under way when the iterator is closed, or when something is raised, are given up.

    Args:
        function: of a module, or a `functools.partial` of one, so that another process can import it; its argument
            and result travel by pickle.
        jobs: by key.
        workers: processes at a time; 1 without Ray does the jobs in this process.
        ray: do them as Ray tasks.
        address: of a Ray cluster; without one, a local cluster of that many workers is started, heard on loopback only.
        apart: do them in another process even where one is enough, so that neither a crash of a job nor its length
            matters to this one.
        checkpoint: is called every `CHECK_PERIOD` while jobs are done elsewhere, and between jobs done in this process;
            what it raises ends everything.

    Raises:
        FourdError: of a job, with its key in front.
        JobFailed: a job raised something else, its worker died `ATTEMPTS` times, or there is no such cluster.
        MissingDependency: Ray is not installed.
    """
    if ray:
        return _run_on_ray(function, jobs, workers=workers, address=address, checkpoint=checkpoint)
    if not apart and runs_here(jobs, workers=workers, ray=ray):
        return _run_here(function, jobs, checkpoint=checkpoint)
    return _run_in_processes(function, jobs, workers=min(workers, len(jobs)), checkpoint=checkpoint)


def runs_here(jobs: Sized, *, workers: int, ray: bool) -> bool:
    """Whether `run_jobs` does them in this process unless told otherwise; their function may tell of progress then."""
    return not ray and (workers == 1 or len(jobs) < 2)


def _run_here(
    function: Callable[[Job], Result], jobs: Mapping[str, Job], *, checkpoint: Callable[[], None]
) -> Iterator[tuple[str, Result]]:
    for key, job in jobs.items():
        checkpoint()
        try:
            result = function(job)
        except Exception as error:
            raise _failure(key, error) from error
        yield key, result


def _run_in_processes(
    function: Callable[[Job], Result], jobs: Mapping[str, Job], *, workers: int, checkpoint: Callable[[], None]
) -> Iterator[tuple[str, Result]]:
    os.environ.update(_ONE_THREAD)
    waiting = [(key, 1) for key in reversed(list(jobs))]
    # A pool of one process each: when one dies, it is known which job it had, and the others work on.
    idle = [_OneProcess() for _ in range(workers)]
    busy: dict[Future[Result], tuple[str, int, _OneProcess]] = {}
    try:
        while waiting or busy:
            while waiting and idle:
                key, attempt = waiting.pop()
                pool = idle.pop()
                busy[pool.submit(function, jobs[key])] = (key, attempt, pool)
            checkpoint()
            for future in wait(busy, timeout=CHECK_PERIOD, return_when=FIRST_COMPLETED).done:
                key, attempt, pool = busy.pop(future)
                error = future.exception()
                if isinstance(error, BrokenProcessPool):
                    if attempt == ATTEMPTS:
                        raise JobFailed(f"{key}: its process died {ATTEMPTS} times; is there enough memory?")
                    waiting.append((key, attempt + 1))
                    pool.close()
                    idle.append(_OneProcess())
                elif error is not None:
                    raise _failure(key, error) from error
                else:
                    idle.append(pool)
                    yield key, future.result()
    finally:
        for pool in idle:
            pool.close()
        for _, _, pool in busy.values():
            pool.end()


class _OneProcess:
    """A process that does one job at a time."""

    def __init__(self) -> None:
        context = multiprocessing.get_context("spawn")
        told, self._tell = context.Pipe(duplex=False)
        self._pool = ProcessPoolExecutor(1, mp_context=context, initializer=end_with_parent, initargs=(told,))

    def submit(self, function: Callable[[Job], Result], job: Job) -> Future[Result]:
        return self._pool.submit(function, job)

    def close(self) -> None:
        """End it; it does nothing, or has died."""
        self._pool.shutdown()
        self._tell.close()

    def end(self) -> None:
        """End it in the middle of its job."""
        self._tell.send(None)
        self.close()


def end_with_parent(told: Connection | None = None) -> None:
    """Die with the parent, however it dies, and without a word on Ctrl-C; a worker would wait for jobs for ever.

    Args:
        told: die as soon as something comes from there, too.
    """
    from tqdm import tqdm

    tqdm.set_lock(threading.RLock())  # its own would be a semaphore of the machine, which outlives a killed worker
    signal.signal(signal.SIGINT, signal.SIG_DFL)
    threading.Thread(target=_await_end, args=(told,), daemon=True).start()


def _await_end(told: Connection | None) -> None:
    parent = multiprocessing.parent_process()
    if parent is not None:
        wait_for_any([parent.sentinel] if told is None else [parent.sentinel, told])
        os._exit(1)


def _run_on_ray(
    function: Callable[[Job], Result],
    jobs: Mapping[str, Job],
    *,
    workers: int,
    address: str | None,
    checkpoint: Callable[[], None],
) -> Iterator[tuple[str, Result]]:
    ray = _import_ray()
    started = not ray.is_initialized()
    if started:
        _join(ray, workers=workers, address=address)
    keys: dict[Any, str] = {}
    try:
        task = ray.remote(num_cpus=1, max_retries=ATTEMPTS - 1)(_call)
        shared = ray.put(function)
        keys = {task.remote(shared, job): key for key, job in jobs.items()}
        while keys:
            checkpoint()
            for done in ray.wait(list(keys), num_returns=1, timeout=CHECK_PERIOD)[0]:
                key = keys.pop(done)
                try:
                    result = ray.get(done)
                except ray.exceptions.RayTaskError as error:
                    raise _failure(key, error.cause) from error
                except ray.exceptions.RayError as error:
                    raise JobFailed(f"{key}: its worker died {ATTEMPTS} times: {error}") from error
                yield key, result
    finally:
        for unfinished in keys:
            ray.cancel(unfinished, force=True)
        if started:
            ray.shutdown()


def _call(function: Callable[[Job], Result], job: Job) -> Result:
    return function(job)


def _import_ray() -> Any:
    os.environ.setdefault("RAY_USAGE_STATS_ENABLED", "0")
    try:
        import ray
    except ImportError as error:
        raise MissingDependency(f"--ray needs Ray ({error}): {pip_install('ray')}") from error
    return ray


def _join(ray: Any, *, workers: int, address: str | None) -> None:
    quiet = {"log_to_driver": False, "logging_level": logging.ERROR}
    if address is None:
        _stay_on_loopback()
        _start(ray, num_cpus=workers, include_dashboard=False, **quiet)
        return
    try:
        _check_reachable(address)
        ray.init(address=address, **quiet)
    except (OSError, ValueError, RuntimeError) as error:
        raise JobFailed(f"there is no Ray cluster at '{address}': {error}") from error


def _start(ray: Any, **options: Any) -> None:
    """Start a cluster here; on a busy machine Ray gives up after half a minute, and the next attempt succeeds."""
    for attempt in range(1, _START_ATTEMPTS + 1):
        try:
            ray.init(address="local", **options)
            return
        except Exception as error:  # Ray raises this very class
            ray.shutdown()
            if attempt == _START_ATTEMPTS:
                raise JobFailed(f"Ray did not start here in {attempt} attempts: {error}") from error


def _stay_on_loopback() -> None:
    """Whatever the name of the switch says, it binds a cluster of one machine to loopback on Linux too.

    Ray has it read already in this process; those that it starts read the environment.
    """
    from ray._private import ray_constants

    os.environ[ray_constants.ENABLE_RAY_CLUSTERS_ENV_VAR] = "0"
    ray_constants.ENABLE_RAY_CLUSTER = False


def _check_reachable(address: str) -> None:
    """Ray itself would wait for minutes."""
    host, _, port = address.rpartition("://")[2].rpartition(":")
    if host:
        socket.create_connection((host.strip("[]"), int(port)), timeout=_CONNECT_SECONDS).close()


def _failure(key: str, error: BaseException) -> FourdError:
    """The error of a job, with its key in front."""
    if isinstance(error, FourdError):
        return type(error)(f"{key}: {error}")
    return JobFailed(f"{key}: {type(error).__name__}: {error}")
