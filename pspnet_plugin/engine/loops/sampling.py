"""The order of a training's samples, and their random numbers, as functions of seed and position.

A run over a dataset of N samples is one endless sequence: a permutation of the set, then another.
The sample at position p is drawn and augmented by the run's seed and p alone, whichever worker of
whichever process has it. So a run can resume at any position without reading what comes before it.
"""

import random
from collections.abc import Iterator, Sized
from typing import Any

import numpy as np
import torch
from mmengine.dist import get_rank, get_world_size
from mmseg.registry import DATA_SAMPLERS
from torch.utils.data import Dataset, Sampler

# Purposes of a seed: each draws other random numbers from it.
_ORDER, _SAMPLE, _STEP = range(3)


def permutation(size: int, *, seed: int, number: int) -> np.ndarray:
    """Return the order of the samples in pass ``number`` over ``size`` of them."""
    return np.random.default_rng((seed, _ORDER, number)).permutation(size)


def seed_for_step(seed: int, iteration: int) -> None:
    """Seed a training step in this process: dropout, augmentation of whole batches."""
    # On every device, which takes ten times as long as the CPU alone: too long for each sample.
    torch.manual_seed(_seed_numpy((seed, _STEP, get_rank(), iteration)))


def _seed_numpy(key: tuple[int, ...]) -> int:
    words = np.random.SeedSequence(key).generate_state(4)
    random.seed(int(words[0]))
    np.random.seed(words[1])
    return int(words[2]) << 32 | int(words[3])


@DATA_SAMPLERS.register_module()
class PositionSampler(Sampler):
    """Sampler that starts at any position.

    It yields ``(position, index)`` without end, every ``world_size``-th from ``start + rank``. With
    ``shuffle``, each pass over the dataset has an order of its own.
    """

    def __init__(self, dataset: Sized, shuffle: bool = True, seed: int = 0) -> None:
        self.size = len(dataset)
        self.shuffle = shuffle
        self.seed = seed
        self.start = 0

    def __iter__(self) -> Iterator[tuple[int, int]]:
        position, number = self.start + get_rank(), -1
        order = np.arange(self.size)
        while True:
            if self.shuffle and number != position // self.size:
                number = position // self.size
                order = permutation(self.size, seed=self.seed, number=number)
            yield position, int(order[position % self.size])
            position += get_world_size()

    def __len__(self) -> int:
        return self.size


class SeededDataset(Dataset):
    """Dataset whose samples depend on seed, index and position only."""

    def __init__(self, dataset: Any, *, seed: int = 0) -> None:
        self.dataset = dataset
        self.seed = seed

    @property
    def metainfo(self) -> dict:
        """Classes and palette of the dataset."""
        return self.dataset.metainfo

    def __len__(self) -> int:
        return len(self.dataset)

    def __getitem__(self, place: tuple[int, int]) -> dict:
        position, index = place
        # The generators of transforms: ``random``, ``numpy.random`` and torch, on the CPU.
        torch.default_generator.manual_seed(_seed_numpy((self.seed, _SAMPLE, position)))
        return self.dataset[index]
