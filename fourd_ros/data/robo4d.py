"""Reading a folder of the layout of Robo4D-200k: ours, with points in metres, or that of the original.

Layout: Kinema4D 2026 (arXiv 2603.16669); see `robo4d_folder`.
"""

from collections.abc import Mapping
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path

import numpy as np
from numpy.typing import NDArray
from PIL import Image, ImageOps

from fourd_ros.data.robo4d_facts import ClipFacts, read_facts
from fourd_ros.data.robo4d_films import MAX_FILM_BYTES, read_film
from fourd_ros.data.robo4d_folder import Robo4DFolder, Stream, read_list
from fourd_ros.data.robo4d_latents import Robo4DLatents, read_latents
from fourd_ros.data.robo4d_masks import Mask, occupancy, read_mask
from fourd_ros.data.robo4d_measured import load_measured
from fourd_ros.errors import InvalidDataset
from fourd_ros.geometry.pointmap_range import PointmapRange, from_bytes

Pixels = NDArray[np.uint8]
Floats = NDArray[np.float32]

MAX_IMAGE_PIXELS = 4096 * 4096


@dataclass(frozen=True, kw_only=True, eq=False)
class Robo4DClip:
    """One clip of T frames; points are in the frame of the camera at the first of them.

    Args:
        name: of the clip.
        rgb: what the camera saw, shape [T, H, W, 3].
        points: what it saw in space, shape [T, H, W, 3]; [m] or, in unit coordinates, 0..1. NaN where unknown, which
            films cannot tell: there holes are filled.
        robot_rgb: the robot alone before black, shape [T, H, W, 3].
        robot_points: of the robot, NaN elsewhere, shape [T, H, W, 3].
        robot_mask: where the robot is, shape [T, H, W].
        exact: whether points are as they were measured; otherwise they come from films of 8 bits.
        range: from metres to unit coordinates; None for clips of the original, which did not keep it.
        facts: where the clip is from; None for clips of the original.
    """

    name: str
    rgb: Pixels
    points: Floats
    robot_rgb: Pixels
    robot_points: Floats
    robot_mask: NDArray[np.bool_]
    exact: bool
    range: PointmapRange | None
    facts: ClipFacts | None


class Robo4DDataset:
    """The clips of a folder.

    Args:
        folder: of the data set.
        listed: a list of clips such as ``train_shuffled.txt``; without one, every clip that has all four films, by
            name.

    Attributes:
        files: where everything lies.

    Raises:
        InvalidDataset: no films, or a list that is none.
    """

    def __init__(self, folder: Path | str, *, listed: Path | None = None) -> None:
        self.files = Robo4DFolder(Path(folder))
        self._listed = None if listed is None else read_list(listed)

    def __len__(self) -> int:
        return len(self.names)

    @cached_property
    def names(self) -> tuple[str, ...]:
        """Of the clips."""
        return tuple(self.files.complete_names()[0]) if self._listed is None else self._listed

    @property
    def left_out(self) -> Mapping[str, list[str]]:
        """Clips that lack films, with the folders in which they are missing."""
        return self.files.complete_names()[1]

    @property
    def encoded_names(self) -> tuple[str, ...]:
        """Clips with latents of all streams, in the order of the list where there is one."""
        encoded = self.files.names_with_latents()
        return tuple(sorted(encoded)) if self._listed is None else tuple(n for n in self._listed if n in encoded)

    def clip(self, name: str, *, unit: bool = False, max_bytes: int = MAX_FILM_BYTES) -> Robo4DClip:
        """Pictures and points of a clip.

        Args:
            name: of the clip.
            unit: points from 0 to 1 instead of metres.
            max_bytes: of every film; checked before it is decoded.

        Raises:
            InvalidDataset: a file is missing, truncated or damaged, films differ in length or size, or metres are
                asked for and nobody kept the range.
            TooLarge: a film is larger than allowed.
        """
        facts = self.facts(name)
        if facts is None and not unit:
            raise InvalidDataset(
                f"'{self.files.facts(name)}' is missing, so nobody knows what clip '{name}' measures in metres; "
                "ask for unit coordinates"
            )
        rgb, robot_rgb = (self._film(stream, name, max_bytes) for stream in (Stream.VIDEO, Stream.ROBOT_VIDEO))
        self._check_equal(name, rgb, robot_rgb, Stream.ROBOT_VIDEO)
        mask = self._mask_of(name, robot_rgb)
        exact = facts is not None and self.files.measured(name).exists()
        points, robot_points = self._measured(name, unit) if exact else self._filmed(name, rgb, mask, max_bytes)
        if not exact and facts is not None and not unit:
            points, robot_points = facts.range.to_metres(points), facts.range.to_metres(robot_points)
        self._check_equal(name, rgb, points, Stream.POINTMAP)
        return Robo4DClip(
            name=name,
            rgb=rgb,
            points=points.astype(np.float32, copy=False),
            robot_rgb=robot_rgb,
            robot_points=robot_points.astype(np.float32, copy=False),
            robot_mask=mask,
            exact=exact,
            range=facts.range if facts else None,
            facts=facts,
        )

    def facts(self, name: str) -> ClipFacts | None:
        """Where a clip is from; None for clips of the original.

        Raises:
            InvalidDataset: the file is damaged.
        """
        path = self.files.facts(name)
        return read_facts(path) if path.exists() else None

    def first_frame(self, name: str) -> Pixels:
        """The first picture as it was meant to be seen, shape [H, W, 3].

        Raises:
            InvalidDataset: missing, damaged, or larger than `MAX_IMAGE_PIXELS`.
        """
        path = self.files.first_frame(name)
        try:
            with Image.open(path) as image:
                if image.width * image.height > MAX_IMAGE_PIXELS:
                    raise InvalidDataset(f"'{path}' has {image.width} x {image.height} pixels; too many")
                return np.asarray(ImageOps.exif_transpose(image).convert("RGB"))
        except (OSError, ValueError, SyntaxError, Image.DecompressionBombError) as error:
            raise InvalidDataset(f"'{path}' is no picture: {error}") from error

    def mask(self, name: str) -> Mask:
        """Where the robot is, 0 or 1, shape [T, H, W, 1], mapped from its file.

        Raises:
            InvalidDataset: missing, damaged, or no mask.
        """
        return read_mask(self.files.mask(name))

    def latents(self, name: str) -> Robo4DLatents:
        """Latents of a clip, see `read_latents`."""
        return read_latents(self.files, name)

    def _film(self, stream: Stream, name: str, max_bytes: int) -> Pixels:
        return read_film(self.files.film(stream, name), max_bytes=max_bytes)

    def _mask_of(self, name: str, robot_rgb: Pixels) -> NDArray[np.bool_]:
        """The stored mask where it is of the frames of the film, otherwise by the rule."""
        stored = self.mask(name) if self.files.mask(name).exists() else None
        fits = stored is not None and stored.shape[:3] == robot_rgb.shape[:3]
        return np.asarray((stored if stored is not None and fits else occupancy(robot_rgb))[..., 0], np.bool_)

    def _measured(self, name: str, unit: bool) -> tuple[NDArray[np.floating], NDArray[np.floating]]:
        measured, range = load_measured(self.files.measured(name))
        points, robot_points = measured.points(), measured.robot_points()
        return (range.to_unit(points), range.to_unit(robot_points)) if unit else (points, robot_points)

    def _filmed(
        self, name: str, rgb: Pixels, mask: NDArray[np.bool_], max_bytes: int
    ) -> tuple[NDArray[np.floating], NDArray[np.floating]]:
        points, robot_points = (self._film(stream, name, max_bytes) for stream in Stream if stream.of_points)
        self._check_equal(name, rgb, robot_points, Stream.ROBOT_POINTMAP)
        return from_bytes(points), np.where(mask[..., None], from_bytes(robot_points), np.float32(np.nan))

    def _check_equal(self, name: str, rgb: Pixels, other: NDArray[np.generic], stream: Stream) -> None:
        if other.shape != rgb.shape:
            (steps, height, width), (needed, high, wide) = other.shape[:3], rgb.shape[:3]
            raise InvalidDataset(
                f"'{self.files.film(stream, name)}' has {steps} frames of {width} x {height}, "
                f"'{self.files.film(Stream.VIDEO, name)}' {needed} of {wide} x {high}; they must agree"
            )
