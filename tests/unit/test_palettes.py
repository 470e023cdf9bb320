"""Palettes by name and from a file."""

import json
import re

import numpy as np
import pytest

from pspnet_plugin.labels import LabelDecoder
from pspnet_plugin.labels.palettes import NAMED, known_palettes, read_metainfo

GOOD = dict(classes=['a', 'b'], palette=[[0, 0, 0], [9, 9, 9]], void_palette=[[7, 7, 7]])


@pytest.mark.parametrize('name', known_palettes())
def test_known_palettes_have_a_colour_for_every_class(name):
    metainfo = read_metainfo(name)
    assert len(metainfo['classes']) == len(metainfo['palette']) > 1
    assert np.array(metainfo['palette']).shape[1] == 3
    if name in NAMED:
        LabelDecoder(metainfo['palette'], void_palette=metainfo['void_palette'])


@pytest.mark.parametrize(
    ('changed', 'named'),
    [
        (dict(palette=5), 'palette = 5'),
        (dict(palette='ab'), "palette = 'ab'"),
        (dict(palette=[5, 6]), 'palette[0] = 5'),
        (dict(palette=[[0, 0, 0], [1, 2, 3.5]]), 'palette[1] = [1, 2, 3.5]'),
        (dict(palette=[[0, 0, 0], ['1', 2, 3]]), "palette[1] = ['1', 2, 3]"),
        (dict(palette=[[0, 0, 0], [1, 2, True]]), 'palette[1] = [1, 2, True]'),
        (dict(palette=[[0, 0, 0]]), '2 classes, but 1'),
        (dict(void_palette=None), 'void_palette = None'),
        (dict(void_palette=[[1]]), 'void_palette[0] = [1]'),
        (dict(classes=[1, 2]), 'classes[0] = 1'),
        (dict(classes=['a', ' ']), "classes[1] = ' '"),
        (dict(classes='ab'), "classes = 'ab'"),
        (dict(classes=[]), 'classes = []'),
        (dict(classes=['a', 'a']), ': a'),
    ],
    ids=str,
)
def test_bad_entry_of_a_palette_file_is_named(tmp_path, changed, named):
    path = tmp_path / 'mine.json'
    path.write_text(json.dumps(GOOD))
    assert read_metainfo(str(path)) == GOOD
    path.write_text(json.dumps(GOOD | changed))
    with pytest.raises(ValueError, match=re.escape(f'{path}: ') + '.*' + re.escape(named)):
        read_metainfo(str(path))


@pytest.mark.parametrize('content', ['[1, 2]', '5', '{"classes": ["a"]}', '{"classes": '])
def test_file_without_a_palette_is_named(tmp_path, content):
    (tmp_path / 'mine.json').write_text(content)
    with pytest.raises(ValueError, match=r'mine\.json'):
        read_metainfo(str(tmp_path / 'mine.json'))
