"""Networks without weights for ``Predictor``, and random weights for a config."""

from pathlib import Path
from unittest import mock

import numpy as np
import torch
from mmengine.config import Config
from mmengine.registry import init_default_scope
from mmseg.registry import MODELS

from helpers.pairs import CITYSCAPES
from pspnet_plugin import Predictor
from pspnet_plugin.apis import predictor
from pspnet_plugin.apis.network import NetworkOutput


class EchoNetwork:
    """Labels a photo by its blue channel, with a confidence of 0.5."""

    trained_side: int | None = None
    bits = None

    def __init__(self, workers: int = 1, classes=CITYSCAPES['classes']) -> None:
        self.workers = workers
        self.classes = list(classes)
        self.palette = np.array(CITYSCAPES['palette'][: len(classes)], np.uint8)
        self.sizes: list[tuple[int, ...]] = []  # of each batch: number, height, width

    def start_worker(self) -> None:
        """Nothing to prepare."""

    def input_pixels(self, height: int, width: int) -> int:
        return height * width

    def run(self, photos):
        self.sizes.append((len(photos), *photos[0].shape[:2]))
        labels = [photo[..., 0].copy() for photo in photos]
        return [
            NetworkOutput(one, lambda one=one: np.full(one.shape, 0.5, np.float32))
            for one in labels
        ]


def predictor_of(network, **options) -> Predictor:
    """A predictor of a network that is open already."""
    with mock.patch.object(predictor, '_open_network', lambda *_: network):
        return Predictor('net.onnx', **options)


def write_random(config: Config, path: Path, **meta) -> list[str]:
    """Write a config and random weights; returns the options that name them."""
    init_default_scope('mmseg')  # fixtures of a module come before that of each test
    config.dump(path.with_suffix('.py'))
    torch.manual_seed(0)
    weights = MODELS.build({**config.model, 'pretrained': None}).state_dict()
    torch.save(dict(state_dict=weights, meta=meta), path.with_suffix('.pth'))
    return ['--config', str(path.with_suffix('.py')), '--checkpoint', str(path.with_suffix('.pth'))]
