"""The pictures of a report: photo, truth and, of each run, prediction and error map."""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import NamedTuple

import numpy as np
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.patches import Patch

from pspnet_plugin.apis.drawing import colored
from pspnet_plugin.apis.readers import InputImage
from pspnet_plugin.labels.palettes import IGNORE_INDEX
from pspnet_plugin.toolkit.report.figures import plain

RIGHT, OTHER, IGNORED = (222, 222, 222), (165, 165, 165), (0, 0, 0)
# The first of equally far colours is taken. Green is left out, because it reads as right.
STRONG = np.array(
    [
        (230, 0, 0), (0, 60, 255), (255, 128, 0), (255, 0, 255), (0, 215, 255), (255, 235, 0),
    ],
    np.uint8,
)  # fmt: skip


class ErrorColours(NamedTuple):
    """Colours of error maps, RGB.

    Attributes:
        wrong: Of all errors or, where the map is of one class, of its missed pixels.
        found: Where the map is of one class: pixels that are wrongly predicted as it.
    """

    wrong: np.ndarray
    found: np.ndarray


@dataclass(frozen=True)
class Shown:
    """A picture as it is shown.

    Attributes:
        caption: Why it is.
        picture: Photo and truth.
        predictions: (H, W) class indices, one a run.
        label: The class whose errors are shown; None: all errors alike.
    """

    caption: str
    picture: InputImage
    predictions: list[np.ndarray]
    label: int | None = None


def error_colours(palette: np.ndarray) -> ErrorColours:
    """The strong colours that are farthest from those of (K, 3) classes, and from each other."""
    taken = [*palette, RIGHT, OTHER, IGNORED]
    chosen = []
    for _ in range(2):
        apart = np.linalg.norm(STRONG[:, None] - np.array(taken, float), axis=2)  # (S, K + …)
        chosen.append(STRONG[apart.min(1).argmax()])
        taken.append(chosen[-1])
    return ErrorColours(*chosen)


def error_map(
    labels: np.ndarray, truth: np.ndarray, colours: ErrorColours, label: int | None = None
) -> np.ndarray:
    """(H, W, 3) BGR: errors in their colours, right pixels light grey, ignored ones black.

    Args:
        labels: (H, W), what is predicted.
        truth: (H, W), 255 where ignored.
        colours: Of the errors.
        label: The class whose errors are shown; None: all errors alike.
    """
    picture = np.full((*truth.shape, 3), RIGHT, np.uint8)
    wrong = labels != truth
    picture[wrong] = colours.wrong if label is None else OTHER
    picture[wrong & (truth == label)] = colours.wrong
    picture[wrong & (labels == label)] = colours.found
    picture[truth == IGNORE_INDEX] = IGNORED
    return picture[..., ::-1]


def draw_pictures(
    names: Sequence[str], rows: Sequence[Shown], classes: Sequence[str], palette: np.ndarray
) -> Figure:
    """Photo, truth and, of each run, prediction and error map, a picture a line."""
    columns = 2 + 2 * len(names)
    heights = [2.6 * r.picture.photo.shape[0] / r.picture.photo.shape[1] + 0.36 for r in rows]
    colours = error_colours(palette)
    there = _classes_in(rows)
    entries = [(plain(classes[i], 40), palette[i]) for i in range(len(classes)) if i in there]
    entries += [('ignored', IGNORED), *_meanings(rows, colours)]
    # As many a line as fit.
    across = max(1, 30 * columns // (max(len(label) for label, _ in entries) + 9))
    below = 0.3 + 0.22 * -(-len(entries) // across)
    figure = Figure(figsize=(2.6 * columns, sum(heights) + below), layout='constrained')
    figure.get_layout_engine().set(
        w_pad=0.02, h_pad=0.06, wspace=0.01, hspace=0.01, rect=(0, 0, 1, 0.99)
    )
    grid = figure.add_gridspec(len(rows), columns, height_ratios=heights)
    for y, row in enumerate(rows):
        truth = row.picture.truth
        parts = [(row.caption, row.picture.photo), ('truth', colored(truth, palette))]
        for name, labels in zip(names, row.predictions, strict=True):
            of = f' of {name}' if len(names) > 1 else ''
            parts.append((f'prediction{of}', colored(labels, palette)))
            parts.append((f'errors{of}', error_map(labels, truth, colours, row.label)))
        for x, (title, picture) in enumerate(parts):
            _show(figure.add_subplot(grid[y, x]), title, picture)
    handles = [Patch(color=np.array(color) / 255, label=label) for label, color in entries]
    figure.legend(handles=handles, loc='outside lower center', ncols=across, frameon=False)
    return figure


def _meanings(rows: Sequence[Shown], colours: ErrorColours) -> list[tuple[str, np.ndarray]]:
    """What the colours of the error maps mean, in words."""
    if all(row.label is None for row in rows):
        return [('wrong', colours.wrong)]
    return [
        ('missed', colours.wrong), ('wrongly found', colours.found), ('other errors', OTHER)
    ]  # fmt: skip


def _show(axes: Axes, title: str, picture: np.ndarray) -> None:
    axes.imshow(picture[..., ::-1], interpolation='nearest')
    axes.set_title(plain(title, 36), fontsize=9)
    axes.axis('off')


def _classes_in(rows: Sequence[Shown]) -> set[int]:
    maps = [labels for row in rows for labels in (row.picture.truth, *row.predictions)]
    return {int(value) for labels in maps for value in np.unique(labels)} - {IGNORE_INDEX}
