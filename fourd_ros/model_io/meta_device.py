"""Networks without memory for their parameters, but with their buffers computed."""

import threading
import weakref
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

from torch import nn
from torch.nn.modules.module import register_module_parameter_registration_hook


@contextmanager
def parameters_on_meta() -> Iterator[None]:
    """Parameters of networks made in this block (by this thread) are on the meta device; buffers are real.

    Building on ``torch.device("meta")`` would lose buffers that no file holds, such as rotary tables. A parameter goes
    to the meta device when its module takes it, before it is initialised, so its memory is never touched.
    """
    owner = threading.get_ident()
    twins: dict[int, tuple[weakref.ref[nn.Parameter], nn.Parameter]] = {}

    def to_meta(_module: nn.Module, _name: str, parameter: nn.Parameter | None) -> Any:
        if parameter is None or parameter.is_meta or threading.get_ident() != owner:
            return parameter
        real, twin = twins.get(id(parameter), (None, None))
        if real is None or twin is None or real() is not parameter:
            twin = nn.Parameter(parameter.detach().to("meta"), requires_grad=parameter.requires_grad)
            twins[id(parameter)] = (weakref.ref(parameter), twin)
        return twin  # the same for every module that takes the same parameter: ties stay

    hook = register_module_parameter_registration_hook(to_meta)
    try:
        yield
    finally:
        hook.remove()
