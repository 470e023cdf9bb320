"""Labelling files of photos as ``predict.py`` does, beside the bare network in a loop."""

import tempfile
import time
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

import torch
from mmengine.dataset import pseudo_collate

from benchmarks.timing import Ratio, ratio, take_turns
from pspnet_plugin.apis.loading import load_config
from pspnet_plugin.apis.networks import TorchNetwork, open_torch_network
from pspnet_plugin.apis.readers import InputImage, read_photo
from pspnet_plugin.apis.sources import Source, find_sources
from pspnet_plugin.toolkit.prediction.labelling import label_files
from pspnet_plugin.toolkit.prediction.outputs import Outputs
from pspnet_plugin.utils.environment import bytes_in_memory


@dataclass(frozen=True)
class Predicting:
    """What labelling files costs.

    Attributes:
        pictures: How many.
        bare: Pictures a second of the network alone, on photos that are in memory.
        whole: The same from files to files.
        speed: The whole over the bare, round by round.
        memory: (share of the pictures of a round, bytes of the process in memory then), over all
            rounds: it does not grow from round to round, if nothing is left behind.
    """

    pictures: int
    bare: float
    whole: float
    speed: Ratio
    memory: list[tuple[float, int]]


def time_predicting(
    config: Path, checkpoint: Path, inputs: Sequence[str], *, kinds: Sequence[str], batch: int,
    rounds: int, device: str,
) -> Predicting:  # fmt: skip
    """Labels the same photos both ways.

    Args:
        config: Of the network.
        checkpoint: Its weights.
        inputs: Photos and folders of them, see ``find_sources``.
        kinds: What is written of each picture.
        batch: Photos of one size labelled at once.
        rounds: How often each way has its turn.
        device: ``'cpu'``, ``'cuda'``, …

    Raises:
        FileNotFoundError: something is missing.
        ValueError: a photo or the network is unusable.
    """
    network = open_torch_network(load_config(config, whole=False), checkpoint, device=device)
    sources = find_sources(inputs)
    batches = _batches(network, [read_photo(source) for source in sources], batch)
    memory: list[tuple[float, int]] = []

    def bare() -> None:
        for samples in batches:
            with torch.inference_mode():
                results = network.model.test_step(samples)
            for result in results:
                result.pred_sem_seg.data.cpu()

    with tempfile.TemporaryDirectory() as place:

        def whole() -> None:
            folder = Path(tempfile.mkdtemp(dir=place))
            _label(network, sources, folder, kinds=kinds, batch=batch, memory=memory)

        seconds = take_turns(dict(bare=bare, whole=whole), rounds=rounds)
    return Predicting(
        pictures=len(sources),
        bare=len(sources) / min(seconds['bare']),
        whole=len(sources) / min(seconds['whole']),
        speed=ratio(seconds['bare'], seconds['whole']),
        memory=memory,
    )


def _batches(network: TorchNetwork, pictures: Sequence[InputImage], batch: int) -> list[dict]:
    """What the network is given, all of it in memory."""
    groups: list[list[InputImage]] = []
    for picture in pictures:
        last = groups[-1] if groups else []
        if last and len(last) < batch and last[0].photo.shape == picture.photo.shape:
            last.append(picture)
        else:
            groups.append([picture])
    return [
        pseudo_collate([network.prepare(picture.photo) for picture in group]) for group in groups
    ]


def _label(
    network: TorchNetwork,
    sources: Sequence[Source],
    folder: Path,
    *,
    kinds: Sequence[str],
    batch: int,
    memory: list[tuple[float, int]],
) -> None:
    """All files, into a folder."""
    done, noted = 0, time.monotonic()
    with Outputs(
        folder, kinds=kinds, classes=network.classes, palette=network.palette, opacity=0.5
    ) as outputs:
        for count in label_files(sources, network, outputs, batch=batch, bad=_fail):
            done += count
            if done == len(sources) or time.monotonic() - noted > 0.5:
                noted = time.monotonic()
                memory.append((done / len(sources), bytes_in_memory()))


def _fail(name: str, error: Exception) -> None:
    raise error
