"""File backends that present a pair as two virtual files, for all stock transforms and tools.

A pair is one image: the photo in one half, its colour-coded label map in the other. Two schemes,
registered in mmengine, present the halves to whatever reads a file's bytes through it::

    pair-photo://photo=left//data/train/1.jpg                               -> a BMP of the photo
    pair-label://photo=left&rule=edge_aware&…&palette=804080.…//data/train/1.jpg
                                                             -> a PGM of the class indices

What a pair goes through: ``fileio.get`` of mmengine, on any of its backends; ``decode_image``,
which refuses damaged files; ``halves``; and, for labels, ``LabelDecoder.decode``.

Both files are a header and raw pixels. The URI carries all that decoding needs, so it means the
same in every process. It ends in the file's name, because hooks and metrics name their output after
it. ``backend_args`` of the loading transform are passed on; a ``backend`` among them would override
the schemes, so name the backend by the prefix of the path (``s3://``). H, W are those of one half.
"""

import os
import struct
import threading
import zlib
from collections.abc import Hashable, Mapping
from functools import lru_cache
from urllib.parse import parse_qsl, urlencode

import numpy as np
from cachetools import LRUCache
from mmengine import fileio
from mmengine.fileio.backends import BaseStorageBackend, register_backend

from pspnet_plugin.datasets.bad_pairs import BadPair
from pspnet_plugin.labels.decoder import LabelDecoder
from pspnet_plugin.labels.palettes import Color
from pspnet_plugin.utils.images import decode_image

SIDES = ('left', 'right')


def photo_uri(path: str, *, photo_side: str) -> str:
    """Return the virtual file of a pair's photo half."""
    return f'pair-photo://{urlencode(dict(photo=photo_side))}/{_escape(path)}'


def label_uri(path: str, *, photo_side: str, decoder: LabelDecoder) -> str:
    """Return the virtual file of a pair's class indices."""
    spec = dict(
        photo=photo_side, rule=decoder.rule, max_distance=decoder.max_distance,
        min_confidence=decoder.min_confidence, min_explained=decoder.min_explained,
        palette=_to_hex(decoder.palette), void=_to_hex(decoder.void_palette),
    )  # fmt: skip
    return f'pair-label://{urlencode(spec)}/{_escape(path)}'


def with_decoding(uri: str, decode: Mapping) -> str:
    """Return the same pair's class indices, decoded by the arguments of ``LabelDecoder`` given.

    The palettes stay, and by default ``min_explained``. ``ValueError`` if an argument is unusable.
    """
    path, side, decoder = parse_label_uri(uri)
    options: dict = dict(min_explained=decoder.min_explained) | dict(decode)
    try:
        decoder = LabelDecoder(decoder.palette, void_palette=decoder.void_palette, **options)
    except TypeError as error:
        raise ValueError(f'decode={decode}: {error}') from None
    return label_uri(path, photo_side=side, decoder=decoder)


def parse_label_uri(uri: str) -> tuple[str, str, LabelDecoder]:
    """Return path, photo side and decoder of a ``pair-label://`` URI."""
    path, side, spec = _parse(uri, 'pair-label')
    return path, side, _parse_decoder(spec)


def parse_photo_uri(uri: str) -> tuple[str, str]:
    """Return path and photo side of a ``pair-photo://`` URI."""
    return _parse(uri, 'pair-photo')[:2]


def pair_path(uri: str) -> str:
    """Return the file of a virtual half; any other path unchanged."""
    scheme = uri.partition('://')[0]
    return _parse(uri, scheme)[0] if scheme in ('pair-photo', 'pair-label') else uri


def _escape(path: str) -> str:
    """Escape an inner ``s3://``, because mmengine allows one ``://`` in a URI."""
    start = path.rfind('/') + 1
    return path[:start].replace('%', '%25').replace('://', '%3A//') + path[start:]


def _parse(uri: str, scheme: str) -> tuple[str, str, str]:
    """Return path, photo side and, for the decoder, all that stands between scheme and path."""
    head, _, rest = uri.partition('://')
    spec, _, path = rest.partition('/')
    side = spec.partition('&')[0].removeprefix('photo=')
    if head != scheme or not path or side not in SIDES:
        raise ValueError(f'{uri!r}: expected {scheme}://photo={"|".join(SIDES)}.../PATH')
    start = path.rfind('/') + 1
    return path[:start].replace('%3A', ':').replace('%25', '%') + path[start:], side, spec


@lru_cache(maxsize=32)
def _parse_decoder(spec: str) -> LabelDecoder:
    fields = dict(parse_qsl(spec, keep_blank_values=True))
    try:
        limit = fields['max_distance']
        return LabelDecoder(
            _from_hex(fields['palette']),
            void_palette=_from_hex(fields['void']),
            rule=fields['rule'],
            max_distance=None if limit == 'None' else float(limit),
            min_confidence=float(fields['min_confidence']),
            min_explained=float(fields['min_explained']),
        )
    except KeyError as missing:
        raise ValueError(f'{spec!r}: the URI of a label half lacks {missing}') from None


def _to_hex(colors: tuple[Color, ...]) -> str:
    return '.'.join(bytes(color).hex() for color in colors)


def _from_hex(text: str) -> list[bytes]:
    return [bytes.fromhex(color) for color in text.split('.') if color]


class _PairBackend(BaseStorageBackend):
    """One virtual half of a pair; ``backend_args`` are those of the pair file itself.

    ``get`` raises ``FileNotFoundError`` if the pair is missing, and ``BadPair`` if it is unusable.
    """

    def __init__(self, **backend_args) -> None:
        self.backend_args = backend_args or None

    def get_text(self, filepath: str, encoding: str = 'utf-8') -> str:
        raise ValueError(f'{filepath}: half of an image cannot be read as text')


class PairPhotoBackend(_PairBackend):
    """Serves ``pair-photo://`` files: the photo half as a plain BMP."""

    def get(self, filepath: str) -> bytes:
        """Return the photo half as the bytes of a BMP file."""
        path, side = parse_photo_uri(str(filepath))
        photo, _ = _read_halves(path, side, self.backend_args)
        return _encode_bmp(photo)


# A worker decodes labels once, not once an epoch: edge-aware decoding takes longer than all other
# transforms of a record together. Packed, a label map of 256 x 256 takes a few kilobytes.
label_cache: LRUCache[Hashable, bytes] = LRUCache(maxsize=2**28, getsizeof=len)
_cache_lock = threading.Lock()


class PairLabelBackend(_PairBackend):
    """Serves ``pair-label://`` files: class indices as a binary PGM (8 bit, 255 is ignored)."""

    def get(self, filepath: str) -> bytes:
        """Return the class indices as the bytes of a PGM file."""
        uri = str(filepath)
        path, side, decoder = parse_label_uri(uri)
        stamp = _stamp(path)
        key = uri, repr(self.backend_args), stamp
        with _cache_lock:
            packed = label_cache.get(key)
        if packed is not None:
            return zlib.decompress(packed)
        photo, colors = _read_halves(path, side, self.backend_args)
        try:
            labels = decoder.decode(colors)
        except ValueError as error:
            if decoder.is_label_image(photo):
                other = SIDES[1 - SIDES.index(side)]
                raise BadPair(
                    f'{path}: the halves look swapped: the photo half is in the palette, and of '
                    f"the label half {error}. Set photo_side='{other}' in the dataset."
                ) from None
            raise BadPair(
                f'{path}: the label half is no label image in this palette: {error}. Check that '
                "the file is a pair, and that metainfo's palette (and void_palette) holds its "
                'colours as RGB. To accept it, set decode=dict(min_explained=0) in the dataset.'
            ) from None
        content = b''.join((b'P5 %d %d 255\n' % labels.shape[::-1], labels.data))
        if stamp is not None:
            packed = zlib.compress(content, 1)
            if len(packed) <= label_cache.maxsize // 100:  # else it would displace too many
                with _cache_lock:
                    label_cache[key] = packed
        return content


def read_pair(path: str, backend_args: dict | None = None) -> np.ndarray:
    """Read a pair as ``decode_pair`` does; errors are those of ``fileio`` and ``decode_pair``."""
    return decode_pair(fileio.get(path, backend_args=backend_args), path)


def decode_pair(content: bytes, path: str) -> np.ndarray:
    """Decode a pair file, (H, 2W, 3) uint8 BGR, or (H, 2W, 4) with alpha if pixels are invisible.

    ``BadPair``: ``decode_image`` refuses it, or its width is odd.
    """
    try:
        pair = decode_image(content, name=path, strict=True)
    except ValueError as error:
        raise BadPair(str(error)) from None
    height, width = pair.shape[:2]
    if width % 2:
        raise BadPair(
            f'{path}: {width} x {height} pixels: an odd width has no two equal halves. A pair is '
            'photo and labels of one size side by side.'
        )
    return pair


def halves(pair: np.ndarray, photo_side: str) -> tuple[np.ndarray, np.ndarray]:
    """Return photo (H, W, 3) and colour half, with any alpha, as views of a pair."""
    left, right = np.split(pair, 2, axis=1)
    photo, colors = (left, right) if photo_side == 'left' else (right, left)
    return photo[..., :3], colors


# Photo and labels of a record are read one after the other, by test-time augmentation even several
# times: each thread keeps the last pair. A local file that has changed is read again; a file on
# another backend is taken for unchanged while it is the last pair.
_last = threading.local()


def _read_halves(path: str, side: str, backend_args: dict | None) -> tuple[np.ndarray, np.ndarray]:
    key = path, repr(backend_args), _stamp(path)
    if getattr(_last, 'key', None) != key:
        _last.key = _last.pair = None  # first, so that its memory serves the next
        _last.pair = read_pair(path, backend_args)
        _last.key = key
    return halves(_last.pair, side)


def _encode_bmp(bgr: np.ndarray) -> bytes:
    """Encode as an uncompressed BMP, which OpenCV reads by copying rows, twice as fast as a PPM."""
    height, width = bgr.shape[:2]
    rows = np.ascontiguousarray(bgr).reshape(height, -1)
    if width % 4:  # rows are padded to four bytes
        rows = np.pad(rows, ((0, 0), (0, width * -3 % 4)))
    # File header (14 bytes) and info header (40); a negative height makes rows run downward.
    header = struct.pack('<2sIHHI', b'BM', 54 + rows.size, 0, 0, 54)
    header += struct.pack('<IiiHHIIiiII', 40, width, -height, 1, 24, 0, rows.size, 0, 0, 0, 0)
    return b''.join((header, rows.data))


def _stamp(path: str) -> tuple[int, ...] | None:
    """Return what changes with a local file; None for a file that is missing or not local."""
    try:
        status = os.stat(path)
    except OSError:
        return None
    return status.st_mtime_ns, status.st_size, status.st_ino


register_backend('pair-photo', PairPhotoBackend, prefixes='pair-photo')
register_backend('pair-label', PairLabelBackend, prefixes='pair-label')
