"""Labelling of photo files as ``predict.py`` does it, beside the bare network."""

import argparse
import itertools
import tempfile
import time
from pathlib import Path

import psutil
import torch
from mmengine.dataset import pseudo_collate

from benchmarks.tables import print_rows
from benchmarks.timing import add_device, ratio, time_in_turns
from pspnet_plugin import Predictor
from pspnet_plugin.apis.photos import read_photo
from pspnet_plugin.apis.torch_network import TorchNetwork
from pspnet_plugin.toolkit.prediction.outputs import KINDS, Outputs
from pspnet_plugin.toolkit.prediction.sources import Source, find_sources
from pspnet_plugin.toolkit.prediction.stream import label_files
from pspnet_plugin.utils.command_line import bounded_int


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Add the options of this benchmark."""
    add_device(parser)
    add = parser.add_argument
    add('inputs', nargs='+', help='photos, and folders of them')
    add('--config', type=Path, required=True, help='config of the network')
    add('--checkpoint', type=Path, required=True, help='its weights')
    add('--batch', type=bounded_int(1), default=1, help='photos labelled at once (1)')
    add('--save', nargs='+', choices=KINDS, default=['index', 'overlay'],
        help='outputs for each photo (index overlay)',
    )  # fmt: skip


def measure(args: argparse.Namespace) -> list[dict]:
    """Label the same photos in memory and from files to files; print rates and memory.

    ``memory`` holds, over all rounds, the share of the photos that are done and the bytes of the
    process then, which do not grow from round to round if nothing leaks.
    """
    predictor = Predictor(args.config, args.checkpoint, device=args.device, max_side=None)
    network = predictor.network
    assert isinstance(network, TorchNetwork)
    sources = find_sources(args.inputs)
    batches = _batches(network, sources, args.batch)
    memory: list[tuple[float, int]] = []

    def bare() -> None:
        for samples in batches:
            with torch.inference_mode():
                results = network.model.test_step(samples)
            for result in results:
                result.pred_sem_seg.data.cpu()

    with tempfile.TemporaryDirectory() as place:

        def whole() -> None:
            memory.extend(_label(predictor, sources, Path(tempfile.mkdtemp(dir=place)), args))

        seconds = time_in_turns(dict(bare=bare, whole=whole), rounds=args.rounds)
    row = dict(
        pictures=len(sources),
        bare=len(sources) / min(seconds['bare']),
        whole=len(sources) / min(seconds['whole']),
        speed=ratio(seconds['bare'], seconds['whole']),
        memory=memory,
    )
    columns = {
        'images': '{pictures}', 'bare, a second': '{bare:.1f}',
        'files to files, a second': '{whole:.1f}', 'whole over bare': '{speed}',
    }  # fmt: skip
    print_rows([row], columns)
    print('\nMiB of the process after so many percent of the images:', end=' ')
    print(', '.join(f'{100 * share:.0f}: {size / 2**20:.0f}' for share, size in memory))
    return [row]


def _batches(network: TorchNetwork, sources: list[Source], batch: int) -> list[dict]:
    """Prepare all photos for the network, in batches of one size."""
    batches = []
    photos = [read_photo(source.path) for source in sources]
    for _, same in itertools.groupby(photos, key=lambda photo: photo.shape):
        samples = [network.prepare(photo) for photo in same]
        for i in range(0, len(samples), batch):
            batches.append(pseudo_collate(samples[i : i + batch]))
    return batches


def _label(
    predictor: Predictor, sources: list[Source], folder: Path, args: argparse.Namespace
) -> list[tuple[float, int]]:
    """Label all files into a folder, and measure the memory twice a second and at the end."""
    memory, done, noted = [], 0, time.monotonic()
    with Outputs(folder, predictor, kinds=args.save, opacity=0.5) as outputs:
        for count in label_files(sources, predictor, outputs, batch=args.batch, skip=_fail):
            done += count
            if done == len(sources) or time.monotonic() - noted > 0.5:
                noted = time.monotonic()
                memory.append((done / len(sources), psutil.Process().memory_info().rss))
    return memory


def _fail(name: str, error: Exception) -> None:
    raise error
