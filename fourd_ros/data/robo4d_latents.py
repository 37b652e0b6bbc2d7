"""Files of latents of a clip, in the formats of the original; pickles are never run."""

from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

from fourd_ros.data.robo4d_folder import Robo4DFolder, Stream
from fourd_ros.errors import FourdError, InvalidDataset, UnsafeCheckpoint
from fourd_ros.model_io.checkpoint_files import open_weights
from fourd_ros.model_io.safetensors_file import import_torch
from fourd_ros.whole_file import whole_file

if TYPE_CHECKING:
    import torch

CHANNELS = 16
VIDEO_KEY, IMAGE_KEY = "encoded_video", "image_embedding"

MAX_BYTES = 1024**3
"""Of one file; those of the original have 2 MB."""

_BARE = ""


@dataclass(frozen=True, kw_only=True, eq=False)
class Robo4DLatents:
    """Latents of one clip as they are stored: normalised by channel, those of points neither shifted nor scaled.

    Args:
        video: of what the camera saw, shape [16, F, h, w].
        pointmap: of its points, the same shape.
        robot_video: of the rendered robot, the same shape.
        robot_pointmap: of its points, the same shape.
        image_embedding: tokens of the first frame, shape [n, width].

    Raises:
        InvalidDataset: shapes that contradict each other, or no floating-point numbers.
    """

    video: "torch.Tensor"
    pointmap: "torch.Tensor"
    robot_video: "torch.Tensor"
    robot_pointmap: "torch.Tensor"
    image_embedding: "torch.Tensor"

    def __post_init__(self) -> None:
        shape = self.video.shape
        for name in ("video", "pointmap", "robot_video", "robot_pointmap"):
            found = getattr(self, name)
            if found.ndim != 4 or found.shape[0] != CHANNELS or found.shape != shape or not found.is_floating_point():
                raise InvalidDataset(
                    f"latents of {name} are {found.dtype}{list(found.shape)}, those of the video {list(shape)}; "
                    f"needed are equal shapes [{CHANNELS}, F, h, w]"
                )
        tokens = self.image_embedding
        if tokens.ndim != 2 or not tokens.is_floating_point():
            raise InvalidDataset(f"'{IMAGE_KEY}' is {tokens.dtype}{list(tokens.shape)}, needed are numbers [n, width]")


def write_latents(latents: Robo4DLatents, folder: Robo4DFolder, name: str) -> None:
    """Write the four files of a clip, each whole or not at all; types are kept."""
    tensors = {VIDEO_KEY: latents.video, IMAGE_KEY: latents.image_embedding}
    _write_safetensors(tensors, folder.latents(Stream.VIDEO, name))
    _write_safetensors({VIDEO_KEY: latents.robot_video}, folder.latents(Stream.ROBOT_VIDEO, name))
    _write_bare(latents.pointmap, folder.latents(Stream.POINTMAP, name))
    _write_bare(latents.robot_pointmap, folder.latents(Stream.ROBOT_POINTMAP, name))


def read_latents(folder: Robo4DFolder, name: str) -> Robo4DLatents:
    """Latents of a clip.

    Raises:
        InvalidDataset: a file is missing, damaged or too large, or lacks a tensor.
        UnsafeCheckpoint: a pickle that would build more than tensors; nothing was run.
        MissingDependency: torch is not installed.
    """
    video = folder.latents(Stream.VIDEO, name)
    try:
        return Robo4DLatents(
            video=_read(video, VIDEO_KEY),
            pointmap=_read(folder.latents(Stream.POINTMAP, name), _BARE),
            robot_video=_read(folder.latents(Stream.ROBOT_VIDEO, name), VIDEO_KEY),
            robot_pointmap=_read(folder.latents(Stream.ROBOT_POINTMAP, name), _BARE),
            image_embedding=_read(video, IMAGE_KEY),
        )
    except InvalidDataset as error:
        raise InvalidDataset(f"clip '{name}': {error}") from error


def has_latents(folder: Robo4DFolder, name: str, shape: tuple[int, int, int]) -> bool:
    """Whether all latents of a clip are there and whole, with F, h and w of `shape`; only headers are read."""
    files = {folder.latents(stream, name): _BARE if stream.of_points else VIDEO_KEY for stream in Stream}
    try:
        return all(_shape(path, key) == (CHANNELS, *shape) for path, key in files.items())
    except FourdError:
        return False


def _read(path: Path, key: str) -> "torch.Tensor":
    import_torch()
    try:
        if path.stat().st_size > MAX_BYTES:
            raise InvalidDataset(f"'{path}' has {path.stat().st_size} bytes; at most {MAX_BYTES} are read")
        file = open_weights(path)
        if key not in file.names:
            needed = f"'{key}'" if key else "a single tensor"
            raise InvalidDataset(f"'{path}' holds {list(file.names)[:5]}; needed is {needed}")
        return file.read(key).clone()  # away from the mapped file
    except UnsafeCheckpoint:
        raise
    except (OSError, FourdError) as error:
        raise InvalidDataset(f"{error}; 'fourd data encode-latents' makes latents") from error


def _shape(path: Path, key: str) -> tuple[int, ...]:
    file = open_weights(path)
    return file.describe(key)[0] if key in file.names else ()


def _write_safetensors(tensors: Mapping[str, "torch.Tensor"], path: Path) -> None:
    from safetensors.torch import save

    with whole_file(path) as file:
        file.write(save({name: tensor.detach().cpu().contiguous() for name, tensor in tensors.items()}))


def _write_bare(tensor: "torch.Tensor", path: Path) -> None:
    torch = import_torch()
    with whole_file(path) as file:
        torch.save(tensor.detach().cpu().clone(), file)
