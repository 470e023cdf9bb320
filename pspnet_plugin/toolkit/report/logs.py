"""The logs of a work dir, over all parts of a resumed run."""

import json
from collections.abc import Sequence
from datetime import datetime
from pathlib import Path


def since_begun(parts: Sequence[dict]) -> tuple[list[dict], float]:
    """The starts of a training since it last began anew, and when that was.

    Args:
        parts: Of ``RunRecordHook``; a folder may have been trained in before.

    Returns:
        Parts, and seconds since 1970 (0: none is known).
    """
    begun = [i for i, part in enumerate(parts) if part['first_iteration'] == 0]
    found = list(parts[begun[-1] :] if begun else parts)
    return found, seconds_of(found[0]['started']) if found else 0.0


def read_record(path: Path) -> dict[str, list]:
    """``run_record.json``: parts and scores.

    Raises:
        ValueError: the file holds none.
    """
    try:
        record = json.loads(path.read_text())
        if not all(isinstance(record[key], list) for key in ('parts', 'scores')):
            raise TypeError('parts and scores are no lists')
    except (ValueError, KeyError, TypeError) as error:
        raise ValueError(
            f'{path} is no record of a run ({" ".join(str(error).split())}); remove it, and what '
            'it told is left out'
        ) from None
    return record


def seconds_of(stamp: str) -> float:
    """Since 1970, of a time in ISO format."""
    return datetime.fromisoformat(stamp).timestamp()


def minutes_of(parts: Sequence[dict]) -> float:
    """Wall clock of all parts, reading and validations included."""
    return sum(part.get('seconds', 0) for part in parts) / 60


def read_scalars(
    work_dir: Path, key: str, *, parts: Sequence[dict] = ()
) -> tuple[list[int], list[float]]:
    """Steps and values of a logged scalar.

    Args:
        work_dir: Folder of a finished or running training, which may have been resumed: what it
            had done beyond the checkpoint from which it then went on does not count.
        key: e.g. ``'loss'``, ``'mIoU'``.
        parts: Of ``since_begun``; logs of other trainings in the folder do not count.
    """
    values: dict[int, float] = {}
    for log in _logs_of(work_dir, parts):
        lines = log.read_text().splitlines()
        entries = [json.loads(line) for line in lines if line.endswith('}')]  # else it was torn
        begins = min((entry['step'] for entry in entries if 'loss' in entry), default=None)
        if begins is not None:
            values = {step: value for step, value in values.items() if step < begins}
        values |= {entry['step']: entry[key] for entry in entries if key in entry}
    return sorted(values), [values[step] for step in sorted(values)]


def _logs_of(work_dir: Path, parts: Sequence[dict]) -> list[Path]:
    logs = sorted(work_dir.glob('*/vis_data/scalars.json'))
    if parts and all('log' in part for part in parts):
        names = {part['log'] for part in parts}
        return [log for log in logs if log.parts[-3] in names]
    began = seconds_of(parts[0]['started']) if parts else 0.0  # records without names of logs
    return [log for log in logs if log.stat().st_mtime >= began]
