"""Train the networks of a table of results, and keep their logs.

Examples:
    python -m benchmarks.run_group choices               # all rows that are missing
    python -m benchmarks.run_group choices --only "starting point" --seeds 0
    python -m benchmarks.run_group cpu25 --results again --work-dirs again   # once more
    python -m benchmarks.run_group cpu25 --dry-run       # the commands, nothing else

``benchmarks/results/runs.yml`` says what the runs of each group are. A run is trained by
``train.py`` in a work dir of its own, and goes on there if it was interrupted; its logs are kept as
``results_table.py collect`` keeps them. Runs that are kept already are left out, and named. For
Linux, where processes can be given cores.
"""

import argparse
import fcntl
import json
import os
import subprocess
import sys
import tempfile
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from queue import SimpleQueue
from typing import TextIO

from benchmarks.run_plans import Run, read_runs
from benchmarks.run_results import collect, read_kept
from pspnet_plugin.engine.hooks.run_record_hook import RECORD
from pspnet_plugin.utils.command_line import add_debug, run_command
from pspnet_plugin.utils.jobs import write_atomic

ROOT = Path(__file__).resolve().parents[1]
RUNS = ROOT / 'benchmarks/results/runs.yml'


def do(run: Run, *, work_dirs: Path, results: Path) -> Path:
    """Trains and tests a run, and keeps its logs; returns where.

    Raises:
        ValueError: it is a test of a training that is not there, its folder holds another run, or
            is in use.
    """
    folder = work_dirs / run.folder
    folder.mkdir(parents=True, exist_ok=True)
    where = ['--work-dir', str(folder)]
    with (folder / 'log.txt').open('a') as log:
        try:
            fcntl.flock(log, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except OSError:
            raise ValueError(
                f'{folder} is in use by another run_group.py, or by a training that was left '
                'behind by one that was killed; the same command goes on when it has ended'
            ) from None
        _stays_what_it_was(run, folder)
        ended = _has_ended(folder)
        if ended and run.of is None:
            said = f'trained before in {folder}; --work-dirs elsewhere trains it anew'
            print(f'{run.label}, seed {run.seed}: {said}', flush=True)
        if not ended:
            if run.of is not None:
                raise ValueError(
                    f'{folder} does not hold the weights of {run.of!r}; give the --work-dirs where '
                    'it was trained, or other --results and both labels, to train it'
                )
            _run(['train.py', *where, '--resume', *run.training], run.cores, log)
        if run.test is not None:
            pointer = (folder / 'last_checkpoint').read_text()
            checkpoint = str(folder / Path(pointer.strip()).name)
            _run(['test.py', *where, *run.testing(checkpoint)], run.cores, log)
    kept = collect(
        folder, group=run.group, label=run.label, command=run.command,
        tested=run.test is not None, recipe=run.recipe(ROOT),
    )  # fmt: skip
    return kept.write(results)


def _stays_what_it_was(run: Run, folder: Path) -> None:
    """Notes what is trained in a folder, so that nothing else goes on there."""
    note, settings = folder / 'run.txt', run.settings(ROOT)
    if note.is_file():
        others = note.read_text() != settings
    else:
        others = (folder / RECORD).exists() or (folder / 'last_checkpoint').exists()
    if others:
        raise ValueError(f'{folder} holds a run of other settings; move it away to train anew')
    if run.of is None:
        write_atomic(note, settings.encode())


def _has_ended(folder: Path) -> bool:
    """Whether the training in a folder came to its end."""
    record = folder / RECORD
    parts = json.loads(record.read_text())['parts'] if record.is_file() else []
    return bool(parts) and bool(parts[-1].get('ended'))


def _run(command: list[str], cores: int, log: TextIO) -> None:
    name, *arguments = command
    subprocess.run(
        [sys.executable, ROOT / 'tools' / name, *arguments],
        cwd=ROOT,
        check=True,
        stdout=log,
        stderr=subprocess.STDOUT,
        env={**os.environ, 'OMP_NUM_THREADS': str(cores)},
    )


def do_all(runs: list[Run], *, work_dirs: Path, results: Path) -> bool:
    """All runs, as many at a time as there are cores; returns whether none failed."""
    shares = SimpleQueue()
    cores, size = sorted(os.sched_getaffinity(0)), runs[0].cores
    for i in range(0, len(cores) - size + 1, size):
        shares.put(set(cores[i : i + size]))
    if shares.empty():
        raise ValueError(f'{runs[0].group} needs {size} cores a run; there are {len(cores)}')

    def pinned(run: Run) -> Path:
        share = shares.get()
        try:
            os.sched_setaffinity(0, share)  # this thread, and what it starts
            return do(run, work_dirs=work_dirs, results=results)
        finally:
            shares.put(share)

    well = True
    pool = ThreadPoolExecutor(shares.qsize())
    try:
        # Tests of a training share its folder, and so go one after the other.
        for some in ([r for r in runs if not r.of], *([r] for r in runs if r.of)):
            for run, future in [(run, pool.submit(pinned, run)) for run in some]:
                try:
                    print(f'{run.label}, seed {run.seed}: {future.result()}', flush=True)
                except Exception as error:  # of one run; the others go on
                    well = False
                    said = str(error)
                    if isinstance(error, subprocess.CalledProcessError):
                        log = work_dirs / run.folder / 'log.txt'
                        said = f'{error.cmd[1].name} ended with {error.returncode}; {log} says why'
                    print(f'{run.label}, seed {run.seed}: {said}', file=sys.stderr, flush=True)
    finally:
        pool.shutdown(cancel_futures=True)
    return well


def parse_args(argv: list[str] | None) -> argparse.Namespace:
    """Read the command line."""
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument('group', help='a group of runs.yml')
    parser.add_argument('--runs', type=Path, default=RUNS, help='file that names the runs')
    parser.add_argument('--only', nargs='+', help='labels of runs; all without it')
    parser.add_argument('--seeds', nargs='+', type=int, help='seeds; all without it')
    parser.add_argument('--work-dirs', type=Path, default=ROOT / 'work_dirs')
    parser.add_argument('--results', type=Path, default=ROOT / 'benchmarks/results')
    parser.add_argument('--dry-run', action='store_true', help='print the commands')
    add_debug(parser)
    return parser.parse_args(argv)


def run(args: argparse.Namespace) -> int:
    """Runs what is missing; the exit status is 1 if a run failed.

    Raises:
        OSError: a config is missing, or logs cannot be kept.
        ValueError: the group, a label or a seed is unknown.
    """
    runs = read_runs(args.runs, args.group)
    for name, wanted, there in (
        ('run', args.only, list(dict.fromkeys(run.label for run in runs))),
        ('seed', args.seeds, sorted({run.seed for run in runs})),
    ):
        if unknown := [value for value in wanted or [] if value not in there]:
            known = ', '.join(map(str, there))
            raise ValueError(f'{args.group} has no {name} {unknown[0]!r}; it has: {known}')
    wanted = [
        run
        for run in runs
        if (not args.only or run.label in args.only) and (not args.seeds or run.seed in args.seeds)
    ]
    if not wanted:
        raise ValueError(f'{args.group}: no run that --only names has such --seeds')
    for one in wanted:
        if lacks := [path for path in (one.config, one.test_config) if not (ROOT / path).is_file()]:
            raise FileNotFoundError(f'{args.runs}, {one.label}: {lacks[0]} is missing')
    missing = [run for run in wanted if not (args.results / run.kept).is_file()]
    for one in wanted:
        if one not in missing:
            path = args.results / one.kept
            recipe = read_kept(path).recipe
            other = ', of other settings' if recipe and recipe != one.recipe(ROOT) else ''
            print(f'{one.label}, seed {one.seed}: kept already{other}, {path}')
    if args.dry_run:
        for one in missing:
            print(f'{one.label}, seed {one.seed}:\n  {one.command}')
        return 0
    for one in missing:
        folder = (args.results / one.kept).parent
        folder.mkdir(parents=True, exist_ok=True)
        with tempfile.TemporaryFile(dir=folder):
            pass  # can be written to, which is better known before a training than after it
    where = dict(work_dirs=args.work_dirs.resolve(), results=args.results.resolve())
    return 0 if not missing or do_all(missing, **where) else 1


def main(argv: list[str] | None = None) -> int:
    """Runs the command; see ``run_command`` for its exit status."""
    goes_on = 'the same command goes on from the last checkpoints'
    return run_command('run_group', run, parse_args(argv), interrupted=goes_on)


if __name__ == '__main__':
    sys.exit(main())
