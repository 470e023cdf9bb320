"""Index maps as people look at them: in colours, over the photo, with a legend."""

from collections.abc import Sequence
from functools import lru_cache

import cv2
import numpy as np
from matplotlib import font_manager
from PIL import Image, ImageDraw, ImageFont

IGNORED = 255


def colored(labels: np.ndarray, palette: np.ndarray) -> np.ndarray:
    """An index map in the colours of its classes.

    Args:
        labels: (H, W) uint8; what is no class becomes black.
        palette: (K, 3) uint8, RGB.

    Returns:
        (H, W, 3) uint8, BGR.
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
    legend: bool = True,
) -> np.ndarray:
    """The colours over the photo and, right of it, the classes that are there with their shares.

    Args:
        photo: (H, W, 3) uint8 BGR.
        labels: (H, W) uint8.
        palette: (K, 3) uint8, RGB.
        classes: Their names.
        opacity: Of the colours, 0 to 1.
        legend: Whether there is one.

    Returns:
        (H, W + legend, 3) uint8 BGR.
    """
    mixed = cv2.addWeighted(photo, 1 - opacity, colored(labels, palette), opacity, 0)
    if not legend:
        return mixed
    return np.hstack([mixed, _legend(len(photo), labels, palette, classes)])


def _legend(
    height: int, labels: np.ndarray, palette: np.ndarray, classes: Sequence[str]
) -> np.ndarray:
    size = int(min(max(height / 24, 10), 28))
    row = size + max(size // 4, 2)
    font = _font(size)
    width = int(max(font.getlength(f'{name}  99.9 %') for name in classes)) + 2 * row
    canvas = Image.new('RGB', (width, height), 'white')
    draw = ImageDraw.Draw(canvas)
    shares = np.bincount(labels.ravel(), minlength=256)[: len(classes)] / labels.size
    order = [i for i in np.argsort(-shares, kind='stable') if shares[i] > 0]
    fit = max(height // row, 1)
    if len(order) > fit:
        left_out = len(order) - fit + 1
        order = order[: fit - 1]
        draw.text((row + size // 2, row * len(order)), f'… {left_out} more', 'black', font)
    for position, i in enumerate(order):
        top = position * row
        box = (size // 3, top + 2, size // 3 + row - 3, top + row - 2)
        draw.rectangle(box, tuple(int(v) for v in palette[i]))
        words = f'{classes[i]}  {100 * shares[i]:.1f} %'
        draw.text((row + size // 2, top), words, 'black', font)
    return np.asarray(canvas)[..., ::-1]


@lru_cache(maxsize=8)
def _font(size: int) -> ImageFont.FreeTypeFont:
    # It comes with matplotlib, and knows the letters of most languages.
    return ImageFont.truetype(font_manager.findfont('DejaVu Sans'), size)
