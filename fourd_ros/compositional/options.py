"""What a user chooses about a reconstruction of objects; needs no torch."""

import math
from dataclasses import dataclass, field

from fourd_ros.errors import InvalidParameter, TooLarge

__all__ = ["MAX_TOKENS", "MotionOptions", "ObjectOptions", "SceneOptions"]

GUIDANCE, NUM_STEPS = 7.0, 50
"""Of the original."""

MAX_TOKENS = 4096


@dataclass(frozen=True, kw_only=True)
class SceneOptions:
    """How a scene is made.

    Args:
        steps: of the flow.
        mixed_steps: first steps in which objects see each other. After them moving objects go on alone, and those at
            rest among themselves.
        guidance: 1 or less takes one pass a step instead of two and gives another result.

    Raises:
        InvalidParameter: a number that cannot be.
    """

    steps: int = NUM_STEPS
    mixed_steps: int = NUM_STEPS
    guidance: float = GUIDANCE

    def __post_init__(self) -> None:
        _check_guidance(self.guidance)
        if self.steps < 1 or self.mixed_steps < 0:
            raise InvalidParameter(f"steps {self.steps}, mixed_steps {self.mixed_steps}; needed are at least 1 and 0")


@dataclass(frozen=True, kw_only=True)
class MotionOptions:
    """How motion is made.

    Args:
        steps: of the flow of a block.
        mix_cutoff: last step, counted from 0, in which objects see each other; -1 is none.
        block: frames that are made at once.
        memory: columns at once at most: known ones are left out, the oldest first; a block is never cut.
        guidance: 1 or less takes one pass a step instead of two and gives another result.
        context_timestep: time that is told of what is known already, `flow.CLEAN_TIMESTEP` in training; None tells
            that of the noisy frames, as the original does.

    Raises:
        InvalidParameter: a number that cannot be.
    """

    steps: int = NUM_STEPS
    mix_cutoff: int = 20
    block: int = 6
    memory: int = 8
    guidance: float = GUIDANCE
    context_timestep: float | None = None

    def __post_init__(self) -> None:
        _check_guidance(self.guidance)
        for name in ("steps", "block", "memory"):
            if getattr(self, name) < 1:
                raise InvalidParameter(f"{name} is {getattr(self, name)}; at least 1 is needed")
        if self.context_timestep is not None and not 0 <= self.context_timestep <= 1000:
            raise InvalidParameter(f"context_timestep {self.context_timestep}; needed is one of 0 to 1000")


@dataclass(frozen=True, kw_only=True)
class ObjectOptions:
    """How objects are made of a clip.

    Args:
        static_objects: how many objects are at rest; which they are is for the network to find. Without any there is
            no scene stage.
        tokens: of each object; None takes as many as the model is used to.
        side: of the pictures that the network sees [px]; None takes what it is used to.
        seed: of the noise.
        scene: how objects are made at one frame.
        motion: how moving objects are made in all frames.
        official_compat: three mistakes of the original, for results that are equal to its: the scene's moving objects
            precede the first block with the picture of the first frame, whatever frame they were made of, and the two
            of `denoise_scene`.

    Raises:
        InvalidParameter: a number that cannot be.
        TooLarge: more than `MAX_TOKENS` tokens.
    """

    static_objects: int
    tokens: int | None = None
    side: int | None = None
    seed: int = 0
    scene: SceneOptions = field(default_factory=SceneOptions)
    motion: MotionOptions = field(default_factory=MotionOptions)
    official_compat: bool = False

    def __post_init__(self) -> None:
        if self.static_objects < 0:
            raise InvalidParameter(f"static_objects is {self.static_objects}; at least 0 is needed")
        for name in ("tokens", "side"):
            value = getattr(self, name)
            if value is not None and value < 1:
                raise InvalidParameter(f"{name} is {value}; at least 1 is needed")
        if (self.tokens or 0) > MAX_TOKENS:
            raise TooLarge(f"{self.tokens} tokens; at most {MAX_TOKENS} are taken")


def _check_guidance(guidance: float) -> None:
    if not math.isfinite(guidance):
        raise InvalidParameter(f"guidance {guidance}; a finite number is needed")
