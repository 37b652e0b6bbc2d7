"""What a stream remembers of earlier frames: keys and values, in memory that is taken once.

Keys are kept as the attention uses them, normalised and turned, so that nothing is computed again. Attention does not
care for the order of keys, so that a new frame takes the place of one that is forgotten and nothing is moved.
"""

from abc import ABC, abstractmethod
from dataclasses import dataclass
from typing import Protocol

import torch
from torch import Tensor

from fourd_ros.errors import InvalidImage, InvalidParameter
from fourd_ros.scene_language.key_redundancy import least_redundant

CAMERA_FRAMES = 20
"""Frames beside the first that the camera head remembers where a policy counts tokens and not frames."""


class LayerCache(Protocol):
    """What one attention layer remembers."""

    def append(self, keys: Tensor, values: Tensor) -> tuple[Tensor, Tensor]:
        """Remember the tokens of a frame.

        Args:
            keys: shape [B, h, P, d].
            values: the same shape.

        Returns:
            Keys and values of all that these tokens may look at, themselves among it, shape [B, h, N, d] each.

        Raises:
            InvalidImage: batch or tokens are not those of the frames before.
        """
        ...

    def settle(self) -> None:
        """Forget what is too much; called when all have looked."""
        ...

    @property
    def tokens(self) -> int:
        """How many the next frame will look at beside its own."""
        ...

    @property
    def byte_count(self) -> int:
        """Memory taken."""
        ...


class _Memory:
    """Keys and values of one layer.

    Attributes:
        frame: tokens of a frame.
    """

    def __init__(self) -> None:
        self._pair: Tensor | None = None
        self.frame = 0

    @property
    def byte_count(self) -> int:
        return 0 if self._pair is None else self._pair.numel() * self._pair.element_size()

    @property
    def capacity(self) -> int:
        """Tokens that fit in."""
        return 0 if self._pair is None else self._pair.shape[3]

    def make_room(self, keys: Tensor, capacity: int) -> None:
        """Memory for `capacity` tokens like `keys`; what is there stays."""
        self._check(keys)
        batch, heads, self.frame, channels = keys.shape
        larger = keys.new_zeros(2, batch, heads, capacity, channels)
        if self._pair is not None:
            larger[:, :, :, : self.capacity] = self._pair
        self._pair = larger

    def write(self, start: int, keys: Tensor, values: Tensor) -> None:
        """Put the tokens of a frame at `start`."""
        self._check(keys)
        into_keys, into_values = self.read(start + self.frame)
        into_keys[:, :, start:], into_values[:, :, start:] = keys, values

    def read(self, count: int) -> tuple[Tensor, Tensor]:
        """The first `count` tokens, without a copy."""
        assert self._pair is not None
        return self._pair[0, :, :, :count], self._pair[1, :, :, :count]

    def _check(self, keys: Tensor) -> None:
        if self._pair is None:
            return
        batch, heads, _, channels = self._pair.shape[1:]
        if keys.shape != (batch, heads, self.frame, channels) or keys.dtype != self._pair.dtype:
            raise InvalidImage(
                f"a frame of {keys.shape[2]} tokens (batch {keys.shape[0]}, {keys.dtype}) in a stream whose frames "
                f"have {self.frame} (batch {batch}, {self._pair.dtype}); reset it to change the resolution or batch"
            )


class GrowingCache:
    """Remembers everything; memory doubles when it is full."""

    def __init__(self) -> None:
        self._memory, self.tokens = _Memory(), 0

    @property
    def byte_count(self) -> int:
        return self._memory.byte_count

    def append(self, keys: Tensor, values: Tensor) -> tuple[Tensor, Tensor]:
        needed = self.tokens + keys.shape[2]
        if needed > self._memory.capacity:
            self._memory.make_room(keys, 2 * needed)
        self._memory.write(self.tokens, keys, values)
        self.tokens = needed
        return self._memory.read(needed)

    def settle(self) -> None:
        pass


class WindowCache:
    """Remembers the first frames for ever, and the last ones.

    Args:
        first: frames that stay.
        last: frames beside them, the one that looks not counted.
    """

    def __init__(self, *, first: int, last: int) -> None:
        self._memory, self._first, self._ring, self._count = _Memory(), first, last + 1, 0

    @property
    def byte_count(self) -> int:
        return self._memory.byte_count

    @property
    def tokens(self) -> int:
        return min(self._count, self._first + self._ring - 1) * self._memory.frame

    def append(self, keys: Tensor, values: Tensor) -> tuple[Tensor, Tensor]:
        most = self._first + self._ring
        if not self._count:
            self._memory.make_room(keys, most * keys.shape[2])
        later = self._count - self._first
        place = self._count if later < 0 else self._first + later % self._ring
        self._memory.write(place * self._memory.frame, keys, values)
        self._count += 1
        return self._memory.read(min(self._count, most) * self._memory.frame)

    def settle(self) -> None:
        pass


class BudgetCache:
    """Remembers so many tokens: those of the first frame, and of the others those that say least what others say.

    What goes is chosen for each head after a frame has looked; see `key_redundancy.least_redundant`.

    Args:
        budget: tokens.

    Attributes:
        redundancy: mean agreement of the tokens at the last choice, see `key_redundancy`, a scalar; 0 before.
    """

    def __init__(self, *, budget: int) -> None:
        self._memory, self._budget, self.tokens = _Memory(), budget, 0
        self.redundancy = torch.zeros(())

    @property
    def byte_count(self) -> int:
        return self._memory.byte_count

    def append(self, keys: Tensor, values: Tensor) -> tuple[Tensor, Tensor]:
        if not self.tokens:
            self._begin(keys)
        self._memory.write(self.tokens, keys, values)
        self.tokens += self._memory.frame
        return self._memory.read(self.tokens)

    def settle(self) -> None:
        if self.tokens <= self._budget:
            return
        keys, values = self._memory.read(self.tokens)
        first = self._memory.frame
        kept, self.redundancy = least_redundant(keys[:, :, first:], self._budget - first)
        place = kept[..., None].expand(-1, -1, -1, keys.shape[-1])
        for memory in (keys, values):
            memory[:, :, first : self._budget] = memory[:, :, first:].gather(2, place)
        self.tokens = self._budget

    def _begin(self, keys: Tensor) -> None:
        frame = keys.shape[2]
        if self._budget <= frame:
            raise InvalidParameter(
                f"a budget of {self._budget} tokens a layer, where a frame has {frame}; needed are more than one frame"
            )
        self._memory.make_room(keys, self._budget + frame)


class CachePolicy(ABC):
    """What a stream remembers."""

    @abstractmethod
    def token_cache(self, layer: int) -> LayerCache:
        """For the global attention of a layer."""

    @abstractmethod
    def camera_cache(self, *, entries: int) -> LayerCache:
        """For an attention of the camera head, which adds so many single tokens a frame."""


@dataclass(frozen=True)
class KeepAll(CachePolicy):
    """Everything: memory and time grow with every frame."""

    def token_cache(self, layer: int) -> LayerCache:
        return GrowingCache()

    def camera_cache(self, *, entries: int) -> LayerCache:
        return GrowingCache()


@dataclass(frozen=True, kw_only=True)
class KeepWindow(CachePolicy):
    """The last frames, and the first one, in whose frame everything is told.

    By default the published network remembers 0.92 GB of 518 x 392 pixels in bfloat16, and 0.91 GB with `KeepBudget`.

    Args:
        frames: that are remembered beside the first and the newest.
        anchor: keep the first frame; without it this is the window of the original.

    Raises:
        InvalidParameter: no frame.
    """

    frames: int = 7
    anchor: bool = True

    def __post_init__(self) -> None:
        if self.frames < 1:
            raise InvalidParameter(f"a window of {self.frames} frames; at least 1 is needed")

    def token_cache(self, layer: int) -> LayerCache:
        return WindowCache(first=int(self.anchor), last=self.frames)

    def camera_cache(self, *, entries: int) -> LayerCache:
        # The newest entries of a frame look at the earlier ones of it, beside those of `frames` frames.
        return WindowCache(first=entries * self.anchor, last=entries * (self.frames + 1) - 1)


@dataclass(frozen=True, kw_only=True)
class KeepBudget(CachePolicy):
    """So many tokens a layer; the camera head remembers the first frame and the last `CAMERA_FRAMES`.

    Args:
        tokens: of a layer, or of every layer one number; `key_redundancy.layer_budgets` shares out a total.

    Raises:
        InvalidParameter: a budget below 1.
    """

    tokens: int | tuple[int, ...] = 8192

    def __post_init__(self) -> None:
        budgets = (self.tokens,) if isinstance(self.tokens, int) else self.tokens
        if not budgets or min(budgets) < 1:
            raise InvalidParameter(f"budgets of {self.tokens} tokens; at least 1 is needed")

    def token_cache(self, layer: int) -> LayerCache:
        if isinstance(self.tokens, int):
            return BudgetCache(budget=self.tokens)
        if layer >= len(self.tokens):
            raise InvalidParameter(f"{len(self.tokens)} budgets, and a layer {layer}; needed is one for every layer")
        return BudgetCache(budget=self.tokens[layer])

    def camera_cache(self, *, entries: int) -> LayerCache:
        return KeepWindow(frames=CAMERA_FRAMES).camera_cache(entries=entries)
