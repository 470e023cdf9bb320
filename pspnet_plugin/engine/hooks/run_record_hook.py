"""Records what a table of results needs of a run: settings, machine, time, scores.

Stock logs hold the curves. They do not hold by which rule labels were decoded when a score was
computed, nor the hardware and the wall-clock time of all parts of a resumed run in one place.
"""

import json
import os
import time
from collections.abc import Iterable, Sequence
from datetime import datetime, timezone
from numbers import Real
from pathlib import Path
from shlex import quote

import torch
from mmengine.dist import get_world_size, is_main_process
from mmengine.hooks import Hook
from mmengine.optim import AmpOptimWrapper, OptimWrapper, OptimWrapperDict
from mmengine.runner import BaseLoop, Runner
from mmseg.registry import HOOKS
from torch.utils.data import Dataset

from pspnet_plugin.datasets.bad_pairs import count_samples, unwrap
from pspnet_plugin.evaluation.iou_metric import ClasswiseIoUMetric
from pspnet_plugin.labels.decoder import LabelDecoder
from pspnet_plugin.utils.environment import PROCESS_STARTED, describe_machine, peak_memory
from pspnet_plugin.utils.files import write_atomic

RECORD = 'run_record.json'


@HOOKS.register_module()
class RunRecordHook(Hook):
    """Write ``run_record.json`` into the work directory, and extend one that is there.

    It holds ``parts``, one for each start of a training (config, machine, iterations, seconds since
    the process started, peak memory in bytes, whether it came to its end), and ``scores``, one for
    each validation or test and each rule in it (iteration, split, decoding of the labels, values).
    """

    priority = 'VERY_LOW'  # after the hooks that add to the scores

    def before_train(self, runner: Runner) -> None:
        """Add a part."""
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
            train_pairs=count_samples(loader.dataset),
            first_iteration=runner.iter,
        )
        self._add('parts', self._part, runner)

    def before_save_checkpoint(self, runner: Runner, checkpoint: dict) -> None:
        """Update the part: a resumed run starts from here."""
        self._update_part(runner, iteration=checkpoint['meta']['iter'])

    def after_train(self, runner: Runner) -> None:
        """End the part."""
        self._part['ended'] = True
        self._update_part(runner)
        work_dir = Path(runner.work_dir)
        pointer = work_dir / 'last_checkpoint'
        weights = pointer.read_text() if pointer.is_file() else 'CHECKPOINT'
        config = work_dir / Path(runner.cfg.filename or 'CONFIG').name  # as mmengine dumps it
        command = f'tools/analysis_tools/report.py {quote(str(work_dir))}'
        if runner.val_loop is None:  # a report needs a validation set
            command = (
                f'tools/predict.py PHOTOS --config {quote(str(config))} '
                f'--checkpoint {quote(weights)} --out OUT'
            )
        runner.logger.info(f'Trained: {weights}. Go on with: python {command}')

    def _before_epoch(self, runner: Runner, mode: str = 'train') -> None:
        self._started = time.time()

    def after_val_epoch(self, runner: Runner, metrics: dict | None = None) -> None:
        """Add a score, and update the part."""
        self._add_scores(runner, 'val', runner.val_loop, metrics or {})
        self._update_part(runner)

    def after_test_epoch(self, runner: Runner, metrics: dict | None = None) -> None:
        """Add a score."""
        self._add_scores(runner, 'test', runner.test_loop, metrics or {})

    def _add_scores(self, runner: Runner, kind: str, loop: BaseLoop, metrics: dict) -> None:
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
            seconds=round(time.time() - self._started, 1),
        )
        numbers = {key: float(value) for key, value in metrics.items() if isinstance(value, Real)}
        for metric in loop.evaluator.metrics:
            rules = metric.rules if isinstance(metric, ClasswiseIoUMetric) else {'': None}
            named = {f'{metric.prefix or ""}/{name}'.strip('/'): rules[name] for name in rules}
            for name, decode in named.items():
                own = [LabelDecoder([(0, 0, 0)], **decode)] if decode else _decoders_of(dataset)
                values = _named(numbers, name, others=named.keys() - {name})
                score = dict(common, decode=_decoding(own), metrics=values)
                self._add('scores', score, runner)

    def _update_part(self, runner: Runner, *, iteration: int | None = None) -> None:
        if not hasattr(self, '_part') or not is_main_process():
            return
        cuda = torch.cuda.is_available()
        self._part.update(
            last_iteration=runner.iter if iteration is None else iteration,
            seconds=round(time.monotonic() - PROCESS_STARTED, 1),
            peak_bytes=torch.cuda.max_memory_allocated() if cuda else peak_memory(),
        )
        record = _read(runner)
        same = ('started', 'first_iteration')
        others = [p for p in record['parts'] if any(p[key] != self._part[key] for key in same)]
        record['parts'] = [*others, self._part]
        _write(runner, record)

    @staticmethod
    def _add(kind: str, entry: dict, runner: Runner) -> None:
        if is_main_process():
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
    """Select the values ``NAME/mIoU`` of a name, or those without any; classes may have a ``/``."""
    prefix = f'{name}/' if name else ''
    foreign = tuple(f'{other}/' for other in others if other and not prefix.startswith(f'{other}/'))
    return {
        key.removeprefix(prefix): value
        for key, value in metrics.items()
        if key.startswith(prefix) and not key.startswith(foreign)
    }


def _decoders_of(dataset: Dataset) -> list[LabelDecoder]:
    """Return the decoders of the datasets of pairs within any wrappers."""
    decoders = (getattr(part, 'decoder', None) for part in unwrap(dataset))
    return [decoder for decoder in decoders if isinstance(decoder, LabelDecoder)]


def _decoding(decoders: Sequence[LabelDecoder]) -> dict | None:
    """Return the rule by which labels are decoded; None for index maps, which need none."""
    rules: list[dict | None] = [_rule(decoder) for decoder in decoders] or [None]
    return rules[0] if all(rule == rules[0] for rule in rules) else dict(rule='several')


def _rule(decoder: LabelDecoder) -> dict:
    if decoder.rule == 'nearest':
        return dict(rule='nearest', max_distance=decoder.max_distance)
    return dict(rule=decoder.rule, min_confidence=decoder.min_confidence)


def _now() -> str:
    return datetime.now(timezone.utc).isoformat(timespec='seconds')


def _precision(wrapper: OptimWrapper | OptimWrapperDict) -> str:
    if isinstance(wrapper, AmpOptimWrapper):
        return f'mixed with {str(wrapper.cast_dtype or torch.float16).removeprefix("torch.")}'
    return getattr(wrapper, 'precision', 'float32')
