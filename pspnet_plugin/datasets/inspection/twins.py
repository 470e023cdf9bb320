"""Photos that stand in a set more than once.

Two photos are the same where their thumbnails (grey, 16 x 16, by area) differ by less than 1.5
levels, root mean square: saving a photo anew, in another size or format, stays below; different
photos lie far above. Between splits all are compared; within one, equal thumbnails are found.

Shape shorthand in this module: M, N: numbers of photos.
"""

from collections import defaultdict

import numpy as np

from pspnet_plugin.datasets.inspection.tallies import SplitTally

SAME_PHOTO = 1.5  # levels
_BLOCK = 512  # photos that are compared at once with all others


def twins_within(tally: SplitTally) -> list[dict]:
    """Groups of pairs of a split with the same photo: ``files``, and whether ``same_bytes``."""
    groups = defaultdict(list)
    for picture in sorted(tally.thumbs):
        groups[tally.thumbs[picture].tobytes()].append(picture)
    return [
        dict(
            files=tally.files(group),
            same_bytes=len({tally.digests[picture] for picture in group}) == 1,
        )
        for group in groups.values()
        if len(group) > 1
    ]


def twins_between(one: SplitTally, other: SplitTally) -> list[dict]:
    """Photos of the second split that the first one has, too; the same keys."""
    mine, theirs = sorted(one.thumbs), sorted(other.thumbs)
    if not mine or not theirs:
        return []
    left = np.stack([one.thumbs[i] for i in mine]).astype(np.float32)  # (M, 256)
    right = np.stack([other.thumbs[i] for i in theirs]).astype(np.float32)  # (N, 256)
    right_squares = (right**2).sum(1)
    twins: dict[int, int] = {}
    for start in range(0, len(left), _BLOCK):
        part = left[start : start + _BLOCK]
        squares = (part**2).sum(1)[:, None] + right_squares - 2 * part @ right.T  # (M, N)
        for i, k in np.argwhere(squares < SAME_PHOTO**2 * left.shape[1]):
            twins.setdefault(theirs[k], mine[start + i])
    return [
        dict(
            files=[f'{one.split.name}/{one.split.pairs[a]}',
                   f'{other.split.name}/{other.split.pairs[b]}'],
            same_bytes=one.digests[a] == other.digests[b],
        )
        for b, a in sorted(twins.items())
    ]  # fmt: skip
