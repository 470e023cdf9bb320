"""Keeps what a table of results needs of a run: what was done, on what, how long, how well.

Stock logs hold the curves; they do not hold by which rule labels were read when a score was
computed, nor the hardware and the wall-clock time of all parts of a resumed run in one place.
"""

import json
import os
import time
from collections.abc import Iterable, Sequence
from datetime import datetime, timezone
from numbers import Real
from pathlib import Path

import torch
from mmengine.dist import get_world_size, is_main_process
from mmengine.hooks import Hook
from mmengine.optim import AmpOptimWrapper, OptimWrapper, OptimWrapperDict
from mmengine.runner import BaseLoop, Runner
from mmseg.registry import HOOKS
from torch.utils.data import Dataset

from pspnet_plugin.evaluation.iou_metric import ClasswiseIoUMetric
from pspnet_plugin.labels.decoder import LabelDecoder
from pspnet_plugin.utils.environment import BEGUN, describe_machine, peak_of_process
from pspnet_plugin.utils.jobs import write_atomic

RECORD = 'run_record.json'


@HOOKS.register_module()
class RunRecordHook(Hook):
    """Writes ``run_record.json`` into the work dir, and goes on in the one that is there.

    It holds ``parts``, one for each start of a training (config, seed, hardware, versions, seconds
    since the process began, iterations, peak memory in bytes, whether it came to its end), and
    ``scores``, one for each validation or test and each rule in it (iteration, split, how labels
    were read, number of pairs, when it ended, seconds, values).
    """

    priority = 'VERY_LOW'  # after the hooks that add to the scores

    def before_train(self, runner: Runner) -> None:
        """Begins a part."""
        loader = runner.train_dataloader
        self._part = dict(
            config=Path(runner.cfg.filename or '').name,
            log=runner.timestamp,
            seed=runner.seed,
            started=_now(),
            **describe_machine(),
            precision=_precision(runner.optim_wrapper),
            processes=get_world_size(),
            batch_size=loader.batch_size,
            train_pairs=len(loader.dataset),
            first_iteration=runner.iter,
        )
        self._add('parts', self._part, runner)

    def before_save_checkpoint(self, runner: Runner, checkpoint: dict) -> None:
        """Keeps how far the part has come: what is resumed is resumed from here."""
        self._keep_part(runner, iteration=checkpoint['meta']['iter'])

    def after_train(self, runner: Runner) -> None:
        """Ends the part."""
        self._part['ended'] = True
        self._keep_part(runner)
        runner.logger.info(
            f'Trained. {Path(runner.work_dir) / "last_checkpoint"} names the weights; what they '
            f'can do: python tools/analysis_tools/report.py {runner.work_dir}'
        )

    def before_val_epoch(self, runner: Runner) -> None:
        """Starts the clock."""
        self._scoring = time.time()

    def after_val_epoch(self, runner: Runner, metrics: dict | None = None) -> None:
        """Keeps a score, and how far the part has come."""
        self._score(runner, 'val', runner.val_loop, metrics)
        self._keep_part(runner)

    def before_test_epoch(self, runner: Runner) -> None:
        """Starts the clock."""
        self._scoring = time.time()

    def after_test_epoch(self, runner: Runner, metrics: dict | None = None) -> None:
        """Keeps a score."""
        self._score(runner, 'test', runner.test_loop, metrics)

    def _score(self, runner: Runner, kind: str, loop: BaseLoop, metrics: dict | None) -> None:
        dataset = loop.dataloader.dataset
        split = getattr(dataset, 'data_prefix', {}).get('img_path', '')
        common = dict(
            loop=kind,
            # A test alone has no training, and must not need its data: ``runner.iter`` builds it.
            iteration=runner.iter if hasattr(self, '_part') else 0,
            config=Path(runner.cfg.filename or '').name,
            checkpoint=Path(runner.cfg.get('load_from') or '').name if kind == 'test' else '',
            split=os.path.basename(split.rstrip('/')),
            pairs=len(dataset),
            ended=_now(),
            seconds=round(time.time() - self._scoring, 1),
        )
        values = (metrics or {}).items()
        metrics = {key: float(value) for key, value in values if isinstance(value, Real)}
        for metric in loop.evaluator.metrics:
            rules = metric.rules if isinstance(metric, ClasswiseIoUMetric) else {'': None}
            named = {f'{metric.prefix or ""}/{name}'.strip('/'): rules[name] for name in rules}
            for name, decode in named.items():
                decoders = (
                    [LabelDecoder([(0, 0, 0)], **decode)] if decode else _decoders_of(dataset)
                )
                values = _named(metrics, name, others=named.keys() - {name})
                self._add(
                    'scores', dict(common, decode=_decoding(decoders), metrics=values), runner
                )

    def _keep_part(self, runner: Runner, *, iteration: int | None = None) -> None:
        if not hasattr(self, '_part') or not is_main_process():
            return
        self._part.update(
            last_iteration=runner.iter if iteration is None else iteration,
            seconds=round(time.monotonic() - BEGUN, 1),
            peak_bytes=_peak_bytes(),
        )
        record, keys = _read(runner), ('started', 'first_iteration')
        own = [self._part[key] for key in keys]
        others = [part for part in record['parts'] if [part[key] for key in keys] != own]
        record['parts'] = [*others, self._part]
        _write(runner, record)

    @staticmethod
    def _add(kind: str, entry: dict, runner: Runner) -> None:
        if not is_main_process():
            return
        record = _read(runner)
        record[kind].append(entry)
        _write(runner, record)


def _read(runner: Runner) -> dict[str, list]:
    path = Path(runner.work_dir) / RECORD
    return json.loads(path.read_text()) if path.is_file() else dict(parts=[], scores=[])


def _write(runner: Runner, record: dict[str, list]) -> None:
    content = json.dumps(record, indent=1) + '\n'
    write_atomic(Path(runner.work_dir) / RECORD, content.encode())


def _named(metrics: dict[str, float], name: str, others: Iterable[str]) -> dict[str, float]:
    """Values under a name (``NAME/mIoU``), or without any; names of classes may have a ``/``."""
    prefix = f'{name}/' if name else ''
    foreign = tuple(f'{other}/' for other in others if other and not prefix.startswith(f'{other}/'))
    own = {k: v for k, v in metrics.items() if k.startswith(prefix) and not k.startswith(foreign)}
    return {key.removeprefix(prefix): value for key, value in own.items()}


def _decoders_of(dataset: Dataset) -> list[LabelDecoder]:
    """Those of the datasets of pairs within any wrappers."""
    inner = getattr(dataset, 'datasets', None) or [getattr(dataset, 'dataset', None)]
    found = [decoder for part in inner if part is not None for decoder in _decoders_of(part)]
    return (
        [dataset.decoder] if isinstance(getattr(dataset, 'decoder', None), LabelDecoder) else found
    )


def _decoding(decoders: Sequence[LabelDecoder]) -> dict | None:
    """How labels are read from pairs; None where they are index maps."""
    rules = [_rule(decoder) for decoder in decoders]
    if not rules:
        return None
    return rules[0] if all(rule == rules[0] for rule in rules) else dict(rule='several')


def _rule(decoder: LabelDecoder) -> dict:
    if decoder.rule == 'nearest':
        return dict(rule='nearest', max_distance=decoder.max_distance)
    return dict(rule=decoder.rule, min_confidence=decoder.min_confidence)


def _now() -> str:
    return datetime.now(timezone.utc).isoformat(timespec='seconds')


def _precision(wrapper: OptimWrapper | OptimWrapperDict) -> str:
    """In which a training multiplies."""
    if isinstance(wrapper, AmpOptimWrapper):
        return f'mixed with {str(wrapper.cast_dtype or torch.float16).removeprefix("torch.")}'
    return getattr(wrapper, 'precision', 'float32')


def _peak_bytes() -> int:
    """Of the GPU where there is one, else of this process."""
    return torch.cuda.max_memory_allocated() if torch.cuda.is_available() else peak_of_process()
