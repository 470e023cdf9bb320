"""Photos that occur more than once in a set of pairs.

Two photos may be the same if their thumbnails (grey, 16 x 16, by area) differ by less than 1.5
levels, root mean square; saving a photo again, in another size or format, stays below. Different
photos of one even texture, a sea or a culture under a microscope, do so too, and therefore the
details must correlate as well: different photos of one texture reach 0.2, copies 0.6 to 1. Only a
faint texture that JPEG coding has erased is missed. Two splits are compared completely; within one
split only photos of equal thumbnails are.

Perceptual hashes (``imagehash``) have no threshold that does both: in the 256 bits of ``phash``,
different frames of a video differ by 18, and JPEG copies of a faint texture by up to 76.

Shape shorthand in this module: M, N: numbers of photos.
"""

import hashlib
from collections import defaultdict
from collections.abc import Mapping, Sequence
from itertools import compress
from typing import NamedTuple

import cv2
import numpy as np

SAME_PHOTO = 1.5  # levels
SAME_DETAIL = 0.55  # correlation
# Standard deviation that the thumbnail of a photo without detail, fog or a gradient, needs;
# otherwise there is nothing to recognise it by.
STRUCTURE = 4 * SAME_PHOTO
THUMB = 16  # pixels a side
DETAIL = 2 * THUMB
LEAST_DETAIL = 0.1  # levels; less does not survive JPEG coding
_BLOCK = 512  # photos that are compared with all others at once


class Fingerprint(NamedTuple):
    """Compact form of a photo in which copies are recognised."""

    digest: int  # of the pair's file, 64 bits
    thumbnail: np.ndarray  # (256,) uint8, the photo in grey, 16 x 16
    # (784,) float16 of length 1: the inner 28 x 28 of a thumbnail of 32 x 32, high-pass filtered
    # and divided by its local contrast; zero if there is no detail.
    detail: np.ndarray


class Duplicates(NamedTuple):
    """Names of pairs with the same photo, and whether their files are identical."""

    files: list[str]
    same_bytes: bool


def fingerprint(content: bytes, photo: np.ndarray) -> Fingerprint:
    """Return the fingerprint of an (H, W, 3) BGR photo from the bytes of its pair's file."""
    gray = cv2.cvtColor(photo, cv2.COLOR_BGR2GRAY)
    thumbnail = cv2.resize(gray, (THUMB, THUMB), interpolation=cv2.INTER_AREA).reshape(-1)
    digest = int.from_bytes(hashlib.blake2b(content, digest_size=8).digest(), 'big')
    return Fingerprint(digest, thumbnail, _detail(gray))


def _detail(gray: np.ndarray) -> np.ndarray:
    fine: np.ndarray = cv2.resize(
        gray.astype(np.float32), (DETAIL, DETAIL), interpolation=cv2.INTER_AREA
    )
    # A shared horizon or shading would make different photos alike. The difference removes slopes,
    # the division strong edges, and the crop what the border makes of slopes.
    fine = fine - cv2.GaussianBlur(fine, (5, 5), 1)
    local = np.sqrt(cv2.GaussianBlur(fine**2, (0, 0), 2))
    inner = np.s_[2:-2, 2:-2]
    detail = (fine / (local + LEAST_DETAIL))[inner].reshape(-1)
    if np.median(local[inner]) < LEAST_DETAIL:
        return np.zeros(detail.size, np.float16)
    return (detail / np.linalg.norm(detail)).astype(np.float16)


def find_duplicates(photos: Mapping[str, Fingerprint]) -> list[Duplicates]:
    """Group the pairs of a split that have the same photo."""
    by_thumbnail = defaultdict(list)
    for name, photo in photos.items():
        by_thumbnail[photo.thumbnail.tobytes()].append(name)
    groups = []
    for names in by_thumbnail.values():
        while len(names) > 1:
            first, *others = names
            same = _same([photos[first]], [photos[name] for name in others])[0]
            group = [first, *compress(others, same)]
            names = [*compress(others, ~same)]
            if len(group) > 1:
                same_bytes = len({photos[name].digest for name in group}) == 1
                groups.append(Duplicates(group, same_bytes))
    return groups


def find_shared(
    one: Mapping[str, Fingerprint], other: Mapping[str, Fingerprint]
) -> list[Duplicates]:
    """Find photos that two splits share: the first match in ``one``, in the order of ``other``."""
    names, other_names = list(one), list(other)
    left, right = list(one.values()), list(other.values())
    first: dict[int, int] = {}
    for start in range(0, len(left) if right else 0, _BLOCK):
        for i, k in np.argwhere(_same(left[start : start + _BLOCK], right)).tolist():
            first.setdefault(k, start + i)
    return [
        Duplicates([names[i], other_names[k]], left[i].digest == right[k].digest)
        for k, i in sorted(first.items())
    ]


def _same(left: Sequence[Fingerprint], right: Sequence[Fingerprint]) -> np.ndarray:
    """Return which photos are the same, (M, N) bool."""
    digests, thumbnails, details = (
        [np.stack([getattr(photo, name) for photo in side]) for side in (left, right)]
        for name in Fingerprint._fields
    )
    a, b = (thumbnail.astype(np.float32) for thumbnail in thumbnails)
    squares = (a**2).sum(1)[:, None] + (b**2).sum(1) - 2 * a @ b.T
    plain = [
        ~detail.any(1) & (thumbnail.std(1) > STRUCTURE)
        for detail, thumbnail in zip(details, thumbnails, strict=True)
    ]
    a, b = (detail.astype(np.float32) for detail in details)
    same = (digests[0][:, None] == digests[1]) | (plain[0][:, None] & plain[1])
    return (squares < SAME_PHOTO**2 * THUMB**2) & (same | (a @ b.T > SAME_DETAIL))
