"""Files made of labelled pictures, and a journal of them by which an interrupted run goes on.

Below the output folder: ``index/NAME.png`` (grey values are class indices), ``color/NAME.png``,
``overlay/NAME.jpg``, ``pairs/NAME.png`` (photo left, colours right, as the datasets read them) and
``shares.csv``; of a video ``overlay/NAME.mp4``.
"""

import csv
import io
import json
from collections import defaultdict
from collections.abc import Sequence
from pathlib import Path

import cv2
import numpy as np

from pspnet_plugin.evaluation.areas import areas, scores
from pspnet_plugin.files.jobs import lock, write_whole
from pspnet_plugin.prediction.drawing import colored, overlay
from pspnet_plugin.prediction.sources import Picture, Source, frame_rate

KINDS = ('index', 'color', 'overlay', 'pairs', 'shares')
ENDS = dict(index='.png', color='.png', overlay='.jpg', pairs='.png')
JOURNAL = '.labelled.jsonl'
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
    ) -> None:
        self.folder = folder
        self.kinds = kinds
        self.classes = classes
        self.palette = palette
        self.opacity = opacity
        self._journal = (folder / JOURNAL).open('a')
        if lock(self._journal) is False:
            raise ValueError(f'{folder} is written to by another run; wait, or give another folder')
        entries, whole = read_journal(folder)
        self._made: dict[str, dict[str, dict]] = defaultdict(dict)  # by source and name
        for entry in entries:
            self._made[entry['source']][entry['name']] = entry
        if not whole:
            self._journal.write('\n')
        self._films: dict[str, cv2.VideoWriter] = {}

    def __enter__(self) -> 'Outputs':
        return self

    def __exit__(self, *error: object) -> None:
        """What is unfinished of videos is removed; the journal is whole."""
        for name, film in self._films.items():
            film.release()
            self._film(name, part=True).unlink(missing_ok=True)
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
        if source.is_video:
            return any(entry.get('frames') == len(own) for entry in own)
        return bool(own)

    def forget(self, sources: Sequence[Source]) -> None:
        """Removes what was made of files whose content was another one."""
        for source in sources:
            entries = self._made[source.name]
            for name in [n for n, entry in entries.items() if entry['stamp'] != source.stamp]:
                del entries[name]
                for kind, end in ENDS.items():
                    (self.folder / kind / f'{name}{end}').unlink(missing_ok=True)
                self._film(source.name).unlink(missing_ok=True)

    def write(self, picture: Picture, labels: np.ndarray) -> None:
        """Files of one picture, then its line in the journal."""
        for kind in self.kinds:
            if kind == 'shares':
                continue
            made = self._draw(kind, picture, labels)
            if kind == 'overlay' and picture.source.is_video:
                self._add_frame(picture.source, made)
                continue
            path = self.folder / kind / f'{picture.name}{ENDS[kind]}'
            path.parent.mkdir(parents=True, exist_ok=True)
            flags = _JPEG if ENDS[kind] == '.jpg' else _PNG
            content = cv2.imencode(ENDS[kind], made, flags)[1].tobytes()
            write_whole(path, content, durable=False)
        counts = np.bincount(labels.ravel(), minlength=256)[: len(self.classes)]
        source = picture.source
        entry = dict(
            name=picture.name, source=source.name, stamp=source.stamp, pixels=int(labels.size),
            counts=counts.tolist(),
        )  # fmt: skip
        if picture.truth is not None:
            entry['areas'] = areas(labels, picture.truth, len(self.classes)).tolist()
        if picture.is_last:
            entry['frames'] = int(picture.name.rpartition('/')[2])
            if film := self._films.pop(source.name, None):
                film.release()
                self._film(source.name, part=True).replace(self._film(source.name))
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
        write_whole(path, text.getvalue().encode())
        return path

    def scores(self, sources: Sequence[Source]) -> dict[str, float] | None:
        """Over these pairs: ``aAcc``, ``mIoU``, ``mDice`` and ``IoU.CLASS`` in percent."""
        found = [entry['areas'] for entry in self.of(sources) if 'areas' in entry]
        if not found:
            return None
        found = scores(np.sum(found, 0))
        by_class = zip(self.classes, found.pop('IoU'), strict=True)
        return found | {f'IoU.{name}': float(value) for name, value in by_class}

    def _draw(self, kind: str, picture: Picture, labels: np.ndarray) -> np.ndarray:
        if kind == 'index':
            return labels
        if kind == 'color':
            return colored(labels, self.palette)
        if kind == 'pairs':
            return np.hstack([picture.photo, colored(labels, self.palette)])
        return overlay(picture.photo, labels, self.palette, self.classes, opacity=self.opacity)

    def _add_frame(self, video: Source, frame: np.ndarray) -> None:
        if video.name not in self._films:
            path = self._film(video.name, part=True)
            path.parent.mkdir(parents=True, exist_ok=True)
            codec, size = cv2.VideoWriter_fourcc(*'mp4v'), frame.shape[1::-1]
            film = cv2.VideoWriter(str(path), codec, frame_rate(video), size)
            if not film.isOpened():
                raise ValueError(
                    f'{path} cannot be written: this OpenCV has no encoder for mp4v. Save what '
                    'needs none: --save index color'
                )
            self._films[video.name] = film
        self._films[video.name].write(frame)

    def _film(self, name: str, *, part: bool = False) -> Path:
        return self.folder / 'overlay' / f'{name}{".part" if part else ""}.mp4'


def read_journal(folder: Path) -> tuple[list[dict], bool]:
    """What a folder's journal says of each picture, and whether its end is whole."""
    path = folder / JOURNAL
    text = path.read_text() if path.is_file() else ''
    entries = []
    for line in text.splitlines():
        try:
            entries.append(json.loads(line))
        except ValueError:  # torn by an interruption
            continue
    return entries, text[-1:] in ('', '\n')
