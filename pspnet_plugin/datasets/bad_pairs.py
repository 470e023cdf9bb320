"""Skip pairs that cannot be used, and report them."""

from collections.abc import Callable, Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from typing import Any

import torch
from mmengine.logging import MMLogger
from torch.utils.data import Dataset

POLICIES = ('error', 'skip')


class BadPair(ValueError):
    """A pair that cannot be used; the message names it, and says why and what to do."""


class BadPairs:
    """Pairs that a dataset skips."""

    def __init__(self) -> None:
        self.reasons: dict[str, str] = {}  # by the path of each pair skipped from the start
        self.count = 0  # of all pairs, with these
        # 1 for each of the others that could not be used later; workers share its memory.
        self.lost = torch.zeros(0, dtype=torch.uint8)

    def filter(self, paths: Sequence[str], *, read: Callable[[str], object]) -> list[str]:
        """Return the pairs for which ``read`` raises no ``BadPair`` or ``OSError``; log the others.

        ``ValueError`` if there are none.
        """

        def problem(path: str) -> str | None:
            try:
                read(path)
            except (BadPair, OSError) as error:
                return str(error)
            return None

        with ThreadPoolExecutor() as pool:
            problems = zip(paths, pool.map(problem, paths), strict=True)
            self.reasons = {path: reason for path, reason in problems if reason}
        self.count = len(paths)
        good = [path for path in paths if path not in self.reasons]
        if not good:
            first = self.reasons[paths[0]]
            raise ValueError(f'none of the {self.count} pairs can be used; the first: {first}')
        logger = MMLogger.get_current_instance()
        for reason in self.reasons.values():
            logger.warning(f'skipped: {reason}')
        if self.reasons:
            logger.warning(f"on_bad_pair='skip': {len(self.reasons)} of {self.count} pairs skipped")
        self.lost = torch.zeros(len(good), dtype=torch.uint8).share_memory_()
        return good


def find_bad_pairs(dataset: Dataset) -> Iterator[tuple[Dataset, BadPairs]]:
    """Yield each dataset of pairs within any wrappers that skips pairs, and what it skips."""
    for part in unwrap(dataset):
        if isinstance(bad_pairs := getattr(part, 'bad_pairs', None), BadPairs):
            yield part, bad_pairs


def count_samples(dataset: Any) -> int:
    """Return the number of samples, without those that wrappers repeat."""
    inner = ('dataset', 'datasets')
    parts = [part for part in unwrap(dataset) if not any(hasattr(part, name) for name in inner)]
    return sum(map(len, parts))


def unwrap(dataset: Any) -> Iterator[Any]:
    """Yield a dataset and all datasets within it, as far as it wraps or concatenates others."""
    yield dataset
    for part in getattr(dataset, 'datasets', None) or [getattr(dataset, 'dataset', None)]:
        if part is not None:
            yield from unwrap(part)
