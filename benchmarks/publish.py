r"""Put a trained network into the zoo: its weights in float16, their SHA-256, and a model card.

Example:
    python -m benchmarks.publish psp_efficientnet-lite2 work_dirs/long/iter_20000.pth \
        --runs benchmarks/results/long/efficientnet-lite2*_seed0.json

``model-index.yml`` names the network, its config and its weights. The card's scores are those of
the kept results: the first is of the network as its config has it, the others of further tests. Its
speed is measured now, so nothing else should run.
"""

import argparse
import statistics
import subprocess
import sys
from functools import partial
from pathlib import Path
from typing import Any

import jinja2
import torch
from mmengine.config import Config
from mmengine.runner import CheckpointLoader

from benchmarks.networks import deployed, scene
from benchmarks.results_page import class_iou
from benchmarks.run_results import SIDE, RunResults, read_results
from benchmarks.timing import time_in_turns
from pspnet_plugin.apis.loading import load_model, metainfo_of
from pspnet_plugin.engine.zoo import SUMS, read_sums, trained_networks, zoo_root
from pspnet_plugin.utils.command_line import add_debug, run_command
from pspnet_plugin.utils.environment import describe_machine
from pspnet_plugin.utils.files import sha256_of, write_atomic

ROOT = Path(__file__).resolve().parents[1]
EXPORT = ROOT / 'tools/deployment/export_onnx.py'
CARD = Path(__file__).with_name('card.md.j2')
ROUNDS = 30
LARGEST = torch.finfo(torch.float16).max
WEAK = 40.0  # IoU in percent below which the card says that a class fails


def to_float16(state: dict[str, torch.Tensor]) -> dict[str, torch.Tensor]:
    """Round the floating-point tensors of a state dict, but for those with larger values."""
    return {
        name: tensor.half()
        if tensor.is_floating_point() and tensor.abs().max() < LARGEST
        else tensor
        for name, tensor in state.items()
    }


def images_a_second(config: Config, weights: Path) -> float:
    """Measure the inference of one image of 256x256 in float32, the median of several."""
    model, _ = load_model(config, weights)
    function = partial(deployed(model), scene(model, (SIDE, SIDE)))
    with torch.no_grad():
        seconds = time_in_turns(dict(network=function), rounds=ROUNDS)['network']
    return 1 / statistics.median(seconds)


def write_card(path: Path, name: str, runs: list[RunResults], **values: Any) -> None:
    """Write a model card from kept results."""
    environment = jinja2.Environment(undefined=jinja2.StrictUndefined, keep_trailing_newline=True)
    classes = class_iou(runs[:1], 't40')
    card = environment.from_string(CARD.read_text(encoding='utf-8')).render(
        name=name, run=runs[0], runs=runs, part=runs[0].parts[-1],
        classes=sorted(classes.items(), key=lambda item: -item[1]),
        weak=[label for label, iou in classes.items() if iou < WEAK], **values,
    )  # fmt: skip
    write_atomic(path, card.encode())


def run(args: argparse.Namespace) -> None:
    """Write weights, sums and card."""
    networks = trained_networks()
    if args.name not in networks:
        raise ValueError(
            f'model-index.yml has no {args.name!r} with Weights; it has {", ".join(networks)}'
        )
    files, runs = networks[args.name], [read_results(path) for path in args.runs]
    if other := [run.path for run in runs if run.config != files.config.name]:
        raise ValueError(f'{other[0]} is of another config than {files.config.name}')
    config = Config.fromfile(files.config)
    state = CheckpointLoader.load_checkpoint(str(args.checkpoint), map_location='cpu')['state_dict']
    meta = dict(dataset_meta={k: metainfo_of(config)[k] for k in ('classes', 'palette')})
    files.weights.parent.mkdir(exist_ok=True)
    torch.save(dict(meta=meta, state_dict=to_float16(state)), files.weights)
    published = [files.weights]
    if args.onnx:
        published.append(files.weights.with_suffix('.onnx'))
        command = [EXPORT, files.config, *published, '--dynamic', '--half']
        subprocess.run([sys.executable, *map(str, command)], check=True)
    sums_file = files.weights.with_name(SUMS)
    sums = {**read_sums(sums_file), **{path.name: sha256_of(path) for path in published}}
    lines = (f'{digest}  {name}\n' for name, digest in sorted(sums.items()))
    write_atomic(sums_file, ''.join(lines).encode())
    write_card(
        files.weights.with_suffix('.md'), args.name, runs, config=files.config.name,
        before=[read_results(path) for path in args.before], size=files.weights.stat().st_size,
        speed=images_a_second(config, files.weights), machine=describe_machine(),
    )  # fmt: skip
    print(f'{files.weights}: {files.weights.stat().st_size / 1e6:.2f} MB, in {zoo_root()}')


def parse_args(argv: list[str] | None) -> argparse.Namespace:
    """Parse the command line."""
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument('name', help='of the network in model-index.yml')
    parser.add_argument('checkpoint', type=Path, help='of its training')
    parser.add_argument('--runs', type=Path, nargs='+', required=True, help='kept results')
    parser.add_argument('--before', type=Path, nargs='*', default=[],
        help='kept results of the trainings that it went on from, the first one first',
    )  # fmt: skip
    parser.add_argument('--onnx', action='store_true', help='also as an ONNX file')
    add_debug(parser)
    return parser.parse_args(argv)


def main(argv: list[str] | None = None) -> int:
    """Run the command; see ``run_command`` for the exit status."""
    return run_command('publish', run, parse_args(argv))


if __name__ == '__main__':
    sys.exit(main())
