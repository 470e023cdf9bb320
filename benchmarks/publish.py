r"""Put a trained network into the zoo: its weights in float16, their SHA-256, and a model card.

Example:
    python -m benchmarks.publish psp_efficientnet-lite2 work_dirs/long/NAME_seed0/iter_20000.pth \
        --runs benchmarks/results/long/NAME_seed0.json \
        --tests benchmarks/results/long/NAME-flips-and-scales-at-test-time_seed0.json

``model-index.yml`` names the network, its config and its weights. The weights in float16 have to
score on ``val`` what the kept results of the last run say. The card's speed is measured now, so
nothing else should run.
"""

import argparse
import statistics
import subprocess
import sys
import tempfile
from functools import partial
from pathlib import Path
from typing import Any

import jinja2
import onnx
import torch
from mmengine.config import Config
from mmengine.runner import CheckpointLoader

from benchmarks.corruptions import CORRUPTIONS, SAME, evaluate_weights
from benchmarks.networks import deployed, scene
from benchmarks.results_page import class_iou
from benchmarks.run_results import CLEAN, SIDE, RunResults, read_results
from benchmarks.timing import time_in_turns
from pspnet_plugin.apis.loading import load_model, metainfo_of
from pspnet_plugin.engine.zoo import trained_networks, zoo_root
from pspnet_plugin.utils.command_line import add_debug, run_command
from pspnet_plugin.utils.environment import describe_machine
from pspnet_plugin.utils.files import CHECKSUMS, read_checksums, sha256_of, write_atomic

ROOT = Path(__file__).resolve().parents[1]
EXPORT = ROOT / 'tools/deployment/export_onnx.py'
CARD = Path(__file__).with_name('card.md.j2')
ROUNDS = 30
LARGEST = torch.finfo(torch.float16).max
LICENCE = 'for non-commercial use: trained on Cityscapes'
WEAK = 40.0  # IoU in percent below which the card says that a class fails


def to_float16(state: dict[str, torch.Tensor]) -> dict[str, torch.Tensor]:
    """Round the floating-point tensors of a state dict, but for those with larger values."""
    return {
        name: tensor.half()
        if tensor.is_floating_point() and tensor.abs().max() < LARGEST
        else tensor
        for name, tensor in state.items()
    }


def images_a_second(config: Config, weights: Path) -> dict[str, float]:
    """Measure the inference of one image in float32, by its size; medians."""
    model, _ = load_model(config, weights)
    network = deployed(model)
    sizes = {f'{h}x{w}': (h, w) for h, w in ((SIDE, SIDE), (SIDE, 2 * SIDE), (2 * SIDE, 4 * SIDE))}
    functions = {name: partial(network, scene(model, size)) for name, size in sizes.items()}
    with torch.no_grad():
        seconds = time_in_turns(functions, rounds=ROUNDS)
    return {name: 1 / statistics.median(values) for name, values in seconds.items()}


def write_card(
    path: Path, name: str, runs: list[RunResults], tests: list[RunResults], **values: Any
) -> None:
    """Write a model card.

    Args:
        path: File to write.
        name: Name of the network.
        runs: Kept results of its trainings, each of which went on from the one before.
        tests: Kept results of further tests of the last one.
        **values: ``size`` in bytes, ``speeds`` and ``machine``.
    """
    environment = jinja2.Environment(undefined=jinja2.StrictUndefined, keep_trailing_newline=True)
    classes = class_iou(runs[-1:], 't40')
    card = environment.from_string(CARD.read_text(encoding='utf-8')).render(
        name=name, runs=runs, run=runs[-1], tests=tests, part=runs[-1].parts[-1], threshold=WEAK,
        classes=sorted(classes.items(), key=lambda item: -item[1]),
        weak=[label for label, iou in classes.items() if iou < WEAK],
        is_distilled='distilled' in runs[-1].config, changes=list(CORRUPTIONS), **values,
    )  # fmt: skip
    write_atomic(path, card.encode())


def check_runs(runs: list[RunResults], tests: list[RunResults], config: Path) -> None:
    """Raise ``ValueError`` unless results are of trainings, and of tests of the last one."""
    last = runs[-1]
    for run in runs:
        if run.tested:
            raise ValueError(f'{run.path} is a test of its own; give it by --tests')
    for other in tests:
        if not other.tested or other.parts != last.parts:
            raise ValueError(f'{other.path} is no test of the training of {last.path}')
    if last.config != config.name:
        raise ValueError(f'{last.path} is of {last.config}, and the network of {config.name}')
    if not last.corrupted:
        raise ValueError(f'{last.path} was not scored by benchmarks.corruptions; do that first')


def run(args: argparse.Namespace) -> None:
    """Write weights, checksums and card, or nothing if one fails."""
    networks = trained_networks()
    if args.name not in networks:
        raise ValueError(
            f'model-index.yml has no {args.name!r} with Weights; it has {", ".join(networks)}'
        )
    files = networks[args.name]
    runs, tests = ([read_results(path) for path in paths] for paths in (args.runs, args.tests))
    check_runs(runs, tests, files.config)
    config = Config.fromfile(files.config)
    content = CheckpointLoader.load_checkpoint(str(args.checkpoint), map_location='cpu')
    state = content.get('state_dict', content)
    meta = dict(dataset_meta={k: metainfo_of(config)[k] for k in ('classes', 'palette')})
    with tempfile.TemporaryDirectory() as folder:
        parts = [Path(folder, files.weights.name)]
        torch.save(dict(meta=meta, state_dict=to_float16(state)), parts[0])
        found = evaluate_weights(config, parts[0], [CLEAN])[CLEAN]['mIoU']
        expected = runs[-1].score('t40')['mIoU']
        if abs(found - expected) > SAME:
            raise ValueError(
                f'{args.checkpoint} scores {found} in float16, and {runs[-1].path} says {expected}'
            )
        if args.onnx:
            parts.append(parts[0].with_suffix('.onnx'))
            command = [EXPORT, files.config, *parts, '--dynamic', '--half']
            subprocess.run([sys.executable, *map(str, command)], check=True)
            network = onnx.load(parts[-1])
            network.metadata_props.add(key='licence', value=LICENCE)
            onnx.save(network, parts[-1])
        parts.append(parts[0].with_suffix('.md'))
        write_card(
            parts[-1], args.name, runs, tests, size=parts[0].stat().st_size,
            speeds=images_a_second(config, parts[0]), machine=describe_machine(),
        )  # fmt: skip
        checksums = files.weights.with_name(CHECKSUMS)
        sums = read_checksums(checksums) | {path.name: sha256_of(path) for path in parts[:-1]}
        for path in parts:
            write_atomic(files.weights.with_name(path.name), path.read_bytes())
    lines = (f'{digest}  {name}\n' for name, digest in sorted(sums.items()))
    write_atomic(checksums, ''.join(lines).encode())
    print(
        f'{files.weights}: {files.weights.stat().st_size / 1e6:.2f} MB, mIoU {found}, in '
        f'{zoo_root()}'
    )


def parse_args(argv: list[str] | None) -> argparse.Namespace:
    """Parse the command line."""
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    add = parser.add_argument
    add('name', help='of the network in model-index.yml')
    add('checkpoint', type=Path, help='of its training')
    add('--runs', type=Path, nargs='+', required=True,
        help='kept results of its training, after those of the trainings that it went on from',
    )  # fmt: skip
    add('--tests', type=Path, nargs='*', default=[], help='kept results of its further tests')
    add('--onnx', action='store_true', help='also as an ONNX file')
    add_debug(parser)
    return parser.parse_args(argv)


def main(argv: list[str] | None = None) -> int:
    """Run the command; see ``run_command`` for the exit status."""
    return run_command('publish', run, parse_args(argv))


if __name__ == '__main__':
    sys.exit(main())
