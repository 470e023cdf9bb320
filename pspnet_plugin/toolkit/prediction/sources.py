"""Files to label: photos, directories and patterns of them, videos; and the images in them."""

import contextlib
import glob
import os
from collections import Counter
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path, PurePosixPath

import numpy as np

from pspnet_plugin.utils.images import PHOTO_SUFFIXES
from pspnet_plugin.utils.natural_order import natural_key

VIDEO_SUFFIXES = ('.mp4', '.avi', '.mov', '.mkv', '.webm', '.m4v')


@dataclass(frozen=True)
class Source:
    """A file with an image, or a video."""

    name: str  # of the outputs, without suffix; / between directories
    path: Path

    @property
    def is_video(self) -> bool:
        """Return whether it holds many images."""
        return self.path.suffix.lower() in VIDEO_SUFFIXES

    @cached_property
    def stamp(self) -> list[str | int | None]:
        """Real path, bytes and time of the last change, which tell another file or content."""
        size, changed = None, None
        with contextlib.suppress(OSError):  # a broken link; reading it fails
            stat = self.path.stat()
            size, changed = stat.st_size, stat.st_mtime_ns
        return [os.path.realpath(self.path), size, changed]

    @property
    def exists(self) -> bool:
        """Return whether it existed when it was first looked at."""
        return self.stamp[1] is not None


@dataclass(frozen=True)
class InputImage:
    """An image that was read."""

    name: str  # of its outputs, without suffix; / between directories
    photo: np.ndarray  # (H, W, 3) uint8 BGR, upright
    truth: np.ndarray | None = None  # (H, W) uint8 class indices of a pair, 255 where ignored
    source: Source | None = None
    frames: int | None = None  # at a video's last one: of the video; if cut off, by its header


def find_sources(
    inputs: Sequence[str], *, without: Path | None = None, skipped: Counter[str] | None = None
) -> list[Source]:
    """Find the files that a command line names, except those below ``without``.

    ``skipped`` counts, by suffix, the other files in directories.

    Inputs are files; directories, searched with all below them for photos and videos; patterns with
    ``*`` (``**`` for any directories). ``FileNotFoundError``: one names nothing. ``ValueError``:
    two files would share the name of their outputs.
    """
    sources: dict[str, Source] = {}
    excluded = os.path.realpath(without) if without else None
    for text in inputs:
        path = Path(text)
        if path.is_dir():
            files = _files_below(path, Counter() if skipped is None else skipped, excluded)
            named = [(p.relative_to(path).with_suffix('').as_posix(), p) for p in files]
            missing = f'{path} holds no photo ({" ".join(PHOTO_SUFFIXES)}) and no video'
            missing += f' outside the output directory {excluded}' if excluded else ''
        elif path.exists():
            named = [(path.stem, path)]
            missing = f'{path} is in the output directory {excluded}; give another --out'
        else:
            named = [(p.stem, p) for p in map(Path, glob.glob(text, recursive=True)) if p.is_file()]
            missing = f'{text} does not exist; give photos, videos, directories or patterns of them'
        if excluded:
            named = [pair for pair in named if not _is_below(pair[1], excluded)]
        if not named:
            raise FileNotFoundError(missing)
        for name, file in sorted(named, key=lambda pair: natural_key(pair[0])):
            other = sources.setdefault(name, Source(name, file))
            if os.path.realpath(other.path) != os.path.realpath(file):
                raise ValueError(
                    f'{other.path} and {file} would both become {name}; label them into different '
                    'directories'
                )
    videos = {source.name: source for source in sources.values() if source.is_video}
    for source in sources.values():
        for parent in PurePosixPath(source.name).parents:
            if video := videos.get(str(parent)):
                raise ValueError(
                    f'{source.path} and a frame of {video.path} might become one file; label them '
                    'into different directories'
                )
    return list(sources.values())


def _files_below(directory: Path, skipped: Counter[str], excluded: str | None) -> Iterator[Path]:
    """Find photos and videos, also through links; each directory once, hidden ones never."""
    visited = set()

    def fail(error: OSError) -> None:  # os.walk would skip what it may not read
        raise error

    for place, directories, files in os.walk(directory, followlinks=True, onerror=fail):
        if (real := os.path.realpath(place)) in visited:
            directories.clear()
            continue
        visited.add(real)
        directories[:] = sorted(name for name in directories if not name.startswith('.'))
        paths = (Path(place, name) for name in files if not name.startswith('.'))
        for path in paths:
            if (suffix := path.suffix.lower()) in PHOTO_SUFFIXES + VIDEO_SUFFIXES:
                yield path
            elif not excluded or not _is_below(path, excluded):
                skipped[suffix or 'no suffix'] += 1


def _is_below(path: Path, directory: str) -> bool:
    return os.path.realpath(path).startswith(os.path.join(directory, ''))
