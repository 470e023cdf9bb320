"""Pixels of each class in label maps, and classes without any."""

from collections.abc import Sequence
from functools import partial
from pathlib import Path

import numpy as np

from pspnet_plugin.toolkit.conversion.label_format import LabelFormat
from pspnet_plugin.toolkit.conversion.label_maps import read_labels
from pspnet_plugin.utils.jobs import run_jobs

SAMPLED_FILES = 500  # evenly spaced


def sample(paths: Sequence[Path], count: int = SAMPLED_FILES) -> Sequence[Path]:
    """Return about so many of the paths, evenly spaced."""
    return paths[:: max(len(paths) // count, 1)]


def count_pixels(path: Path, *, label_format: LabelFormat) -> np.ndarray:
    """Count the (K,) pixels of each class in a label map; zeros if it is unusable."""
    try:
        labels = read_labels(path, label_format)
    except (OSError, ValueError):  # reported where the pair is made
        return np.zeros(label_format.num_classes, np.int64)
    return np.bincount(labels.ravel(), minlength=256)[: label_format.num_classes]


def find_absent(paths: Sequence[Path], label_format: LabelFormat, *, workers: int) -> list[int]:
    """Find the classes without a pixel, in a sample and, as long as one is missing, in all."""
    count = partial(count_pixels, label_format=label_format)
    absent = np.ones(label_format.num_classes, bool)
    for path in sample(paths):
        absent &= count(path) == 0
        if not absent.any():
            return []
    if len(sampled := {*sample(paths)}) < len(paths):
        rest = [path for path in paths if path not in sampled]
        for _, pixels in run_jobs(count, rest, workers=workers, unit='label map'):
            absent &= pixels == 0
    return np.flatnonzero(absent).tolist()
