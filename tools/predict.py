"""Label photos, folders of them, pairs or videos with a trained network."""

import argparse
import importlib.util
import json
import math
import sys
import traceback
from collections.abc import Sequence
from functools import partial
from pathlib import Path

import numpy as np
import torch
from mmengine.config import Config
from tqdm import tqdm

from pspnet_plugin.apis.networks import ShrinkingNetwork, open_torch_network
from pspnet_plugin.apis.readers import count_frames
from pspnet_plugin.apis.sources import BadImage, find_sources
from pspnet_plugin.apis.stream import Network
from pspnet_plugin.toolkit.arguments import add_cfg_options, read_config
from pspnet_plugin.toolkit.prediction.labelling import label_files
from pspnet_plugin.toolkit.prediction.output_origin import check_folder, claim_folder, origin
from pspnet_plugin.toolkit.prediction.outputs import KINDS, Outputs
from pspnet_plugin.toolkit.prediction.pair_reader import PairReader, make_pair_reader, photo_side_of
from pspnet_plugin.utils.command_line import add_debug, complain, run_command
from pspnet_plugin.utils.files import write_atomic
from pspnet_plugin.utils.jobs import Stopped, stopping

ROOT = Path(__file__).resolve().parents[1]
PREDICT_ONNX = Path(__file__).parent / 'deployment' / 'predict_onnx.py'
EXAMPLE = """examples:
  python tools/predict.py holiday.jpg street/ --config configs/psp_demo.py \\
      --checkpoint work_dirs/psp_demo/iter_600.pth --out labelled
  python tools/predict.py data/demo_pairs/val --pairs --config configs/psp_demo.py \\
      --onnx demo.onnx --out scored --save index

An interrupted run goes on when the same command is given again.
"""


class OnnxNetwork(Network):
    """A file of export_onnx.py, by the program that runs it without torch; a photo at a time."""

    lanes = 1

    def __init__(self, path: Path) -> None:
        spec = importlib.util.spec_from_file_location('predict_onnx', PREDICT_ONNX)
        program = importlib.util.module_from_spec(spec)
        try:
            spec.loader.exec_module(program)
        except ImportError as error:
            raise ImportError(
                f"--onnx needs {error.name}: pip install -c constraints.txt '.[onedl,deploy]'"
            ) from None
        self._network = program.open_network(path)
        self.classes, self.palette = self._network.classes, self._network.palette
        # One of a fixed size sees everything at that.
        self.trained_side = None if self._network.size else self._network.max_side
        self._network = self._network._replace(max_side=None)  # a ``ShrinkingNetwork`` does it
        if self._network.size:
            print(program.size_note(path, self._network.size))

    def label(self, photos: Sequence[np.ndarray]) -> list[np.ndarray]:
        """(H, W, 3) uint8 BGR each to (H, W) uint8."""
        try:
            return [self._network.label(photo) for photo in photos]
        except Exception as error:  # onnxruntime's own have no common base
            text = ' '.join(str(error).split())[-300:]
            raise BadImage(f'cannot be labelled: {text}') from error


class Strict(Exception):
    """With ``--strict``, what ends the run."""


class Progress:
    """A bar with pictures per second, and what went wrong."""

    def __init__(self, total: int, *, strict: bool, debug: bool) -> None:
        self.bar = tqdm(total=total or None, unit='picture')
        self.strict = strict
        self.debug = debug
        self.bad: list[str] = []  # by several threads

    def add_bad(self, name: str, error: BadImage) -> None:
        """Names a picture that is left out; with ``strict`` it ends the run."""
        message = f'{name}: {error}' if name else str(error)
        self.bad.append(message)
        if self.debug:
            tqdm.write(''.join(traceback.format_exception(error)), file=sys.stderr)
        if self.strict:
            raise Strict(message)
        tqdm.write(f'predict: {message}', file=sys.stderr)


def open_network(args: argparse.Namespace, config: Config | None) -> Network:
    """The network, whose classes are known.

    Raises:
        FileNotFoundError: a file is missing.
        ValueError: the network is unusable, or does not say what its classes are.
    """
    if args.onnx:
        network = OnnxNetwork(args.onnx)
    else:
        device = args.device or ('cuda:0' if torch.cuda.is_available() else 'cpu')
        network = open_torch_network(config, args.checkpoint, device=device)
    if not network.classes or not len(network.palette):
        does_not = 'does not say what its classes are'
        source = 'a test_dataloader whose dataset has them in its metainfo'
        raise ValueError(
            f'{args.onnx} {does_not}; export it again by a config with {source}'
            if args.onnx
            else f'{args.checkpoint} {does_not}, nor does the config; give one with {source}'
        )
    return network


def open_pairs(args: argparse.Namespace, config: Config | None, network: Network) -> PairReader:
    """How pairs are read.

    Raises:
        ValueError: the config has none, or their classes are not the network's.
    """
    reader = make_pair_reader(config)
    if list(network.classes) != list(reader.classes):
        raise ValueError(
            f'--pairs: {args.onnx or args.checkpoint} knows the classes '
            f'{", ".join(network.classes)}; the pairs of {args.config} have '
            f'{", ".join(reader.classes)}. Give the config it was trained by'
        )
    return reader


def tell_of_shrinking(side: int) -> None:
    """What the default of ``--max-side`` does."""
    tqdm.write(
        f'predict: photos of more than {side} pixels on a side are shrunk to that for the network, '
        'which was trained on no larger ones (their labels are made as large as they are); '
        '--max-side N for another size, 0 for none',
        file=sys.stderr,
    )


def predict(args: argparse.Namespace) -> int:
    """Labels everything; the exit status is 1 if something could not be.

    Raises:
        OSError: something is missing, or may not be written.
        Stopped: a picture could not be written.
        ValueError: an argument is unusable.
        Strict: a picture is, with ``--strict``.
    """
    if args.batch < 1 or (args.max_side or 0) < 0 or not 0 <= args.opacity <= 1:
        raise ValueError(
            f'--batch {args.batch} --opacity {args.opacity} --max-side {args.max_side}: give a '
            'number from 1 up, a share from 0 to 1, and pixels from 0 up'
        )
    sources = find_sources(args.inputs, without=args.out)
    if args.pairs and (videos := [s.path for s in sources if s.is_video]):
        raise ValueError(f'--pairs: {videos[0]} is a video')
    config = read_config(args, root=ROOT, whole=False) if args.config else None
    text = config.pretty_text if config else ''  # opening the network changes it
    network = open_network(args, config)
    pairs = open_pairs(args, config, network) if args.pairs else None
    told = None
    if args.max_side is None and not pairs:  # pairs are scored as ``test.py`` sees them
        args.max_side = network.trained_side
        told = partial(tell_of_shrinking, network.trained_side)
    made_by = origin(
        args.onnx or args.checkpoint, config=args.config, text=text, save=args.save,
        opacity=args.opacity, pairs=args.pairs, max_side=args.max_side,
    )  # fmt: skip
    if args.max_side:
        network = ShrinkingNetwork(network, args.max_side, told=told)
    check_folder(args.out, made_by)
    args.out.mkdir(parents=True, exist_ok=True)
    outputs = Outputs(
        args.out, kinds=made_by['save'], classes=network.classes, palette=network.palette,
        opacity=args.opacity, photo_side=photo_side_of(config),
    )  # fmt: skip
    with outputs:
        check_folder(args.out, made_by)  # once more, where no other run can come in between
        claim_folder(args.out, made_by)
        todo = [source for source in sources if not outputs.has(source)]
        outputs.forget(todo)
        outputs.write_classes()
        if len(todo) < len(sources):
            print(f'{len(sources) - len(todo)} of {len(sources)} files are labelled already')
        left = (
            count_frames(source.path) - outputs.count_frames(source) if source.is_video else 1
            for source in todo
        )
        progress = Progress(sum(left), strict=args.strict, debug=args.debug)
        with progress.bar as bar, stopping():
            for count in label_files(
                todo, network, outputs, pairs=pairs, batch=args.batch, bad=progress.add_bad
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
        table.unlink(missing_ok=True)  # of other content of these files
    print(f'{len(outputs.of(sources))} pictures are labelled in {args.out}')
    if progress.bad:
        complain('predict', f'left out, each named above: {len(progress.bad)}')
    return 1 if progress.bad else 0


def parse_args(argv: list[str] | None = None) -> argparse.Namespace:
    """The command line."""
    parser = argparse.ArgumentParser(
        description=__doc__, epilog=EXAMPLE, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    add = parser.add_argument
    add('inputs', metavar='INPUT', nargs='+',
        help="photos, videos, folders of them (with sub-folders), patterns such as 'day*/*.jpg'",
    )  # fmt: skip
    add('--config', type=Path, help='config of the network')
    add('--checkpoint', type=Path, help='its weights')
    add('--onnx', type=Path,
        help='a file of export_onnx.py in place of the checkpoint and, without --pairs, of the '
        'config',
    )  # fmt: skip
    add('--out', metavar='DIR', type=Path, required=True, help='folder to write to')
    add('--save', nargs='+', choices=KINDS, default=['index', 'overlay'],
        help='index: PNG of class indices; color: PNG in the colours of the classes; overlay: '
        'colours over the photo, with a legend; pairs: photo and colours side by side, as the '
        'datasets read them; shares: CSV of the classes\' shares (default: index overlay)',
    )  # fmt: skip
    add('--pairs', action='store_true', help='inputs are pairs: label their photos, and score')
    add('--batch', type=int, default=1, help='photos of one size labelled at once (default 1; '
        '--onnx takes them one at a time)',
    )  # fmt: skip
    add('--max-side', type=int, metavar='PIXELS', help='shrink larger photos to this length of the '
        'longer side for the network; what is written keeps their size (default: that of the '
        'largest photos in its training; with --pairs, and with 0: never)',
    )  # fmt: skip
    add('--device', help='cpu, cuda:0 … (default: the first GPU, if there is one)')
    add('--opacity', type=float, default=0.5, help='of the colours of an overlay, 0 to 1')
    add('--strict', action='store_true', help='end at the first picture that cannot be labelled')
    add_debug(parser)
    add_cfg_options(parser)
    args = parser.parse_args(argv)
    if bool(args.onnx) == bool(args.checkpoint) or (args.checkpoint and not args.config):
        parser.error('give --config and --checkpoint, or --onnx')
    if args.onnx and args.device:
        parser.error('--device is for --checkpoint; onnxruntime takes a GPU if it has one')
    return args


def run(args: argparse.Namespace) -> int:
    """Labels everything, or with ``--strict`` as far as the first bad picture."""
    try:
        return predict(args)
    except Strict as error:
        complain('predict', str(error))
        return 1


def main(argv: list[str] | None = None) -> int:
    """Runs the command: 1 also where pictures were left out, else see ``run_command``."""
    goes_on = 'the same command goes on'
    endings = {Stopped: lambda error: (1, f'{error}; {goes_on}')}
    return run_command('predict', run, parse_args(argv), interrupted=goes_on, endings=endings)


if __name__ == '__main__':
    sys.exit(main())
