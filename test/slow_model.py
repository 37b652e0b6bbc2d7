"""A world model that takes its time: for tests of deadlines, queues, previews and cancelling."""

import time
from collections.abc import Iterator
from dataclasses import replace

from fourd_ros.records import Rollout
from fourd_ros.world_model.base import Checkpoint, Question
from fourd_ros.world_model.kinematic import KinematicModel

STEP = 0.02
STEPS = 50


class SlowModel(KinematicModel):
    """The kinematic answer after one second, in steps of 20 ms."""

    backend = "slow"
    declared_cost = 4.0

    def imagine(self, question: Question, *, checkpoint: Checkpoint) -> Iterator[Rollout]:
        for step in range(STEPS):
            checkpoint(step / STEPS)
            time.sleep(STEP)
        for rollout in super().imagine(question, checkpoint=checkpoint):
            yield replace(rollout, backend=self.backend)
