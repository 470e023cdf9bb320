"""Reading, labelling and writing at the same time, in order, with bounded memory."""

import itertools
from collections import deque
from collections.abc import Callable, Iterable, Iterator, Sequence
from concurrent.futures import Future, ThreadPoolExecutor
from typing import Any

import numpy as np

from pspnet_plugin.apis import BadImage, Predictor
from pspnet_plugin.apis.photos import read_photo
from pspnet_plugin.toolkit.prediction.outputs import Outputs
from pspnet_plugin.toolkit.prediction.pair_reader import PairReader
from pspnet_plugin.toolkit.prediction.sources import InputImage, Source
from pspnet_plugin.toolkit.prediction.videos import read_frames
from pspnet_plugin.utils.images import Bits

# Batches that are read ahead of the network, and results that wait to be written.
AHEAD = 2
_END = object()


def label_files(
    sources: Sequence[Source],
    predictor: Predictor,
    outputs: Outputs,
    *,
    pairs: PairReader | None = None,
    batch: int,
    skip: Callable[[str, BadImage], None],
) -> Iterator[int]:
    """Label photos and videos, or pairs if their reader is given, see ``label_stream``."""
    images = _read(sources, pairs, outputs, predictor.bits)
    return label_stream(images, predictor, outputs.write, batch=batch, skip=skip)


def label_stream(
    images: Iterable[InputImage | BadImage],
    predictor: Predictor,
    write: Callable[[InputImage, np.ndarray], None],
    *,
    batch: int,
    skip: Callable[[str, BadImage], None],
) -> Iterator[int]:
    """Label images while others are read by one thread and written by another.

    ``images`` has errors in place of those that cannot be read. Up to ``batch`` consecutive ones of
    one size are labelled at once; the number is yielded after each batch. ``write`` is called in
    order. ``skip`` is called for each ``BadImage``, with the image's name, empty if the error has
    it; other errors end the stream.
    """
    reader, writer = ThreadPoolExecutor(1), ThreadPoolExecutor(1)
    in_work: deque[list[InputImage]] = deque()
    writing: deque[tuple[str, Future[None]]] = deque()

    def batches() -> Iterator[list[np.ndarray]]:
        for group in _groups(_read_ahead(images, reader, AHEAD * batch), batch, skip):
            in_work.append(group)
            yield [image.photo for image in group]

    def finish_writing(most: int) -> None:
        while writing and (len(writing) > most or writing[0][1].done()):
            name, written = writing.popleft()
            try:
                written.result()
            except BadImage as error:
                skip(name, error)

    try:
        for labelled in predictor.label_batches(batches()):
            group = in_work.popleft()
            try:
                labels = labelled.result()
            except BadImage as error:
                for image in group:
                    skip(image.name, error)
            else:
                for image, one in zip(group, labels, strict=True):
                    writing.append((image.name, writer.submit(write, image, one)))
            finish_writing(AHEAD * batch)
            yield len(group)
        finish_writing(0)
    finally:
        reader.shutdown(cancel_futures=True)
        writer.shutdown()  # what is labelled is written, also before an error ends the stream


def _read(
    sources: Sequence[Source], pairs: PairReader | None, outputs: Outputs, bits: Bits | None
) -> Iterator[InputImage | BadImage]:
    """Read the images that are to be labelled, with errors in place of unreadable ones."""
    for source in sources:
        try:
            if source.path.exists() and not source.path.is_file():  # reading it may never end
                raise BadImage(f'{source.path} is a pipe or a device; give a file')
            if source.is_video:
                done = outputs.done_frames(source)
                yield from (frame for frame in read_frames(source) if frame.name not in done)
            elif pairs:
                yield pairs.read(source)
            else:
                yield InputImage(source.name, read_photo(source.path, bits=bits), source=source)
        except BadImage as error:
            yield error


def _read_ahead(images: Iterable, reader: ThreadPoolExecutor, count: int) -> Iterator[Any]:
    """Take ``count`` items in a thread before they are asked for."""
    iterator = iter(images)
    waiting = deque(reader.submit(next, iterator, _END) for _ in range(count))
    while (item := waiting.popleft().result()) is not _END:
        waiting.append(reader.submit(next, iterator, _END))
        yield item


def _groups(
    images: Iterable[InputImage | BadImage], batch: int, skip: Callable[[str, BadImage], None]
) -> Iterator[list[InputImage]]:
    """Group consecutive images of one size."""

    def readable() -> Iterator[InputImage]:
        for image in images:
            if isinstance(image, BadImage):
                skip('', image)
            else:
                yield image

    for _, same in itertools.groupby(readable(), lambda image: image.photo.shape):
        while group := list(itertools.islice(same, batch)):
            yield group
