"""Report statistics and findings of a set of pairs, before a training spends a night on it.

Every pair of every split is decoded as a training decodes it: which classes there are and how much
of them, how many pixels are unsure, and what is wrong: unreadable files, another palette, swapped
halves, photos of one split in another.
"""

import argparse
import json
import os
import sys
from concurrent.futures import BrokenExecutor
from dataclasses import asdict
from pathlib import Path

from pspnet_plugin.labels.decoder import LabelDecoder
from pspnet_plugin.labels.palettes import NAMED, check_colors, read_metainfo
from pspnet_plugin.toolkit.arguments import add_label_options, decode_options
from pspnet_plugin.toolkit.inspection.contact_sheet import choose_rows, draw_sheet, max_rows
from pspnet_plugin.toolkit.inspection.findings import Finding, find_problems
from pspnet_plugin.toolkit.inspection.pair_statistics import DecodingSettings
from pspnet_plugin.toolkit.inspection.split_statistics import (
    SplitStatistics,
    find_splits,
    measure_splits,
)
from pspnet_plugin.utils.command_line import (
    add_debug,
    add_workers,
    bounded_int,
    complain,
    run_command,
)
from pspnet_plugin.utils.files import write_atomic
from pspnet_plugin.utils.output_directory import METAINFO

TOOL = 'inspect_pairs'
EXAMPLE = f"""examples:
  python tools/analysis_tools/inspect_pairs.py data/cityscapes_pairs --sheet sheet.png
  python tools/analysis_tools/inspect_pairs.py data/facades --palette facades --json facades.json

Palettes by name: {', '.join(NAMED)}, or the class of a stock dataset, e.g. LoveDADataset.
The exit status is 1 if an error was found, 0 if there are only warnings, 2 for unusable arguments.
"""


def parse_args(argv: list[str] | None = None) -> argparse.Namespace:
    """Parse the command line."""
    parser = argparse.ArgumentParser(
        description=__doc__, epilog=EXAMPLE, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    add = parser.add_argument
    add('root', metavar='ROOT', type=Path, help='directory of the set, or of one split')
    add('--splits', metavar='NAME', nargs='+', default=[], help='inspect only these splits')
    add('--palette', help='name or .json, .yaml, .py file (the metainfo.json of the set, if it has '
        'one; else cityscapes)',
    )  # fmt: skip
    add_label_options(parser)
    add_workers(parser)
    add('--json', metavar='FILE', type=Path, help='write all statistics and findings as JSON')
    add('--sheet', metavar='FILE.png', type=Path, help='draw pairs and their decoded labels')
    add(
        '--pairs', type=bounded_int(1), default=6,
        help='number of pairs on the sheet: two thirds spread evenly, one third most unsure (6)',
    )  # fmt: skip
    add_debug(parser)
    return parser.parse_args(argv)


def check_args(args: argparse.Namespace) -> None:
    """Check the output files before the work."""
    if args.sheet and args.sheet.suffix.lower() != '.png':
        raise ValueError(f'--sheet {args.sheet}: give a name ending in .png')
    if args.sheet and args.pairs > max_rows():
        raise ValueError(f'--pairs {args.pairs}: a sheet holds at most {max_rows()}')
    for option, file in (('--json', args.json), ('--sheet', args.sheet)):
        if not file:
            continue
        folder = file.absolute().parent
        if file.is_dir():
            raise ValueError(f'{option} {file} is a directory; give the name of a file')
        if not folder.is_dir():
            raise FileNotFoundError(f'{option} {file}: there is no directory {file.parent}')
        if not os.access(folder, os.W_OK | os.X_OK):
            raise PermissionError(f'{option} {file}: {file.parent} is not writable')


def print_split(name: str, figures: dict) -> None:
    """Print the statistics of a split."""
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
        print(f'  {"class":<{width}}  share %    images  unsure %')
        for entry in figures['classes']:
            print(
                f'  {entry["name"]:<{width}}  {100 * entry["share"]:>7.2f}  '
                f'{entry["pictures"]:>8}  {100 * entry["unsure"]:>8.1f}'
            )
    if figures['unknown_colors']:
        print('  flat colours that the palette lacks: share of all pixels, an example')
        for entry in figures['unknown_colors']:
            rgb = ', '.join(map(str, entry['color']))
            print(f'    ({rgb})'.ljust(22) + f'{entry["share"]:>8.3%}  {entry["example"]}')
    print()


def print_findings(findings: list[Finding]) -> None:
    """Print a line for each finding."""
    print('findings' if findings else 'no errors or warnings')
    for finding in findings:
        where = f'{finding.split}: ' if finding.split else ''
        print(f'  {finding.severity}: {where}{finding.message}')


def make_sheet(splits: list[SplitStatistics], args: argparse.Namespace) -> bytes:
    """Draw the contact sheet."""
    sizes = [size for split in splits for size in split.sizes]
    if not sizes:
        raise ValueError(f'--sheet {args.sheet} is not drawn: no pair can be read')
    wanted = min(args.pairs, sum(len(split.unsure_shares) for split in splits))
    count = min(wanted, max(1, max_rows(sizes)))
    if count < wanted:
        complain(TOOL, f'--pairs {args.pairs}: only {count} of this height fit on the sheet')
    counts = ' / '.join(
        f'{len(split.pairs)}' + (f' in {split.name}' if split.name != '.' else '')
        for split in (one.split for one in splits)
    )
    title = f'{args.root}: pairs: {counts}; palette {args.palette}, rule {args.rule}'
    return draw_sheet(choose_rows(splits, count), splits, title=title)


def inspect(args: argparse.Namespace) -> int:
    """Read the set, print statistics and findings and write the output files."""
    check_args(args)
    if args.palette is None:
        own = args.root / METAINFO
        args.palette = str(own) if own.is_file() else 'cityscapes'
    metainfo = read_metainfo(args.palette)
    known = [color for key in ('palette', 'void_palette')
             for color in check_colors(metainfo[key], name=key)]  # fmt: skip
    decode = decode_options(args)
    decoder = LabelDecoder(known, **decode)
    settings = DecodingSettings(metainfo['classes'], decoder, args.photo_side)
    found, strays = find_splits(args.root, wanted=args.splits)
    splits = measure_splits(found, settings, workers=args.workers)
    findings = find_problems(splits, strays=strays)
    figures = dict(
        root=str(args.root),
        palette=args.palette,
        photo_side=args.photo_side,
        **decode,
        splits={one.split.name: one.figures() for one in splits},
        problems=[asdict(finding) for finding in findings],
    )
    for name, split in figures['splits'].items():
        print_split(name, split)
    print_findings(findings)
    failed = any(finding.severity == 'error' for finding in findings)
    try:
        if args.json:
            write_atomic(args.json, json.dumps(figures, indent=1).encode())
        if args.sheet:
            write_atomic(args.sheet, make_sheet(splits, args))
            print(f'sheet: {args.sheet}')
    except (OSError, ValueError) as error:
        complain(TOOL, str(error))
        failed = True
    return int(failed)


ENDINGS = {
    BrokenExecutor: lambda _: (1, 'a worker process was killed; try fewer --workers'),
    PermissionError: lambda error: (
        2, f'{error.filename} is not readable' if error.filename else str(error)
    ),
}  # fmt: skip


def main(argv: list[str] | None = None) -> int:
    """Run the tool: status 1 for a set with errors, else see ``run_command``."""
    return run_command(TOOL, inspect, parse_args(argv), endings=ENDINGS)


if __name__ == '__main__':
    sys.exit(main())
