"""Stock IoU metric whose values of single classes are logged, not printed in a table only."""

from collections.abc import Sequence

from mmseg.evaluation import IoUMetric
from mmseg.registry import METRICS

# Values of a class that are logged; the others stand in the table of stock.
LOGGED = ('IoU', 'Dice')


@METRICS.register_module()
class ClasswiseIoUMetric(IoUMetric):
    """Stock ``IoUMetric``, which also returns each class by name, and the coverage of the labels.

    Beside stock's values: ``IoU.road`` and so on for each class and, with ``'mDice'``,
    ``Dice.road``, in percent (NaN: the class is neither labelled nor predicted anywhere; it does
    not count in the mean); ``coverage``, the percentage of pixels that are labelled with a class.

    Args:
        **kwargs: Arguments of ``IoUMetric``.
    """

    def process(self, data_batch: dict, data_samples: Sequence[dict]) -> None:
        """Counts a batch of predictions, shape (1, H, W) each, against its labels."""
        before = len(self.results)
        super().process(data_batch, data_samples)
        counted = self.results[before:]  # nothing where predictions are only written
        self.results[before:] = [
            (*areas, sample['gt_sem_seg']['data'].numel())
            for areas, sample in zip(counted, data_samples, strict=False)
        ]

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
