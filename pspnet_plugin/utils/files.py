"""Atomic files: complete under their final name or not there at all, whatever ends the run.

A file is written beside its final name, under a lock, and renamed. A killed run leaves such a part
behind; ``remove_stale_parts`` of the next run removes it, but none that is being written.
"""

import contextlib
import hashlib
import os
import platform
import secrets
from pathlib import Path
from typing import IO

try:
    import fcntl
except ImportError:  # Windows
    fcntl = None  # type: ignore[assignment]

# Resolutions in ns of the dates that file systems keep: ext4 and XFS 1, NTFS 100, network shares
# often microseconds, exFAT 10 ms, tar and HFS+ seconds, FAT two seconds.
_DATE_RESOLUTIONS = (1, 100, 10**3, 10**6, 10**7, 10**9, 2 * 10**9)
CHECKSUMS = 'SHA256SUMS'  # file of those of the files beside it
_SUFFIX = f'@{platform.node()}.part'  # the locks of other machines may be invisible here


def write_atomic(
    path: Path, content: bytes, *, mtime_ns: int | None = None, durable: bool = True
) -> None:
    """Write a file atomically; if two runs write the same one at once, the later one stays.

    If it cannot be written, the ``OSError`` names ``path``, and no part is left. If ``durable``, it
    survives a crash of the machine too.
    """
    part = path.with_name(f'.{secrets.token_hex(4)}{_SUFFIX}')
    try:
        with open(part, 'xb') as file:
            lock(file)
            file.write(content)
            file.flush()
            if durable:
                os.fsync(file.fileno())  # else a crash of the machine may leave an empty file
            if mtime_ns is not None:
                os.utime(part, ns=(mtime_ns, mtime_ns))
            if fcntl:
                os.replace(part, path)  # while the lock holds
        if not fcntl:
            os.replace(part, path)  # Windows renames no open file
    except BaseException as error:
        if isinstance(error, FileNotFoundError) and path.parent.is_dir() and not part.exists():
            # A run that started meanwhile took it for a stale part, before it was locked.
            return write_atomic(path, content, mtime_ns=mtime_ns, durable=durable)
        with contextlib.suppress(OSError):
            part.unlink()
        if not isinstance(error, OSError):
            raise
        # The error of a full disk does not name the file.
        raise OSError(error.errno, error.strerror, str(path)) from None


def sha256_of(path: Path) -> str:
    """Return the SHA-256 of a file, in hexadecimal."""
    return hashlib.sha256(path.read_bytes()).hexdigest()


def check_sha256(path: Path, expected: str, *, remedy: str) -> None:
    """Raise ``ValueError`` if a file's SHA-256, in hexadecimal, is another; see ``remedy``."""
    if (found := sha256_of(path)) != expected:
        raise ValueError(f'{path} has the SHA-256 {found}, expected {expected}; {remedy}')


def read_checksums(path: Path) -> dict[str, str]:
    """Return the SHA-256 of each file that a ``sha256sum`` file lists; empty if there is none.

    Lines of another form do not count.
    """
    text = path.read_text(encoding='utf-8', errors='replace') if path.is_file() else ''
    pairs = (line.split(maxsplit=1) for line in text.splitlines())
    return {pair[1].lstrip('*'): pair[0] for pair in pairs if len(pair) == 2}


def remove_stale_parts(directory: Path) -> None:
    """Remove the parts that killed runs of this machine left below a directory."""
    for part in directory.rglob(f'.????????{_SUFFIX}'):
        # Network shares lock only files that are open for writing.
        with contextlib.suppress(OSError), open(part, 'r+b') as file:
            if lock(file):
                part.unlink()


def lock(file: IO) -> bool | None:
    """Lock a file until it is closed; False if another process did, None where that is unknown."""
    try:
        fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except BlockingIOError:
        return False
    except (AttributeError, OSError):
        return None
    return True


def same_time(written_ns: int, source_ns: int) -> bool:
    """Return whether ``written_ns`` may be the date ``source_ns``, truncated by a file system."""
    return any(source_ns // unit * unit == written_ns for unit in _DATE_RESOLUTIONS)
