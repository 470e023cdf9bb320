"""What is to be labelled: photos, folders and globs of photos, pairs, videos."""

import glob
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path, PurePosixPath

import cv2
import numpy as np

from pspnet_plugin.datasets.natural_order import natural_key

PHOTOS = ('.jpg', '.jpeg', '.png', '.bmp', '.webp', '.tif', '.tiff')
VIDEOS = ('.mp4', '.avi', '.mov', '.mkv', '.webm', '.m4v')


class BadPicture(ValueError):
    """A picture cannot be read or labelled; the others can."""


class TooLarge(BadPicture):
    """A picture, or a batch, for which memory does not suffice."""


@dataclass(frozen=True)
class Source:
    """A file with a picture, or a video with many.

    Attributes:
        name: Of what is made of it, without suffix; ``/`` between folders.
        path: The file.
    """

    name: str
    path: Path

    @property
    def is_video(self) -> bool:
        """Whether it holds many."""
        return self.path.suffix.lower() in VIDEOS

    @cached_property
    def stamp(self) -> list[str | int]:
        """Path, bytes and time of the last change, by which another file or content shows."""
        stat = self.path.stat()
        return [str(self.path.resolve()), stat.st_size, stat.st_mtime_ns]


@dataclass(frozen=True)
class Picture:
    """A picture that was read.

    Attributes:
        name: Of the files to be made of it, without suffix; ``/`` between folders.
        photo: (H, W, 3) uint8 BGR, turned as its camera was held.
        truth: (H, W) uint8 class indices of a pair, 255 where ignored; None of a photo.
        source: The file that it was read from.
        is_last: Whether it is the last frame of a video.
    """

    name: str
    photo: np.ndarray
    truth: np.ndarray | None = None
    source: Source | None = None
    is_last: bool = False


def find_sources(inputs: Sequence[str], *, without: Path | None = None) -> list[Source]:
    """The files that a command line names.

    Args:
        inputs: Files; folders, whose pictures and videos count, sub-folders included; patterns
            with ``*`` (``**`` for any folders).
        without: Folder whose files do not count, such as the one that is written to.

    Raises:
        FileNotFoundError: one names nothing.
        ValueError: two files would be made under one name.
    """
    found: dict[str, Source] = {}
    without = without and without.resolve()
    for text in inputs:
        path = Path(text)
        if path.is_dir():
            files = (p for p in path.rglob('[!.]*') if p.suffix.lower() in PHOTOS + VIDEOS)
            named = [(p.relative_to(path).with_suffix('').as_posix(), p) for p in files]
            missing = f'{path} holds no picture ({" ".join(PHOTOS)}) and no video'
            missing += f' outside of {without}, which is written to' if without else ''
        elif path.exists():
            named, missing = [(path.stem, path)], f'{path} lies in {without}, which is written to'
        else:
            named = [(p.stem, p) for p in map(Path, glob.glob(text, recursive=True)) if p.is_file()]
            missing = f'{text} does not exist; give photos, videos, folders or patterns of them'
        named = [(name, file) for name, file in named if without not in file.resolve().parents]
        if not named:
            raise FileNotFoundError(missing)
        for name, file in sorted(named, key=lambda pair: natural_key(pair[0])):
            other = found.setdefault(name, Source(name, file))
            if other.path.resolve() != file.resolve():
                raise ValueError(
                    f'{other.path} and {file} would both become {name}; label them into different '
                    'folders'
                )
    films = {source.name: source for source in found.values() if source.is_video}
    for source in found.values():
        above = (films.get(str(folder)) for folder in PurePosixPath(source.name).parents)
        if film := next(filter(None, above), None):
            raise ValueError(
                f'{source.path} and a frame of {film.path} might become one file; label them into '
                'different folders'
            )
    return list(found.values())


def read_photo(source: Source) -> Picture:
    """A photo.

    Raises:
        BadPicture: it cannot be read.
    """
    try:
        content = source.path.read_bytes()
    except OSError as error:
        raise BadPicture(f'{source.path} cannot be read: {error.strerror}') from None
    return Picture(source.name, decode_photo(content, str(source.path)), source=source)


def decode_photo(content: bytes, name: str) -> np.ndarray:
    """An (H, W, 3) uint8 BGR picture, turned as its camera was held.

    Args:
        content: Of a picture file.
        name: What errors call it.

    Raises:
        BadPicture: it is none.
    """
    try:
        buffer = np.frombuffer(content, np.uint8)
        photo = cv2.imdecode(buffer, cv2.IMREAD_COLOR) if content else None
    except cv2.error as error:
        raise BadPicture(f'{name} cannot be decoded: {error.err}') from None
    if photo is None:
        raise BadPicture(f'{name} is no picture that OpenCV reads')
    return photo


def shrunk(photo: np.ndarray, max_side: int) -> np.ndarray:
    """A photo whose longer side has at most so many pixels, the other in proportion.

    Args:
        photo: (H, W, 3) uint8; it is returned itself if it is small enough.
        max_side: Pixels.
    """
    height, width = photo.shape[:2]
    scale = max_side / max(height, width)
    if scale >= 1:
        return photo
    size = max(round(width * scale), 1), max(round(height * scale), 1)
    return cv2.resize(photo, size, interpolation=cv2.INTER_AREA)


def read_frames(source: Source) -> Iterator[Picture]:
    """The frames of a video, ``NAME/000001`` and so on.

    Raises:
        BadPicture: it cannot be opened, or holds none.
    """
    video = cv2.VideoCapture(str(source.path))
    try:
        there, photo = video.read()
        if not there:
            raise BadPicture(f'{source.path} is no video that OpenCV reads')
        count = 1
        while there:
            there, following = video.read()
            yield Picture(f'{source.name}/{count:06}', photo, source=source, is_last=not there)
            photo, count = following, count + 1
    finally:
        video.release()


def count_frames(source: Source) -> int:
    """As its header says, which may be wrong; 0 where it does not."""
    video = cv2.VideoCapture(str(source.path))
    try:
        return max(int(video.get(cv2.CAP_PROP_FRAME_COUNT)), 0)
    finally:
        video.release()


def frame_rate(source: Source) -> float:
    """Frames a second; 25 where the header does not say."""
    video = cv2.VideoCapture(str(source.path))
    try:
        rate = video.get(cv2.CAP_PROP_FPS)
    finally:
        video.release()
    return rate if 0 < rate < 1000 else 25.0
