"""How an episode's arrays are called and shaped as features of a LeRobot data set."""

from collections.abc import Iterable, Mapping
from dataclasses import dataclass, replace
from functools import cached_property
from typing import Any

from fourd_ros.data.episode_index import EpisodeRow, IndexedCamera

STATE, VELOCITY, ACTION = "observation.state", "observation.velocity", "action"
COMMANDED, TIME = "commanded", "time"
COLOUR, DEPTH, SEGMENTATION, POSE = (
    "observation.images.",
    "observation.depth.",
    "observation.segmentation.",
    "camera_pose.",
)

MATRIX_NAMES = tuple(f"row{row}_column{column}" for row in range(4) for column in range(4))
"""Of a pose [4, 4], row after row."""

OPTIONAL = ("depth", "segmentation")
"""What a conversion can leave out."""

COUNTERS = {
    "timestamp": "float32",
    "frame_index": "int64",
    "episode_index": "int64",
    "index": "int64",
    "task_index": "int64",
}
"""What LeRobot itself counts in every frame."""


@dataclass(frozen=True, kw_only=True)
class Column:
    """Numbers of every frame, in a row: LeRobot's tools do not take matrices beside images.

    Args:
        array: of the episode that they are, see `take_apart`.
        names: of the places in it.
    """

    array: str
    names: tuple[str, ...]


@dataclass(frozen=True, kw_only=True)
class FeatureSet:
    """What all episodes of one LeRobot data set have in common.

    Args:
        rate: frames a second [Hz].
        joint_names: of the robot.
        action_names: of the columns of the actions; empty where the commanded joints are the action.
        cameras: who looked.
    """

    rate: float
    joint_names: tuple[str, ...]
    action_names: tuple[str, ...]
    cameras: tuple[IndexedCamera, ...]

    @classmethod
    def of(cls, row: EpisodeRow, *, without: tuple[str, ...] = ()) -> "FeatureSet":
        """Features of an episode, less what is left out."""
        left_out: dict[str, Any] = dict.fromkeys(without, False)
        return cls(
            rate=row.rate,
            joint_names=row.joint_names,
            action_names=row.action_names,
            cameras=_by_name(replace(camera, **left_out) for camera in row.cameras),
        )

    @classmethod
    def of_facts(cls, facts: Mapping[str, Any]) -> "FeatureSet":
        """Features of an episode that was taken apart.

        Raises:
            KeyError, TypeError, AttributeError: facts are missing or of another kind.
        """
        return cls(
            rate=facts["rate"],
            joint_names=tuple(facts["joint_names"]),
            action_names=tuple(facts["action_names"]),
            cameras=_by_name(
                IndexedCamera(name=name, **{key: view[key] for key in ("width", "height", *OPTIONAL)})
                for name, view in facts["views"].items()
            ),
        )

    @cached_property
    def columns(self) -> dict[str, Column]:
        """Features that are numbers, by name."""
        columns = {STATE: self._joints("measured"), VELOCITY: self._joints("velocities")}
        if self.action_names:
            columns[ACTION] = Column(array="actions", names=self.action_names)
            columns[COMMANDED] = self._joints("commanded")
        else:
            columns[ACTION] = self._joints("commanded")
        columns[TIME] = Column(array="times", names=("seconds",))
        for camera in self.cameras:
            columns[POSE + key_of(camera.name)] = Column(array=f"{camera.name}/T_world_camera", names=MATRIX_NAMES)
        return columns

    def _joints(self, array: str) -> Column:
        return Column(array=array, names=self.joint_names)

    @property
    def action(self) -> Column:
        """What was asked of the robot."""
        return self.columns[ACTION]

    @property
    def films(self) -> dict[str, IndexedCamera]:
        """Features that are films, by name."""
        return {COLOUR + key_of(camera.name): camera for camera in self.cameras}

    @property
    def depth(self) -> dict[str, IndexedCamera]:
        """Features that are depth images, by name."""
        return {DEPTH + key_of(camera.name): camera for camera in self.cameras if camera.depth}

    @property
    def segmentation(self) -> dict[str, IndexedCamera]:
        """Features that are segmentations, by name."""
        return {SEGMENTATION + key_of(camera.name): camera for camera in self.cameras if camera.segmentation}

    def described(self, films: Mapping[str, Mapping[str, Any]]) -> dict[str, dict[str, Any]]:
        """The ``features`` of ``info.json``; `films` is what `video.encode` said about each film."""
        numbers = {
            key: {"dtype": "float64", "shape": [len(column.names)], "names": list(column.names)}
            for key, column in self.columns.items()
        }
        pictures = {key: {**_pictures("video", camera, 3), "info": films[key]} for key, camera in self.films.items()}
        depth = {
            key: {**_pictures("image", camera, 1), "info": {"is_depth_map": True, "depth_unit": "m"}}
            for key, camera in self.depth.items()
        }
        segmentation = {key: _pictures("image", camera, 1) for key, camera in self.segmentation.items()}
        counters = {key: {"dtype": dtype, "shape": [1], "names": None} for key, dtype in COUNTERS.items()}
        return {**numbers, **pictures, **depth, **segmentation, **counters}

    def __str__(self) -> str:
        cameras = ", ".join(
            f"{camera.name} {camera.width} x {camera.height}"
            + "".join(f" + {field}" for field in OPTIONAL if getattr(camera, field))
            for camera in self.cameras
        )
        return (
            f"{self.rate:g} Hz, joints {', '.join(self.joint_names)}, "
            f"actions {', '.join(self.action_names) or 'as commanded'}, cameras {cameras or 'none'}"
        )


def _by_name(cameras: Iterable[IndexedCamera]) -> tuple[IndexedCamera, ...]:
    return tuple(sorted(cameras, key=lambda camera: camera.name))


def key_of(camera: str) -> str:
    """How a camera is called in names of features, which have no slashes."""
    return camera.strip("/").replace("/", ".")


def _pictures(dtype: str, camera: IndexedCamera, channels: int) -> dict[str, Any]:
    return {
        "dtype": dtype,
        "shape": [camera.height, camera.width, channels],
        "names": ["height", "width", "channels"],
    }
