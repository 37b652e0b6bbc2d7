"""The part dynamics node: looks at an object and says what moves, and about which joint, when it is dragged."""

import sys
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

import numpy as np
from fourd_msgs.action import PredictPartMotion
from geometry_msgs.msg import Point, PointStamped, Vector3
from sensor_msgs.msg import Image, PointCloud2
from visualization_msgs.msg import MarkerArray

from fourd_ros.bridge.images import array_to_image
from fourd_ros.bridge.parameters import parameter
from fourd_ros.bridge.part_motion import drags_to_arrays, motion_markers, moved_cloud
from fourd_ros.bridge.qos import RESULT
from fourd_ros.bridge.times import make_header, stamp_to_ns
from fourd_ros.errors import MissingCamera, NoObservation, TooLarge
from fourd_ros.model_io.folder import find_model
from fourd_ros.nodes.base import ClockJump, FourdNode, run
from fourd_ros.nodes.camera_parameters import CameraParameters
from fourd_ros.nodes.queued_goals import QueuedGoalServer, TimedGoal
from fourd_ros.nodes.robot_watch import RobotWatch
from fourd_ros.part_dynamics.drags import MAX_DRAGS, SpaceDrags
from fourd_ros.part_dynamics.model import SHOWN, PartDynamics, PartMotion
from fourd_ros.part_dynamics.object_scan import ScanOptions, parse_region
from fourd_ros.part_dynamics.question import PartQuestion, QuestionOptions
from fourd_ros.records import Observation

MODEL = "part_dynamics_compact"
Feedback = PredictPartMotion.Feedback


@dataclass(frozen=True, kw_only=True)
class PartDynamicsParameters(CameraParameters):
    """Parameters of the part dynamics node."""

    fixed_frame: str = parameter("world", "frame of everything predicted; its z axis points up")
    model: str = parameter(MODEL, "weights, a folder or the name of shipped ones", fixed_while="configured")
    allow_noncommercial: bool = parameter(
        False, "load weights whose licence forbids commercial use", fixed_while="configured"
    )
    device: str = parameter("cpu", "that computes, as torch names it", fixed_while="configured")
    views: str = parameter(
        "drawn",
        "what the network sees: the standard views, drawn from what all cameras with depth see, or the pictures of the "
        "first four cameras",
        choices=("drawn", "cameras"),
    )
    object_region: tuple[float, ...] = parameter(
        (),
        "least x, y, z and largest x, y, z of the box that the object fills in the fixed frame [m]; empty: what hangs "
        "together with the dragged points above the level that it stands on",
    )
    reach: float = parameter(
        1.5,
        "without a region, nothing farther from the first drag belongs to the object [m]",
        minimum=0.05,
        maximum=10.0,
    )
    start_gap: float = parameter(0.05, "drags begin this near to what is seen [m]", minimum=0.0, maximum=1.0)
    drag_radius: float = parameter(
        0.0, "drags that name no radius hold for points this near to their start [m]", minimum=0.0, maximum=1.0
    )
    rigid: bool = parameter(
        True,
        "the part moves as one piece, as far as the drags say, about the joint that the network's motion shows; else "
        "as the network says",
    )
    steps: int = parameter(4, "of the motion, for goals that name none", minimum=1, maximum=1000)
    max_steps: int = parameter(64, "of one goal", minimum=1, maximum=1000)
    max_queued_goals: int = parameter(
        8, "goals that may wait; more are rejected", minimum=0, maximum=1000, fixed_while="configured"
    )


class PartGoal(TimedGoal):
    """One goal of ``predict_part_motion``, which tells how far it is."""

    def checkpoint(self, stage: int, fraction: float) -> None:
        """Go on, if somebody still waits."""
        self.check_time(fraction)
        self.tell(Feedback(stage=stage, progress=float(fraction)))


class PartDynamicsNode(FourdNode):
    """Lifecycle node ``part_dynamics``: says how the parts of an object move when they are dragged."""

    Parameters = PartDynamicsParameters
    parameters: PartDynamicsParameters

    def __init__(self, **options: Any) -> None:
        super().__init__("part_dynamics", **options)
        self._model: PartDynamics | None = None

    def load(self) -> None:
        settings = self.parameters
        self._model = PartDynamics.from_folder(
            find_model(settings.model), allow_noncommercial=settings.allow_noncommercial, device=settings.device
        )
        self._moved = self.advertise(PointCloud2, "~/moved", RESULT)
        self._markers = self.advertise(MarkerArray, "~/markers", RESULT)
        self._views = self.advertise(Image, "~/views", RESULT)
        self._server = QueuedGoalServer(
            self,
            PredictPartMotion,
            "~/predict_part_motion",
            answer=self._answer,
            report=self.report,
            max_queued_goals=settings.max_queued_goals,
            goal_type=PartGoal,
        )
        self.defer(self._server.destroy)

    def start(self) -> None:
        self._watch = RobotWatch(self, self.parameters.watch_settings(robot=False))
        self._server.open()

    def stop(self) -> None:
        self._server.close()

    def unload(self) -> None:
        self._model = None

    def on_clock_jump(self, jump: ClockJump) -> None:
        if self.is_active:
            self._watch.observer.clear()

    def status(self) -> Mapping[str, object]:
        return {"model": self.parameters.model, "views": self.parameters.views}

    def _answer(self, goal: PartGoal, result: Any) -> None:
        """Fill in the result of a goal, which is shown on the topics as it comes (on a thread of the executor)."""
        steps = self._steps(goal.request)
        goal.checkpoint(Feedback.OBSERVING, 0.0)
        observation = self._observe(goal)
        question = self._question(goal.request, observation, steps)
        header = make_header(observation.stamp_ns, observation.frame)
        self._show_views(header, question)
        motion = None
        for motion in question.answer(lambda done: goal.checkpoint(Feedback.PREDICTING, done)):
            self._show(header, motion)
        assert motion is not None
        goal.checkpoint(Feedback.FITTING, 1.0)
        self._conclude(result, header, motion, points=goal.request.return_points)

    def _steps(self, request: Any) -> int:
        settings = self.parameters
        steps = int(request.steps) or settings.steps
        if steps > settings.max_steps:
            raise TooLarge(f"{steps} steps; at most {settings.max_steps}, see the parameter max_steps")
        if len(request.drags) > MAX_DRAGS:
            raise TooLarge(f"{len(request.drags)} drags; at most {MAX_DRAGS}")
        return steps

    def _observe(self, goal: PartGoal) -> Observation:
        try:
            return self._watch.observer.observe(
                None,
                frame=self.parameters.fixed_frame,
                stamp_ns=stamp_to_ns(goal.request.observation_stamp),
                timeout=self.parameters.observation_timeout,
                checkpoint=goal.check_time,
            )
        except MissingCamera as error:
            raise NoObservation(str(error)) from error

    def _question(self, request: Any, observation: Observation, steps: int) -> PartQuestion:
        settings, transforms = self.parameters, self._watch.observer.transforms
        drags = drags_to_arrays(
            request.drags,
            lambda frame, stamp_ns: transforms.lookup(observation.frame, frame, stamp_ns),
            stamp_ns=observation.stamp_ns,
            radius=settings.drag_radius,
        )
        assert self._model is not None
        return PartQuestion(
            self._model,
            observation.views,
            SpaceDrags(start=drags.start, displacement=drags.displacement, radius=drags.radius),
            options=QuestionOptions(
                views="drawn" if settings.views == "drawn" else "cameras",
                scan=ScanOptions(
                    region=parse_region(settings.object_region), reach=settings.reach, start_gap=settings.start_gap
                ),
                steps=steps,
                rigid=settings.rigid,
            ),
        )

    def _show_views(self, header: Any, question: PartQuestion) -> None:
        """What the network sees, side by side; drawn views say so in their frame."""
        seen = question.views
        shown = make_header(stamp_to_ns(header.stamp), "drawn_views" if seen.drawn else "camera_views")
        row = np.concatenate(list(np.moveaxis(seen.images, 1, -1)), axis=1)
        self._views.publish(array_to_image((row.clip(0, 1) * 255).round().astype(np.uint8), "rgb8", shown))

    def _show(self, header: Any, motion: PartMotion) -> None:
        self._moved.publish(_cloud(header, motion))
        joint = motion.joint
        axis = None if joint is None else (joint.origin, joint.axis)
        moving = motion.moving
        self._markers.publish(
            motion_markers(header, motion.before.positions[moving], motion.displacement[moving], axis=axis)
        )

    def _conclude(self, result: Any, header: Any, motion: PartMotion, *, points: bool) -> None:
        if points:
            result.moved = _cloud(header, motion)
        result.origin = PointStamped(header=header)
        joint = motion.joint
        if joint is None:
            return
        result.joint_type = int(joint.kind)
        result.origin.point = Point(**_xyz(joint.origin))
        result.axis = Vector3(**_xyz(joint.axis))
        result.amount, result.residual, result.confidence = joint.amount, joint.residual, joint.confidence


def _cloud(header: Any, motion: PartMotion) -> Any:
    """Gaussians that belong to the surface, as points."""
    shown = motion.after.opacities > SHOWN
    return moved_cloud(
        header,
        motion.after.positions[shown],
        rgb=(motion.after.rgb[shown].clip(0, 1) * 255).round().astype(np.uint8),
        displacement=motion.displacement[shown],
        moving=motion.moving[shown],
    )


def _xyz(vector: np.ndarray) -> dict[str, float]:
    return dict(zip("xyz", vector.tolist(), strict=True))


def main(args: list[str] | None = None) -> int:
    """Entry point of ``ros2 run fourd_ros part_dynamics``."""
    return run(PartDynamicsNode, args)


if __name__ == "__main__":
    sys.exit(main())
