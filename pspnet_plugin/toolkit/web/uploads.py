"""What strangers upload, as photos: from bytes alone, never from a name or path of theirs."""

import io
import math
from dataclasses import dataclass

import numpy as np
from PIL import Image

from pspnet_plugin.apis.readers import decode_photo, shrunk
from pspnet_plugin.apis.sources import BadImage

# Bytes of a file, and pixels in it: a 100-megapixel phone photo passes, a bomb does not.
MAX_BYTES = 64 * 2**20
MAX_PIXELS = 110 * 10**6
NO_PICTURE = (
    'This is not a picture of a kind that is known here, whatever its name says. Choose a JPEG or '
    "PNG file; a phone's HEIC photo can be saved as one."
)


@dataclass(frozen=True)
class Upload:
    """A photo to be labelled.

    Attributes:
        photo: (H, W, 3) uint8 BGR, no side longer than asked for.
        original: (width, height) of the file.
    """

    photo: np.ndarray
    original: tuple[int, int]

    @property
    def was_shrunk(self) -> bool:
        """Whether it is smaller than the file."""
        return self.photo.shape[1::-1] != self.original


def open_upload(content: bytes, *, max_side: int) -> Upload:
    """A photo from the content of a file.

    Args:
        content: All of it.
        max_side: Pixels; a longer side is shrunk to it, the other in proportion.

    Raises:
        BadImage: it is empty, no picture, or too large; the message is for whoever sent it.
    """
    if not content:
        raise BadImage('This file is empty. Choose a photo, such as a JPEG or PNG file.')
    if len(content) > MAX_BYTES:
        raise BadImage(too_large(str(math.ceil(len(content) / 2**20))))
    size = _size(content)
    if size is None or size[0] * size[1] > MAX_PIXELS:
        has = f'has {size[0]} x {size[1]} pixels' if size else 'is far too large'
        raise BadImage(
            f'This picture {has}; at most {MAX_PIXELS // 10**6} million pixels are taken. Shrink '
            'it first.'
        )
    try:
        photo = decode_photo(content, 'This file')
    except BadImage:
        raise BadImage(
            'This file cannot be decoded: it is damaged, or of a kind that is not known here. '
            'Save it anew as a JPEG or PNG file.'
        ) from None
    height, width = photo.shape[:2]  # turned as its camera was held
    return Upload(shrunk(photo, max_side), (width, height))


def too_large(megabytes: str) -> str:
    """What is said of a file beyond ``MAX_BYTES``.

    Args:
        megabytes: That it has, rounded up, lest '64; at most 64' is said.
    """
    return (
        f'This file has {megabytes} MB; at most {MAX_BYTES // 2**20} are taken. Choose a smaller '
        'one.'
    )


def _size(content: bytes) -> tuple[int, int] | None:
    """Width and height by the header, before memory is taken for the pixels; None: a bomb."""
    try:
        with Image.open(io.BytesIO(content)) as picture:
            return picture.size
    except Image.DecompressionBombError:
        return None
    except Exception:  # of any decoder, on any bytes
        raise BadImage(NO_PICTURE) from None
