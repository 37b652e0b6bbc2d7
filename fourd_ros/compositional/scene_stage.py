"""The scene at one frame: all objects at once from noise, so that they fit together.

Source: COM4D (arXiv 2512.05272), attention mixing.
"""

import torch
from torch import Tensor

from fourd_ros.compositional.flow import FlowSchedule
from fourd_ros.compositional.guidance import FlowStep, OnStep, guided, ignore, is_guided
from fourd_ros.compositional.options import SceneOptions
from fourd_ros.compositional.transformer import CompositionalTransformer

__all__ = ["denoise_scene"]

OWN_VIEW_STEPS = 5
"""First steps in which blocks over objects show each moving object its own picture; later ones show all the frame."""


@torch.inference_mode()
def denoise_scene(
    transformer: CompositionalTransformer,
    noise: Tensor,
    *,
    full: Tensor,
    objects: Tensor,
    at_rest: Tensor | None = None,
    options: SceneOptions | None = None,
    shift: float = 1.0,
    on_step: OnStep = ignore,
    official_compat: bool = False,
) -> Tensor:
    """Latents of all objects at one frame.

    Args:
        transformer: the network.
        noise: of objects at rest, then of those that move, shape [S + Q, T, C].
        full: tokens of the frame, shape [K, E].
        objects: tokens of the frame with nothing but each moving object, shape [Q, K, E].
        at_rest: the same of the objects at rest, shape [S, K, E]; without, they see all the frame, as in the original.
        options: of the flow.
        shift: of the flow, as the network was trained.
        on_step: is told after every step; after the mixed ones once for those at rest and once for those that move.
        official_compat: two mistakes of the original after the mixed steps: moving objects begin again as if they
            were noise, and objects at rest have other rows of the table with images than without.

    Returns:
        Shape [S + Q, T, C].

    Raises:
        TooLarge: more objects than the network can tell apart.
    """
    options = options or SceneOptions()
    schedule = FlowSchedule(steps=options.steps, shift=shift)
    static = len(noise) - len(objects)
    alone = objects if at_rest is None else torch.cat([at_rest, objects])
    memory = transformer.remember(torch.cat([full[None], alone]))
    own = torch.arange(1 + len(alone) - len(noise), 1 + len(alone), device=noise.device).clamp(min=0)[:, None]
    mixed = min(options.mixed_steps, options.steps)
    latents = noise[:, None]
    for number in range(mixed):
        timestep = schedule.timesteps[number]
        velocities = transformer.mixed_velocities(
            latents,
            timestep,
            memory=memory,
            temporal=own,
            spatial=own if number < OWN_VIEW_STEPS else torch.zeros_like(own),
            static=static,
            cutoff=False,
            guided=is_guided(options.guidance),
        )
        on_step(FlowStep(timestep=float(timestep), latents=latents, velocities=velocities))
        latents = schedule.step(latents, guided(velocities, options.guidance), number)
    standing, moving = latents[:static, 0], latents[static:, 0]
    if mixed == options.steps:
        return latents[:, 0]
    tail = _Tail(transformer, options.guidance, on_step, official_compat=official_compat)
    again = FlowSchedule(steps=options.steps - mixed, shift=shift)
    return torch.cat(
        [
            tail.follow(
                standing,
                full.expand(static, -1, -1) if at_rest is None else at_rest,
                schedule,
                first=mixed,
                parts=static,
            ),
            tail.follow(moving, objects, again, first=0, parts=1)
            if official_compat
            else tail.follow(moving, objects, schedule, first=mixed, parts=1),
        ]
    )


class _Tail:
    """The steps in which moving objects are alone."""

    def __init__(
        self, transformer: CompositionalTransformer, guidance: float, on_step: OnStep, *, official_compat: bool
    ) -> None:
        self._transformer, self._guidance, self._on_step = transformer, guidance, on_step
        self._official_compat = official_compat

    def follow(self, latents: Tensor, tokens: Tensor, schedule: FlowSchedule, *, first: int, parts: int) -> Tensor:
        """Latents [N, T, C] that see tokens [N, K, E], after all steps from `first` on."""
        copies = 2 if is_guided(self._guidance) else 1
        seen = torch.cat([torch.zeros_like(tokens), tokens][-copies:])
        for number in range(first, schedule.steps) if len(latents) else ():
            timestep = schedule.timesteps[number].to(latents.device)
            velocities = self._transformer(
                latents.repeat(copies, 1, 1),
                timestep.expand(copies * len(latents)),
                seen,
                num_parts=parts,
                num_frames=1,
                official_compat=self._official_compat,
            ).view(copies, *latents.shape)
            self._on_step(
                FlowStep(timestep=float(timestep), latents=latents[:, None], velocities=velocities[:, :, None])
            )
            latents = schedule.step(latents, guided(velocities, self._guidance), number)
        return latents
