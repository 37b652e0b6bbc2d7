"""What objects are called: by a model that is asked while everything else goes on, by the user, or by their look."""

import time
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Any

import numpy as np
from numpy.typing import NDArray

from fourd_ros.reconstruction.clips.clip import Clip
from fourd_ros.reconstruction.masks.mask_files import write_segmentation
from fourd_ros.reconstruction.naming.object_namer import ObjectNamer
from fourd_ros.reconstruction.naming.object_names import answer_without_model, object_looks, object_names
from fourd_ros.reconstruction.naming.scene_answer import SceneAnswer
from fourd_ros.reconstruction.naming.scene_answer_file import MODEL, NO_MODEL, write_answer
from fourd_ros.reconstruction.naming.scene_question import MAX_FRAMES, shown_frames
from fourd_ros.reconstruction.pipeline.stages import Done, Progress, StageLog

__all__ = ["Naming", "Question", "frames_to_show"]

STAGE = "question"
POLL = 0.1
"""Between two looks for an answer [s]."""


@dataclass(frozen=True, kw_only=True)
class Question:
    """Who is asked for the names of objects.

    Args:
        namer: asks.
        about: the endpoint and the model, to tell whether another one was asked before.
    """

    namer: ObjectNamer
    about: str


class Naming:
    """The question to a model, and the names that objects get in the end.

    Args:
        log: of the stages; the key frames are there.
        question: None for no model.
        names: of objects by number, where the user has some.
    """

    def __init__(self, log: StageLog, question: Question | None, names: Mapping[int, str]) -> None:
        self._log, self._question, self._names = log, question, names

    def ask(self, clip: Clip, masks: NDArray[np.int32]) -> None:
        """Show key frames with the found objects marked to the model, unless it answered before; nothing waits.

        Where none was found, the model is asked what moves at all.
        """
        if self._question is None or self._log.is_done(STAGE, **self._asked()):
            return
        shown = frames_to_show(masks, self._log.stages["flow"].done.facts["key_frames"])
        marks = [masks[frame] for frame in shown] if masks.any() else None
        self._question.namer.submit([clip.rgb[frame] for frame in shown], marks)

    def wait(self) -> list[str]:
        """Wait until the model has answered or is late; names of the stages that were run."""
        if self._question is None:
            return []
        self._log.run(STAGE, self._answered, **self._asked())
        return [STAGE]

    @property
    def has_answer(self) -> bool:
        """Whether a model has said something; it is known once `wait` is over."""
        return self._answer() is not None

    def write(self, clip: Clip, masks: NDArray[np.int32]) -> Done:
        """Names, ``analysis/``, and ``segmentation/`` with ``qwen/Annotations``."""
        began, folder = time.perf_counter(), self._log.folder
        looks = object_looks(replace(clip, masks=masks))
        labels = {number: self._names.get(number, name) for number, name in object_names(looks).items()}
        answer, told = self._answer(), []
        if answer is not None and labels:
            labels |= dict(zip(answer.numbers, answer.objects, strict=True))
            if answer.unnamed:
                told.append(
                    f"the model gives no clear name to {len(answer.unnamed)} of {len(labels)} objects "
                    f"({', '.join(map(str, answer.unnamed))}); they are named by size, speed and colour"
                )
            plain = answer_without_model(looks, labels)
            answer = replace(plain, reasons={**plain.reasons, **answer.reasons})
        write_answer(
            folder,
            clip.name,
            answer_without_model(looks, labels) if answer is None else answer,
            frames=sorted((folder / "key_frames" / clip.name / "rgb").glob("*.png")),
            method=NO_MODEL if answer is None else MODEL,
            seconds=time.perf_counter() - began,
        )
        seconds = float(clip.stamps_ns[-1] - clip.stamps_ns[0]) * 1e-9
        write_segmentation(folder, rgb=clip.rgb, masks=masks, labels=labels, rate=round((clip.frames - 1) / seconds, 3))
        return Done(caveats=tuple(told), facts={"names": {str(number): name for number, name in labels.items()}})

    def _asked(self) -> dict[str, Any]:
        assert self._question is not None
        return {"inputs": {"about": self._question.about}, "after": ["flow", "objects"], "files": []}

    def _answered(self, tell: Progress) -> Done:
        assert self._question is not None
        namer = self._question.namer
        answer = namer.poll()
        while answer is None and not namer.problem:
            time.sleep(POLL)
            answer = namer.poll()
        if answer is None:
            return Done(caveats=(f"objects have no names of a model: {namer.problem}",), again=True)
        return Done(
            facts={
                "objects": list(answer.objects),
                "reasons": dict(answer.reasons),
                "numbers": list(answer.numbers),
                "unnamed": list(answer.unnamed),
            }
        )

    def _answer(self) -> SceneAnswer | None:
        facts = self._log.stages[STAGE].done.facts if STAGE in self._log.stages else {}
        if "objects" not in facts:
            return None
        return SceneAnswer(
            objects=tuple(facts["objects"]),
            reasons=facts["reasons"],
            numbers=tuple(facts["numbers"]),
            unnamed=tuple(facts["unnamed"]),
        )


def frames_to_show(masks: NDArray[np.int32], key_frames: Sequence[int], *, most: int = MAX_FRAMES) -> list[int]:
    """Key frames, and for each object that none of them shows the frame in which it is largest.

    Args:
        masks: number of the object at every pixel, 0 for none, shape [F, H, W].
        key_frames: frames, ascending.
        most: that are shown.

    Returns:
        Frames, ascending.
    """
    pixels = np.array([np.bincount(mask.ravel(), minlength=int(masks.max()) + 1) for mask in masks])
    missing = pixels.any(axis=0) & ~pixels[list(key_frames)].any(axis=0)
    extra = {int(pixels[:, number].argmax()) for number in np.flatnonzero(missing)}
    kept = sorted(extra)[:most]
    thinned = [key_frames[index] for index in shown_frames(len(key_frames), most=most - len(kept))]
    return sorted({*kept, *thinned})
