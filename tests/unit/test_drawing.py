"""Colours, overlays and legends."""

import numpy as np
import pytest
from helpers.pairs import CITYSCAPES, coloured, photo

from pspnet_plugin.apis import drawing
from pspnet_plugin.apis.drawing import colored, overlay

PALETTE = np.array(CITYSCAPES['palette'], np.uint8)
CLASSES = CITYSCAPES['classes']


@pytest.fixture
def legend(monkeypatch) -> list[str]:
    """Texts that are drawn."""
    texts, draw = [], drawing._text
    monkeypatch.setattr(drawing, '_text', lambda text, size: texts.append(text) or draw(text, size))
    return texts


def test_classes_have_their_colours_in_map_and_legend():
    labels = np.array([[0, 1], [255, 18]], np.uint8)
    expected = coloured(np.array([[0, 1], [0, 18]], np.uint8))
    expected[1, 0] = 0
    assert (colored(labels, PALETTE) == expected).all()
    large = np.kron(labels, np.ones((60, 60), np.uint8))
    drawn = overlay(np.zeros((120, 120, 3), np.uint8), large, PALETTE, CLASSES)
    for label in (0, 1, 18):
        color = np.array(CITYSCAPES['palette'][label][::-1])
        assert (drawn[:, 120:] == color).all(-1).sum() > 20, label


def test_an_overlay_blends_by_its_opacity_and_lists_classes_by_share(legend):
    labels = np.array([[2, 2, 2, 13], [2, 2, 0, 255]], np.uint8).repeat(32, 0).repeat(32, 1)
    image = photo(*labels.shape)
    drawn = overlay(image, labels, PALETTE, CLASSES, opacity=0.25)
    expected = 0.75 * image + 0.25 * colored(labels, PALETTE)
    assert np.abs(drawn[:, : labels.shape[1]] - expected).max() <= 1
    assert legend[-6:] == ['building', '62.5 %', 'road', '12.5 %', 'car', '12.5 %']


def test_a_class_that_occurs_never_has_a_share_of_zero(legend):
    labels = np.zeros((50, 60), np.uint8)
    labels[0, 0] = 18
    overlay(photo(*labels.shape), labels, PALETTE, CLASSES)
    assert legend[-4:] == ['road', '100.0 %', 'bicycle', '< 0.1 %']
    assert drawing._text('< 0.1 %', 10).shape[1] <= drawing._share_width(10), 'it is cut off'


def test_names_are_drawn_in_a_font_that_has_their_letters(monkeypatch):
    fonts, placeholder = drawing.fontManager.ttflist, drawing.PLACEHOLDER_FONT
    other = next(font for font in fonts if not font.name.startswith(placeholder))
    boxes = {font.fname: '道路ถนน' for font in fonts if font.name.startswith(placeholder)}
    assert boxes
    letters = {**boxes, drawing.findfont(drawing.DEFAULT_FONT): 'road', other.fname: '道路'}
    monkeypatch.setattr(
        drawing, '_letters', lambda file: frozenset(map(ord, letters.get(file, '')))
    )
    drawing.find_font.cache_clear()
    try:
        assert drawing.find_font('road')[0] == drawing.DEFAULT_FONT
        assert drawing.find_font('道 路') == (other.name, other.fname)
        with pytest.warns(UserWarning, match='ถนน'):
            assert drawing.find_font('ถนน')[0] == drawing.DEFAULT_FONT
    finally:
        drawing.find_font.cache_clear()
