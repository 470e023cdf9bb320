"""Many files made by many processes: whole or not at all, with a progress bar.

What the converters share. A run that is killed leaves no half-written file under its final name,
and the caller leaves out what is there already, so the same command goes on where it stopped.
"""

import multiprocessing
import os
import signal
import threading
from collections.abc import Callable, Iterator, Sequence
from concurrent.futures import ProcessPoolExecutor, as_completed
from pathlib import Path
from typing import TypeVar

import cv2
from tqdm import tqdm

Job = TypeVar('Job')
Result = TypeVar('Result')


def write_whole(path: Path, content: bytes) -> None:
    """Writes a file that is either complete under its name or not there at all.

    Raises:
        OSError: it cannot be written, and is named; what was begun is removed.
    """
    part = path.with_name(f'.{path.name}.part')
    try:
        part.write_bytes(content)
        os.replace(part, path)
    except OSError as error:
        part.unlink(missing_ok=True)
        # A full disk does not say of itself which file it was.
        raise OSError(error.errno, error.strerror, str(path)) from None


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
