"""Findings about a set of pairs: what is wrong with it, and what to do."""

from collections import Counter
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from itertools import combinations

import numpy as np

from pspnet_plugin.datasets.pair_backends import SIDES
from pspnet_plugin.toolkit.inspection.duplicates import Duplicates, find_duplicates, find_shared
from pspnet_plugin.toolkit.inspection.palette_guess import guess_palette
from pspnet_plugin.toolkit.inspection.split_statistics import SplitStatistics
from pspnet_plugin.utils.images import PAIR_SUFFIXES, PHOTO_SUFFIXES

# Image formats that the datasets do not read; reported, so that a half-empty set is explained.
OTHER_IMAGES = {*PHOTO_SUFFIXES, '.ppm', '.pgm', '.jxl', '.dng'} - {*PAIR_SUFFIXES}
UNKNOWN_ERROR, UNKNOWN_WARNING = 0.01, 0.001  # shares of flat unexplained pixels
# Shares of sure pixels in the columns next to the middle: labels have most, photos a tenth.
SEAM_LABELS, SEAM_PHOTO = 0.8, 0.35
FEW = 0.1  # share of pairs in other colours that says nothing about the palette of the set
SHOWN = 5


@dataclass(frozen=True)
class Finding:
    """Something that is wrong."""

    severity: str  # 'error' or 'warning'
    code: str  # its kind, for programs
    split: str  # name of the split; empty for the whole set
    message: str  # what is wrong, and what to do
    files: tuple[str, ...] = ()  # relative to the split or to the set


def find_problems(splits: Sequence[SplitStatistics], *, strays: Sequence[str]) -> list[Finding]:
    """Check each split, all against each other, and images that belong to none; errors first."""
    findings = [
        Finding(severity, code, split.split.name, message, tuple(*files))
        for split in splits
        for severity, code, message, *files in _check_split(split)
    ]
    if strays:
        message = (
            f'images beside the directories of the splits, which no split includes: {len(strays)}: '
            f'{_some(strays)}. Move them into one if they are pairs, else elsewhere'
        )
        findings.append(Finding('warning', 'stray', '', message, tuple(strays)))
    photos = {
        split.split.name: {f'{split.split.name}/{name}': p for name, p in split.photos.items()}
        for split in splits
    }
    for one, other in combinations(photos, 2):
        if shared := find_shared(photos[one], photos[other]):
            message = (
                f'photos of {other} that are in {one} too, so that its scores say little: '
                f'{_list_copies(shared)}. Remove them from one'
            )
            files = tuple(name for pair in shared for name in pair.files)
            findings.append(Finding('error', 'leakage', '', message, files))
    return sorted(findings, key=lambda finding: finding.severity)


# Each check yields severity, code, message and, if there are any, the files concerned.
Check = Iterator[tuple]


def _check_split(split: SplitStatistics) -> Check:
    figures = split.figures()
    for check in (_check_files, _check_colors, _check_seam, _check_variety):
        yield from check(split, figures)


def _check_files(split: SplitStatistics, figures: dict) -> Check:
    unreadable, swapped = figures['unreadable'], figures['swapped']
    if unreadable:
        listed = _some([f'{name} ({reason})' for name, reason in unreadable.items()])
        message = (
            f'{len(unreadable)} of {figures["pairs"]} files are no readable pairs: {listed}. Copy '
            'them again or remove them'
        )
        yield 'error', 'unreadable', message, unreadable
    if swapped:
        side = SIDES[1 - SIDES.index(split.settings.photo_side)]
        read = split.sizes.total()
        advice = 'Swap their halves like the others'
        if len(swapped) == read:
            advice = f'Give --photo-side {side} here and photo_side={side!r} to the dataset'
        message = f'the halves of {len(swapped)} of {read} pairs look swapped: {_some(swapped)}'
        yield 'error', 'swapped', f'{message}. {advice}', swapped
    if turned := figures['turned']:
        how = ', '.join(f'{name} ({count})' for name, count in Counter(turned.values()).items())
        message = (
            f'the labels of {len(turned)} of {split.sizes.total()} pairs fit their photos better '
            f'{how}: {_some([*turned])}. Look at them; make_pairs.py turns labels by --turn-labels'
        )
        yield 'warning', 'turned', message, turned
    if transparent := figures['transparent']:
        message = (
            f'{len(transparent)} pairs have invisible pixels ({figures["invisible"]:.1%} of all), '
            f'which are ignored whatever colour they have: {_some(transparent)}'
        )
        yield 'warning', 'transparent', message, transparent
    others = {suffix: n for suffix, n in figures['ignored'].items() if suffix in OTHER_IMAGES}
    if others:
        listed = ', '.join(f'{count} {suffix}' for suffix, count in others.items())
        message = f'{listed} images are not read. Save them as .png if they are pairs'
        yield 'warning', 'ignored', message


def _check_colors(split: SplitStatistics, figures: dict) -> Check:
    foreign, share = figures['foreign'], figures['unknown_share']
    read = split.sizes.total()
    findings: list[tuple[str, str, str, Sequence[str]]] = []
    if foreign:
        message = f'neither half of {len(foreign)} of {read} pairs is in the palette'
        findings.append(('error', 'foreign', f'{message}: {_some(foreign)}', foreign))
    if figures['in_palette'] and not figures['labelled']:
        findings.append(('error', 'unlabelled', 'no pixel has a class', ()))
    if share > UNKNOWN_WARNING:
        message = f'{share:.1%} of the pixels are flat areas in colours that the palette lacks'
        severity = 'error' if share > UNKNOWN_ERROR else 'warning'
        examples = dict.fromkeys(color['example'] for color in figures['unknown_colors'])
        findings.append((severity, 'unknown-colors', f'{message} (listed above)', [*examples]))
    for i, (severity, code, message, files) in enumerate(findings):
        if code == 'foreign' and len(foreign) < FEW * read:
            message += '. Look at them: the others are in it'
        elif i == 0:  # they have one cause, so the guess is given once
            known, constant = split.settings.decoder.palette, np.median(split.constant_shares)
            message += f'. {guess_palette(split.flat.colors(), known, constant=float(constant))}'
        yield severity, code, message, files


def _check_seam(split: SplitStatistics, figures: dict) -> Check:
    labels_in_photo, labels_in_colors = split.seam[0] > SEAM_LABELS, split.seam[1] > SEAM_PHOTO
    if figures['in_palette'] and labels_in_photo == labels_in_colors:
        problem = 'palette colours in the photo half' if labels_in_photo else 'no labels'
        message = (
            f'next to the middle of the images there are {problem}: photo and labels have '
            'different sizes, or the files are no plain pairs. Make them again'
        )
        yield 'error', 'seam', message


def _check_variety(split: SplitStatistics, figures: dict) -> Check:
    sizes, groups = figures['sizes'], find_duplicates(split.photos)
    if len(sizes) > 1:
        listed = _some([f'{size} ({count})' for size, count in sizes.items()])
        message = f'halves have {len(sizes)} sizes: {listed}. A batch needs one: crop or resize'
        yield 'warning', 'sizes', message
    if groups:
        message = f'photos that occur more than once: {_list_copies(groups)}'
        yield 'warning', 'duplicates', message, [name for group in groups for name in group.files]
    absent = [entry['name'] for entry in figures['classes'] if not entry['pictures']]
    if absent and figures['labelled']:
        yield 'warning', 'absent', f'classes that never occur: {_some(absent)}'


def _list_copies(groups: Sequence[Duplicates]) -> str:
    listed = _some([' = '.join(group.files[:3]) for group in groups])
    identical = sum(group.same_bytes for group in groups)
    return f'{len(groups)} ({identical} of them as the same file): {listed}'


def _some(names: Sequence[str]) -> str:
    more = f', ... {len(names) - SHOWN} more' if len(names) > SHOWN else ''
    return ', '.join(names[:SHOWN]) + more
