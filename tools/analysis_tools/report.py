"""Report on a training, or compare several: one HTML file that opens offline.

It shows mIoU, pixel accuracy and mean Dice on the validation set; the classes that fail and what
they are predicted as; learning curves; the worst, the median and the best images with their error
maps; the settings and the hardware. The figures also lie beside it, as PNGs.
"""

import argparse
import sys
from pathlib import Path

from mmengine.registry import init_default_scope

from pspnet_plugin import Predictor
from pspnet_plugin.apis.torch_network import TorchNetwork
from pspnet_plugin.toolkit.arguments import add_cfg_options, check_output_name
from pspnet_plugin.toolkit.report.evaluation import Evaluation, ValidationSet, evaluate
from pspnet_plugin.toolkit.report.image_rows import ImageRow
from pspnet_plugin.toolkit.report.page import weakest_classes, write_report
from pspnet_plugin.toolkit.report.runs import TrainingRun, open_run
from pspnet_plugin.utils.command_line import add_debug, complain, run_command

EXAMPLE = """examples:
  python tools/analysis_tools/report.py work_dirs/psp_demo
  python tools/analysis_tools/report.py work_dirs/before work_dirs/after --out compared.html
"""


def report(args: argparse.Namespace) -> None:
    """Evaluate the runs and write the report."""
    if args.pictures < 1 or args.batch < 1:
        raise ValueError(f'--pictures {args.pictures} --batch {args.batch}: give numbers from 1 up')
    if args.checkpoint and len(args.checkpoint) != len(args.work_dir):
        raise ValueError(
            f'--checkpoint: {len(args.checkpoint)} given for {len(args.work_dir)} work dirs; give '
            'one for each, or none for the last of each'
        )
    default = 'report.html' if len(args.work_dir) == 1 else 'comparison.html'
    out = args.out or args.work_dir[0] / default
    check_output_name(out, '.html', '.htm')
    checkpoints = args.checkpoint or [None] * len(args.work_dir)
    opened = [
        open_run(path, checkpoint=checkpoint, options=args.cfg_options)
        for path, checkpoint in zip(args.work_dir, checkpoints, strict=True)
    ]
    names = [run.path.resolve().name for run in opened]
    if len(set(names)) < len(names):
        names = [str(run.path) for run in opened]
    runs = dict(zip(names, opened, strict=True))
    init_default_scope(opened[0].config.get('default_scope', 'mmseg'))
    images = ValidationSet(opened[0].config)
    networks, evaluations = evaluate_runs(runs, images, device=args.device, batch=args.batch)
    examples, weak_examples = [], []
    if evaluations:
        first = next(iter(evaluations.values()))
        for word, index in choose_examples(first, args.pictures):
            caption = f'{word} {first.names[index]}, mIoU {first.image_miou(index):.0f}'.strip()
            examples.append(make_row(caption, images, index, networks))
        for weak in weakest_classes(first, images.classes):
            if (worst := weak.worst_image) is not None:
                iou = first.image_iou(worst)[weak.index]
                caption = f'{weak.label}: {first.names[worst]}, IoU {iou:.0f}'
                weak_examples.append(make_row(caption, images, worst, networks, label=weak.index))
    out.parent.mkdir(parents=True, exist_ok=True)
    write_report(
        out, runs=runs, images=images, evaluations=evaluations, examples=examples,
        weak_examples=weak_examples,
    )  # fmt: skip
    print(f'report: {out}')


def evaluate_runs(
    runs: dict[str, TrainingRun], images: ValidationSet, *, device: str | None, batch: int
) -> tuple[list[Predictor], dict[str, Evaluation]]:
    """Open and evaluate the networks of the runs that have weights."""
    networks, evaluations = [], {}
    for name, run in runs.items():
        if run.checkpoint is None:
            complain('report', f'{run.path}: no checkpoint yet, so it is not evaluated')
            continue
        network = Predictor(run.config, run.checkpoint, device=device, max_side=None)
        assert isinstance(network.network, TorchNetwork)
        count = network.network.model.num_classes
        if count != len(images.classes) or network.classes not in ([], images.classes):
            raise ValueError(
                f'{run.path}: its network has {count} classes ({", ".join(network.classes[:3])} …),'
                f' and the validation set of {next(iter(runs.values())).path} has '
                f'{len(images.classes)} ({", ".join(images.classes[:3])} …); compare runs of the '
                'same classes'
            )
        networks.append(network)
        evaluations[name] = evaluate(network, images, batch=batch)
    return networks, evaluations


def choose_examples(evaluation: Evaluation, count: int) -> list[tuple[str, int]]:
    """Choose ``count`` each of the worst, the median and the best images: captions and indices."""
    order = evaluation.rank_images()
    if len(order) <= 3 * count:
        return [('', index) for index in order]
    middle = (len(order) - count) // 2
    return [
        (word, index)
        for word, start in (('worst', 0), ('median', middle), ('best', len(order) - count))
        for index in order[start : start + count]
    ]


def make_row(
    caption: str,
    images: ValidationSet,
    index: int,
    networks: list[Predictor],
    *,
    label: int | None = None,
) -> ImageRow:
    """Label an image by each network."""
    image = images[index]
    assert image.truth is not None
    predictions = [network(image.photo).labels for network in networks]
    return ImageRow(caption, image.photo, image.truth, predictions, label)


def parse_args(arguments: list[str] | None) -> argparse.Namespace:
    """Parse the command line."""
    parser = argparse.ArgumentParser(
        description=__doc__, epilog=EXAMPLE, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    add = parser.add_argument
    add('work_dir', metavar='WORK_DIR', type=Path, nargs='+',
        help='work dir of a finished or running training; several are compared, on the validation '
        'set of the first',
    )  # fmt: skip
    add('--checkpoint', type=Path, nargs='+', help='one for each work dir (default: its last)')
    add('--out', metavar='FILE', type=Path,
        help='HTML file to write (default: report.html, of several comparison.html, in the first '
        'work dir); the figures go into a folder of its name',
    )  # fmt: skip
    add('--pictures', type=int, default=3,
        help='number of the worst, of the median and of the best images to show (default 3 each)',
    )  # fmt: skip
    add('--batch', type=int, default=4, help='images labelled at once (default 4)')
    add('--device', help='cpu, cuda:0 … (default: the first GPU, if there is one)')
    add_debug(parser)
    add_cfg_options(parser)
    return parser.parse_args(arguments)


def main(argv: list[str] | None = None) -> int:
    """Evaluate, draw and write; see ``run_command`` for the exit status."""
    return run_command('report', report, parse_args(argv))


if __name__ == '__main__':
    sys.exit(main())
