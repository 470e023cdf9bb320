"""Folders that belong to one run of a converter: a marker in them says how they were made.

The same command finds its marker and goes on; another's folder, or files that no marker speaks
for, are left alone.
"""

import json
import textwrap
from collections.abc import Iterable, Iterator
from pathlib import Path

from pspnet_plugin.utils.jobs import remove_stale_parts, write_atomic

METAINFO = 'metainfo.json'
IMAGE_SUFFIXES = ('.jpg', '.jpeg', '.png', '.bmp', '.webp')  # of pictures that tools make and read


def pictures(folder: Path) -> Iterator[Path]:
    """All pictures below a folder, which need not exist."""
    return (path for path in folder.rglob('[!.]*') if path.suffix.lower() in IMAGE_SUFFIXES)


def check_free(
    folder: Path, *, marker: str, made_by: dict, foreign: Iterable[Path], begun: bool = False
) -> None:
    """Makes sure that files made by this run may go into ``folder``.

    A run that has made nothing may be repeated with other settings.

    Args:
        folder: It need not exist.
        marker: Name of the marker file.
        made_by: What the files are made from and how, as JSON has it.
        foreign: What in ``folder`` is somebody's own where the marker is missing.
        begun: Whether something was made that is no picture.

    Raises:
        ValueError: it is a file, or holds pictures made otherwise, or somebody's own files.
    """
    path = folder / marker
    if folder.is_file():
        raise ValueError(f'{folder} is a file; give a folder')
    if not path.exists():
        for own in foreign:
            raise ValueError(
                f'{own} was not made by this tool ({path} is missing), and files of two origins '
                'are not mixed. Give another folder.'
            )
        return
    try:
        found = dict(json.loads(path.read_text()))
    except (TypeError, ValueError):
        raise ValueError(f'{path} is unreadable. Give another folder, or remove it.') from None
    made_by = json.loads(json.dumps(made_by))  # as it comes back: lists for tuples
    keys = [key for key in {**found, **made_by} if found.get(key) != made_by.get(key)]
    if keys and (begun or any(pictures(folder))):
        differing = '; '.join(
            f'{key} {_short(found.get(key))}, not {_short(made_by.get(key))}' for key in keys
        )
        raise ValueError(
            f'{folder} holds what was made with {differing}. Give another folder, or the same '
            f'{" and ".join(keys)}, or remove that folder.'
        )


def claim(
    folder: Path,
    *,
    marker: str,
    made_by: dict,
    metainfo: dict | None = None,
    within: Iterable[str | Path] = (),
) -> None:
    """Makes ``folder``, and marks it before the first picture is in it.

    Args:
        folder: One that ``check_free`` found free.
        marker: Name of the marker file.
        made_by: What goes into it.
        metainfo: Classes and colours, for ``metainfo.json``; None writes none.
        within: Sub-folders to make.
    """
    folder.mkdir(parents=True, exist_ok=True)
    remove_stale_parts(folder)
    _write_json(folder / marker, made_by)
    if metainfo:
        _write_json(folder / METAINFO, metainfo)
    for name in within:
        (folder / name).mkdir(parents=True, exist_ok=True)


def _write_json(path: Path, values: dict) -> None:
    content = json.dumps(values, indent=1).encode()
    if not path.exists() or path.read_bytes() != content:
        write_atomic(path, content)


def _short(value: object) -> str:
    return textwrap.shorten(str(value), 200)
