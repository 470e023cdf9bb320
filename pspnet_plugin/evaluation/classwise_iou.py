"""Stock IoU metric whose values of single classes are logged, not printed in a table only.

Of pairs it can also read the labels by a rule of its own, so that one pass over the pictures is
scored by several.
"""

from collections.abc import Sequence

import cv2
import numpy as np
import torch
from mmengine import fileio
from mmseg.evaluation import IoUMetric
from mmseg.registry import METRICS

from pspnet_plugin.datasets.pair_files import read_by

# Values of a class that are logged; the others stand in the table of stock.
LOGGED = ('IoU', 'Dice')


@METRICS.register_module()
class ClasswiseIoUMetric(IoUMetric):
    """Stock ``IoUMetric``, which also returns each class by name, and the coverage of the labels.

    Beside stock's values: ``IoU.road`` and so on for each class and, with ``'mDice'``,
    ``Dice.road``, in percent (NaN: the class is neither labelled nor predicted anywhere; it does
    not count in the mean); ``coverage``, the percentage of pixels that are labelled with a class.

    Args:
        decode: Arguments of ``LabelCodec`` (``rule`` and its numbers) by which the labels of pairs
            are read here, whatever the dataset reads them by. None: as the dataset does. Name the
            metric by ``prefix`` where there are several.
        **kwargs: Arguments of ``IoUMetric``.

    Raises:
        ValueError: ``decode`` is given, but labels do not come from pairs, or are not whole.
    """

    def __init__(self, *, decode: dict | None = None, **kwargs) -> None:
        super().__init__(**kwargs)
        self.decode = decode

    def process(self, data_batch: dict, data_samples: Sequence[dict]) -> None:
        """Counts a batch of predictions, shape (1, H, W) each, against its labels."""
        if self.decode is not None and not self.format_only:
            data_samples = [self._read_again(sample) for sample in data_samples]
        before = len(self.results)
        super().process(data_batch, data_samples)
        counted = self.results[before:]  # nothing where predictions are only written
        self.results[before:] = [
            (*areas, sample['gt_sem_seg']['data'].numel())
            for areas, sample in zip(counted, data_samples, strict=False)
        ]

    def _read_again(self, sample: dict) -> dict:
        uri, known = sample.get('seg_map_path', ''), sample['gt_sem_seg']['data']
        content = np.frombuffer(fileio.get(read_by(uri, self.decode)), np.uint8)
        labels = cv2.imdecode(content, cv2.IMREAD_UNCHANGED)
        if label_map := self.dataset_meta.get('label_map'):  # of a subset of the classes
            labels = np.array([label_map.get(i, i) for i in range(256)], np.uint8)[labels]
        if labels.shape != known.shape[-2:]:
            raise ValueError(
                f'{uri}: labels of {labels.shape} pixels are scored as {tuple(known.shape[-2:])}; '
                'ClasswiseIoUMetric(decode=...) needs the pairs at their own size: no transform '
                'of labels in the test pipeline'
            )
        return {**sample, 'gt_sem_seg': dict(data=torch.from_numpy(labels).to(known.device)[None])}

    def compute_metrics(self, results: list) -> dict[str, float]:
        """The values of stock, and those of the classes, in percent."""
        if self.format_only:
            return super().compute_metrics(results)
        *areas, pixels = zip(*results, strict=True)
        metrics = super().compute_metrics(list(zip(*areas, strict=True)))
        totals = [sum(area) for area in areas]
        by_class = self.total_area_to_metrics(*totals, self.metrics, self.nan_to_num, self.beta)
        for name in LOGGED:
            if name not in by_class:
                continue
            for label, value in zip(self.dataset_meta['classes'], by_class[name], strict=True):
                metrics[f'{name}.{label}'] = round(float(value) * 100, 2)
        metrics['coverage'] = round(float(totals[3].sum()) / sum(pixels) * 100, 2)
        return metrics
