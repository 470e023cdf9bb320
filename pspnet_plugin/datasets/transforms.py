"""Transforms: photos of more than 8 bits, photos of worse cameras, and fewer labels for the loss.

Stock heads upsample logits to the size of the labels, which takes as long as a good part of the
network. Labels at every second pixel in both directions are still as fine as logits of stride 4 or
more can follow, and random crops bring in all pixels over the epochs.
"""

import cv2
import numpy as np
from mmcv.transforms import BaseTransform, LoadImageFromFile
from mmcv.transforms.utils import cache_randomness
from mmengine import fileio
from mmseg.registry import TRANSFORMS
from numpy.random import normal, rand, randint, uniform

from pspnet_plugin.utils.images import Bits, check_bits, decode_image


@TRANSFORMS.register_module()
class LoadDeepImageFromFile(LoadImageFromFile):
    """Stock ``LoadImageFromFile`` for photos of 16 bits a channel, which are scaled to 8.

    Stock loading takes the upper 8 of 16 bits, so that 12-bit values become nearly black.

    Args:
        bits: Bits that the values have, such as 12, or the values that become black and white.
        to_float32: If true, the image is float32.
        backend_args: Arguments of mmengine's file backend.
    """

    def __init__(
        self, *, bits: Bits, to_float32: bool = False, backend_args: dict | None = None
    ) -> None:
        super().__init__(to_float32=to_float32, backend_args=backend_args)
        self.bits = check_bits(bits)

    def transform(self, results: dict) -> dict:
        """Load ``img``, (H, W, 3) BGR; ``ValueError`` names a file of other values."""
        path = results['img_path']
        content = fileio.get(path, backend_args=self.backend_args)
        image = decode_image(content, name=path, strict=False, bits=self.bits)
        results['img'] = image.astype(np.float32) if self.to_float32 else image
        results['img_shape'] = results['ori_shape'] = image.shape[:2]
        return results


@TRANSFORMS.register_module()
class SubsampleLabels(BaseTransform):
    """Keeps the labels of every s-th pixel in both directions; the image stays as it is.

    Each sample lies in the middle of its s x s pixels. If the middle is between two pixels, one is
    drawn for the whole image, so that edges do not move on average.

    Required and modified keys: ``gt_seg_map``, (H, W) to (ceil(H / s), ceil(W / s)), and any other
    in ``seg_fields``. Crop, pad and flip before: the framework pads images that are smaller than
    the network's input, and cannot pad these labels alike.

    Args:
        stride: s, from 1 up; else ``ValueError``.
    """

    def __init__(self, *, stride: int = 2) -> None:
        if stride < 1:
            raise ValueError(f'SubsampleLabels: stride={stride}: expected a number from 1 up')
        self.stride = stride

    @cache_randomness
    def _draw(self) -> tuple[int, int]:
        low, high = (self.stride - 1) // 2, self.stride // 2
        return randint(low, high + 1), randint(low, high + 1)

    def transform(self, results: dict) -> dict:
        """Subsample the label maps of a sample."""
        y, x = self._draw()
        for key in results.get('seg_fields', []):
            height, width = results[key].shape
            # At the end, where a cell may be cut off before its middle, the last pixel counts.
            rows = (np.arange(0, height, self.stride) + y).clip(max=height - 1)
            columns = (np.arange(0, width, self.stride) + x).clip(max=width - 1)
            results[key] = results[key][rows][:, columns]
        return results

    def __repr__(self) -> str:
        return f'{type(self).__name__}(stride={self.stride})'


@TRANSFORMS.register_module()
class RandomDegradation(BaseTransform):
    """Degrade a photo by one of blur, noise and JPEG compression, chosen at random.

    Networks that are trained on such photos too lose less on those of other cameras and on files
    that were compressed again.

    Required and modified key: ``img``, (H, W, 3) uint8.

    Args:
        prob: Probability that a photo is degraded, 0 to 1.
        sigma: Range of the standard deviation of a Gaussian blur, in pixels.
        noise: Range of the standard deviation of Gaussian noise, in levels of 255.
        quality: Range of the JPEG quality, 1 to 100.

    Raises:
        ValueError: An argument is none of these, or a photo is not uint8.
    """

    def __init__(
        self,
        *,
        prob: float = 0.5,
        sigma: tuple[float, float] = (0.3, 1.5),
        noise: tuple[float, float] = (2, 15),
        quality: tuple[int, int] = (25, 90),
    ) -> None:
        if not 0 <= prob <= 1:
            raise ValueError(f'RandomDegradation: prob={prob}: expected 0 to 1')
        limits = dict(
            sigma=(sigma, 0.01, np.inf), noise=(noise, 0, np.inf), quality=(quality, 1, 100)
        )
        for name, ((low, high), least, most) in limits.items():
            if not least <= low <= high <= most:
                raise ValueError(
                    f'RandomDegradation: {name}=({low}, {high}): expected the lowest and the '
                    f'highest value, from {least} to {most}'
                )
        self.prob = prob
        self.sigma = sigma
        self.noise = noise
        self.quality = quality

    def transform(self, results: dict) -> dict:
        """Degrade the photo of a sample."""
        if (dtype := results['img'].dtype) != np.uint8:
            raise ValueError(f'RandomDegradation: a photo of {dtype}: expected uint8')
        if rand() < self.prob:
            degrade = (self._blur, self._add_noise, self._compress)[randint(3)]
            results['img'] = degrade(results['img'])
        return results

    def _blur(self, image: np.ndarray) -> np.ndarray:
        return cv2.GaussianBlur(image, (0, 0), uniform(*self.sigma))

    def _add_noise(self, image: np.ndarray) -> np.ndarray:
        noisy = image + normal(0, uniform(*self.noise), image.shape)
        return np.rint(noisy).clip(0, 255).astype(np.uint8)

    def _compress(self, image: np.ndarray) -> np.ndarray:
        low, high = self.quality
        options = [cv2.IMWRITE_JPEG_QUALITY, randint(low, high + 1)]
        return np.asarray(cv2.imdecode(cv2.imencode('.jpg', image, options)[1], cv2.IMREAD_COLOR))

    def __repr__(self) -> str:
        ranges = f'sigma={self.sigma}, noise={self.noise}, quality={self.quality}'
        return f'{type(self).__name__}(prob={self.prob}, {ranges})'
