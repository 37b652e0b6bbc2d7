"""What an imagination can start from: a live robot, or something that was saved."""

from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

from fourd_msgs.srv import ResetImagination

from fourd_ros.bridge.times import stamp_to_ns
from fourd_ros.data.episode import Episode
from fourd_ros.data.episode_observation import observation_of, step_at
from fourd_ros.errors import InvalidRobotDescription, MissingCamera, NoObservation, UnknownRollout, UnknownSource
from fourd_ros.nodes.robot_watch import RobotWatch
from fourd_ros.nodes.saved_starts import SavedStarts
from fourd_ros.records import Observation
from fourd_ros.robot.description import RobotDescription
from fourd_ros.robot.model import RobotModel

Request = ResetImagination.Request


@dataclass(frozen=True, kw_only=True)
class Start:
    """How a scene begins.

    Args:
        robot: in it.
        observation: what is known of it.
        seed: of everything imagined from there on.
    """

    robot: RobotModel
    observation: Observation
    seed: int


@dataclass(frozen=True, kw_only=True)
class Starts:
    """Finds what a request for a reset names.

    Args:
        saved: episodes and bags.
        live: the robot that is listened to, None for none.
        live_timeout: a live frame is waited for this long [s].
        cameras: views that are wanted; empty for all.
        mesh_roots: meshes are read only below these folders; None for installed packages.
    """

    saved: SavedStarts
    live: RobotWatch | None
    live_timeout: float
    cameras: tuple[str, ...] = ()
    mesh_roots: list[Path] | None = None

    def find(self, request: Any, *, known: RobotModel | None) -> Start:
        """The start that a ``ResetImagination`` request names.

        Args:
            request: source, name, stamp and seed.
            known: the robot that is imagined already; a start with another one is refused.

        Raises:
            UnknownSource: it is none of the sources.
            UnknownEpisode, InvalidEpisode, InvalidBag: no such episode, or it cannot be read.
            UnknownRollout: rollouts are kept by the world model node.
            NoObservation, UnknownObservation: nothing was seen at that stamp.
            MissingCamera: a view that is wanted is not there.
            InvalidRobotDescription: it is another robot, or it is not known which.
        """
        stamp_ns = stamp_to_ns(request.stamp)
        match request.source:
            case Request.LIVE:
                robot, observation = self._live(stamp_ns)
            case Request.EPISODE:
                robot, observation = self._saved(request.name, stamp_ns, known)
            case Request.ROLLOUT:
                raise UnknownRollout(
                    f"rollout '{request.name}' is not here: rollouts are kept by the world model node, which goes on "
                    "from them itself (start_rollout_id of Imagine); use LIVE or EPISODE"
                )
            case _:
                raise UnknownSource(f"source {request.source}; there are 0 (LIVE), 1 (EPISODE) and 2 (ROLLOUT)")
        if known is not None:
            robot = _same(robot, known)
        return Start(robot=robot, observation=self._with_cameras(observation), seed=request.seed)

    def _live(self, stamp_ns: int) -> tuple[RobotModel, Observation]:
        if self.live is None:
            raise NoObservation("no live robot is listened to; set source_cameras, and remap source/* to its topics")
        robot = self.live.wait_for_robot(self.live_timeout)
        return robot, self.live.observer.observe(robot, stamp_ns=stamp_ns, timeout=self.live_timeout)

    def _saved(self, name: str, stamp_ns: int, known: RobotModel | None) -> tuple[RobotModel, Observation]:
        episode = self.saved.find(name, stamp_ns)
        robot = self._robot_of(episode, known)
        return robot, observation_of(episode, step_at(episode, stamp_ns), frame=robot.kinematics.root)

    def _robot_of(self, episode: Episode, known: RobotModel | None) -> RobotModel:
        text = episode.robot_description
        if known is not None and text in ("", known.description.text):
            return known
        if not text:
            raise InvalidRobotDescription(f"episode '{episode.name}' does not tell the robot_description of its robot")
        return RobotModel(RobotDescription.from_urdf(text, allowed_roots=self.mesh_roots))

    def _with_cameras(self, observation: Observation) -> Observation:
        wanted = self.cameras or tuple(observation.views)
        missing = [name for name in wanted if name not in observation.views]
        if missing or not wanted:
            raise MissingCamera(f"no views of {missing or 'any camera'} at the start; seen: {list(observation.views)}")
        return replace(observation, views={name: observation.views[name] for name in wanted})


def _same(robot: RobotModel, known: RobotModel) -> RobotModel:
    given, own = robot.kinematics.joint_names, known.kinematics.joint_names
    if set(given) != set(own):
        raise InvalidRobotDescription(
            f"the start is of a robot with the joints {list(given)}, and this node stands in for one with {list(own)}; "
            "deactivate the node first"
        )
    return known
