"""Interface between ``Predictor`` and its backends, ``torch_network`` and ``onnx_network``."""

from collections.abc import Callable, Sequence
from typing import NamedTuple, Protocol

import numpy as np

from pspnet_plugin.utils.images import Bits


class NetworkOutput(NamedTuple):
    """Labels of a photo, and how to get their confidence."""

    labels: np.ndarray  # (H, W) uint8 class indices
    # Computes the (H, W) float32 probabilities of these classes; holds the logits until dropped.
    confidence: Callable[[], np.ndarray]


class Network(Protocol):
    """Backend that labels photos of one size at the size they have."""

    classes: list[str]  # empty if unknown
    palette: np.ndarray  # (K, 3) uint8, RGB; empty if unknown
    trained_side: int | None  # longer side in pixels of the largest training photos, if known
    bits: Bits | None  # of the training photos' values, if they were scaled to 8
    workers: int  # threads that label small batches at once; 1: only the caller's

    def start_worker(self) -> None:
        """Prepare the calling worker thread; called once in each if there are several."""

    def input_pixels(self, height: int, width: int) -> int:
        """Return the number of pixels that the network gets of a photo of this size."""

    def run(self, photos: Sequence[np.ndarray]) -> list[NetworkOutput]:
        """Label a batch of photos of one size, (H, W, 3) uint8 BGR.

        ``BadImage``: the network does not take them; ``ImageTooLarge``: memory does not suffice.
        """
