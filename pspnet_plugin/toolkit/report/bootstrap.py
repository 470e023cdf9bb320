"""Bootstrap over the images of a set: how far scores would vary with other images of the kind.

The ranges are a lower bound. Measured on 500 street images with 19 classes, of which sets of M were
drawn 200 times, the range of a set holds the accuracy over all 500 in 86 % (M = 10), 91 % (30) and
96 % (100) of the draws, but their mIoU in 30 %, 60 % and 84 %: few images do not show how much a
class varies.

``scipy.stats.bootstrap`` gathers every resample, which takes three to eight times as long as the
matrix product here, and has no quantiles that skip the resamples without a class.

M is the number of images, K of classes, R of resamples.
"""

import warnings

import numpy as np

RESAMPLES = 1000
QUANTILES = (2.5, 97.5)  # in percent
MIN_IMAGES = 10  # resamples of fewer are so alike that a range would promise too much
ENOUGH_IMAGES = 100  # for fewer, a report warns that the range of mIoU is too narrow


def resample(areas: np.ndarray, *, count: int = RESAMPLES, seed: int = 0) -> np.ndarray:
    """Sum the (4, K) areas of M images drawn with replacement, R times: (R, 4, K) float64.

    Sets of one size share their draws, so that runs are comparable.
    """
    images = len(areas)
    rng = np.random.default_rng(seed)
    draws = rng.multinomial(images, np.full(images, 1 / images), size=count)  # (R, M)
    # Pixel counts are exact in float64, whose products are many times faster than int64's.
    flat = areas.reshape(images, -1).astype(np.float64)  # (M, 4 K)
    return (draws.astype(np.float64) @ flat).reshape(count, *areas.shape[1:])


def score_ranges(areas: np.ndarray) -> dict[str, np.ndarray]:
    """Bootstrap ``mIoU`` (2,), ``aAcc`` (2,) and ``IoU`` (K, 2) in percent from (M, 4, K) areas.

    A class that a resample does not hold is ignored there, as in the scores themselves. NaN: too
    few images hold the class.
    """
    inter, union, _, truth = resample(areas).transpose(1, 0, 2)  # 4 x (R, K)
    with np.errstate(invalid='ignore'):
        iou = inter / union  # (R, K)
        means = np.nansum(iou, 1) / (union > 0).sum(1)
        values = 100 * np.column_stack([iou, means, inter.sum(1) / truth.sum(1)])  # (R, K + 2)
    images = [*(areas[:, 3] > 0).sum(0), len(areas), len(areas)]  # that hold each class, or all
    with warnings.catch_warnings():
        warnings.simplefilter('ignore', RuntimeWarning)  # of a class that no image holds
        ranges = np.nanpercentile(values, QUANTILES, axis=0).T  # (K + 2, 2)
    ranges[np.array(images) < MIN_IMAGES] = np.nan
    return dict(mIoU=ranges[-2], aAcc=ranges[-1], IoU=ranges[:-2])


def format_range(bounds: np.ndarray) -> str:
    """Format a range as ``'42.1 to 46.9'``; as ``''`` if it is unknown or empty."""
    low, high = bounds
    return '' if np.isnan(low) or low == high else f'{low:.1f} to {high:.1f}'
