"""Palettes by name and by file."""

import json

import numpy as np
import pytest

from pspnet_plugin.labels import LabelDecoder
from pspnet_plugin.labels.palettes import NAMED, known_palettes, read_metainfo


@pytest.mark.parametrize('name', known_palettes())
def test_known_palettes_have_a_colour_for_every_class(name):
    metainfo = read_metainfo(name)
    assert len(metainfo['classes']) == len(metainfo['palette']) > 1
    assert np.array(metainfo['palette']).shape[1] == 3
    if name in NAMED:
        LabelDecoder(metainfo['palette'], void_palette=metainfo['void_palette'])


GOOD = dict(classes=['a', 'b'], palette=[[0, 0, 0], [9, 9, 9]], void_palette=[[7, 7, 7]])


@pytest.mark.parametrize(
    ('changed', 'text'),
    [
        (dict(palette=5), 'palette = 5: expected a list of colours, each [R, G, B]'),
        (dict(palette='ab'), "palette = 'ab': expected a list of colours"),
        (dict(palette=None), 'palette = None: expected a list of colours'),
        (dict(palette=[5, 6]), 'palette[0] = 5: expected three levels of 0..255, RGB'),
        (dict(palette=[[0, 0, 0], [1, 2, 300]]), 'palette[1] = [1, 2, 300]: expected three'),
        (dict(palette=[[0, 0, 0], [1, 2, 3.5]]), 'palette[1] = [1, 2, 3.5]: expected three'),
        (dict(palette=[[0, 0, 0], ['1', 2, 3]]), "palette[1] = ['1', 2, 3]: expected three"),
        (dict(palette=[[0, 0, 0], [1, 2]]), 'palette[1] = [1, 2]: expected three'),
        (dict(palette=[[0, 0, 0], [1, 2, True]]), 'palette[1] = [1, 2, True]: expected three'),
        (dict(palette=[[0, 0, 0]]), '2 classes, but 1 colours in palette; each class needs one'),
        (dict(void_palette=None), 'void_palette = None: expected a list of colours'),
        (dict(void_palette=[[1]]), 'void_palette[0] = [1]: expected three'),
        (dict(classes=[1, 2]), 'classes[0] = 1: expected a name, as text in quotes'),
        (dict(classes=['a', ' ']), "classes[1] = ' ': expected a name"),
        (dict(classes='ab'), "classes = 'ab': expected a list of names, one a class"),
        (dict(classes=[]), 'classes = []: expected a list of names'),
        (dict(classes=['a', 'a']), 'classes are named twice: a; give each its own name'),
    ],
    ids=lambda value: json.dumps(value) if isinstance(value, dict) else '',
)
def test_what_is_wrong_with_a_palette_file_is_named(tmp_path, changed, text):
    path = tmp_path / 'mine.json'
    path.write_text(json.dumps(GOOD))
    assert read_metainfo(str(path)) == GOOD
    path.write_text(json.dumps(GOOD | changed))
    with pytest.raises(ValueError) as caught:
        read_metainfo(str(path))
    assert str(caught.value).startswith(f'{path}: {text}')


@pytest.mark.parametrize('content', ['[1, 2]', '5', '{"classes": ["a"]}', '{"classes": '])
def test_a_file_without_a_palette_is_named(tmp_path, content):
    (tmp_path / 'mine.json').write_text(content)
    with pytest.raises(ValueError, match=r'mine\.json'):
        read_metainfo(str(tmp_path / 'mine.json'))
