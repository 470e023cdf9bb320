"""Keep the results of runs as small files, and write the page of results from them.

Examples:
    python -m benchmarks.results_table collect RUN_DIR --group G --label L --command X
    python -m benchmarks.results_table write

``collect`` reads a work dir (``run_record.json`` and the logged scalars) and writes a file below
``benchmarks/results``; ``write`` fills the template ``results.md.j2`` there and the results of
``model-index.yml``. No figure of the page is typed by hand.
"""

import argparse
import sys
from pathlib import Path
from statistics import mean

import yaml

from benchmarks.results_page import METRICS, render
from benchmarks.results_plots import write_plots
from benchmarks.run_results import RunResults, collect, load_all_results
from pspnet_plugin.utils.command_line import add_debug, run_command
from pspnet_plugin.utils.files import write_atomic

ROOT = Path(__file__).resolve().parents[1]
# Whose scores the index of models gets: of each config those of the first group that has it.
INDEX_GROUPS = ['long', 'distilled', 'pretrained', 'cpu25', 'zoo']


def parse_args(arguments: list[str] | None) -> argparse.Namespace:
    """Parse the command line."""
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    folder = ROOT / 'benchmarks/results'
    parser.add_argument('--results', type=Path, default=folder, help='folder of the kept results')
    commands = parser.add_subparsers(dest='what', required=True)
    one = commands.add_parser('collect', help='keep the results of a run')
    one.add_argument('work_dir', type=Path)
    one.add_argument('--group', required=True, help='runs under the same protocol')
    one.add_argument('--label', required=True, help='its name in the group')
    one.add_argument('--command', required=True, help='command that repeats it')
    one.add_argument('--tested', action='store_true',
        help='scored by the last test.py, not by the last validation of the training',
    )  # fmt: skip
    page = commands.add_parser('write', help='write the page and the index of models')
    page.add_argument('--page', type=Path, default=ROOT / 'docs/results.md')
    page.add_argument('--index', type=Path, default=ROOT / 'model-index.yml')
    page.add_argument('--index-groups', nargs='+', default=INDEX_GROUPS,
        help='groups whose scores the index gets, of each config those of the first that has it '
        f'(default: {" ".join(INDEX_GROUPS)})',
    )  # fmt: skip
    for command in (one, page):
        add_debug(command)
    return parser.parse_args(arguments)


def fill_index(path: Path, runs: list[RunResults], groups: list[str]) -> bytes:
    """Fill ``model-index.yml`` with the mean t40 scores of each config's runs."""
    try:
        index = yaml.safe_load(path.read_text())
        models = [(model, Path(model['Config']).name) for model in index['Models']]
    except (yaml.YAMLError, KeyError, TypeError) as error:
        raise ValueError(f'{path}: expected Models, each with its Config ({error})') from None
    for model, config in models:
        own = runs_of(config, runs, groups)
        model.pop('Results', None)
        model.pop('Metadata', None)
        if not own:
            continue
        if len(rows := {(run.group, run.label) for run in own}) > 1:
            named = ', '.join(f'{group}: {label}' for group, label in sorted(rows))
            raise ValueError(f'{config} has several rows ({named}); choose by --index-groups')
        part = own[0].parts[-1]
        machine = part['gpu'] or f'CPU cores: {part["cores"]} ({part["processor"]})'
        stage = ', the last stage' if 'load_from=' in own[0].command else ''
        model['Metadata'] = {
            'Parameters': own[0].parameters,
            'Seeds': [run.seed for run in own],
            'Training Resources': f'{own[0].minutes:.0f} minutes{stage}; {machine}',
        }
        model['Results'] = [
            dict(
                Task='Semantic Segmentation',
                Dataset='Cityscapes Image Pairs, val, labels within 40 of a known colour',
                Metrics={m: round(mean(run.score('t40')[m] for run in own), 2) for m in METRICS},
            )
        ]
    return yaml.safe_dump(index, sort_keys=False, width=100).encode()


def runs_of(config: str, runs: list[RunResults], groups: list[str]) -> list[RunResults]:
    """Return the runs of a config in the first group that has it, without further tests of one."""
    found = ([r for r in runs if r.group == group and r.config == config] for group in groups)
    own = next(filter(None, found), [])
    return [run for run in own if not run.tested] or own


def run(args: argparse.Namespace) -> None:
    """Collect a run, or write page, plots and index; all is computed before any is written."""
    if args.what == 'collect':
        keys = {key: getattr(args, key) for key in ('group', 'label', 'command', 'tested')}
        print(f'kept: {collect(args.work_dir, **keys).write(args.results)}')
        return
    runs = load_all_results(args.results)
    if not runs:
        raise ValueError(f'{args.results} holds no results of runs; give those of run_group')
    groups = sorted({run.group for run in runs})
    if unknown := [group for group in args.index_groups if group not in groups]:
        raise ValueError(f'--index-groups: {unknown[0]!r} is none of {", ".join(groups)}')
    template = (args.results / 'results.md.j2').read_text()
    page = render(template, runs, gpu=args.results / 'gpu')
    index = fill_index(args.index, runs, args.index_groups)
    write_atomic(args.page, page.encode())
    print(f'page: {args.page}')
    for group in groups:
        own = [run for run in runs if run.group == group]
        for plot in write_plots(own, args.page.with_suffix('') / group):
            print(f'plot: {plot}')
    write_atomic(args.index, index)
    print(f'index: {args.index}')


def main(argv: list[str] | None = None) -> int:
    """Run the command; see ``run_command`` for the exit status."""
    return run_command('results_table', run, parse_args(argv))


if __name__ == '__main__':
    sys.exit(main())
