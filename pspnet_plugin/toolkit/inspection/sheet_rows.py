"""Which pairs stand on the contact sheet, what is said above them, and how many fit on it."""

from collections.abc import Sequence
from pathlib import PurePosixPath

import numpy as np

from pspnet_plugin.toolkit.inspection.contact_sheet import MOST_PIXELS, Row, row_height
from pspnet_plugin.toolkit.inspection.split_statistics import SplitTally

UNSURE_ROWS = 3  # of so many rows of the sheet, one is of the most unsure pairs
NOTES = dict(
    swapped=', the halves look swapped: give the other --photo-side',
    foreign=', in colours that the palette lacks',
)


def most_rows(sizes: Sequence[tuple[int, int]] = ((1, 1),)) -> int:
    """How many rows a sheet holds at least.

    Args:
        sizes: Width and height of the halves; without them, squares.
    """
    space = MOST_PIXELS * 15 // 16  # the rest is for the legend
    return space // max(row_height(width, height) for width, height in sizes)


def choose_rows(tallies: Sequence[SplitTally], count: int) -> list[Row]:
    """Pairs for the sheet: most spread evenly over all splits, the others the most unsure ones."""
    pairs = [(t, i) for t in tallies for i in sorted(t.unsure_shares)]
    unsure = sorted(
        (pair for pair in pairs if pair[0].unsure_shares[pair[1]] > 0),
        key=lambda pair: -pair[0].unsure_shares[pair[1]],
    )
    worst = unsure[: min(count, len(pairs)) // UNSURE_ROWS]
    rest = [pair for pair in pairs if pair not in worst]
    even = np.linspace(0, len(rest) - 1, min(count - len(worst), len(rest))).round().astype(int)
    chosen = [(*rest[i], '') for i in even] + [(*pair, ', of the most unsure') for pair in worst]
    return [
        Row(
            tally.split.path(tally.split.pairs[i]),
            f'{PurePosixPath(tally.split.name) / tally.split.pairs[i]}   '
            f'{tally.unsure_shares[i]:.1%} unsure{note}{_note(tally, i)}',
        )
        for tally, i, note in chosen
    ]


def _note(tally: SplitTally, picture: int) -> str:
    return next((note for fit, note in NOTES.items() if picture in tally.fits[fit]), '')
