"""Measures parts of the plugin beside their stock counterparts, as ratios within one run.

``heads``: FastPSPHead and FastUPerHead beside PSPHead and UPerHead, in inference and training.
``networks``: a whole network, from a generated street scene to its index map, beside the same with
the stock head, and in deployed forms.
``keras``: the article's network beside itself in Keras, in inference and training.
``loader``: a record of a pair, by each rule that reads labels, beside the bare decode of its bytes.
``predict``: photos from files to files, as ``predict.py`` labels them, beside the bare network.

Ways take turns, round by round, after one run each that does not count. Ratios are medians over
rounds (lowest to highest); seconds are the least of all rounds. Memory is the most that torch's
allocator holds at once beyond what it held before. The floor is what the multiply-adds take at the
speed of a large matrix product. A record's time is the least of its rounds, which other work on the
machine touches least.
"""

import argparse
import json
import platform
import sys
from pathlib import Path

import torch

from benchmarks.heads import HEADS
from benchmarks.parts import DTYPES, PARTS
from benchmarks.timing import measure_machine
from pspnet_plugin.toolkit.prediction.outputs import KINDS
from pspnet_plugin.utils.arguments import parse_size, whole_number
from pspnet_plugin.utils.command_line import add_debug, run_command
from pspnet_plugin.utils.environment import processor_name
from pspnet_plugin.version import __version__

EXAMPLE = """examples:
  python -m benchmarks heads --only r50 --map 64x128
  python -m benchmarks networks --size 512x1024 --json networks.json
  python -m benchmarks keras --rounds 3
  python -m benchmarks loader --data-root data/cityscapes_pairs
  python -m benchmarks predict photos/ --config configs/psp_demo.py \\
      --checkpoint work_dirs/psp_demo/iter_600.pth
"""


def parse_args(argv: list[str] | None = None) -> argparse.Namespace:
    """The command line."""
    raw = argparse.RawDescriptionHelpFormatter
    parser = argparse.ArgumentParser(
        prog='python -m benchmarks', description=__doc__, epilog=EXAMPLE, formatter_class=raw
    )
    parts = parser.add_subparsers(dest='part', required=True)
    common = argparse.ArgumentParser(add_help=False)
    common.add_argument('--rounds', type=whole_number(1), default=7, help='of timing (7)')
    add_debug(common)
    common.add_argument('--json', type=Path, metavar='FILE', help='the figures, all of them')
    device = argparse.ArgumentParser(add_help=False)
    device.add_argument('--device', choices=('cpu', 'cuda'), default='cpu', help='(cpu)')
    device.add_argument('--tf32', action='store_true',
                        help='on CUDA, TF32 in products and convolutions of float32')  # fmt: skip

    heads = parts.add_parser('heads', parents=[common, device], help='our heads beside stock ones')
    heads.add_argument('--only', nargs='+', choices=HEADS, default=list(HEADS), metavar='HEAD',
                       help=f'of {", ".join(HEADS)} (all)')  # fmt: skip
    heads.add_argument('--map', nargs='+', type=parse_size, metavar='HxW',
                       default=[(32, 32), (64, 128), (97, 97)],
                       help='sizes of the largest map (32x32 64x128 97x97: pictures of 256x256, '
                            '512x1024 and 769x769 at stride 8)')  # fmt: skip
    heads.add_argument(
        '--batch',
        type=whole_number(1),
        default=1,
        help='in inference (1); in training at least 2, as stock heads need',
    )
    heads.add_argument(
        '--dtype', choices=DTYPES, default='float32', help='of maps and parameters (float32)'
    )
    heads.add_argument('--channels-last', action='store_true',
                       help='memory format of maps and parameters')  # fmt: skip

    networks = parts.add_parser('networks', parents=[common, device], help='whole networks')
    networks.add_argument('--config', default='configs/psp_r50-d8_cityscapes_pairs.py',
                          help='with one of our heads (%(default)s)')  # fmt: skip
    networks.add_argument('--checkpoint', help='weights of the config; random without')
    networks.add_argument('--size', type=parse_size, default=(512, 1024), metavar='HxW',
                          help='of the picture (512x1024)')  # fmt: skip
    networks.add_argument('--compile', action='store_true', help='with torch.compile too')
    networks.add_argument('--onnxruntime', action='store_true',
                          help='with ONNX files in onnxruntime too, on the CPU')  # fmt: skip

    keras = parts.add_parser('keras', parents=[common], help="the article's network and Keras'")
    keras.add_argument('--config', type=Path, metavar='CONFIG',
                       default='configs/psp_article-rgb_cityscapes_pairs.py',
                       help='with a ColorPSPHead (%(default)s)')  # fmt: skip
    keras.add_argument('--checkpoint', type=Path, help='its weights (random)')
    keras.add_argument(
        '--size', type=parse_size, default=(256, 256), metavar='HxW', help='(256x256)'
    )
    keras.add_argument('--batch', type=whole_number(1), default=4, help='of the training step (4)')
    keras.add_argument('--compile', action='store_true', help='with torch.compile')

    loader = parts.add_parser('loader', parents=[common], help='the loading of pairs')
    loader.add_argument('--data-root', default='data/cityscapes_pairs',
                        help='of pairs in the colours of Cityscapes (%(default)s)')  # fmt: skip
    loader.add_argument('--split', default='val', help='folder in it (val)')
    loader.add_argument('--pairs', type=whole_number(1), default=200, help='at most so many (200)')

    predict = parts.add_parser('predict', parents=[common, device], help='files of photos')
    predict.add_argument('inputs', nargs='+', help='photos, and folders of them')
    predict.add_argument('--config', type=Path, required=True, help='of the network')
    predict.add_argument('--checkpoint', type=Path, required=True, help='its weights')
    predict.add_argument(
        '--batch', type=whole_number(1), default=1, help='photos labelled at once (1)'
    )
    predict.add_argument('--save', nargs='+', choices=KINDS, default=['index', 'overlay'],
                         help='what is written of each (index overlay)')  # fmt: skip
    return parser.parse_args(argv)


def measure(args: argparse.Namespace) -> None:
    """Runs one part.

    Raises:
        OSError: a file is missing or cannot be written.
        ValueError: an option is unusable here.
        ImportError: onnxruntime is asked for and missing.
    """
    if args.json and not args.json.absolute().parent.is_dir():
        raise FileNotFoundError(f'{args.json}: there is no such folder; make it first')
    device = getattr(args, 'device', 'cpu')
    if device == 'cuda' and not torch.cuda.is_available():
        raise ValueError('--device cuda: torch finds none here; leave it out')
    tf32 = getattr(args, 'tf32', False)
    if tf32 and device != 'cuda':
        raise ValueError('--tf32 is for --device cuda; leave it out')
    torch.backends.cuda.matmul.allow_tf32 = torch.backends.cudnn.allow_tf32 = tf32
    about = dict(
        version=__version__, torch=torch.__version__, python=platform.python_version(),
        processor=torch.cuda.get_device_name() if device == 'cuda' else processor_name(),
        threads=torch.get_num_threads(), options={k: str(v) for k, v in vars(args).items()},
    )  # fmt: skip
    if args.part in ('loader', 'predict'):
        rows = PARTS[args.part](args)
    else:
        dtype = DTYPES[getattr(args, 'dtype', 'float32')]
        machine = measure_machine(device=device, dtype=dtype)
        about.update(machine._asdict())
        print(
            f'{about["processor"]}, {about["threads"]} threads, torch {about["torch"]}, '
            f'{"TF32" if tf32 else dtype}: '
            f'{machine.multiply_adds / 1e9:.0f} G multiply-adds/s in a matrix product, '
            f'{machine.bytes / 1e9:.1f} GB/s copied\n'
        )
        rows = PARTS[args.part](args, machine)
    if args.json:
        args.json.write_text(json.dumps(dict(about=about, rows=rows), indent=1))


def main(argv: list[str] | None = None) -> int:
    """Runs the command; see ``run_command`` for its exit status."""
    return run_command('benchmark', measure, parse_args(argv))


if __name__ == '__main__':
    sys.exit(main())
