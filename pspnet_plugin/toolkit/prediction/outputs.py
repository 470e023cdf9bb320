"""Output files of labelled images, and a journal of them by which an interrupted run resumes.

Below the output directory: ``index/NAME.png`` (grey values are class indices), ``color/NAME.png``,
``overlay/NAME.jpg``, ``pairs/NAME.png`` (photo left, colours right, as the datasets read them) and
``shares.csv``, with ``classes.csv`` to read them by; for a video ``index/NAME/000001.png`` and so
on, and ``overlay/NAME.webm``.
"""

import contextlib
import csv
import io
import json
import os
from collections import defaultdict
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import cv2
import numpy as np

from pspnet_plugin.apis import BadImage, Predictor
from pspnet_plugin.apis.drawing import colored, overlay
from pspnet_plugin.evaluation.areas import areas, scores
from pspnet_plugin.toolkit.prediction.sources import InputImage, Source
from pspnet_plugin.toolkit.prediction.videos import VideoWriter, frame_rate
from pspnet_plugin.utils.files import lock, write_atomic

KINDS = ('index', 'color', 'overlay', 'pairs', 'shares')
SUFFIXES = dict(index='.png', color='.png', overlay='.jpg', pairs='.png')
JOURNAL = '.labelled.jsonl'
CLASSES = 'classes.csv'
ENTRY_KEYS = {'name', 'source', 'stamp', 'pixels', 'counts'}  # of the journal, at least
# Fast to write; the best compression takes ten times as long for a tenth less.
_PNG = [cv2.IMWRITE_PNG_COMPRESSION, 1]
_JPEG = [cv2.IMWRITE_JPEG_QUALITY, 92]


class Outputs:
    """Writer of the files of each labelled image, for a predictor that names its classes.

    ``kinds`` are of ``KINDS``; the photo of a pair lies on the ``photo_side``. ``ValueError``:
    another run writes into the directory, which exists.
    """

    def __init__(
        self,
        directory: Path,
        predictor: Predictor,
        *,
        kinds: Sequence[str],
        opacity: float,
        photo_side: str = 'left',
    ) -> None:
        self.directory = directory
        self.classes, self.palette = predictor.classes, predictor.palette
        self.kinds = kinds
        self.opacity = opacity
        self.photo_side = photo_side
        self._journal = (directory / JOURNAL).open('a')
        if lock(self._journal) is False:
            self._journal.close()
            raise ValueError(
                f'another run writes into {directory}; wait, or give another directory'
            )
        entries, complete = read_journal(directory)
        self._entries: dict[str, dict[str, dict]] = defaultdict(dict)  # by source and image name
        for entry in entries:
            self._entries[entry['source']][entry['name']] = entry
        if not complete:
            self._journal.write('\n')
        self._videos: dict[str, VideoWriter] = {}

    def __enter__(self) -> 'Outputs':
        return self

    def __exit__(self, kind: type | None, *error: object) -> None:
        """Keep videos that lack their last frames, but not those of an interrupted run."""
        with contextlib.ExitStack() as stack:  # one that fails leaves none of the others open
            stack.callback(self._journal.close)
            for video in self._videos.values():
                stack.callback(video.finish if kind is None else video.discard)

    def has(self, source: Source) -> bool:
        """Return whether all outputs of a file exist; ``ValueError`` if another has its name."""
        path = source.stamp[0]
        for entry in self._entries[source.name].values():
            if (other := entry['stamp'][0]) != path:
                raise ValueError(
                    f'{self.directory} holds {source.name} made from {other}, and {path} would '
                    'replace it; give another directory'
                )
        entries = self.entries([source])
        if not entries or not all(self._has_files(source, entry['name']) for entry in entries):
            return False
        if not source.is_video:
            return True
        has_all = any(entry.get('frames') == len(entries) for entry in entries)
        return has_all and ('overlay' not in self.kinds or _has_content(self._video(source.name)))

    def done_frames(self, video: Source) -> set[str]:
        """Return the names of the frames that are done; none if an overlay video needs them all."""
        if 'overlay' in self.kinds:
            return set()
        names = {entry['name'] for entry in self.entries([video])}
        return {name for name in names if self._has_files(video, name)}

    def remove_outdated(self, sources: Sequence[Source]) -> None:
        """Remove outputs of former content of files, but not of files that are missing now."""
        for source in (source for source in sources if source.exists):
            entries = self._entries[source.name]
            for name in [n for n, entry in entries.items() if entry['stamp'] != source.stamp]:
                del entries[name]
                for kind in SUFFIXES:
                    self._file(kind, name).unlink(missing_ok=True)
                self._video(source.name).unlink(missing_ok=True)

    def write(self, image: InputImage, labels: np.ndarray) -> None:
        """Write the files of one image, then its line in the journal.

        ``BadImage``: a file cannot hold it, and nothing was written.
        """
        source = image.source
        assert source
        drawn = {kind: self._draw(kind, image, labels) for kind in self.kinds if kind in SUFFIXES}
        frame = drawn.pop('overlay', None) if source.is_video else None
        files = {
            self._file(kind, image.name): _encode(SUFFIXES[kind], array)
            for kind, array in drawn.items()
        }
        for path, content in files.items():
            path.parent.mkdir(parents=True, exist_ok=True)
            write_atomic(path, content, durable=False)
        if frame is not None:
            self._add_frame(source, frame)
        counts = np.bincount(labels.ravel(), minlength=256)[: len(self.classes)]
        entry = dict(
            name=image.name, source=source.name, stamp=source.stamp, pixels=int(labels.size),
            counts=counts.tolist(),
        )  # fmt: skip
        if image.truth is not None:
            entry['areas'] = areas(labels, image.truth, len(self.classes)).tolist()
        if image.frames is not None:
            entry['frames'] = image.frames
            if video := self._videos.pop(source.name, None):
                video.finish()
        self._entries[source.name][image.name] = entry
        self._journal.write(json.dumps(entry) + '\n')
        self._journal.flush()

    def entries(self, sources: Sequence[Source]) -> list[dict]:
        """Return the journal's entries for the images in these files, as the files are now."""
        return [
            entry
            for source in sources
            for entry in self._entries[source.name].values()
            if entry['stamp'] == source.stamp
        ]

    def write_shares(self, sources: Sequence[Source]) -> Path:
        """Write ``shares.csv``: for each image the percentage of its pixels in each class."""
        rows: list[list] = [['name', *self.classes]]
        for entry in self.entries(sources):
            shares = (f'{100 * count / entry["pixels"]:.3f}' for count in entry['counts'])
            rows.append([entry['name'], *shares])
        return self._write_table('shares.csv', rows)

    def write_classes(self) -> None:
        """Write ``classes.csv``: number, name and colour of each class."""
        colors = zip(self.classes, self.palette.tolist(), strict=True)
        rows = [[number, name, *color] for number, (name, color) in enumerate(colors)]
        self._write_table(CLASSES, [['number', 'class', 'red', 'green', 'blue'], *rows])

    def scores(self, sources: Sequence[Source]) -> dict[str, float] | None:
        """Return ``aAcc``, ``mIoU``, ``mDice`` and ``IoU.CLASS`` over pairs, in percent."""
        counts = [entry['areas'] for entry in self.entries(sources) if 'areas' in entry]
        if not counts:
            return None
        values: dict[str, Any] = scores(np.sum(counts, 0))
        by_class = zip(self.classes, values.pop('IoU'), strict=True)
        return values | {f'IoU.{name}': float(value) for name, value in by_class}

    def _write_table(self, name: str, rows: list[list]) -> Path:
        text = io.StringIO()
        csv.writer(text).writerows(rows)
        path = self.directory / name
        # Names that are not UTF-8 stay the bytes that they are.
        write_atomic(path, text.getvalue().encode(errors='surrogateescape'))
        return path

    def _draw(self, kind: str, image: InputImage, labels: np.ndarray) -> np.ndarray:
        if kind == 'index':
            return labels
        if kind == 'overlay':
            return overlay(image.photo, labels, self.palette, self.classes, opacity=self.opacity)
        colors = colored(labels, self.palette)
        if kind == 'color':
            return colors
        halves = [image.photo, colors]
        return np.hstack(halves if self.photo_side == 'left' else halves[::-1])

    def _add_frame(self, source: Source, frame: np.ndarray) -> None:
        if source.name not in self._videos:
            path, size = self._video(source.name), frame.shape[1::-1]
            path.parent.mkdir(parents=True, exist_ok=True)
            self._videos[source.name] = VideoWriter(path, rate=frame_rate(source.path), size=size)
        self._videos[source.name].add(frame)

    def _video(self, name: str) -> Path:
        return self.directory / 'overlay' / f'{name}.webm'

    def _file(self, kind: str, name: str) -> Path:
        return self.directory / kind / f'{name}{SUFFIXES[kind]}'

    def _has_files(self, source: Source, name: str) -> bool:
        """Return whether the files of an image exist, which people may have removed."""
        without = {'shares', 'overlay'} if source.is_video else {'shares'}
        return all(_has_content(self._file(kind, name)) for kind in {*self.kinds} - without)


def _has_content(path: Path) -> bool:
    return path.is_file() and os.path.getsize(path) > 0


def _encode(suffix: str, array: np.ndarray) -> bytes:
    try:
        success, content = cv2.imencode(suffix, array, _JPEG if suffix == '.jpg' else _PNG)
    except cv2.error:
        success = False
    if not success:
        height, width = array.shape[:2]
        raise BadImage(
            f'{width}x{height} pixels cannot be written as a {suffix} file (.jpg takes 65,500 on a '
            'side); --save index color writes .png'
        )
    return content.tobytes()


def read_journal(directory: Path) -> tuple[list[dict], bool]:
    """Read the entries of a directory's journal, and whether its last line is complete."""
    path = directory / JOURNAL
    text = path.read_text() if path.is_file() else ''
    entries = []
    for line in text.splitlines():
        with contextlib.suppress(ValueError):  # torn by an interruption
            entry = json.loads(line)
            if isinstance(entry, dict) and entry.keys() >= ENTRY_KEYS:
                entries.append(entry)
    return entries, text[-1:] in ('', '\n')
