"""Looks at the pairs of a split, summed up one by one.

Shares are fractions, 0 to 1. What is kept for each pair is small: its name, thumbnails of 1824
bytes, a digest and two numbers.
"""

from collections import Counter, defaultdict
from collections.abc import Iterable

import numpy as np

from pspnet_plugin.datasets.listing import Split
from pspnet_plugin.labels.decoder import FLAT_NOISE
from pspnet_plugin.labels.palettes import IGNORE_INDEX
from pspnet_plugin.toolkit.inspection.pair_statistics import Look, Reading

LISTED_COLORS, LISTED_SHARE = 12, 1e-4  # at most so many, and none rarer than that


class ColorTally:
    """Colours of many pictures, by bins of 16 levels."""

    def __init__(self) -> None:
        self._sums = np.zeros((4096, 4), np.int64)  # pixels, and the sums of their R, G and B
        self._examples: dict[int, tuple[int, int]] = {}

    def add(self, rows: np.ndarray, picture: int) -> None:
        """Adds the colours of the picture of that number; see ``Look.flat``."""
        self._sums[rows[:, 0]] += rows[:, 1:]
        for color_bin, pixels in rows[:, :2].tolist():
            # The picture with most of it; of equals the first, in whatever order they come.
            best = self._examples.get(color_bin, (0, 0))
            self._examples[color_bin] = max(best, (pixels, -picture))

    def colors(self) -> list[tuple[np.ndarray, int, int]]:
        """Colours with their pixels and a picture of them, the most frequent first.

        A colour is the mean of bins that lie within 12 levels of the most frequent among them.
        """
        centers, members = np.zeros((0, 3)), []
        for color_bin in np.argsort(-self._sums[:, 0], kind='stable'):
            pixels, *sums = self._sums[color_bin]
            if not pixels:
                break
            mean = np.array(sums) / pixels
            distance = np.linalg.norm(centers - mean, axis=1)
            if len(centers) and distance.min() <= FLAT_NOISE:
                members[distance.argmin()].append(color_bin)
            else:
                centers, members = np.vstack([centers, mean]), [*members, [color_bin]]
        found = []
        for bins in members:
            pixels, *sums = self._sums[bins].sum(0)
            example = -max(self._examples[int(color_bin)] for color_bin in bins)[1]
            found.append((np.array(sums) / pixels, int(pixels), example))
        return sorted(found, key=lambda color: -color[1])


class SplitTally:
    """All looks at the pairs of a split.

    Args:
        split: The split.
        classes: Names of the classes.
        reading: How it was read.
    """

    def __init__(self, split: Split, *, classes: list[str], reading: Reading) -> None:
        self.split, self.classes, self.reading = split, classes, reading
        self.unreadable: dict[int, str] = {}
        self.fits: dict[str, list[int]] = defaultdict(list)  # pairs by ``Look.fit``
        self.sizes: Counter[tuple[int, int]] = Counter()
        self.digests: dict[int, bytes] = {}
        self.thumbs: dict[int, np.ndarray] = {}
        self.details: dict[int, np.ndarray] = {}
        self.unsure_shares: dict[int, float] = {}
        self.levels: list[float] = []
        self.flat, self.unknown = ColorTally(), ColorTally()
        self.flat_pixels = self.unknown_pixels = self.looked_pixels = 0
        self._counts, self._unsure = np.zeros(256, np.int64), np.zeros(256, np.int64)
        self._pictures = np.zeros(256, np.int64)
        self._seam = np.zeros(2)

    def add(self, picture: int, look: Look) -> None:
        """Adds the look at ``split.pairs[picture]``."""
        if look.unreadable:
            self.unreadable[picture] = look.unreadable
            return
        self.sizes[look.size] += 1
        self.digests[picture], self.thumbs[picture] = look.digest, look.thumb
        self.details[picture] = look.detail
        self.fits[look.fit].append(picture)
        if look.fit == 'swapped':
            self.unsure_shares[picture] = 1.0
            return
        self.levels.append(look.level)
        self.looked_pixels += look.size[0] * look.size[1]
        self.flat_pixels += int(look.flat[:, 1].sum())
        self.unknown_pixels += int(look.unknown[:, 1].sum())
        self.flat.add(look.flat, picture)
        self.unknown.add(look.unknown, picture)
        fits = look.fit == 'fits'
        self.unsure_shares[picture] = _share(look.unsure.sum(), look.counts.sum()) if fits else 1.0
        self._counts += look.counts
        self._unsure += look.unsure
        self._pictures += look.counts > 0
        if fits:
            self._seam += look.seam

    def files(self, pictures: Iterable[int]) -> list[str]:
        """Names of pairs by their numbers, in order."""
        return [self.split.pairs[picture] for picture in sorted(pictures)]

    @property
    def seam(self) -> tuple[float, float]:
        """Share of sure pixels next to the middle, in the photo half and in the colour half."""
        count = len(self.fits['fits'])
        return tuple((self._seam / count).tolist()) if count else (0.0, 1.0)

    def figures(self) -> dict:
        """All figures, as JSON has them."""
        counts, pixels = self._counts, self._counts.sum()
        first_void, after = len(self.classes), len(self.reading.known)
        labelled = counts[:first_void].sum()
        return dict(
            pairs=len(self.split.pairs),
            in_palette=len(self.fits['fits']),
            sizes={f'{w}x{h}': n for (w, h), n in sorted(self.sizes.items())},
            unreadable={self.split.pairs[i]: self.unreadable[i] for i in sorted(self.unreadable)},
            swapped=self.files(self.fits['swapped']),
            foreign=self.files(self.fits['foreign']),
            ignored=self.split.ignored,
            labelled=_share(labelled, pixels),
            void=_share(counts[first_void:after].sum(), pixels),
            unexplained=_share(counts[IGNORE_INDEX], pixels),
            unsure=_share(self._unsure.sum(), pixels),
            classes=[
                dict(
                    name=name,
                    color=list(color),
                    share=_share(counts[i], labelled),
                    pictures=int(self._pictures[i]),
                    unsure=_share(self._unsure[i], counts[i]),
                )
                for i, (name, color) in enumerate(
                    zip(self.classes, self.reading.palette, strict=True)
                )
            ],
            unknown_share=_share(self.unknown_pixels, self.looked_pixels),
            unknown_colors=[
                dict(
                    color=color.round().astype(int).tolist(),
                    share=_share(pixels, self.looked_pixels),
                    example=self.split.pairs[picture],
                )
                for color, pixels, picture in self.unknown.colors()[:LISTED_COLORS]
                if _share(pixels, self.looked_pixels) >= LISTED_SHARE
            ],
        )


def _share(part: int, whole: int) -> float:
    return float(part / whole) if whole else 0.0
