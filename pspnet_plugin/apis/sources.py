"""What is to be labelled: photos, folders and globs of photos, pairs, videos."""

import contextlib
import glob
import os
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path, PurePosixPath

from pspnet_plugin.utils.natural_order import natural_key

PHOTOS = ('.jpg', '.jpeg', '.png', '.bmp', '.webp', '.tif', '.tiff')
VIDEOS = ('.mp4', '.avi', '.mov', '.mkv', '.webm', '.m4v')


class BadImage(ValueError):
    """A picture cannot be read or labelled; the others can."""


class ImageTooLarge(BadImage):
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
    def stamp(self) -> list[str | int | None]:
        """Path, bytes and time of the last change, by which another file or content shows."""
        bytes_, changed = None, None
        with contextlib.suppress(OSError):  # a link that leads nowhere; reading it says so
            stat = self.path.stat()
            bytes_, changed = stat.st_size, stat.st_mtime_ns
        return [os.path.realpath(self.path), bytes_, changed]

    @property
    def is_special(self) -> bool:
        """Whether it is a pipe or a device, whose reading may never end."""
        return self.path.exists() and not self.path.is_file()

    @property
    def is_there(self) -> bool:
        """Whether it can be looked at."""
        return self.stamp[1] is not None


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
    without = without and os.path.realpath(without)
    for text in inputs:
        path = Path(text)
        if path.is_dir():
            files = _files_below(path)
            named = [(p.relative_to(path).with_suffix('').as_posix(), p) for p in files]
            missing = f'{path} holds no picture ({" ".join(PHOTOS)}) and no video'
            missing += f' outside of {without}, which is written to' if without else ''
        elif path.exists():
            named, missing = [(path.stem, path)], f'{path} lies in {without}, which is written to'
        else:
            named = [(p.stem, p) for p in map(Path, glob.glob(text, recursive=True)) if p.is_file()]
            missing = f'{text} does not exist; give photos, videos, folders or patterns of them'
        if without:
            named = [pair for pair in named if not _is_below(pair[1], without)]
        if not named:
            raise FileNotFoundError(missing)
        for name, file in sorted(named, key=lambda pair: natural_key(pair[0])):
            other = found.setdefault(name, Source(name, file))
            if os.path.realpath(other.path) != os.path.realpath(file):
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


def _files_below(folder: Path) -> Iterator[Path]:
    """Photos and videos, also in folders that are links; each folder once, hidden ones never.

    Raises:
        OSError: a folder may not be read.
    """
    seen = set()

    def fail(error: OSError) -> None:
        raise error

    for place, folders, files in os.walk(folder, followlinks=True, onerror=fail):
        if (real := os.path.realpath(place)) in seen:
            folders.clear()
            continue
        seen.add(real)
        folders[:] = sorted(name for name in folders if not name.startswith('.'))
        paths = (Path(place, name) for name in files if not name.startswith('.'))
        yield from (path for path in paths if path.suffix.lower() in PHOTOS + VIDEOS)


def _is_below(path: Path, folder: str) -> bool:
    return os.path.realpath(path).startswith(os.path.join(folder, ''))
