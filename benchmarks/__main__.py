"""Measure parts of the plugin beside their stock counterparts, as ratios within one run.

``heads``: fast heads beside their stock counterparts, in inference and training.
``networks``: a whole network, from a generated street scene to its index map, beside the same with
the stock head, and in deployed variants.
``speeds``: the networks of several configs beside each other, images a second.
``keras``: the article's network beside the same in Keras, in inference and training.
``loader``: a record of a pair, by each label decoding, beside the bare decoding of its bytes.
``listing``: large sets of pairs, opened, shuffled and given to worker processes.
``workers``: samples a second of a config's data loader, by numbers of worker processes.
``training``: the training of several configs, pairs a second and the wait for data.
``predict``: photos from files to files, as ``predict.py`` labels them, beside the bare network.

Variants take turns, round by round, after one run each that does not count. Ratios are medians over
rounds (lowest to highest); seconds are the least of all rounds, which other work on the machine
touches least. Memory is the most that torch's allocator holds at once beyond what it held before.
The floor is the time of the multiply-adds at the speed of the fastest of some matrix products and
convolutions, measured first in the same precision.
"""

import argparse
import json
import platform
import sys
from pathlib import Path

import torch

from benchmarks import (
    heads,
    keras,
    listing,
    loader,
    networks,
    predicting,
    speeds,
    training,
    workers,
)
from benchmarks.timing import DTYPES, measure_machine
from pspnet_plugin.utils.command_line import add_debug, bounded_int, run_command
from pspnet_plugin.utils.environment import processor_name
from pspnet_plugin.version import __version__

EXAMPLE = """examples:
  python -m benchmarks heads --only r50 --map 64x128
  python -m benchmarks networks --size 512x1024 --json networks.json
  python -m benchmarks speeds configs/psp_cityscapes_pairs.py configs/psp_small_cityscapes_pairs.py
  python -m benchmarks keras --rounds 3
  python -m benchmarks loader --data-root data/cityscapes_pairs
  python -m benchmarks listing --pairs 1000000 --rounds 3
  python -m benchmarks predict photos/ --config configs/psp_demo.py \\
      --checkpoint work_dirs/psp_demo/iter_600.pth
"""
PARTS = dict(
    heads=heads, networks=networks, speeds=speeds, keras=keras, loader=loader, listing=listing,
    workers=workers, training=training, predict=predicting,
)  # fmt: skip


def parse_args(argv: list[str] | None = None) -> argparse.Namespace:
    """Parse the command line."""
    raw = argparse.RawDescriptionHelpFormatter
    parser = argparse.ArgumentParser(
        prog='python -m benchmarks', description=__doc__, epilog=EXAMPLE, formatter_class=raw
    )
    parts = parser.add_subparsers(dest='part', required=True)
    for name, module in PARTS.items():
        summary = str(module.__doc__).partition('\n')[0]
        part = parts.add_parser(name, help=summary, description=summary)
        part.add_argument('--rounds', type=bounded_int(1), default=7, help='of timing (7)')
        add_debug(part)
        part.add_argument('--json', type=Path, metavar='FILE', help='file for all figures')
        module.add_arguments(part)
    return parser.parse_args(argv)


def measure(args: argparse.Namespace) -> None:
    """Run one part."""
    if args.json and not args.json.absolute().parent.is_dir():
        raise FileNotFoundError(f'{args.json}: its folder does not exist; create it first')
    device, tf32 = getattr(args, 'device', 'cpu'), getattr(args, 'tf32', False)
    if device == 'cuda' and not torch.cuda.is_available():
        raise ValueError('--device cuda: torch finds no CUDA device')
    if tf32 and device != 'cuda':
        raise ValueError('--tf32 is for --device cuda')
    torch.backends.cuda.matmul.allow_tf32 = torch.backends.cudnn.allow_tf32 = tf32
    about = dict(
        version=__version__, torch=torch.__version__, python=platform.python_version(),
        processor=torch.cuda.get_device_name() if device == 'cuda' else processor_name(),
        threads=torch.get_num_threads(), options={k: str(v) for k, v in vars(args).items()},
    )  # fmt: skip
    if args.part in ('loader', 'listing', 'workers', 'training', 'predict'):
        rows = PARTS[args.part].measure(args)
    else:
        dtype = DTYPES[getattr(args, 'dtype', 'float32')]
        machine = measure_machine(device=device, dtype=dtype)
        about.update(machine._asdict())
        print(
            f'{about["processor"]}, {about["threads"]} threads, torch {about["torch"]}, '
            f'{"TF32" if tf32 else dtype}: '
            f'{machine.multiply_adds / 1e9:.0f} G multiply-adds/s in {machine.fastest}, '
            f'{machine.bytes / 1e9:.1f} GB/s copied\n'
        )
        rows = PARTS[args.part].measure(args, machine)
    if args.json:
        args.json.write_text(json.dumps(dict(about=about, rows=rows), indent=1))


def main(argv: list[str] | None = None) -> int:
    """Run the command; see ``run_command`` for the exit status."""
    return run_command('benchmark', measure, parse_args(argv))


if __name__ == '__main__':
    sys.exit(main())
