"""Interface between ``Predictor`` and what runs the network: torch, or onnxruntime."""

from collections.abc import Callable, Sequence
from typing import NamedTuple, Protocol

import numpy as np


class NetworkOutput(NamedTuple):
    """Labels of a photo, and how to get their confidence.

    Attributes:
        labels: (H, W) uint8 class indices.
        confidence: Function that computes the (H, W) float32 probabilities of these classes; it
            holds the logits until it is dropped.
    """

    labels: np.ndarray
    confidence: Callable[[], np.ndarray]


class Network(Protocol):
    """Backend that labels photos of one size at the size they have.

    Attributes:
        classes: Class names; empty if unknown.
        palette: (K, 3) uint8, RGB; empty if unknown.
        trained_side: Longer side in pixels of the largest training photos, None if unknown.
        workers: Number of threads that label small batches at once; 1: only the caller's.
    """

    classes: list[str]
    palette: np.ndarray
    trained_side: int | None
    workers: int

    def start_worker(self) -> None:
        """Prepare the calling worker thread; called once in each if there are several."""

    def input_pixels(self, height: int, width: int) -> int:
        """Return the number of pixels that the network gets of a photo of this size."""

    def run(self, photos: Sequence[np.ndarray]) -> list[NetworkOutput]:
        """Label a batch of photos of one size.

        Args:
            photos: (H, W, 3) uint8 BGR each.

        Raises:
            ImageTooLarge: Memory does not suffice.
            BadImage: The network does not take them for another reason.
        """
