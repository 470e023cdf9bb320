"""Numbers in the tags of a TIFF: bands, pages and compressions that readers drop or fail at."""

import struct
from contextlib import suppress

# Tags of TIFF 6.0.
_SUBFILE, _BITS, _COMPRESSION, _PHOTOMETRIC, _TURNED, _SAMPLES, _PLANAR, _TILES, _EXTRA, _FORMAT = (
    _TAGS
) = (254, 258, 259, 262, 274, 277, 284, 322, 338, 339)
_REDUCED, _MASK = 1, 4  # bits of _SUBFILE: an overview, and a mask of transparency
_MOST_PAGES = 1000
# Compressions: JPEG (old and new), JPEG 2000, lossy JPEG of DNG, WebP, JPEG XL.
_LOSSY = (6, 7, 34712, 34892, 50001, 50002)
_UNREAD = _LOSSY[2:]
_CMYK, _LAB, _SIGNED, _FLOAT, _ALPHA = 5, (8, 9, 10), 2, 3, (1, 2)


def tiff_pages(content: bytes) -> list[dict[int, tuple[int, ...]]]:
    """Read the numbers of some tags, ``_TAGS``, of each page of a TIFF; empty for another format.

    The pages of a cut-off or damaged file end where it does.
    """
    pages: list[dict[int, tuple[int, ...]]] = []
    order = {b'II': '<', b'MM': '>'}.get(content[:2])
    with suppress(struct.error, KeyError, OverflowError):
        version = struct.unpack_from(f'{order or "<"}H', content, 2)[0] if order else 0
        # Offset of the first list of tags, its count, an offset, all of a tag; 43 is BigTIFF.
        start, count, offset, size = {42: (4, 'H', 'I', 12), 43: (8, 'Q', 'Q', 20)}[version]
        (at,) = struct.unpack_from(f'{order}{offset}', content, start)
        while at and len(pages) < _MOST_PAGES:
            tags: dict[int, tuple[int, ...]] = {}
            (entries,) = struct.unpack_from(f'{order}{count}', content, at)
            at += struct.calcsize(f'={count}')
            for _ in range(entries):
                tag, kind, number = struct.unpack_from(f'{order}HH{offset}', content, at)
                if tag in _TAGS and kind in (3, 4) and number:
                    form, value = (
                        f'{order}{number}{"HI"[kind - 3]}',
                        at + struct.calcsize(f'=HH{offset}'),
                    )
                    if struct.calcsize(form) > struct.calcsize(f'={offset}'):
                        (value,) = struct.unpack_from(f'{order}{offset}', content, value)
                    tags[tag] = struct.unpack_from(form, content, value)
                at += size
            pages.append(tags)
            (at,) = struct.unpack_from(f'{order}{offset}', content, at)
    return pages


def band_problem(content: bytes) -> str | None:
    """Return what is wrong with bands and pages of a TIFF, which readers drop or fail at."""
    pages = tiff_pages(content)
    if not pages:
        return None
    own = [page for page in pages if not page.get(_SUBFILE, (0,))[0] & (_REDUCED | _MASK)]
    if len(own) > 1:
        return f'it holds {len(own)} pages, expected one. Save the one that counts as a file'
    tags = pages[0]
    if tags.get(_SUBFILE, (0,))[0] & _REDUCED:
        return 'its first page is an overview, which readers take for the image. Save it again'
    kinds, extra = tags.get(_FORMAT, ()), tags.get(_EXTRA, ())
    if _FLOAT in kinds or kinds.count(_SIGNED) > 1:
        held = 'floating-point values' if _FLOAT in kinds else 'signed integers'
        return f'it holds {held}; 8 bits a channel, or 16, are supported. Convert it'
    samples, color = tags.get(_SAMPLES, (1,))[0], tags.get(_PHOTOMETRIC, (1,))[0]
    bits = max(tags.get(_BITS, (1,)))
    deep = bits > 8
    bands = samples - sum(kind in _ALPHA for kind in extra)
    if bands not in (1, 3) and color != _CMYK:
        return (
            f'it has {bands} bands; one (grey) or three (red, green, blue) are supported, and '
            'alpha. Export these alone, such as by gdal_translate -b 1 -b 2 -b 3'
        )
    odd = {
        'planes of its own for each band': samples > 1 and tags.get(_PLANAR, (1,))[0] == 2,
        'three bands that are not marked as red, green and blue': bands == 3 and color < 2,
        'CIELab colours': color in _LAB,
        f'colours of {bits} bits': bands == 3 and bits not in (8, 16),
        'inverted grey of 16 bits': deep and color == 0,
        'grey of 16 bits with alpha': deep and bands == 1 < samples,
        'turned tiles': _TILES in tags and tags.get(_TURNED, (1,))[0] != 1,
        'a compression that is not supported': tags.get(_COMPRESSION, (1,))[0] in _UNREAD,
    }
    found = next((what for what, is_so in odd.items() if is_so), None)
    return f'it has {found}. Save it again, as a plain RGB TIFF or PNG' if found else None


def is_lossy_tiff(content: bytes) -> bool:
    """Return whether the compression of a page of a TIFF may have altered its pixels."""
    return any(page.get(_COMPRESSION, (1,))[0] in _LOSSY for page in tiff_pages(content))


def has_own_alpha(content: bytes) -> bool:
    """Return whether a TIFF of 8 bits has alpha that its colours are not multiplied by."""
    tags = (tiff_pages(content) or [{}])[0]
    return 2 in tags.get(_EXTRA, ()) and max(tags.get(_BITS, (1,))) <= 8
