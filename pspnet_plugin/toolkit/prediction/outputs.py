"""Files made of labelled pictures, and a journal of them by which an interrupted run goes on.

Below the output folder: ``index/NAME.png`` (grey values are class indices), ``color/NAME.png``,
``overlay/NAME.jpg``, ``pairs/NAME.png`` (photo left, colours right, as the datasets read them) and
``shares.csv``, with ``classes.csv`` to read them by; of a video ``index/NAME/000001.png`` and so
on, and ``overlay/NAME.mp4``.
"""

import contextlib
import csv
import io
import json
import os
from collections import defaultdict
from collections.abc import Sequence
from pathlib import Path

import cv2
import numpy as np

from pspnet_plugin.apis.drawing import colored, overlay
from pspnet_plugin.apis.readers import InputImage, frame_rate
from pspnet_plugin.apis.sources import BadImage, Source
from pspnet_plugin.evaluation.areas import areas, scores
from pspnet_plugin.toolkit.prediction.videos import Film
from pspnet_plugin.utils.files import lock, write_atomic

KINDS = ('index', 'color', 'overlay', 'pairs', 'shares')
ENDS = dict(index='.png', color='.png', overlay='.jpg', pairs='.png')
JOURNAL = '.labelled.jsonl'
CLASSES = 'classes.csv'
ENTRY = {'name', 'source', 'stamp', 'pixels', 'counts'}  # of the journal, at least
# Fast to write; the best compression takes ten times as long for a tenth less.
_PNG = [cv2.IMWRITE_PNG_COMPRESSION, 1]
_JPEG = [cv2.IMWRITE_JPEG_QUALITY, 92]


class Outputs:
    """Writes what was asked for of each picture.

    Args:
        folder: It exists.
        kinds: Of ``KINDS``.
        classes: Their names.
        palette: (K, 3) uint8, RGB.
        opacity: Of overlays.
        photo_side: Of pairs, ``'left'`` or ``'right'``.

    Raises:
        ValueError: another run writes into the folder.
    """

    def __init__(
        self,
        folder: Path,
        *,
        kinds: Sequence[str],
        classes: Sequence[str],
        palette: np.ndarray,
        opacity: float,
        photo_side: str = 'left',
    ) -> None:
        self.folder = folder
        self.kinds = kinds
        self.classes = classes
        self.palette = palette
        self.opacity = opacity
        self.photo_side = photo_side
        self._journal = (folder / JOURNAL).open('a')
        if lock(self._journal) is False:
            raise ValueError(f'{folder} is written to by another run; wait, or give another folder')
        entries, whole = read_journal(folder)
        self._made: dict[str, dict[str, dict]] = defaultdict(dict)  # by source and name
        for entry in entries:
            self._made[entry['source']][entry['name']] = entry
        if not whole:
            self._journal.write('\n')
        self._films: dict[str, Film] = {}

    def __enter__(self) -> 'Outputs':
        return self

    def __exit__(self, kind: type | None, *error: object) -> None:
        """Of films, those that lack their last frame are kept, those of a broken-off run not."""
        try:
            for film in self._films.values():
                if kind is None:
                    film.finish()
                else:
                    film.discard()
        finally:
            self._journal.close()

    def has(self, source: Source) -> bool:
        """Whether all that is asked for of a file is there already.

        Raises:
            ValueError: what is there under its name was made of another file.
        """
        path = source.stamp[0]
        for entry in self._made[source.name].values():
            if (there := entry['stamp'][0]) != path:
                raise ValueError(
                    f'{self.folder} holds {source.name} made of {there}, and {path} would replace '
                    'it; give another folder'
                )
        own = self.of([source])
        if not own or not all(self._has_files(source, entry['name']) for entry in own):
            return False
        if not source.is_video:
            return True
        all_frames = any(entry.get('frames') == len(own) for entry in own)
        return all_frames and ('overlay' not in self.kinds or _has_content(self._film(source.name)))

    def has_frame(self, frame: InputImage) -> bool:
        """Whether nothing is to be done for a frame; a film is made of all of them at once."""
        entry = self._made[frame.source.name].get(frame.name)
        known = entry is not None and entry['stamp'] == frame.source.stamp
        return known and 'overlay' not in self.kinds and self._has_files(frame.source, frame.name)

    def count_frames(self, video: Source) -> int:
        """Of how many ``has_frame`` is true."""
        if 'overlay' in self.kinds:
            return 0
        return sum(self._has_files(video, entry['name']) for entry in self.of([video]))

    def forget(self, sources: Sequence[Source]) -> None:
        """Removes what was made of former content of files; not of files that are gone."""
        for source in (source for source in sources if source.is_there):
            entries = self._made[source.name]
            for name in [n for n, entry in entries.items() if entry['stamp'] != source.stamp]:
                del entries[name]
                for kind, end in ENDS.items():
                    (self.folder / kind / f'{name}{end}').unlink(missing_ok=True)
                self._film(source.name).unlink(missing_ok=True)

    def write(self, picture: InputImage, labels: np.ndarray) -> None:
        """Files of one picture, then its line in the journal.

        Raises:
            BadImage: what is asked for cannot be made of it; nothing was written.
            OSError: it cannot be written.
        """
        source = picture.source
        drawn = {kind: self._draw(kind, picture, labels) for kind in self.kinds if kind in ENDS}
        frame = drawn.pop('overlay', None) if source.is_video else None
        files = {
            self._file(kind, picture.name): _encoded(ENDS[kind], made)
            for kind, made in drawn.items()
        }
        for path, content in files.items():
            path.parent.mkdir(parents=True, exist_ok=True)
            write_atomic(path, content, durable=False)
        if frame is not None:
            self._add_frame(source, frame)
        counts = np.bincount(labels.ravel(), minlength=256)[: len(self.classes)]
        entry = dict(
            name=picture.name, source=source.name, stamp=source.stamp, pixels=int(labels.size),
            counts=counts.tolist(),
        )  # fmt: skip
        if picture.truth is not None:
            entry['areas'] = areas(labels, picture.truth, len(self.classes)).tolist()
        if picture.frames is not None:
            entry['frames'] = picture.frames
            if film := self._films.pop(source.name, None):
                film.finish()
        self._made[source.name][picture.name] = entry
        self._journal.write(json.dumps(entry) + '\n')
        self._journal.flush()

    def of(self, sources: Sequence[Source]) -> list[dict]:
        """What the journal says of the pictures of these files."""
        return [
            entry
            for source in sources
            for entry in self._made[source.name].values()
            if entry['stamp'] == source.stamp
        ]

    def write_shares(self, sources: Sequence[Source]) -> Path:
        """``shares.csv``: of each of their pictures the percentage of its pixels in each class."""
        text = io.StringIO()
        table = csv.writer(text)
        table.writerow(['name', *self.classes])
        for entry in self.of(sources):
            shares = (f'{100 * count / entry["pixels"]:.3f}' for count in entry['counts'])
            table.writerow([entry['name'], *shares])
        path = self.folder / 'shares.csv'
        # Names that are not UTF-8 stay the bytes that they are.
        write_atomic(path, text.getvalue().encode(errors='surrogateescape'))
        return path

    def write_classes(self) -> None:
        """``classes.csv``: which number is which class, in which colour."""
        text = io.StringIO()
        table = csv.writer(text)
        table.writerow(['number', 'class', 'red', 'green', 'blue'])
        for number, (name, color) in enumerate(zip(self.classes, self.palette, strict=True)):
            table.writerow([number, name, *map(int, color)])
        write_atomic(self.folder / CLASSES, text.getvalue().encode())

    def scores(self, sources: Sequence[Source]) -> dict[str, float] | None:
        """Over these pairs: ``aAcc``, ``mIoU``, ``mDice`` and ``IoU.CLASS`` in percent."""
        found = [entry['areas'] for entry in self.of(sources) if 'areas' in entry]
        if not found:
            return None
        found = scores(np.sum(found, 0))
        by_class = zip(self.classes, found.pop('IoU'), strict=True)
        return found | {f'IoU.{name}': float(value) for name, value in by_class}

    def _draw(self, kind: str, picture: InputImage, labels: np.ndarray) -> np.ndarray:
        if kind == 'index':
            return labels
        if kind == 'color':
            return colored(labels, self.palette)
        if kind == 'pairs':
            halves = [picture.photo, colored(labels, self.palette)]
            return np.hstack(halves if self.photo_side == 'left' else halves[::-1])
        return overlay(picture.photo, labels, self.palette, self.classes, opacity=self.opacity)

    def _add_frame(self, video: Source, frame: np.ndarray) -> None:
        if video.name not in self._films:
            path, size = self._film(video.name), frame.shape[1::-1]
            path.parent.mkdir(parents=True, exist_ok=True)
            self._films[video.name] = Film(path, rate=frame_rate(video.path), size=size)
        self._films[video.name].add(frame)

    def _film(self, name: str) -> Path:
        return self.folder / 'overlay' / f'{name}.mp4'

    def _file(self, kind: str, name: str) -> Path:
        return self.folder / kind / f'{name}{ENDS[kind]}'

    def _has_files(self, source: Source, name: str) -> bool:
        """Whether the files of a picture, which people may have removed, are there."""
        kinds = [k for k in self.kinds if k in ENDS and not (k == 'overlay' and source.is_video)]
        return all(_has_content(self._file(kind, name)) for kind in kinds)


def _has_content(path: Path) -> bool:
    return path.is_file() and os.path.getsize(path) > 0


def _encoded(end: str, picture: np.ndarray) -> bytes:
    try:
        done, content = cv2.imencode(end, picture, _JPEG if end == '.jpg' else _PNG)
    except cv2.error:
        done = False
    if not done:
        height, width = picture.shape[:2]
        raise BadImage(
            f'{width}x{height} pixels cannot be written as a {end} file (.jpg takes 65,500 on a '
            'side); --save index color writes .png'
        )
    return content.tobytes()


def read_journal(folder: Path) -> tuple[list[dict], bool]:
    """What a folder's journal says of each picture, and whether its end is whole."""
    path = folder / JOURNAL
    text = path.read_text() if path.is_file() else ''
    entries = []
    for line in text.splitlines():
        with contextlib.suppress(ValueError):  # torn by an interruption
            entry = json.loads(line)
            if isinstance(entry, dict) and entry.keys() >= ENTRY:
                entries.append(entry)
    return entries, text[-1:] in ('', '\n')
