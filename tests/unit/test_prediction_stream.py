"""Images through a network: order, skipped ones and errors of the stream."""

import threading
import time

import numpy as np
import pytest
from helpers.predictors import EchoNetwork, predictor_of

from pspnet_plugin.apis import BadImage
from pspnet_plugin.evaluation.areas import areas
from pspnet_plugin.toolkit.prediction.sources import InputImage
from pspnet_plugin.toolkit.prediction.stream import label_stream


def images(count):
    """Images named by their number, which is their value; four of each size."""
    return [InputImage(str(i), np.full((2, 2 + i // 4, 3), i, np.uint8)) for i in range(count)]


@pytest.mark.parametrize('workers', [1, 3])
def test_a_stream_keeps_the_order_and_batches_one_size(workers):
    written, skipped = [], []
    error = BadImage('bad')
    counts = label_stream(
        [*images(3), error, *images(6)[3:]], predictor_of(EchoNetwork(workers)),
        lambda image, labels: written.append((image.name, labels[0, 0])), batch=3,
        skip=lambda *args: skipped.append(args),
    )  # fmt: skip
    assert list(counts) == [3, 1, 2]
    assert written == [(str(i), i) for i in range(6)] and skipped == [('', error)]


@pytest.mark.parametrize('workers', [1, 2])
@pytest.mark.parametrize('where', ['read', 'label', 'write'])
def test_errors_end_a_stream_wherever_they_are(where, workers):
    def reading():
        yield from images(50)
        if where == 'read':
            raise OSError('full')

    def write(image, labels):
        if where == 'write' and image.name == '2':
            raise OSError('full')

    class Failing(EchoNetwork):
        def run(self, photos):
            if where == 'label':
                raise OSError('full')
            return super().run(photos)

    predictor = predictor_of(Failing(workers))
    with pytest.raises(OSError, match='full'):
        list(label_stream(reading(), predictor, write, batch=2, skip=pytest.fail))


@pytest.mark.parametrize('where', ['label', 'write'])
def test_an_image_that_cannot_be_labelled_or_written_is_skipped(where):
    written, skipped = [], []

    class Failing(EchoNetwork):
        def run(self, photos):
            if where == 'label' and photos[0].max() == 1:
                raise BadImage('one')
            return super().run(photos)

    def write(image, labels):
        if where == 'write' and image.name == '1':
            raise BadImage('one')
        written.append(image.name)

    counts = label_stream(
        images(4), predictor_of(Failing()), write, batch=1,
        skip=lambda name, error: skipped.append((name, str(error))),
    )  # fmt: skip
    assert sum(counts) == 4 and written == ['0', '2', '3'] and skipped == [('1', 'one')]


def test_what_is_labelled_is_written_before_an_error_ends_the_stream():
    written = []

    def reading():
        yield from images(4)
        raise KeyboardInterrupt

    def write(image, labels):
        time.sleep(0.1)
        written.append(image.name)

    done = 0
    with pytest.raises(KeyboardInterrupt):
        for count in label_stream(
            reading(), predictor_of(EchoNetwork()), write, batch=1, skip=pytest.fail
        ):
            done += count
    assert written == [str(i) for i in range(done)] and done > 1


def test_an_error_of_writing_ends_a_stream_that_waits_for_reading():
    begun = threading.Event()

    def reading():
        yield from images(2)
        begun.wait(timeout=20)
        time.sleep(0.5)

    def write(image, labels):
        begun.set()
        raise OSError('full')

    with pytest.raises(OSError, match='full'):
        list(label_stream(reading(), predictor_of(EchoNetwork()), write, batch=1, skip=pytest.fail))


def test_areas_do_not_count_ignored_pixels():
    labels, truth = np.array([0, 0, 1, 1], np.uint8), np.array([0, 1, 1, 255], np.uint8)
    assert areas(labels, truth, 2).tolist() == [[1, 1], [2, 2], [2, 1], [1, 2]]
