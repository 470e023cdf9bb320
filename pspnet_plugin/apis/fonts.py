"""Fonts for names of classes, which may be in any language."""

import warnings
from functools import cache

from matplotlib.font_manager import findfont, fontManager
from matplotlib.ft2font import FT2Font

# It comes with matplotlib, and has Latin, Greek, Cyrillic, Arabic and more, but no Chinese.
PLAIN = 'DejaVu Sans'
# Comes with matplotlib too, and has a box for every letter there is.
BOXES = 'Last Resort'


@cache
def font_of(text: str) -> tuple[str, str]:
    """Family and file of a font that has all letters of a text; warns where none here has.

    Args:
        text: A word or more.
    """
    plain = PLAIN, findfont(PLAIN)
    wanted = {ord(letter) for letter in text if not letter.isspace()}
    fonts = [font for font in fontManager.ttflist if not font.name.startswith(BOXES)]
    others = sorted((font.name, font.fname) for font in fonts)
    for family, file in (plain, *others):
        if wanted <= _letters(file):
            return family, file
    warnings.warn(
        f'no font here has all letters of {text!r}, and boxes stand for them; install one that '
        'has, such as Noto Sans CJK',
        stacklevel=2,
    )
    return plain


@cache
def _letters(file: str) -> frozenset[int]:
    try:
        return frozenset(FT2Font(file).get_charmap())
    except RuntimeError:  # a kind of font that matplotlib does not draw
        return frozenset()
