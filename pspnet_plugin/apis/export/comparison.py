"""Comparison of an exported file with the framework's own results for the same images.

Shape shorthand in this module: N: batch; K: output channels; H, W: height and width of the image.
"""

from typing import NamedTuple

import torch
from mmseg.models import EncoderDecoder
from mmseg.structures import SegDataSample
from torch import Tensor

from pspnet_plugin.apis.export.exporters import Run
from pspnet_plugin.utils.resizing import Size

MAX_DIFFERENCE = 1e-4  # of logits; relative to the largest where that exceeds 1
MIN_EQUAL = 0.999  # share of pixels with the same class
MAX_HALF_DIFFERENCE, MIN_HALF_EQUAL = 1e-2, 0.99  # with weights in float16


class Difference(NamedTuple):
    """Difference of two outputs for the same images."""

    shape: tuple[int, ...]  # (N, 3, H, W) of the images
    logits: float  # largest absolute difference
    largest: float  # largest absolute logit
    equal: float  # share of the pixels with the same class, 0 to 1

    def passes(self, *, half: bool = False) -> bool:
        """Return whether both may count as the same network; False for NaN.

        If ``half``, one has its weights in float16.
        """
        limit = (MAX_HALF_DIFFERENCE if half else MAX_DIFFERENCE) * max(1.0, self.largest)
        return self.logits <= limit and self.equal >= (MIN_HALF_EQUAL if half else MIN_EQUAL)

    def __str__(self) -> str:
        n, _, height, width = self.shape
        return (
            f'{n} x {height}x{width}: logits differ by {self.logits:.1e} (largest '
            f'{self.largest:.3g}), label maps equal in {self.equal:.4%}'
        )


def shapes_to_check(size: Size, *, dynamic: bool) -> list[tuple[int, int, int]]:
    """Choose (N, H, W) to try: several batches and, if sizes are free, odd and elongated ones."""
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


def sample_images(shape: tuple[int, int, int]) -> Tensor:
    """Generate (N, 3, H, W) uint8 images: smooth areas under noise, always the same."""
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
    """Run an exported network and the framework's own on the same images, of shape (N, H, W).

    If ``normalize``, the exported one normalises; ``order`` is its channel order, RGB or BGR.
    """
    images = sample_images(shape)  # (N, 3, H, W), in the exported network's order
    bgr = images.flip(1) if order == 'RGB' else images  # as pipelines read
    samples = [SegDataSample() for _ in bgr]  # padding, if it is configured, asks for them
    inputs = model.data_preprocessor(dict(inputs=list(bgr), data_samples=samples))['inputs']
    size = inputs.shape[2:]
    metas = [dict(ori_shape=size, img_shape=size, pad_shape=size)] * len(inputs)
    logits = model.inference(inputs, metas)  # (N, K, H, W)
    samples = model.postprocess_result(logits)
    labels = torch.cat([sample.pred_sem_seg.data for sample in samples])  # (N, H, W)
    labels_run, logits_run = run(images if normalize else inputs)
    if labels_run.shape != labels.shape or logits_run.shape != logits.shape:
        return Difference(tuple(inputs.shape), float('inf'), 0.0, 0.0)
    return Difference(
        tuple(inputs.shape),
        (logits_run - logits).abs().max().item(),
        logits.abs().max().item(),
        (labels_run == labels).double().mean().item(),
    )
