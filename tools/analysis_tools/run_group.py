"""Train the networks of a table of results, and keep their logs.

Examples:
    python tools/analysis_tools/run_group.py choices               # all rows that are missing
    python tools/analysis_tools/run_group.py choices --only "starting point" --seeds 0
    python tools/analysis_tools/run_group.py cpu25 --results again --work-dirs again   # once more
    python tools/analysis_tools/run_group.py cpu25 --dry-run       # the commands, nothing else

``docs/results/runs.yml`` says what the runs of each group are. A run is trained by ``train.py`` in
a work dir of its own, and goes on there if it was interrupted; its logs are kept by
``results_table.py collect``. Runs that are kept already are left out, and named. For Linux, where
processes can be given cores.
"""

import argparse
import os
import shlex
import subprocess
import sys
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from pathlib import Path
from queue import SimpleQueue
from typing import TextIO

import yaml
from mmengine.config import Config

from pspnet_plugin.engine.command_line import add_debug, run_command
from pspnet_plugin.reporting import collect, kept_path

ROOT = Path(__file__).resolve().parents[2]
RUNS = ROOT / 'docs/results/runs.yml'
GROUP_KEYS = {'cores', 'options', 'runs', 'seeds'}
RUN_KEYS = {'config', 'options', 'seeds', 'test', 'test_config', 'of'}
OF_KEYS = ('test', 'seeds')


@dataclass(frozen=True)
class Run:
    """A row of a table, for one seed.

    Attributes:
        group: Its table.
        label: Its name there.
        seed: Of the training.
        config: Path of its config from the project's root.
        cores: CPU cores it gets.
        options: For ``--cfg-options`` of the training.
        test: Arguments of ``test.py`` after the training, or None.
        test_config: Config of that test, where it is not the training's: what was trained on
            another layout of the data is scored as all others are.
        of: Label of the run whose training it is, where it differs in its test only.
    """

    group: str
    label: str
    seed: int
    config: str
    cores: int
    options: tuple[str, ...]
    test: tuple[str, ...] | None
    test_config: str
    of: str | None

    @property
    def kept(self) -> Path:
        """Its logs, below the folder of all."""
        return kept_path(self.group, self.label, self.seed)

    @property
    def folder(self) -> Path:
        """Where it is trained, below the folder of all."""
        path = kept_path(self.group, self.of or self.label, self.seed)
        return path.parent / path.name.removesuffix('.json')

    @property
    def training(self) -> list[str]:
        """Arguments of ``train.py``."""
        return [self.config, '--cfg-options', *self.options, f'randomness.seed={self.seed}']

    def testing(self, checkpoint: str) -> list[str]:
        """Arguments of ``test.py``."""
        return [self.test_config, checkpoint, *self.test, '--cfg-options', *self.options]

    @property
    def command(self) -> str:
        """What repeats it, without the paths of a machine."""
        commands = [
            f'OMP_NUM_THREADS={self.cores} python tools/train.py {shlex.join(self.training)}'
        ]
        if self.test is not None:
            commands.append(f'python tools/test.py {shlex.join(self.testing("CHECKPOINT"))}')
        return ' && '.join(commands)


def read_runs(path: Path, group: str) -> list[Run]:
    """The runs of a group, in the order of the file.

    Raises:
        ValueError: there is no such group, or what it says of a run cannot be used.
    """
    groups = yaml.safe_load(path.read_text()) or {}
    if group not in groups:
        raise ValueError(f'{path} has no group {group!r}; there are {", ".join(groups) or "none"}')
    content = groups[group]
    if unknown := set(content) - GROUP_KEYS:
        raise ValueError(f'{path}, {group}: unknown key {", ".join(sorted(unknown))}')
    rows = content.get('runs') or {}
    if not rows:
        raise ValueError(f'{path}, {group}: it has no runs')
    found = []
    for label, own in rows.items():
        if unknown := set(own) - RUN_KEYS:
            raise ValueError(f'{path}, {group}, {label}: unknown key {", ".join(sorted(unknown))}')
        base = rows.get(own['of']) if 'of' in own else own
        if base is None or 'config' not in base or ('of' in own and set(own) - {'of', *OF_KEYS}):
            raise ValueError(
                f'{path}, {group}, {label}: expected a config, or the label of a run that has one '
                f'(of) and {" and ".join(OF_KEYS)} alone; got {own}'
            )
        found += [
            Run(
                group=group,
                label=label,
                seed=seed,
                config=base['config'],
                cores=content.get('cores', 2),
                options=(*content.get('options', ()), *base.get('options', ())),
                test=tuple(own['test']) if 'test' in own else None,
                test_config=own.get('test_config', base['config']),
                of=own.get('of'),
            )
            for seed in own.get('seeds', content.get('seeds', [0]))
        ]
    names = [run.kept for run in found]
    if twice := [run for run in found if names.count(run.kept) > 1]:
        raise ValueError(f'{path}, {group}: two runs would be kept as {twice[0].kept}')
    return found


def do(run: Run, *, work_dirs: Path, results: Path) -> Path:
    """Trains and tests a run, and keeps its logs; returns where.

    Raises:
        ValueError: it is a test of a training that is not there, or its folder holds another run.
    """
    folder = work_dirs / run.folder
    folder.mkdir(parents=True, exist_ok=True)
    if run.of is None:
        _stays_what_it_was(run, folder)
    where = ['--work-dir', str(folder)]
    with (folder / 'log.txt').open('a') as log:
        if run.of is None:
            _run(['train.py', *where, '--resume', *run.training], run.cores, log)
        if run.test is not None:
            pointer = folder / 'last_checkpoint'
            if not pointer.is_file():
                raise ValueError(f'{run.of or run.label!r} is not trained; let it run too')
            checkpoint = str(folder / Path(pointer.read_text()).name)
            _run(['test.py', *where, *run.testing(checkpoint)], run.cores, log)
    run_ = collect(folder, group=run.group, label=run.label, command=run.command)
    return run_.write(results)


def _stays_what_it_was(run: Run, folder: Path) -> None:
    """Notes what is trained in a folder, so that nothing else goes on there."""
    note, content = folder / 'run.txt', f'{run.command}\n\n'
    content += Config.fromfile(ROOT / run.config).pretty_text
    if note.is_file() and note.read_text() != content:
        raise ValueError(f'{folder} holds a run of other settings; move it away to train anew')
    note.write_text(content)


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
                    log = work_dirs / run.folder / 'log.txt'
                    said = f'{run.label}, seed {run.seed}: {error}; {log} says more'
                    print(said, file=sys.stderr, flush=True)
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
    parser.add_argument('--results', type=Path, default=ROOT / 'docs/results')
    parser.add_argument('--dry-run', action='store_true', help='print the commands')
    add_debug(parser)
    return parser.parse_args(argv)


def run(args: argparse.Namespace) -> int:
    """Runs what is missing; the exit status is 1 if a run failed.

    Raises:
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
    missing = [run for run in wanted if not (args.results / run.kept).is_file()]
    for one in wanted:
        if one not in missing:
            print(f'{one.label}, seed {one.seed}: kept already, {args.results / one.kept}')
    if args.dry_run:
        for one in missing:
            print(f'{one.label}, seed {one.seed}:\n  {one.command}')
        return 0
    where = dict(work_dirs=args.work_dirs.resolve(), results=args.results.resolve())
    return 0 if not missing or do_all(missing, **where) else 1


def main(argv: list[str] | None = None) -> int:
    """Runs the command; see ``run_command`` for its exit status."""
    goes_on = 'the same command goes on from the last checkpoints'
    return run_command('run_group', run, parse_args(argv), interrupted=goes_on)


if __name__ == '__main__':
    sys.exit(main())
