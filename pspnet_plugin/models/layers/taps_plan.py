"""What the products at the bins of a pyramid are made of: shares of the weight, matrices, blocks.

Shape shorthand in this module: as in ``taps.py``.
"""

from collections.abc import Iterator
from typing import NamedTuple

import torch
from torch import Tensor

# Floats of a block's intermediates: 8 MB of float32, what fits into the caches of a CPU.
BLOCK = 2**21


class Plan(NamedTuple):
    """Whose share of the weight (O, maps, k, k) is whose, and the matrices of the levels.

    ``own`` and ``shares`` are slices of its maps, for x and for each level. ``rows`` are the A_h of
    all levels side by side, (H, K); ``columns`` the A_w of each, (W, k * w).
    """

    own: tuple[slice, ...]
    shares: tuple[slice, ...]
    rows: Tensor
    columns: tuple[Tensor, ...]

    def own_weight(self, weight: Tensor) -> Tensor:
        """The shares of x, (O, C, k, k)."""
        parts = [weight[:, maps] for maps in self.own]
        return parts[0] if len(parts) == 1 else torch.cat(parts, 1)


def even_slices(size: int, floats: int) -> Iterator[slice]:
    """Slices of an axis, alike in size, each with at most ``BLOCK`` of the floats."""
    count = min(size, max(1, -(-floats // BLOCK)))
    step = -(-size // count)
    return (slice(start, min(start + step, size)) for start in range(0, size, step))


def blocks(pictures: int, maps: int, floats: int) -> list[tuple[slice, list[slice]]]:
    """Slices of the maps, and for each those of the pictures, for so many floats in all.

    Pictures are parted where one of them fits into a block, so that the weight is turned once and
    products have all maps; else the maps are.
    """
    if floats <= pictures * BLOCK:
        return [(slice(0, maps), list(even_slices(pictures, floats)))]
    return [(part, [slice(0, pictures)]) for part in even_slices(maps, floats)]


def summed(x: Tensor) -> torch.dtype:
    """That of sums over blocks of what has the dtype of x: at least float32."""
    return torch.promote_types(x.dtype, torch.float32)
