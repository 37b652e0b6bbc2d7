"""The endpoint of a model that names objects, as the command and the node ask for it."""

import os
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from fourd_ros.chat_endpoint import ChatEndpoint

__all__ = ["KEY", "naming_endpoint"]

KEY = "FOURD_VLM_KEY"
"""Environment variable with the key of the endpoint; needed only where the endpoint wants one."""

MAX_TOKENS = 4096
"""Of an answer: a name and a sentence for each of many objects, and thoughts before them."""


def naming_endpoint(url: str, model: str) -> "ChatEndpoint":
    """Where a model answers; with the key in `KEY`, if there is one.

    Args:
        url: that ``/chat/completions`` is added to.
        model: its name there.

    Raises:
        InvalidConfig: the URL is none of http or https.
    """
    from fourd_ros.chat_endpoint import ChatEndpoint

    return ChatEndpoint(
        url=url,
        model=model,
        key_variable=KEY if os.environ.get(KEY) else "",
        stream=True,
        parameters={"temperature": 0, "max_tokens": MAX_TOKENS},
    )
