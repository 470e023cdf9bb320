"""InputImage files as OpenCV decodes them, if they are what they seem to be.

OpenCV alone fills what a cut-off JPEG lacks with grey, scales 16 bits down, guesses at CMYK, takes
the first of several pictures and turns a photo as its camera was held. For a photo any of that may
do; a pair loses its labels by it.
"""

import io

import cv2
import numpy as np
from PIL import Image, UnidentifiedImageError

FORMATS = ('JPEG', 'PNG', 'BMP', 'WEBP')
_ORIENTATION = 0x0112
_MORE = ('GIF', 'TIFF')  # told apart only to say what they are


def decode_picture(content: bytes) -> np.ndarray:
    """The (H, W, 3) uint8 BGR picture in the bytes of a file.

    Raises:
        ValueError: it is no whole still picture of 8 bits a channel, upright as it is stored; the
            message is the end of a sentence that begins with the file's name.
    """
    picture = None
    if _check_header(content) != 'JPEG' or jpeg_ends(content):
        picture = _decoded(content)
    if picture is None:
        raise ValueError(_no_picture(content))
    return picture


def _check_header(content: bytes) -> str:
    """Format of a file, whose header promises what we can take."""
    try:
        with Image.open(io.BytesIO(content), formats=FORMATS + _MORE) as header:
            most = Image.MAX_IMAGE_PIXELS  # Pillow itself only warns, up to twice as many
            if most is not None and header.width * header.height > most:
                raise ValueError(_too_large(content))
            problem = _problem(header, content)
            if problem:
                raise ValueError(f'{problem}; convert it, or take it out of the folder.')
            return header.format
    except (Image.DecompressionBombWarning, Image.DecompressionBombError):
        raise ValueError(_too_large(content)) from None
    except (UnidentifiedImageError, OSError, SyntaxError, EOFError):
        raise ValueError(_no_picture(content)) from None


def orientation(image: Image.Image) -> int:
    """How a camera was held, as EXIF numbers it; 1, upright, where nothing is said.

    Raises:
        OSError: the picture is cut off.
        ValueError: the EXIF block is damaged; the message continues the name of the file.
    """
    try:
        return image.getexif().get(_ORIENTATION, 1)
    except OSError:  # of the picture itself, which some formats read for it
        raise
    except Exception as error:  # Pillow lets through whatever it meets: struct.error, SyntaxError …
        raise ValueError(
            f'its EXIF block, which may say that it is turned, is damaged ({error}); remove it '
            '(exiftool -all= FILE), or save the picture anew'
        ) from None


def _problem(header: Image.Image, content: bytes) -> str | None:
    if (count := getattr(header, 'n_frames', 1)) > 1:
        return f'it holds {count} pictures, expected one'
    if header.format not in FORMATS:
        return f'it is a {header.format}, expected one of {", ".join(FORMATS)}'
    if header.mode == 'CMYK':
        return 'its colours are CMYK, expected RGB'
    if header.mode.startswith(('I', 'F')) or (header.format == 'PNG' and content[24] == 16):
        return 'it has 16 bits a channel, expected 8'
    if (turned := orientation(header)) != 1:
        return f'its EXIF orientation is {turned}, by which the halves change places, expected 1'
    return None


def _decoded(content: bytes) -> np.ndarray | None:
    try:
        return cv2.imdecode(np.frombuffer(content, np.uint8), cv2.IMREAD_COLOR)
    except cv2.error:
        return None


def jpeg_ends(content: bytes) -> bool:
    """Whether a JPEG's compressed data is followed by its end marker.

    The search starts behind the header: thumbnails in it have an end marker of their own. In the
    data itself a byte FF is always followed by 00 or a restart marker.
    """
    at = 2
    while content[at : at + 1] == b'\xff' and content[at + 1 : at + 2] != b'\xda':
        at += 2 + int.from_bytes(content[at + 2 : at + 4], 'big')
    return content.rfind(b'\xff\xd9', at) >= 0  # where there is one, it is the last thing


def _too_large(content: bytes) -> str:
    return (
        f'its {len(content)} bytes unfold to more than {Image.MAX_IMAGE_PIXELS} pixels. Take it '
        'out of the folder, or, if it is no accident, raise PIL.Image.MAX_IMAGE_PIXELS.'
    )


def _no_picture(content: bytes) -> str:
    return (
        f'no picture, or cut off ({len(content)} bytes). Expected a whole .jpg, .png, .bmp or '
        '.webp file with photo and labels side by side; copy it again or take it out of the folder.'
    )
