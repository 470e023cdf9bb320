"""Train the networks of a table of results, and keep their results.

Examples:
    python -m benchmarks.run_group choices               # all rows that are missing
    python -m benchmarks.run_group choices --only "starting point" --seeds 0
    python -m benchmarks.run_group cpu25 --results again --work-dirs again   # repeat
    python -m benchmarks.run_group cpu25 --dry-run       # print the commands

``benchmarks/results/runs.yml`` plans the runs of each group. Each is trained by ``train.py`` in a
work dir of its own, where an interrupted one is resumed; its results are kept as by
``benchmarks.results_table collect``. Runs whose results exist are skipped. Needs Linux, which can
bind processes to cores.
"""

import argparse
import fcntl
import os
import subprocess
import sys
import tempfile
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from queue import SimpleQueue
from typing import TextIO

from mmengine.config import Config

from benchmarks.run_plans import RunPlan, read_plans
from benchmarks.run_results import collect, read_results
from pspnet_plugin.engine.hooks.run_record_hook import RECORD
from pspnet_plugin.toolkit.report.runs import TrainingRun
from pspnet_plugin.utils.command_line import add_debug, run_command
from pspnet_plugin.utils.files import write_atomic

ROOT = Path(__file__).resolve().parents[1]
RUNS = ROOT / 'benchmarks/results/runs.yml'


def execute(plan: RunPlan, *, work_dirs: Path, results: Path) -> Path:
    """Train and test a run, and write its results; return their file."""
    folder = work_dirs / plan.folder
    folder.mkdir(parents=True, exist_ok=True)
    work_dir = ['--work-dir', str(folder)]
    with (folder / 'log.txt').open('a') as log:
        try:
            fcntl.flock(log, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except OSError:
            raise ValueError(
                f'{folder} is in use by another run_group, or by a training that outlived one; '
                'repeat the command when it has ended'
            ) from None
        _claim(folder, plan)
        is_trained = TrainingRun(folder, Config(), None).has_ended
        if plan.of is None and is_trained:
            text = f'already trained in {folder}; give other --work-dirs to train it again'
            print(f'{plan.label}, seed {plan.seed}: {text}', flush=True)
        elif plan.of is None:
            _run_tool('train.py', [*work_dir, '--resume', *plan.training], plan.cores, log)
        elif not is_trained:
            raise ValueError(
                f'{folder} does not hold the weights of {plan.of!r}; give the --work-dirs where it '
                'was trained, or other --results and both labels, to train it'
            )
        if plan.test is not None:
            pointer = (folder / 'last_checkpoint').read_text()
            checkpoint = str(folder / Path(pointer.strip()).name)
            _run_tool('test.py', [*work_dir, *plan.testing(checkpoint)], plan.cores, log)
    found = collect(
        folder, group=plan.group, label=plan.label, command=plan.command,
        tested=plan.test is not None, recipe=plan.recipe(ROOT), test_options=plan.test_options,
    )  # fmt: skip
    return found.write(results)


def _claim(folder: Path, plan: RunPlan) -> None:
    """Write the settings of a training into its work dir, which then no other may resume."""
    note, settings = folder / 'run.txt', plan.settings(ROOT)
    is_used = (folder / RECORD).exists() or (folder / 'last_checkpoint').exists()
    holds_other = note.read_text() != settings if note.is_file() else is_used
    if holds_other:
        raise ValueError(f'{folder} holds a run of other settings; move it away to train again')
    if plan.of is None:
        write_atomic(note, settings.encode())


def _run_tool(name: str, arguments: list[str], cores: int, log: TextIO) -> None:
    command = [sys.executable, str(ROOT / 'tools' / name), *arguments]
    env = {**os.environ, 'OMP_NUM_THREADS': str(cores)}
    subprocess.run(command, cwd=ROOT, check=True, stdout=log, stderr=subprocess.STDOUT, env=env)


def execute_all(plans: list[RunPlan], *, work_dirs: Path, results: Path) -> bool:
    """Execute runs, as many at a time as there are cores for; return True if none failed."""
    shares: SimpleQueue[set[int]] = SimpleQueue()
    cores, size = sorted(os.sched_getaffinity(0)), plans[0].cores
    for i in range(0, len(cores) - size + 1, size):
        shares.put(set(cores[i : i + size]))
    if shares.empty():
        raise ValueError(f'{plans[0].group} needs {size} cores a run; there are {len(cores)}')

    def bound(plan: RunPlan) -> Path:
        share = shares.get()
        try:
            os.sched_setaffinity(0, share)  # of this thread, and of the processes it starts
            return execute(plan, work_dirs=work_dirs, results=results)
        finally:
            shares.put(share)

    succeeded = True
    pool = ThreadPoolExecutor(shares.qsize())
    try:
        # Runs that only test share the work dir of a training, so they follow one by one.
        for batch in ([p for p in plans if not p.of], *([p] for p in plans if p.of)):
            for plan, future in [(plan, pool.submit(bound, plan)) for plan in batch]:
                try:
                    print(f'{plan.label}, seed {plan.seed}: {future.result()}', flush=True)
                except Exception as error:  # of one run; the others continue
                    succeeded, text = False, str(error)
                    if isinstance(error, subprocess.CalledProcessError):
                        log = work_dirs / plan.folder / 'log.txt'
                        text = f'{error.cmd[1]} ended with {error.returncode}; see {log}'
                    print(f'{plan.label}, seed {plan.seed}: {text}', file=sys.stderr, flush=True)
    finally:
        pool.shutdown(cancel_futures=True)
    return succeeded


def add_selection(parser: argparse.ArgumentParser) -> None:
    """Add the options that choose runs of a group, and their places."""
    parser.add_argument('group', help='a group of runs.yml')
    parser.add_argument('--runs', type=Path, default=RUNS, help='file of plans')
    parser.add_argument('--only', nargs='+', help='labels of runs (default: all)')
    parser.add_argument('--seeds', nargs='+', type=int, help='seeds (default: all)')
    parser.add_argument('--work-dirs', type=Path, default=ROOT / 'work_dirs')
    parser.add_argument('--results', type=Path, default=ROOT / 'benchmarks/results')


def parse_args(argv: list[str] | None) -> argparse.Namespace:
    """Parse the command line."""
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    add_selection(parser)
    parser.add_argument('--dry-run', action='store_true', help='print the commands')
    add_debug(parser)
    return parser.parse_args(argv)


def select(
    plans: list[RunPlan], labels: list[str] | None, seeds: list[int] | None
) -> list[RunPlan]:
    """Select runs by labels and seeds, all if None; raise ValueError for unknown ones."""
    group, selected = plans[0].group, plans
    for name, given in (('label', labels), ('seed', seeds)):
        known = dict.fromkeys(getattr(plan, name) for plan in plans)
        if unknown := [value for value in given or () if value not in known]:
            expected = ', '.join(map(str, known))
            raise ValueError(f'{group} has no {name} {unknown[0]!r}; expected of: {expected}')
        selected = [plan for plan in selected if not given or getattr(plan, name) in given]
    if not selected:
        raise ValueError(f'{group}: no run of --only has one of --seeds')
    return selected


def run(args: argparse.Namespace) -> int:
    """Execute the runs without results; return 1 if one failed."""
    missing = []
    for plan in select(read_plans(args.runs, args.group), args.only, args.seeds):
        for config in (plan.config, plan.test_config):
            if not (ROOT / config).is_file():
                raise FileNotFoundError(f'{args.runs}, {plan.label}: {config} is missing')
        path = args.results / plan.path
        if path.is_file():
            recipe = read_results(path).recipe
            other = ', of other settings' if recipe and recipe != plan.recipe(ROOT) else ''
            print(f'{plan.label}, seed {plan.seed}: skipped, kept{other} in {path}')
        else:
            missing.append(plan)
    for plan in missing:
        if args.dry_run:
            print(f'{plan.label}, seed {plan.seed}:\n  {plan.command}')
        else:  # whether results can be written is better known before a training
            folder = (args.results / plan.path).parent
            folder.mkdir(parents=True, exist_ok=True)
            tempfile.TemporaryFile(dir=folder).close()
    if args.dry_run or not missing:
        return 0
    places = dict(work_dirs=args.work_dirs.resolve(), results=args.results.resolve())
    return 0 if execute_all(missing, **places) else 1


def main(argv: list[str] | None = None) -> int:
    """Run the command; see ``run_command`` for the exit status."""
    resume = 'the same command resumes from the last checkpoints'
    return run_command('run_group', run, parse_args(argv), interrupted=resume)


if __name__ == '__main__':
    sys.exit(main())
