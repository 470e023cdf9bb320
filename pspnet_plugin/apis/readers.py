"""Photos and frames of videos, read from their files."""

import contextlib
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

import cv2
import numpy as np

from pspnet_plugin.apis.sources import BadImage, Source
from pspnet_plugin.utils.images import jpeg_ends
from pspnet_plugin.utils.resizing import fit

# Of the frames that a video's header promises; fewer than these are a cut-off file. Headers that
# count by time and rate may be a little wrong.
WHOLE = 0.95


@dataclass(frozen=True)
class InputImage:
    """A picture that was read.

    Attributes:
        name: Of the files to be made of it, without suffix; ``/`` between folders.
        photo: (H, W, 3) uint8 BGR, turned as its camera was held.
        truth: (H, W) uint8 class indices of a pair, 255 where ignored; None of a photo.
        source: The file that it was read from.
        frames: At the last frame of a video, how many it has or, if it is cut off, should have.
    """

    name: str
    photo: np.ndarray
    truth: np.ndarray | None = None
    source: Source | None = None
    frames: int | None = None


def read_photo(source: Source) -> InputImage:
    """A photo.

    Raises:
        BadImage: it cannot be read.
    """
    try:
        content = source.path.read_bytes()
    except OSError as error:
        raise BadImage(f'{source.path} cannot be read: {error.strerror}') from None
    return InputImage(source.name, decode_photo(content, str(source.path)), source=source)


def decode_photo(content: bytes, name: str) -> np.ndarray:
    """An (H, W, 3) uint8 BGR picture, turned as its camera was held.

    Args:
        content: Of a picture file.
        name: What errors call it.

    Raises:
        BadImage: it is none.
    """
    if content.startswith(b'\xff\xd8') and not jpeg_ends(content):
        # OpenCV 5 says that it is no picture, and OpenCV 4 makes the rest grey.
        raise BadImage(f'{name} is cut off: its JPEG data has no end; copy it again')
    try:
        buffer = np.frombuffer(content, np.uint8)
        photo = cv2.imdecode(buffer, cv2.IMREAD_COLOR) if content else None
    except cv2.error as error:
        raise BadImage(f'{name} cannot be decoded: {error.err}') from None
    if photo is None:
        raise BadImage(f'{name} is no picture that OpenCV reads')
    return photo


def shrunk(photo: np.ndarray, max_side: int) -> np.ndarray:
    """A photo whose longer side has at most so many pixels, the other in proportion.

    Args:
        photo: (H, W, 3) uint8; it is returned itself if it is small enough.
        max_side: Pixels.
    """
    if max(photo.shape[:2]) <= max_side:
        return photo
    return cv2.resize(photo, fit(photo.shape[:2], max_side)[::-1], interpolation=cv2.INTER_AREA)


def read_frames(source: Source) -> Iterator[InputImage]:
    """The frames of a video, ``NAME/000001`` and so on.

    Raises:
        BadImage: it cannot be opened, or holds none; or, after its last frame, it is cut off.
    """
    with _opened(source.path) as video:
        there, photo = video.read()
        if not there:
            raise BadImage(f'{source.path} is no video that OpenCV reads')
        promised, count = _frames(video), 1
        while there:
            there, following = video.read()
            frames = None if there else promised if count < WHOLE * promised else count
            yield InputImage(f'{source.name}/{count:06}', photo, source=source, frames=frames)
            photo, count = following, count + 1
        if count - 1 < WHOLE * promised:
            raise BadImage(
                f'{source.path} ends after {count - 1} of the {promised} frames that its header '
                'promises: it is cut off or damaged; copy it again'
            )


def count_frames(path: Path) -> int:
    """Of a video, as its header says, which may be wrong; 0 where it does not."""
    try:
        with _opened(path) as video:
            return _frames(video)
    except BadImage:
        return 0


def frame_rate(path: Path) -> float:
    """Of a video, frames a second; 25 where its header does not say."""
    with _opened(path) as video:
        rate = video.get(cv2.CAP_PROP_FPS)
    return rate if 0 < rate < 1000 else 25.0


@contextlib.contextmanager
def _opened(path: Path) -> Iterator[cv2.VideoCapture]:
    try:
        # What it makes of a pipe would never end.
        video = cv2.VideoCapture(str(path).encode().decode() if path.is_file() else '')
    except UnicodeEncodeError:
        raise BadImage(
            f'{str(path)!a} has a name that is not UTF-8, by which OpenCV opens no video; rename it'
        ) from None
    try:
        yield video
    finally:
        video.release()


def _frames(video: cv2.VideoCapture) -> int:
    return max(int(video.get(cv2.CAP_PROP_FRAME_COUNT)), 0)
