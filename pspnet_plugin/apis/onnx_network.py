"""onnxruntime backend of ``Predictor``, for files of ``tools/deployment/export_onnx.py``.

``tools/deployment/predict_onnx.py`` does the same without torch and without this package.
"""

import json
import textwrap
from collections.abc import Callable, Sequence
from functools import partial
from pathlib import Path
from typing import Any

import cv2
import numpy as np

from pspnet_plugin.apis.network import NetworkOutput
from pspnet_plugin.apis.photos import BadImage
from pspnet_plugin.utils.files import CHECKSUMS, check_sha256, read_checksums
from pspnet_plugin.utils.images import Bits
from pspnet_plugin.utils.resizing import Size

PROVIDERS = ('CUDAExecutionProvider', 'CPUExecutionProvider')


class OnnxNetwork:
    """A ``Network`` in an ``.onnx`` file, which takes a photo at a time.

    ``FileNotFoundError``: the file is missing. ``ImportError``: onnxruntime is. ``ValueError``: it
    is not an ONNX file, or lacks the metadata of an export.
    """

    workers = 1  # onnxruntime has threads of its own

    def __init__(self, path: Path) -> None:
        self._path = path
        if expected := read_checksums(path.with_name(CHECKSUMS)).get(path.name):
            check_sha256(path, expected, remedy='copy or install it again')
        self._session, self._ort_value = _open_session(path)
        metadata = self._session.get_modelmeta().custom_metadata_map
        try:
            mean, std, self.classes, palette = (
                json.loads(metadata[key]) for key in ('mean', 'std', 'classes', 'palette')
            )
            self._to_rgb = metadata['channel_order'] == 'RGB'
            self._normalize = metadata['normalization'] == 'outside'
            # Not in files of older versions.
            self._by_min_max = metadata.get('scaling', 'mean_std') == 'min_max'
            trained_side = json.loads(metadata.get('trained_side', 'null'))
            bits = json.loads(metadata.get('bits', 'null'))
        except (KeyError, ValueError) as error:
            raise ValueError(
                f'{path} lacks metadata that export_onnx.py writes ({error}); export it again'
            ) from None
        self._mean, self._std = (
            np.array(values, np.float32).reshape(1, 3, 1, 1) for values in (mean, std)
        )
        self.palette = np.array(palette, np.uint8).reshape(-1, 3)
        sides = self._session.get_inputs()[0].shape[2:]  # names where they are free
        fixed = all(isinstance(side, int) for side in sides)
        # To which photos are resized; None: the file takes any.
        self.size: Size | None = tuple(sides) if fixed else None
        self.trained_side: int | None = None if fixed else trained_side
        self.bits: Bits | None = (bits[0], bits[1]) if isinstance(bits, list) else bits
        self._outputs = [output.name for output in self._session.get_outputs()]

    def start_worker(self) -> None:
        """Do nothing: there are no worker threads."""

    def input_pixels(self, height: int, width: int) -> int:
        """Return the number of pixels that the network gets of a photo of this size."""
        height, width = self.size or (height, width)
        return height * width

    def run(self, photos: Sequence[np.ndarray]) -> list[NetworkOutput]:
        """Label photos, see ``Network.run``."""
        try:
            return [self._label(photo) for photo in photos]
        except Exception as error:  # onnxruntime's errors have no common base
            text = ' '.join(str(error).split())[-300:]
            raise BadImage(f'cannot be labelled: {text}') from error

    def prepare(self, photo: np.ndarray) -> np.ndarray:
        """Make the input, (1, 3, H, W), from a photo, (H, W, 3) uint8 BGR of any size."""
        size = photo.shape[:2]
        if self.size and self.size != size:
            shrinks = self.size[0] * self.size[1] < size[0] * size[1]
            method = cv2.INTER_AREA if shrinks else cv2.INTER_LINEAR
            photo = cv2.resize(photo, self.size[::-1], interpolation=method)
        if self._to_rgb:
            photo = photo[..., ::-1]
        batch = np.ascontiguousarray(photo.transpose(2, 0, 1)[None])  # (1, 3, H, W)
        return self._normalized(batch.astype(np.float32)) if self._normalize else batch

    def _label(self, photo: np.ndarray) -> NetworkOutput:
        size = photo.shape[:2]
        # The values stay in onnxruntime until their arrays are asked for.
        values = self._session.run_with_ort_values(
            [name for name in ('index_map', 'logits') if name in self._outputs],
            {'picture': self._ort_value(self.prepare(photo))},
        )
        labels = values[0].numpy()[0]  # (H, W)
        confidence = partial(self._confidence, values[-1], labels, size)
        return NetworkOutput(_resize_back(labels, size), confidence)

    def _normalized(self, batch: np.ndarray) -> np.ndarray:
        if not self._by_min_max:
            return (batch - self._mean) / self._std
        low, high = batch.min(), batch.max()
        return (batch - low) / (high - low if high > low else 1)

    def _confidence(self, logits: Any, labels: np.ndarray, size: Size) -> np.ndarray:
        """Return (H, W) float32 probabilities of the chosen classes.

        The logits, (1, K, h, w), are those of ``labels``, (h', w'), or are upsampled to them.
        """
        if 'logits' not in self._outputs:
            raise ValueError(f'{self._path} has no output "logits", which confidence is made from')
        values = logits.numpy()[0]
        if values.shape[1:] != labels.shape:
            resize = partial(cv2.resize, dsize=labels.shape[::-1], interpolation=cv2.INTER_LINEAR)
            values = np.stack([resize(plane) for plane in values])
        if len(values) == 1:
            probability = 1 / (1 + np.exp(np.where(labels > 0, -values[0], values[0])))
        else:
            highest = values.max(0)
            probability = 1 / np.exp(values - highest).sum(0)
        return _resize_back(probability.astype(np.float32), size)


def _resize_back(values: np.ndarray, size: Size) -> np.ndarray:
    if values.shape == size:
        return values
    return cv2.resize(values, size[::-1], interpolation=cv2.INTER_NEAREST_EXACT)


def _open_session(path: Path) -> tuple[Any, Callable[[np.ndarray], Any]]:
    """Return a session, and the function that makes its inputs from arrays."""
    if not path.is_file():
        raise FileNotFoundError(f'{path} does not exist; give a file of export_onnx.py')
    try:
        import onnxruntime
    except ImportError:
        raise ImportError(
            f"{path} needs onnxruntime: pip install 'pspnet-plugin[deploy]'"
        ) from None
    options = onnxruntime.SessionOptions()
    options.log_severity_level = 3
    providers = [name for name in PROVIDERS if name in onnxruntime.get_available_providers()]
    try:
        session = onnxruntime.InferenceSession(str(path), options, providers=providers)
    except Exception as error:  # onnxruntime's errors have no common base
        text = textwrap.shorten(str(error), 300)
        hint = ' (.pt2 and .pt files are for torch)' if path.suffix != '.onnx' else ''
        raise ValueError(f'{path} cannot be loaded as an ONNX network: {text}{hint}') from None
    return session, onnxruntime.OrtValue.ortvalue_from_numpy
