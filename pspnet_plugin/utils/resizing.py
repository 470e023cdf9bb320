"""Resize photos and label maps.

Shrinking is by area: a pixel of a photo becomes the mean of what it covers, a pixel of a label map
the class that covers most of it. Enlarging is linear for photos, nearest for label maps.

Shape shorthand in this module: H, W: height and width; h, w: those of the result.
"""

import cv2
import numpy as np

Size = tuple[int, int]  # height, width; OpenCV and Pillow have them the other way round


def largest_share(labels: np.ndarray, size: Size) -> np.ndarray:
    """Shrink (H, W) uint8 labels to (h, w): each pixel gets the value that covers most of it.

    The lowest of equal shares wins. No side may grow.
    """
    best = np.zeros(size, np.uint8)
    winner = np.full(size, 255, np.uint8)
    for value in np.flatnonzero(np.bincount(labels.ravel())):
        # A number is a valid argument, whatever the stubs say.
        inside = cv2.compare(labels, int(value), cv2.CMP_EQ)  # type: ignore[call-overload]
        share = cv2.resize(inside, size[::-1], interpolation=cv2.INTER_AREA)
        larger = share > best
        np.copyto(best, share, where=larger)
        winner[larger] = value
    return winner


def fit(size: Size, max_side: int) -> Size:
    """Shrink a size in proportion until its longer side has at most ``max_side`` pixels."""
    scale = min(max_side / max(size), 1)
    return max(round(size[0] * scale), 1), max(round(size[1] * scale), 1)


def resize_labels(labels: np.ndarray, size: Size) -> np.ndarray:
    """Resize an (H, W) uint8 label map to (h, w); it gets no new value."""
    shrunk = _shrunk(labels, size)
    if shrunk != labels.shape:
        labels = largest_share(labels, shrunk)
    return cv2.resize(labels, size[::-1], interpolation=cv2.INTER_NEAREST_EXACT)


def resize_photo(photo: np.ndarray, size: Size) -> np.ndarray:
    """Resize an (H, W, 3) uint8 photo to (h, w, 3)."""
    photo = cv2.resize(photo, _shrunk(photo, size)[::-1], interpolation=cv2.INTER_AREA)
    return cv2.resize(photo, size[::-1], interpolation=cv2.INTER_LINEAR)


def _shrunk(image: np.ndarray, size: Size) -> Size:
    """Return the size without its enlarging part: OpenCV goes by area only if no side grows."""
    return min(image.shape[0], size[0]), min(image.shape[1], size[1])
