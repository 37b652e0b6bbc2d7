"""One name for an error everywhere: exception kind, diagnostics counter, and constant in the interface."""

from typing import Any

from fourd_ros.errors import FourdError


def error_code(response_type: Any, error: Exception) -> int:
    """The constant of `response_type` named like the error's kind; ``INTERNAL`` for the others.

    Args:
        response_type: class of a result or response with error constants.
        error: what went wrong.
    """
    kind = error.kind if isinstance(error, FourdError) else "internal"
    return int(getattr(response_type, kind.upper(), response_type.INTERNAL))
