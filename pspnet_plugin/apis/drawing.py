"""Index maps as people look at them: in colours, over the photo, with a legend."""

from collections.abc import Sequence
from functools import lru_cache

import cv2
import numpy as np
from PIL import Image, ImageDraw, ImageFont

from pspnet_plugin.apis.fonts import font_of


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
) -> np.ndarray:
    """The colours over the photo and, right of it, the classes that are there with their shares.

    Args:
        photo: (H, W, 3) uint8 BGR.
        labels: (H, W) uint8.
        palette: (K, 3) uint8, RGB.
        classes: Their names.
        opacity: Of the colours, 0 to 1.

    Returns:
        (H, W + legend, 3) uint8 BGR.
    """
    mixed = cv2.addWeighted(photo, 1 - opacity, colored(labels, palette), opacity, 0)
    return np.hstack([mixed, _legend(len(photo), labels, palette, classes)])


def percent(share: float) -> str:
    """A share of a class that is there, which never reads as none.

    Args:
        share: More than 0, up to 1.
    """
    text = f'{100 * share:.1f} %'
    return '< 0.1 %' if text == '0.0 %' else text


def _legend(
    height: int, labels: np.ndarray, palette: np.ndarray, classes: Sequence[str]
) -> np.ndarray:
    size = int(min(max(height / 24, 10), 28))
    row = size + max(size // 4, 2)
    names, widths = _names(tuple(classes), size)
    start = row + size // 2  # of words, right of the box with the colour
    canvas = np.full((height, start + names + _numbers(size) + size, 3), 255, np.uint8)
    shares = np.bincount(labels.ravel(), minlength=256)[: len(classes)] / labels.size
    order = [i for i in np.argsort(-shares, kind='stable') if shares[i] > 0]
    fit = max(height // row, 1)
    left_out = len(order) - fit + 1 if len(order) > fit else 0
    for position, i in enumerate(order[: fit - 1] if left_out else order):
        top = position * row
        canvas[top + 2 : top + row - 2, size // 3 : size // 3 + row - 4] = palette[i][::-1]
        _paste(canvas, _words(classes[i], size), top, start)
        _paste(canvas, _words(percent(shares[i]), size), top, start + widths[i] + size // 2)
    if left_out:
        _paste(canvas, _words(f'… {left_out} more', size), row * (fit - 1), start)
    return canvas


def _paste(canvas: np.ndarray, words: np.ndarray, top: int, left: int) -> None:
    """Words onto a canvas; what does not fit is cut off."""
    part = canvas[top : top + words.shape[0], left : left + words.shape[1]]
    part[:] = words[: part.shape[0], : part.shape[1], None]


@lru_cache(maxsize=64)
def _names(classes: tuple[str, ...], size: int) -> tuple[int, list[int]]:
    """Width of the widest name, and of each."""
    widths = [_words(name, size).shape[1] for name in classes]
    return max(widths), widths


def _numbers(size: int) -> int:
    return _words('100.0 %', size).shape[1] + size // 2


@lru_cache(maxsize=4096)
def _words(text: str, size: int) -> np.ndarray:
    """Black on white, (H, W); pictures have the same few words, and drawing them takes long."""
    font = _font(font_of(text)[1], size)
    height, width = size + max(size // 4, 2), max(int(font.getlength(text) + 1), 1)
    canvas = Image.new('L', (width, height), 255)
    ImageDraw.Draw(canvas).text((0, 0), text, 0, font)
    return np.asarray(canvas)


@lru_cache(maxsize=32)
def _font(file: str, size: int) -> ImageFont.FreeTypeFont:
    return ImageFont.truetype(file, size)
