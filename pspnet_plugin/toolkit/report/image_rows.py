"""Rows of images: the photo, its label map and, of each run, the prediction and its error map."""

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from matplotlib.figure import Figure
from matplotlib.layout_engine import ConstrainedLayoutEngine
from matplotlib.patches import Patch

from pspnet_plugin.apis.drawing import colored
from pspnet_plugin.labels.palettes import IGNORE_INDEX
from pspnet_plugin.toolkit.report.figures import plain_text

CORRECT, OTHER, IGNORED = (222, 222, 222), (165, 165, 165), (0, 0, 0)  # in error maps, RGB
# Candidates for errors, the first of equally distant ones is taken; no green, which reads as right.
STRONG = np.array(
    [(230, 0, 0), (0, 60, 255), (255, 128, 0), (255, 0, 255), (0, 215, 255), (255, 235, 0)],
    np.uint8,
)


@dataclass(frozen=True)
class ImageRow:
    """Image that a report shows."""

    caption: str
    photo: np.ndarray  # (H, W, 3) uint8 BGR
    truth: np.ndarray  # (H, W) class indices
    predictions: list[np.ndarray]  # (H, W) class indices, of each run
    label: int | None = None  # class whose errors are shown; None: all errors look alike


def error_colors(palette: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """Choose RGB colours of missed and of falsely predicted pixels, far from a (K, 3) palette."""
    used = [*palette, CORRECT, OTHER, IGNORED]
    for _ in range(2):
        distances = np.linalg.norm(STRONG[:, None] - np.array(used, float), axis=2)
        used.append(STRONG[distances.min(1).argmax()])
    return used[-2], used[-1]


def error_map(
    labels: np.ndarray, truth: np.ndarray, palette: np.ndarray, label: int | None = None
) -> np.ndarray:
    """Draw the errors of (H, W) predictions as (H, W, 3) BGR, in ``error_colors`` of a palette.

    With ``label``, only errors of this class are coloured, and others dark grey.
    """
    missed, false_positive = error_colors(palette)
    image = np.full((*truth.shape, 3), CORRECT, np.uint8)
    wrong = labels != truth
    image[wrong] = missed if label is None else OTHER
    image[wrong & (truth == label)] = missed
    image[wrong & (labels == label)] = false_positive
    image[truth == IGNORE_INDEX] = IGNORED
    return image[..., ::-1]


def draw_image_rows(
    names: Sequence[str], rows: Sequence[ImageRow], classes: Sequence[str], palette: np.ndarray
) -> Figure:
    """Draw a row for each image, with two columns for each of the named runs, and one legend."""
    columns = 2 + 2 * len(names)
    heights = [2.6 * row.photo.shape[0] / row.photo.shape[1] + 0.36 for row in rows]
    entries = _legend(rows, classes, palette)
    across = max(1, 30 * columns // (max(len(label) for label, _ in entries) + 9))
    below = 0.3 + 0.22 * -(-len(entries) // across)
    layout = ConstrainedLayoutEngine(
        w_pad=0.02, h_pad=0.06, wspace=0.01, hspace=0.01, rect=(0, 0, 1, 0.99)
    )
    figure = Figure(figsize=(2.6 * columns, sum(heights) + below), layout=layout)
    grid = figure.subplots(len(rows), columns, squeeze=False, height_ratios=heights)
    for row, row_axes in zip(rows, grid, strict=True):
        cells = [(row.caption, row.photo), ('truth', colored(row.truth, palette))]
        for name, labels in zip(names, row.predictions, strict=True):
            of = f' of {name}' if len(names) > 1 else ''
            cells.append((f'prediction{of}', colored(labels, palette)))
            cells.append((f'errors{of}', error_map(labels, row.truth, palette, row.label)))
        for axes, (title, image) in zip(row_axes, cells, strict=True):
            axes.imshow(image[..., ::-1], interpolation='nearest')
            axes.set_title(plain_text(title, 36), fontsize=9)
            axes.axis('off')
    handles = [Patch(color=f'#{bytes(color).hex()}', label=label) for label, color in entries]
    figure.legend(handles=handles, loc='outside lower center', ncols=across, frameon=False)
    return figure


def _legend(
    rows: Sequence[ImageRow], classes: Sequence[str], palette: np.ndarray
) -> list[tuple[str, Sequence[int]]]:
    """Names and colours of the classes that the rows hold, and of the errors."""
    label_maps = [labels for row in rows for labels in (row.truth, *row.predictions)]
    present = set[int]().union(*map(np.unique, label_maps)) - {IGNORE_INDEX}
    entries = [(plain_text(classes[i], 40), palette[i]) for i in sorted(present)]
    missed, false_positive = error_colors(palette)
    if all(row.label is None for row in rows):
        return [*entries, ('ignored', IGNORED), ('wrong', missed)]
    errors = [('missed', missed), ('falsely predicted', false_positive), ('other errors', OTHER)]
    return [*entries, ('ignored', IGNORED), *errors]
