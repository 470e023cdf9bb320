"""Reports the pairs that a dataset skips (``on_bad_pair='skip'``) where they change something."""

from typing import Any

from mmengine.dist import all_reduce
from mmengine.hooks import Hook
from mmengine.runner import Runner
from mmseg.registry import HOOKS
from torch.utils.data import Dataset

from pspnet_plugin.datasets.bad_pairs import find_bad_pairs
from pspnet_plugin.datasets.pair_backends import pair_path


@HOOKS.register_module()
class BadPairsHook(Hook):
    """Name the pairs that are lost during training, and count those that a score skips.

    The number of pairs that were not scored is logged with the score, as ``skipped_pairs``.

    Args:
        interval: Iterations between reports of newly lost pairs.
    """

    priority = 'HIGHEST'  # what it adds to the scores is logged with them

    def __init__(self, interval: int = 50) -> None:
        self.interval = interval
        self._reported: set[str] = set()

    def after_train_iter(
        self, runner: Runner, batch_idx: int, data_batch: Any = None, outputs: Any = None
    ) -> None:
        """Name pairs that were good at the start, and cannot be read any more."""
        if self.every_n_train_iters(runner, self.interval):
            self._report(runner)

    def after_train(self, runner: Runner) -> None:
        """Name the last ones, and count all."""
        self._report(runner)
        found = find_bad_pairs(runner.train_dataloader.dataset)
        skipped = sum(len(bad.reasons) for _, bad in found)
        if skipped or self._reported:
            runner.logger.warning(
                f'This training skipped {skipped} pairs from its start, and lost '
                f'{len(self._reported)} in its course'
            )

    def after_val_epoch(self, runner: Runner, metrics: dict | None = None) -> None:
        """Add the number of skipped pairs to the score."""
        self._add(runner, runner.val_dataloader.dataset, metrics)

    def after_test_epoch(self, runner: Runner, metrics: dict | None = None) -> None:
        """Add the number of skipped pairs to the score."""
        self._add(runner, runner.test_dataloader.dataset, metrics)

    def _report(self, runner: Runner) -> None:
        dataset: Any  # of pairs
        for dataset, bad in find_bad_pairs(runner.train_dataloader.dataset):
            lost = bad.lost.clone()
            all_reduce(lost, op='max')  # each process meets others
            for index in lost.nonzero().flatten().tolist():
                path = pair_path(dataset.get_data_info(index)['img_path'])
                if path not in self._reported:
                    self._reported.add(path)
                    runner.logger.warning(f'{path} can no longer be used; others take its place')

    @staticmethod
    def _add(runner: Runner, dataset: Dataset, metrics: dict | None) -> None:
        skipping = [bad for _, bad in find_bad_pairs(dataset) if bad.reasons]
        if not skipping or metrics is None:
            return
        metrics['skipped_pairs'] = sum(len(bad.reasons) for bad in skipping)
        count = sum(bad.count for bad in skipping)
        runner.logger.warning(
            f'{metrics["skipped_pairs"]} of {count} pairs are not in the score that follows'
        )
