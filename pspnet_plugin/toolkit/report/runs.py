"""Training runs read from their work dirs: config, checkpoint, record, logged scalars."""

import json
from collections.abc import Sequence
from dataclasses import dataclass
from datetime import datetime
from functools import cached_property
from pathlib import Path

from mmengine.config import Config

from pspnet_plugin.engine.hooks.run_record_hook import RECORD


@dataclass(frozen=True)
class TrainingRun:
    """Finished or running training: the last of its work dir, with all parts that resumed it."""

    path: Path  # work dir
    config: Config
    checkpoint: Path | None  # None: it has written none yet

    @cached_property
    def record(self) -> dict[str, list]:
        """Parts and scores by ``RunRecordHook``, empty without it; ``ValueError`` if broken."""
        file = self.path / RECORD
        if not file.is_file():
            return dict(parts=[], scores=[])
        try:
            record = json.loads(file.read_text())
            if not all(isinstance(record[key], list) for key in ('parts', 'scores')):
                raise TypeError('parts and scores are no lists')
        except (ValueError, KeyError, TypeError) as error:
            raise ValueError(f'{file} is no record of a run ({error}); remove it') from None
        return record

    @property
    def parts(self) -> list[dict]:
        """Starts of the last training."""
        parts = self.record['parts']
        starts = [i for i, part in enumerate(parts) if part['first_iteration'] == 0]
        return parts[starts[-1] :] if starts else parts

    @property
    def start_time(self) -> float:
        """Seconds since 1970 at the start of the last training; 0 if it has no record."""
        return _seconds(self.parts[0]['started']) if self.parts else 0.0

    @property
    def scores(self) -> list[dict]:
        """Validations and tests since the start of the last training."""
        start, scores = self.start_time, self.record['scores']
        return [s for s in scores if 'ended' not in s or _seconds(s['ended']) >= start]

    @property
    def config_name(self) -> str:
        """Name of the config file of the training."""
        return self.parts[-1]['config'] if self.parts else Path(self.config.filename).name

    @property
    def has_ended(self) -> bool | None:
        """True if the training reached its last iteration; None without a record."""
        return bool(self.parts[-1].get('ended')) if self.parts else None

    @property
    def iterations(self) -> int:
        """Number of iterations so far, of a run with a record."""
        return self.parts[-1].get('last_iteration', self.parts[-1]['first_iteration'])

    @property
    def minutes(self) -> float:
        """Wall-clock time of all parts."""
        return minutes_of(self.parts)

    def scalars(self, key: str) -> tuple[list[int], list[float]]:
        """Steps and values of a logged scalar, such as ``'loss'`` or ``'mIoU'``.

        Steps beyond the checkpoint from which the training was resumed do not count.
        """
        values: dict[int, float] = {}
        for log in self._logs():
            lines = log.read_text().splitlines()
            entries = [json.loads(line) for line in lines if line.endswith('}')]  # else truncated
            first = min((entry['step'] for entry in entries if 'loss' in entry), default=None)
            if first is not None:
                values = {step: value for step, value in values.items() if step < first}
            values |= {entry['step']: entry[key] for entry in entries if key in entry}
        return sorted(values), [values[step] for step in sorted(values)]

    def _logs(self) -> list[Path]:
        logs = sorted(self.path.glob('*/vis_data/scalars.json'))
        names = {part.get('log') for part in self.parts}
        if names and None not in names:
            return [log for log in logs if log.parts[-3] in names]
        return [log for log in logs if log.stat().st_mtime >= self.start_time]


def open_run(
    path: Path, *, checkpoint: Path | None = None, options: dict | None = None
) -> TrainingRun:
    """Open the run of a work dir, maybe moved, with other settings (``options``, by dotted keys).

    ``FileNotFoundError``: the folder, its config or the given checkpoint is missing.
    ``ValueError``: the config cannot be read, or is none of a segmentor.
    """
    if not path.is_dir():
        raise FileNotFoundError(f'{path}: no such folder; give a work dir of train.py')
    if checkpoint and not checkpoint.is_file():
        raise FileNotFoundError(f'{checkpoint} does not exist; give a checkpoint of the run')
    file = _find_config(path)
    try:
        config = Config.fromfile(file)
        config.merge_from_dict(options or {})
    except Exception as error:  # a config is a program, which may raise anything
        raise ValueError(f'{file} cannot be read as a config: {error}') from None
    if 'decode_head' not in (config.get('model') or {}):
        raise ValueError(f'{file} has no model with a decode_head; give a work dir of train.py')
    if config.get('val_dataloader'):  # so that photos are prepared as in the validations
        config.test_dataloader = config.val_dataloader
    return TrainingRun(path, config, checkpoint or _last_checkpoint(path))


def minutes_of(parts: Sequence[dict]) -> float:
    """Sum the wall-clock time of the parts of a training."""
    return sum(part.get('seconds', 0) for part in parts) / 60


def _seconds(stamp: str) -> float:
    return datetime.fromisoformat(stamp).timestamp()


def _find_config(path: Path) -> Path:
    """Find the config of the last training; a later test overwrites the one in the work dir."""
    logs = {part.get('log') for part in TrainingRun(path, Config(), None).parts}
    for log in sorted(path.glob('*/vis_data/scalars.json'), reverse=True):
        file = log.with_name('config.py')
        if file.is_file() and (log.parts[-3] in logs or '"loss"' in log.read_text()):
            return file
    found = sorted(path.glob('*.py'))
    if not found:
        raise FileNotFoundError(f'{path}: no config of a run; expected a work dir of train.py')
    if len(found) > 1:
        names = ', '.join(file.name for file in found)
        raise ValueError(f'{path} holds several configs ({names}); keep the one of the training')
    return found[0]


def _last_checkpoint(path: Path) -> Path | None:
    pointer = path / 'last_checkpoint'
    # The folder may have been moved since the training, so only the name counts.
    file = path / Path(pointer.read_text().strip()).name if pointer.is_file() else None
    return file if file and file.is_file() else None
