"""``make_pairs.py folders`` takes sets as annotation programs, cameras and other sets have them."""

import json
import os
from itertools import product
from pathlib import Path

import cv2
import numpy as np
import pytest
from helpers.label_files import maps, read_back, save, with_colors, write_photos, write_tiff
from helpers.pairs import META, label_map, photo
from mmengine.config import Config
from PIL import Image

from pspnet_plugin.labels.palettes import known_palettes, read_metainfo, reduces_zero_label

LABELS = label_map(24, 40, classes=3)
BINARY = dict(classes=['background', 'building'], palette=[[0, 0, 0], [255, 255, 255]])
CARS = dict(classes=['road', 'car'], palette=[[255, 0, 0], [0, 255, 0]])


def write_set(folder: Path, stored: dict, metainfo: dict | str, write=save) -> list:
    """Write photos, label maps and a palette; return arguments of ``folders``."""
    write_photos(
        folder / 'photos',
        {
            name: values[..., :1][..., 0] if values.ndim == 3 else values
            for name, values in stored.items()
        },
    )
    for name, values in stored.items():
        write(folder / 'maps' / f'{name}.png', values)
    if isinstance(metainfo, dict):
        (folder / 'palette.json').write_text(json.dumps(metainfo))
        metainfo = folder / 'palette.json'
    return ['folders', folder / 'photos', folder / 'maps', folder / 'out', '--palette', metainfo]


def labels_of(folder: Path, name: str = 'train/0') -> np.ndarray:
    return read_back(folder / 'out', name.split('/')[0])[name][1]


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


def with_alpha(path: Path, values: np.ndarray, *, mode: str, alpha: int) -> None:
    """Write a map with a transparent left part, in a mode that can have it."""
    path.parent.mkdir(parents=True, exist_ok=True)
    opacity = np.full(values.shape, 255, np.uint8)
    opacity[:, :9] = alpha
    if mode == 'P':  # index 3, of any colour, is transparent
        stored = Image.fromarray(np.where(opacity < 255, 3, values).astype(np.uint8))
        stored.putpalette(np.array([*META['palette'], [200, 0, 0]], np.uint8).ravel().tolist())
        stored.save(path, transparency=bytes([255, 255, 255, alpha]))
    elif mode == 'LA':
        Image.merge('LA', [*map(Image.fromarray, (values, opacity))]).save(path)
    else:
        Image.fromarray(np.dstack([with_colors(values), opacity])).save(path)


@pytest.mark.parametrize('mode', ['RGBA', 'LA', 'P'])
def test_what_is_transparent_in_a_label_map_is_ignored(tmp_path, make, mode):
    def write(path, values):
        with_alpha(path, values, mode=mode, alpha=0)

    arguments = write_set(tmp_path, {'train/0': LABELS}, META, write)
    make(*arguments)
    expected = LABELS.copy()
    expected[:, :9] = 255
    assert (labels_of(tmp_path) == expected).all()
    with_alpha(tmp_path / 'maps/train/0.png', LABELS, mode=mode, alpha=128)
    arguments[3] = tmp_path / 'other'
    assert 'partly transparent' in make(*arguments, status=1)


def test_a_colour_that_is_transparent_in_an_rgb_png_is_ignored(tmp_path, make):
    arguments = write_set(tmp_path, {'train/0': LABELS}, META)
    Image.fromarray(with_colors(LABELS)).save(
        tmp_path / 'maps/train/0.png', transparency=tuple(META['palette'][1])
    )
    make(*arguments)
    assert (labels_of(tmp_path) == np.where(LABELS == 1, 255, LABELS)).all()


TRANSPOSED = {2: lambda a: a[:, ::-1], 3: lambda a: a[::-1, ::-1], 4: lambda a: a[::-1],
              5: lambda a: a.swapaxes(0, 1), 6: lambda a: np.rot90(a, -1),
              7: lambda a: np.rot90(a, 2).swapaxes(0, 1), 8: np.rot90}  # fmt: skip


@pytest.mark.parametrize('orientation', TRANSPOSED)
@pytest.mark.parametrize('side', [24, 40])
def test_label_maps_are_turned_as_their_photos_are(tmp_path, make, orientation, side):
    labels = label_map(24, side, classes=3)
    arguments = write_set(tmp_path, {'train/0': labels}, META)
    exif = Image.Exif()
    exif[0x0112] = orientation
    stored = photo(24, side)[..., ::-1]
    Image.fromarray(stored).save(tmp_path / 'photos/train/0.png', exif=exif)
    turn = TRANSPOSED[orientation]
    if side == 40 and orientation > 4:
        assert ': 1 label maps' in make(*arguments)
    else:  # the size does not tell
        assert '--turn-labels' in make(*arguments)
        assert (labels_of(tmp_path) == labels).all()
        arguments[3] = tmp_path / 'out2'
        make(*arguments, '--turn-labels', 'never')
        assert (read_back(tmp_path / 'out2', 'train')['train/0'][1] == labels).all()
        arguments[3] = tmp_path / 'out3'
        make(*arguments, '--turn-labels', 'always')
        (tmp_path / 'out').rename(tmp_path / 'out1')
        (tmp_path / 'out3').rename(tmp_path / 'out')
    found, turned = read_back(tmp_path / 'out', 'train')['train/0']
    assert (found == turn(stored)).all() and (turned == turn(labels)).all()


def test_upright_label_maps_of_turned_photos_stay(tmp_path, make):
    arguments = write_set(tmp_path, {'train/0': LABELS}, META)
    exif = Image.Exif()
    exif[0x0112] = 6
    Image.fromarray(photo(40, 24)).save(tmp_path / 'photos/train/0.png', exif=exif)
    assert 'EXIF' not in make(*arguments)
    assert (labels_of(tmp_path) == LABELS).all()


def test_photos_of_12_bits(tmp_path, make):
    arguments = write_set(tmp_path, {'train/0': LABELS}, META)
    deep = photo(24, 40).astype(np.uint16) * 16
    cv2.imwrite(str(tmp_path / 'photos/train/0.png'), deep)
    assert '--bits' in make(*arguments, status=1)
    arguments[3] = tmp_path / 'out12'
    assert '1 in train' in make(*arguments, '--bits', '12')
    found, labels = read_back(tmp_path / 'out12', 'train')['train/0']
    assert (labels == LABELS).all()
    assert (found == np.rint(deep[..., ::-1] * (255 / 4095))).all()


def test_bands_that_are_no_colours_are_named(tmp_path, make):
    arguments = write_set(tmp_path, {'train/0': LABELS}, META)
    (tmp_path / 'photos/train/0.png').unlink()
    write_tiff(tmp_path / 'photos/train/0.tif', np.dstack([photo(24, 40)] * 2)[..., :4])
    output = make(*arguments, status=1)
    assert 'train/0.tif' in output and '4 bands' in output


SPLIT_NAMES = [('train', 'valid', 'test'), ('Train', 'Val', 'Test'),
               ('training', 'validation', 'testing'), ('train2017', 'val2017', 'test2017'),
               ('TRAIN', 'dev', 'test')]  # fmt: skip


@pytest.mark.parametrize('names', SPLIT_NAMES, ids='-'.join)
@pytest.mark.parametrize('layout', ['separate', 'one directory'])
def test_usual_names_of_splits_are_known_and_test_is_kept_out(
    tmp_path, make, names, layout, monkeypatch
):
    monkeypatch.chdir(tmp_path)
    (tmp_path / 'configs').symlink_to(Path(__file__).parents[2] / 'configs')
    (tmp_path / 'palette.json').write_text(json.dumps(META))
    for number, name in enumerate(names):
        for part in range(2):
            labels = label_map(24, 40, classes=3, seed=10 * number + part)
            sides = (
                [f'set/{name}/images', f'set/{name}/masks']
                if layout != 'separate'
                else [f'set/images/{name}', f'set/masks/{name}']
            )
            save(Path(sides[0], f'{part}.png'), photo(24, 40, seed=number))
            save(Path(sides[1], f'{part}.png'), labels)
    sources = ['set', 'set'] if layout != 'separate' else ['set/images', 'set/masks']
    output = make('folders', *sources, 'out', '--palette', 'palette.json', '--config', 'own.py')
    assert 'test is kept out' in output
    found = read_back(tmp_path / 'out', 'train', 'val', 'test')
    assert set(found) == {
        f'{split}/{part}' for split in ('train', 'val', 'test') for part in (0, 1)
    }
    for number, split in enumerate(('train', 'val', 'test')):
        labels = label_map(24, 40, classes=3, seed=10 * number + 1)
        assert (found[f'{split}/1'][1] == labels).all()
    config = Config.fromfile('own.py')
    prefixes = [
        config[f'{part}_dataloader'].dataset.data_prefix.img_path
        for part in ('train', 'val', 'test')
    ]
    assert prefixes == ['train', 'val', 'val']
    assert (
        'folds' not in config.train_dataloader.dataset or not config.train_dataloader.dataset.folds
    )


def test_test_photos_without_labels_are_kept_out_too(tmp_path, make):
    stored = maps(3)
    arguments = write_set(tmp_path, stored, META)
    save(tmp_path / 'photos/test/9.png', photo(24, 40))
    assert ': 1' in make(*arguments)
    assert set(read_back(tmp_path / 'out')) == set(stored)


def test_names_that_might_be_splits_are_asked_about(tmp_path, make):
    stored = {name.replace('val', 'split_b'): labels for name, labels in maps(3).items()}
    arguments = write_set(tmp_path, stored, META)
    assert 'split_b' in make(*arguments, status=2) and not (tmp_path / 'out').exists()
    make(*arguments, '--splits', 'train=train', 'val=split_b')
    assert set(read_back(tmp_path / 'out')) == set(maps(3))
    arguments[3] = tmp_path / 'none'
    make(*arguments, '--splits', 'none')
    assert set(read_back(tmp_path / 'none', 'train', 'split_b')) == set(stored)


def test_names_that_differ_by_what_is_before_them(tmp_path, make):
    (tmp_path / 'palette.json').write_text(json.dumps(META))
    for number in range(2):
        save(tmp_path / f'all/image_{number}.png', photo(24, 40))
        save(tmp_path / f'all/mask_{number}.png', LABELS)
    arguments = [
        'folders',
        tmp_path / 'all',
        tmp_path / 'all',
        tmp_path / 'out',
        '--palette',
        tmp_path / 'palette.json',
    ]
    assert 'image_0.png' in make(*arguments, status=2)
    make(*arguments, '--img-prefix', 'image_', '--ann-prefix', 'mask_')
    assert (cv2.imread(str(tmp_path / 'out/0.png'))[:, :40] == photo(24, 40)[..., ::-1]).all()
    assert {p.name for p in (tmp_path / 'out').glob('*.png')} == {'0.png', '1.png'}


def test_files_of_other_suffixes_are_taken_or_counted(tmp_path, make):
    arguments = write_set(tmp_path, {'train/0': LABELS, 'train/1': LABELS, 'train/2': LABELS}, META)
    for number, suffix in enumerate(('jfif', 'jpe')):
        (tmp_path / f'photos/train/{number}.png').unlink()
        Image.fromarray(photo(24, 40)).save(tmp_path / f'photos/train/{number}.{suffix}', 'JPEG')
    for name in ('a.txt', 'b.txt', 'c.json', 'd'):
        (tmp_path / 'photos/train' / name).touch()
    output = make(*arguments)
    assert '2 .txt' in output and '1 .json' in output and '1 no suffix' in output
    assert len(read_back(tmp_path / 'out', 'train')) == 3


@pytest.mark.parametrize(('metainfo', 'quality'), [(META, 90), (BINARY, 75)], ids=['3', 'grey'])
def test_label_maps_that_are_jpegs_are_decoded_on_request(tmp_path, make, metainfo, quality):
    classes = len(metainfo['classes'])
    labels = np.kron(label_map(6, 10, classes=classes), np.ones((16, 16), np.uint8))
    arguments = write_set(tmp_path, {'train/0': labels}, metainfo)
    (tmp_path / 'maps/train/0.png').unlink()
    colors = np.array(metainfo['palette'], np.uint8)[labels]
    Image.fromarray(colors).save(tmp_path / 'maps/train/0.jpg', quality=quality)
    assert '--jpeg-labels' in make(*arguments, status=1)
    assert '--jpeg' not in make(*arguments, '--jpeg-labels', '--label-values', 'index', status=1)
    make(*arguments, '--jpeg-labels')
    found = labels_of(tmp_path)
    assert (found == 255).mean() < 0.02 and (found == labels)[found != 255].mean() > 0.995


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


# What breaking it has found.


@pytest.mark.parametrize('orientation', [3, 6, 8])
@pytest.mark.parametrize('tagged', ['photo', 'both', 'labels'])
def test_tiffs_with_an_orientation_are_turned_once(tmp_path, make, orientation, tagged):
    arguments = write_set(tmp_path, {'train/0': LABELS}, META)
    turn = TRANSPOSED[orientation]
    for folder, array in (('photos', photo(24, 40)[..., ::-1]), ('maps', LABELS)):
        path = tmp_path / folder / 'train/0.png'
        path.unlink()
        own = tagged == 'both' or folder.startswith(tagged)
        stored = array if own or tagged == 'photo' else np.ascontiguousarray(turn(array))
        options = dict(tiffinfo={274: orientation}) if own else {}
        Image.fromarray(stored).save(path.with_suffix('.tif'), **options)
    always = ['--turn-labels', 'always'] if orientation == 3 and tagged == 'photo' else []
    make(*arguments, *always)
    found, labels = read_back(tmp_path / 'out', 'train')['train/0']
    assert (found == turn(photo(24, 40)[..., ::-1])).all() and (labels == turn(LABELS)).all()


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


def test_splits_that_contradict_are_refused(tmp_path, make):
    names = ('a/0', 'b/1', 'a/deep/2')
    arguments = write_set(tmp_path, dict.fromkeys(names, LABELS), META)
    for splits in (('train=a', 'val=b', 'train=b'), ('train=a', 'val=a'), ('none', 'train=a')):
        assert '--splits' in make(*arguments, '--splits', *splits, status=2)


def test_photos_beside_or_between_splits_are_asked_about(tmp_path, make):
    arguments = write_set(tmp_path / '1', dict.fromkeys(('train/0', 'val/1', '2'), LABELS), META)
    assert 'photos/2.png' in make(*arguments, status=2)
    make(*arguments, '--splits', 'none')
    names = ('training/train/0', 'training/validation/1')
    arguments = write_set(tmp_path / '2', dict.fromkeys(names, LABELS), META)
    assert 'training/validation' in make(*arguments, status=2)


def test_no_file_is_passed_over(tmp_path, make):
    """Names with a sign in front, links to nothing, and links to a directory above."""
    arguments = write_set(tmp_path, dict.fromkeys(('@home', '@walk/0'), LABELS), META)
    for folder in ('photos', 'maps'):
        (tmp_path / folder / 'lost.png').symlink_to(tmp_path / 'nowhere')
        (tmp_path / folder / 'loop').symlink_to('..')
    output = make(*arguments, status=1)
    assert 'photos/lost.png' in output
    for name in ('@home', '@walk/0'):
        assert (tmp_path / f'out/{name}.png').is_file()
    same = write_set(tmp_path / 'same', {'image': LABELS}, META)
    (tmp_path / 'same/maps/image.png').rename(tmp_path / 'same/maps/mask.png')
    ends = ('--img-prefix', 'image', '--ann-prefix', 'mask')
    assert 'photos/image.png' in make(*same, *ends, status=2)


def test_sources_that_changed_without_a_newer_date_are_noticed(tmp_path, make):
    """Archives may give all their files one date."""
    arguments = write_set(tmp_path, {'a/0': LABELS, 'b/0': LABELS[::-1]}, META)

    def date() -> None:
        for path in (*tmp_path.glob('photos/*/*'), *tmp_path.glob('maps/*/*')):
            os.utime(path, (315532800, 315532800))

    date()
    make(*arguments, '--splits', 'train=a', 'val=b')
    make(*arguments, '--splits', 'train=b', 'val=a')
    assert (labels_of(tmp_path, 'train/0') == LABELS[::-1]).all()
    before = (tmp_path / 'maps/b/0.png').stat().st_size
    save(tmp_path / 'maps/b/0.png', LABELS % 2)
    assert (tmp_path / 'maps/b/0.png').stat().st_size != before
    date()
    make(*arguments, '--splits', 'train=b', 'val=a')
    assert (labels_of(tmp_path, 'train/0') == LABELS % 2).all()


@pytest.mark.parametrize(
    ('suffix', 'options'),
    [('tif', dict(compression='jpeg')), ('webp', dict(quality=80)), ('avif', dict(quality=75)),
     ('jp2', {})],
)  # fmt: skip
def test_labels_that_a_compression_has_altered_are_refused(tmp_path, make, suffix, options):
    arguments = write_set(tmp_path, {'train/0': LABELS}, META)
    (tmp_path / 'maps/train/0.png').unlink()
    Image.fromarray(with_colors(LABELS)).save(tmp_path / f'maps/train/0.{suffix}', **options)
    assert '--jpeg-labels' in make(*arguments, status=1)


def test_lossless_webp_labels_are_taken(tmp_path, make):
    arguments = write_set(tmp_path, {'train/0': LABELS}, META)
    (tmp_path / 'maps/train/0.png').unlink()
    Image.fromarray(with_colors(LABELS)).save(tmp_path / 'maps/train/0.webp', lossless=True)
    make(*arguments)
    assert (labels_of(tmp_path) == LABELS).all()


def test_jpegs_of_class_numbers_are_refused(tmp_path, make):
    arguments = write_set(tmp_path, {'train/0': LABELS}, BINARY)
    (tmp_path / 'maps/train/0.png').unlink()
    Image.fromarray(np.minimum(LABELS, 1)).save(tmp_path / 'maps/train/0.jpg', quality=100)
    assert 'do not survive' in make(*arguments, '--jpeg-labels', status=2)
    (tmp_path / 'palette.json').write_text(json.dumps(META))
    assert 'do not survive' in make(*arguments, '--jpeg-labels', status=2)


def test_pages_of_a_tiff_are_refused_and_overviews_are_not(tmp_path, make):
    arguments = write_set(tmp_path, {'train/0': LABELS}, META)
    (tmp_path / 'maps/train/0.png').unlink()
    path = tmp_path / 'maps/train/0.tif'
    Image.fromarray(LABELS).save(path, save_all=True, append_images=[Image.fromarray(LABELS)])
    assert '2 pages' in make(*arguments, status=1)
    overview = Image.fromarray(LABELS[::2, ::2].copy())
    overview.encoderinfo = dict(tiffinfo={254: 1})
    Image.fromarray(LABELS).save(path, save_all=True, append_images=[overview])
    make(*arguments)
    assert (labels_of(tmp_path) == LABELS).all()


def test_one_bit_maps_among_numbers_are_numbers(tmp_path, make):
    palette = dict(classes=['a', 'b', 'c'], palette=[[0, 0, 0], [255, 255, 255], [200, 0, 0]])
    arguments = write_set(tmp_path, {'train/0': LABELS, 'train/1': LABELS}, palette)
    Image.fromarray(LABELS > 0).save(tmp_path / 'maps/train/1.png')
    make(*arguments)
    assert (labels_of(tmp_path) == LABELS).all()
    assert (labels_of(tmp_path, 'train/1') == (LABELS > 0)).all()


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


def test_photos_that_end_like_label_maps_are_photos(tmp_path, make):
    (tmp_path / 'palette.json').write_text(json.dumps(META))
    for name in ('new_mask', 'new_mask_mask', 'b', 'b_mask'):
        image = LABELS if name in ('new_mask_mask', 'b_mask') else photo(24, 40)
        save(tmp_path / f'all/{name}.png', image)
    both = [tmp_path / 'all'] * 2
    make(
        'folders',
        *both,
        tmp_path / 'out',
        '--palette',
        tmp_path / 'palette.json',
        '--ann-suffix',
        '_mask',
    )
    assert {path.name for path in (tmp_path / 'out').glob('*.png')} == {'new_mask.png', 'b.png'}


def test_names_are_compared_as_people_read_them_and_files_of_systems_are_no_photos(tmp_path, make):
    labels = label_map(24, 40, classes=3)
    arguments = write_set(tmp_path, {'U\u0308ni': labels}, META)
    (tmp_path / 'photos/U\u0308ni.png').rename(tmp_path / 'photos/\u00dcni.png')
    for junk in ('.ipynb_checkpoints/a.png', '@eaDir/a.png', '__MACOSX/a.png', '._a.png'):
        save(tmp_path / 'photos' / junk, photo(4, 4))
    make(*arguments)
    assert [path.name for path in (tmp_path / 'out').glob('*.png')] == ['\u00dcni.png']


@pytest.mark.parametrize('wrong', [['train=train', 'val=vall'], ['train=train']])
def test_splits_that_are_no_directories_or_leave_some_out_are_named(tmp_path, make, wrong):
    arguments = write_set(tmp_path, maps(3), META)
    assert '--splits' in make(*arguments, '--splits', *wrong, status=2)
    assert not (tmp_path / 'out').exists()


def test_splits_may_lie_deeper(tmp_path, make):
    stored = {f'v1/{name}': labels for name, labels in maps(3).items()}
    make(*write_set(tmp_path, stored, META))
    assert set(read_back(tmp_path / 'out', 'train/v1', 'val/v1')) == {
        f'{name.split("/")[0]}/v1/{name.split("/")[1]}' for name in maps(3)
    }


@pytest.mark.parametrize('name', ['interval', 'festival', 'portraits'])
def test_names_that_only_contain_a_split_are_none(tmp_path, make, name):
    stored = {f'{name}/{i}': labels for i, labels in enumerate(maps(3).values())}
    make(*write_set(tmp_path, stored, META))


EMPTY = np.zeros((24, 40), np.uint8)
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


@pytest.mark.parametrize('beside', ['images_2/b.png', 'b.png'])
def test_images_beside_the_directories_of_both_are_named(tmp_path, make, beside):
    (tmp_path / 'palette.json').write_text(json.dumps(META))
    for name, image in (('images/a.png', photo(24, 40)), ('masks/a.png', LABELS), (beside, EMPTY)):
        save(tmp_path / 'set' / name, image)
    both = [tmp_path / 'set'] * 2
    output = make(
        'folders', *both, tmp_path / 'out', '--palette', tmp_path / 'palette.json', status=2
    )
    assert beside in output


def test_directories_are_told_by_the_innermost_name(tmp_path, make):
    (tmp_path / 'palette.json').write_text(json.dumps(META))
    for name in ('ann', 'bob'):
        save(tmp_path / f'set/{name}/images/a.png', photo(24, 40))
        save(tmp_path / f'set/{name}/masks/a.png', LABELS)
    both = [tmp_path / 'set'] * 2
    make('folders', *both, tmp_path / 'out', '--palette', tmp_path / 'palette.json')
    made = {str(path.relative_to(tmp_path / 'out')) for path in (tmp_path / 'out').rglob('*.png')}
    assert made == {'ann/a.png', 'bob/a.png'}
