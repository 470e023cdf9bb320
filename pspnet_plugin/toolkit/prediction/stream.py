"""Reading, labelling and writing at the same time, in order, with bounded memory."""

import queue
import threading
from collections import deque
from collections.abc import Callable, Iterable, Iterator, Sequence

import numpy as np

from pspnet_plugin.apis import BadImage, Predictor
from pspnet_plugin.apis.photos import read_photo
from pspnet_plugin.toolkit.prediction.outputs import Outputs
from pspnet_plugin.toolkit.prediction.pair_reader import PairReader
from pspnet_plugin.toolkit.prediction.sources import InputImage, Source
from pspnet_plugin.toolkit.prediction.videos import read_frames

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
    """Label files into an output directory, see ``label_stream``.

    Args:
        sources: Photos and videos, or pairs.
        predictor: The network.
        outputs: Writer of the files of each image.
        pairs: Reader of the files if they are pairs.
        batch: Largest number of images that are labelled at once.
        skip: Function called for each image that is skipped.

    Yields:
        The number of images in each batch, after it.
    """
    images = _read_all(sources, pairs, outputs)
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

    Args:
        images: Images, and errors in place of those that cannot be read; consumed in a thread.
        predictor: The network, called in this thread.
        write: Function called with each image and its labels, in order, in a thread.
        batch: Largest number of consecutive images of one size that are labelled at once.
        skip: Function called with the name of each image that is skipped, empty if the error has
            it, and the error; in any of these threads.

    Yields:
        The number of images in each batch, after it.

    Raises:
        Exception: Errors of reading, labelling, writing and ``skip``, except ``BadImage``.
    """
    inputs: queue.Queue = queue.Queue(AHEAD * batch)
    results: queue.Queue = queue.Queue(AHEAD * batch)
    stop = threading.Event()
    errors: list[BaseException] = []
    reader = threading.Thread(target=_read, args=(images, inputs, stop), daemon=True)
    writer = threading.Thread(target=_write, args=(results, write, skip, errors, stop), daemon=True)
    reader.start()
    writer.start()
    in_work: deque[list[InputImage]] = deque()

    def batches() -> Iterator[list[np.ndarray]]:
        for group in _groups(inputs, batch, skip, stop):
            in_work.append(group)
            yield [image.photo for image in group]

    try:
        for labelled in predictor.label_batches(batches()):
            group = in_work.popleft()
            try:
                labels = labelled.result()
            except BadImage as error:
                for image in group:
                    skip(image.name, error)
            else:
                for pair in zip(group, labels, strict=True):
                    _put(results, pair, stop)
            if errors:
                break
            yield len(group)
        _put(results, _END, stop)
        writer.join()
        if errors:
            raise errors[0]
    finally:
        stop.set()
        _drain(inputs)
        reader.join()
        writer.join()


def _read_all(
    sources: Sequence[Source], pairs: PairReader | None, outputs: Outputs
) -> Iterator[InputImage | BadImage]:
    """Read the images that are to be labelled, with errors in place of unreadable ones."""
    for source in sources:
        try:
            if source.is_special:
                raise BadImage(f'{source.path} is a pipe or a device; give a file')
            if source.is_video:
                yield from (frame for frame in read_frames(source) if not outputs.has_frame(frame))
            elif pairs:
                yield pairs.read(source)
            else:
                yield InputImage(source.name, read_photo(source.path), source=source)
        except BadImage as error:
            yield error


def _read(
    images: Iterable[InputImage | BadImage], inputs: queue.Queue, stop: threading.Event
) -> None:
    try:
        for image in images:
            if not _put(inputs, image, stop):
                return
        _put(inputs, _END, stop)
    except BaseException as error:  # raised where the network runs
        _put(inputs, error, stop)


def _write(
    results: queue.Queue,
    write: Callable[[InputImage, np.ndarray], None],
    skip: Callable[[str, BadImage], None],
    errors: list[BaseException],
    stop: threading.Event,
) -> None:
    try:
        while True:
            try:
                result = results.get(timeout=0.1)
            except queue.Empty:
                if stop.is_set():
                    return
                continue
            if result is _END:
                return
            try:
                write(*result)
            except BadImage as error:
                skip(result[0].name, error)
    except BaseException as error:
        errors.append(error)
        stop.set()


def _groups(
    inputs: queue.Queue,
    batch: int,
    skip: Callable[[str, BadImage], None],
    stop: threading.Event,
) -> Iterator[list[InputImage]]:
    """Group consecutive images of one size, until all are read or everything is stopped."""
    group: list[InputImage] = []
    while True:
        try:
            item = inputs.get(timeout=0.1)
        except queue.Empty:
            if stop.is_set():
                return
            continue
        if isinstance(item, BadImage):
            skip('', item)
            continue
        if isinstance(item, BaseException):
            raise item
        ends = item is _END or (group and item.photo.shape != group[0].photo.shape)
        if group and (ends or len(group) == batch):
            yield group
            group = []
        if item is _END:
            return
        group.append(item)


def _put(into: queue.Queue, item: object, stop: threading.Event) -> bool:
    """Wait for room in a queue; return whether there was some before everything was stopped."""
    while not stop.is_set():
        try:
            into.put(item, timeout=0.1)
            return True
        except queue.Full:
            continue
    return False


def _drain(waiting: queue.Queue) -> None:
    while True:
        try:
            waiting.get_nowait()
        except queue.Empty:
            return
