"""``make_pairs.py folders`` tells whether values of label maps are class indices or colours."""

from itertools import product

import numpy as np
import pytest
from helpers.label_files import read_back, save, with_colors
from helpers.pairs import META, photo
from helpers.sets import BINARY, CARS, EMPTY, LABELS, labels_of, write_set
from PIL import Image

from pspnet_plugin.labels.palettes import known_palettes, read_metainfo, reduces_zero_label


@pytest.mark.parametrize('name', [n for n in known_palettes() if reduces_zero_label(n)])
def test_sets_whose_zero_is_ignored_are_counted_from_one(tmp_path, make, name):
    count = min(len(read_metainfo(name)['classes']), 30)
    stored = np.arange(count + 1, dtype=np.uint8).repeat(40).reshape(-1, 40)
    arguments = write_set(tmp_path, {'train/0': stored}, name)
    assert name in make(*arguments)
    expected = np.where(stored == 0, 255, stored - 1)
    assert (labels_of(tmp_path) == expected).all()
    arguments[3] = tmp_path / 'plain'
    save(tmp_path / 'maps/train/0.png', stored[:-1])
    save(tmp_path / 'photos/train/0.png', photo(count, 40))
    make(*arguments, '--no-reduce-zero-label')
    assert (read_back(tmp_path / 'plain', 'train')['train/0'][1] == stored[:-1]).all()


def test_other_sets_are_counted_from_one_on_request(tmp_path, make):
    arguments = write_set(tmp_path, {'train/0': LABELS + 1}, META)
    assert '--reduce-zero-label' in make(*arguments, status=1)
    make(*arguments, '--reduce-zero-label')
    assert (labels_of(tmp_path) == LABELS).all()


@pytest.mark.parametrize(
    ('levels', 'channels'),
    [*product([(0, 255), (255, 0), (40, 200), (1, 2)], ['L', 'RGB', 'RGBA']),
     ((0, 255), '1'), ((255, 0), '1')],
    ids=str,
)  # fmt: skip
def test_two_greys_are_the_classes_that_are_declared_by_them(tmp_path, make, levels, channels):
    labels = np.minimum(LABELS, 1)
    stored = np.array(levels, np.uint8)[labels]
    metainfo = {**BINARY, 'palette': [[level] * 3 for level in levels]}

    def write(path, values):
        path.parent.mkdir(parents=True, exist_ok=True)
        Image.fromarray(values).convert(channels).save(path)

    make(*write_set(tmp_path, {'train/0': stored}, metainfo, write))
    assert (labels_of(tmp_path) == labels).all()


def test_black_and_white_without_such_colours_are_asked_about(tmp_path, make):
    stored = np.minimum(LABELS, 1) * np.uint8(255)
    arguments = write_set(tmp_path, {'train/0': stored}, CARS)
    assert '255' in make(*arguments, status=2) and not (tmp_path / 'out').exists()
    output = make(*arguments, '--label-values', 'index')
    assert 'classes without a pixel' in output and 'car' in output
    assert (labels_of(tmp_path) == stored).all()


def test_greys_that_are_no_class_colours_stay_indices(tmp_path, make):
    metainfo = dict(classes=['a', 'b', 'c'], palette=[[0, 0, 0], [1, 1, 1], [255, 0, 0]])
    make(*write_set(tmp_path, {'train/0': LABELS}, metainfo))
    assert (labels_of(tmp_path) == LABELS).all()


def test_grey_rgb_maps_are_of_class_numbers(tmp_path, make):
    output = make(*write_set(tmp_path, {'train/0': np.dstack([LABELS] * 3)}, META))
    assert 'grey RGB' in output
    assert (labels_of(tmp_path) == LABELS).all()


def test_the_colours_of_a_table_decide(tmp_path, make):
    table = [CARS['palette'][i] for i in (1, 0)] + [[7, 7, 7]] * 254

    def write(path, values):
        save(path, values, table=table)

    labels = np.minimum(LABELS, 1)
    make(*write_set(tmp_path, {'train/0': labels}, CARS, write))
    assert (labels_of(tmp_path) == 1 - labels).all()


@pytest.mark.parametrize('unknown', [[0, 0, 0], [9, 9, 9], [255, 255, 255]])
def test_a_table_that_contradicts_is_refused_whatever_the_others_are(tmp_path, make, unknown):
    table = [unknown, CARS['palette'][1], CARS['palette'][0]] + [[7, 7, 7]] * 253  # by frequency

    def write(path, values):
        save(path, values, table=table)

    output = make(*write_set(tmp_path, {'train/0': LABELS}, CARS, write), status=1)
    assert 'train/0.png' in output and f'{tuple(unknown)}' in output
    void = {**CARS, 'void_palette': [unknown]}
    make(*write_set(tmp_path, {'train/0': LABELS}, void, write))
    assert (labels_of(tmp_path) == np.array([255, 1, 0])[LABELS]).all()


def test_rare_classes_decide_the_meaning_too(tmp_path, make):
    stored = {f'train/{i}': np.zeros((4, 6), np.uint8) for i in range(450)}
    stored['train/133'][1] = 255
    arguments = write_set(tmp_path, stored, BINARY)
    make(*arguments)
    assert (labels_of(tmp_path, 'train/133') == stored['train/133'] // 255).all()


def test_numbers_and_levels_in_one_set_are_refused(tmp_path, make):
    labels = np.minimum(LABELS, 1)
    stored = {
        'train/0': labels * np.uint8(255),
        'train/1': labels,
        'train/2': labels * np.uint8(255),
    }
    arguments = write_set(tmp_path, stored, BINARY)
    assert '--label-values' in make(*arguments, status=2) and not (tmp_path / 'out').exists()


def test_pairs_of_another_meaning_are_not_resumed(tmp_path, make):
    arguments = write_set(tmp_path, {'train/0': np.minimum(LABELS, 1) * np.uint8(255)}, BINARY)
    make(*arguments, '--label-values', 'index')
    output = make(*arguments, status=2)
    assert 'label_values' in output


def test_tables_of_nearly_the_colours_of_other_classes_are_refused(tmp_path, make):
    table = np.array([META['palette'][i] for i in (1, 2, 0)] + [[7, 7, 7]] * 253)
    table[:3] = abs(table[:3] - 3)

    def write(path, values):
        save(path, values, table=table)

    arguments = write_set(tmp_path, {'train/0': LABELS}, META, write)
    assert '--label-values' in make(*arguments, status=1)
    make(*arguments, '--label-values', 'index')
    assert (labels_of(tmp_path) == LABELS).all()


def test_an_index_with_the_colour_of_void_is_asked_about(tmp_path, make):
    """Black is void, and index 0 of a usual table; other indices have unknown colours."""
    palette = dict(
        classes=['wall', 'door'], palette=[[0, 0, 255], [0, 170, 255]], void_palette=[[0, 0, 0]]
    )
    table = [[0, 0, 0], [128, 0, 0], [0, 128, 0]] + [[7, 7, 7]] * 253

    def write(path, values):
        save(path, values, table=table)

    stored = {
        'train/0': np.zeros((8, 8), np.uint8),
        'train/1': np.tile([0, 1], (8, 4)).astype('u1'),
    }
    arguments = write_set(tmp_path, stored, palette, write)
    output = make(*arguments, status=1)
    assert all(f'{name}.png: index 0' in output for name in stored)
    make(*arguments, '--label-values', 'index')
    for name, values in stored.items():
        assert (labels_of(tmp_path, name) == values).all()


VOID = META['void_palette'][0]


@pytest.mark.parametrize('others', ['rgb', 'tables'])
def test_a_table_of_void_alone_is_void(tmp_path, make, others):
    table = META['palette'] + [VOID]
    arguments = write_set(
        tmp_path,
        {'train/0': LABELS},
        META,
        lambda path, values: (
            save(path, with_colors(values))
            if others == 'rgb'
            else save(path, values % 4, table=table)
        ),
    )
    save(tmp_path / 'photos/train/1.png', photo(8, 8))
    save(tmp_path / 'maps/train/1.png', np.zeros((8, 8), np.uint8), table=[VOID])
    make(*arguments)
    assert (labels_of(tmp_path, 'train/1') == 255).all()
    assert (labels_of(tmp_path, 'train/0') == LABELS).all()


@pytest.mark.parametrize('others', ['rgb', 'tables'])
@pytest.mark.parametrize('values', ['unknown colour', 'black'])
def test_a_map_that_does_not_fit_a_set_of_colours_is_named(tmp_path, make, others, values):
    def write(path, labels):
        if others == 'rgb':
            return save(path, with_colors(labels))
        return save(path, labels % 4, table=META['palette'][::-1] + [VOID])

    arguments = write_set(tmp_path, {'train/0': LABELS}, META, write)
    save(tmp_path / 'photos/train/1.png', photo(8, 8))
    path, blank = tmp_path / 'maps/train/1.png', np.zeros((8, 8), np.uint8)
    if values == 'black':
        save(path, blank)
    else:
        blank[4:] = 1
        save(path, blank, table=[META['palette'][0], [128, 0, 128]])
    assert str(path) in make(*arguments, status=1)


def test_one_bit_maps_among_numbers_are_numbers(tmp_path, make):
    palette = dict(classes=['a', 'b', 'c'], palette=[[0, 0, 0], [255, 255, 255], [200, 0, 0]])
    arguments = write_set(tmp_path, {'train/0': LABELS, 'train/1': LABELS}, palette)
    Image.fromarray(LABELS > 0).save(tmp_path / 'maps/train/1.png')
    make(*arguments)
    assert (labels_of(tmp_path) == LABELS).all()
    assert (labels_of(tmp_path, 'train/1') == (LABELS > 0)).all()


GROUND = dict(classes=['a', 'b', 'ground'], palette=[[200, 0, 0], [0, 200, 0], [0, 0, 0]])


@pytest.mark.parametrize('mode', ['L', '1'])
@pytest.mark.parametrize('others', ['RGB', 'table', 'one bit'])
def test_an_empty_map_has_the_meaning_of_its_set(tmp_path, make, mode, others):
    """Also where a program has stored it as grey, or as one bit."""
    metainfo = GROUND
    labels = LABELS
    if others == 'one bit':
        metainfo = dict(classes=['building', 'ground'], palette=[[255] * 3, [0] * 3])
        labels = np.minimum(LABELS, 1)
    arguments = write_set(tmp_path, {'train/0': EMPTY, 'train/1': labels}, metainfo)
    Image.fromarray(EMPTY).convert(mode).save(tmp_path / 'maps/train/0.png')
    colors = np.array(metainfo['palette'], np.uint8)[labels]
    image = Image.fromarray(colors)
    if others == 'table':
        image = image.quantize(8)
    elif others == 'one bit':
        image = image.convert('1')
    image.save(tmp_path / 'maps/train/1.png')
    make(*arguments)
    ground = metainfo['classes'].index('ground')
    assert (labels_of(tmp_path) == ground).all() and (
        labels_of(tmp_path, 'train/1') == labels
    ).all()


def test_numbers_with_255_ignored_are_read_beside_a_white_class(tmp_path, make):
    palette = dict(classes=['sky', 'a', 'b'], palette=[[255] * 3, [200, 0, 0], [0, 200, 0]])
    stored = LABELS.copy()
    stored[:, :5] = 255
    make(*write_set(tmp_path, {'train/0': stored}, palette))
    assert (labels_of(tmp_path) == stored).all()


def test_numbers_with_a_table_of_greys_are_numbers(tmp_path, make):
    def write(path, values):
        save(path, values, table=[[i] * 3 for i in range(256)])

    palette = dict(classes=['sky', 'a', 'b'], palette=[[0] * 3, [200, 0, 0], [0, 200, 0]])
    make(*write_set(tmp_path, {'train/0': LABELS}, palette, write))
    assert (labels_of(tmp_path) == LABELS).all()


def test_what_is_invisible_says_nothing_about_the_meaning(tmp_path, make):
    def write(path, values):
        path.parent.mkdir(parents=True, exist_ok=True)
        stored = np.dstack([values] * 3 + [np.full_like(values, 255)])
        stored[:, :9] = 10, 20, 30, 0
        Image.fromarray(stored).save(path)

    make(*write_set(tmp_path, {'train/0': LABELS}, META, write))
    expected = LABELS.copy()
    expected[:, :9] = 255
    assert (labels_of(tmp_path) == expected).all()
