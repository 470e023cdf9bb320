"""Films of labelled frames: under their name when they are whole, and not before."""

import hashlib
from pathlib import Path

import cv2
import numpy as np

from pspnet_plugin.apis.readers import count_frames


class Film:
    """An ``.mp4`` that is being written.

    Args:
        path: What it is called in the end; its folder exists.
        rate: Frames a second.
        size: (width, height) of its frames.

    Raises:
        ValueError: there is no encoder.
    """

    def __init__(self, path: Path, *, rate: float, size: tuple[int, int]) -> None:
        self.path = path
        # Hidden, so no input's; the same at the next try, so that nothing piles up; and short.
        digest = hashlib.sha256(path.name.encode(errors='surrogateescape')).hexdigest()[:8]
        self._part = path.with_name(f'.{digest}.part.mp4')
        self._frames = 0
        self._file = cv2.VideoWriter(str(self._part), cv2.VideoWriter_fourcc(*'mp4v'), rate, size)
        if not self._file.isOpened():
            raise ValueError(
                f'{path} cannot be written: this OpenCV has no encoder for mp4v. Save what needs '
                'none: --save index color'
            )

    def add(self, frame: np.ndarray) -> None:
        """(H, W, 3) uint8 BGR."""
        self._file.write(frame)
        self._frames += 1

    def finish(self) -> None:
        """Gives it its name.

        Raises:
            OSError: not all of it could be written.
        """
        self._file.release()
        written = count_frames(self._part)
        if written != self._frames:
            self._part.unlink(missing_ok=True)
            raise OSError(
                f'{self.path}: {written} of {self._frames} frames could be written; is there space?'
            )
        self._part.replace(self.path)

    def discard(self) -> None:
        """Removes what is there of it."""
        self._file.release()
        self._part.unlink(missing_ok=True)
