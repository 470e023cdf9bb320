"""Pixels of each class, and the scores that they make, over one picture or many.

K is the number of classes; areas are (4, K): pixels of intersection, union, prediction and truth.
"""

import numpy as np
import torch
from mmseg.evaluation import IoUMetric

from pspnet_plugin.labels.palettes import IGNORE_INDEX


def areas(labels: np.ndarray, truth: np.ndarray, classes: int) -> np.ndarray:
    """(4, K) int64: areas of a picture.

    Args:
        labels: (H, W), what is predicted.
        truth: (H, W), 255 where ignored.
        classes: K.
    """
    known = truth != IGNORE_INDEX
    predicted, labelled = labels[known], truth[known]
    counted = (predicted[predicted == labelled], predicted, labelled)
    inter, *sums = (np.bincount(values, minlength=classes)[:classes] for values in counted)
    return np.stack([inter, sum(sums) - inter, *sums])


def areas_of(confusion: np.ndarray) -> np.ndarray:
    """(4, K) int64: areas of a (K, K) confusion matrix, truth in rows."""
    inter, predicted, labelled = np.diag(confusion), confusion.sum(0), confusion.sum(1)
    return np.stack([inter, predicted + labelled - inter, predicted, labelled])


def scores(areas: np.ndarray) -> dict[str, float | np.ndarray]:
    """``aAcc``, ``mIoU`` and ``mDice``, and ``IoU`` as (K,), in percent, by stock ``IoUMetric``.

    NaN: a class that is neither labelled nor predicted; it does not count in the means.
    """
    found = IoUMetric.total_area_to_metrics(
        *torch.as_tensor(areas, dtype=torch.float64), metrics=['mIoU', 'mDice']
    )
    return dict(
        aAcc=100 * float(found['aAcc']),
        mIoU=100 * mean(found['IoU']),
        mDice=100 * mean(found['Dice']),
        IoU=100 * found['IoU'],
    )


def mean(values: np.ndarray) -> float:
    """Of those that are numbers; NaN if none is."""
    return float(np.nanmean(values)) if not np.isnan(values).all() else float('nan')
