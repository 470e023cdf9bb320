"""Torch backend of ``Predictor``: a segmentor behind the test pipeline of its config."""

import contextlib
import textwrap
from collections.abc import Sequence
from functools import partial
from pathlib import Path

import cv2
import numpy as np
import torch
from mmengine.config import Config
from mmengine.dataset import Compose, pseudo_collate
from mmengine.registry import init_default_scope
from torch import Tensor

from pspnet_plugin.apis.loading import describe, load_model, trained_bits, trained_side
from pspnet_plugin.apis.network import NetworkOutput
from pspnet_plugin.apis.photos import BadImage, ImageTooLarge

# Errors that pipelines and networks raise for a photo that they do not take.
PHOTO_ERRORS = (RuntimeError, ValueError, MemoryError, AssertionError, cv2.error)
# With more, each thread has a core or less to gain, and the activations of another batch to hold.
MAX_WORKERS = 4


class TorchNetwork:
    """A ``Network`` that labels batches of photos as the framework's test loop does.

    Opening it changes the config. ``FileNotFoundError``: the checkpoint is missing. ``ValueError``:
    it does not fit, there is no test pipeline, an 8-bit label map cannot hold the classes, or the
    device does not exist.
    """

    def __init__(self, config: Config, checkpoint: Path, *, device: str | None = None) -> None:
        model, meta = load_model(config, checkpoint)
        device = device or ('cuda:0' if torch.cuda.is_available() else 'cpu')
        try:
            self.model = model.to(device)
        except (RuntimeError, AssertionError) as error:
            text = textwrap.shorten(str(error), 200)
            raise ValueError(f'device {device} cannot be used: {text}') from None
        if model.out_channels > 256:
            raise ValueError(
                f'{checkpoint} has {model.out_channels} classes, and an 8-bit label map holds 256'
            )
        info = describe(model, config, meta)
        self.classes: list[str] = info['classes']
        self.palette = np.array(info['palette'], np.uint8).reshape(-1, 3)
        self.trained_side = trained_side(config)
        self.bits = trained_bits(config)
        self._pipeline = _test_pipeline(config)
        self._threads = torch.get_num_threads()
        on_cpu = torch.device(device).type == 'cpu'
        self.workers = min(self._threads, MAX_WORKERS) if on_cpu else 1
        self._pixels: dict[tuple[int, int], int] = {}

    def start_worker(self) -> None:
        """Limit the calling worker thread to its share of the cores."""
        torch.set_num_threads(self._threads // self.workers)

    def input_pixels(self, height: int, width: int) -> int:
        """Return the number of pixels that the network gets of a photo after the pipeline."""
        size = height, width
        if size not in self._pixels:
            with contextlib.suppress(*PHOTO_ERRORS):  # raised again for the photo itself
                height, width = self.prepare(np.zeros((*size, 3), np.uint8))['inputs'].shape[-2:]
            self._pixels[size] = height * width
        return self._pixels[size]

    def prepare(self, photo: np.ndarray) -> dict:
        """Return a photo, (H, W, 3) uint8 BGR, as the test pipeline packs it."""
        return self._pipeline(dict(img=photo))

    def run(self, photos: Sequence[np.ndarray]) -> list[NetworkOutput]:
        """Label a batch of photos of one size, see ``Network.run``."""
        try:
            samples = [self.prepare(photo) for photo in photos]
            with torch.inference_mode():
                results = self.model.test_step(pseudo_collate(samples))
        except PHOTO_ERRORS as error:
            height, width = photos[0].shape[:2]
            if 'memory' in str(error).lower() or isinstance(error, MemoryError):
                raise ImageTooLarge(
                    f'{len(photos)} photos of {width}x{height} pixels do not fit into memory; make '
                    'them or the batch smaller'
                ) from error
            text = ' '.join(str(error).split())[-300:]
            raise BadImage(f'{width}x{height} pixels cannot be labelled: {text}') from error
        outputs = []
        for result in results:
            labels = result.pred_sem_seg.data[0].to(torch.uint8)  # (H, W)
            confidence = partial(_confidence, result.seg_logits.data, labels)
            outputs.append(NetworkOutput(labels.cpu().numpy(), confidence))
        return outputs


@torch.inference_mode()
def _confidence(scores: Tensor, labels: Tensor) -> np.ndarray:
    """Return (H, W) float32 probabilities of the chosen classes.

    ``scores`` are (K, H, W) logits, or (1, H, W) that the framework has put through a sigmoid.
    """
    scores = scores.float()
    if len(scores) == 1:
        probability = torch.where(labels > 0, scores[0], 1 - scores[0])
    else:
        probability = (scores.amax(0) - scores.logsumexp(0)).exp()
    return probability.cpu().numpy()


def _test_pipeline(config: Config) -> Compose:
    """Build a config's test pipeline for photos in memory."""
    dataset = (config.get('test_dataloader') or {}).get('dataset') or {}
    if not dataset.get('pipeline'):
        raise ValueError(
            f'{config.filename} has no test_dataloader whose dataset has a pipeline, which '
            'prepares the photos; add one'
        )
    init_default_scope(config.get('default_scope', 'mmseg'))
    steps = [dict(step) for step in dataset['pipeline']]
    loading = next((step for step in steps if step['type'].endswith('ImageFromFile')), {})
    loading.pop('bits', None)  # of files
    others = [step for step in steps if not step['type'].startswith('Load')]
    return Compose([{**loading, 'type': 'LoadImageFromNDArray'}, *others])
