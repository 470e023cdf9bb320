"""Pairs that cannot be used, among others that can: found, named and left out."""

from collections.abc import Callable, Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor

import torch
from mmengine.logging import MMLogger
from torch.utils.data import Dataset

POLICIES = ('error', 'skip')


class BadPair(ValueError):
    """A pair that cannot be used; the message names it, and says why and what to do."""


class BadPairs:
    """The pairs that a dataset leaves out.

    Attributes:
        reasons: What is wrong with each pair that was left out from the start, by its path.
        count: Number of pairs that there were, with these.
        lost: (count,) uint8, 1 where a pair could not be used later on; in memory that a
            dataloader's workers share.
    """

    def __init__(self) -> None:
        self.reasons: dict[str, str] = {}
        self.count = 0
        self.lost = torch.zeros(0, dtype=torch.uint8)

    def leave_out(self, paths: Sequence[str], *, read: Callable[[str], object]) -> list[str]:
        """Reads all pairs once, and says of each that cannot be used why it is left out.

        Args:
            paths: The pairs.
            read: Raises ``BadPair`` or ``OSError`` for one that cannot be used.

        Returns:
            Those that can.

        Raises:
            ValueError: none of them can be used.
        """

        def problem(path: str) -> str | None:
            try:
                read(path)
            except (BadPair, OSError) as error:
                return str(error)
            return None

        with ThreadPoolExecutor() as pool:
            found = dict(zip(paths, pool.map(problem, paths), strict=True))
        self.reasons = {path: reason for path, reason in found.items() if reason}
        self.count = len(paths)
        good = [path for path in paths if not found[path]]
        if not good:
            first = next(iter(self.reasons.values()))
            raise ValueError(f'none of the {self.count} pairs can be used; of the first, {first}')
        logger = MMLogger.get_current_instance()
        for reason in self.reasons.values():
            logger.warning(f'left out: {reason}')
        if self.reasons:
            logger.warning(
                f"on_bad_pair='skip': {len(self.reasons)} of {self.count} pairs are left out"
            )
        self.lost = torch.zeros(len(good), dtype=torch.uint8).share_memory_()
        return good


def all_bad_pairs(dataset: Dataset) -> Iterator[tuple[Dataset, BadPairs]]:
    """Each dataset of pairs within any wrappers that leaves pairs out, with what it left out."""
    if isinstance(found := getattr(dataset, 'bad_pairs', None), BadPairs):
        yield dataset, found
    inner = getattr(dataset, 'datasets', None) or [getattr(dataset, 'dataset', None)]
    for part in inner:
        if isinstance(part, Dataset):
            yield from all_bad_pairs(part)
