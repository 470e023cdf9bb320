"""Where a training stands in its data, and the random choices that follow from that alone.

A run over a data set of N samples is one endless sequence: a permutation of the set, then another.
Sample number p of it is drawn, and augmented, by the run's seed and p: not by which worker has it,
what that worker did before, or how many processes there are. So a run can go on at any p, as if it
had never stopped, without reading what comes before it.
"""

import random
from collections.abc import Iterator, Sized

import numpy as np
import torch
from mmengine.dist import get_rank, get_world_size
from mmseg.registry import DATA_SAMPLERS
from torch.utils.data import Dataset, Sampler

# What a seed is for: the same number serves each use with other random numbers.
_ORDER, _SAMPLE, _STEP = range(3)


def permutation(size: int, *, seed: int, number: int) -> np.ndarray:
    """The order of the samples in pass ``number`` over ``size`` of them."""
    return np.random.default_rng((seed, _ORDER, number)).permutation(size)


def seed_for_sample(seed: int, position: int) -> None:
    """Seeds what transforms draw from: ``random``, ``numpy.random`` and torch, on the CPU."""
    torch.default_generator.manual_seed(_seed_numpy((seed, _SAMPLE, position)))


def seed_for_step(seed: int, iteration: int) -> None:
    """The same for a step of training in this process: dropout, augmentation of whole batches."""
    # On every device, which takes ten times as long as the CPU alone: too long for each sample.
    torch.manual_seed(_seed_numpy((seed, _STEP, get_rank(), iteration)))


def _seed_numpy(key: tuple[int, ...]) -> int:
    words = np.random.SeedSequence(key).generate_state(4)
    random.seed(int(words[0]))
    np.random.seed(words[1])
    return int(words[2]) << 32 | int(words[3])


@DATA_SAMPLERS.register_module()
class PositionSampler(Sampler):
    """Yields ``(position, index)`` without end, every ``world_size``-th from ``start + rank``.

    Args:
        dataset: What is sampled.
        shuffle: Whether each pass has an order of its own; else the set's.
        seed: Of the run; may be set until the first sample is asked for.
    """

    def __init__(self, dataset: Sized, shuffle: bool = True, seed: int | None = None) -> None:
        self.size = len(dataset)
        self.shuffle = shuffle
        self.seed = seed
        self.start = 0

    def __iter__(self) -> Iterator[tuple[int, int]]:
        position, number, order = self.start + get_rank(), None, None
        while True:
            if number != position // self.size:
                number = position // self.size
                order = (
                    permutation(self.size, seed=self.seed, number=number)
                    if self.shuffle
                    else np.arange(self.size)
                )
            yield position, int(order[position % self.size])
            position += get_world_size()

    def __len__(self) -> int:
        return self.size


class SeededDataset(Dataset):
    """A dataset whose samples depend on the seed, their index and their position only.

    Args:
        dataset: Any dataset with the framework's transforms.
        seed: Of the run; may be set until the first sample is asked for.
    """

    def __init__(self, dataset: Dataset, *, seed: int | None = None) -> None:
        self.dataset = dataset
        self.seed = seed

    @property
    def metainfo(self) -> dict:
        """That of the dataset."""
        return self.dataset.metainfo

    def __len__(self) -> int:
        return len(self.dataset)

    def __getitem__(self, place: tuple[int, int]) -> dict:
        position, index = place
        seed_for_sample(self.seed, position)
        return self.dataset[index]
