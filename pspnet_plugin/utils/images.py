"""Read image files, and refuse those that are not what they seem to be.

Pairs and photos to predict are decoded by OpenCV (``decode_image``), photos to convert by Pillow
(``read_rgb``), and label maps to convert, too, because it keeps their indices (``open_image``).

OpenCV alone fills what a cut-off JPEG lacks with grey, scales 16 bits down, guesses at CMYK, takes
the first of several frames, and turns an image by its EXIF orientation. A photo may need just that;
a pair loses its labels by any of it, so that ``strict`` decoding refuses it.

Shape shorthand in this module: H, W: image height and width.
"""

import io
import re
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import cv2
import numpy as np
from PIL import Image, ImageOps, UnidentifiedImageError

FORMATS = ('JPEG', 'PNG', 'BMP', 'WEBP')
_REFUSED = ('GIF', 'TIFF')  # recognised only to name them
_ORIENTATION = 0x0112
# Raw modes of 16 bits a channel, as Pillow names them; it silently keeps 8 of the bits.
DEEP_MODES = re.compile(r'(L|RGB|CMYK).*;16[BLNS]?')


def decode_image(content: bytes, *, name: str, strict: bool) -> np.ndarray:
    """Decode the bytes of an image file with OpenCV into (H, W, 3) uint8 BGR.

    If ``strict``, accept only files whose pixels are returned as they are stored: one frame of a
    JPEG, PNG, BMP or WebP with 8 bits a channel, not CMYK, upright. Else take what OpenCV makes of
    any file, turned upright. ``ValueError`` names a file that is refused, no image, or cut off.
    """
    try:
        if strict:
            _check_header(content)
        if content.startswith(b'\xff\xd8') and not jpeg_ends(content):
            # OpenCV 5 says that it is no image, and OpenCV 4 makes the rest grey.
            raise ValueError('cut off: its JPEG data has no end. Copy it again, or remove it.')
        buffer = np.frombuffer(content, np.uint8)
        image = cv2.imdecode(buffer, cv2.IMREAD_COLOR) if content else None
        if image is None:
            raise _no_image(content)
    except cv2.error as error:
        raise ValueError(f'{name}: OpenCV cannot decode it: {error.err}') from None
    except ValueError as error:
        raise ValueError(f'{name}: {error}') from None
    return image


def read_rgb(path: Path) -> np.ndarray:
    """Read an image file with Pillow as (H, W, 3) uint8 RGB, upright by its EXIF orientation.

    Raises ``OSError`` if it cannot be read, and ``ValueError`` if it is no image, cut off, damaged
    in its EXIF block, or deeper than 8 bits.
    """
    with open_image(path) as (image, stored):
        if image.mode.startswith(('I', 'F')) or DEEP_MODES.fullmatch(stored):
            raise ValueError(
                f'{path}: more than 8 bits a channel ({stored}). Convert it: only you know which '
                'range of it matters.'
            )
        try:
            orientation(image)
        except ValueError as error:
            raise ValueError(f'{path}: {error}') from None
        return np.asarray(ImageOps.exif_transpose(image).convert('RGB'))


@contextmanager
def open_image(path: Path) -> Iterator[tuple[Image.Image, str]]:
    """Yield a loaded image and its raw mode, such as ``RGB;16B``, which loading forgets.

    Raises ``OSError`` if the file cannot be read, and ``ValueError`` if it is no image, or cut off.
    """
    try:
        image = Image.open(io.BytesIO(path.read_bytes()))
        stored = _raw_mode(image)
        image.load()
    except (FileNotFoundError, PermissionError):
        raise
    except Exception as error:  # decoders raise OSError, SyntaxError, struct.error and more
        unknown = isinstance(error, UnidentifiedImageError)
        reason = 'unknown format' if unknown else str(error) or type(error).__name__
        raise ValueError(
            f'{path}: no image, or cut off ({reason}). Copy it again, or remove it.'
        ) from None
    with image:
        yield image, stored


def _raw_mode(image: Image.Image) -> str:
    for *_, arguments in getattr(image, 'tile', ()):
        raw = arguments[0] if isinstance(arguments, tuple) and arguments else arguments
        if isinstance(raw, str):
            return raw
    return image.mode


def orientation(image: Image.Image) -> int:
    """Return the EXIF orientation, 1 (upright) by default; ``ValueError`` if it is damaged."""
    try:
        return image.getexif().get(_ORIENTATION, 1)
    except OSError:  # of the image itself, which some formats read for it
        raise
    except Exception as error:  # Pillow lets through whatever it meets: struct.error, SyntaxError …
        raise ValueError(
            f'its EXIF block is damaged ({error}). Remove it (exiftool -all= FILE), or save again.'
        ) from None


def jpeg_ends(content: bytes) -> bool:
    """Return whether an end marker follows the data of a JPEG, behind those of its thumbnails.

    In the data itself a byte FF is always followed by 00 or a restart marker.
    """
    at = 2
    while content[at : at + 1] == b'\xff' and content[at + 1 : at + 2] != b'\xda':
        at += 2 + int.from_bytes(content[at + 2 : at + 4], 'big')
    return content.rfind(b'\xff\xd9', at) >= 0  # where there is one, it is the last thing


def _check_header(content: bytes) -> None:
    """Raise ``ValueError`` if the header of a file promises what ``strict`` refuses."""
    try:
        with Image.open(io.BytesIO(content), formats=FORMATS + _REFUSED) as header:
            limit = Image.MAX_IMAGE_PIXELS  # Pillow itself only warns, up to twice as many
            if limit is not None and header.width * header.height > limit:
                raise Image.DecompressionBombError
            if problem := _problem(header, content):
                raise ValueError(f'{problem}. Convert it, or remove it.')
    except (Image.DecompressionBombWarning, Image.DecompressionBombError):
        raise ValueError(
            f'its {len(content)} bytes unfold to more than {Image.MAX_IMAGE_PIXELS} pixels. Remove '
            'it or, if it is no accident, raise PIL.Image.MAX_IMAGE_PIXELS.'
        ) from None
    except (UnidentifiedImageError, OSError, SyntaxError, EOFError):
        raise _no_image(content) from None


def _problem(header: Image.Image, content: bytes) -> str | None:
    if (count := getattr(header, 'n_frames', 1)) > 1:
        return f'it holds {count} frames, expected one'
    if header.format not in FORMATS:
        return f'it is a {header.format}, expected one of {", ".join(FORMATS)}'
    if header.mode == 'CMYK':
        return 'its colours are CMYK, expected RGB'
    if header.mode.startswith(('I', 'F')) or (header.format == 'PNG' and content[24] == 16):
        return 'it has 16 bits a channel, expected 8'
    if (turned := orientation(header)) != 1:
        return f'its EXIF orientation is {turned}, expected 1: turned, the halves change places'
    return None


def _no_image(content: bytes) -> ValueError:
    return ValueError(
        f'no image, or cut off ({len(content)} bytes). Copy it again, or remove it; .jpg, .png, '
        '.bmp and .webp files are read.'
    )
