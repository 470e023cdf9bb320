"""Jobs in worker processes, with a progress bar.

The workers end with their parent, however it ends; Ctrl-C is reported once, by the parent.
"""

import contextlib
import multiprocessing
import os
import signal
import threading
from collections.abc import Callable, Iterator, Sequence
from concurrent.futures import BrokenExecutor, ProcessPoolExecutor, as_completed
from typing import TypeVar

import cv2
from tqdm import tqdm

Job = TypeVar('Job')
Result = TypeVar('Result')


class Stopped(RuntimeError):
    """An interrupted run: its files are complete, and the same command resumes it."""


@contextlib.contextmanager
def stopping() -> Iterator[None]:
    """Raise ``Stopped`` for what interrupts a run, such as a full disk or a killed worker."""
    try:
        yield
    except OSError as error:
        raise Stopped(str(error)) from None
    except BrokenExecutor:
        hint = 'as happens when memory is short (fewer --workers need less)'
        raise Stopped(f'a worker process was killed, {hint}') from None


def run_jobs(
    function: Callable[[Job], Result], jobs: Sequence[Job], *, workers: int, unit: str
) -> Iterator[tuple[Job, Result]]:
    """Run a function on each job, and yield ``(job, result)`` as each ends.

    An error of ``function`` is raised here, and cancels the other jobs. With one worker, all run in
    this process; else function and jobs must be picklable. ``unit`` is the noun for a job.
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
                pool.shutdown(cancel_futures=True)  # else leaving the block runs all of them
                raise


def _start_worker() -> None:
    cv2.setNumThreads(1)
    signal.signal(signal.SIGINT, signal.SIG_IGN)  # it reaches the whole process group
    threading.Thread(target=_end_with_parent, daemon=True).start()


def _end_with_parent() -> None:
    """Without this, the workers of a killed run would wait for jobs, and hold its pipes."""
    parent = multiprocessing.parent_process()
    assert parent is not None
    parent.join()
    os._exit(1)
