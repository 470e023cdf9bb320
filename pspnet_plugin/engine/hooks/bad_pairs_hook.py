"""Reports pairs that a dataset leaves out (``on_bad_pair='skip'``), beside what they change."""

from mmengine.dist import all_reduce
from mmengine.hooks import Hook
from mmengine.runner import Runner
from mmseg.registry import HOOKS
from torch.utils.data import Dataset

from pspnet_plugin.datasets.bad_pairs import find_bad_pairs
from pspnet_plugin.datasets.pair_backends import pair_path


@HOOKS.register_module()
class BadPairsHook(Hook):
    """Says which pairs were lost during training, and how many a score leaves out.

    The number of pairs that were not scored is logged with the score, as ``skipped_pairs``.

    Args:
        interval: Iterations after which newly lost pairs are reported.
    """

    priority = 'HIGHEST'  # what it adds to the scores is logged with them

    def __init__(self, interval: int = 50) -> None:
        self.interval = interval
        self._reported: set[str] = set()

    def after_train_iter(
        self, runner: Runner, batch_idx: int, data_batch=None, outputs=None
    ) -> None:
        """Names pairs that were there at the start, and cannot be used any more."""
        if self.every_n_train_iters(runner, self.interval):
            self._report(runner)

    def after_train(self, runner: Runner) -> None:
        """Names the last ones, and counts all."""
        self._report(runner)
        out = sum(len(bad.reasons) for _, bad in find_bad_pairs(runner.train_dataloader.dataset))
        if out or self._reported:
            runner.logger.warning(
                f'{out} pairs were left out of this training from its start, and '
                f'{len(self._reported)} in its course'
            )

    def after_val_epoch(self, runner: Runner, metrics: dict | None = None) -> None:
        """Puts the number of pairs that were not scored beside the score."""
        self._add(runner, runner.val_dataloader.dataset, metrics)

    def after_test_epoch(self, runner: Runner, metrics: dict | None = None) -> None:
        """The same for a test."""
        self._add(runner, runner.test_dataloader.dataset, metrics)

    def _report(self, runner: Runner) -> None:
        for dataset, bad in find_bad_pairs(runner.train_dataloader.dataset):
            lost = bad.lost.clone()
            all_reduce(lost, op='max')  # each process meets others
            for index in lost.nonzero().flatten().tolist():
                path = pair_path(dataset.get_data_info(index)['img_path'])
                if path not in self._reported:
                    self._reported.add(path)
                    runner.logger.warning(
                        f'{path} can no longer be used, and others take its place'
                    )

    @staticmethod
    def _add(runner: Runner, dataset: Dataset, metrics: dict | None) -> None:
        found = [bad for _, bad in find_bad_pairs(dataset) if bad.reasons]
        if not found or metrics is None:
            return
        out, count = sum(len(bad.reasons) for bad in found), sum(bad.count for bad in found)
        metrics['skipped_pairs'] = out
        runner.logger.warning(f'{out} of {count} pairs are not in the score that follows')
