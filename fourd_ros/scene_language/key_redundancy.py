"""Which remembered tokens say what others say: those whose keys point where most keys point.

Source: InfiniteVGGT (arXiv 2601.02281): unit keys, their mean over the candidates of a head (not normalised again),
and the dot product with it.
"""

from collections.abc import Sequence

import torch
from torch import Tensor
from torch.nn.functional import normalize

SHARPNESS = 0.5
"""Temperature of the budgets of layers."""


def least_redundant(keys: Tensor, count: int) -> tuple[Tensor, Tensor]:
    """The tokens to keep, for every head on its own.

    Args:
        keys: of the candidates, shape [B, h, N, d].
        count: how many stay.

    Returns:
        Their indices in their order, shape [B, h, count]; and the mean agreement of all candidates with their mean, 0
        (all differ) to 1 (all are alike), a scalar.
    """
    unit = normalize(keys.float(), dim=-1)
    agreement = (unit @ unit.mean(dim=2, keepdim=True).transpose(-1, -2))[..., 0]
    kept = agreement.topk(count, dim=-1, largest=False, sorted=False).indices
    return kept.sort(dim=-1).values, agreement.mean()


def layer_budgets(redundancy: Sequence[float], total: int) -> tuple[int, ...]:
    """Tokens of each layer: more where its tokens differ more.

    Args:
        redundancy: of every layer, as `BudgetCache` measured it on a clip like those to come.
        total: tokens of all layers.
    """
    shares = torch.softmax((1 - torch.tensor(redundancy)) / SHARPNESS, dim=0) * total
    return tuple(int(share) for share in shares)
