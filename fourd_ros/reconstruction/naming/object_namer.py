"""Asks a model for the objects that move while everything else goes on: nothing here ever waits."""

import logging
import threading
import time
from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from fourd_ros.chat_endpoint import ChatEndpoint
from fourd_ros.errors import FourdError, InvalidMessage
from fourd_ros.reconstruction.masks.instance_map import InstanceMap
from fourd_ros.reconstruction.naming.marked_answer import parse_marked_answer
from fourd_ros.reconstruction.naming.object_marks import marked_numbers
from fourd_ros.reconstruction.naming.scene_answer import SceneAnswer, parse_answer
from fourd_ros.reconstruction.naming.scene_question import marked_question, scene_question, shown_frames

ATTEMPTS = 3
"""Questions until an answer can be read; the endpoint has its own for what goes wrong on the way."""

_LOG = logging.getLogger(__name__)


@dataclass
class _Question:
    """One that is under way, or answered."""

    began: float
    given_up: threading.Event
    answer: SceneAnswer | None = None
    problem: str = ""
    done: bool = False


class ObjectNamer:
    """One question at a time, asked in a thread of its own.

    Args:
        endpoint: where the model answers.
        deadline: time for an answer from the question on, attempts and pauses included [s]; what comes later is
            thrown away.

    Attributes:
        counters: ``asked``, ``answered``, ``unnamed`` (objects that were marked and got no name in an answer),
            ``busy`` (questions refused while another was under way), ``late``, and the kinds of errors.
        problem: what went wrong last, empty before.
    """

    def __init__(self, endpoint: ChatEndpoint, *, deadline: float = 60.0) -> None:
        self._endpoint, self._deadline = endpoint, deadline
        self._question: _Question | None = None
        self._thread: threading.Thread | None = None
        self.counters: Counter[str] = Counter()
        self.problem = ""

    @property
    def is_asking(self) -> bool:
        """Whether a question is under way, also one that was given up and has not come back."""
        return self._thread is not None and self._thread.is_alive()

    @property
    def answered_badly(self) -> bool:
        """Whether what went wrong last is that an answer could not be read."""
        return self.problem.startswith(f"{InvalidMessage.kind}:")

    @property
    def is_waiting(self) -> bool:
        """Whether `poll` may still bring an answer to the last question, or what went wrong with it."""
        return self._question is not None

    def submit(self, frames: Sequence[NDArray[np.uint8]], marks: Sequence[InstanceMap] | None = None) -> bool:
        """Ask about key frames; returns at once, also where the question is refused because of another.

        Args:
            frames: in the order of time, each of shape [H, W, 3]; many are thinned out. They must not change.
            marks: numbers of the objects that names are wanted for at every pixel of each frame, 0 for none, shape
                [H, W] each; None asks what moves at all.

        Returns:
            Whether it is asked.
        """
        if self.is_asking or (self._question is not None and self._question.done):
            self.counters["busy"] += 1
            return False
        shown = shown_frames(len(frames))
        chosen, chosen_marks = [frames[k] for k in shown], None if marks is None else [marks[k] for k in shown]
        question = _Question(began=time.monotonic(), given_up=threading.Event())
        self._question = question
        self._thread = threading.Thread(
            target=self._ask, args=(question, chosen, chosen_marks), name="object namer", daemon=True
        )
        self.counters["asked"] += 1
        self._thread.start()
        return True

    def poll(self) -> SceneAnswer | None:
        """The answer, once; None while there is none. What went wrong is counted here."""
        question = self._question
        if question is None:
            return None
        if question.done:
            self._question = None
            if question.answer is None:
                self._fail(question.problem)
                return None
            self.counters["answered"] += 1
            if question.answer.unnamed:
                self.counters["unnamed"] += len(question.answer.unnamed)
            return question.answer
        if time.monotonic() - question.began > self._deadline:
            self._question = None
            question.given_up.set()
            self._fail(f"late: no answer within {self._deadline:g} s")
        return None

    def close(self) -> None:
        """Give up what is under way; its thread ends with the attempt that it is at."""
        if self._question is not None:
            self._question.given_up.set()
            self._question = None

    def _fail(self, problem: str) -> None:
        kind = problem.split(":", 1)[0]
        self.counters[kind] += 1
        self.problem = problem
        _LOG.warning("objects have no names of a model: %s", problem)

    def _ask(
        self, question: _Question, frames: Sequence[NDArray[np.uint8]], marks: Sequence[InstanceMap] | None
    ) -> None:
        try:
            question.answer = ask_for_objects(self._endpoint, frames, marks=marks, give_up=question.given_up)
        except FourdError as error:
            question.problem = f"{error.kind}: {error}"
        except Exception as error:  # a thread that dies in silence would leave the question open
            question.problem = f"error: {type(error).__name__}: {error}"
        question.done = True


def ask_for_objects(
    endpoint: ChatEndpoint,
    frames: Sequence[NDArray[np.uint8]],
    *,
    marks: Sequence[InstanceMap] | None = None,
    give_up: threading.Event | None = None,
) -> SceneAnswer:
    """Ask and wait, again where the answer makes no sense.

    Args:
        endpoint: where the model answers.
        frames: in the order of time, each of shape [H, W, 3].
        marks: numbers of the objects at every pixel of each frame, shape [H, W] each; None asks what moves at all.
        give_up: set it, and nothing more is asked.

    Raises:
        InvalidImage: the frames are none, or the marks are not theirs.
        InvalidConfig: the key is not set.
        EndpointFailed: no answer came.
        InvalidMessage: none of the answers could be read.
    """
    messages = scene_question(frames) if marks is None else marked_question(frames, marks)
    give_up = give_up or threading.Event()
    for attempt in range(1, ATTEMPTS + 1):
        try:
            text = endpoint.ask(messages, give_up=give_up)
            return parse_answer(text) if marks is None else parse_marked_answer(text, marked_numbers(marks))
        except InvalidMessage:
            if attempt == ATTEMPTS or give_up.wait(endpoint.pause * 2 ** (attempt - 1)):
                raise
    raise AssertionError("at least one attempt is made")
