"""Photos as the networks take them: (H, W, 3) uint8 BGR, upright, no larger than asked for."""

from pathlib import Path

import cv2
import numpy as np

from pspnet_plugin.utils.images import Bits, decode_image
from pspnet_plugin.utils.resizing import fit


class BadImage(ValueError):
    """An image cannot be read or labelled; others can."""


class ImageTooLarge(BadImage):
    """Memory does not suffice for an image or a batch."""


def read_photo(path: Path, *, bits: Bits | None = None) -> np.ndarray:
    """Read a photo file; ``BadImage`` if it cannot be decoded, see ``decode_image``."""
    try:
        return decode_image(path.read_bytes(), name=str(path), strict=False, bits=bits)
    except OSError as error:
        raise BadImage(f'{path} cannot be read: {error.strerror}') from None
    except ValueError as error:
        raise BadImage(str(error)) from None


def shrink(photo: np.ndarray, max_side: int) -> np.ndarray:
    """Return a photo whose longer side has at most ``max_side`` pixels; itself if it is smaller."""
    if max(photo.shape[:2]) <= max_side:
        return photo
    return cv2.resize(photo, fit(photo.shape[:2], max_side)[::-1], interpolation=cv2.INTER_AREA)
