"""Pairs made from photos and label maps hold what the files held, and are made again when due."""

import json
import os
import re
from pathlib import Path

import cv2
import numpy as np
import pytest
from helpers.label_files import contents, maps, save, with_colors, write_photos
from helpers.pairs import CITYSCAPES, META, coloured, label_map, photo
from mmengine.config import Config
from mmseg.registry import DATASETS

from pspnet_plugin.datasets import PairsDataset
from pspnet_plugin.toolkit.conversion.matching import CITYSCAPES_IDS

TRAIN_IDS = {7: 0, 8: 1, 11: 2, 12: 3, 13: 4, 17: 5, 19: 6, 20: 7, 21: 8, 22: 9, 23: 10, 24: 11,
             25: 12, 26: 13, 27: 14, 28: 15, 31: 16, 32: 17, 33: 18}  # fmt: skip


def read_back(out: Path, split: str) -> dict[str, tuple[np.ndarray, np.ndarray]]:
    """Read photo (RGB) and labels of a split's pairs by the dataset, with their metainfo."""
    dataset = PairsDataset(
        data_root=str(out),
        data_prefix=dict(img_path=split),
        metainfo=json.loads((out / 'metainfo.json').read_text()),
        pipeline=[dict(type='LoadImageFromFile'), dict(type='LoadAnnotations')],
    )
    found = {}
    for record in map(dataset.__getitem__, range(len(dataset))):
        name = f'{split}/{Path(record["img_path"]).stem}'
        found[name] = record['img'][..., ::-1], record['gt_seg_map']
    return found


VOC_TABLE = [[0, 0, 0], [128, 0, 0], [0, 128, 0], *[[i, i, 7] for i in range(3, 256)]]
KINDS = {
    'index': lambda path, labels: save(path, labels),
    'index of 16 bits': lambda path, labels: save(path, labels.astype(np.uint16)),
    'colour table': lambda path, labels: save(path, labels, table=VOC_TABLE),
    'own colour table': lambda path, labels: save(
        path, labels, table=META['palette'] + [[90, 90, 90]] * 253
    ),
    'colours': lambda path, labels: save(path, with_colors(labels)),
    'colours with alpha': lambda path, labels: save(
        path, np.dstack([with_colors(labels), np.full_like(labels, 255)])
    ),
}


@pytest.mark.parametrize('kind', KINDS)
def test_pairs_give_back_labels_and_photo_pixel_for_pixel(tmp_path, make, palette, kind):
    labels = maps(3)
    write_photos(tmp_path / 'photos', labels)
    for name, values in labels.items():
        KINDS[kind](tmp_path / 'maps' / f'{name}.png', values)
    out = tmp_path / 'out'
    output = make('folders', tmp_path / 'photos', tmp_path / 'maps', out, '--palette', palette)
    assert '2 in train, 1 in val' in output
    found = {**read_back(out, 'train'), **read_back(out, 'val')}
    assert set(found) == set(labels) and len(found) == 3
    for seed, (name, values) in enumerate(labels.items()):
        assert np.unique(values).tolist() == [0, 1, 2, 255]
        np.testing.assert_array_equal(found[name][1], values)
        np.testing.assert_array_equal(found[name][0], photo(24, 40, seed=seed)[..., ::-1])


def test_without_void_a_far_colour_stands_for_255_and_the_printed_config_reads_it(
    tmp_path, make, palette
):
    palette.write_text(json.dumps(dict(META, void_palette=[])))
    labels = maps(3)
    write_photos(tmp_path / 'photos', labels, suffix='_photo.jpg')
    for name, values in labels.items():
        save(tmp_path / 'maps' / f'{name}_truth.png', values)
    output = make(
        'folders', tmp_path / 'photos', tmp_path / 'maps', tmp_path / 'out', '--palette', palette,
        '--img-suffix', '_photo', '--ann-suffix', '_truth.png',
    )  # fmt: skip
    (void,) = json.loads((tmp_path / 'out' / 'metainfo.json').read_text())['void_palette']
    assert min(np.linalg.norm(np.array(void) - color) for color in META['palette']) > 200
    config = tmp_path / 'config.py'
    printed = re.search(r"^  (type='PairsDataset', .+)$", output, re.M)[1]
    config.write_text(f"pairs = dict({printed}, data_prefix=dict(img_path='train'))")
    dataset = DATASETS.build(Config.fromfile(config).pairs)
    assert len(dataset) == 2
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
        files = {
            'labelIds': ids,
            'labelTrainIds': labels,
            'color': coloured(
                np.where(labels == 255, 19, labels), [*CITYSCAPES['palette'], [0, 0, 0]]
            )[..., ::-1],
        }
        for kind in kinds:
            save(root / f'gtFine/{name}_gtFine_{kind}.png', files[kind])
        truth[f'{name.split("/")[0]}/{name.split("/")[2]}'] = labels
    save(root / 'leftImg8bit/test/berlin/berlin_0_leftImg8bit.png', photo(64, 128))
    return truth


def test_all_kinds_of_cityscapes_labels_give_the_same_pairs(tmp_path, make):
    made = []
    for kind in ('labelIds', 'labelTrainIds', 'color'):
        root, out = tmp_path / f'root {kind}', tmp_path / kind
        truth = write_cityscapes(root, [kind])
        output = make('cityscapes', root, out, '--size', '128x64')
        assert f'*_gtFine_{kind}.png' in output
        made.append(contents(out))
    assert set(made[0]) == {f'{name}.png' for name in truth} and len(truth) == 3
    assert made[0] == made[1] == made[2]
    for name, (_, labels) in {**read_back(out, 'train'), **read_back(out, 'val')}.items():
        np.testing.assert_array_equal(labels, truth[name])


def test_cityscapes_takes_ids_first_or_the_kind_named_and_shrinks_to_256(tmp_path, make):
    truth = write_cityscapes(tmp_path / 'root', ['labelIds', 'labelTrainIds', 'color'])
    output = make('cityscapes', tmp_path / 'root', tmp_path / 'a')
    assert 'gtFine_labelIds.png' in output and '256 x 256' in output
    output = make('cityscapes', tmp_path / 'root', tmp_path / 'b', '--labels', 'color')
    assert 'gtFine_color' in output
    assert contents(tmp_path / 'a') == contents(tmp_path / 'b')
    for name, (_, labels) in read_back(tmp_path / 'a', 'val').items():
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


def test_jpeg_pairs_of_a_size_hold_nearly_the_same_labels(tmp_path, make, palette):
    labels = np.kron(label_map(24, 32, classes=3), np.ones((4, 4), np.uint8))
    save(tmp_path / 'maps/train/0.png', labels.repeat(2, 0).repeat(2, 1))
    save(tmp_path / 'photos/train/0.png', photo(192, 256))
    make(
        'folders', tmp_path / 'photos', tmp_path / 'maps', tmp_path / 'out', '--palette', palette,
        '--size', '128x96', '--format', 'jpg', '--quality', 90,
    )  # fmt: skip
    assert list(contents(tmp_path / 'out')) == ['train/0.jpg']
    _, found = read_back(tmp_path / 'out', 'train')['train/0']
    assert (found != 255).mean() > 0.8
    assert (found == labels)[found != 255].mean() > 0.98


@pytest.fixture
def sources(tmp_path, palette) -> list:
    """Arguments of ``folders`` for four photos and label maps; the third is OUT."""
    files = maps(4)
    write_photos(tmp_path / 'photos', files)
    for name, values in files.items():
        save(tmp_path / 'maps' / f'{name}.png', values)
    return [tmp_path / 'photos', tmp_path / 'maps', tmp_path / 'out', '--palette', palette]


@pytest.mark.parametrize(
    ('kind', 'when'),
    [('photos', 1e9), ('photos', None), ('maps', 4e9)],
    ids=['older photo', 'photo', 'map of the future'],
)
def test_a_pair_is_made_again_where_a_source_has_changed(tmp_path, make, sources, kind, when):
    out = tmp_path / 'out'
    os.utime(tmp_path / 'photos/train/3.png', (4e9, 4e9))
    make('folders', *sources)
    before = {path: (path.read_bytes(), path.stat().st_ctime_ns) for path in out.rglob('*.png')}
    path = tmp_path / kind / 'train/1.png'
    save(path, photo(24, 40, seed=9) if kind == 'photos' else label_map(24, 40, classes=2, seed=9))
    if when:
        os.utime(path, (when, when))
    assert '3 of 4' in make('folders', *sources)
    after = {path: (path.read_bytes(), path.stat().st_ctime_ns) for path in out.rglob('*.png')}
    assert before.keys() == after.keys() and len(after) == 4
    for position in range(2):  # content, date
        changed = [path for path in after if after[path][position] != before[path][position]]
        assert changed == [out / 'train/1.png']
    assert '4 of 4' in make('folders', *sources)


def test_a_source_that_became_bad_leaves_no_old_pair(tmp_path, make, sources):
    make('folders', *sources)
    (tmp_path / 'maps/train/1.png').write_bytes(b'')
    output = make('folders', *sources, status=1)
    assert 'maps/train/1.png' in output and '1 of 4' in output
    assert set(contents(tmp_path / 'out')) == {'train/0.png', 'val/2.png', 'train/3.png'}


def test_pairs_whose_photo_is_gone_are_named(tmp_path, make, sources):
    make('folders', *sources)
    (tmp_path / 'photos/train/1.png').rename(tmp_path / 'photos/train/9.png')
    output = make('folders', *sources, status=1)
    gone = tmp_path / 'out/train/1.png'
    assert f': 1, e.g. {gone}' in output and ': 1: train/9' in output
    assert gone.exists()


def test_the_users_own_metainfo_is_left_alone(tmp_path, make, sources):
    own = tmp_path / 'out' / 'metainfo.json'
    own.parent.mkdir()
    own.write_text(json.dumps({**META, 'note': 'mine'}))
    before = own.read_bytes()
    assert str(own) in make('folders', *sources[:3], '--palette', own, status=2)
    assert own.read_bytes() == before and os.listdir(own.parent) == ['metainfo.json']


def test_the_metainfo_of_the_pairs_may_be_given_as_palette(tmp_path, make, sources):
    make('folders', *sources)
    own = tmp_path / 'out' / 'metainfo.json'
    before = own.read_bytes()
    make('folders', *sources[:3], '--palette', own)
    assert own.read_bytes() == before
