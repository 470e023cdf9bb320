"""One way in for inference: photos to class labels, by torch or by onnxruntime.

Shape shorthand in this module: H, W: height and width of a photo; K: number of classes.
"""

import copy
import itertools
import os
from collections import deque
from collections.abc import Callable, Iterable, Iterator, Sequence
from concurrent.futures import Future, ThreadPoolExecutor
from functools import cached_property, partial
from pathlib import Path
from typing import Literal, overload

import cv2
import numpy as np
from mmengine.config import Config

from pspnet_plugin.apis import drawing
from pspnet_plugin.apis.network import Network, NetworkOutput
from pspnet_plugin.apis.photos import read_photo, shrink
from pspnet_plugin.utils.images import Bits, check_bits
from pspnet_plugin.utils.resizing import fit

# Input pixels of a batch up to which worker threads take it; larger ones, several at once, might
# not fit into memory.
SMALL_BATCH = 2**18

File = str | os.PathLike[str]
Photo = np.ndarray | File


class Prediction:
    """Labels of a photo, at the photo's own size.

    Attributes:
        photo: (H, W, 3) uint8, BGR.
        labels: (H, W) uint8 class indices.
        classes: Class names; empty if the network does not name them.
        palette: (K, 3) uint8, RGB; empty likewise.
    """

    def __init__(
        self, photo: np.ndarray, output: NetworkOutput, classes: list[str], palette: np.ndarray
    ) -> None:
        self.photo = photo
        self.labels = output.labels
        self.classes, self.palette = classes, palette
        self._compute_confidence: Callable[[], np.ndarray] | None = output.confidence

    @cached_property
    def confidence(self) -> np.ndarray:
        """(H, W) float32, 0 to 1: softmax probability of the chosen class.

        For a network with one output channel, the sigmoid or, where the label is 0, its complement.
        It is computed when it is first asked for; until then the prediction holds the logits,
        4 * K bytes a pixel.

        Raises:
            ValueError: An ONNX file has no output ``logits``.
        """
        assert self._compute_confidence
        confidence = self._compute_confidence()
        self._compute_confidence = None
        return confidence

    @property
    def shares(self) -> dict[str, float]:
        """Fraction of the pixels, 0 to 1, of every class.

        Raises:
            ValueError: The class names are unknown.
        """
        _check_named(self, 'the network')
        shares = drawing.class_shares(self.labels, len(self.classes))
        return dict(zip(self.classes, shares.tolist(), strict=True))

    def overlay(self, opacity: float = 0.5) -> np.ndarray:
        """Draw the class colours over the photo, and a legend with shares to the right.

        Args:
            opacity: Opacity of the colours, 0 to 1.

        Returns:
            (H, W + legend, 3) uint8, BGR.

        Raises:
            ValueError: The class names or colours are unknown.
        """
        _check_named(self, 'the network')
        return drawing.overlay(self.photo, self.labels, self.palette, self.classes, opacity=opacity)


class Predictor:
    """A trained network that labels photos.

    Example::

        predictor = Predictor('psp_efficientnet-lite2')  # of the zoo
        predictor = Predictor('configs/psp_demo.py', 'work_dirs/psp_demo/iter_600.pth')
        prediction = predictor('photo.jpg')
        print(prediction.shares, prediction.confidence.mean())
        cv2.imwrite('overlay.jpg', prediction.overlay())

    Args:
        config: Config of the network, as a path or loaded (it is not changed); or, without
            ``checkpoint``, the name of a trained network of the zoo, or a ``.onnx`` file of
            ``tools/deployment/export_onnx.py``.
        checkpoint: File of its weights.
        device: ``'cpu'``, ``'cuda:0'``, …; by default the first GPU, or else the CPU. onnxruntime
            takes the best device that it was installed for.
        max_side: Photos with a longer side are shrunk to so many pixels for the network, and labels
            and confidence enlarged again; by default to that of the largest training photos, as
            the network has seen nothing at a larger scale. None or 0: never.
        bits: Bits that the values of 16-bit photo files have, such as 12, or the values that become
            black and white; by default those of the training, if its config or the ONNX file has
            them. Without any, such files are refused.
        on_shrink: Function called once, with ``max_side``, before the first photo is shrunk.

    Attributes:
        network: Backend, a ``TorchNetwork`` or an ``OnnxNetwork``.
        classes: Class names; empty if neither weights nor config has them.
        palette: (K, 3) uint8, RGB; empty likewise.
        max_side: Pixels, or None.
        bits: Bits that the values of 16-bit photo files have, a range, or None.

    Raises:
        FileNotFoundError: A file is missing.
        ImportError: onnxruntime, which ``.onnx`` needs, is not installed.
        ValueError: A file is unusable, they do not fit each other, the zoo has no such network, or
            the device does not exist.
    """

    def __init__(
        self,
        config: File | Config,
        checkpoint: File | None = None,
        *,
        device: str | None = None,
        max_side: int | Literal['trained'] | None = 'trained',
        bits: Bits | None = None,
        on_shrink: Callable[[int], None] | None = None,
    ) -> None:
        self.network = _open_network(config, checkpoint, device)
        self.classes, self.palette = self.network.classes, self.network.palette
        self.max_side = (self.network.trained_side if max_side == 'trained' else max_side) or None
        self.bits = check_bits(bits) or self.network.bits
        self._on_shrink = on_shrink
        self._source = checkpoint or config

    @overload
    def __call__(self, images: Photo) -> Prediction: ...  # type: ignore[overload-overlap] # str
    @overload
    def __call__(self, images: Sequence[Photo]) -> list[Prediction]: ...
    def __call__(self, images: Photo | Sequence[Photo]) -> Prediction | list[Prediction]:
        """Label a photo or a batch of them.

        Args:
            images: (H, W, 3) uint8 BGR array, as OpenCV reads it, or the path of an image file; or
                a list of these, of which consecutive ones of one size are labelled at once.

        Returns:
            A prediction, or a list of them for a list.

        Raises:
            BadImage: A file cannot be read, or the network does not take it.
            ImageTooLarge: Memory does not suffice.
            ValueError: An array has another shape or type.
        """
        if isinstance(images, np.ndarray | str | os.PathLike):
            return self([images])[0]
        photos = [_load(image, self.bits) for image in images]
        batches = [list(same) for _, same in itertools.groupby(photos, np.shape)]
        outputs = [output for batch in batches for output in self._run(batch)]
        return [
            Prediction(photo, output, self.classes, self.palette)
            for photo, output in zip(photos, outputs, strict=True)
        ]

    def label_batches(
        self, batches: Iterable[Sequence[np.ndarray]]
    ) -> Iterator[Future[list[np.ndarray]]]:
        """Label batches as they come, small ones side by side on a CPU.

        Each worker thread labels a small batch by its share of the cores. That takes less time than
        all cores on one batch after the other, where they wait for each other at every layer.

        A batch holds photos of one size, (H, W, 3) uint8 BGR; a few are taken ahead. Its label
        maps, (H, W) uint8, are yielded in order; their ``result()`` may raise ``BadImage``.
        """
        if self.network.workers < 2:
            yield from (self._label_now(batch) for batch in batches)
            return
        pending: deque[Future[list[np.ndarray]]] = deque()
        threads = ThreadPoolExecutor(self.network.workers, initializer=self.network.start_worker)
        with threads:
            for batch in batches:
                size = fit(batch[0].shape[:2], self.max_side or max(batch[0].shape))
                if len(batch) * self.network.input_pixels(*size) > SMALL_BATCH:
                    while pending:  # it has all cores, and memory, to itself
                        yield pending.popleft()
                    yield self._label_now(batch)
                    continue
                pending.append(threads.submit(self._label, batch))
                if len(pending) > self.network.workers:
                    yield pending.popleft()
            while pending:
                yield pending.popleft()

    def require_classes(self) -> None:
        """Raise ``ValueError`` if the class names or colours are unknown."""
        _check_named(self, self._source)

    def _label(self, photos: Sequence[np.ndarray]) -> list[np.ndarray]:
        return [output.labels for output in self._run(photos)]

    def _label_now(self, photos: Sequence[np.ndarray]) -> Future[list[np.ndarray]]:
        future: Future[list[np.ndarray]] = Future()
        try:
            future.set_result(self._label(photos))
        except Exception as error:  # raised by result()
            future.set_exception(error)
        return future

    def _run(self, photos: Sequence[np.ndarray]) -> list[NetworkOutput]:
        """Label photos of one size, shrunk where they are too large."""
        height, width = photos[0].shape[:2]
        if self.max_side is None or max(height, width) <= self.max_side:
            return self.network.run(photos)
        on_shrink, self._on_shrink = self._on_shrink, None
        if on_shrink:
            on_shrink(self.max_side)
        outputs = self.network.run([shrink(photo, self.max_side) for photo in photos])
        return [_enlarge(output, (width, height)) for output in outputs]


def _open_network(config: File | Config, checkpoint: File | None, device: str | None) -> Network:
    # Imported here, because each needs a framework that the other does without.
    if checkpoint is None and not isinstance(config, Config) and not Path(config).suffix:
        from pspnet_plugin.engine.zoo import find_network

        config, checkpoint = find_network(os.fspath(config))
    if checkpoint is None:
        if isinstance(config, Config) or Path(config).suffix == '.py':
            raise ValueError('a config needs the checkpoint of its network; give both')
        if Path(config).suffix == '.pth':
            raise ValueError(
                f'{config} holds weights alone; give their config first, or the name of a trained '
                'network of the zoo'
            )
        if device:
            raise ValueError(f'device {device}: onnxruntime chooses its device itself')
        from pspnet_plugin.apis.onnx_network import OnnxNetwork

        return OnnxNetwork(Path(config))
    from pspnet_plugin.apis.loading import load_config
    from pspnet_plugin.apis.torch_network import TorchNetwork

    if isinstance(config, Config):
        config = copy.deepcopy(config)  # opening the network changes it
    else:
        config = load_config(Path(config), whole=False)
    return TorchNetwork(config, Path(checkpoint), device=device)


def _enlarge(output: NetworkOutput, size: tuple[int, int]) -> NetworkOutput:
    """Resize an output to (width, height); the confidence when it is asked for."""
    enlarge = partial(cv2.resize, dsize=size, interpolation=cv2.INTER_NEAREST_EXACT)
    return NetworkOutput(enlarge(output.labels), lambda: enlarge(output.confidence()))


def _check_named(network: Predictor | Prediction, source: object) -> None:
    if not network.classes or not len(network.palette):
        raise ValueError(
            f'{source} does not name its classes and their colours. Give a config with a '
            'test_dataloader whose dataset has them in its metainfo; for an ONNX file, export it '
            'by such a config'
        )


def _load(image: Photo, bits: Bits | None) -> np.ndarray:
    if not isinstance(image, np.ndarray):
        return read_photo(Path(image), bits=bits)
    if image.dtype != np.uint8 or image.ndim != 3 or image.shape[2] != 3 or not image.size:
        raise ValueError(
            f'an image of shape {image.shape} and type {image.dtype}: expected (H, W, 3) uint8, BGR'
        )
    return image
