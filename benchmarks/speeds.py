"""Networks of several configs, from a generated street scene to its index map: images a second."""

import argparse
import copy
import tempfile
from collections.abc import Callable, Sequence
from functools import cache, partial
from pathlib import Path
from statistics import mean
from typing import Any

import cv2
import numpy as np
import torch
from matplotlib.figure import Figure
from torch import Tensor, nn

from benchmarks.heads import randomise_norms
from benchmarks.networks import deployed, export, scene
from benchmarks.results_table import INDEX_GROUPS, ROOT, runs_of
from benchmarks.run_results import load_all_results
from benchmarks.tables import print_rows
from benchmarks.timing import Machine
from pspnet_plugin.apis.export.exporters import check_packages, open_exported
from pspnet_plugin.apis.loading import build_model, load_config
from pspnet_plugin.toolkit.synthetic.street import street_scene
from pspnet_plugin.utils.command_line import parse_size

IN_TORCH = ('float32', 'bfloat16')
IN_FILES = ('onnxruntime', 'int8', 'openvino', 'openvino-bfloat16')
MARKERS = dict(zip((*IN_TORCH, *IN_FILES), 'osD^vP', strict=True))
COLUMNS = {
    'network': '{config}', 'form': '{what}', 'mIoU': '{miou:.1f}',
    'M parameters': '{parameters:.2M}', 'G multiply-adds': '{multiply_adds:.2G}',
    'images a second': '{images:.1f}', 'times as fast': '{speedup}',
    'times the floor': '{above_floor:.2f}',
}  # fmt: skip


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Add the options of this benchmark."""
    add = parser.add_argument
    add('configs', metavar='CONFIG', type=Path, nargs='+',
        help='network, with random weights; ratios are to the first',
    )  # fmt: skip
    add('--size', type=parse_size, nargs='+', default=[(256, 256)], metavar='HxW',
        help='of the image (256x256)',
    )  # fmt: skip
    add('--forms', nargs='+', choices=MARKERS, default=['float32'],
        help='in torch: float32, bfloat16; as ONNX files: onnxruntime, int8, openvino, '
        'openvino-bfloat16 (float32)',
    )  # fmt: skip
    add('--figure', type=Path, metavar='PNG',
        help='plot of the mIoU of the kept results over the images a second',
    )  # fmt: skip


def measure(args: argparse.Namespace, machine: Machine) -> list[dict]:
    """Measure inference of all networks in turns, on the CPU, and print a table for each size."""
    if any(form in IN_FILES for form in args.forms):
        check_packages('onnx')
    results = load_all_results(ROOT / 'benchmarks/results')
    rows = []
    for size in args.size:
        about, variants = {}, {}
        for path in args.configs:
            config = load_config(path, options={'model.auxiliary_head': None})  # for training
            model = randomise_norms(build_model(config)).eval()
            parameters = sum(weight.numel() for weight in model.parameters())
            scores = [run.score('t40')['mIoU'] for run in runs_of(path.name, results, INDEX_GROUPS)]
            for form, variant in _in_forms(model, args.forms, size).items():
                name = f'{path.as_posix()}, {form}'  # files of two folders may have one name
                variants[name] = variant
                about[name] = dict(
                    config=path.as_posix(), what=form, size=size,
                    miou=mean(scores) if scores else None,
                    parameters=parameters if form in IN_TORCH else None,
                )  # fmt: skip
        exported = [name for name, row in about.items() if row['what'] in IN_FILES]
        with torch.no_grad():
            found = machine.compare(variants, rounds=args.rounds, uncounted=exported)
        for row in found:
            row |= about[row['form']] | dict(images=1 / row['seconds'])
        print(f'one image of {size[0]}x{size[1]}\n')
        print_rows(found, COLUMNS)
        print()
        rows += found
    if args.figure:
        draw_front(rows).savefig(args.figure, dpi=110)
    return rows


def _in_forms(
    model: nn.Module, forms: Sequence[str], size: tuple[int, int]
) -> dict[str, Callable[[], object]]:
    """Bind the forms of a network to an image."""
    image = scene(model, size)
    variants: dict[str, Callable[[], object]] = {}
    if 'float32' in forms:
        variants['float32'] = partial(deployed(model), image)
    if 'bfloat16' in forms:
        half: Any = copy.deepcopy(model).bfloat16()
        half = half.to(memory_format=torch.channels_last)
        image_half = image.bfloat16().contiguous(memory_format=torch.channels_last)
        variants['bfloat16'] = partial(deployed(half), image_half)
    with tempfile.TemporaryDirectory() as folder:
        for form in (form for form in forms if form in IN_FILES):
            variants[form] = _as_file(model, form, image, Path(folder))
    return variants


def _as_file(model: nn.Module, form: str, image: Tensor, folder: Path) -> Callable[[], object]:
    """Export a network, once for all forms, and bind the form that a runtime opens to an image."""
    path = folder / 'network.onnx'
    if not path.exists():
        export(model, image, path)
    if form.startswith('openvino'):
        precision = 'bf16' if form.endswith('bfloat16') else 'f32'
        options = dict(
            INFERENCE_PRECISION_HINT=precision, INFERENCE_NUM_THREADS=torch.get_num_threads()
        )
        core = openvino_core()
        network = core.compile_model(core.read_model(path), 'CPU', options)
        return partial(network.create_infer_request().infer, [image.numpy()])
    if form == 'int8':
        from pspnet_plugin.apis.export.quantization import quantize

        photo, _ = street_scene(np.random.default_rng(0))
        photo = cv2.resize(photo, image.shape[:1:-1], interpolation=cv2.INTER_AREA)
        int8 = folder / 'int8.onnx'
        quantize(path, int8, [lambda: (photo, None)] * 2, max_loss=100)
        path = int8
    return partial(open_exported(path, form='onnx', threads=torch.get_num_threads()), image)


@cache
def openvino_core() -> Any:
    """Return the one core of this process.

    Two cores that end in the order of their start leave a signal stack that is gone
    (OpenVINO 2026.4.1): the next signal, such as the end of a loader's worker, kills the process.
    """
    import openvino

    return openvino.Core()


def draw_front(rows: Sequence[dict]) -> Figure:
    """Plot mIoU over images a second: a panel for each size, a colour for each network.

    A line joins what nothing else beats in both. Networks without kept results are left out.
    """
    rows = [row for row in rows if row['miou'] is not None]
    sizes = list(dict.fromkeys(tuple(row['size']) for row in rows))
    networks = list(dict.fromkeys(row['config'] for row in rows))
    figure = Figure(figsize=(6 * len(sizes) + 3, 5), layout='constrained')
    for axes, size in zip(figure.subplots(1, len(sizes), squeeze=False)[0], sizes, strict=True):
        own = [row for row in rows if tuple(row['size']) == size]
        for row in own:
            axes.plot(
                row['images'], row['miou'], MARKERS[row['what']], alpha=0.8,
                color=f'C{networks.index(row["config"])}',
            )  # fmt: skip
        front: list[dict] = []
        for row in sorted(own, key=lambda row: -row['images']):
            if not front or row['miou'] > front[-1]['miou']:
                front.append(row)
        axes.plot([r['images'] for r in front], [r['miou'] for r in front], 'k:', zorder=0)
        axes.set(
            xscale='log', xlabel=f'images of {size[0]}x{size[1]} a second', ylabel='mIoU (t40)'
        )
        axes.grid(alpha=0.3, which='both')
    handles = [
        axes.plot([], [], 'o', color=f'C{i}', label=Path(name).stem)[0]
        for i, name in enumerate(networks)
    ]
    forms = dict.fromkeys(row['what'] for row in rows)
    handles += [axes.plot([], [], MARKERS[f], color='grey', label=f)[0] for f in forms]
    figure.legend(handles=handles, loc='outside right upper', fontsize=8)
    return figure
