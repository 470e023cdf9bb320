"""A pair as two virtual files, so that every stock transform, hook and tool reads it.

A pair is one picture: the photo in one half, its colour-coded label map in the other. Two file
schemes, registered in mmengine, present the halves to whatever reads a file's bytes through it::

    pair-photo://photo=left//data/train/1.jpg                               -> a BMP of the photo
    pair-label://photo=left&rule=edge_aware&…&palette=804080.…//data/train/1.jpg
                                                             -> a PGM of the class indices

Nothing is re-compressed: both are a header and the raw pixels. The URI carries all that decoding
needs, so it means the same in every process; its last component is the file's own name, because
hooks and metrics name their output after it. The pair itself is read through mmengine and may lie
on any of its backends. ``backend_args`` of the loading transform are handed on; a ``backend`` among
them would override the schemes, so name the backend by the prefix of the path (``s3://``).

Shape shorthand in this module: H, W: height and width of one half.
"""

import os
import struct
import threading
from collections.abc import Mapping
from functools import lru_cache
from urllib.parse import parse_qsl, urlencode

import numpy as np
from mmengine import fileio
from mmengine.fileio.backends import BaseStorageBackend, register_backend

from pspnet_plugin.datasets.bad_pairs import BadPair
from pspnet_plugin.datasets.packed_cache import PackedCache
from pspnet_plugin.labels.decoder import LabelDecoder
from pspnet_plugin.utils.images import decode_picture

SIDES = ('left', 'right')


def photo_uri(path: str, *, photo_side: str) -> str:
    """The virtual file of a pair's photo half."""
    return f'pair-photo://{urlencode(dict(photo=photo_side))}/{_escape(path)}'


def label_uri(path: str, *, photo_side: str, decoder: LabelDecoder) -> str:
    """The virtual file of a pair's class indices."""
    spec = dict(
        photo=photo_side,
        rule=decoder.rule,
        max_distance=decoder.max_distance,
        min_confidence=decoder.min_confidence,
        min_explained=decoder.min_explained,
        palette=_to_hex(decoder.palette),
        void=_to_hex(decoder.void_palette),
    )
    return f'pair-label://{urlencode(spec)}/{_escape(path)}'


def read_by(uri: str, decode: Mapping) -> str:
    """The same virtual file of class indices, read by another rule.

    Args:
        uri: As ``label_uri`` writes it.
        decode: Arguments of ``LabelDecoder`` in place of those in the URI; the palettes stay, and
            so does ``min_explained`` where it is not among them.

    Raises:
        ValueError: the text is no such URI, or the arguments are unusable.
    """
    path, side, decoder = parse_label_uri(uri)
    kept = dict(min_explained=decoder.min_explained)
    try:
        decoder = LabelDecoder(
            decoder.palette, void_palette=decoder.void_palette, **{**kept, **decode}
        )
    except TypeError as error:
        raise ValueError(f'decode={decode}: {error}') from None
    return label_uri(path, photo_side=side, decoder=decoder)


def parse_label_uri(uri: str) -> tuple[str, str, LabelDecoder]:
    """Path, photo side and decoder of a ``pair-label://`` URI.

    Raises:
        ValueError: the text is no such URI.
    """
    spec, path = _split(uri, 'pair-label')
    return path, *_label_spec(spec)


def parse_photo_uri(uri: str) -> tuple[str, str]:
    """Path and photo side of a ``pair-photo://`` URI; ``ValueError`` where it is none."""
    spec, path = _split(uri, 'pair-photo')
    return path, _side(dict(parse_qsl(spec)))


def pair_of(uri: str) -> str:
    """The file of a virtual half; any other path as it is."""
    scheme = uri.partition('://')[0]
    return _split(uri, scheme)[1] if scheme in ('pair-photo', 'pair-label') else uri


class _PairBackend(BaseStorageBackend):
    """One virtual half of a pair. ``backend_args`` are those of the pair file itself."""

    def __init__(self, **backend_args) -> None:
        self.backend_args = backend_args or None

    def get_text(self, filepath: str, encoding: str = 'utf-8') -> str:
        """Refuse: half of a picture is no text."""
        raise ValueError(f'{filepath}: half of a picture cannot be read as text')


class PairPhotoBackend(_PairBackend):
    """Serves ``pair-photo://`` files: the photo half as a plain BMP."""

    def get(self, filepath: str) -> bytes:
        """The photo half as the bytes of a BMP file.

        Raises:
            FileNotFoundError: the pair is missing.
            BadPair: the pair is no picture, cut off, or of odd width.
        """
        path, side = parse_photo_uri(str(filepath))
        photo, _ = _halves(path, side, self.backend_args)
        return _bmp(photo)


class PairLabelBackend(_PairBackend):
    """Serves ``pair-label://`` files: class indices as a binary PGM (8 bit, 255 is ignored)."""

    def get(self, filepath: str) -> bytes:
        """The class indices as the bytes of a PGM file.

        Raises:
            FileNotFoundError: the pair is missing.
            BadPair: the pair is no picture, cut off, of odd width, or its label half does not
                hold the palette's colours.
        """
        uri = str(filepath)
        path, side, decoder = parse_label_uri(uri)
        key = uri, repr(self.backend_args), _stamp(path)
        if (known := label_cache.get(key)) is not None:
            return known
        photo, colors = _halves(path, side, self.backend_args)
        try:
            labels = decoder.decode(colors)
        except ValueError as error:
            raise BadPair(
                _no_label_picture(path, side, str(error), decoder.is_label_image(photo))
            ) from None
        height, width = labels.shape
        content = b''.join((b'P5 %d %d 255\n' % (width, height), labels))
        if key[-1] is not None:
            label_cache.put(key, content)
        return content


def _bmp(bgr: np.ndarray) -> bytes:
    """A picture as an uncompressed BMP: OpenCV reads it by copying rows, twice as fast as a PPM."""
    height, width = bgr.shape[:2]
    rows = np.ascontiguousarray(bgr).reshape(height, -1)
    if width % 4:  # rows are padded to four bytes
        rows = np.pad(rows, ((0, 0), (0, width * -3 % 4)))
    # File header (14 bytes) and info header (40); a negative height says that rows run downward.
    header = struct.pack('<2sIHHI', b'BM', 54 + rows.size, 0, 0, 54)
    header += struct.pack('<IiiHHIIiiII', 40, width, -height, 1, 24, 0, rows.size, 0, 0, 0, 0)
    return b''.join((header, rows))


def read_pair(path: str, backend_args: dict | None = None) -> np.ndarray:
    """Decode a whole pair, (H, 2W, 3) uint8 BGR.

    Raises:
        FileNotFoundError: there is no such file.
        BadPair: see ``decode_pair``.
    """
    return decode_pair(fileio.get(path, backend_args=backend_args), path)


def decode_pair(content: bytes, path: str) -> np.ndarray:
    """The pair, (H, 2W, 3) uint8 BGR, in the bytes of a file.

    Raises:
        BadPair: it is no whole 8-bit picture (see ``decode_picture``), or of odd width.
    """
    try:
        picture = decode_picture(content)
    except ValueError as error:
        raise BadPair(f'{path}: {error}') from None
    if picture.shape[1] % 2:
        height, width = picture.shape[:2]
        raise BadPair(
            f'{path}: {width} x {height} pixels (width x height): an odd width has no two equal '
            'halves. A pair is photo and labels of one size side by side.'
        )
    return picture


def halves(pair: np.ndarray, photo_side: str) -> tuple[np.ndarray, np.ndarray]:
    """Photo and colour half, (H, W, 3) views of a pair (H, 2W, 3)."""
    left, right = np.split(pair, 2, axis=1)
    return (left, right) if photo_side == 'left' else (right, left)


# A worker decodes labels once, not once an epoch: the edge-aware rule takes longer than all other
# transforms of a record together.
label_cache = PackedCache(capacity=2**28)

# Photo and labels of a record are asked for one after the other, by test-time augmentation even
# several times: each thread keeps the last pair. A local file that has changed is read anew; what
# lies on other backends counts as unchanging while it is the last pair.
_last = threading.local()


def _halves(path: str, photo_side: str, backend_args: dict | None) -> tuple[np.ndarray, np.ndarray]:
    """Photo and colour half of a pair, each an (H, W, 3) BGR view."""
    key = path, repr(backend_args), _stamp(path)
    if getattr(_last, 'key', None) != key:
        _last.key = _last.pair = None  # first, so that its memory serves the next
        _last.pair = read_pair(path, backend_args)
        _last.key = key
    return halves(_last.pair, photo_side)


def _stamp(path: str) -> tuple[int, ...] | None:
    """What changes with a local file; None for one on another backend."""
    if '://' in path:
        return None
    try:
        status = os.stat(path)
    except OSError:
        return None  # reading it says what is wrong
    return status.st_mtime_ns, status.st_size, status.st_ino


def _no_label_picture(path: str, side: str, reason: str, photo_half_explained: bool) -> str:
    if photo_half_explained:
        other = SIDES[1 - SIDES.index(side)]
        return (
            f'{path}: the halves look swapped: of the half read as labels {reason}, and the other '
            f"half is in the palette. Set photo_side='{other}' in the dataset."
        )
    return (
        f'{path}: the label half is no picture in this palette: {reason}. Check that the file is a '
        "pair, and that metainfo's palette (and void_palette) names its colours as RGB; "
        'decode=dict(min_explained=0) in the dataset takes it as it is.'
    )


def _escape(path: str) -> str:
    """Write an inner ``s3://`` as mmengine wants it: it allows one ``://`` in a URI."""
    start = path.rfind('/') + 1
    return path[:start].replace('%', '%25').replace('://', '%3A//') + path[start:]


def _unescape(path: str) -> str:
    start = path.rfind('/') + 1
    return path[:start].replace('%3A', ':').replace('%25', '%') + path[start:]


def _split(uri: str, scheme: str) -> tuple[str, str]:
    head, separator, rest = uri.partition('://')
    spec, slash, path = rest.partition('/')
    if head != scheme or not separator or not slash or not path:
        raise ValueError(f'{uri!r}: expected {scheme}://SPEC/PATH, as the pairs datasets write it')
    return spec, _unescape(path)


def _side(fields: dict[str, str]) -> str:
    side = fields.get('photo')
    if side not in SIDES:
        raise ValueError(f'photo={side!r} in a URI of a pair: expected one of {SIDES}')
    return side


@lru_cache(maxsize=32)
def _label_spec(spec: str) -> tuple[str, LabelDecoder]:
    fields = dict(parse_qsl(spec, keep_blank_values=True))
    max_distance = fields.get('max_distance')
    try:
        decoder = LabelDecoder(
            _from_hex(fields['palette']),
            void_palette=_from_hex(fields['void']),
            rule=fields['rule'],
            max_distance=None if max_distance == 'None' else float(fields['max_distance']),
            min_confidence=float(fields['min_confidence']),
            min_explained=float(fields['min_explained']),
        )
    except KeyError as missing:
        raise ValueError(f'{spec!r}: the URI of a label half lacks {missing}') from None
    return _side(fields), decoder


def _to_hex(colors: tuple[tuple[int, int, int], ...]) -> str:
    return '.'.join(bytes(color).hex() for color in colors)


def _from_hex(text: str) -> list[tuple[int, ...]]:
    return [tuple(bytes.fromhex(color)) for color in text.split('.') if color]


register_backend('pair-photo', PairPhotoBackend, prefixes='pair-photo')
register_backend('pair-label', PairLabelBackend, prefixes='pair-label')
