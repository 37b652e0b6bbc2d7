"""Clips of a folder (layout of Robo4D-200k) to the latents that training reads: in parallel, resumable.

Names, shapes and types of the files are those of the original. Samples of the posterior are drawn from a seed for each
clip and stream, so they depend neither on the order nor on the number of machines. Source of the rules: Kinema4D 2026
(arXiv 2603.16669), written from a specification.
"""

import hashlib
from collections.abc import Iterator
from dataclasses import asdict, dataclass
from functools import cached_property, lru_cache
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from fourd_ros.data.robo4d_coordinates import robot_coordinates, scene_coordinates
from fourd_ros.data.robo4d_facts import ClipFacts, read_facts
from fourd_ros.data.robo4d_films import read_film
from fourd_ros.data.robo4d_folder import Robo4DFolder, Stream, names_of_shard
from fourd_ros.data.robo4d_latents import Robo4DLatents, has_latents, write_latents
from fourd_ros.data.robo4d_measured import MeasuredPoints, load_measured
from fourd_ros.data.robo4d_preparation import (
    FRAMES,
    HEIGHT,
    WIDTH,
    check_clip_size,
    pad_or_crop_temporal,
    resize_centre_crop,
)
from fourd_ros.data.robo4d_work import ClipOutcome, claim, run_on_clips
from fourd_ros.errors import FourdError, InvalidDataset, InvalidParameter
from fourd_ros.geometry.pointmap_range import PointmapRange
from fourd_ros.model_io.card import check_licence
from fourd_ros.model_io.folder import ModelFolder
from fourd_ros.model_io.loading import load_component
from fourd_ros.world_model.kinema4d.image_tokens import ImageEncoder
from fourd_ros.world_model.kinema4d.latents import LatentCodec
from fourd_ros.world_model.kinema4d.layout import Grid
from fourd_ros.world_model.kinema4d.loading import load_image_encoder

Floats = NDArray[np.float32]

NOTE = "latents.json"
STORED = torch.float16
"""Of latents and tokens in files, as in the original."""

DTYPES = {"float32": torch.float32, "bfloat16": torch.bfloat16, "float16": torch.float16}
_COMPONENTS = ("vae", "image_encoder", "image_processor")


@dataclass(frozen=True, kw_only=True)
class EncodingOptions:
    """How latents are made.

    Args:
        frames: of a clip, 4 k + 1.
        height: of its pictures, a multiple of 16.
        width: of its pictures, a multiple of 16.
        mean: take the mean of the posterior instead of a sample; the original trains on samples.
        seed: of the samples.
        films: take points from the films of 8 bits, as the original does, even where they are known without loss.
        dtype: in which the autoencoder computes, of `DTYPES`; the image encoder always computes in float32.

    Raises:
        InvalidParameter: a size that cannot be encoded, or an unknown type.
    """

    frames: int = FRAMES
    height: int = HEIGHT
    width: int = WIDTH
    mean: bool = False
    seed: int = 0
    films: bool = False
    dtype: str = "float32"

    def __post_init__(self) -> None:
        check_clip_size(self.frames, self.height, self.width)
        if self.dtype not in DTYPES:
            raise InvalidParameter(f"type '{self.dtype}'; there are {list(DTYPES)}")


@dataclass(frozen=True, kw_only=True)
class EncodingJob:
    """The latents of one clip.

    Args:
        name: of the clip.
        folder: of the clips.
        model: folder with the networks.
        device: where they compute.
        allow_noncommercial: use them though their terms forbid commercial use.
        options: how.
        missing: folders that lack a film of it.
    """

    name: str
    folder: Robo4DFolder
    model: Path
    device: str
    allow_noncommercial: bool
    options: EncodingOptions
    missing: tuple[str, ...] = ()


class Encoders(NamedTuple):
    """The networks that are needed."""

    codec: LatentCodec
    image_encoder: ImageEncoder


def encode_latents(
    folder: Robo4DFolder,
    model: Path,
    options: EncodingOptions,
    *,
    device: str = "cpu",
    allow_noncommercial: bool = False,
    shard: tuple[int, int] = (0, 1),
    workers: int = 1,
    ray: bool = False,
    address: str | None = None,
) -> tuple[int, Iterator[ClipOutcome]]:
    """Make the latents that are missing or damaged.

    Args:
        folder: with films of all four streams.
        model: a model folder with the components ``vae``, ``image_encoder`` and ``image_processor``.
        options: how.
        device: of the networks; each process has its own.
        allow_noncommercial: use the networks though their terms forbid commercial use.
        shard: which share of the clips, and of how many.
        workers: processes.
        ray: work in Ray tasks.
        address: of a Ray cluster.

    Returns:
        How many clips there are in the share, and what became of each, as it is done. Clips that lack films are left
        out with the reason.

    Raises:
        InvalidDataset: there are no films, or latents were made with other options or networks.
        InvalidModel: the folder lacks a component.
        LicenceRefused: the model is non-commercial and that was not allowed.
        InvalidParameter: there is no such share.
    """
    opened = ModelFolder(model)
    check_licence(opened.card, allow_noncommercial=allow_noncommercial)
    for component in _COMPONENTS:
        opened.component(component)
    complete, incomplete = folder.complete_names()
    claim(folder.root / NOTE, {**asdict(options), "networks": _networks_sha256(opened)}, what="latents")
    jobs = [
        EncodingJob(
            name=name,
            folder=folder,
            model=opened.path,
            device=device,
            allow_noncommercial=allow_noncommercial,
            options=options,
            missing=tuple(incomplete.get(name, ())),
        )
        for name in names_of_shard(sorted([*complete, *incomplete]), shard)
    ]
    return len(jobs), run_on_clips(_encode, jobs, workers=workers, ray=ray, address=address)


def _networks_sha256(model: ModelFolder) -> str:
    """Of the files that latents depend on; the transformer is none of them."""
    records = sorted(model.card.files.items())
    lines = (f"{record.sha256} {path}\n" for path, record in records if path.split("/")[0] in _COMPONENTS)
    return hashlib.sha256("".join(lines).encode()).hexdigest()


def _encode(job: EncodingJob) -> ClipOutcome:
    if job.missing:
        return ClipOutcome(name=job.name, problem=f"it has no film in {', '.join(job.missing)}")
    try:
        if _is_encoded(job):
            return ClipOutcome(name=job.name)
        encoders = load_encoders(job.model, job.device, job.options.dtype, allow_noncommercial=job.allow_noncommercial)
        write_latents(encode_clip(job.folder, job.name, encoders, job.options), job.folder, job.name)
    except FourdError as error:
        return ClipOutcome(name=job.name, problem=str(error))
    return ClipOutcome(name=job.name, made=True)


def _is_encoded(job: EncodingJob) -> bool:
    grid = Grid.of_video(job.options.frames, job.options.height, job.options.width)
    return has_latents(job.folder, job.name, (grid.frames, grid.rows, grid.columns))


@lru_cache(maxsize=1)
def load_encoders(model: Path, device: str, dtype: str, *, allow_noncommercial: bool = False) -> Encoders:
    """The networks of a model folder, loaded once a process and checked against its card; see `load_component`."""
    folder = ModelFolder(model)

    def component(name: str, kind: torch.dtype | None = None) -> Any:
        return load_component(model, name, allow_noncommercial=allow_noncommercial, device=device, dtype=kind)

    folder.check("image_encoder")
    return Encoders(
        codec=LatentCodec(component("vae", DTYPES[dtype])),
        image_encoder=ImageEncoder(load_image_encoder(folder, device), component("image_processor")),
    )


def encode_clip(folder: Robo4DFolder, name: str, encoders: Encoders, options: EncodingOptions) -> Robo4DLatents:
    """Latents of one clip.

    Args:
        folder: of the clips.
        name: of the clip.
        encoders: the networks.
        options: how.

    Raises:
        InvalidDataset: a film is damaged, too short even there and back, or films differ in length.
    """
    source = _Source(folder, name, exact=not options.films)
    counts: dict[Path, int] = {}
    latents: dict[Stream, Tensor] = {}
    tokens = torch.empty(0)
    for stream in Stream:
        path, frames = source.frames(stream)
        counts[path] = len(frames)
        unit = _prepared(frames, path, options, of_points=stream.of_points)
        generator = None if options.mean else _generator(name, stream, options)
        latents[stream] = _latents(encoders.codec, unit * 2 - 1, generator)
        if stream is Stream.VIDEO:
            tokens = encoders.image_encoder.tokens((unit[:1] * 255).astype(np.uint8))[0].to("cpu", STORED)
    if len(set(counts.values())) > 1:
        lengths = ", ".join(f"'{path}' has {count} frames" for path, count in counts.items())
        raise InvalidDataset(f"the streams of clip '{name}' differ in length: {lengths}")
    return Robo4DLatents(
        video=latents[Stream.VIDEO],
        pointmap=latents[Stream.POINTMAP],
        robot_video=latents[Stream.ROBOT_VIDEO],
        robot_pointmap=latents[Stream.ROBOT_POINTMAP],
        image_embedding=tokens,
    )


class _Source:
    """Frames of a clip, a stream at a time.

    Args:
        folder: of the clips.
        name: of the clip.
        exact: take points as they were measured, where they are kept.
    """

    def __init__(self, folder: Robo4DFolder, name: str, *, exact: bool) -> None:
        self._folder, self._name = folder, name
        self._exact = exact and folder.facts(name).exists() and folder.measured(name).exists()

    def frames(self, stream: Stream) -> tuple[Path, NDArray[Any]]:
        """Where they are from, and they: uint8, or 0..1 as float32; shape [T, H, W, 3]."""
        if not (self._exact and stream.of_points):
            path = self._folder.film(stream, self._name)
            return path, read_film(path)
        signed = self._scene if stream is Stream.POINTMAP else self._robot
        frames = np.stack([signed(frame) for frame in range(len(self._measured[0].depth))])
        return self._folder.measured(self._name), (frames + 1) / 2

    @cached_property
    def _measured(self) -> tuple[MeasuredPoints, PointmapRange]:
        return load_measured(self._folder.measured(self._name))

    @cached_property
    def _facts(self) -> ClipFacts:
        return read_facts(self._folder.facts(self._name))

    def _scene(self, frame: int) -> Floats:
        points, limits = self._measured
        facts = self._facts
        return scene_coordinates(
            points.points_at(frame), limits.at(frame), convention=facts.convention, content=facts.content
        )

    def _robot(self, frame: int) -> Floats:
        points, limits = self._measured
        return robot_coordinates(points.robot_points_at(frame), limits.at(frame))


def _prepared(frames: NDArray[Any], path: Path, options: EncodingOptions, *, of_points: bool) -> Floats:
    if 2 * len(frames) < options.frames:
        raise InvalidDataset(
            f"'{path}' has {len(frames)} frames, there and back {2 * len(frames)}; needed are {options.frames}, or "
            "fewer with --frames"
        )
    chosen = pad_or_crop_temporal(frames, options.frames)
    unit = chosen.astype(np.float32) / 255 if chosen.dtype == np.uint8 else chosen
    sized = resize_centre_crop(unit, (options.height, options.width), "nearest" if of_points else "bilinear")
    return np.asarray(sized.clip(0, 1), np.float32)


def _latents(codec: LatentCodec, signed: Floats, generator: torch.Generator | None) -> Tensor:
    """Shape [T, H, W, 3] -> [16, F, h, w], as they are stored."""
    video = torch.from_numpy(np.ascontiguousarray(signed)).permute(3, 0, 1, 2)[None]
    return codec.encode(video, generator=generator)[0].to("cpu", STORED)


def _generator(name: str, stream: Stream, options: EncodingOptions) -> torch.Generator:
    digest = hashlib.sha256(f"{options.seed}\n{name}\n{stream}".encode()).digest()
    return torch.Generator().manual_seed(int.from_bytes(digest[:8], "big") >> 1)
