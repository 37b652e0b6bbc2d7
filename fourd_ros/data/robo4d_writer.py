"""Writing clips into a folder of the layout of Robo4D-200k, file by file whole, the facts last."""

import io
from collections.abc import Iterator
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray
from PIL import Image

from fourd_ros.data.robo4d_clips import MadeClip
from fourd_ros.data.robo4d_coordinates import robot_coordinates, scene_coordinates
from fourd_ros.data.robo4d_facts import write_facts
from fourd_ros.data.robo4d_folder import Robo4DFolder, Stream
from fourd_ros.data.robo4d_masks import write_mask
from fourd_ros.data.robo4d_measured import save_measured
from fourd_ros.data.video import FORMATS, encode
from fourd_ros.errors import InvalidParameter
from fourd_ros.geometry.pointmap_range import to_bytes
from fourd_ros.whole_file import whole_file

Pixels = NDArray[np.uint8]


@dataclass(frozen=True, kw_only=True)
class FilmOptions:
    """Formats of the films, names of `FORMATS`.

    Args:
        scene: of colour and points.
        robot: of both films of the robot; a lossless one keeps the background exactly black.

    Raises:
        InvalidParameter: there is no such format.
    """

    scene: str = "faithful"
    robot: str = "lossless"

    def __post_init__(self) -> None:
        unknown = {self.scene, self.robot}.difference(FORMATS)
        if unknown:
            raise InvalidParameter(f"no film formats {sorted(unknown)}; there are {list(FORMATS)}")

    def of(self, stream: Stream) -> str:
        """Of one stream."""
        return self.robot if stream in (Stream.ROBOT_VIDEO, Stream.ROBOT_POINTMAP) else self.scene


def write_clip(clip: MadeClip, folder: Robo4DFolder, films: FilmOptions) -> None:
    """Write all files of a clip; those that are there are replaced."""
    name = clip.facts.name
    buffer = io.BytesIO()
    Image.fromarray(clip.rgb[0]).save(buffer, "PNG")
    with whole_file(folder.first_frame(name)) as file:
        file.write(buffer.getvalue())
    for stream, pictures in _films(clip).items():
        encode(pictures, folder.film(stream, name), rate=clip.facts.rate, video=FORMATS[films.of(stream)])
    save_measured(clip.points, clip.facts.range, folder.measured(name))
    write_mask(clip.robot_mask, folder.mask(name))
    write_facts(clip.facts, folder.facts(name))


def is_written(name: str, folder: Robo4DFolder) -> bool:
    """Whether a clip is there with all its files."""
    films = (folder.film(stream, name) for stream in Stream)
    others = (folder.facts(name), folder.first_frame(name), folder.measured(name), folder.mask(name))
    return all(path.exists() for path in (*others, *films))


def _films(clip: MadeClip) -> dict[Stream, Iterator[Pixels]]:
    """Pictures of every stream, made one by one."""
    return {
        Stream.VIDEO: iter(clip.rgb),
        Stream.POINTMAP: _scene_pictures(clip),
        Stream.ROBOT_VIDEO: iter(clip.robot_rgb),
        Stream.ROBOT_POINTMAP: _robot_pictures(clip),
    }


def _scene_pictures(clip: MadeClip) -> Iterator[Pixels]:
    facts = clip.facts
    for frame in range(len(clip.rgb)):
        points = clip.points.points_at(frame)
        yield to_bytes(
            scene_coordinates(points, facts.range.at(frame), convention=facts.convention, content=facts.content)
        )


def _robot_pictures(clip: MadeClip) -> Iterator[Pixels]:
    for frame in range(len(clip.rgb)):
        yield to_bytes(robot_coordinates(clip.points.robot_points_at(frame), clip.facts.range.at(frame)))
