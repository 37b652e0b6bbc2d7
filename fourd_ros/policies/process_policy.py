"""A policy in a process of its own, so that whatever becomes of it, the evaluation goes on."""

import multiprocessing
import signal
from contextlib import suppress
from multiprocessing.connection import Connection, wait
from typing import Any

from fourd_ros.data.parallel import end_with_parent
from fourd_ros.errors import FourdError, PolicyFailed
from fourd_ros.policies.base import Assignment, Contract, Policy
from fourd_ros.policies.checked import failure_of
from fourd_ros.policies.registry import make_policy as make_registered
from fourd_ros.records import Observation, RobotTrajectory

_LAST_WORDS = 2.0
"""For a process to end by itself [s]."""


class ProcessPolicy(Policy):
    """Passes questions on to a policy in another process.

    One that dies or gives no answer in time ends its episode; the next one begins with a new process.

    Args:
        name: by which it is known in results.
        registered: name of the policy (see ``registry.make_policy``).
        task: kind of task that it is made for.
        answer_limit: time for an answer [s].
        start_limit: time until it is made [s].

    Raises:
        FourdError: what making the policy raised.
        PolicyFailed: its process died meanwhile, or took too long.
    """

    def __init__(
        self, name: str, registered: str, *, task: str, answer_limit: float = 30.0, start_limit: float = 120.0
    ) -> None:
        super().__init__(name)
        self._arguments = (registered, task)
        self._answer_limit, self._start_limit = answer_limit, start_limit
        self._worker: _Worker | None = None
        self.contract: Contract = self._started()

    def begin(self, assignment: Assignment) -> None:
        """A new episode, in a new process where the former one is gone."""
        if self._worker is None:
            self._started()
        self._ask("begin", assignment=assignment)

    def act(self, observation: Observation, *, elapsed: float) -> RobotTrajectory | None:
        """What the policy answers.

        Raises:
            PolicyFailed: it raises an error, its process died, or it gives no answer in time.
        """
        motion: RobotTrajectory | None = self._ask("act", observation=observation, elapsed=elapsed)
        return motion

    def close(self) -> None:
        """Ends the process."""
        if self._worker is not None:
            self._worker.end()
            self._worker = None

    def _started(self) -> Any:
        self._worker = _Worker(self._arguments)
        return self._answer(self._start_limit)

    def _ask(self, method: str, **arguments: object) -> Any:
        if self._worker is None:
            raise PolicyFailed("its process is gone since its last failure; a new episode begins a new one")
        self._worker.send((method, arguments))
        return self._answer(self._answer_limit)

    def _answer(self, limit: float) -> Any:
        assert self._worker is not None
        try:
            answer = self._worker.answer(limit)
        except PolicyFailed:
            self._worker.kill()
            self._worker = None
            raise
        if isinstance(answer, FourdError):
            raise answer
        return answer


def make_policy(detail: str, *, task: str) -> ProcessPolicy:
    """``process/NAME``: the policy NAME in a process of its own."""
    return ProcessPolicy(f"process/{detail}", detail, task=task)


class _Worker:
    """The other process."""

    def __init__(self, arguments: tuple[str, str]) -> None:
        context = multiprocessing.get_context("spawn")
        self._connection, theirs = context.Pipe()
        # Daemonic: at the end of the program nobody waits for a policy that does not come back.
        self._process = context.Process(target=_work, args=(theirs, *arguments), daemon=True)
        self._process.start()
        theirs.close()

    def send(self, question: object) -> None:
        with suppress(OSError):  # it is gone, which `answer` will tell
            self._connection.send(question)

    def answer(self, limit: float) -> Any:
        if not wait([self._connection], limit):
            raise PolicyFailed(f"no answer within {limit:g} s; its process was killed")
        try:
            return self._connection.recv()
        except (EOFError, OSError) as error:
            self._process.join(_LAST_WORDS)
            raise PolicyFailed(f"its process died with exit code {_told(self._process.exitcode)}") from error
        except Exception as error:
            raise PolicyFailed(f"its answer cannot be read: {error}") from error

    def end(self) -> None:
        self._connection.close()
        self._process.join(_LAST_WORDS)
        self.kill()

    def kill(self) -> None:
        self._connection.close()
        self._process.kill()
        self._process.join()
        self._process.close()


def _told(code: int | None) -> str:
    if code is None or code >= 0:
        return str(code)
    known = {int(number): number.name for number in signal.Signals}
    return f"{code} ({known.get(-code, 'a signal')})"


def _work(connection: Connection, registered: str, task: str) -> None:
    end_with_parent()
    try:
        policy = make_registered(registered, task=task)
    except Exception as error:
        connection.send(error if isinstance(error, FourdError) else failure_of(error))
        return
    connection.send(policy.contract)
    with suppress(EOFError):
        while True:
            method, arguments = connection.recv()
            try:
                connection.send(getattr(policy, method)(**arguments))
            except Exception as error:
                connection.send(failure_of(error))
    policy.close()
