"""Figures of a report: curves, bars, confusion matrix, images with error maps."""

import io
import json
from pathlib import Path

import numpy as np
import pytest
from helpers.pairs import CITYSCAPES
from matplotlib.figure import Figure
from matplotlib.text import Text
from mmengine.config import Config

from pspnet_plugin.evaluation.areas import areas_of
from pspnet_plugin.toolkit.report import image_rows
from pspnet_plugin.toolkit.report.evaluation import Evaluation
from pspnet_plugin.toolkit.report.figures import draw_classes, draw_confusion, draw_curves
from pspnet_plugin.toolkit.report.image_rows import CORRECT, IGNORED, OTHER, STRONG, ImageRow
from pspnet_plugin.toolkit.report.runs import TrainingRun

CLASSES = ['road', 'pole', 'train']
CONFUSION = np.array([[220, 0, 0], [38, 40, 2], [0, 0, 0]])
PALETTE = np.array([[1, 2, 3], [4, 5, 6], [7, 8, 9]], np.uint8)
LABELS = np.array([[0, 1, 2], [2, 1, 0]], np.uint8)
TRUTH = np.array([[0, 0, 1], [255, 1, 2]], np.uint8)


def run_of(folder: Path, entries: list[dict]) -> TrainingRun:
    """Make a run without a record that logged these entries."""
    path = folder / '20260101_000000/vis_data/scalars.json'
    path.parent.mkdir(parents=True)
    path.write_text('\n'.join(map(json.dumps, entries)))
    return TrainingRun(folder, Config(), None)


def rendered(figure: Figure) -> Figure:
    figure.savefig(io.BytesIO(), format='png')
    return figure


def test_curves_are_those_of_the_log(tmp_path):
    entries = [dict(step=1, loss=2.0), dict(step=2, loss=-1.0), dict(step=2, mIoU=7.0)]
    figure = draw_curves(dict(run=run_of(tmp_path, entries)))
    lines = [[(*x.get_xdata(), *x.get_ydata()) for x in axes.lines] for axes in figure.axes]
    assert lines == [[(1, 2, 2.0, -1.0)], [], [(2, 7.0)]]
    assert figure.axes[0].get_ylim()[0] <= -1, 'negative losses stay within their axes'


def test_curves_hide_and_clip_no_point(tmp_path):
    names = ['a long name of a folder ' * 4, '_$a$b$', 'c']
    entries = [dict(step=s, loss=1.0, lr=0.0, mIoU=0.0) for s in (1, 9)]
    figure = rendered(draw_curves({n: run_of(tmp_path / n[0], entries) for n in names}))
    (legend,) = figure.legends
    texts = [text.get_text() for text in legend.get_texts()]
    assert texts == [names[0], '\u200a_\\$a\\$b\\$', 'c'], 'names are no formulas'
    box = legend.get_window_extent()
    assert figure.bbox.x0 <= box.x0 and box.x1 <= figure.bbox.x1 and figure.bbox.y0 <= box.y0
    assert len(figure.axes) == 3
    for axes in figure.axes:
        assert axes.get_legend() is None and not box.overlaps(axes.get_tightbbox())
        assert len(axes.lines) == 3
        for line in axes.lines:
            assert not line.get_clip_on() and line.get_marker() == '.'
            assert line.get_zorder() > axes.spines['bottom'].get_zorder()
        assert axes.get_ylim()[0] == 0 and axes.get_xlim()[0] == 0


def test_single_points_carry_their_values(tmp_path):
    values = [5.0, 45.0, 44.96, 45.0, float('nan')]
    logs = {str(i): [dict(step=9, mIoU=value)] for i, value in enumerate(values)}
    logs['rising'] = [dict(step=s, mIoU=float(s)) for s in (1, 2)]
    runs = {name: run_of(tmp_path / name, entries) for name, entries in logs.items()}
    axes = rendered(draw_curves(runs)).axes[2]
    assert [line.get_marker() for line in axes.lines] == ['o'] * 5 + ['.']
    assert {text.get_color(): text.get_text() for text in axes.texts} == dict(
        C0='5.00', C1='45.0', C2='45.0', C3='45.0'
    )
    boxes = [Text.get_window_extent(text) for text in axes.texts]
    assert not any(a.overlaps(b) for i, a in enumerate(boxes) for b in boxes[:i])
    points = axes.transData.transform([line.get_xydata()[0] for line in axes.lines[:4]])
    assert not any(box.contains(*point) for box in boxes for point in points)
    assert all(axes.bbox.contains(*np.mean(box.get_points(), axis=0)) for box in boxes)


def test_bars_and_matrix_show_the_confusion():
    evaluation = Evaluation(['x'], CONFUSION, areas_of(CONFUSION)[None], 400)
    axes = draw_classes(dict(run=evaluation), CLASSES).axes[0]
    assert [bar.get_width() for bar in axes.patches] == pytest.approx([100 * 220 / 258, 50, 0])
    labels = [text.get_text() for text in axes.get_yticklabels()]
    assert labels == ['road  (73.33 %)', 'pole  (26.67 %)', 'train  (0.00 %)']
    axes = draw_confusion('run', CONFUSION, CLASSES).axes[0]
    cells = np.asarray(axes.images[0].get_array()) ** 2
    assert cells[1] == pytest.approx([100 * 38 / 80, 50, 100 * 2 / 80])
    assert {t.get_text(): t.get_position() for t in axes.texts}['48'] == (0, 1)


def rows_of(*labels: int | None, names=('run',)) -> tuple[list[list], dict[str, list[int]]]:
    """RGB images of a figure, a row for each label, and the colours of its legend."""
    photo = np.full((2, 3, 3), 77, np.uint8)
    rows = [ImageRow('x', photo, TRUTH, [LABELS] * len(names), label) for label in labels]
    figure = image_rows.draw_image_rows(names, rows, CLASSES, PALETTE)
    legend = figure.legends[0]
    colors = [np.rint(255 * np.array(p.get_facecolor()[:3])) for p in legend.get_patches()]
    texts = [text.get_text() for text in legend.get_texts()]
    images = [np.asarray(axes.images[0].get_array()).tolist() for axes in figure.axes]
    return images, {t: c.astype(int).tolist() for t, c in zip(texts, colors, strict=True)}


def test_error_map_of_all_classes():
    (photo, truth, prediction, errors), legend = rows_of(None)
    assert photo == np.full((2, 3, 3), 77).tolist()
    assert truth == [[[1, 2, 3], [1, 2, 3], [4, 5, 6]], [[0, 0, 0], [4, 5, 6], [7, 8, 9]]]
    assert prediction == PALETTE[LABELS].tolist()
    assert list(legend)[:4] == [*CLASSES, 'ignored'] and len(legend) == 5
    good, wrong = [*CORRECT], [*legend.values()][-1]
    assert errors == [[good, wrong, wrong], [[*IGNORED], good, wrong]]


def test_error_maps_of_one_class():
    images, legend = rows_of(1, 2)
    good, black = [*CORRECT], [*IGNORED]
    missed, false_positive, other = [*legend.values()][-3:]
    pole, train = images[3::4]
    assert pole == [[good, false_positive, missed], [black, good, other]]
    assert train == [[good, other, false_positive], [black, good, missed]]
    assert other == [*OTHER] and min(np.ptp(missed), np.ptp(false_positive)) > 150


def test_every_run_has_an_error_map():
    (one, _), (two, _) = rows_of(1), rows_of(1, names=['a', 'b'])
    assert two == one + one[2:]


@pytest.mark.parametrize(
    'palette',
    [CITYSCAPES['palette'], [[220, 20, 20], [70, 130, 230]], STRONG[[0, 1]], STRONG[2:], []],
    ids=['Cityscapes', 'reds and blues', 'candidates', 'other candidates', 'none'],
)
def test_error_colors_are_far_from_the_classes(palette):
    palette = np.array(palette, np.uint8).reshape(-1, 3)
    error, false_positive = (color.astype(int) for color in image_rows.error_colors(palette))
    used = np.array([*palette, CORRECT, OTHER, IGNORED], int)

    def distance(color) -> float:
        return np.linalg.norm(used - color, axis=1).min()

    assert distance(error) == max(distance(color) for color in STRONG.astype(int)) > 100
    assert distance(false_positive) > 60 and np.linalg.norm(error - false_positive) > 100


def test_long_legend_leaves_the_images_their_size():
    names = [f'a class of a long name {i}' for i in range(19)]
    labels = np.arange(40 * 80, dtype=np.uint8).reshape(40, 80) % 19
    row = ImageRow('x', np.zeros((40, 80, 3), np.uint8), labels, [labels])
    palette = np.array(CITYSCAPES['palette'], np.uint8)
    figure = rendered(image_rows.draw_image_rows(['run'], [row] * 2, names, palette))
    widths = [axes.get_window_extent().width for axes in figure.axes]
    assert min(widths) > 0.9 * figure.bbox.width / 4
    box = figure.legends[0].get_window_extent()
    assert box.x0 >= 0 and box.x1 <= figure.bbox.width and box.y0 >= 0
    assert not any(box.overlaps(axes.get_tightbbox()) for axes in figure.axes)
