"""From frames and masks to complete objects: those at rest once, those that move in every frame."""

import math
from collections.abc import Callable, Mapping
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any, Self

import numpy as np
import torch
from torch import Tensor

from fourd_ros.compositional.dynamic_stage import KnownFrame, denoise_motion
from fourd_ros.compositional.field_extraction import extract_surface
from fourd_ros.compositional.guidance import FlowStep
from fourd_ros.compositional.image_tokens import ImageEncoder
from fourd_ros.compositional.object_clip import ObjectClip
from fourd_ros.compositional.options import ObjectOptions
from fourd_ros.compositional.scene_stage import denoise_scene
from fourd_ros.compositional.shape_vae import ShapeVae
from fourd_ros.compositional.surface_mesh import SurfaceMesh
from fourd_ros.compositional.transformer import CompositionalTransformer
from fourd_ros.errors import Cancelled, InvalidClip, InvalidModel
from fourd_ros.model_io.card import ModelCard
from fourd_ros.model_io.loading import load_model

__all__ = ["CompositionalObjects", "ObjectLatents", "ReconstructedObjects"]

RESOLUTION = 128
"""Points of the finest lattice of a field along an axis; the original has 512."""

Progress = Callable[[str, int, int], None]
"""What is being done, steps done and steps in all."""


@dataclass(frozen=True, kw_only=True, eq=False)
class ObjectLatents:
    """What objects are, as the autoencoder of shapes knows them.

    Args:
        at_rest: shape [S, T, C].
        moving: in every frame, shape [Q, F, T, C].
        moving_at_reference: in the frame that the objects at rest were made with, shape [Q, T, C]; None where no
            object is at rest.
    """

    at_rest: Tensor
    moving: Tensor
    moving_at_reference: Tensor | None


@dataclass(frozen=True, kw_only=True, eq=False)
class ReconstructedObjects:
    """Meshes of one scene in one cube [-1, 1]; a mesh may be empty.

    Args:
        at_rest: S meshes.
        moving: F meshes by the id of each moving object.
        latents: of all of them.
    """

    at_rest: tuple[SurfaceMesh, ...]
    moving: Mapping[int, tuple[SurfaceMesh, ...]]
    latents: ObjectLatents


@dataclass(frozen=True, kw_only=True)
class _Views:
    """Tokens of frames: all of each, shape [F, K, E], of each moving object alone, shape [Q, F, K, E], and of each one
    at rest that has masks, shape [S, F, K, E]."""

    full: Tensor
    objects: Tensor
    static: Tensor | None


class CompositionalObjects:
    """Reconstructs objects.

    Args:
        transformer: from noise to latents.
        vae: between latents and shapes.
        images: makes tokens of pictures.
        shift: of the flow, as the transformer was trained.

    Raises:
        InvalidModel: the parts do not fit together.
    """

    def __init__(
        self, *, transformer: CompositionalTransformer, vae: ShapeVae, images: ImageEncoder, shift: float = 1.0
    ) -> None:
        sizes = transformer.sizes
        if (sizes.in_channels, sizes.cross_attention_dim) != (vae.sizes.latent_channels, images.width):
            raise InvalidModel(
                f"a transformer of latents of {sizes.in_channels} channels and images of {sizes.cross_attention_dim}; "
                f"the other networks have {vae.sizes.latent_channels} and {images.width}"
            )
        self.transformer, self.vae, self.images, self.shift = transformer, vae, images, shift

    @classmethod
    def from_components(cls, components: Mapping[str, Any], card: ModelCard) -> Self:
        """The model of a folder that `load_model` has read."""
        processor = components["image_processor"]
        images = ImageEncoder(components["image_encoder"], mean=processor.image_mean, std=processor.image_std)
        scheduler = components["scheduler"]
        return cls(
            transformer=components["transformer"],
            vae=components["vae"],
            images=images,
            shift=float(scheduler.config.shift),
        )

    @classmethod
    def from_folder(
        cls,
        folder: Path | str,
        *,
        allow_noncommercial: bool = False,
        device: "torch.device | str" = "cpu",
        dtype: torch.dtype | None = torch.float32,
    ) -> Self:
        """The model of a folder; see `load_model` for arguments and errors."""
        model: Self = load_model(folder, allow_noncommercial=allow_noncommercial, device=device, dtype=dtype)
        return model

    def reconstruct(
        self,
        clip: ObjectClip,
        options: ObjectOptions,
        *,
        reference: int | ObjectClip | None = None,
        resolution: int = RESOLUTION,
        progress: Progress | None = None,
        cancel: Callable[[], bool] | None = None,
    ) -> ReconstructedObjects:
        """Meshes of all objects.

        Args:
            clip: frames, and masks of what moves.
            options: how objects are made.
            reference: as of `latents`.
            resolution: of the lattice on which meshes are found, along an axis.
            progress: is told after every step and every mesh.
            cancel: asked as often.

        Raises:
            InvalidClip, InvalidImage, InvalidParameter, TooLarge, Cancelled: as of `latents`.
            InvalidField: a resolution that cannot be, or a field without a surface that could be followed.
        """
        latents = self.latents(clip, options, reference=reference, progress=progress, cancel=cancel)
        watch = _Watch(progress, cancel)
        watch.begin("meshes", len(latents.at_rest) + latents.moving.shape[:2].numel())

        def mesh(one: Tensor) -> SurfaceMesh:
            made = extract_surface(self.vae.decode(one), resolution=resolution)
            watch.tick()
            return made

        return ReconstructedObjects(
            at_rest=tuple(mesh(one) for one in latents.at_rest),
            moving={
                number: tuple(mesh(one) for one in frames)
                for number, frames in zip(clip.ids, latents.moving, strict=True)
            },
            latents=latents,
        )

    def latents(
        self,
        clip: ObjectClip,
        options: ObjectOptions,
        *,
        reference: int | ObjectClip | None = None,
        progress: Progress | None = None,
        cancel: Callable[[], bool] | None = None,
    ) -> ObjectLatents:
        """What all objects are, without meshes.

        Args:
            clip: frames, and masks of what moves.
            options: how objects are made.
            reference: frame that the objects at rest are made of: its number, or a clip of one frame with the same
                moving objects; None takes the first one that shows the most of them.
            progress: is told after every step.
            cancel: asked as often.

        Raises:
            InvalidClip: a moving object that no frame shows, neither objects at rest nor moving ones, or a reference
                that does not belong to the clip.
            InvalidImage: a side of pictures that the image network cannot take.
            TooLarge: more objects or frames at once than the network can tell apart.
            Cancelled: `cancel` said so.
        """
        clip.check_shown()
        if not options.static_objects and not len(clip.masks):
            raise InvalidClip("there are neither masks of moving objects nor objects at rest; nothing can be made")
        side = options.side or self.images.side
        moment = _reference(clip, reference)
        if moment.static_masks is not None and len(moment.static_masks) != options.static_objects:
            raise InvalidClip(
                f"masks of {len(moment.static_masks)} objects at rest, and static_objects is {options.static_objects}; "
                "needed is the same number"
            )
        watch = _Watch(progress, cancel)
        watch.begin("pictures", len(clip.frames) + 1)
        seen_then = self._views(moment.scaled(side), watch)
        seen = self._views(replace(clip, static_masks=None).scaled(side), watch)
        noises = self.noises(options, moving=len(clip.masks))
        known, at_rest = None, noises[0]
        if options.static_objects:
            watch.begin("scene", _scene_passes(options, moving=len(clip.masks)))
            latents = denoise_scene(
                self.transformer,
                torch.cat(noises[:2]),
                full=seen_then.full[0],
                objects=seen_then.objects[:, 0],
                at_rest=None if seen_then.static is None else seen_then.static[:, 0],
                options=options.scene,
                shift=self.shift,
                on_step=watch.tick,
                official_compat=options.official_compat,
            )
            at_rest, moving_then = latents[: options.static_objects], latents[options.static_objects :]
            shown = seen if options.official_compat else seen_then
            known = KnownFrame(latents=moving_then, full=shown.full[0], objects=shown.objects[:, 0])
        moving = noises[2][:, None].repeat(1, len(clip.frames), 1, 1)
        if len(clip.masks):
            watch.begin("motion", options.motion.steps * math.ceil(len(clip.frames) / options.motion.block))
            moving = denoise_motion(
                self.transformer,
                noises[2],
                full=seen.full,
                objects=seen.objects,
                at_rest=at_rest,
                known=known,
                options=options.motion,
                shift=self.shift,
                on_step=watch.tick,
            )
        return ObjectLatents(
            at_rest=at_rest, moving=moving, moving_at_reference=None if known is None else known.latents
        )

    def _views(self, clip: ObjectClip, watch: "_Watch") -> _Views:
        """Tokens of pictures, frame by frame so that nothing but tokens is held."""
        seen = []
        for frame in range(len(clip.frames)):
            moment = clip.at(frame)
            alone = [moment.objects(number) for number in range(len(clip.masks))]
            if moment.static_masks is not None:
                alone += [moment.static_objects(number) for number in range(len(moment.static_masks))]
            seen.append(self.images.tokens(np.concatenate([moment.frames, *alone])))
            watch.tick()
        tokens = torch.stack(seen, dim=1)
        first = 1 + len(clip.masks)
        static = None if clip.static_masks is None else tokens[first:]
        return _Views(full=tokens[0], objects=tokens[1:first], static=static)

    def noises(self, options: ObjectOptions, *, moving: int) -> tuple[Tensor, Tensor, Tensor]:
        """Of objects at rest, of moving ones at the reference, and of these in all frames; drawn in this order."""
        parameter = next(self.transformer.parameters())
        generator = torch.Generator(parameter.device).manual_seed(options.seed)
        tokens, channels = options.tokens or self.vae.sizes.latent_tokens, self.transformer.sizes.in_channels

        def draw(count: int) -> Tensor:
            shape = (count, tokens, channels)
            return torch.randn(shape, generator=generator, dtype=parameter.dtype, device=parameter.device)

        scene = (options.static_objects, moving) if options.static_objects else (0, 0)
        return draw(scene[0]), draw(scene[1]), draw(moving)


class _Watch:
    """Tells of progress, and asks whether to go on, before the first step too."""

    def __init__(self, progress: Progress | None, cancel: Callable[[], bool] | None) -> None:
        self._progress, self._cancel = progress, cancel

    def begin(self, what: str, steps: int) -> None:
        self._what, self._done, self._steps = what, 0, steps
        self._ask()

    def tick(self, _: FlowStep | None = None) -> None:
        self._done += 1
        if self._progress is not None:
            self._progress(self._what, self._done, self._steps)
        self._ask()

    def _ask(self) -> None:
        if self._cancel is not None and self._cancel():
            raise Cancelled(f"cancelled after {self._done} of {self._steps} steps of the {self._what}")


def _reference(clip: ObjectClip, reference: int | ObjectClip | None) -> ObjectClip:
    """A clip of one frame."""
    if reference is None or isinstance(reference, int):
        return clip.at(clip.best_frame if reference is None else reference)
    if len(reference.frames) != 1 or reference.ids != clip.ids:
        raise InvalidClip(
            f"a reference of {len(reference.frames)} frames with the moving objects {reference.ids}; needed is one "
            f"frame with {clip.ids}"
        )
    return reference


def _scene_passes(options: ObjectOptions, *, moving: int) -> int:
    """Passes of the scene stage: after the mixed steps there are two a step."""
    mixed = min(options.scene.mixed_steps, options.scene.steps)
    return mixed + (options.scene.steps - mixed) * (1 + (moving > 0))
