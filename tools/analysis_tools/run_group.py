"""Train the networks of a table of results, and keep their logs.

    python tools/analysis_tools/run_group.py choices               # all rows that are missing
    python tools/analysis_tools/run_group.py choices --only base --seeds 0
    python tools/analysis_tools/run_group.py cpu25 --dry-run       # the commands, nothing else

``docs/results/runs.yml`` says what the runs of each group are. A run is trained by ``train.py`` in
a work dir of its own, and goes on there if it was interrupted; its logs are kept by
``results_table.py collect``. Runs that are kept already are left out.
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

import yaml

from pspnet_plugin.reporting import collect, kept_path

ROOT = Path(__file__).resolve().parents[2]
RUNS = ROOT / 'docs/results/runs.yml'
GROUP_KEYS = {'cores', 'options', 'runs', 'seeds'}
RUN_KEYS = {'config', 'options', 'seeds', 'test', 'of'}


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
        of: Label of the run whose training it is, where it differs in its test only.
    """

    group: str
    label: str
    seed: int
    config: str
    cores: int
    options: tuple[str, ...]
    test: tuple[str, ...] | None
    of: str | None

    def work_dir(self, root: Path) -> Path:
        """Where it is trained."""
        name = (self.of or self.label).replace(' ', '_').replace('/', '_')
        return root / self.group / f'{name}_seed{self.seed}'

    @property
    def command(self) -> str:
        """What repeats it, without the paths of a machine."""
        options = shlex.join([*self.options, f'randomness.seed={self.seed}'])
        train = f'python tools/train.py {self.config} --cfg-options {options}'
        lines = [f'OMP_NUM_THREADS={self.cores} {train}']
        if self.test is not None:
            lines.append(f'python tools/test.py {self.config} CHECKPOINT {shlex.join(self.test)}')
        return ' && '.join(lines)


def read_runs(path: Path, group: str) -> list[Run]:
    """The runs of a group, in the order of the file.

    Raises:
        ValueError: there is no such group, or a key is unknown.
    """
    groups = yaml.safe_load(path.read_text())
    if group not in groups:
        raise ValueError(f'{path} has no group {group!r}; there are {", ".join(groups)}')
    content = groups[group]
    found = []
    for label, own in content['runs'].items():
        if unknown := (set(own) - RUN_KEYS) | (set(content) - GROUP_KEYS):
            raise ValueError(f'{path}, {group}, {label}: unknown key {", ".join(sorted(unknown))}')
        base = content['runs'][own['of']] if 'of' in own else own
        found += [
            Run(
                group=group,
                label=label,
                seed=seed,
                config=base['config'],
                cores=content.get('cores', 2),
                options=(*content.get('options', ()), *base.get('options', ())),
                test=tuple(own['test']) if 'test' in own else None,
                of=own.get('of'),
            )
            for seed in own.get('seeds', content.get('seeds', [0]))
        ]
    return found


def do(run: Run, cores: set[int], *, work_dirs: Path, results: Path) -> str:
    """Trains and tests a run on some cores, and keeps its logs; returns what became of it."""
    folder = run.work_dir(work_dirs)
    folder.mkdir(parents=True, exist_ok=True)
    options = [*run.options, f'randomness.seed={run.seed}']
    commands = []
    if run.of is None:
        commands.append(['train.py', run.config, '--resume', '--cfg-options', *options])
    elif not (folder / 'last_checkpoint').is_file():
        return f'{run.label}, seed {run.seed}: train {run.of!r} first'
    with (folder / 'log.txt').open('a') as log:
        for name, *arguments in commands:
            _run([name, *arguments, '--work-dir', str(folder)], cores, log)
        if run.test is not None:
            checkpoint = (folder / 'last_checkpoint').read_text()
            _run(
                ['test.py', run.config, checkpoint, '--work-dir', str(folder), *run.test],
                cores,
                log,
            )
    kept = collect(folder, group=run.group, label=run.label, command=run.command).write(results)
    return f'{run.label}, seed {run.seed}: {kept}'


def _run(command: list[str], cores: set[int], log) -> None:
    name, *arguments = command
    subprocess.run(
        [sys.executable, ROOT / 'tools' / name, *arguments],
        cwd=ROOT,
        check=True,
        stdout=log,
        stderr=subprocess.STDOUT,
        env={**os.environ, 'OMP_NUM_THREADS': str(len(cores))},
        preexec_fn=(lambda: os.sched_setaffinity(0, cores))
        if hasattr(os, 'sched_setaffinity')
        else None,
    )


def main(arguments: list[str] | None = None) -> int:
    """Run what is missing."""
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
    args = parser.parse_args(arguments)
    try:
        runs = read_runs(args.runs, args.group)
        if args.only and (unknown := set(args.only) - {run.label for run in runs}):
            labels = ', '.join(dict.fromkeys(run.label for run in runs))
            raise ValueError(f'{args.group} has no run {sorted(unknown)[0]!r}; it has: {labels}')
    except (OSError, ValueError) as error:
        print(f'run_group.py: {error}', file=sys.stderr)
        return 2
    missing = [
        run
        for run in runs
        if (not args.only or run.label in args.only)
        and (not args.seeds or run.seed in args.seeds)
        and not (args.results / kept_path(run.group, run.label, run.seed)).is_file()
    ]
    if args.dry_run:
        for run in missing:
            print(f'{run.label}, seed {run.seed}:\n  {run.command}')
        return 0
    free: SimpleQueue[set[int]] = SimpleQueue()
    cores = sorted(os.sched_getaffinity(0)) if hasattr(os, 'sched_getaffinity') else [0, 1]
    size = runs[0].cores
    shares = [set(cores[i : i + size]) for i in range(0, len(cores) - size + 1, size)]
    if not shares:
        print(f'run_group.py: {args.group} needs {size} cores a run', file=sys.stderr)
        return 2
    for share in shares:
        free.put(share)

    def next_on_free_cores(run: Run) -> str:
        share = free.get()
        try:
            return do(run, share, work_dirs=args.work_dirs, results=args.results)
        finally:
            free.put(share)

    failed = False
    with ThreadPoolExecutor(len(shares)) as pool:
        for run, future in [(run, pool.submit(next_on_free_cores, run)) for run in missing]:
            try:
                print(future.result(), flush=True)
            except (subprocess.CalledProcessError, OSError, ValueError) as error:
                failed = True
                log = run.work_dir(args.work_dirs) / 'log.txt'
                print(f'{run.label}, seed {run.seed}: {error}; {log} says why', file=sys.stderr)
    return int(failed)


if __name__ == '__main__':
    sys.exit(main())
