"""The splits of a set of pairs, and statistics of each, summed over its pairs.

Shares are fractions, 0 to 1. Each pair leaves little in memory: its name, a fingerprint of its
photo (1,840 bytes) and two numbers.
"""

from collections import Counter, defaultdict
from collections.abc import Iterable, Sequence
from functools import partial
from pathlib import Path

import numpy as np

from pspnet_plugin.datasets.listing import (
    WHERE_FROM,
    Split,
    images_in,
    read_split,
    roots_of,
    sub_splits,
)
from pspnet_plugin.labels.decoder import FLAT_NOISE
from pspnet_plugin.labels.palettes import IGNORE_INDEX
from pspnet_plugin.toolkit.inspection.duplicates import Fingerprint
from pspnet_plugin.toolkit.inspection.pair_statistics import (
    DecodingSettings,
    PairStatistics,
    measure_pair,
)
from pspnet_plugin.utils.images import PAIR_SUFFIXES
from pspnet_plugin.utils.jobs import run_jobs
from pspnet_plugin.utils.resizing import Size

LISTED_COLORS, LISTED_SHARE = 12, 1e-4  # at most so many, and none rarer than that


def find_splits(root: Path, *, wanted: Sequence[str] = ()) -> tuple[list[Split], list[str]]:
    """Return the splits of a set, or the ``wanted`` ones, and the images that belong to none.

    The root itself is a split, ``'.'``, only if no sub-directory holds pairs; otherwise one image
    in it would make train and val parts of one split.

    ``FileNotFoundError``: there is no such directory or split. ``ValueError``: there are no pairs.
    """
    if not root.is_dir():
        raise FileNotFoundError(f'{root}: no such directory. {WHERE_FROM}')
    splits = sub_splits(root)
    beside = [path for base in roots_of(root) for path in images_in(base)]
    if beside and not splits:
        splits = [read_split('.', beside[0].parent)]
        beside = [path for path in beside if not path.is_relative_to(splits[0].folder)]
    if not splits:
        others = [str(path.relative_to(root)) for path in sorted(root.iterdir())[:5]]
        raise ValueError(
            f'{root}: no pair in it or its sub-directories ({", ".join(others) or "it is empty"}). '
            f'Expected files ending in {", ".join(PAIR_SUFFIXES)}. {WHERE_FROM}'
        )
    names = [split.name for split in splits]
    if absent := [name for name in wanted if name not in names]:
        raise FileNotFoundError(
            f'{root}: no pairs in {", ".join(absent)}; its splits are {", ".join(names)}'
        )
    strays = [str(path.relative_to(root)) for path in beside]
    return [split for split in splits if not wanted or split.name in wanted], strays


class ColorHistogram:
    """Colours of many images, in bins of 16 levels."""

    def __init__(self) -> None:
        self._sums = np.zeros((4096, 4), np.int64)  # pixels, and the sums of their R, G and B
        self._examples: dict[int, tuple[int, int]] = {}

    def add(self, rows: np.ndarray, pair: int) -> None:
        """Add the colours of the pair of that number; see ``PairStatistics.flat``."""
        self._sums[rows[:, 0]] += rows[:, 1:]
        for color_bin, pixels in rows[:, :2].tolist():
            # The pair with most of it; of equals the first, in whatever order they come.
            best = self._examples.get(color_bin, (0, 0))
            self._examples[color_bin] = max(best, (pixels, -pair))

    def colors(self) -> list[tuple[np.ndarray, int, int]]:
        """Return colours, their pixels and the number of a pair with them, most frequent first.

        A colour is the mean of the bins that lie within 12 levels of the most frequent of them.
        """
        centers = np.zeros((0, 3))
        members: list[list[int]] = []
        for color_bin in np.argsort(-self._sums[:, 0], kind='stable').tolist():
            pixels, *sums = self._sums[color_bin]
            if not pixels:
                break
            mean = np.array(sums) / pixels
            distance = np.linalg.norm(centers - mean, axis=1)
            if len(centers) and distance.min() <= FLAT_NOISE:
                members[distance.argmin()].append(color_bin)
            else:
                centers, members = np.vstack([centers, mean]), [*members, [color_bin]]
        colors = []
        for bins in members:
            pixels, *sums = self._sums[bins].sum(0)
            example = -max(self._examples[color_bin] for color_bin in bins)[1]
            colors.append((np.array(sums) / pixels, int(pixels), example))
        return sorted(colors, key=lambda color: -color[1])


class SplitStatistics:
    """Statistics of all pairs of a split. A pair is known by its number in ``split.pairs``."""

    def __init__(self, split: Split, settings: DecodingSettings) -> None:
        self.split, self.settings = split, settings
        self.unreadable: dict[int, str] = {}
        self.fits: dict[str, list[int]] = defaultdict(list)  # pairs by ``PairStatistics.fit``
        self.sizes: Counter[Size] = Counter()
        self.unsure_shares: dict[int, float] = {}
        self.constant_shares: list[float] = []
        self.turned: dict[int, str] = {}  # pairs by how their labels fit better
        self.invisible: dict[int, int] = {}  # pixels of pairs that have any
        self.flat, self.unknown = ColorHistogram(), ColorHistogram()
        self._photos: dict[int, Fingerprint] = {}
        self._pixels = self._unknown_pixels = 0
        self._counts, self._unsure, self._images = np.zeros((3, 256), np.int64)
        self._seam = np.zeros(2)

    def add(self, number: int, pair: PairStatistics) -> None:
        """Add the statistics of ``split.pairs[number]``."""
        if pair.photo is None:
            self.unreadable[number] = pair.unreadable
            return
        self.sizes[pair.size] += 1
        self._photos[number] = pair.photo
        self.fits[pair.fit].append(number)
        self.unsure_shares[number] = 1.0
        if pair.fit == 'swapped':
            return
        self.constant_shares.append(pair.constant)
        if pair.turned:
            self.turned[number] = pair.turned
        if pair.invisible:
            self.invisible[number] = pair.invisible
        self._pixels += pair.size[0] * pair.size[1]
        self._unknown_pixels += int(pair.unknown[:, 1].sum())
        self.flat.add(pair.flat, number)
        self.unknown.add(pair.unknown, number)
        if pair.fit == 'fits':
            self.unsure_shares[number] = _share(pair.unsure.sum(), pair.counts.sum())
            self._counts += pair.counts
            self._unsure += pair.unsure
            self._images += pair.counts > 0
            self._seam += pair.seam

    def names(self, numbers: Iterable[int]) -> list[str]:
        """Return names of pairs, in order."""
        return [self.split.pairs[number] for number in sorted(numbers)]

    @property
    def photos(self) -> dict[str, Fingerprint]:
        """Fingerprints by the names of pairs, in order."""
        return {self.split.pairs[i]: self._photos[i] for i in sorted(self._photos)}

    @property
    def seam(self) -> tuple[float, float]:
        """Share of sure pixels next to the middle, in the photo half and in the colour half."""
        photo, colors = (self._seam / max(len(self.fits['fits']), 1)).tolist()
        return photo, colors

    def figures(self) -> dict:
        """Return all figures, as JSON has them."""
        counts, pixels = self._counts, self._counts.sum()
        classes, known = self.settings.classes, self.settings.decoder.palette
        labelled = counts[: len(classes)].sum()
        return dict(
            pairs=len(self.split.pairs),
            in_palette=len(self.fits['fits']),
            sizes={f'{w}x{h}': self.sizes[h, w] for w, h in sorted(s[::-1] for s in self.sizes)},
            unreadable={self.split.pairs[i]: self.unreadable[i] for i in sorted(self.unreadable)},
            swapped=self.names(self.fits['swapped']),
            foreign=self.names(self.fits['foreign']),
            turned={self.split.pairs[i]: self.turned[i] for i in sorted(self.turned)},
            transparent=self.names(self.invisible),
            invisible=_share(sum(self.invisible.values()), self._pixels),
            ignored=self.split.ignored,
            labelled=_share(labelled, pixels),
            void=_share(counts[len(classes) : len(known)].sum(), pixels),
            unexplained=_share(counts[IGNORE_INDEX], pixels),
            unsure=_share(self._unsure.sum(), pixels),
            classes=[
                dict(
                    name=name,
                    color=list(color),
                    share=_share(counts[i], labelled),
                    pictures=int(self._images[i]),
                    unsure=_share(self._unsure[i], counts[i]),
                )  # fmt: skip
                for i, (name, color) in enumerate(zip(classes, known, strict=False))
            ],
            unknown_share=_share(self._unknown_pixels, self._pixels),
            unknown_colors=[
                dict(
                    color=color.round().astype(int).tolist(),
                    share=_share(pixels, self._pixels),
                    example=self.split.pairs[number],
                )
                for color, pixels, number in self.unknown.colors()[:LISTED_COLORS]
                if _share(pixels, self._pixels) >= LISTED_SHARE
            ],
        )


def measure_splits(
    splits: Sequence[Split], settings: DecodingSettings, *, workers: int
) -> list[SplitStatistics]:
    """Read every pair of every split, in ``workers`` processes."""
    statistics = [SplitStatistics(split, settings) for split in splits]
    places = {
        one.split.path(name): (one, number)
        for one in statistics
        for number, name in enumerate(one.split.pairs)
    }
    measure = partial(measure_pair, settings=settings)
    for path, pair in run_jobs(measure, list(places), workers=workers, unit='pair'):
        split, number = places[path]
        split.add(number, pair)
    return statistics


def _share(part: int, total: int) -> float:
    return float(part / total) if total else 0.0
