"""The pictures of a report show which pixels are wrong, in colours that no class has."""

import io

import numpy as np
import pytest
from helpers.pairs import CITYSCAPES
from helpers.programs import load_tool
from matplotlib.figure import Figure

from pspnet_plugin.apis.readers import InputImage
from pspnet_plugin.toolkit.report.image_rows import (
    IGNORED,
    OTHER,
    RIGHT,
    STRONG,
    Shown,
    draw_pictures,
    error_colours,
    error_map,
)

NAMES = ['road', 'pole', 'train']
PALETTE = np.array([[1, 2, 3], [4, 5, 6], [7, 8, 9]], np.uint8)
LABELS = np.array([[0, 1, 2], [2, 1, 0]], np.uint8)
TRUTH = np.array([[0, 0, 1], [255, 1, 2]], np.uint8)


def figure_of(*labels: int | None, names=('run',)) -> Figure:
    picture = InputImage('x', np.full((2, 3, 3), 77, np.uint8), truth=TRUTH)
    rows = [Shown('x', picture, [LABELS] * len(names), label) for label in labels]
    return draw_pictures(names, rows, NAMES, PALETTE)


def shown_in(figure: Figure) -> list[list]:
    return [np.asarray(axes.images[0].get_array()).tolist() for axes in figure.axes]


def legend_of(figure: Figure) -> dict[str, list[int]]:
    legend = figure.legends[0]
    colours = [np.rint(255 * np.array(p.get_facecolor()[:3])) for p in legend.get_patches()]
    texts = [text.get_text() for text in legend.get_texts()]
    return {text: c.astype(int).tolist() for text, c in zip(texts, colours, strict=True)}


def test_all_errors_are_shown_alike():
    figure = figure_of(None)
    photo, right, made, errors = shown_in(figure)
    assert photo == np.full((2, 3, 3), 77).tolist()
    assert right == [[[1, 2, 3], [1, 2, 3], [4, 5, 6]], [[0, 0, 0], [4, 5, 6], [7, 8, 9]]]
    assert made == [[[1, 2, 3], [4, 5, 6], [7, 8, 9]], [[7, 8, 9], [4, 5, 6], [1, 2, 3]]]
    legend = legend_of(figure)
    assert list(legend) == [*NAMES, 'ignored', 'wrong']
    good, wrong = [*RIGHT], legend['wrong']
    assert errors == [[good, wrong, wrong], [[*IGNORED], good, wrong]]


def test_errors_of_one_class_are_told_from_others():
    figure = figure_of(1, 2)
    legend = legend_of(figure)
    assert list(legend) == [*NAMES, 'ignored', 'missed', 'wrongly found', 'other errors']
    good, black = [*RIGHT], [*IGNORED]
    missed, found, other = (legend[key] for key in ('missed', 'wrongly found', 'other errors'))
    assert len({tuple(c) for c in (good, black, missed, found, other)}) == 5
    pole, train = shown_in(figure)[3::4]
    assert pole == [[good, found, missed], [black, good, other]]
    assert train == [[good, other, found], [black, good, missed]]
    assert np.ptp(other) == 0 and min(np.ptp(missed), np.ptp(found)) > 150  # pale, and strong


def test_every_run_has_its_error_map():
    figure = figure_of(1, names=['a', 'b'])
    assert [axes.get_title() for axes in figure.axes[2:]] == [
        'prediction of a', 'errors of a', 'prediction of b', 'errors of b',
    ]  # fmt: skip
    first, second = shown_in(figure)[3::2]
    assert (
        first == second == error_map(LABELS, TRUTH, error_colours(PALETTE), 1)[..., ::-1].tolist()
    )


@pytest.mark.parametrize(
    'palette',
    [CITYSCAPES['palette'], [[220, 20, 20], [70, 130, 230]], STRONG[[0, 1]], STRONG[2:], []],
    ids=['Cityscapes', 'reds and blues', 'candidates', 'other candidates', 'none'],
)
def test_colours_of_errors_are_no_class(palette):
    palette = np.array(palette, np.uint8).reshape(-1, 3)
    wrong, found = (one.astype(int) for one in error_colours(palette))
    taken = np.array([*palette, RIGHT, OTHER, IGNORED], int)

    def apart(colour) -> float:
        return np.linalg.norm(taken - colour, axis=1).min()

    assert apart(wrong) == max(apart(one) for one in STRONG.astype(int)) > 100
    assert apart(found) > 60 and np.linalg.norm(wrong - found) > 100


@pytest.mark.parametrize('count', [1, 19])
def test_a_long_legend_takes_nothing_from_the_pictures(count):
    names = [f'a class of a long name {i}' for i in range(count)]
    labels = np.arange(40 * 80, dtype=np.uint8).reshape(40, 80) % count
    picture = InputImage('x', np.zeros((40, 80, 3), np.uint8), truth=labels)
    palette = np.array(CITYSCAPES['palette'], np.uint8)[:count]
    figure = draw_pictures(['run'], [Shown('x', picture, [labels])] * 2, names, palette)
    figure.savefig(io.BytesIO(), format='png')
    widths = [axes.get_window_extent().width for axes in figure.axes]
    assert min(widths) > 0.9 * figure.bbox.width / 4
    box = figure.legends[0].get_window_extent()
    assert box.x0 >= 0 and box.x1 <= figure.bbox.width and box.y0 >= 0
    assert not any(box.overlaps(axes.get_tightbbox()) for axes in figure.axes)


def test_the_pictures_of_the_weakest_classes_show_their_errors(trained, monkeypatch):
    tool, given = load_tool('analysis_tools/report.py'), {}
    monkeypatch.setattr(tool, 'write_report', lambda out, **found: given.update(found))
    assert tool.main([str(trained), '--pictures', '1']) == 0
    assert given['telling'] and {one.label for one in given['chosen']} == {None}
    for one in given['telling']:
        assert one.caption.startswith(f'{given["pictures"].classes[one.label]}: ')
        missed = (one.picture.truth == one.label) & (one.predictions[0] != one.label)
        assert missed.any()
