"""Pairs made from photos and label maps hold what the files held, and are made again when due."""

import json
import os
import re
from functools import partial
from pathlib import Path

import cv2
import numpy as np
import pytest
from helpers.label_files import (
    contents,
    maps,
    read_back,
    save,
    with_colors,
    write_photos,
    write_sources,
)
from helpers.pairs import CITYSCAPES, META, coloured, label_map, photo
from mmengine.config import Config
from mmseg.registry import DATASETS

from pspnet_plugin.toolkit.conversion.matching import CITYSCAPES_IDS

TRAIN_IDS = {7: 0, 8: 1, 11: 2, 12: 3, 13: 4, 17: 5, 19: 6, 20: 7, 21: 8, 22: 9, 23: 10, 24: 11,
             25: 12, 26: 13, 27: 14, 28: 15, 31: 16, 32: 17, 33: 18}  # fmt: skip


VOC_TABLE = [[0, 0, 0], [128, 0, 0], [0, 128, 0], *[[i, i, 7] for i in range(3, 256)]]
OWN_TABLE = META['palette'] + [[90, 90, 90]] * 253
KINDS = {
    'index': save,
    'index of 16 bits': lambda path, labels: save(path, labels.astype(np.uint16)),
    'colour table': partial(save, table=VOC_TABLE),
    'own colour table': partial(save, table=OWN_TABLE),
    'colours': lambda path, labels: save(path, with_colors(labels)),
    'colours with alpha': lambda path, labels: save(
        path, np.dstack([with_colors(labels), np.full_like(labels, 255)])
    ),
}


@pytest.mark.parametrize('kind', KINDS)
def test_pairs_give_back_labels_and_photo_pixel_for_pixel(tmp_path, make, kind):
    labels = maps(3)
    output = make('folders', *write_sources(tmp_path, labels, KINDS[kind]))
    assert '2 in train, 1 in val' in output
    found = read_back(tmp_path / 'out')
    assert set(found) == set(labels) and len(found) == 3
    for seed, (name, values) in enumerate(labels.items()):
        assert np.unique(values).tolist() == [0, 1, 2, 255]
        np.testing.assert_array_equal(found[name][1], values)
        np.testing.assert_array_equal(found[name][0], photo(24, 40, seed=seed)[..., ::-1])


def test_without_void_a_far_colour_stands_for_255_and_the_printed_config_reads_it(tmp_path, make):
    labels = maps(3)
    sources = write_sources(tmp_path, {f'{name}_truth': labels[name] for name in labels})
    write_photos(tmp_path / 'photos', labels, suffix='_photo.jpg')
    (tmp_path / 'palette.json').write_text(json.dumps(dict(META, void_palette=[])))
    output = make('folders', *sources, '--img-suffix', '_photo', '--ann-suffix', '_truth.png')
    (void,) = json.loads((tmp_path / 'out' / 'metainfo.json').read_text())['void_palette']
    assert min(np.linalg.norm(np.array(void) - color) for color in META['palette']) > 200
    config = tmp_path / 'config.py'
    printed = re.search(r"^  (type='PairsDataset', .+)$", output, re.M)[1]
    config.write_text(f"pairs = dict({printed}, data_prefix=dict(img_path='train'))")
    assert len(DATASETS.build(Config.fromfile(config).pairs)) == 2
    found = read_back(tmp_path / 'out', 'train')
    assert found
    for name, (_, values) in found.items():
        np.testing.assert_array_equal(values, labels[name])


def write_cityscapes(root: Path, kinds: list[str]) -> dict[str, np.ndarray]:
    """Write three images, 64 x 128, in the official layout; return their class indices."""
    to_id = np.zeros(256, np.uint8)
    to_id[list(TRAIN_IDS.values())] = list(TRAIN_IDS)
    truth = {}
    for seed, name in enumerate(('train/aachen/aachen_0', 'train/bonn/bonn_0', 'val/ulm/ulm_1')):
        labels = label_map(64, 128, seed=seed)
        labels[:, :9] = 255
        ids = to_id[labels]
        ids[::2, :9] = 4
        save(root / f'leftImg8bit/{name}_leftImg8bit.png', photo(64, 128, seed=seed))
        colors = coloured(np.minimum(labels, 19), [*CITYSCAPES['palette'], [0, 0, 0]])[..., ::-1]
        files = dict(labelIds=ids, labelTrainIds=labels, color=colors)
        for kind in kinds:
            save(root / f'gtFine/{name}_gtFine_{kind}.png', files[kind])
        truth[f'{name.split("/")[0]}/{name.split("/")[2]}'] = labels
    save(root / 'leftImg8bit/test/berlin/berlin_0_leftImg8bit.png', photo(64, 128))
    return truth


def test_all_kinds_of_cityscapes_labels_give_the_same_pairs_and_ids_are_taken_first(tmp_path, make):
    made = []
    for kinds in (
        ['labelIds'],
        ['labelTrainIds'],
        ['color'],
        ['color', 'labelTrainIds', 'labelIds'],
    ):
        root, out = tmp_path / f'root {kinds}', tmp_path / f'{kinds}'
        truth = write_cityscapes(root, kinds)
        output = make('cityscapes', root, out, '--size', '128x64')
        assert f'*_gtFine_{kinds[-1]}.png' in output
        made.append(contents(out))
    assert 'gtFine_color' in make('cityscapes', root, tmp_path / 'small', '--labels', 'color')
    assert set(made[0]) == {f'{name}.png' for name in truth} and len(truth) == 3
    assert all(pairs == made[0] for pairs in made)
    for name, (_, labels) in read_back(out).items():
        np.testing.assert_array_equal(labels, truth[name])
    for name, (_, labels) in read_back(tmp_path / 'small').items():  # 256 x 256
        np.testing.assert_array_equal(labels, truth[name].repeat(4, 0).repeat(2, 1))


def test_ids_of_cityscapes_become_their_class_or_their_own_colour(tmp_path, make):
    root = tmp_path / 'root'
    write_cityscapes(root, ['labelIds'])
    ids = np.array([*CITYSCAPES_IDS], np.uint8)[None].repeat(2, 0)  # (2, 35)
    save(root / 'gtFine/val/ulm/ulm_1_gtFine_labelIds.png', ids)
    save(root / 'leftImg8bit/val/ulm/ulm_1_leftImg8bit.png', photo(2, 35))
    make('cityscapes', root, tmp_path / 'out', '--size', '35x2')
    _, labels = read_back(tmp_path / 'out', 'val')['val/ulm_1']
    wanted = [TRAIN_IDS.get(index, 255) for index in CITYSCAPES_IDS]
    assert labels[0].tolist() == wanted and len(set(wanted)) == 20
    colors = cv2.imread(str(tmp_path / 'out/val/ulm_1.png'))[0, 35:, ::-1].tolist()
    by_id = dict(zip(CITYSCAPES_IDS, colors, strict=True))
    assert by_id[9] == [250, 170, 160] and by_id[4] == by_id[18] == [0, 0, 0]
    void = [color for index, color in by_id.items() if index not in TRAIN_IDS]
    assert {tuple(color) for color in void} == {*map(tuple, CITYSCAPES['void_palette'])}


def test_jpeg_pairs_of_a_size_hold_nearly_the_same_labels(tmp_path, make):
    labels = np.kron(label_map(24, 32, classes=3), np.ones((4, 4), np.uint8))
    sources = write_sources(tmp_path, {'train/0': labels.repeat(2, 0).repeat(2, 1)})
    make('folders', *sources, '--size', '128x96', '--format', 'jpg', '--quality', 90)
    assert list(contents(tmp_path / 'out')) == ['train/0.jpg']
    _, found = read_back(tmp_path / 'out', 'train')['train/0']
    assert (found != 255).mean() > 0.8
    assert (found == labels)[found != 255].mean() > 0.98


def test_a_pair_is_made_again_where_a_source_has_changed_even_by_an_older_file(tmp_path, make):
    sources = write_sources(tmp_path, maps(4))
    os.utime(tmp_path / 'photos/train/3.png', (4e9, 4e9))
    make('folders', *sources)
    for seed, (kind, when) in enumerate((('photos', None), ('photos', 1e9), ('maps', 4e9)), 9):
        before = contents(tmp_path / 'out')
        labels = label_map(24, 40, classes=2, seed=seed)
        path = tmp_path / kind / 'train/1.png'
        save(path, labels if kind == 'maps' else photo(24, 40, seed=seed))
        if when:
            os.utime(path, (when, when))
        assert '3 of 4' in make('folders', *sources)
        after = contents(tmp_path / 'out')
        assert before.keys() == after.keys()
        assert [name for name in after if after[name] != before[name]] == ['train/1.png']
    assert '4 of 4' in make('folders', *sources)


def test_metainfo_is_never_overwritten_by_another(tmp_path, make):
    sources, own = write_sources(tmp_path, maps(4)), tmp_path / 'out' / 'metainfo.json'
    make('folders', *sources)
    before = own.read_bytes()
    make('folders', *sources[:3], '--palette', own)
    assert own.read_bytes() == before
    sources[2] = tmp_path / 'mine'
    mine = sources[2] / 'metainfo.json'
    mine.parent.mkdir()
    mine.write_text(json.dumps({**META, 'note': 'mine'}))
    before = mine.read_bytes()
    assert str(mine) in make('folders', *sources[:3], '--palette', mine, status=2)
    assert mine.read_bytes() == before and os.listdir(mine.parent) == ['metainfo.json']
