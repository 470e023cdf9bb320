"""Folders that belong to one run of a converter: a marker in them says how they were made.

The same command finds its marker and goes on; another's folder, or pictures that no marker speaks
for, are left alone.
"""

import json
import reprlib
from collections.abc import Sequence
from pathlib import Path

from pspnet_plugin.datasets.pairs import SUFFIXES
from pspnet_plugin.engine.jobs import write_whole


def check_free(folder: Path, *, marker: str, made_by: dict, within: Sequence[str] = ('',)) -> None:
    """Makes sure that pictures made by this run may go into ``folder``.

    Args:
        folder: It need not exist.
        marker: Name of the marker file.
        made_by: What the pictures are made from and how, as JSON has it.
        within: Sub-folders in which foreign pictures are looked for.

    Raises:
        ValueError: it holds pictures made otherwise, or somebody's own.
    """
    path = folder / marker
    made_by = json.loads(json.dumps(made_by))  # as it comes back: lists for tuples
    if path.exists():
        try:
            found = dict(json.loads(path.read_text()))
        except (TypeError, ValueError):
            raise ValueError(f'{path} is unreadable. Give another folder, or remove it.') from None
        if found != made_by:
            keys = [key for key in {**found, **made_by} if found.get(key) != made_by.get(key)]
            was, now = (
                ', '.join(f'{key} {reprlib.repr(settings.get(key))}' for key in keys)
                for settings in (found, made_by)
            )
            raise ValueError(
                f'{folder} holds pictures made with {was}; this run has {now}. Give another '
                f'folder, or the same {" and ".join(keys)}, or remove that folder.'
            )
        return
    for part in within:
        for path in (folder / part).rglob('*'):
            if path.suffix.lower() in SUFFIXES:
                raise ValueError(
                    f'{path} was not made by this tool ({folder / marker} is missing), and pairs '
                    'of two origins are not mixed. Give another folder.'
                )


def claim(folder: Path, *, marker: str, made_by: dict) -> None:
    """Makes ``folder``, and marks it before the first picture is in it."""
    folder.mkdir(parents=True, exist_ok=True)
    if not (folder / marker).exists():
        write_whole(folder / marker, json.dumps(made_by).encode())
