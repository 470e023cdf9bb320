"""Photos and label maps in another size.

Shrinking goes by area: a photo's pixel is the mean of what it covers, a label's is the class that
covers most of it. Enlarging is linear for photos, and repeats the nearest pixel for labels.

Shape shorthand in this module: H, W: height and width; K: number of values in a label map.
"""

import cv2
import numpy as np

Size = tuple[int, int]


def largest_share(labels: np.ndarray, size: Size) -> np.ndarray:
    """Shrinks a label map: each pixel gets the value with the largest share of its area.

    Args:
        labels: (H, W) uint8.
        size: Width and height of the result, at most W and H.

    Returns:
        (height, width) uint8. Of equal shares the lowest value wins.
    """
    best = np.zeros(size[::-1], np.uint8)
    winner = np.full(size[::-1], 255, np.uint8)
    for value in np.flatnonzero(np.bincount(labels.ravel())):  # K rounds
        inside = cv2.compare(labels, int(value), cv2.CMP_EQ)
        share = cv2.resize(inside, size, interpolation=cv2.INTER_AREA)
        larger = share > best
        np.copyto(best, share, where=larger)
        winner[larger] = value
    return winner


def fit(size: Size, max_side: int) -> Size:
    """A size whose longer side has at most so many pixels, the other in proportion."""
    scale = min(max_side / max(size), 1)
    return max(round(size[0] * scale), 1), max(round(size[1] * scale), 1)


def resize_labels(labels: np.ndarray, size: Size) -> np.ndarray:
    """An (H, W) uint8 label map in ``size``, width and height; no value is new in it."""
    inner = _shrunk(labels, size)
    if inner != labels.shape[::-1]:
        labels = largest_share(labels, inner)
    return cv2.resize(labels, size, interpolation=cv2.INTER_NEAREST_EXACT)


def resize_photo(photo: np.ndarray, size: Size) -> np.ndarray:
    """An (H, W, 3) uint8 photo in ``size``, width and height."""
    photo = cv2.resize(photo, _shrunk(photo, size), interpolation=cv2.INTER_AREA)
    return cv2.resize(photo, size, interpolation=cv2.INTER_LINEAR)


def _shrunk(picture: np.ndarray, size: Size) -> Size:
    """The size without its enlarging part: OpenCV goes by area only where no side grows."""
    height, width = picture.shape[:2]
    return min(width, size[0]), min(height, size[1])
