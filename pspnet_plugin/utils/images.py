"""Read image files, and refuse those that are not what they seem to be.

Pairs and photos to predict are decoded by OpenCV (``decode_image``), photos to convert by Pillow
(``read_rgb``), and label maps to convert, too, because it keeps their indices (``open_image``).

OpenCV alone fills what a cut-off JPEG lacks with grey, scales 16 bits down whatever they hold,
drops the bands of a TIFF beyond the third, guesses at CMYK, takes the first of several frames,
forgets transparency, and turns an image by its EXIF orientation. Depth, bands and frames are
refused for all images. A photo may need the rest; a pair loses its labels by any of it, so that
``strict`` decoding refuses it.

Shape shorthand in this module: H, W: image height and width.
"""

import importlib
import io
import re
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from functools import cache
from pathlib import Path
from typing import NamedTuple

import cv2
import numpy as np
from PIL import Image, ImageOps, UnidentifiedImageError

from pspnet_plugin.utils.tiff_tags import band_problem, has_own_alpha, is_lossy_tiff

FORMATS = ('JPEG', 'PNG', 'BMP', 'WEBP')
PAIR_SUFFIXES = ('.jpg', '.jpeg', '.jpe', '.jfif', '.png', '.bmp', '.webp')
# Of photos and label maps; .jp2, .avif and .heic where OpenCV or Pillow (with pillow-heif) can.
HEIF_SUFFIXES = ('.heic', '.heif')
PHOTO_SUFFIXES = (*PAIR_SUFFIXES, '.tif', '.tiff', '.gif', '.jp2', '.avif', *HEIF_SUFFIXES)
# Bits of a channel that hold a photo's values, or the values that become black and white.
Bits = int | tuple[int, int]

_REFUSED = ('GIF', 'TIFF')  # recognised only to name them
_ANIMATED = ('GIF', 'PNG', 'WEBP', 'AVIF')  # formats whose frames are of equal rank
_MAY_BE_ANIMATED = (b'GIF8', b'\x89PNG', b'RIFF')  # their first bytes
_ORIENTATION = 0x0112
# Raw modes of 16 bits a channel, as Pillow names them; it silently keeps 8 of the bits.
DEEP_MODES = re.compile(r'(L|RGB|CMYK).*;16[BLNS]?')


class DeepImage(ValueError):
    """A photo of more than 8 bits a channel, without the bits that its values have."""


def decode_image(
    content: bytes, *, name: str, strict: bool, bits: Bits | None = None
) -> np.ndarray:
    """Decode the bytes of an image file with OpenCV into (H, W, 3) uint8 BGR.

    If ``strict``, accept only files whose pixels are returned as they are stored: one frame of a
    JPEG, PNG, BMP or WebP with 8 bits a channel, not CMYK, upright; and return (H, W, 4), with
    alpha, where pixels are transparent. Else take what OpenCV or Pillow makes of any file, turned
    upright; photos of 16 bits need ``bits``. ``ValueError`` names a file that is refused, no image,
    or cut off.
    """
    try:
        if not strict:
            _check_loosely(content)
        transparent = strict and _check_strictly(content)
        if content.startswith(b'\xff\xd8') and not jpeg_ends(content):
            # OpenCV 5 says that it is no image, and OpenCV 4 makes the rest grey.
            raise ValueError('cut off: its JPEG data has no end. Copy it again, or remove it.')
        if transparent:
            with Image.open(io.BytesIO(content)) as file:
                rgba = np.asarray(file.convert('RGBA'))
            return _visible(cv2.cvtColor(rgba, cv2.COLOR_RGBA2BGRA))
        buffer = np.frombuffer(content, np.uint8)
        how = cv2.IMREAD_COLOR | cv2.IMREAD_ANYDEPTH
        # OpenCV does not turn AVIF, and darkens where a TIFF is transparent.
        by_pillow = not content or _is_avif(content) or has_own_alpha(content)
        image = None if by_pillow else cv2.imdecode(buffer, how)
        if image is None and not strict:
            image = _decode_by_pillow(content)
        if image is None:
            raise _no_image(content)
        return to_8_bits(image, bits)
    except cv2.error as error:
        raise ValueError(f'{name}: OpenCV cannot decode it: {error.err}') from None
    except ValueError as error:
        kind = DeepImage if isinstance(error, DeepImage) else ValueError
        raise kind(f'{name}: {error}') from None


def to_8_bits(image: np.ndarray, bits: Bits | None) -> np.ndarray:
    """Scale an image of 16 bits a channel to 8, by the bits that its values have; 8 stay 8.

    ``ValueError``: bits are missing, its values exceed them, or it has another type.
    """
    if image.dtype == np.uint8:
        return image
    if image.dtype != np.uint16:
        raise ValueError(f'its values are {image.dtype}; 8 bits a channel, or 16, are supported.')
    largest = int(image.max())
    if bits is None:
        raise DeepImage(
            f'16 bits a channel, of which the largest value is {largest}. Give the bits that its '
            'values have, such as --bits 12, or the values that become black and white, such as '
            '--bits 200:3000.'
        )
    low, high = (0, 2**bits - 1) if isinstance(bits, int) else bits
    if isinstance(bits, int) and largest > high:
        raise ValueError(f'it holds {largest}, but {bits} bits end at {high}. Give more --bits.')
    scaled = (image.astype(np.float32) - low) * np.float32(255 / (high - low))
    return np.rint(scaled.clip(0, 255)).astype(np.uint8)


def check_bits(bits: Bits | None) -> Bits | None:
    """Return bits as they are used; ``ValueError`` if they are neither 8 to 16 nor a range."""
    if bits is None or (isinstance(bits, int) and 8 <= bits <= 16):
        return bits
    if isinstance(bits, list | tuple) and len(bits) == 2 and all(isinstance(b, int) for b in bits):
        low, high = bits
        if 0 <= low < high < 2**16:
            return low, high
    raise ValueError(
        f'bits={bits!r}: expected 8 to 16, or the values of black and white such as (200, 3000)'
    )


def read_rgb(path: Path, *, bits: Bits | None = None) -> np.ndarray:
    """Read an image file with Pillow as (H, W, 3) uint8 RGB, upright by its EXIF orientation.

    Raises ``OSError`` if it cannot be read, and ``ValueError`` if it is no image, cut off, damaged
    in its EXIF block, of other bands than colours, or of more than 8 bits without ``bits``.
    """
    with open_image(path) as (image, stored, _):
        try:
            if problem := _frame_problem(image):
                raise ValueError(f'{problem}.')
            orientation(image)
        except ValueError as error:
            raise ValueError(f'{path}: {error}') from None
        is_deep = image.mode.startswith(('I', 'F')) or DEEP_MODES.fullmatch(stored)
        if is_deep or image.format == 'JPEG2000':  # of which Pillow does not tell
            deep = decode_image(path.read_bytes(), name=str(path), strict=False, bits=bits)
            return deep[..., ::-1]
        return np.asarray(ImageOps.exif_transpose(image).convert('RGB'))


class OpenedImage(NamedTuple):
    """A loaded image, its raw mode, and whether its compression is lossy."""

    image: Image.Image
    raw_mode: str  # such as ``RGB;16B``
    lossy: bool  # its compression may have altered pixels


@contextmanager
def open_image(path: Path) -> Iterator[OpenedImage]:
    """Yield the image of a file.

    Raises ``OSError`` if the file cannot be read, and ``ValueError`` if it is no image, cut off, of
    other bands than colours, or of more pixels than Pillow's limit.
    """
    content = path.read_bytes()
    if problem := band_problem(content):
        raise ValueError(f'{path}: {problem}.')
    try:
        if path.suffix.lower() in HEIF_SUFFIXES:
            _register_heif()
        image = Image.open(io.BytesIO(content))
        stored = _raw_mode(image)
        image.load()
    except Image.DecompressionBombError:
        raise ValueError(f'{path}: {_bomb(content)}') from None
    except Exception as error:  # decoders raise OSError, SyntaxError, struct.error and more
        unknown = isinstance(error, UnidentifiedImageError)
        reason = 'unknown format' if unknown else str(error) or type(error).__name__
        if unknown and path.suffix.lower() in HEIF_SUFFIXES:
            reason += '; pip install pillow-heif reads .heic'
        raise ValueError(
            f'{path}: no image, or cut off ({reason}). Copy it again, or remove it.'
        ) from None
    with image:
        yield OpenedImage(image, stored, _is_lossy(image, content))


def orientation(image: Image.Image) -> int:
    """Return the EXIF orientation, 1 (upright) by default; ``ValueError`` if it is damaged.

    That of XMP is dropped from the image: Pillow would obey it, and OpenCV does not.
    """
    for key in ('xmp', 'XML:com.adobe.xmp'):
        image.info.pop(key, None)
    try:
        return image.getexif().get(_ORIENTATION, 1)
    except OSError:  # of the image itself, which some formats read for it
        raise
    except Exception as error:  # Pillow lets through whatever it meets: struct.error, SyntaxError …
        raise ValueError(
            f'its EXIF block is damaged ({error}). Remove it (exiftool -all= FILE), or save again.'
        ) from None


def alpha_of(image: Image.Image) -> np.ndarray | None:
    """Return the (H, W) uint8 opacity of a loaded image, None if all of it is opaque."""
    if not _can_be_transparent(image):
        return None
    alpha = np.asarray(image.convert('RGBA'))[..., 3]
    return None if (alpha == 255).all() else alpha


def check_alpha(alpha: np.ndarray) -> None:
    """Raise ``ValueError`` if a pixel is neither opaque nor invisible."""
    partly = (alpha > 0) & (alpha < 255)
    if partly.any():
        y, x = np.argwhere(partly)[0]
        raise ValueError(
            f'{partly.sum()} of its pixels are partly transparent (the first at x={x}, y={y}), so '
            'their labels are unclear. Save it without transparency.'
        )


def jpeg_ends(content: bytes) -> bool:
    """Return whether an end marker follows the data of a JPEG, behind those of its thumbnails.

    In the data itself a byte FF is always followed by 00 or a restart marker.
    """
    at = 2
    while content[at : at + 1] == b'\xff' and content[at + 1 : at + 2] != b'\xda':
        if content[at + 1 : at + 2] == b'\xff':  # fills up
            at += 1
            continue
        at += 2 + int.from_bytes(content[at + 2 : at + 4], 'big')
    return content.rfind(b'\xff\xd9', at) >= 0  # where there is one, it is the last thing


def _raw_mode(image: Image.Image) -> str:
    for *_, arguments in getattr(image, 'tile', ()):
        raw = arguments[0] if isinstance(arguments, tuple) and arguments else arguments
        if isinstance(raw, str):
            return raw
    return image.mode


def _check_loosely(content: bytes) -> None:
    """Raise ``ValueError`` for a photo of other bands or several frames; its alpha is no matter."""
    problem = band_problem(content)
    if not problem and (content.startswith(_MAY_BE_ANIMATED) or _is_avif(content)):
        with suppress(Exception), Image.open(io.BytesIO(content)) as image:
            problem = _frame_problem(image)
    if problem:
        raise ValueError(f'{problem}.')


def _check_strictly(content: bytes) -> bool:
    """Raise ``ValueError`` if the header of a file promises what ``strict`` refuses.

    Returns whether it may have transparent pixels.
    """
    try:
        with Image.open(io.BytesIO(content), formats=FORMATS + _REFUSED) as image:
            limit = Image.MAX_IMAGE_PIXELS  # Pillow itself only warns, up to twice as many
            if limit is not None and image.width * image.height > limit:
                raise Image.DecompressionBombError
            if problem := _problem(image, content):
                raise ValueError(f'{problem}. Convert it, or remove it.')
            return _can_be_transparent(image)
    except (Image.DecompressionBombWarning, Image.DecompressionBombError):
        raise ValueError(_bomb(content)) from None
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


def _frame_problem(header: Image.Image) -> str | None:
    # The frames of a phone's JPEG are of lower rank, such as its depth; see band_problem for TIFF.
    if header.format in _ANIMATED and (count := getattr(header, 'n_frames', 1)) > 1:
        return f'it holds {count} frames, expected one. Save the one that counts as a file'
    return None


def _is_lossy(image: Image.Image, content: bytes) -> bool:
    """Return whether the compression of a file may have altered its pixels."""
    if image.format == 'WEBP':
        at = 12
        while (chunk := content[at : at + 4]) not in (b'VP8 ', b'VP8L', b''):
            at += 8 + int.from_bytes(content[at + 4 : at + 8], 'little')
            at += at % 2
        return chunk == b'VP8 '
    if image.format == 'TIFF':
        return is_lossy_tiff(content)
    return image.format in ('JPEG', 'MPO', 'JPEG2000', 'AVIF', 'HEIF')


def _is_avif(content: bytes) -> bool:
    return content[4:12] in (b'ftypavif', b'ftypavis')


def _can_be_transparent(image: Image.Image) -> bool:
    return image.mode in ('RGBA', 'RGBa', 'LA', 'La', 'PA') or 'transparency' in image.info


def _visible(bgra: np.ndarray) -> np.ndarray:
    """Return (H, W, 3), or with alpha (H, W, 4) where pixels are invisible."""
    alpha = bgra[..., 3]
    if (alpha == 255).all():
        return np.ascontiguousarray(bgra[..., :3])
    check_alpha(alpha)
    return bgra


def _decode_by_pillow(content: bytes) -> np.ndarray | None:
    """Decode a file that OpenCV does not read, such as AVIF; None if Pillow does not either.

    ``ValueError``: it has more bits than Pillow would keep.
    """
    _register_heif()
    try:
        with Image.open(io.BytesIO(content)) as image:
            stored, upright = _raw_mode(image), ImageOps.exif_transpose(image)
    except Image.DecompressionBombError:
        raise ValueError(_bomb(content)) from None
    except Exception:  # of any decoder, on any bytes
        return None
    if upright.mode.startswith('I;16'):
        return np.repeat(np.asarray(upright).astype(np.uint16)[..., None], 3, axis=2)
    if upright.mode in ('I', 'F') or DEEP_MODES.fullmatch(stored):
        raise ValueError(f'its mode {stored} is read in part only. Convert it to PNG.')
    return np.asarray(upright.convert('RGB'))[..., ::-1]


@cache
def _register_heif() -> None:
    """Let Pillow read .heic where pillow-heif is installed."""
    with suppress(ImportError):
        importlib.import_module('pillow_heif').register_heif_opener()


def _bomb(content: bytes) -> str:
    return (
        f'its {len(content)} bytes unfold to more than {Image.MAX_IMAGE_PIXELS} pixels. Remove it '
        'or, if it is no accident, shrink it, or raise PIL.Image.MAX_IMAGE_PIXELS.'
    )


def _no_image(content: bytes) -> ValueError:
    return ValueError(
        f'no image, or cut off ({len(content)} bytes). Copy it again, or remove it; .jpg, .png, '
        '.bmp and .webp files are read, .heic if pillow-heif is installed.'
    )
