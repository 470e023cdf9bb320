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


def seconds_of(stamp: str) -> float:
    """Since 1970, of a time in ISO format."""
    return datetime.fromisoformat(stamp).timestamp()


def minutes_of(parts: Sequence[dict]) -> float:
    """Wall clock of all parts, reading and validations included."""
    return sum(part.get('seconds', 0) for part in parts) / 60


def read_scalars(work_dir: Path, key: str, *, since: float = 0) -> tuple[list[int], list[float]]:
    """Steps and values of a logged scalar.

    Args:
        work_dir: Folder of a finished or running training, which may have been resumed.
        key: e.g. ``'loss'``, ``'mIoU'``. Of a step that was done twice, the later value counts.
        since: Logs that were last written to before are of another training (seconds since 1970).
    """
    values = {}
    for log in sorted(work_dir.glob('*/vis_data/scalars.json')):
        if log.stat().st_mtime < since:
            continue
        for line in log.read_text().splitlines():
            if not line.endswith('}'):  # torn by an interruption
                continue
            entry = json.loads(line)
            if key in entry:
                values[entry['step']] = entry[key]
    return sorted(values), [values[step] for step in sorted(values)]
