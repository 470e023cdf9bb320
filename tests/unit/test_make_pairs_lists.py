"""``make_pairs.py folders`` takes lists of classes as other sets and programs have them."""

import json

import numpy as np
import pytest
from helpers.pairs import META
from helpers.sets import LABELS, labels_of, write_set

from pspnet_plugin.labels.palettes import read_metainfo, reduces_zero_label


@pytest.mark.parametrize(
    'name', ['ADE20KDataset', 'COCOStuffDataset', 'MapillaryDataset_v2', 'PascalContextDataset']
)
def test_classes_that_share_a_colour_get_their_own(tmp_path, make, name):
    classes = read_metainfo(name)['classes']
    first = int(reduces_zero_label(name))
    stored = np.arange(first, len(classes) + first, dtype=np.uint8).repeat(20).reshape(-1, 20)
    make(*write_set(tmp_path, {'train/0': stored}, name))
    assert (labels_of(tmp_path) == stored - first).all()
    metainfo = json.loads((tmp_path / 'out/metainfo.json').read_text())
    colors = [tuple(color) for color in metainfo['palette'] + metainfo['void_palette']]
    assert len(set(colors)) == len(colors) == len(classes) + 1


LISTS = {
    'labelmap.txt': '# label:color_rgb:parts:actions\nbackground:0,0,0::\nroad:128,64,128::\n'
    'car, blue:0,0,255::\n',
    'label_colors.txt': '0 0 0\tbackground\n128 64 128\troad\n0 0 255 car, blue\n',
    'class_dict.csv': 'name,r,g,b\nbackground,0,0,0\nroad,128,64,128\n"car, blue",0,0,255\n',
    '_classes.csv': 'Pixel Value, Class\n0, background\n1, road\n2, "car, blue"\n',
}


@pytest.mark.parametrize('name', LISTS)
def test_lists_of_classes_of_annotation_programs(tmp_path, make, name):
    (tmp_path / name).write_text(LISTS[name])
    metainfo = read_metainfo(str(tmp_path / name))
    assert metainfo['classes'] == ['background', 'road', 'car, blue']
    if name != '_classes.csv':
        assert metainfo['palette'] == [[0, 0, 0], [128, 64, 128], [0, 0, 255]]
    make(*write_set(tmp_path, {'train/0': LABELS}, tmp_path / name))
    assert (labels_of(tmp_path) == LABELS).all()
    with (tmp_path / name).open('a') as file:
        file.write('what is this?\n')
    with pytest.raises(ValueError, match=rf'{name}.*what is this'):
        read_metainfo(str(tmp_path / name))


def test_roboflow_numbers_that_skip_are_refused(tmp_path):
    (tmp_path / '_classes.csv').write_text('Pixel Value, Class\n0, a\n2, b\n')
    with pytest.raises(ValueError, match=r'_classes\.csv.*2, b'):
        read_metainfo(str(tmp_path / '_classes.csv'))


@pytest.mark.parametrize(
    ('name', 'text', 'line'),
    [
        ('a.csv', 'name,b,g,r\na,200,0,0\n', 2), ('a.csv', 'id,name,r,g,b\n0,a,200,0,0\n', 2),
        ('a.txt', 'a:200,0,0\nb:0,200,0::\n', 1), ('a.csv', 'a,200,0\n', 1),
    ],
)  # fmt: skip
def test_lists_of_other_forms_are_refused(tmp_path, name, text, line):
    (tmp_path / name).write_text(text)
    with pytest.raises(ValueError, match=f'line {line}'):
        read_metainfo(str(tmp_path / name))


def test_marks_at_the_begin_and_names_that_begin_as_comments(tmp_path):
    (tmp_path / 'my.json').write_text(json.dumps(META), encoding='utf-8-sig')
    assert read_metainfo(str(tmp_path / 'my.json')) == META
    (tmp_path / 'a.txt').write_text('# label:color_rgb:parts:actions\n#1:200,0,0::\nb:0,9,0::\n')
    assert read_metainfo(str(tmp_path / 'a.txt'))['classes'] == ['#1', 'b']
