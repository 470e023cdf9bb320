"""Networks of several configs, from a generated street scene to its index map: images a second."""

import argparse
from collections.abc import Callable
from functools import partial
from pathlib import Path

import torch

from benchmarks.heads import randomise_norms
from benchmarks.networks import deployed, in_onnxruntime, scene
from benchmarks.tables import print_rows
from benchmarks.timing import Machine
from pspnet_plugin.apis.loading import build_model, load_config
from pspnet_plugin.utils.command_line import parse_size


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Add the options of this benchmark."""
    add = parser.add_argument
    add('configs', metavar='CONFIG', type=Path, nargs='+',
        help='network, with random weights; ratios are to the first',
    )  # fmt: skip
    add('--size', type=parse_size, default=(256, 256), metavar='HxW', help='of the image (256x256)')
    add('--onnxruntime', action='store_true', help='also as ONNX files in onnxruntime')


def measure(args: argparse.Namespace, machine: Machine) -> list[dict]:
    """Measure inference of all networks in turns, on the CPU, and print a table."""
    variants: dict[str, Callable[[], object]] = {}
    parameters = {}
    for path in args.configs:
        config = load_config(path, options={'model.auxiliary_head': None})  # for training alone
        model = randomise_norms(build_model(config)).eval()
        image = scene(model, args.size)
        name = path.as_posix()  # files of two folders may have one name
        variants[name] = partial(deployed(model), image)
        parameters[name] = sum(weight.numel() for weight in model.parameters())
        if args.onnxruntime:
            variants[f'{name}, onnxruntime'] = in_onnxruntime(model, image)
    with torch.no_grad():
        rows = machine.compare(variants, rounds=args.rounds)
    for row in rows:
        row.update(images=1 / row['seconds'], parameters=parameters.get(row['form']))
    print(f'one image of {args.size[0]}x{args.size[1]}, float32\n')
    columns = {
        'network': '{form}', 'M parameters': '{parameters:.2M}',
        'G multiply-adds': '{multiply_adds:.2G}', 'images a second': '{images:.1f}',
        'times as fast': '{speedup}', 'times the floor': '{above_floor:.2f}',
    }  # fmt: skip
    print_rows(rows, columns)
    return rows
