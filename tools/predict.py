"""Label photos, directories of them, pairs or videos with a trained network."""

import argparse
import json
import math
import sys
import traceback
from collections import Counter
from pathlib import Path

from mmengine.config import Config
from tqdm import tqdm

from pspnet_plugin import Predictor
from pspnet_plugin.apis import BadImage
from pspnet_plugin.apis.onnx_network import OnnxNetwork
from pspnet_plugin.engine.zoo import DEFAULT_MODEL
from pspnet_plugin.toolkit.arguments import add_cfg_options, add_model, find_model, read_config
from pspnet_plugin.toolkit.prediction.marker import MARKER, check_directory, describe_run
from pspnet_plugin.toolkit.prediction.outputs import KINDS, Outputs
from pspnet_plugin.toolkit.prediction.pair_reader import PairReader, make_pair_reader, photo_side_of
from pspnet_plugin.toolkit.prediction.sources import find_sources
from pspnet_plugin.toolkit.prediction.stream import label_files
from pspnet_plugin.toolkit.prediction.videos import count_frames
from pspnet_plugin.utils.command_line import add_bits, add_debug, complain, run_command
from pspnet_plugin.utils.files import write_atomic
from pspnet_plugin.utils.jobs import Stopped, stopping
from pspnet_plugin.utils.output_directory import claim

ROOT = Path(__file__).resolve().parents[1]
EXAMPLE = """examples:
  python tools/predict.py street.jpg --out labelled
  python tools/predict.py kitchen.jpg rooms/ --config configs/my_pairs.py \\
      --checkpoint work_dirs/my_pairs/iter_4000.pth --out labelled
  python tools/predict.py data/demo_pairs/val --pairs --config configs/psp_demo.py \\
      --onnx demo.onnx --out scored --save index

The same command resumes an interrupted run.
"""


class Strict(Exception):
    """End of a run at the first skipped image, with ``--strict``."""


class Progress:
    """A bar with images per second, and the list of skipped images."""

    def __init__(self, total: int, *, strict: bool, debug: bool) -> None:
        self.bar = tqdm(total=total or None, unit='image')
        self.strict = strict
        self.debug = debug
        self.skipped: list[str] = []

    def skip(self, name: str, error: BadImage) -> None:
        """Name an image that is skipped; with ``strict``, end the run."""
        message = f'{name}: {error}' if name else str(error)
        self.skipped.append(message)
        if self.debug:
            tqdm.write(''.join(traceback.format_exception(error)), file=sys.stderr)
        if self.strict:
            raise Strict(message)
        tqdm.write(f'predict: {message}', file=sys.stderr)


def open_predictor(args: argparse.Namespace, config: Config | None) -> Predictor:
    """Open the network, which must name its classes."""

    def explain(side: int) -> None:
        tqdm.write(
            f'predict: photos with a side above {side} pixels are shrunk to it for the network, '
            'which was trained on none larger, and their labels enlarged again; --max-side N for '
            'another size, 0 for none',
            file=sys.stderr,
        )

    by_default = args.max_side is None and not args.pairs  # pairs are scored as by ``test.py``
    predictor = Predictor(
        args.onnx or config, args.checkpoint, device=args.device,
        max_side='trained' if by_default else args.max_side, bits=args.bits,
        on_shrink=explain if by_default else None,
    )  # fmt: skip
    predictor.require_classes()
    network = predictor.network
    if isinstance(network, OnnxNetwork) and network.size:
        height, width = network.size
        print(
            f'{args.onnx} takes {height}x{width} only: photos of another size are resized to it, '
            'and their labels back; export with --dynamic for any size'
        )
    return predictor


def open_pairs(args: argparse.Namespace, config: Config | None, classes: list[str]) -> PairReader:
    """Make the reader of pairs; ``ValueError`` if their classes are not the network's."""
    reader = make_pair_reader(config)
    if list(classes) != list(reader.classes):
        raise ValueError(
            f'--pairs: {args.onnx or args.checkpoint} has the classes {", ".join(classes)}; the '
            f'pairs of {args.config} have {", ".join(reader.classes)}. Give the config it was '
            'trained with'
        )
    return reader


def predict(args: argparse.Namespace) -> int:
    """Label everything; the exit status is 1 if an image was skipped."""
    if args.batch < 1 or (args.max_side or 0) < 0 or not 0 <= args.opacity <= 1:
        raise ValueError(
            f'--batch {args.batch} --opacity {args.opacity} --max-side {args.max_side}: give a '
            'number from 1 up, a share from 0 to 1, and pixels from 0 up'
        )
    skipped: Counter[str] = Counter()
    sources = find_sources(args.inputs, without=args.out, skipped=skipped)
    if skipped:
        listed = ', '.join(f'{count} {suffix}' for suffix, count in skipped.most_common())
        print(f'other files, skipped: {listed}')
    if args.pairs and (videos := [s.path for s in sources if s.is_video]):
        raise ValueError(f'--pairs: {videos[0]} is a video')
    if args.model is not None or not (args.config or args.onnx):
        name = DEFAULT_MODEL if args.model is None else args.model
        args.config, args.checkpoint = find_model(name, is_default=args.model is None)
    config = read_config(args, root=ROOT, whole=False) if args.config else None
    predictor = open_predictor(args, config)
    pairs = open_pairs(args, config, predictor.classes) if args.pairs else None
    run_info = describe_run(
        args.onnx or args.checkpoint, config=args.config, text=config.pretty_text if config else '',
        save=sorted(set(args.save)), opacity=args.opacity, pairs=args.pairs,
        max_side=predictor.max_side if args.max_side is None else args.max_side,
        **(dict(bits=args.bits) if args.bits else {}),
    )  # fmt: skip
    check_directory(args.out, run_info)
    args.out.mkdir(parents=True, exist_ok=True)
    outputs = Outputs(
        args.out, predictor, kinds=run_info['save'], opacity=args.opacity,
        photo_side=photo_side_of(config),
    )  # fmt: skip
    with outputs:
        check_directory(args.out, run_info)  # once more, now that no other run can come in between
        claim(args.out, marker=MARKER, made_by=run_info)
        todo = [source for source in sources if not outputs.has(source)]
        outputs.remove_outdated(todo)
        outputs.write_classes()
        if len(todo) < len(sources):
            print(f'{len(sources) - len(todo)} of {len(sources)} files are labelled already')
        remaining = (
            count_frames(source.path) - len(outputs.done_frames(source)) if source.is_video else 1
            for source in todo
        )
        progress = Progress(sum(remaining), strict=args.strict, debug=args.debug)
        # Read by read_photo, labelled by predictor.label_batches, drawn by outputs.write.
        with progress.bar as bar, stopping():
            for count in label_files(
                todo, predictor, outputs, pairs=pairs, batch=args.batch, skip=progress.skip
            ):
                bar.update(count)
    if 'shares' in args.save:
        print(f'shares: {outputs.write_shares(sources)}')
    table = args.out / 'scores.json'
    if scores := outputs.scores(sources):
        print(' '.join(f'{key} {scores[key]:.2f}' for key in ('mIoU', 'aAcc', 'mDice')))
        values = {key: None if math.isnan(value) else value for key, value in scores.items()}
        write_atomic(table, json.dumps(values, indent=1).encode())
    elif args.pairs:
        table.unlink(missing_ok=True)  # of former content of these files
    print(f'{len(outputs.entries(sources))} images are labelled in {args.out}')
    if progress.skipped:
        complain('predict', f'skipped, each named above: {len(progress.skipped)}')
    return 1 if progress.skipped else 0


def parse_args(argv: list[str] | None = None) -> argparse.Namespace:
    """Read the command line."""
    parser = argparse.ArgumentParser(
        description=__doc__, epilog=EXAMPLE, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    add = parser.add_argument
    add('inputs', metavar='INPUT', nargs='+',
        help="photos, videos, directories (searched with all below them), patterns such as "
        "'day*/*.jpg'",
    )  # fmt: skip
    add_model(parser)
    add('--config', type=Path, help='config of a network of your own')
    add('--checkpoint', type=Path, help='file of its weights')
    add('--onnx', type=Path,
        help='file of export_onnx.py in place of the checkpoint and, without --pairs, of the '
        'config',
    )  # fmt: skip
    add('--out', metavar='DIR', type=Path, required=True, help='output directory')
    add('--save', nargs='+', choices=KINDS, default=['index', 'overlay'],
        help='index: PNG of class indices; color: PNG in the class colours; overlay: colours over '
        'the photo, with a legend; pairs: photo and colours side by side, as the datasets read '
        'them; shares: CSV of the share of each class (default: index overlay)',
    )  # fmt: skip
    add('--pairs', action='store_true', help='inputs are pairs: label their photos, and score')
    add('--batch', type=int, default=1, help='number of photos of one size labelled at once '
        '(default 1; --onnx takes one at a time)',
    )  # fmt: skip
    add('--max-side', type=int, metavar='PIXELS', help='shrink photos with a longer side to this '
        'for the network; outputs keep their size (default: longer side of the largest training '
        'photos; with --pairs, and with 0: never)',
    )  # fmt: skip
    add_bits(parser)
    add('--device', help='cpu, cuda:0 … (default: the first GPU, if there is one)')
    add('--opacity', type=float, default=0.5, help='opacity of the overlay colours, 0 to 1')
    add('--strict', action='store_true', help='end at the first image that cannot be labelled')
    add_debug(parser)
    add_cfg_options(parser)
    args = parser.parse_args(argv)
    own = bool(args.config or args.checkpoint)
    if args.onnx:
        is_whole = not (args.model or args.checkpoint)
    else:
        is_whole = not own or bool(args.config and args.checkpoint and not args.model)
    if not is_whole:
        parser.error(
            'give --config and --checkpoint together, or --model or --onnx alone (--onnx --pairs: '
            "with --config); none of them: the package's own network"
        )
    if args.onnx and args.device:
        parser.error('--device is for --checkpoint; onnxruntime takes a GPU if it has one')
    return args


def run(args: argparse.Namespace) -> int:
    """Label everything, or with ``--strict`` as far as the first bad image."""
    try:
        return predict(args)
    except Strict as error:
        complain('predict', str(error))
        return 1


def main(argv: list[str] | None = None) -> int:
    """Run the command: 1 also where images were skipped, else see ``run_command``."""
    resume = 'the same command resumes'
    return run_command(
        'predict', run, parse_args(argv), interrupted=resume,
        endings={Stopped: lambda error: (1, f'{error}; {resume}')},
    )  # fmt: skip


if __name__ == '__main__':
    sys.exit(main())
