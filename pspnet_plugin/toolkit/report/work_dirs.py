"""The folder that a training writes to: config, checkpoints, logs, record."""

from dataclasses import dataclass
from functools import cached_property
from pathlib import Path

from mmengine.config import Config

from pspnet_plugin.engine.hooks.run_record_hook import RECORD
from pspnet_plugin.toolkit.report.logs import minutes_of, read_record, read_scalars, since_begun


@dataclass(frozen=True)
class RunFolder:
    """A finished or running training.

    Attributes:
        path: Its work dir.
        config: What it is trained by.
        checkpoint: Its weights, or None while there are none.
    """

    path: Path
    config: Config
    checkpoint: Path | None

    @property
    def name(self) -> str:
        """Of the folder."""
        return self.path.resolve().name

    @cached_property
    def record(self) -> dict[str, list]:
        """What ``RunRecordHook`` kept; of a run without that hook, nothing."""
        file = self.path / RECORD
        return read_record(file) if file.is_file() else dict(parts=[], scores=[])

    @property
    def parts(self) -> list[dict]:
        """Starts of the training, since it last began anew."""
        return since_begun(self.record['parts'])[0]

    @property
    def config_name(self) -> str:
        """The config's file, as it was called."""
        return self.parts[-1]['config'] if self.parts else Path(self.config.filename).name

    @property
    def has_ended(self) -> bool | None:
        """Whether the training came to its end; None where no record says."""
        return bool(self.parts[-1].get('ended')) if self.parts else None

    @property
    def iterations(self) -> int | None:
        """The last one done; None where no record says."""
        last = self.parts[-1] if self.parts else {}
        return last.get('last_iteration', last.get('first_iteration'))

    @property
    def minutes(self) -> float | None:
        """Wall clock of all parts; None where no record says."""
        return minutes_of(self.parts) if self.parts else None

    def scalars(self, key: str) -> tuple[list[int], list[float]]:
        """Steps and values of what was logged under a name."""
        return read_scalars(self.path, key, parts=self.parts)


def open_run(
    path: Path, *, checkpoint: Path | None = None, options: dict | None = None
) -> RunFolder:
    """The run of a work dir.

    Args:
        path: The folder; it may have been moved since.
        checkpoint: Other weights than its last.
        options: What replaces values of its config, by dotted keys.

    Raises:
        FileNotFoundError: the folder, its config or the named checkpoint is missing.
        ValueError: the config cannot be read.
    """
    if not path.is_dir():
        raise FileNotFoundError(f'{path}: no such folder; give a work dir of train.py')
    if checkpoint and not checkpoint.is_file():
        raise FileNotFoundError(f'{checkpoint} does not exist; give a checkpoint of the run')
    file = _config_of(path)
    try:
        config = Config.fromfile(file)
        config.merge_from_dict(options or {})
    except Exception as error:  # a config is a program, and may fail in any way
        raise ValueError(f'{file} cannot be read as a config: {error}') from None
    if 'decode_head' not in (config.get('model') or {}):
        raise ValueError(f'{file} has no model with a decode_head; give a work dir of train.py')
    if config.get('val_dataloader'):  # pictures are seen as in the validations
        config.test_dataloader = config.val_dataloader
    return RunFolder(path, config, checkpoint or _last_checkpoint(path))


def _config_of(path: Path) -> Path:
    """The config of the last training; a later test overwrites the one in the folder itself."""
    for log in sorted(path.glob('*/vis_data/scalars.json'), reverse=True):
        file = log.parent / 'config.py'
        if file.is_file() and '"loss"' in log.read_text():
            return file
    found = sorted(path.glob('*.py'))
    if not found:
        raise FileNotFoundError(f'{path}: no config of a run; expected a work dir of train.py')
    if len(found) > 1:
        names = ', '.join(file.name for file in found)
        raise ValueError(f'{path} holds several configs ({names}); leave the one that was trained')
    return found[0]


def _last_checkpoint(path: Path) -> Path | None:
    pointer = path / 'last_checkpoint'
    if not pointer.is_file():
        return None
    # Only the name: the folder may have been moved since it was written.
    found = path / Path(pointer.read_text().strip()).name
    return found if found.is_file() else None
