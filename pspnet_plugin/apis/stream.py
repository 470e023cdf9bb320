"""Reading, labelling and writing at the same time, in order, with bounded memory."""

import queue
import threading
from collections import deque
from collections.abc import Callable, Iterable, Iterator, Sequence
from concurrent.futures import Future, ThreadPoolExecutor
from typing import Protocol

import numpy as np

from pspnet_plugin.apis.readers import InputImage
from pspnet_plugin.apis.sources import BadImage

# Batches that are read ahead of the network, and results that wait to be written.
AHEAD = 2
# Pixels that the network sees of a batch that lanes take; of more, several at once might not fit
# into memory.
SMALL = 2**18
_END = object()


class Network(Protocol):
    """What labels photos of one size.

    Attributes:
        classes: Names of the classes.
        palette: (K, 3) uint8, RGB of each.
        lanes: How many threads label at once what is small; 1: none beside the caller's.
    """

    classes: list[str]
    palette: np.ndarray
    lanes: int

    def enter_lane(self) -> None:
        """Called first in each of the threads, if there are several."""

    def seen(self, height: int, width: int) -> int:
        """Pixels that it is given of a photo of a size; asked where there are several lanes."""

    def label(self, photos: Sequence[np.ndarray]) -> list[np.ndarray]:
        """(H, W, 3) uint8 BGR each to (H, W) uint8."""


def label_stream(
    pictures: Iterable[InputImage | BadImage],
    network: Network,
    write: Callable[[InputImage, np.ndarray], None],
    *,
    batch: int,
    bad: Callable[[str, BadImage], None],
) -> Iterator[int]:
    """Labels pictures as they are read, by one thread, and written, by another.

    Where the network has lanes, small batches are labelled side by side, each by fewer cores: that
    takes less time than one after the other by all cores, which wait for each other at every layer
    and for whatever reading and writing take of one of them.

    Args:
        pictures: Read in a thread of their own; bad ones are handed on.
        network: Labels in this thread, or small batches in threads of its own.
        write: Called with each picture and its labels, in order, in a thread of its own.
        batch: Consecutive pictures of one size that are labelled at once, at most.
        bad: Called with the name and what is wrong, in any of these threads.

    Yields:
        After each batch, how many pictures it had.

    Raises:
        What reading, labelling, writing and ``bad`` raise, but for ``BadImage``.
    """
    read: queue.Queue = queue.Queue(AHEAD * batch)
    made: queue.Queue = queue.Queue(AHEAD * batch)
    stop = threading.Event()
    reader = threading.Thread(target=_fill, args=(pictures, read, stop), daemon=True)
    faults: list[BaseException] = []
    drain = (made, write, bad, faults, stop)
    writer = threading.Thread(target=_drain, args=drain, daemon=True)
    reader.start()
    writer.start()
    try:
        for group, labelled in _labelled(_groups(read, batch, bad, stop), network):
            try:
                labels = labelled.result()
            except BadImage as error:
                for picture in group:
                    bad(picture.name, error)
            else:
                for pair in zip(group, labels, strict=True):
                    _put(made, pair, stop)
            if faults:
                break
            yield len(group)
        _put(made, _END, stop)
        writer.join()
        if faults:
            raise faults[0]
    finally:
        stop.set()
        _empty(read)
        reader.join()
        writer.join()


def _labelled(
    groups: Iterable[list[InputImage]], network: Network
) -> Iterator[tuple[list[InputImage], Future]]:
    """Groups in their order, with what is made of them."""
    if network.lanes < 2:
        yield from ((group, _now(network, group)) for group in groups)
        return
    waiting: deque[tuple[list[InputImage], Future]] = deque()
    with ThreadPoolExecutor(network.lanes, initializer=network.enter_lane) as lanes:
        for group in groups:
            photos = [picture.photo for picture in group]
            if len(photos) * network.seen(*photos[0].shape[:2]) > SMALL:
                yield from _emptied(waiting)  # it has all cores, and memory, to itself
                yield group, _now(network, group)
                continue
            waiting.append((group, lanes.submit(network.label, photos)))
            if len(waiting) > network.lanes:
                yield waiting.popleft()
        yield from _emptied(waiting)


def _emptied(waiting: deque) -> Iterator[tuple[list[InputImage], Future]]:
    while waiting:
        yield waiting.popleft()


def _now(network: Network, group: Sequence[InputImage]) -> Future:
    """What is made of a group, in this thread."""
    labelled: Future = Future()
    try:
        labelled.set_result(network.label([picture.photo for picture in group]))
    except Exception as error:  # raised where the result is asked for
        labelled.set_exception(error)
    return labelled


def _fill(
    pictures: Iterable[InputImage | BadImage], read: queue.Queue, stop: threading.Event
) -> None:
    try:
        for picture in pictures:
            if not _put(read, picture, stop):
                return
        _put(read, _END, stop)
    except BaseException as error:  # raised where the network runs
        _put(read, error, stop)


def _drain(
    made: queue.Queue, write: Callable, bad: Callable, faults: list, stop: threading.Event
) -> None:
    try:
        while True:
            try:
                pair = made.get(timeout=0.1)
            except queue.Empty:
                if stop.is_set():
                    return
                continue
            if pair is _END:
                return
            try:
                write(*pair)
            except BadImage as error:
                bad(pair[0].name, error)
    except BaseException as error:
        faults.append(error)
        stop.set()


def _groups(
    read: queue.Queue, batch: int, bad: Callable, stop: threading.Event
) -> Iterator[list[InputImage]]:
    """Consecutive pictures of one size, until all are read or everything is stopped."""
    group: list[InputImage] = []
    while True:
        try:
            item = read.get(timeout=0.1)
        except queue.Empty:
            if stop.is_set():
                return
            continue
        if isinstance(item, BadImage):
            bad('', item)
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
    """Whether there was a place for it before everything was stopped."""
    while not stop.is_set():
        try:
            into.put(item, timeout=0.1)
            return True
        except queue.Full:
            continue
    return False


def _empty(waiting: queue.Queue) -> None:
    while True:
        try:
            waiting.get_nowait()
        except queue.Empty:
            return
