"""Label maps as people look at them: in class colours, over the photo, with a legend."""

import warnings
from collections.abc import Sequence
from functools import cache, lru_cache

import cv2
import numpy as np
from matplotlib.font_manager import findfont, fontManager
from matplotlib.ft2font import FT2Font
from PIL import Image, ImageDraw, ImageFont

# Both come with matplotlib. The first has Latin, Greek, Cyrillic, Arabic and more, but no Chinese;
# the other has a box for every letter there is.
DEFAULT_FONT, PLACEHOLDER_FONT = 'DejaVu Sans', 'Last Resort'
_font = lru_cache(maxsize=32)(ImageFont.truetype)


def colored(labels: np.ndarray, palette: np.ndarray) -> np.ndarray:
    """Paint (H, W) uint8 labels in the colours of a (K, 3) RGB palette: (H, W, 3) uint8 BGR.

    An index that is no class becomes black.
    """
    table = np.zeros((256, 1, 3), np.uint8)
    table[: len(palette), 0] = palette[:, ::-1]
    return cv2.applyColorMap(labels, table)


def overlay(
    photo: np.ndarray,
    labels: np.ndarray,
    palette: np.ndarray,
    classes: Sequence[str],
    *,
    opacity: float = 0.5,
) -> np.ndarray:
    """Blend the class colours over a photo, and add a legend of its classes with their shares.

    Photo (H, W, 3) BGR, labels (H, W) and palette (K, 3) RGB are uint8, opacity is 0 to 1. Returns
    (H, W + legend, 3) uint8 BGR.
    """
    mixed = cv2.addWeighted(photo, 1 - opacity, colored(labels, palette), opacity, 0)
    return np.hstack([mixed, _legend(len(photo), labels, palette, classes)])


def class_shares(labels: np.ndarray, classes: int) -> np.ndarray:
    """Return the (K,) fractions of the pixels of each class."""
    return np.bincount(labels.ravel(), minlength=256)[:classes] / labels.size


def largest_first(shares: np.ndarray) -> list[int]:
    """Return the indices of the classes that occur, by decreasing share."""
    return [int(i) for i in np.argsort(-shares, kind='stable') if shares[i] > 0]


def percent(share: float, *, decimals: int = 1) -> str:
    """Format a share, 0 to 1, in percent; one of a class that occurs never reads as none."""
    text = f'{100 * share:.{decimals}f}'
    return f'< {10**-decimals} %' if share and not float(text) else f'{text} %'


@cache
def find_font(text: str) -> tuple[str, str]:
    """Return family and file of a font that has all letters of a text; warn if none has."""
    default = DEFAULT_FONT, findfont(DEFAULT_FONT)
    wanted = {ord(letter) for letter in text if not letter.isspace()}
    fonts = [font for font in fontManager.ttflist if not font.name.startswith(PLACEHOLDER_FONT)]
    others = sorted((font.name, font.fname) for font in fonts)
    for family, file in (default, *others):
        if wanted <= _letters(file):
            return family, file
    warnings.warn(
        f'no installed font has all letters of {text!r}, and boxes replace them; install one that '
        'has, such as Noto Sans CJK',
        stacklevel=2,
    )
    return default


def _legend(
    height: int, labels: np.ndarray, palette: np.ndarray, classes: Sequence[str]
) -> np.ndarray:
    size = int(min(max(height / 24, 10), 28))
    row = size + max(size // 4, 2)
    widths = [_text(name, size).shape[1] for name in classes]
    left = row + size // 2  # of the text, right of the colour box
    width = left + max(widths) + _share_width(size) + size
    canvas = np.full((height, width, 3), 255, np.uint8)
    shares = class_shares(labels, len(classes))
    order = largest_first(shares)
    rows = max(height // row, 1)
    hidden = len(order) - rows + 1 if len(order) > rows else 0
    for position, i in enumerate(order[: rows - 1] if hidden else order):
        top = position * row
        canvas[top + 2 : top + row - 2, size // 3 : size // 3 + row - 4] = palette[i][::-1]
        _paste(canvas, _text(classes[i], size), top, left)
        _paste(canvas, _text(percent(shares[i]), size), top, left + widths[i] + size // 2)
    if hidden:
        _paste(canvas, _text(f'… {hidden} more', size), row * (rows - 1), left)
    return canvas


def _paste(canvas: np.ndarray, text: np.ndarray, top: int, left: int) -> None:
    part = canvas[top : top + text.shape[0], left : left + text.shape[1]]
    part[:] = text[: part.shape[0], : part.shape[1], None]  # cut off where there is no room


def _share_width(size: int) -> int:
    return _text('100.0 %', size).shape[1] + size // 2


@lru_cache(maxsize=4096)
def _text(text: str, size: int) -> np.ndarray:
    """Draw black on white, (H, W); cached, as legends repeat few words and drawing is slow."""
    font = _font(find_font(text)[1], size)
    height, width = size + max(size // 4, 2), max(int(font.getlength(text) + 1), 1)
    canvas = Image.new('L', (width, height), 255)
    ImageDraw.Draw(canvas).text((0, 0), text, 0, font)
    return np.asarray(canvas)


@cache
def _letters(file: str) -> frozenset[int]:
    try:
        return frozenset(FT2Font(file).get_charmap())
    except RuntimeError:  # a font format that matplotlib does not draw
        return frozenset()
