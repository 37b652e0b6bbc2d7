"""Made-up questions that every rung answers before the first real one: what they cost here, and warm caches."""

import time
from collections.abc import Callable, Iterator, Sequence

import numpy as np

from fourd_ros.errors import DeadlineMissed
from fourd_ros.geometry.camera import PinholeCamera
from fourd_ros.geometry.transforms import look_at
from fourd_ros.records import Observation, RobotTrajectory, View
from fourd_ros.robot.description import RobotDescription
from fourd_ros.robot.model import RobotModel
from fourd_ros.robot.panda import PANDA_READY, panda_description
from fourd_ros.world_model.base import Question, WorldModel
from fourd_ros.world_model.compositing import Canvas
from fourd_ros.world_model.cost import Workload
from fourd_ros.world_model.ladder import Rung

KINDS = ((128, 16, 1), (64, 4, 2), (64, 4, 1), (128, 16, 1))
"""Image side [px], frames and candidates of each question: they differ in what a cost is made of. The usual one comes
first, so that it is measured even if there is time for no other, and again once everything is warm."""

STEP = 0.2
SCENERY = """<robot name="scenery"><link name="scenery">
<visual><origin xyz="0.5 0 -0.02"/><geometry><box size="1.2 1.4 0.04"/></geometry></visual>
<visual><origin xyz="0.55 -0.15 0.03"/><geometry><box size="0.06 0.06 0.06"/></geometry></visual>
<visual><origin xyz="0.55 0.15 0.03"/><geometry><box size="0.06 0.06 0.06"/></geometry></visual>
</link></robot>"""
EYE, TARGET, UP = np.array([1.3, -0.6, 0.7]), np.array([0.4, 0.0, 0.15]), np.array([0.0, 0.0, 1.0])
FOCAL = 1.1
"""Of the camera, in image heights."""


def rehearse(rungs: Sequence[Rung], *, seconds: float, on_error: Callable[[Exception], None]) -> None:
    """Time the rungs that were not timed yet, all of them together for no longer than `seconds`.

    A rung that is not done in time is believed what it declares.

    Args:
        rungs: quickest first.
        seconds: a model that takes longer than it declares is interrupted at its next checkpoint.
        on_error: takes what a rung raised; it is not asked again.
    """
    waiting = [rung for rung in rungs if not rung.cost.is_rehearsed]
    if not waiting or seconds <= 0:
        return
    robot = RobotModel(panda_description())
    give_up = time.monotonic() + seconds
    measured: dict[int, dict[Workload, float]] = {id(rung): {} for rung in waiting}
    for question in made_up_questions(robot):
        for rung in list(waiting):
            if time.monotonic() + rung.cost.estimate(question.work) > give_up:
                continue
            try:
                took = _time(rung.model, question, give_up)
            except DeadlineMissed:
                continue
            except Exception as error:
                on_error(error)
                waiting.remove(rung)
                continue
            known = measured[id(rung)]
            known[question.work] = min(took, known.get(question.work, took))
            rung.cost.rehearse(known)


def made_up_questions(robot: RobotModel) -> Iterator[Question]:
    """A question of each of the `KINDS`, to a Panda."""
    for size, steps, candidates in KINDS:
        yield made_up_question(robot, size=size, steps=steps, candidates=candidates)


def made_up_question(robot: RobotModel, *, size: int, steps: int, candidates: int) -> Question:
    """A robot that turns above a table with two boxes, seen by one camera.

    Args:
        robot: a Panda.
        size: width and height of the image [px].
        steps: frames to imagine.
        candidates: motions to imagine.
    """
    observation = _observe(robot, size)
    names = tuple(robot.kinematics.joint_names)
    now = robot.kinematics.positions_from(observation.joint_positions)
    times = STEP * np.arange(1, steps + 1)
    motion = RobotTrajectory(
        joint_names=names,
        times=np.array([0.0, times[-1]]),
        positions=np.stack([now, now + 0.1 * np.array([name == names[0] for name in names])]),
    )
    return Question(
        robot=robot, observation=observation, candidates=(motion,) * candidates, times=times, views=("camera",)
    )


def _time(model: WorldModel, question: Question, give_up: float) -> float:
    def checkpoint(fraction: float) -> None:
        if time.monotonic() > give_up:
            raise DeadlineMissed(f"{fraction:.0%} of a rehearsal was done in time")

    began = time.perf_counter()
    for _ in model.imagine(question, checkpoint=checkpoint):
        pass
    return time.perf_counter() - began


def _observe(robot: RobotModel, size: int) -> Observation:
    K = np.array([[FOCAL * size, 0, (size - 1) / 2], [0, FOCAL * size, (size - 1) / 2], [0, 0, 1]])
    camera, pose = PinholeCamera(width=size, height=size, K=K), look_at(EYE, TARGET, UP)
    poses = robot.kinematics.link_poses(robot.kinematics.positions_from(PANDA_READY))
    scenery = RobotModel(RobotDescription.from_urdf(SCENERY))
    seen = scenery.renderer.render({"scenery": np.eye(4)[None]}, camera, pose[None])
    canvas = Canvas.still(1, seen.rgb[0], seen.points[0])
    canvas.paint_robot(
        robot.renderer.render({link: T[None] for link, T in poses.items()}, camera, pose[None]), tolerance=0.0
    )
    view = View(camera=camera, T_world_camera=pose, rgb=canvas.rgb[0], points=canvas.points[0])
    return Observation(
        stamp_ns=0, frame=robot.kinematics.root, views={"camera": view}, joint_positions=dict(PANDA_READY)
    )
