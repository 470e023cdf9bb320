"""Pictures through a network: order and faults of the stream, colours, areas."""

import threading
import time

import numpy as np
import pytest
from helpers.pairs import CITYSCAPES, coloured, photo

from pspnet_plugin.apis import drawing, fonts
from pspnet_plugin.apis.drawing import colored, overlay
from pspnet_plugin.apis.readers import InputImage
from pspnet_plugin.apis.sources import BadImage
from pspnet_plugin.apis.stream import label_stream
from pspnet_plugin.evaluation.areas import areas


class Echo:
    """Labels with the value of the first pixel; the later, the sooner it is done."""

    def __init__(self, lanes=1):
        self.lanes = lanes
        self.entered = []

    def enter_lane(self):
        self.entered.append(threading.get_ident())

    def seen(self, height, width):
        return height * width

    def label(self, photos):
        if self.lanes > 1:
            time.sleep(0.02 / (1 + int(photos[0][0, 0, 0])))
        return [photo[..., 0] for photo in photos]


def pictures(count):
    return [InputImage(str(i), np.full((2, 2 + i // 4, 3), i, np.uint8)) for i in range(count)]


@pytest.mark.parametrize('lanes', [1, 3])
def test_a_stream_keeps_the_order_and_batches_one_size(lanes):
    made, groups = [], []
    bad = BadImage('bad')
    stream = [*pictures(6)[:3], bad, *pictures(6)[3:]]
    seen = []
    for count in label_stream(
        stream, Echo(lanes), lambda p, labels: made.append((p.name, labels[0, 0])), batch=3,
        bad=lambda name, error: seen.append(error),
    ):  # fmt: skip
        groups.append(count)
    assert made == [(str(i), i) for i in range(6)]
    assert groups == [3, 1, 2] and seen == [bad]


def test_small_pictures_are_labelled_side_by_side_and_a_large_one_alone():
    small = [InputImage(str(i), np.zeros((4, 4, 3), np.uint8)) for i in range(4)]
    large = InputImage('large', np.zeros((600, 600, 3), np.uint8))
    together, running = threading.Barrier(2, timeout=20), []

    class Meeting(Echo):
        def label(self, photos):
            running.append(1)
            alone = len(running)
            if len(photos[0]) == 4:
                assert threading.get_ident() in self.entered
                together.wait()
            else:
                assert alone == 1 and threading.current_thread() is threading.main_thread()
            running.pop()
            return super().label(photos)

    made = []
    stream = [*small[:2], large, *small[2:]]

    def write(picture, labels):
        made.append(picture.name)

    assert sum(label_stream(stream, Meeting(2), write, batch=1, bad=pytest.fail)) == 5
    assert made == ['0', '1', 'large', '2', '3']


@pytest.mark.parametrize('lanes', [1, 2])
@pytest.mark.parametrize('where', ['read', 'label', 'write'])
def test_faults_end_a_stream_whereever_they_are(where, lanes):
    def reading():
        yield from pictures(50)
        if where == 'read':
            raise OSError('full')

    def write(picture, labels):
        if where == 'write' and picture.name == '2':
            raise OSError('full')

    class Faulty(Echo):
        def label(self, photos):
            if where == 'label':
                raise OSError('full')
            return super().label(photos)

    with pytest.raises(OSError, match='full'):
        for _ in label_stream(reading(), Faulty(lanes), write, batch=2, bad=pytest.fail):
            pass


def test_a_picture_that_cannot_be_written_is_left_out():
    made, bad = [], []

    def write(picture, labels):
        if picture.name == '1':
            raise BadImage('too tall')
        made.append(picture.name)

    stream = label_stream(
        pictures(4), Echo(), write, batch=2, bad=lambda name, error: bad.append((name, str(error)))
    )
    assert sum(stream) == 4 and made == ['0', '2', '3'] and bad == [('1', 'too tall')]


def test_a_fault_of_writing_ends_a_stream_that_waits_for_reading():
    written = threading.Event()

    def reading():
        yield from pictures(2)
        written.wait(timeout=20)
        time.sleep(0.5)

    def write(picture, labels):
        written.set()
        raise OSError('full')

    with pytest.raises(OSError, match='full'):
        list(label_stream(reading(), Echo(), write, batch=1, bad=pytest.fail))


def test_colours_and_legend():
    labels = np.array([[0, 1], [255, 18]], np.uint8)
    palette = np.array(CITYSCAPES['palette'], np.uint8)
    expected = coloured(np.array([[0, 1], [0, 18]], np.uint8))
    expected[1, 0] = 0
    assert (colored(labels, palette) == expected).all()
    big = np.kron(labels, np.ones((60, 60), np.uint8))
    drawn = overlay(np.zeros((120, 120, 3), np.uint8), big, palette, CITYSCAPES['classes'])
    legend = drawn[:, 120:]
    for label in (0, 1, 18):
        color = np.array(CITYSCAPES['palette'][label][::-1])
        assert (legend == color).all(-1).sum() > 20, label


def test_an_overlay_is_of_photo_and_colours_by_its_opacity_and_the_legend_of_shares(monkeypatch):
    labels = np.array([[2, 2, 2, 13], [2, 2, 0, 255]], np.uint8).repeat(32, 0).repeat(32, 1)
    palette = np.array(CITYSCAPES['palette'], np.uint8)
    picture = photo(*labels.shape)
    words = []
    write = drawing._words
    monkeypatch.setattr(
        drawing, '_words', lambda text, size: words.append(text) or write(text, size)
    )
    drawn = overlay(picture, labels, palette, CITYSCAPES['classes'], opacity=0.25)
    expected = 0.75 * picture + 0.25 * colored(labels, palette)
    assert np.abs(drawn[:, : labels.shape[1]] - expected).max() <= 1
    assert words[-6:] == ['building', '62.5 %', 'road', '12.5 %', 'car', '12.5 %']


def test_a_class_of_a_legend_never_has_a_share_of_nothing(monkeypatch):
    labels = np.zeros((50, 60), np.uint8)
    labels[0, 0] = 18
    words = []
    write = drawing._words
    monkeypatch.setattr(
        drawing, '_words', lambda text, size: words.append(text) or write(text, size)
    )
    palette = np.array(CITYSCAPES['palette'], np.uint8)
    overlay(photo(*labels.shape), labels, palette, CITYSCAPES['classes'])
    assert words[-4:] == ['road', '100.0 %', 'bicycle', '< 0.1 %']
    size = 10
    assert write('< 0.1 %', size).shape[1] <= drawing._numbers(size), 'it is cut off'


def test_names_are_written_in_a_font_that_has_their_letters(monkeypatch):
    shipped = fonts.fontManager.ttflist
    other = next(f for f in shipped if not f.name.startswith(fonts.BOXES))
    boxes = {f.fname: '道路ถนน' for f in shipped if f.name.startswith(fonts.BOXES)}
    has = {**boxes, fonts.findfont(fonts.PLAIN): 'road', other.fname: '道路'}
    monkeypatch.setattr(fonts, '_letters', lambda file: frozenset(map(ord, has.get(file, ''))))
    fonts.font_of.cache_clear()
    try:
        assert fonts.font_of('road')[0] == fonts.PLAIN
        assert fonts.font_of('道 路') == (other.name, other.fname)
        with pytest.warns(UserWarning, match="no font here has all letters of 'ถนน'"):
            assert fonts.font_of('ถนน')[0] == fonts.PLAIN
    finally:
        fonts.font_of.cache_clear()


def test_areas_leave_out_what_is_ignored():
    labels, truth = np.array([0, 0, 1, 1], np.uint8), np.array([0, 1, 1, 255], np.uint8)
    assert areas(labels, truth, 2).tolist() == [[1, 1], [2, 2], [2, 1], [1, 2]]
