"""Many files made by many processes: whole or not at all, with a progress bar.

What the converters share. A run that is killed leaves no half-written file under its final name,
and the caller leaves out what is there already, so the same command goes on where it stopped.
"""

import contextlib
import multiprocessing
import os
import platform
import secrets
import signal
import threading
from collections.abc import Callable, Iterator, Sequence
from concurrent.futures import BrokenExecutor, ProcessPoolExecutor, as_completed
from pathlib import Path
from typing import IO, TypeVar

import cv2
from tqdm import tqdm

try:
    import fcntl
except ImportError:  # Windows
    fcntl = None

Job = TypeVar('Job')
Result = TypeVar('Result')


# Whole units of time, in ns, that file systems keep of a file's date: ext4 and XFS all of it, NTFS
# 100 ns, network shares often microseconds, exFAT 10 ms, tar and HFS+ seconds, FAT two of them.
_TIME_UNITS = (1, 100, 10**3, 10**6, 10**7, 10**9, 2 * 10**9)


class Stopped(RuntimeError):
    """A run that broke off; what it has made is whole, and the same command goes on."""


@contextlib.contextmanager
def stopping() -> Iterator[None]:
    """Turns what breaks off a run, such as a full disk or a killed worker, into ``Stopped``."""
    try:
        yield
    except OSError as error:
        raise Stopped(str(error)) from None
    except BrokenExecutor:
        raise Stopped(
            'a worker process was killed, as happens when memory is short (fewer --workers need '
            'less)'
        ) from None


def write_atomic(
    path: Path, content: bytes, *, mtime_ns: int | None = None, durable: bool = True
) -> None:
    """Writes a file that is either complete under its name or not there at all.

    Two runs may write the same file at once: the later one stays, whole.

    Args:
        path: The file; its folder exists.
        content: All of it.
        mtime_ns: The date it shall carry, which it has from the moment it is there; None for now.
        durable: Whether it is whole even after a crash of the machine, for which each file waits
            until the disk has it.

    Raises:
        OSError: it cannot be written, and is named; what was begun is removed.
    """
    part = path.with_name(f'.{secrets.token_hex(4)}{_part_end()}')
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
            # A run that began meanwhile took it for a killed one's, before it was locked.
            return write_atomic(path, content, mtime_ns=mtime_ns, durable=durable)
        with contextlib.suppress(OSError):
            part.unlink()
        if not isinstance(error, OSError):
            raise
        # A full disk does not say of itself which file it was.
        raise OSError(error.errno, error.strerror, str(path)) from None


def remove_stale_parts(folder: Path) -> None:
    """Removes what ``write_atomic`` had begun below ``folder`` in runs that were killed.

    What is being written, by this machine or another, stays. Network shares lock only files that
    are open for writing, hence the mode.
    """
    for part in folder.rglob(f'.????????{_part_end()}'):
        with contextlib.suppress(OSError), open(part, 'r+b') as file:
            if lock(file):
                part.unlink()


def _part_end() -> str:
    """End of the names of unfinished files; locks of other machines may not be seen here."""
    return f'@{platform.node()}.part'


def lock(file: IO) -> bool | None:
    """Marks a file as in use until it is closed, if only by the end of its process.

    Returns:
        False where another has it; None where locks do not exist.
    """
    try:
        fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except BlockingIOError:
        return False
    except (AttributeError, OSError):
        return None
    return True


def same_time(made_ns: int, source_ns: int) -> bool:
    """Whether a file that was given the date ``source_ns`` may have ``made_ns`` on its disk.

    File systems cut dates to whole units, up to two seconds.
    """
    return any(source_ns // unit * unit == made_ns for unit in _TIME_UNITS)


def run_jobs(
    function: Callable[[Job], Result], jobs: Sequence[Job], *, workers: int, unit: str
) -> Iterator[tuple[Job, Result]]:
    """Each job with what ``function`` makes of it, in the order in which they end.

    Args:
        function: Runs in the workers, so it and the jobs must be picklable. OpenCV has one thread
            there.
        jobs: What to do.
        workers: Number of processes; with 1 all is done in this one.
        unit: What the progress bar counts.

    Yields:
        ``(job, result)``. What ``function`` raises is raised here, and ends the other jobs.
    """
    cv2.setNumThreads(1)  # here too: a process forked while OpenCV has threads hangs in its pool
    with tqdm(total=len(jobs), unit=unit, disable=not jobs) as bar:
        if workers == 1:
            for job in jobs:
                yield job, function(job)
                bar.update()
            return
        with ProcessPoolExecutor(workers, initializer=_start_worker) as pool:
            try:
                pending = {pool.submit(function, job): job for job in jobs}
                for done in as_completed(pending):
                    yield pending.pop(done), done.result()
                    bar.update()
            except BaseException:
                pool.shutdown(cancel_futures=True)  # else leaving the block makes all of them
                raise


def _start_worker() -> None:
    cv2.setNumThreads(1)
    signal.signal(signal.SIGINT, signal.SIG_IGN)  # reaches the whole group; the parent reports it
    threading.Thread(target=_end_with_parent, daemon=True).start()


def _end_with_parent() -> None:
    """Else the workers of a killed run would wait for jobs, and hold its pipes, for ever."""
    multiprocessing.parent_process().join()
    os._exit(1)
