"""Moving objects over time, block after block of frames, among the objects at rest and after the frames before.

Source: COM4D (arXiv 2512.05272), attention mixing and autoregressive inference.
"""

from collections.abc import Iterator
from dataclasses import dataclass

import torch
from torch import Tensor

from fourd_ros.compositional.flow import FlowSchedule
from fourd_ros.compositional.guidance import FlowStep, OnStep, guided, ignore, is_guided
from fourd_ros.compositional.options import MotionOptions
from fourd_ros.compositional.transformer import CompositionalTransformer

__all__ = ["KnownFrame", "Window", "denoise_motion", "windows"]


@dataclass(frozen=True, kw_only=True)
class KnownFrame:
    """A frame whose moving objects are known, from the scene stage.

    Args:
        latents: shape [Q, T, C].
        full: tokens of the frame, shape [K, E].
        objects: tokens of the frame with nothing but each moving object, shape [Q, K, E].
    """

    latents: Tensor
    full: Tensor
    objects: Tensor


@dataclass(frozen=True, kw_only=True)
class Window:
    """Columns that are in the network at once.

    Args:
        known: whether the `KnownFrame` comes first.
        history: frames that are done.
        block: frames that are made.
    """

    known: bool
    history: range
    block: range

    @property
    def frames(self) -> range:
        """Both."""
        return range(self.history.start, self.block.stop)


def windows(frames: int, *, block: int, memory: int, known: bool) -> Iterator[Window]:
    """The windows of a clip in their order; see `MotionOptions`. A known frame belongs to the first one."""
    for start in range(0, frames, block):
        made = range(start, min(start + block, frames))
        room = max(memory - len(made), 0)
        past = min(block, start, room)
        yield Window(known=known and start == 0 and room > 0, history=range(start - past, start), block=made)


@torch.inference_mode()
def denoise_motion(
    transformer: CompositionalTransformer,
    noise: Tensor,
    *,
    full: Tensor,
    objects: Tensor,
    at_rest: Tensor,
    known: KnownFrame | None = None,
    options: MotionOptions | None = None,
    shift: float = 1.0,
    on_step: OnStep = ignore,
) -> Tensor:
    """Latents of moving objects in all frames.

    Args:
        transformer: the network.
        noise: that every frame of an object begins with, shape [Q, T, C].
        full: tokens of the frames, shape [F, K, E].
        objects: tokens of the frames with nothing but each moving object, shape [Q, F, K, E].
        at_rest: latents of the objects that stand, shape [S, T, C].
        known: what precedes the first block.
        options: of the flow.
        shift: of the flow, as the network was trained.
        on_step: is told after every step.

    Returns:
        Shape [Q, F, T, C].

    Raises:
        TooLarge: more objects, or frames at once, than the network can tell apart.
    """
    options = options or MotionOptions()
    latents = noise[:, None].repeat(1, len(full), 1, 1)
    for window in windows(len(full), block=options.block, memory=options.memory, known=known is not None):
        block = _Block(transformer, window, known if window.known else None, full, objects, at_rest, options)
        latents[:, window.block] = block.denoise(latents, FlowSchedule(steps=options.steps, shift=shift), on_step)
    return latents


class _Block:
    """One window: what its columns see does not change from step to step."""

    def __init__(
        self,
        transformer: CompositionalTransformer,
        window: Window,
        known: KnownFrame | None,
        full: Tensor,
        objects: Tensor,
        at_rest: Tensor,
        options: MotionOptions,
    ) -> None:
        self._transformer, self._window, self._known, self._options = transformer, window, known, options
        whole, single = full[window.frames], objects[:, window.frames]
        if known is not None:
            whole = torch.cat([known.full[None], whole])
            single = torch.cat([known.objects[:, None], single], dim=1)
        rows, columns = len(objects), len(whole)
        self._static = len(at_rest)
        self._at_rest = at_rest[:, None].expand(-1, columns, -1, -1)
        self._memory = transformer.remember(torch.cat([whole, single.flatten(0, 1)]))
        images = torch.arange(columns * (1 + rows), device=full.device)
        shared = images[:columns].expand(self._static + rows, -1)
        self._shared, self._own = shared, torch.cat([shared[: self._static], images[columns:].view(rows, columns)])

    def denoise(self, latents: Tensor, schedule: FlowSchedule, on_step: OnStep) -> Tensor:
        """The frames of the block [Q, B, T, C], from noise; latents of all frames [Q, F, T, C]."""
        made = latents[:, self._window.block]
        context = latents[:, self._window.history]
        if self._known is not None:
            context = torch.cat([self._known.latents[:, None], context], dim=1)
        guidance, past = self._options.guidance, context.shape[1]
        for number in range(schedule.steps):
            cutoff = number > self._options.mix_cutoff
            # From then on nobody sees the objects at rest.
            absent = self._static if cutoff else 0
            given = torch.cat([self._at_rest[absent:], torch.cat([context, made], dim=1)])
            velocities = self._transformer.mixed_velocities(
                given,
                self._times(schedule.timesteps[number], given, past, self._static - absent),
                memory=self._memory,
                temporal=self._own[absent:],
                spatial=(self._own if cutoff else self._shared)[absent:],
                static=self._static,
                cutoff=cutoff,
                guided=is_guided(guidance),
                absent=absent,
            )
            on_step(FlowStep(timestep=float(schedule.timesteps[number]), latents=given, velocities=velocities))
            flow = guided(velocities[:, self._static - absent :, past:], guidance)
            made = schedule.step(made, flow, number)
        return made

    def _times(self, timestep: Tensor, given: Tensor, past: int, standing: int) -> Tensor:
        """One time for all, or the one of what is known where that has its own."""
        if self._options.context_timestep is None:
            return timestep
        times = timestep.to(given.device).repeat(given.shape[:2])
        times[:standing], times[:, :past] = (self._options.context_timestep,) * 2
        return times
