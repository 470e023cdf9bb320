"""Photos uploaded by strangers: read from bytes alone, never by a name or path of theirs.

The server checks every file. The browser checks it before it is sent, because gradio's own message
there disappears after ten seconds and leaves a badge that only says 'Error'.
"""

import io
import json
import math
from dataclasses import dataclass
from pathlib import Path

import numpy as np
from PIL import Image

from pspnet_plugin.apis import BadImage
from pspnet_plugin.apis.photos import shrink
from pspnet_plugin.utils.images import Bits, DeepImage, decode_image

# Bytes of a file, and pixels in it: a 100-megapixel phone photo passes, a decompression bomb not.
MAX_BYTES = 64 * 2**20
MAX_PIXELS = 110 * 10**6
NOT_AN_IMAGE = (
    'This is not an image of a known kind, whatever its name says. Choose a JPEG or PNG file; a '
    "phone's HEIC photo can be saved as one."
)
# Filled and shown by ``uploads.js``, and hidden again when another photo is given or chosen.
MESSAGE = '<p class="problem" role="alert" hidden></p>'


@dataclass(frozen=True)
class Upload:
    """A photo to label."""

    photo: np.ndarray  # (H, W, 3) uint8 BGR, no side longer than asked for
    original: tuple[int, int]  # (width, height) of the file

    @classmethod
    def shrunk(cls, photo: np.ndarray, max_side: int) -> 'Upload':
        """Shrink a photo as it is in its file."""
        height, width = photo.shape[:2]
        return cls(shrink(photo, max_side), (width, height))

    @property
    def is_shrunk(self) -> bool:
        """Return whether the photo is smaller than the file."""
        return self.photo.shape[1::-1] != self.original


def open_upload(content: bytes, *, max_side: int, bits: Bits | None = None) -> Upload:
    """Read a photo from the content of a file, shrunk to ``max_side``.

    ``BadImage``: it is empty, not an image, or too large; the message is for whoever sent it.
    """
    if not content:
        raise BadImage('This file is empty. Choose a photo, such as a JPEG or PNG file.')
    if len(content) > MAX_BYTES:
        raise BadImage(_too_large(str(math.ceil(len(content) / 2**20))))
    size = _header_size(content)
    if size is None or size[0] * size[1] > MAX_PIXELS:
        has = f'has {size[0]} x {size[1]} pixels' if size else 'is far too large'
        raise BadImage(
            f'This image {has}; the limit is {MAX_PIXELS // 10**6} million pixels. Shrink it first.'
        )
    try:
        photo = decode_image(content, name='upload', strict=False, bits=bits)
    except DeepImage:
        raise BadImage(
            'This image has 16 bits a channel, of which this page does not know how many count. '
            'Save it as a JPEG or as a PNG file of 8 bits.'
        ) from None
    except ValueError:
        raise BadImage(
            'This file cannot be decoded: it is damaged, or of an unknown kind. Save it again as a '
            'JPEG or PNG file.'
        ) from None
    return Upload.shrunk(photo, max_side)


def _header_size(content: bytes) -> tuple[int, int] | None:
    """Read (width, height) before memory is taken for the pixels; None for a bomb."""
    try:
        with Image.open(io.BytesIO(content)) as image:
            return image.size
    except Image.DecompressionBombError:
        return None
    except Exception:  # of any decoder, on any bytes
        raise BadImage(NOT_AN_IMAGE) from None


def script() -> str:
    """Return the check in the browser, for the head of the page."""
    settings = dict(maxBytes=MAX_BYTES, tooLarge=_too_large('#'), notAnImage=NOT_AN_IMAGE)
    code = Path(__file__).with_name('uploads.js').read_text(encoding='utf-8')
    return f'<script>{{ const settings = {json.dumps(settings)};\n{code}}}</script>'


def _too_large(megabytes: str) -> str:
    """Say that a file is beyond ``MAX_BYTES``; its megabytes are rounded up, lest '64 of 64'."""
    return (
        f'This file has {megabytes} MB; the limit is {MAX_BYTES // 2**20} MB. Choose a smaller one.'
    )
