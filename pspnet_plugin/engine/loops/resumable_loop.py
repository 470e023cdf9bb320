"""Training by iterations that resumes exactly.

Differs from stock ``IterBasedTrainLoop`` in the source of random choices (``sampling.py``), and in
finding its position in the data at once, also at iteration 100,000.
"""

import errno
from pathlib import Path

from mmengine.dist import get_world_size
from mmengine.hooks import CheckpointHook
from mmengine.registry import DATASETS
from mmengine.runner import IterBasedTrainLoop, Runner
from mmseg.registry import LOOPS
from torch import nn
from torch.utils.data import DataLoader

from pspnet_plugin.engine.hooks.checkpoint_hook import resume_hint
from pspnet_plugin.engine.loops.data_check import check_data
from pspnet_plugin.engine.loops.sampling import SeededDataset, seed_for_step
from pspnet_plugin.engine.loops.schedule import (
    check_schedule,
    follow_config,
    report_kept_options,
)
from pspnet_plugin.engine.pretrained import SCHEME

# Samplers whose order is a shuffled one, or the set's own, and so is known at any position.
PLAIN_SAMPLERS = ('InfiniteSampler', 'DefaultSampler', 'PositionSampler')
DISK_FULL = (errno.ENOSPC, errno.EDQUOT, errno.EFBIG)
# Keys of the message hub, in checkpoints.
POSITION = 'place_in_data'
VALIDATED_AT = 'validated_at'


@LOOPS.register_module()
class ResumableTrainLoop(IterBasedTrainLoop):
    """Stock ``IterBasedTrainLoop``, exactly resumable.

    A run that was killed and resumed has the weights, the optimizer's state and the losses of an
    undisturbed one: order and augmentation of samples follow from the run's seed and the sample's
    position in the run, dropout from seed, process and iteration. The seed is ``randomness.seed``
    or, without it, the drawn one that checkpoints hold. (CUDA kernels that compute differently
    twice, without ``randomness.deterministic``, still do.)

    With another number of processes, or another batch size, the run resumes at the sample where it
    stopped; the effects are logged.

    Args:
        runner: The runner.
        dataloader: Config of the training data; its sampler ``InfiniteSampler`` or
            ``DefaultSampler``, of which ``shuffle`` is used.
        **kwargs: Arguments of ``IterBasedTrainLoop``.

    Raises:
        ValueError: the dataloader is built already, or orders its samples in another way.
    """

    def __init__(self, runner: Runner, dataloader: dict, **kwargs) -> None:
        name = type(self).__name__
        if str(weights := runner._load_from).startswith(SCHEME):
            raise ValueError(
                f'load_from={weights}: these are weights of a backbone, and it takes a segmentor; '
                "give its backbone init_cfg=dict(type='Pretrained', checkpoint=...)"
            )
        if isinstance(dataloader, DataLoader):
            raise ValueError(f'{name} needs the config of its dataloader, got {dataloader}')
        sampler = dataloader.get('sampler') or dict(type='InfiniteSampler')
        if sampler['type'] not in PLAIN_SAMPLERS or dataloader.get('batch_sampler'):
            raise ValueError(
                f'{name} orders the samples itself, but train_dataloader has sampler={sampler}, '
                f'batch_sampler={dataloader.get("batch_sampler")}; give it one of {PLAIN_SAMPLERS} '
                "alone, or take train_cfg.type='IterBasedTrainLoop', which does not resume exactly"
            )
        dataset = dataloader['dataset']
        if isinstance(dataset, dict):
            dataset = DATASETS.build(dataset)
            if hasattr(dataset, 'full_init'):
                dataset.full_init()
        self._dataset, seed = dataset, runner.seed
        sampler = dict(type='PositionSampler', shuffle=sampler.get('shuffle', True), seed=seed)
        config = dict(dataloader, dataset=SeededDataset(dataset, seed=seed), sampler=sampler)
        seeded = runner.build_dataloader(config)
        # Stock may ask its loader for an iterator at once; that of this one starts nothing.
        super().__init__(runner, DataLoader(seeded.dataset), **kwargs)
        self.dataloader = seeded
        del self.dataloader_iterator

    def run(self) -> nn.Module:
        """Train from the iteration that the runner was resumed at, or the first."""
        check_data(self.runner, self._dataset)
        check_schedule(self.runner, self._schedule_length)
        if self._iter >= self._max_iters:
            self.runner.logger.warning(
                f'The checkpoint is of iteration {self._iter} of {self._max_iters}: nothing to '
                f'train. Set train_cfg.max_iters above {self._iter} to resume.'
            )
        elif self._iter:
            follow_config(self.runner, self._schedule_position)
            report_kept_options(self.runner)
        self.runner.call_hook('before_train')
        self.runner.call_hook('before_train_epoch')
        self._find_position()
        try:
            self._train()
            self._save_last()
        except OSError as error:
            if error.errno not in DISK_FULL:
                raise
            hint = resume_hint(self.runner.work_dir)
            message = f'{error.strerror}, at iteration {self._iter + 1}; {hint}'
            raise OSError(error.errno, message, error.filename) from error
        self.runner.call_hook('after_train_epoch')
        self.runner.call_hook('after_train')
        return self.runner.model

    @property
    def _schedule_length(self) -> int:
        """Number of iterations that schedulers are to cover."""
        return self._max_iters

    @property
    def _schedule_position(self) -> int | None:
        """Iteration of the schedule, if it is that of the training."""
        return self._iter

    def _save_last(self) -> None:
        """Save the last step where nobody knew before that it was: at a stop, or out of time."""
        saved = self.runner.message_hub.runtime_info.get('last_ckpt') or ''
        for hook in self.runner.hooks:
            if not isinstance(hook, CheckpointHook) or hook.by_epoch or not hook.save_last:
                continue
            if Path(saved).name != hook.filename_tmpl.format(self._iter):
                meta = dict(epoch=self.runner.epoch, iter=self._iter)
                hook._save_checkpoint_with_step(self.runner, self._iter, meta)

    def _train(self) -> None:
        if self._iter:
            self._validate_if_missed()
        batches = iter(self.dataloader)
        while self._iter < self._max_iters and not self.stop_training:
            self.runner.model.train()
            self.run_iter(next(batches))
            self._decide_current_val_interval()
            if self._is_time_to_validate():
                self._validate()

    def run_iter(self, data_batch: dict) -> None:
        """Train one step; a checkpoint that hooks save after it holds the position behind it."""
        self._position['samples'] += self._per_step
        self.runner.message_hub.update_info(POSITION, dict(self._position))
        seed_for_step(self.runner.seed, self._iter)
        super().run_iter(data_batch)

    def _validate_if_missed(self) -> None:
        # A checkpoint is saved before the validation of its iteration, and again after it only as
        # the best one: a run killed in between would lose a score.
        self._decide_current_val_interval()
        validated = self.runner.message_hub.runtime_info.get(VALIDATED_AT)
        if self._is_time_to_validate() and validated != self._iter:
            self.runner.logger.info(
                f'Iteration {self._iter} was saved before its validation: validating first.'
            )
            self._validate()

    def _validate(self) -> None:
        self.runner.message_hub.update_info(VALIDATED_AT, self._iter)
        self.runner.val_loop.run()

    def _is_time_to_validate(self) -> bool:
        at_interval = self._iter % self.val_interval == 0 or self._iter == self._max_iters
        return self.runner.val_loop is not None and self._iter >= self.val_begin and at_interval

    def _find_position(self) -> None:
        now = dict(processes=get_world_size(), batch_size=self.dataloader.batch_size)
        self._per_step = now['processes'] * now['batch_size']
        before = self.runner.message_hub.runtime_info.get(POSITION) if self._iter else None
        samples = before['samples'] if before else self._iter * self._per_step
        images = len(self._dataset)
        self._position = dict(now, samples=samples, images=images)
        if before and before.get('images', images) != images:
            self.runner.logger.warning(
                f'The checkpoint was trained on {before["images"]} images, and there are {images}. '
                'Where train and val are folds of one set, some have changed sides, and scores '
                'flatter: start a new run, without --resume.'
            )
        if self._iter and not before:
            self.runner.logger.warning(
                f'The checkpoint at iteration {self._iter} was not made by {type(self).__name__}: '
                f'this run resumes at sample {samples}, but not exactly.'
            )
        elif before and {key: before[key] for key in now} != now:
            self.runner.logger.warning(
                f'The checkpoint was made by {before["processes"]} processes with '
                f'{before["batch_size"]} samples each; now there are {now["processes"]} with '
                f'{now["batch_size"]}. Training resumes at sample {samples}; from here a step '
                f'averages {self._per_step} samples, not '
                f'{before["processes"] * before["batch_size"]}, by the same learning rate.'
            )
        self.dataloader.sampler.start = samples
        # If the config names no seed, a resumed run gets that of its checkpoint only now.
        dataset = self.dataloader.dataset
        if not isinstance(dataset, SeededDataset):  # wrapped because of num_batch_per_epoch
            dataset = dataset._dataset
        self.dataloader.sampler.seed = dataset.seed = self.runner.seed
