"""Compares an exported file with what the framework itself makes of the same pictures.

Shape shorthand in this module: N: batch; K: output channels; H, W: height and width of the picture.
"""

from typing import NamedTuple

import torch
from mmseg.models import EncoderDecoder
from mmseg.structures import SegDataSample
from torch import Tensor

from pspnet_plugin.apis.export.exporters import Run

MAX_DIFFERENCE = 1e-4  # of logits, a share of the largest where that exceeds 1
MIN_EQUAL = 0.999  # share of pixels with the same class


class Difference(NamedTuple):
    """How far apart two outputs for pictures of ``shape`` (N, 3, H, W) are.

    ``logits`` is the largest |difference|, ``largest`` the largest |logit|, ``equal`` the share of
    pixels with the same class.
    """

    shape: tuple[int, ...]
    logits: float
    largest: float
    equal: float

    def passes(self) -> bool:
        """Whether the two may be taken for the same network."""
        limit = MAX_DIFFERENCE * max(1.0, self.largest)
        return self.logits <= limit and self.equal >= MIN_EQUAL  # False for nan too

    def __str__(self) -> str:
        n, _, height, width = self.shape
        return (
            f'{n} x {height}x{width}: logits differ by {self.logits:.1e} (largest '
            f'{self.largest:.3g}), index maps equal in {self.equal:.4%}'
        )


def shapes_to_check(size: tuple[int, int], *, dynamic: bool) -> list[tuple[int, int, int]]:
    """(N, H, W) of what is tried: several batches and, if sizes are free, odd and longish ones."""
    height, width = size
    shapes = [(1, height, width), (5, height, width)]
    if dynamic:
        shapes += [
            (1, height + 1, 2 * width - 1),
            (2, height * 3 // 4 | 1, width),
            (1, width, height),
            (9, height // 2 + 1, width // 2 + 1),
        ]
    return list(dict.fromkeys(shapes))


def sample_pictures(shape: tuple[int, int, int]) -> Tensor:
    """(N, 3, H, W), uint8: smooth areas under noise, always the same."""
    n, height, width = shape
    generator = torch.Generator().manual_seed(0)
    coarse = torch.rand(n, 3, -(-height // 32), -(-width // 32), generator=generator)
    smooth = torch.nn.functional.interpolate(coarse, (height, width), mode='bilinear')
    noise = torch.rand(n, 3, height, width, generator=generator)
    return (205 * smooth + 50 * noise).to(torch.uint8)


@torch.no_grad()
def compare(
    run: Run, model: EncoderDecoder, shape: tuple[int, int, int], *, normalize: bool, order: str
) -> Difference:
    """Runs an exported network and the framework's own on the same pictures.

    Args:
        run: One of ``open_exported``.
        model: The segmentor that was exported.
        shape: (N, H, W) of the pictures.
        normalize: Whether the exported one normalises.
        order: ``'RGB'`` or ``'BGR'``: its channel order.
    """
    pictures = sample_pictures(shape)  # (N, 3, H, W), in the exported network's order
    read = pictures.flip(1) if order == 'RGB' else pictures  # BGR, as pipelines read
    samples = [SegDataSample() for _ in read]  # padding, if it is configured, asks for them
    inputs = model.data_preprocessor(dict(inputs=list(read), data_samples=samples))['inputs']
    size = inputs.shape[2:]
    metas = [dict(ori_shape=size, img_shape=size, pad_shape=size)] * len(inputs)
    logits = model.inference(inputs, metas)  # (N, K, H, W)
    samples = model.postprocess_result(logits)
    index_map = torch.cat([sample.pred_sem_seg.data for sample in samples])  # (N, H, W)
    index_map_run, logits_run = run(pictures if normalize else inputs)
    if index_map_run.shape != index_map.shape or logits_run.shape != logits.shape:
        return Difference(tuple(inputs.shape), float('inf'), 0.0, 0.0)
    return Difference(
        tuple(inputs.shape),
        (logits_run - logits).abs().max().item(),
        logits.abs().max().item(),
        (index_map_run == index_map).double().mean().item(),
    )
