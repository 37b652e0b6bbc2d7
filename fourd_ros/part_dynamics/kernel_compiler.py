"""Compiles the kernels of this room with numba, and keeps what was compiled between processes.

numba keeps machine code beside the source and looks only at the date of the file that holds a kernel. Here it lies in a
folder of the user whose name is the hash of all sources that kernels are made of, so it is never stale, and a package
that cannot be written to is no obstacle. ``NUMBA_CACHE_DIR`` names another place.
"""

import hashlib
import os
from collections.abc import Callable
from functools import cache
from pathlib import Path
from typing import Any, TypeVar

from fourd_ros.errors import MissingDependency
from fourd_ros.machine import pip_install

Function = TypeVar("Function", bound=Callable[..., Any])

SOURCES = ("splat_rules.py", "splat_kernels.py", "splat_gradients.py")

FUSED = frozenset({"contract", "nsz"})
"""Multiply and add in one rounding: where no decision hangs on the last bit."""

REORDERED = frozenset({"contract", "nsz", "reassoc"})
"""Sums in any order as well."""


def kernel(signature: str, *, fast: frozenset[str] = frozenset({"nsz"})) -> Callable[[Function], Function]:
    """Compile a function for this processor when its module is imported, or load what was compiled before.

    The function runs without the interpreter's lock.

    Args:
        signature: types of result and arguments, as numba writes them.
        fast: liberties with floating point; by default none that change a result.

    Raises:
        MissingDependency: numba is not installed.
    """
    numba = _numba()

    def compiled(function: Function) -> Function:
        before = numba.config.CACHE_DIR
        numba.config.CACHE_DIR = before or str(kept_at())
        options = {"nogil": True, "error_model": "numpy", "fastmath": set(fast)}
        try:
            return numba.njit(signature, cache=True, **options)(function)  # type: ignore[no-any-return]
        except RuntimeError:  # there is no folder that can be written to
            return numba.njit(signature, **options)(function)  # type: ignore[no-any-return]
        finally:
            numba.config.CACHE_DIR = before

    return compiled


@cache
def kept_at() -> Path:
    """Where machine code is kept between processes."""
    digest = hashlib.sha256()
    for source in SOURCES:
        digest.update(Path(__file__).with_name(source).read_bytes())
    caches = os.environ.get("XDG_CACHE_HOME") or Path.home() / ".cache"
    return Path(caches, "fourd_ros", "kernels", digest.hexdigest()[:16])


def _numba() -> Any:
    try:
        import numba
    except ImportError as error:
        raise MissingDependency(f"compiled kernels need numba ({error}): {pip_install('numba')}") from error
    return numba
