"""Tokens that a network learns."""

import torch
from torch import nn


def learned_tokens(*shape: int, spread: float = 0.02) -> nn.Parameter:
    """A parameter, drawn evenly with a standard deviation of `spread`.

    Normal numbers on the meta device would make torch import its compiler, which takes seconds.
    """
    tokens = nn.Parameter(torch.empty(shape))
    reach = spread * 3**0.5
    nn.init.uniform_(tokens, -reach, reach)
    return tokens
