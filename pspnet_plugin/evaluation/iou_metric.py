"""Stock IoU metric that logs the values of single classes, by one or several label rules."""

from collections.abc import Mapping, Sequence

import torch
from mmengine.logging import print_log
from mmseg.datasets.transforms import LoadAnnotations
from mmseg.evaluation import IoUMetric
from mmseg.registry import METRICS

from pspnet_plugin.datasets.pair_backends import with_decoding


@METRICS.register_module()
class ClasswiseIoUMetric(IoUMetric):
    """Stock ``IoUMetric`` that also returns each class by name, and the coverage of the labels.

    Beside stock's values: ``IoU.road`` and so on for each class and, with ``'mDice'``,
    ``Dice.road``, in percent (NaN: the class is neither labelled nor predicted anywhere; it does
    not count in the mean); ``coverage``, the percentage of pixels that are labelled with a class.

    Args:
        decode: Arguments of ``LabelDecoder`` (``rule`` and its numbers, no palette) for the labels
            of pairs, in place of those of the dataset. None: as the dataset decodes them.
        also: The same by name, for more rules; their values are called ``NAME/mIoU`` and so on.
        backend_args: Options of the files of pairs, as in the loading transforms.
        **kwargs: Other arguments of ``IoUMetric``.

    Raises:
        ValueError: a rule is given, but labels do not come from pairs, or were resized or cropped.
    """

    # Set by stock.
    results: list
    output_dir: str | None

    def __init__(
        self,
        *,
        decode: Mapping | None = None,
        also: Mapping[str, Mapping] | None = None,
        backend_args: dict | None = None,
        **kwargs,
    ) -> None:
        super().__init__(**kwargs)
        self.rules = {'': decode, **(also or {})}
        self._load = LoadAnnotations(backend_args=backend_args)

    def process(self, data_batch: dict, data_samples: Sequence[dict]) -> None:
        """Count a batch of predictions, shape (1, H, W) each, against its labels."""
        done, self.results = self.results, []
        counts, output_dir = [], self.output_dir
        for decode in self.rules.values():
            samples = [self._decoded(sample, decode) for sample in data_samples]
            super().process(data_batch, samples)
            if self.format_only:  # predictions are only written
                break
            pixels = [sample['gt_sem_seg']['data'].numel() for sample in samples]
            counts.append([(*a, n) for a, n in zip(self.results, pixels, strict=True)])
            self.results, self.output_dir = [], None  # predictions are written once
        self.output_dir = output_dir
        self.results = [*done, *zip(*counts, strict=True)]

    def _decoded(self, sample: dict, decode: Mapping | None) -> dict:
        """Return the sample with its labels decoded by another rule."""
        if decode is None or self.format_only:
            return sample
        uri, labels = sample.get('seg_map_path', ''), sample['gt_sem_seg']['data']
        other_uri = with_decoding(uri, decode)
        if other_uri == uri:
            return sample
        record = dict(label_map=None, reduce_zero_label=False)
        record.update((key, self.dataset_meta[key]) for key in record if key in self.dataset_meta)
        decoded = self._load(dict(record, seg_map_path=other_uri, seg_fields=[]))['gt_seg_map']
        if decoded.shape != labels.shape[-2:]:
            raise ValueError(
                f'{uri}: labels of {decoded.shape} pixels are scored as {tuple(labels.shape[-2:])};'
                ' a rule of ClasswiseIoUMetric needs a test pipeline that transforms no labels'
            )
        data = torch.from_numpy(decoded).to(labels.device)[None]
        return {**sample, 'gt_sem_seg': dict(data=data)}

    def compute_metrics(self, results: list) -> dict[str, float]:
        """Return stock's values and those of the classes, in percent, by each rule."""
        if self.format_only:
            return super().compute_metrics(results)
        metrics = {}
        for name, counts in zip(self.rules, zip(*results, strict=True), strict=True):
            prefix = f'{name}/' if name else ''
            if len(self.rules) > 1:  # each has a table
                rule = self.rules[name] or 'as the dataset decodes them'
                print_log(f'{name or "The main scores"}, labels: {rule}', logger='current')
            values = self._values(counts)
            metrics.update({f'{prefix}{key}': value for key, value in values.items()})
        return metrics

    def _values(self, counts: Sequence[tuple]) -> dict[str, float]:
        *areas, pixels = zip(*counts, strict=True)
        metrics = super().compute_metrics(list(zip(*areas, strict=True)))
        totals = [sum(area) for area in areas]
        by_class = self.total_area_to_metrics(*totals, self.metrics, self.nan_to_num, self.beta)
        for name in [n for n in ('IoU', 'Dice') if n in by_class]:  # stock's table has the others
            for label, value in zip(self.dataset_meta['classes'], by_class[name], strict=True):
                metrics[f'{name}.{label}'] = round(float(value) * 100, 2)
        metrics['coverage'] = round(float(totals[3].sum()) / sum(pixels) * 100, 2)
        return metrics


def main_rule(evaluator: dict | Sequence[dict] | None) -> dict | None:
    """Return the rule of an evaluator's scores without a prefix; None: that of the dataset."""
    for metric in [evaluator] if isinstance(evaluator, dict) else evaluator or []:
        if metric.get('type') == 'ClasswiseIoUMetric':
            decode = metric.get('decode')
            return dict(rule='edge_aware') | dict(decode) if decode else None
    return None
