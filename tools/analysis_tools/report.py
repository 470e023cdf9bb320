"""Report on a training, or compare several: one HTML file that opens offline.

What it says: mIoU, pixel accuracy and mean Dice on the validation set; which classes fail and what
they are taken for; curves; the worst, the median and the best pictures with their error maps; what
it was trained with. The figures also lie beside it, as PNGs.
"""

import argparse
import copy
import sys
from pathlib import Path

import torch
from mmengine.registry import init_default_scope

from pspnet_plugin.apis.networks import TorchNetwork, open_torch_network
from pspnet_plugin.evaluation.areas import scores
from pspnet_plugin.toolkit.arguments import add_cfg_options, check_out
from pspnet_plugin.toolkit.report.evaluation import Examined, LabelledSet, examine
from pspnet_plugin.toolkit.report.image_rows import Shown
from pspnet_plugin.toolkit.report.page import weakest, write_report
from pspnet_plugin.toolkit.report.work_dirs import RunFolder, open_run
from pspnet_plugin.utils.command_line import add_debug, complain, run_command

EXAMPLE = """examples:
  python tools/analysis_tools/report.py work_dirs/psp_demo
  python tools/analysis_tools/report.py work_dirs/before work_dirs/after --out compared.html
"""


def choose(examined: Examined, count: int) -> list[tuple[str, int]]:
    """Captions and indices of the worst, the median and the best pictures, ``count`` of each."""
    order = examined.by_score()
    if len(order) <= 3 * count:
        return [('', index) for index in order]
    middle = (len(order) - count) // 2
    return [
        (word, index)
        for word, start in (('worst', 0), ('median', middle), ('best', len(order) - count))
        for index in order[start : start + count]
    ]


def show(
    word: str,
    index: int,
    pictures: LabelledSet,
    networks: list[TorchNetwork],
    examined: Examined,
    *,
    label: int | None = None,
) -> Shown:
    """A picture with what each network makes of it, of all classes or of one."""
    picture = pictures[index]
    if label is None:
        score = f'mIoU {examined.picture_iou(index):.0f}'
    else:
        score = f'IoU {scores(examined.areas[index])["IoU"][label]:.0f}'
    labels = [network.label([picture.photo])[0] for network in networks]
    return Shown(f'{word} {picture.name}, {score}'.strip(), picture, labels, label)


def report(args: argparse.Namespace) -> None:
    """Scores the runs and writes the report.

    Raises:
        FileNotFoundError: a folder or file is missing.
        ValueError: an argument, or what the runs hold, is unusable.
    """
    if args.pictures < 1 or args.batch < 1:
        raise ValueError(f'--pictures {args.pictures} --batch {args.batch}: give numbers from 1 up')
    if args.checkpoint and len(args.checkpoint) != len(args.work_dir):
        raise ValueError(
            f'--checkpoint: {len(args.checkpoint)} given for {len(args.work_dir)} work dirs; give '
            'one for each, or none for the last of each'
        )
    default = 'report.html' if len(args.work_dir) == 1 else 'comparison.html'
    out = args.out or args.work_dir[0] / default
    check_out(out, '.html', '.htm')
    checkpoints = args.checkpoint or [None] * len(args.work_dir)
    runs = [
        open_run(path, checkpoint=checkpoint, options=args.cfg_options)
        for path, checkpoint in zip(args.work_dir, checkpoints, strict=True)
    ]
    init_default_scope(runs[0].config.get('default_scope', 'mmseg'))
    pictures = LabelledSet(runs[0].config)
    names = _names(runs)
    networks, examined = _examine(dict(zip(names, runs, strict=True)), pictures, args)
    chosen, telling = [], []
    if examined:
        first = next(iter(examined.values()))
        chosen = [
            show(word, index, pictures, networks, first)
            for word, index in choose(first, args.pictures)
        ]
        telling = [
            show(f'{one.label}:', one.picture, pictures, networks, first, label=one.index)
            for one in weakest(first, pictures.classes)
            if one.picture is not None
        ]
    out.parent.mkdir(parents=True, exist_ok=True)
    write_report(
        out,
        names=names,
        runs=runs,
        pictures=pictures,
        examined=examined,
        chosen=chosen,
        telling=telling,
    )
    print(f'report: {out}')


def _examine(
    runs: dict[str, RunFolder], pictures: LabelledSet, args: argparse.Namespace
) -> tuple[list[TorchNetwork], dict[str, Examined]]:
    """Networks and, by name, results of the runs that have weights."""
    device = args.device or ('cuda:0' if torch.cuda.is_available() else 'cpu')
    networks, examined = [], {}
    for name, run in runs.items():
        if run.checkpoint is None:
            complain('report', f'{run.path}: no checkpoint yet, so it is not scored')
            continue
        config = copy.deepcopy(run.config)  # which is changed by opening it
        network = open_torch_network(config, run.checkpoint, device=device)
        count = network.model.num_classes
        if count != len(pictures.classes) or network.classes not in ([], pictures.classes):
            raise ValueError(
                f'{run.path}: its network knows {count} classes ({", ".join(network.classes[:3])} '
                f'…), and the validation set of {args.work_dir[0]} has {len(pictures.classes)} '
                f'({", ".join(pictures.classes[:3])} …); they cannot be compared'
            )
        networks.append(network)
        examined[name] = examine(network, pictures, batch=args.batch)
    return networks, examined


def _names(runs: list[RunFolder]) -> list[str]:
    """Of the folders; whole paths where two are called the same."""
    names = [run.name for run in runs]
    return names if len(set(names)) == len(names) else [str(run.path) for run in runs]


def parse_args(arguments: list[str] | None) -> argparse.Namespace:
    """Read the command line."""
    parser = argparse.ArgumentParser(
        description=__doc__, epilog=EXAMPLE, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    add = parser.add_argument
    add('work_dir', metavar='WORK_DIR', type=Path, nargs='+',
        help='folder of a finished or running training; several are compared, on the validation '
        'set of the first',
    )  # fmt: skip
    add('--checkpoint', type=Path, nargs='+', help='one a work dir (default: the last of each)')
    add('--out', metavar='FILE', type=Path,
        help='HTML file to write (default: report.html, of several comparison.html, in the first '
        'work dir); the figures go into a folder of its name',
    )  # fmt: skip
    add('--pictures', type=int, default=3,
        help='how many of the worst, the median and the best pictures are shown (default 3 each)',
    )  # fmt: skip
    add('--batch', type=int, default=4, help='pictures labelled at once (default 4)')
    add('--device', help='cpu, cuda:0 … (default: the first GPU, if there is one)')
    add_debug(parser)
    add_cfg_options(parser)
    return parser.parse_args(arguments)


def main(argv: list[str] | None = None) -> int:
    """Scores, draws and writes; see ``run_command`` for its exit status."""
    return run_command('report', report, parse_args(argv))


if __name__ == '__main__':
    sys.exit(main())
