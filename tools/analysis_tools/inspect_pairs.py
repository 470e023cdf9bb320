"""Say what is in a set of pairs before a training spends a night on it.

Every pair of every split is read as a training would read it: which classes there are and how
much of them, how many pixels are unsure, and what is wrong: unreadable files, another palette,
swapped halves, photos of one split in another.
"""

import argparse
import json
import os
import sys
from concurrent.futures import BrokenExecutor
from dataclasses import asdict
from functools import partial
from pathlib import Path

from pspnet_plugin.datasets.listing import Split
from pspnet_plugin.labels.palettes import IGNORE_INDEX, NAMED, check_colors, read_metainfo
from pspnet_plugin.toolkit.arguments import add_label_options
from pspnet_plugin.toolkit.inspection.contact_sheet import draw_sheet
from pspnet_plugin.toolkit.inspection.findings import Problem, find_problems
from pspnet_plugin.toolkit.inspection.pair_statistics import Reading, look_at
from pspnet_plugin.toolkit.inspection.sheet_rows import choose_rows, most_rows
from pspnet_plugin.toolkit.inspection.split_selection import find_splits
from pspnet_plugin.toolkit.inspection.split_statistics import SplitTally
from pspnet_plugin.utils.arguments import add_workers, whole_number
from pspnet_plugin.utils.command_line import add_debug, complain, run_command
from pspnet_plugin.utils.jobs import run_jobs, write_atomic
from pspnet_plugin.utils.output_directory import METAINFO

TOOL = 'inspect_pairs'
EXAMPLE = f"""examples:
  python tools/analysis_tools/inspect_pairs.py data/cityscapes_pairs --sheet sheet.png
  python tools/analysis_tools/inspect_pairs.py data/facades --palette facades --json facades.json

Palettes by name: {', '.join(NAMED)}, or the class of a stock dataset, e.g. LoveDADataset.
The exit status is 1 where an error was found, 0 where there are warnings at most, 2 for arguments
that make no sense.
"""


def parse_args(argv: list[str] | None = None) -> argparse.Namespace:
    """The command line."""
    parser = argparse.ArgumentParser(
        description=__doc__, epilog=EXAMPLE, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    add = parser.add_argument
    add('root', metavar='ROOT', type=Path, help='folder of the set, or of one split')
    add('--splits', metavar='NAME', nargs='+', default=[], help='of the splits, only these')
    add('--palette', help='name or .json, .yaml, .py file (the metainfo.json of the set, if it has '
        'one; else cityscapes)',
    )  # fmt: skip
    add_label_options(parser)
    add_workers(parser)
    add('--json', metavar='FILE', type=Path, help='write all figures and problems, as JSON')
    add('--sheet', metavar='FILE.png', type=Path, help='draw pairs with what they are read as')
    add(
        '--pairs',
        type=whole_number(1),
        default=6,
        help='on the sheet: spread evenly, and most unsure (6)',
    )
    add_debug(parser)
    return parser.parse_args(argv)


def check_args(args: argparse.Namespace) -> None:
    """Finds before the work what would be found after it.

    Raises:
        ValueError: a number is too small or too large, or a file has the wrong suffix.
        FileNotFoundError: a file's folder is missing.
        PermissionError: it may not be written in.
    """
    if args.sheet and args.sheet.suffix.lower() != '.png':
        raise ValueError(f'--sheet {args.sheet}: expected a name ending in .png')
    if args.sheet and args.pairs > most_rows():
        raise ValueError(f'--pairs {args.pairs}: a sheet holds {most_rows()} at most')
    for option, file in (('--json', args.json), ('--sheet', args.sheet)):
        if file and file.is_dir():
            raise ValueError(f'{option} {file}: that is a folder; give the name of a file')
        if file and not file.absolute().parent.is_dir():
            raise FileNotFoundError(f'{option} {file}: there is no folder {file.parent}; make it')
        if file and not os.access(file.absolute().parent, os.W_OK | os.X_OK):
            raise PermissionError(
                f'{option} {file}: no right to write in {file.parent}; give a folder of yours'
            )


def tally_splits(
    splits: list[Split], *, reading: Reading, classes: list[str], workers: int
) -> list[SplitTally]:
    """Looks at every pair of every split."""
    tallies = [SplitTally(split, classes=classes, reading=reading) for split in splits]
    places = {
        tally.split.path(name): (tally, number)
        for tally in tallies
        for number, name in enumerate(tally.split.pairs)
    }
    look = partial(look_at, reading=reading)
    for path, seen in run_jobs(look, list(places), workers=workers, unit='pair'):
        tally, number = places[path]
        tally.add(number, seen)
    return tallies


def print_split(name: str, figures: dict) -> None:
    """The figures of a split as text."""
    sizes = ', '.join(f'{count} of {size}' for size, count in figures['sizes'].items())
    print(f'{name}: {figures["pairs"]} pairs; halves (width x height): {sizes or "none read"}')
    if figures['ignored']:
        listed = ', '.join(f'{count} {suffix}' for suffix, count in figures['ignored'].items())
        print(f'  other files, ignored: {listed}')
    if figures['in_palette']:
        print(
            f'  of all pixels {figures["labelled"]:.2%} have a class, {figures["void"]:.2%} are '
            f'void, {figures["unexplained"]:.2%} unexplained; {figures["unsure"]:.2%} are unsure'
        )
        width = max(len(entry['name']) for entry in figures['classes'])
        print(f'  {"class":<{width}}  share %  pictures  unsure %')
        for entry in figures['classes']:
            print(
                f'  {entry["name"]:<{width}}  {100 * entry["share"]:>7.2f}  '
                f'{entry["pictures"]:>8}  {100 * entry["unsure"]:>8.1f}'
            )
    if figures['unknown_colors']:
        print('  flat colours that no palette entry explains: share of all pixels, an example')
        for entry in figures['unknown_colors']:
            rgb = ', '.join(map(str, entry['color']))
            print(f'    ({rgb})'.ljust(22) + f'{entry["share"]:>8.3%}  {entry["example"]}')
    print()


def print_problems(problems: list[Problem]) -> None:
    """One line a problem."""
    if not problems:
        print('nothing wrong found')
        return
    print('problems')
    for problem in problems:
        where = f'{problem.split}: ' if problem.split else ''
        print(f'  {problem.severity}: {where}{problem.message}')


def sheet_of(tallies: list[SplitTally], figures: dict, args: argparse.Namespace) -> bytes:
    """The contact sheet.

    Raises:
        ValueError: there is no pair to draw, or not even one fits.
    """
    sizes = [size for tally in tallies for size in tally.sizes]
    fitting = min(args.pairs, max(1, most_rows(sizes))) if sizes else 0
    rows = choose_rows(tallies, fitting)
    if fitting < min(args.pairs, sum(len(tally.unsure_shares) for tally in tallies)):
        complain(
            TOOL,
            f'--pairs {args.pairs}: {fitting} of them are drawn, as more of this height do not fit',
        )
    if not rows:
        raise ValueError(f'--sheet {args.sheet}: not drawn, as there is no pair that can be read')
    reading = tallies[0].reading
    void = len(reading.palette)
    legend = [(entry, position) for position, entry in enumerate(tallies[0].classes)]
    legend += [('void', void), ('unexplained', IGNORE_INDEX)]
    splits = figures['splits'].values()
    for i, (name, position) in enumerate(legend):
        shares = [s['classes'][i]['share'] if position < void else s[name] for s in splits]
        legend[i] = (f'{name} {" / ".join(f"{share:.2%}" for share in shares)}', position)
    counts = ' / '.join(
        f'{split["pairs"]}' + (f' in {name}' if name != '.' else '')
        for name, split in figures['splits'].items()
    )
    title = f'{args.root}: pairs: {counts}; palette {args.palette}, rule {args.rule}'
    return draw_sheet(rows, reading=reading, title=title, legend=legend)


def inspect(args: argparse.Namespace) -> int:
    """Reads the set, prints the findings and writes what was asked for."""
    check_args(args)
    if args.palette is None:
        own = args.root / METAINFO
        args.palette = str(own) if own.is_file() else 'cityscapes'
    metainfo = read_metainfo(args.palette)
    reading = Reading(
        check_colors(metainfo['palette'], name='palette'),
        check_colors(metainfo['void_palette'], name='void_palette'),
        args.photo_side, args.rule, args.max_distance, args.min_confidence, args.min_explained,
    )  # fmt: skip
    splits, strays = find_splits(args.root, wanted=args.splits)
    tallies = tally_splits(
        splits, reading=reading, classes=metainfo['classes'], workers=args.workers
    )
    problems = find_problems(tallies, strays=strays)
    settings = (
        'palette', 'photo_side', 'rule', 'max_distance', 'min_confidence', 'min_explained',
    )  # fmt: skip
    figures = dict(
        root=str(args.root),
        **{key: getattr(args, key) for key in settings},
        splits={tally.split.name: tally.figures() for tally in tallies},
        problems=[asdict(problem) for problem in problems],
    )
    for name, split in figures['splits'].items():
        print_split(name, split)
    print_problems(problems)
    failed = any(problem.severity == 'error' for problem in problems)
    try:
        if args.json:
            write_atomic(args.json, json.dumps(figures, indent=1).encode())
        if args.sheet:
            write_atomic(args.sheet, sheet_of(tallies, figures, args))
            print(f'sheet: {args.sheet}')
    except (OSError, ValueError) as error:
        complain(TOOL, str(error))
        failed = True
    return int(failed)


ENDINGS = {
    BrokenExecutor: lambda error: (
        1, 'a worker process was killed, as when memory is short; try fewer --workers'
    ),
    PermissionError: lambda error: (
        2,
        f'no right to read {error.filename}; have its rights changed'
        if error.filename
        else str(error),
    ),
}  # fmt: skip


def main(argv: list[str] | None = None) -> int:
    """Runs the tool: 1 for a set with errors, else see ``run_command``."""
    return run_command(TOOL, inspect, parse_args(argv), endings=ENDINGS)


if __name__ == '__main__':
    sys.exit(main())
