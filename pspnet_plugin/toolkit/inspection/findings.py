"""What is wrong with a set of pairs, in words, with what to do about it."""

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from itertools import combinations

import numpy as np

from pspnet_plugin.datasets.pair_backends import SIDES
from pspnet_plugin.toolkit.inspection.duplicates import twins_between, twins_within
from pspnet_plugin.toolkit.inspection.palette_guess import guess
from pspnet_plugin.toolkit.inspection.split_statistics import SplitTally

# Pictures in formats that the datasets do not read, so that a half-empty set does not surprise.
OTHER_PICTURES = ('.tif', '.tiff', '.gif', '.jfif', '.jp2', '.ppm', '.heic', '.avif')
UNKNOWN_ERROR, UNKNOWN_WARNING = 0.01, 0.001  # shares of flat unexplained pixels
# Shares of sure pixels in the columns next to the middle: labels have most, photos a tenth.
SEAM_LABELS, SEAM_PHOTO = 0.8, 0.35
FEW = 0.1  # of the pairs: so many strays say nothing about the palette of the set
SHOWN = 5


@dataclass(frozen=True)
class Problem:
    """Something wrong.

    Args:
        severity: ``'error'`` or ``'warning'``.
        code: What it is, in one word that stays the same.
        split: Where; empty for the set as a whole.
        message: All about it, and what to do.
        files: All files concerned, relative to the split, or with its name before them.
    """

    severity: str
    code: str
    split: str
    message: str
    files: tuple[str, ...] = ()


def find_problems(tallies: list[SplitTally], *, strays: Sequence[str] = ()) -> list[Problem]:
    """All that is wrong with the splits, between them and beside them, errors first.

    Args:
        tallies: Of the splits.
        strays: Pictures of the set that belong to no split.
    """
    found = [problem for tally in tallies for problem in _in_split(tally)]
    if strays:
        message = (
            f'pictures beside the folders of the splits, so that no split has them: {len(strays)}: '
            f'{_some(list(strays))}; move them into one if they are pairs, else elsewhere'
        )
        found.append(Problem('warning', 'stray', '', message, tuple(strays)))
    for one, other in combinations(tallies, 2):
        twins = twins_between(one, other)
        if twins:
            copies = sum(twin['same_bytes'] for twin in twins)
            listed = _some([' = '.join(twin['files']) for twin in twins])
            message = (
                f'photos of {other.split.name} that are in {one.split.name}, too, so that scores '
                f'say little: {len(twins)} ({copies} of them as the same file): {listed}; take '
                'them out of one'
            )
            files = tuple(name for twin in twins for name in twin['files'])
            found.append(Problem('error', 'leakage', '', message, files))
    return sorted(found, key=lambda problem: problem.severity)


def _in_split(tally: SplitTally) -> Iterator[Problem]:
    figures = tally.figures()
    for check in (_check_files, _check_colors, _check_seam, _check_set):
        for severity, code, message, *files in check(tally, figures):
            yield Problem(severity, code, tally.split.name, message, tuple(*files))


def _check_files(tally: SplitTally, figures: dict) -> Iterator[tuple]:
    unreadable, swapped = figures['unreadable'], figures['swapped']
    if unreadable:
        listed = _some([f'{name} ({why})' for name, why in unreadable.items()])
        message = (
            f'{len(unreadable)} of {figures["pairs"]} files are no readable pairs: {listed}; copy '
            'them again or take them out'
        )
        yield 'error', 'unreadable', message, unreadable
    if swapped:
        side = SIDES[1 - SIDES.index(tally.reading.photo_side)]
        read = sum(figures['sizes'].values())
        all_of_them = f'give --photo-side {side} here and photo_side={side!r} to the dataset'
        advice = all_of_them if len(swapped) == read else 'swap their halves as the others are'
        message = f'the halves of {len(swapped)} of {read} pairs look swapped: {_some(swapped)}'
        yield 'error', 'swapped', f'{message}; {advice}', swapped
    others = {s: n for s, n in figures['ignored'].items() if s in OTHER_PICTURES}
    if others:
        listed = ', '.join(f'{count} {suffix}' for suffix, count in others.items())
        message = f'{listed} pictures are not read; save them as .png if they are pairs'
        yield 'warning', 'ignored', message


def _check_colors(tally: SplitTally, figures: dict) -> Iterator[tuple]:
    foreign, share = figures['foreign'], figures['unknown_share']
    read = sum(figures['sizes'].values())
    found = []
    if foreign:
        message = f'neither half of {len(foreign)} of {read} pairs is in the palette'
        found.append(('error', 'foreign', f'{message}: {_some(foreign)}', foreign))
    if figures['in_palette'] and not figures['labelled']:
        found.append(('error', 'unlabelled', 'no pixel has a class', ()))
    if share > UNKNOWN_WARNING:
        message = f'{share:.1%} of the pixels are flat areas in colours that the palette lacks'
        severity = 'error' if share > UNKNOWN_ERROR else 'warning'
        examples = dict.fromkeys(color['example'] for color in figures['unknown_colors'])
        found.append((severity, 'unknown-colors', f'{message} (listed above)', examples))
    for i, (severity, code, message, files) in enumerate(found):
        if code == 'foreign' and len(foreign) < FEW * read:
            message += '. Look at them: the others are in it'
        elif i == 0:  # they have one cause, so what it seems to be is said once
            level = float(np.median(tally.levels))
            message += f'. {guess(tally.flat.colors(), tally.reading.known, level=level)}'
        yield severity, code, message, files


def _check_seam(tally: SplitTally, figures: dict) -> Iterator[tuple]:
    if not figures['in_palette']:
        return
    photo, colors = tally.seam
    looks_cut = {
        (False, False): 'the colour half looks like photo',
        (True, True): 'the photo half is in palette colours',
    }.get((photo > SEAM_LABELS, colors > SEAM_PHOTO))
    if looks_cut:
        message = (
            f'next to the middle of the pictures {looks_cut}: photo and labels are not of one '
            'size, or the files are no plain pairs; make them anew'
        )
        yield 'error', 'seam', message


def _check_set(tally: SplitTally, figures: dict) -> Iterator[tuple]:
    sizes, groups = figures['sizes'], twins_within(tally)
    if len(sizes) > 1:
        listed = _some([f'{size} ({count})' for size, count in sizes.items()])
        message = f'halves are of {len(sizes)} sizes: {listed}; a batch needs one: crop or resize'
        yield 'warning', 'sizes', message
    if groups:
        copies = sum(group['same_bytes'] for group in groups)
        listed = _some([' = '.join(group['files'][:3]) for group in groups])
        message = (
            f'photos that occur more than once: {len(groups)} ({copies} of them as the same '
            f'file): {listed}'
        )
        files = [name for group in groups for name in group['files']]
        yield 'warning', 'duplicates', message, files
    absent = [entry['name'] for entry in figures['classes'] if not entry['pictures']]
    if absent and figures['labelled']:
        yield 'warning', 'absent', f'classes that never occur: {_some(absent)}'


def _some(names: list[str]) -> str:
    more = f', ... {len(names) - SHOWN} more' if len(names) > SHOWN else ''
    return ', '.join(names[:SHOWN]) + more
