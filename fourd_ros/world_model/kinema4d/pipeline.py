"""From a first frame and the robot's motion to colour and geometry of what follows."""

import math
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Self

import numpy as np
import torch
from diffusers import UniPCMultistepScheduler
from torch import Tensor

from fourd_ros.errors import Cancelled, InvalidImage, InvalidParameter, TooLarge
from fourd_ros.geometry.hole_filling import fill_holes
from fourd_ros.geometry.letterbox import Letterbox
from fourd_ros.geometry.pointmap_range import PointmapRange, uniform_pointmap
from fourd_ros.model_io.card import ModelCard
from fourd_ros.records import Pixels, Points, RobotRendering
from fourd_ros.world_model.kinema4d.conditions import (
    first_frame_condition,
    initial_noise,
    latent_grid,
    robot_condition,
    robot_mask_latents,
    to_signed,
)
from fourd_ros.world_model.kinema4d.flow import Flow, guided
from fourd_ros.world_model.kinema4d.image_tokens import ImageEncoder
from fourd_ros.world_model.kinema4d.latents import LatentCodec, point_latents_from_network
from fourd_ros.world_model.kinema4d.layout import Grid
from fourd_ros.world_model.kinema4d.options import PlacementOptions
from fourd_ros.world_model.kinema4d.placement import Placement
from fourd_ros.world_model.kinema4d.transformer import Kinema4DTransformer

NUM_STEPS, GUIDANCE, SEED = 50, 5.0, 42
"""Of the original."""


@dataclass(frozen=True, kw_only=True)
class Conditions:
    """What the network is told about one clip.

    Args:
        first_frame: mask and latents, shape [1, 20, F, h, 2w].
        robot: mask and latents, shape [1, 20, F, h, 2w], or [1, 20, F, h, w] for a network that sees no colour.
        image: tokens of the first frame, shape [1, n, width].
    """

    first_frame: Tensor
    robot: Tensor
    image: Tensor


@dataclass(frozen=True, kw_only=True)
class GeneratedClip:
    """What the network imagines.

    Args:
        rgb: colour, shape [T, H, W, 3], uint8.
        points: pointmap in the frame of the first frame's camera [m], shape [T, H, W, 3], float32.
        points_range: by which points were made metres.
        latents: colour | geometry as the network has them, shape [1, 16, F, h, 2w].
        seed: of the noise.
    """

    rgb: Pixels
    points: Points
    points_range: PointmapRange
    latents: Tensor
    seed: int


@dataclass(frozen=True, kw_only=True)
class DenoisingStep:
    """A step of the flow that was done.

    Args:
        number: of it, from 1.
        of: all steps of a sample.
        sample: from 0.
        latents: where the flow is, shape [1, 16, F, h, 2w].
        end: where it would end if it went straight on, the same shape.
        preview: decodes `end`.
    """

    number: int
    of: int
    sample: int
    latents: Tensor
    end: Tensor
    preview: Callable[[], GeneratedClip]


class Kinema4DPipeline:
    """Generates clips.

    Args:
        transformer: the network.
        codec: between videos and latents.
        images: makes tokens of the first frame.
        scheduler: whose configuration the flow has.
        placement: where all of it computes.
        non_commercial: whether the weights may not be used commercially.
    """

    def __init__(
        self,
        *,
        transformer: Kinema4DTransformer,
        codec: LatentCodec,
        images: ImageEncoder,
        scheduler: UniPCMultistepScheduler,
        placement: Placement | None = None,
        non_commercial: bool = False,
    ) -> None:
        self.transformer, self.codec, self.images, self.scheduler = transformer, codec, images, scheduler
        self.placement = placement or Placement(PlacementOptions(device="cpu"))
        self.non_commercial = non_commercial
        if self.placement.options.tiling:
            codec.vae.enable_tiling()

    @classmethod
    def from_components(
        cls, components: Mapping[str, Any], card: ModelCard, *, placement: Placement | None = None
    ) -> Self:
        """The pipeline of a model folder that was read."""
        return cls(
            transformer=components["transformer"],
            codec=LatentCodec(components["vae"]),
            images=ImageEncoder(components["image_encoder"], components["image_processor"]),
            scheduler=components["scheduler"],
            placement=placement,
            non_commercial=card.non_commercial,
        )

    @classmethod
    def from_pretrained(
        cls,
        folder: Path | str,
        *,
        adapter: Path | str | None = None,
        placement: Placement | None = None,
        allow_noncommercial: bool = False,
        verify: bool = True,
    ) -> Self:
        """The pipeline of a folder.

        Args:
            folder: what ``fourd convert kinema4d`` wrote; or a Wan folder with a card (``fourd model adopt``), together
                with an adapter.
            adapter: folder with the two files of Kinema4D, which stay apart from the weights.
            placement: where it computes; by default a GPU, where there is one.
            allow_noncommercial: load it though its terms forbid commercial use.
            verify: compare the hash of every file.

        Raises:
            InvalidModel, CorruptModel, WeightMismatch, LicenceRefused, MissingDependency: see `model_io.loading`.
        """
        from fourd_ros.world_model.kinema4d.loading import load_components

        placement = placement or Placement()
        components, card = load_components(
            folder, adapter=adapter, placement=placement, allow_noncommercial=allow_noncommercial, verify=verify
        )
        return cls.from_components(components, card, placement=placement)

    @property
    def grid(self) -> Grid:
        """Latents that the network was trained with."""
        return self.transformer.settings.grid

    def __call__(
        self,
        first_frame: Pixels,
        robot: RobotRendering,
        *,
        first_points: Points | None = None,
        points_range: PointmapRange | None = None,
        num_steps: int = NUM_STEPS,
        guidance: float = GUIDANCE,
        seed: int = SEED,
        num_samples: int = 1,
        on_step: Callable[[DenoisingStep], None] | None = None,
        cancel: Callable[[], bool] | None = None,
    ) -> list[GeneratedClip]:
        """Imagine what follows.

        Args:
            first_frame: colour, shape [H, W, 3]; another aspect than the network's is letterboxed.
            robot: the robot alone, as commanded, seen by the same camera; T = 4 k + 1 frames, the first one now.
            first_points: observed pointmap of the first frame [m], NaN where unknown, shape [H, W, 3]; without one the
                network is shown the plane that the original shows it.
            points_range: between metres and what the network sees; by default `PointmapRange.of_clip` of
                `first_points` and the robot.
            num_steps: of the flow.
            guidance: 1 takes one pass a step instead of two and gives another result.
            seed: of the first sample; the next one has the next seed.
            num_samples: futures.
            on_step: called after every step.
            cancel: asked before every step.

        Returns:
            A clip a sample, with the size of `first_frame`.

        Raises:
            InvalidImage: types, sizes or numbers of frames that cannot be, points of the robot that are not finite.
            InvalidParameter: steps or guidance that cannot be.
            TooLarge: no sample was asked for.
            Cancelled: `cancel` said so.
        """
        clips = []
        for event in self.stream(
            first_frame,
            robot,
            first_points=first_points,
            points_range=points_range,
            num_steps=num_steps,
            guidance=guidance,
            seed=seed,
            num_samples=num_samples,
            cancel=cancel,
        ):
            if isinstance(event, GeneratedClip):
                clips.append(event)
            elif on_step is not None:
                on_step(event)
        return clips

    def stream(
        self,
        first_frame: Pixels,
        robot: RobotRendering,
        *,
        first_points: Points | None = None,
        points_range: PointmapRange | None = None,
        num_steps: int = NUM_STEPS,
        guidance: float = GUIDANCE,
        seed: int = SEED,
        num_samples: int = 1,
        cancel: Callable[[], bool] | None = None,
    ) -> Iterator[DenoisingStep | GeneratedClip]:
        """The same, step by step: every step of a sample, then its clip."""
        if num_samples < 1:
            raise TooLarge(f"num_samples is {num_samples}; at least 1 is needed")
        if not math.isfinite(guidance):
            raise InvalidParameter(f"guidance {guidance}; a finite number is needed")
        _check_images(first_frame, robot)
        box = Letterbox(source=first_frame.shape[:2], target=(self.grid.height, self.grid.width))
        limits = points_range or _range(first_points, robot)
        conditions = self.prepare(first_frame, robot, first_points=first_points, points_range=limits, box=box)
        for sample in range(num_samples):
            noise = initial_noise(latent_grid(conditions.first_frame), seed=seed + sample)

            def clip(latents: Tensor, number: int = sample) -> GeneratedClip:
                return self._clip(latents, limits, box, seed=seed + number)

            latents = noise
            for step, (latents, end) in enumerate(
                self.flow(conditions, noise, num_steps=num_steps, guidance=guidance, cancel=cancel), 1
            ):
                yield DenoisingStep(
                    number=step,
                    of=num_steps,
                    sample=sample,
                    latents=latents,
                    end=end,
                    preview=lambda end=end: clip(end),
                )
            yield clip(latents)

    def prepare(
        self,
        first_frame: Pixels,
        robot: RobotRendering,
        *,
        first_points: Points | None,
        points_range: PointmapRange,
        box: Letterbox | None = None,
    ) -> Conditions:
        """What the network is told about a clip; arguments as of a call.

        Args:
            first_frame: colour, shape [H, W, 3].
            robot: T frames of the same size.
            first_points: [m], shape [H, W, 3].
            points_range: between metres and what the network sees.
            box: fits images to frames of the network's size; None where they have it.
        """
        box = box or Letterbox(source=first_frame.shape[:2], target=first_frame.shape[:2])
        frames = len(robot.mask)
        grid = Grid.of_video(frames, *box.target)
        image = box.picture(first_frame)
        with self.placement.using(self.codec.vae):
            condition = first_frame_condition(
                self.codec,
                to_signed(image)[None],
                to_signed(_first_points(first_points, points_range, box))[None],
                frames=frames,
            )
            colour, points = (
                self.codec.encode(to_signed(video).movedim(0, 1)[None])
                for video in _robot_videos(robot, points_range, box)
            )
        mask = torch.from_numpy(np.ascontiguousarray(box.values(robot.mask[..., None])[..., 0]))[None]
        cells = robot_mask_latents(mask, rows=grid.rows, columns=grid.columns)
        with self.placement.using(self.images.network):
            tokens = self.images.tokens(image[None])
        shown = robot_condition(colour, points, cells.to(colour), variant=self.transformer.settings.variant)
        return Conditions(first_frame=condition, robot=shown, image=tokens)

    @torch.inference_mode()
    def flow(
        self,
        conditions: Conditions,
        noise: Tensor,
        *,
        num_steps: int = NUM_STEPS,
        guidance: float = GUIDANCE,
        cancel: Callable[[], bool] | None = None,
    ) -> Iterator[tuple[Tensor, Tensor]]:
        """The way from noise to a clip.

        Args:
            conditions: what the network is told.
            noise: shape [B, 16, F, h, 2w].
            num_steps: of the way.
            guidance: 1 takes one pass a step.
            cancel: asked before every step.

        Yields:
            Latents after the step, and where they would end if the flow went straight on, float32.

        Raises:
            Cancelled: `cancel` said so.
        """
        flow = Flow(self.scheduler, steps=num_steps)
        with self.placement.using(self.transformer):
            network, device, dtype = self.transformer, self.placement.device, self.transformer.dtype
            robot, condition = conditions.robot.to(device, dtype), conditions.first_frame.to(device, dtype)
            clip = network.understand(robot, conditions.image.to(device))
            shown = [network.show_robot(condition, robot, times=times) for times in _passes(guidance)]
            latents = noise.to(device)
            for number, time in enumerate(flow.timesteps):
                if cancel is not None and cancel():
                    raise Cancelled(f"cancelled before step {number + 1} of {num_steps}")
                times = time.expand(len(latents)).to(device)
                velocities = [network(latents, one, times, clip) for one in shown]
                velocity = velocities[0] if len(velocities) == 1 else guided(*velocities, guidance)
                end = flow.end(velocity, number, latents)
                latents = flow.step(velocity, time, latents)
                yield latents, end

    def decode(self, latents: Tensor) -> tuple[Pixels, Points]:
        """Frames of latents [1, 16, F, h, 2w] of the network: colour, and points of 0..1, shape [T, H, W, 3] each."""
        colour, points = latents.chunk(2, dim=-1)
        joined = torch.cat([colour, point_latents_from_network(points)], dim=-1)
        with self.placement.using(self.codec.vae):
            video = self.codec.decode(joined)[0].movedim(0, -1).cpu().numpy()
        width = video.shape[2] // 2
        return (video[:, :, :width] * 255).clip(0, 255).astype(np.uint8), video[:, :, width:]

    def _clip(self, latents: Tensor, limits: PointmapRange, box: Letterbox, *, seed: int) -> GeneratedClip:
        rgb, unit = self.decode(latents)
        return GeneratedClip(
            rgb=box.picture_back(rgb),
            points=limits.to_metres(np.ascontiguousarray(box.values_back(unit))).astype(np.float32),
            points_range=limits,
            latents=latents.cpu(),
            seed=seed,
        )


def _passes(guidance: float) -> tuple[int, ...]:
    """How often each pass of a step sees the robot."""
    return (1,) if math.isclose(guidance, 1.0) else (1, 2)


def _check_images(first_frame: Pixels, robot: RobotRendering) -> None:
    frames, size = robot.mask.shape[:1], first_frame.shape[:2]
    needed = {
        "first_frame": (first_frame, (*size, 3), np.uint8),
        "robot.rgb": (robot.rgb, (*frames, *size, 3), np.uint8),
        "robot.points": (robot.points, (*frames, *size, 3), np.floating),
        "robot.mask": (robot.mask, (*frames, *size), np.bool_),
    }
    for name, (images, shape, kind) in needed.items():
        if images.shape != shape or not np.issubdtype(images.dtype, kind):
            raise InvalidImage(
                f"{name}: {images.dtype} images of shape {list(images.shape)}; needed are {kind.__name__} {list(shape)}"
            )


def _range(first_points: Points | None, robot: RobotRendering) -> PointmapRange:
    scene = np.full((1, 3), np.nan, np.float32) if first_points is None else first_points
    return PointmapRange.of_clip(scene, robot.points)


def _first_points(points: Points | None, limits: PointmapRange, box: Letterbox) -> Points:
    """0..1, shape [H, W, 3]."""
    if points is None:
        return uniform_pointmap(*box.target).astype(np.float32)
    known = np.isfinite(points).all(axis=-1)
    if not known.any():
        raise InvalidImage("no point of the first frame is known; leave first_points out to go on without depth")
    filled = fill_holes(np.where(known[..., None], points, 0).astype(np.float32), known)
    return box.values(np.clip(limits.to_unit(filled[None])[0], 0, 1))


def _robot_videos(robot: RobotRendering, limits: PointmapRange, box: Letterbox) -> tuple[Pixels, Points]:
    """Colour (uint8) and points (0..1) of the robot, both black where there is none, shape [T, H, W, 3]."""
    if not np.isfinite(robot.points[robot.mask]).all():
        raise InvalidImage("points of the robot are not finite where its mask is true")
    unit = np.where(robot.mask[..., None], np.clip(limits.to_unit(robot.points), 0, 1), 0).astype(np.float32)
    colour = np.where(robot.mask[..., None], robot.rgb, 0).astype(np.uint8)
    return box.picture(colour), box.values(unit)
