"""A conversion of many files that the same command resumes.

The last output of a job is written last and carries a date made from those of its sources. Where
it exists, so do the others; and a source that was replaced, even by an older file, is noticed.
"""

import re
import sys
import zlib
from collections import Counter
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from functools import partial
from pathlib import Path

from tqdm import tqdm

from pspnet_plugin.utils.command_line import complain
from pspnet_plugin.utils.files import same_time, write_atomic
from pspnet_plugin.utils.jobs import Stopped, run_jobs, stopping

RESUME = 'the same command resumes from here'
_DAY = 24 * 60 * 60  # seconds
# Exit status and message of errors, for ``run_command``.
ENDINGS = {
    Stopped: lambda error: (1, f'stopped: {error}. Fix it; {RESUME}'),
    PermissionError: lambda error: (2, f'no permission to use {error.filename}'),
}


@dataclass(frozen=True)
class Job:
    """Files to convert into others."""

    sources: tuple[Path, ...]
    outputs: tuple[Path, ...]

    def mtime_ns(self) -> int:
        """Return the date of the outputs: within a day of the mean of those of the sources.

        It differs where path, size or date of a source does.
        """
        stats = [path.stat() for path in self.sources]
        keys = [
            f'{path.absolute()} {stat.st_size} {stat.st_mtime_ns}'
            for path, stat in zip(self.sources, stats, strict=True)
        ]
        mean = sum(stat.st_mtime_ns for stat in stats) // len(stats)
        return mean + zlib.crc32('\n'.join(keys).encode('utf-8', 'surrogateescape')) % _DAY * 10**9

    def done(self) -> bool:
        """Return whether all outputs exist and the last one carries ``mtime_ns()``."""
        try:
            *_, last = [path.stat().st_mtime_ns for path in self.outputs]
            return same_time(last, self.mtime_ns())
        except FileNotFoundError:
            return False

    def remove_outputs(self) -> None:
        """Remove the outputs, the last one first."""
        for path in reversed(self.outputs):
            path.unlink(missing_ok=True)


Convert = Callable[[Job], Sequence[bytes]]  # returns the contents of the outputs


def run_job(job: Job, *, convert: Convert) -> str | None:
    """Write the outputs of a job or, if ``convert`` fails, none; return the reason."""
    if len(job.outputs) > 1:  # interrupted between them, it is not done; one is replaced atomically
        job.outputs[-1].unlink(missing_ok=True)
    try:
        mtime_ns = job.mtime_ns()  # before reading: a change meanwhile is noticed the next time
        contents = convert(job)
    except (OSError, ValueError) as error:
        job.remove_outputs()
        return str(error)
    try:
        for path, content in zip(job.outputs, contents, strict=True):
            path.parent.mkdir(parents=True, exist_ok=True)
            write_atomic(path, content, mtime_ns=mtime_ns)
    except OSError:
        job.remove_outputs()
        raise
    return None


def run_conversion(
    jobs: Sequence[Job], convert: Convert, *, folder: Path, workers: int, tool: str
) -> int:
    """Run the jobs that are not done, and report; ``folder`` is that of the last outputs.

    Returns:
        The exit status, 1 if something is wrong.

    ``Stopped``: an output could not be written, or a worker was killed.
    """
    todo = [job for job in jobs if not job.done()]
    if len(todo) < len(jobs):
        print(f'{len(jobs) - len(todo)} of {len(jobs)} pairs are done already')
    bad = 0
    first: dict[str, Path] = {}  # file of the first message of each kind
    work = partial(run_job, convert=convert)
    try:
        with stopping():
            for job, reason in run_jobs(work, todo, workers=workers, unit='pair'):
                if reason:
                    bad += 1
                    path = next((p for p in job.sources if str(p) in reason), job.sources[-1])
                    like = first.setdefault(_kind(reason, job), path)
                    text = reason if like == path else f'{path}: the same as of {like}'
                    tqdm.write(f'{tool}: {text}', file=sys.stderr)
    except Stopped as error:
        done = sum(job.done() for job in jobs)
        raise Stopped(f'{error}. {done} of {len(jobs)} pairs are in {folder}') from None
    outputs = [job.outputs[-1] for job in jobs]
    counts = Counter(str(path.parent.relative_to(folder)) for path in outputs if path.exists())
    listed = ', '.join(f'{count} in {name}' for name, count in counts.items())
    print(f'pairs in {folder}: {listed or "none"}')
    if bad:
        complain(tool, f'skipped {bad} of {len(jobs)} pairs, named above. Fix them; {RESUME}')
    orphans = {*folder.rglob(f'[!.]*{outputs[0].suffix}')} - {*outputs}
    if orphans:
        example = f'{len(orphans)}, e.g. {min(orphans)}'
        complain(tool, f'images whose source is gone: {example}. Remove them, or give another OUT')
    return 1 if bad or orphans else 0


def _kind(reason: str, job: Job) -> str:
    """Return a message without the files and the pixels that it names."""
    for path in job.sources:
        reason = reason.replace(str(path), '')
    return re.sub(r'\(at x=.*?\)', '', reason)
