"""Photos that stand in a set more than once.

Two photos may be the same where their thumbnails (grey, 16 x 16, by area) differ by less than 1.5
levels, root mean square: saving a photo anew, in another size or format, stays below. So do
different photos of one even texture, a sea or a culture under a microscope; therefore their
details (28 x 28, see ``Look``) have to correlate, too. Different photos of one texture reach 0.2,
copies 0.6 to 1; only a faint texture that JPEG coding has erased is no longer known again. Between
splits all are compared; within one, those of equal thumbnails.

Shape shorthand in this module: M, N: numbers of photos.
"""

from collections import defaultdict
from collections.abc import Sequence

import numpy as np

from pspnet_plugin.toolkit.inspection.split_statistics import SplitTally

SAME_PHOTO = 1.5  # levels
SAME_DETAIL = 0.55  # correlation
# Levels that the thumbnail of a photo without detail, fog or a gradient, has to vary by, or else
# there is nothing to know it by.
STRUCTURE = 4 * SAME_PHOTO
_BLOCK = 512  # photos that are compared at once with all others


def twins_within(tally: SplitTally) -> list[dict]:
    """Groups of pairs of a split with the same photo: ``files``, and whether ``same_bytes``."""
    by_thumb = defaultdict(list)
    for picture in sorted(tally.thumbs):
        by_thumb[tally.thumbs[picture].tobytes()].append(picture)
    groups = []
    for alike in by_thumb.values():
        while len(alike) > 1:
            same = _same(tally, alike[:1], tally, alike)[0]
            same[0] = True
            groups.append(
                [picture for picture, is_same in zip(alike, same, strict=True) if is_same]
            )
            alike = [picture for picture, is_same in zip(alike, same, strict=True) if not is_same]
    return [
        dict(
            files=tally.files(group),
            same_bytes=len({tally.digests[picture] for picture in group}) == 1,
        )
        for group in groups
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
        close = squares < SAME_PHOTO**2 * left.shape[1]
        rows, columns = (np.flatnonzero(close.any(axis)) for axis in (1, 0))
        first, second = [mine[start + i] for i in rows], [theirs[k] for k in columns]
        for i, k in np.argwhere(close[np.ix_(rows, columns)] & _same(one, first, other, second)):
            twins.setdefault(second[k], first[i])
    return [
        dict(
            files=[f'{one.split.name}/{one.split.pairs[a]}',
                   f'{other.split.name}/{other.split.pairs[b]}'],
            same_bytes=one.digests[a] == other.digests[b],
        )
        for b, a in sorted(twins.items())
    ]  # fmt: skip


def _same(
    one: SplitTally, mine: Sequence[int], other: SplitTally, theirs: Sequence[int]
) -> np.ndarray:
    """(M, N) bool: whether photos whose thumbnails are close are the same."""
    if not mine or not theirs:
        return np.zeros((len(mine), len(theirs)), bool)
    sides = ((one, mine), (other, theirs))
    digests = [np.array([tally.digests[i].hex() for i in some]) for tally, some in sides]
    left, right = (
        np.stack([tally.details[i] for i in some]).astype(np.float32) for tally, some in sides
    )
    plain = [
        np.array([not tally.details[i].any() and tally.thumbs[i].std() > STRUCTURE for i in some])
        for tally, some in sides
    ]
    same_bytes = digests[0][:, None] == digests[1]
    return same_bytes | (left @ right.T > SAME_DETAIL) | (plain[0][:, None] & plain[1])
