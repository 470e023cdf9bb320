"""Pixel counts of each class, and the scores that follow from them, over one image or many.

Shape shorthand in this module: K: number of classes; areas are (4, K): pixels of intersection,
union, prediction and truth.
"""

import numpy as np
import torch
from mmseg.evaluation import IoUMetric

from pspnet_plugin.labels.palettes import IGNORE_INDEX


def areas(labels: np.ndarray, truth: np.ndarray, classes: int) -> np.ndarray:
    """Count the (4, K) int64 areas of (H, W) predicted ``labels``; 255 in ``truth`` is ignored."""
    known = truth != IGNORE_INDEX
    predicted, labelled = labels[known], truth[known]
    counted = (predicted[predicted == labelled], predicted, labelled)
    inter, *sums = (np.bincount(values, minlength=classes)[:classes] for values in counted)
    return np.stack([inter, sum(sums) - inter, *sums])


def areas_of(confusion: np.ndarray) -> np.ndarray:
    """Sum up a (K, K) confusion matrix, truth in rows, to (4, K) int64."""
    inter, predicted, labelled = np.diag(confusion), confusion.sum(0), confusion.sum(1)
    return np.stack([inter, predicted + labelled - inter, predicted, labelled])


def scores(areas: np.ndarray) -> dict[str, float | np.ndarray]:
    """Compute ``aAcc``, ``mIoU``, ``mDice`` and the (K,) ``IoU`` as ``IoUMetric`` does, in percent.

    NaN: a class that is neither labelled nor predicted; it does not count in the means.
    """
    metrics = IoUMetric.total_area_to_metrics(
        *torch.as_tensor(areas, dtype=torch.float64), metrics=['mIoU', 'mDice']
    )
    return dict(
        aAcc=100 * float(metrics['aAcc']),
        mIoU=100 * mean(metrics['IoU']),
        mDice=100 * mean(metrics['Dice']),
        IoU=100 * metrics['IoU'],
    )


def mean(values: np.ndarray) -> float:
    """Return the mean of the values that are not NaN; NaN if all are."""
    return float(np.nanmean(values)) if not np.isnan(values).all() else float('nan')
