"""Videos: frames read from them, and overlays written to them."""

import contextlib
import hashlib
import os
from collections.abc import Iterator
from pathlib import Path

import cv2
import numpy as np

from pspnet_plugin.apis.photos import BadImage
from pspnet_plugin.toolkit.prediction.sources import InputImage, Source

# Share of the frames that a header promises below which a video counts as cut off. Headers that
# count by time and rate may be a little wrong.
MIN_FRAMES = 0.95


class VideoWriter:
    """A WebM file with VP8, which browsers play, under its name only when it is complete.

    ``rate`` is in frames a second, ``size`` (width, height). ``ValueError``: there is no encoder.
    """

    def __init__(self, path: Path, *, rate: float, size: tuple[int, int]) -> None:
        self.path = path
        # Hidden, so that it is no input; the same at the next try, so that none pile up; and short.
        digest = hashlib.sha256(path.name.encode(errors='surrogateescape')).hexdigest()[:8]
        self._part = path.with_name(f'.{digest}.part.webm')
        self._frames = 0
        codec = cv2.VideoWriter.fourcc(*'VP80')
        with _quiet_stderr():  # OpenCV says each time that WebM has no such four letters
            self._file = cv2.VideoWriter(str(self._part), codec, rate, size)
        if not self._file.isOpened():
            raise ValueError(
                f'{path} cannot be written: this OpenCV has no encoder for VP8. Save other kinds: '
                '--save index color'
            )

    def add(self, frame: np.ndarray) -> None:
        """Append a frame, (H, W, 3) uint8 BGR."""
        self._file.write(frame)
        self._frames += 1

    def finish(self) -> None:
        """Give the file its name; ``OSError`` if not all frames could be written."""
        self._file.release()
        written = count_frames(self._part)
        if written != self._frames:
            self._part.unlink(missing_ok=True)
            raise OSError(
                f'{self.path}: {written} of {self._frames} frames could be written; is the disk '
                'full?'
            )
        self._part.replace(self.path)

    def discard(self) -> None:
        """Remove the unfinished file."""
        self._file.release()
        self._part.unlink(missing_ok=True)


@contextlib.contextmanager
def _quiet_stderr() -> Iterator[None]:
    """Drop what libraries write to file descriptor 2, if there is one."""
    try:
        kept = os.dup(2)
    except OSError:
        yield
        return
    try:
        with open(os.devnull, 'w') as nothing:
            os.dup2(nothing.fileno(), 2)
        yield
    finally:
        os.dup2(kept, 2)
        os.close(kept)


def read_frames(source: Source) -> Iterator[InputImage]:
    """Read the frames of a video, named ``NAME/000001`` and so on.

    ``BadImage``: it cannot be opened, or has no frame; or, after its last frame, it is cut off.
    """
    with _open(source.path) as video:
        success, photo = video.read()
        if not success:
            raise BadImage(f'{source.path} is not a video that OpenCV reads')
        promised, count = _count(video), 1
        while success:
            success, following = video.read()
            frames = None if success else promised if count < MIN_FRAMES * promised else count
            yield InputImage(f'{source.name}/{count:06}', photo, source=source, frames=frames)
            photo, count = following, count + 1
        if count - 1 < MIN_FRAMES * promised:
            raise BadImage(
                f'{source.path} ends after {count - 1} of the {promised} frames that its header '
                'promises: it is cut off or damaged; copy it again'
            )


def count_frames(path: Path) -> int:
    """Return the number of frames by the header, which may be wrong; 0 if it has none."""
    try:
        with _open(path) as video:
            return _count(video)
    except BadImage:
        return 0


def frame_rate(path: Path) -> float:
    """Return the frames a second; 25 if the header has no rate."""
    with _open(path) as video:
        rate = video.get(cv2.CAP_PROP_FPS)
    return rate if 0 < rate < 1000 else 25.0


@contextlib.contextmanager
def _open(path: Path) -> Iterator[cv2.VideoCapture]:
    try:
        # Reading a pipe might never end.
        video = cv2.VideoCapture(str(path).encode().decode() if path.is_file() else '')
    except UnicodeEncodeError:
        raise BadImage(
            f'{str(path)!a} has a name that is not UTF-8, which OpenCV cannot open as a video; '
            'rename it'
        ) from None
    try:
        yield video
    finally:
        video.release()


def _count(video: cv2.VideoCapture) -> int:
    return max(int(video.get(cv2.CAP_PROP_FRAME_COUNT)), 0)
