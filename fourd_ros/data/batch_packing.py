"""Items of several sizes, packed into batches that hold exactly so many parts.

Rule: COM4D (arXiv 2512.05272), sections 10 and 15 of the specification this was written from.
"""

from collections.abc import Sequence

from fourd_ros.errors import InvalidDataset

__all__ = ["pack_batches"]


def pack_batches(sizes: Sequence[int], *, batch_size: int) -> list[list[int]]:
    """Batches whose sizes sum to `batch_size` exactly.

    Items are taken from the end of the list; one that is too large for what is left is put aside and gets its turn in
    the next batch. Items that cannot fill a batch are dropped with it, as the original does.

    Args:
        sizes: parts or frames of every item, in the shuffled order.
        batch_size: parts of a batch.

    Returns:
        Indices of the items of each batch, in the order in which they were taken.

    Raises:
        InvalidDataset: a size below 1, or no room for anything.
    """
    if batch_size < 1 or min(sizes, default=1) < 1:
        raise InvalidDataset(f"sizes from {min(sizes, default=0)} in batches of {batch_size}; needed is at least 1")
    batches: list[list[int]] = []
    waiting = list(range(len(sizes)))
    while waiting:
        taken: list[int] = []
        put_aside: list[int] = []
        room = batch_size
        while waiting and room:
            item = waiting.pop()
            if sizes[item] <= room:
                taken.append(item)
                room -= sizes[item]
            else:
                put_aside.append(item)
        if not room:
            batches.append(taken)
        waiting += put_aside
        if not taken:
            break
    return batches
