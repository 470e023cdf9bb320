"""Output directories that belong to one run of a tool: a marker file says how they were made.

The same command recognises its marker and resumes. The directory of another command, or files
without a marker, are left alone.
"""

import json
import textwrap
from collections.abc import Iterable, Iterator
from pathlib import Path

from pspnet_plugin.utils.files import remove_stale_parts, write_atomic
from pspnet_plugin.utils.images import PAIR_SUFFIXES

METAINFO = 'metainfo.json'


def image_files(directory: Path) -> Iterator[Path]:
    """Iterate over all images below a directory, which need not exist."""
    return (path for path in directory.rglob('[!.]*') if path.suffix.lower() in PAIR_SUFFIXES)


def check_free(
    directory: Path, *, marker: str, made_by: dict, foreign: Iterable[Path], begun: bool = False
) -> None:
    """Raise ``ValueError`` unless a directory is new, empty or of a run ``made_by`` the same.

    Without a marker, ``foreign`` files in it are the user's. If ``begun``, it holds results even
    without an image, so settings must match.
    """
    path = directory / marker
    if directory.is_file():
        raise ValueError(f'{directory} is a file; give a directory')
    if not path.exists():
        for file in foreign:
            raise ValueError(
                f'{file} was not made by this tool ({path} is missing). Give another directory.'
            )
        return
    try:
        before = dict(json.loads(path.read_text()))
    except (TypeError, ValueError):
        raise ValueError(f'{path} is unreadable. Give another directory, or remove it.') from None
    made_by = json.loads(json.dumps(made_by))  # as it was stored: lists for tuples
    keys = [key for key in {**before, **made_by} if before.get(key) != made_by.get(key)]
    if keys and (begun or any(image_files(directory))):
        differences = '; '.join(
            f'{key} {_short(before.get(key))}, not {_short(made_by.get(key))}' for key in keys
        )
        raise ValueError(
            f'{directory} was made with {differences}. Give another directory or the same '
            f'{" and ".join(keys)}, or remove it.'
        )


def claim(
    directory: Path,
    *,
    marker: str,
    made_by: dict,
    metainfo: dict | None = None,
    within: Iterable[str | Path] = (),
) -> None:
    """Create a directory that ``check_free`` accepts, and mark it before its first image."""
    for name in ('.', *within):
        (directory / name).mkdir(parents=True, exist_ok=True)
    remove_stale_parts(directory)
    for name, values in ((marker, made_by), (METAINFO, metainfo)):
        path, content = directory / name, json.dumps(values, indent=1).encode()
        if values is not None and not (path.exists() and path.read_bytes() == content):
            write_atomic(path, content)


def _short(value: object) -> str:
    return textwrap.shorten(str(value), 200)
