"""The palette that the label halves of a set seem to have, by the colours of their flat areas."""

from collections.abc import Sequence

import numpy as np

from pspnet_plugin.labels.decoder import FLAT_NOISE
from pspnet_plugin.labels.palettes import NAMED, known_palettes

ENOUGH = 0.9  # share of the flat areas that a palette has to explain
FEWEST = 3  # entries of a palette that have to occur
PLAIN_SHARE = 0.15  # of photos, a twentieth is constant; of label images, a third or more
DARKEST = 64  # levels: class indices that were saved as they are look black
PLAIN = 'They have hardly any constant areas, so they look like plain photos and no label maps'

Colors = Sequence[tuple[np.ndarray, int, int]]  # see ``ColorHistogram.colors``
Palette = Sequence[Sequence[int]]


def guess_palette(colors: Colors, known: Palette, *, constant: float) -> str:
    """Return a sentence about what the label halves look like, and what to do.

    Args:
        colors: Colours of their flat areas.
        known: Colours of the palette that was asked for.
        constant: Median share of constant areas.
    """
    if not colors:
        return PLAIN
    index = [
        np.ptp(color) <= 8 and (color.max() <= DARKEST or color.min() >= 255 - FLAT_NOISE)
        for color, *_ in colors
    ]
    if _share(colors, index) >= ENOUGH:
        return (
            'The label halves are nearly black, like class indices (and a white 255) that were '
            'saved as grey levels: `make_pairs.py folders` makes pairs of photos and index maps'
        )
    explained, _ = _explained(colors, known)
    least = max(ENOUGH, explained + 0.01)
    share, used = _explained(colors, _bgr(known))
    if share >= least and used >= FEWEST:
        return (
            f'{share:.0%} of their flat areas are in this palette with red and blue swapped: the '
            'label halves were saved as BGR; swap the channels of the files, or of the palette'
        )
    candidates = []
    palettes = known_palettes()
    for name, metainfo in palettes.items():
        rgb = [*metainfo['palette'], *metainfo['void_palette']]
        for order, entries in (('', rgb), (' saved as BGR', _bgr(rgb))):
            share, used = _explained(colors, entries)
            if share >= least and used >= FEWEST:
                # Among those that explain about as much, ours first, then the smallest.
                rank = (-round(share * 50), bool(order), name not in NAMED, len(entries))
                candidates.append((rank, name, order, share))
    if candidates:
        _, name, order, share = min(candidates)
        guess = f"They look like {name}'s palette{order} ({share:.0%} of their flat areas)"
        if order:
            return f'{guess}; swap red and blue of the label halves'
        palette = palettes[name]['palette']
        if len({*map(tuple, palette)}) < len(palette):
            return f'{guess}, which gives some classes one colour; name yours in a file: --palette'
        return f'{guess}; try --palette {name}'
    if constant < PLAIN_SHARE:
        return PLAIN
    if explained > 0.5:
        return 'Give --palette a file that names these colours too, as classes or in void_palette'
    return 'Give --palette a file that names their colours'


def _bgr(colors: Palette) -> Palette:
    return [color[::-1] for color in colors]


def _explained(colors: Colors, entries: Palette) -> tuple[float, int]:
    """Return the share of the pixels that lie near an entry, and how many entries they use."""
    distances = np.linalg.norm(
        np.array([color for color, *_ in colors])[:, None] - np.array(entries), axis=2
    )
    near = distances.min(1) <= FLAT_NOISE
    return _share(colors, near), len(set(distances.argmin(1)[near].tolist()))


def _share(colors: Colors, chosen: Sequence[bool]) -> float:
    pixels = np.array([pixels for _, pixels, _ in colors])
    return float(pixels[np.array(chosen)].sum() / pixels.sum())
