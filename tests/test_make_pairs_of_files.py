"""Pairs made of photos and label maps: they hold what the files held, or the file is named."""

import importlib.util
import json
import os
import signal
import subprocess
import sys
import textwrap
import time
from pathlib import Path

import cv2
import numpy as np
import pytest
from conftest import CITYSCAPES, ROOT, coloured, label_map, photo
from mmengine.config import Config
from mmseg.registry import DATASETS
from PIL import Image

from pspnet_plugin.datasets import PairsDataset
from pspnet_plugin.datasets.label_maps import with_void
from pspnet_plugin.datasets.photo_folders import CITYSCAPES_IDS
from pspnet_plugin.datasets.resizing import resize_labels, resize_photo

TOOL = ROOT / 'tools' / 'dataset_converters' / 'make_pairs.py'
# Three classes of far colours, one void.
META = dict(
    classes=['wall', 'window', 'door'],
    palette=[[200, 0, 0], [0, 200, 0], [0, 0, 200]],
    void_palette=[[90, 90, 90]],
)
TRAIN_IDS = {7: 0, 8: 1, 11: 2, 12: 3, 13: 4, 17: 5, 19: 6, 20: 7, 21: 8, 22: 9, 23: 10, 24: 11,
             25: 12, 26: 13, 27: 14, 28: 15, 31: 16, 32: 17, 33: 18}  # fmt: skip


@pytest.fixture(scope='module')
def tool():
    spec = importlib.util.spec_from_file_location('make_pairs', TOOL)
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


@pytest.fixture
def make(tool, capsys):
    """Runs the tool in this process; returns what it wrote, once its exit status is checked."""

    def run(*arguments, status=0):
        capsys.readouterr()
        words = [str(part) for part in arguments]
        try:
            found = tool.main([*words, '--workers', '1'])
        except SystemExit as stopped:
            found = stopped.code
        output = ''.join(capsys.readouterr())
        assert found == status, output
        return output

    return run


@pytest.fixture
def palette(tmp_path):
    path = tmp_path / 'palette.json'
    path.write_text(json.dumps(META))
    return path


def save(path: Path, array: np.ndarray, *, table=None) -> None:
    """An (H, W) or (H, W, 3) RGB array as a file; with a table, of palette mode."""
    path.parent.mkdir(parents=True, exist_ok=True)
    image = Image.fromarray(array)
    if table is not None:
        image = Image.fromarray(array, mode='P') if array.ndim == 2 else image
        image.putpalette(np.array(table, np.uint8).ravel().tolist())
    image.save(path)


def maps(count: int, *, classes=3, height=24, width=40) -> dict[str, np.ndarray]:
    """Label maps in train and val with a stripe of 255."""
    made = {}
    for number in range(count):
        labels = label_map(height, width, classes=classes, seed=number)
        labels[:, 3:6] = 255
        made[f'{"val" if number % 3 == 2 else "train"}/{number}'] = labels
    return made


def write_photos(folder: Path, labels: dict[str, np.ndarray], suffix='.png') -> None:
    for seed, (name, values) in enumerate(labels.items()):
        save(folder / f'{name}{suffix}', photo(*values.shape, seed=seed)[..., ::-1])


def read_back(out: Path, split: str) -> dict[str, tuple[np.ndarray, np.ndarray]]:
    """Photo (RGB) and labels of the pairs of a split, as the dataset of their metainfo has them."""
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


def contents(folder: Path) -> dict[str, bytes]:
    return {str(p.relative_to(folder)): p.read_bytes() for p in folder.rglob('*.[pj][np]g')}


def with_colors(labels: np.ndarray) -> np.ndarray:
    return coloured(np.where(labels == 255, 3, labels), META['palette'] + META['void_palette'])[
        ..., ::-1
    ]


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
    assert f'pairs in {out}: 2 in train, 1 in val' in output
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
    printed = output.split('of the model:\n')[1].split('\n  )\n')[0] + '\n  )\n'
    config.write_text(textwrap.dedent(printed))
    dataset = DATASETS.build(Config.fromfile(config).pairs)
    assert len(dataset) == 2
    found = read_back(tmp_path / 'out', 'train')
    assert found
    for name, (_, values) in found.items():
        np.testing.assert_array_equal(values, labels[name])


def test_void_colour_is_far_from_any_palette():
    rng = np.random.default_rng(0)
    for count in (1, 19, 60):
        palette = rng.integers(0, 256, (count, 3)).tolist()
        meta = with_void(dict(palette=palette, void_palette=[]))
        assert meta == with_void(dict(palette=palette, void_palette=[]))
        distance = np.linalg.norm(np.array(palette) - meta['void_palette'][0], axis=1)
        assert distance.min() > 80


def write_cityscapes(root: Path, kinds: dict[str, str]) -> dict[str, np.ndarray]:
    """Official layout, 64 x 128: by split and city, with the kinds of label maps wanted."""
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
        assert f'labels from *_gtFine_{kind}.png' in output
        assert 'test is left out' in output
        made.append(contents(out))
    assert set(made[0]) == {f'{name}.png' for name in truth} and len(truth) == 3
    assert made[0] == made[1] == made[2]
    for name, (_, labels) in {**read_back(out, 'train'), **read_back(out, 'val')}.items():
        np.testing.assert_array_equal(labels, truth[name])


def test_cityscapes_takes_ids_first_or_the_kind_named_and_shrinks_to_256(tmp_path, make):
    truth = write_cityscapes(tmp_path / 'root', ['labelIds', 'labelTrainIds', 'color'])
    assert 'gtFine_labelIds' in make('cityscapes', tmp_path / 'root', tmp_path / 'a')
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


@pytest.mark.parametrize('size', [(8, 6), (20, 12), (33, 50), (80, 5), (40, 24)], ids=str)
def test_a_label_covers_most_of_its_pixel_and_enlarging_repeats(size):
    labels = label_map(24, 40, classes=5) * 40
    found = resize_labels(labels, size)
    assert found.shape == resize_photo(photo(24, 40), size).shape[:2] == size[::-1]
    assert set(np.unique(found)) <= set(np.unique(labels))
    # Exact shares on the least common multiple of both sizes.
    tall, wide = np.lcm(24, size[1]), np.lcm(40, size[0])
    fine = labels.repeat(tall // 24, 0).repeat(wide // 40, 1)
    cells = fine.reshape(size[1], tall // size[1], size[0], wide // size[0])
    shares = np.stack([(cells == value).mean((1, 3)) for value in range(0, 200, 40)])
    taken = np.take_along_axis(shares, (found // 40)[None].astype(int), 0)[0]
    assert (taken > 0).all()
    if size[0] <= 40 and size[1] <= 24:
        assert (taken >= shares.max(0) - 0.01).all()


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


LABELS = maps(1)['train/0']
TURNED = Image.Exif()
TURNED[0x0112] = 6


def bad_index(folder):
    save(folder / 'maps/train/1.png', np.where(LABELS == 2, 34, LABELS).astype(np.uint8))


def bad_color(folder):
    colors = with_colors(LABELS)
    colors[5, 7] = 1, 2, 3
    save(folder / 'maps/train/1.png', colors)


def packed_colors(folder):
    table = [META['palette'][i] for i in (2, 1, 0)] + [[90, 90, 90]] * 253
    save(folder / 'maps/train/1.png', LABELS, table=table)


def cut_off(folder):
    path = folder / 'photos/train/1.png'
    path.write_bytes(path.read_bytes()[:-300])


def broken(folder):
    path = folder / 'maps/train/1.png'
    content = bytearray(path.read_bytes())
    content[60] ^= 255
    path.write_bytes(content)


def other_size(folder):
    save(folder / 'photos/train/1.png', photo(24, 41))


def jpeg_labels(folder):
    (folder / 'maps/train/1.png').unlink()
    save(folder / 'maps/train/1.jpg', LABELS)


def deep_photo(folder):
    save(folder / 'photos/train/1.png', np.zeros((24, 40), np.uint16))


def turned(folder):
    path = folder / 'photos/train/1.png'
    path.unlink()
    Image.fromarray(photo(24, 40)).save(path.with_suffix('.jpg'), exif=TURNED)


def empty(folder):
    (folder / 'maps/train/1.png').write_bytes(b'')


def absent(folder):
    (folder / 'maps/train/1.png').unlink()


@pytest.mark.parametrize(
    ('spoil', 'messages'),
    [
        (bad_index, ['1.png: index 34 (at x=', 'expected 0 to 2, or 255 for what is ignored']),
        (bad_color, ['maps/train/1.png: colour (1, 2, 3) (at x=7, y=5; 1 such', 'void_palette']),
        (packed_colors, ['1.png: index 0 of its', 'colour of class 2', 'save it as RGB']),
        (cut_off, ['photos/train/1.png: no picture, or cut off', 'copy it again']),
        (broken, ['maps/train/1.png: no picture, or cut off', 'copy it again']),
        (empty, ['maps/train/1.png: no picture, or cut off', 'copy it again']),
        (other_size, ['photos/train/1.png has 41 x 24', 'maps/train/1.png has 40 x 24']),
        (turned, ['photos/train/1.jpg has 24 x 40', 'maps/train/1.png has 40 x 24']),
        (jpeg_labels, ['maps/train/1.jpg: a JPEG', 'give the lossless original']),
        (deep_photo, ['photos/train/1.png: a picture with more than 8 bits', 'convert it']),
        (absent, ['photos without a label map: 1, left out: train/1. Add the maps']),
    ],
    ids=lambda value: getattr(value, '__name__', ''),
)  # fmt: skip
def test_a_bad_file_is_named_the_rest_made_and_mending_it_completes(
    tmp_path, make, palette, spoil, messages
):
    arguments = [tmp_path / 'photos', tmp_path / 'maps', tmp_path / 'out', '--palette', palette]
    files = maps(4)

    def write():
        write_photos(tmp_path / 'photos', files)
        for name, values in files.items():
            save(tmp_path / 'maps' / f'{name}.png', values)

    write()
    spoil(tmp_path)
    output = make('folders', *arguments, status=1)
    for message in messages:
        assert message in output
    made = contents(tmp_path / 'out')
    assert set(made) == {'train/0.png', 'val/2.png', 'train/3.png'}
    for path in tmp_path.rglob('1.jpg'):
        path.unlink()
    write()
    make('folders', *arguments)
    again = contents(tmp_path / 'out')
    assert len(again) == 4 and made.items() < again.items()


def test_a_folder_is_not_taken_twice(tmp_path, make, palette):
    files = maps(1)
    write_photos(tmp_path / 'photos', files)
    save(tmp_path / 'maps/train/0.png', files['train/0'])
    command = ['folders', tmp_path / 'photos', tmp_path / 'maps']
    make(*command, tmp_path / 'out', '--palette', palette)
    before = contents(tmp_path / 'out')
    output = make(*command, tmp_path / 'out', '--palette', palette, '--size', 16, status=2)
    assert 'made with size None; this run has size [16, 16]. Give another folder' in output
    output = make('synthetic', tmp_path / 'out', status=2)
    assert 'was not made by this tool' in output
    assert contents(tmp_path / 'out') == before
    save(tmp_path / 'mine/train/a.png', photo(4, 4))
    output = make(*command, tmp_path / 'mine', '--palette', palette, status=2)
    assert 'train/a.png was not made by this tool' in output
    output = make(*command, tmp_path / 'maps/new', '--palette', palette, status=2)
    assert f'{tmp_path}/maps/new lies in {tmp_path}/maps' in output


@pytest.mark.parametrize(
    ('arguments', 'message'),
    [
        ('folders none maps out --palette cityscapes', 'none: no such folder'),
        ('folders photos photos/train out --palette cityscapes', "e.g. 'train/0' here, '0' there"),
        ('folders photos photos out --palette nothing.json', 'nothing.json: no such file'),
        ('folders photos photos out --palette twice.json', 'name a colour twice: [(1, 1, 1)]'),
        (
            'folders photos photos out --palette cityscapes --img-suffix _x',
            "picture ending in '_x'",
        ),
        ('folders double photos out --palette cityscapes', 'double/a.jpg'),
        ('folders photos photos photos/../photos/x --palette cityscapes', 'lies in photos'),
        ('folders photos photos photos/train/0.png --palette cityscapes', 'lies in photos'),
        ('folders photos photos twice.json --palette cityscapes', 'twice.json'),
        ('cityscapes photos out', 'photos/leftImg8bit/train: no such folder, nor val'),
        ('cityscapes root out', 'no file *_gtFine_labelIds|labelTrainIds|color.png'),
        ('cityscapes root out --size 12x', "'12x' is no size; give e.g. 512x256"),
        ('cityscapes root out --quality 0', "'0' is no whole number from 1 to 100"),
        ('folders photos photos out --palette cityscapes --quality 9', 'goes with --format jpg'),
    ],
)
def test_unusable_arguments_end_in_one_line_before_anything_is_written(
    tmp_path, make, monkeypatch, arguments, message
):
    monkeypatch.chdir(tmp_path)
    write_photos(Path('photos'), maps(1))
    write_photos(Path('double'), {'a': LABELS}, suffix='.jpg')
    write_photos(Path('double'), {'a': LABELS}, suffix='.png')
    write_cityscapes(Path('root'), [])
    Path('root/gtFine/train').mkdir(parents=True)
    Path('twice.json').write_text(json.dumps(dict(classes=['a', 'b'], palette=[[1, 1, 1]] * 2)))
    before = sorted(tmp_path.rglob('*'))
    output = make(*arguments.split(), status=2)
    assert message in output.strip().splitlines()[-1]
    assert sorted(tmp_path.rglob('*')) == before


def start(folder: Path, *arguments, limit: str = ''):
    """The tool in a process of its own, on ``folder/photos`` and ``folder/maps``."""
    command = [sys.executable, TOOL, 'folders', folder / 'photos', folder / 'maps', folder / 'out',
               '--palette', folder / 'palette.json', *arguments]  # fmt: skip
    return subprocess.Popen(
        ['bash', '-c', f'{limit} exec "$@"', 'bash', *map(str, command)],
        stderr=subprocess.PIPE, text=True, start_new_session=True,
    )  # fmt: skip


def test_a_killed_run_leaves_whole_files_and_goes_on(tmp_path, make, palette):
    labels = {f'train/{number}': label_map(400, 400, classes=3) for number in range(60)}
    write_photos(tmp_path / 'photos', labels)
    for name, values in labels.items():
        save(tmp_path / 'maps' / f'{name}.png', values)
    process = start(tmp_path, '--workers', '2')
    deadline = time.monotonic() + 60
    while len(contents(tmp_path / 'out')) < 3:
        assert process.poll() is None and time.monotonic() < deadline
        time.sleep(0.01)
    os.killpg(process.pid, signal.SIGKILL)
    process.communicate()
    made = contents(tmp_path / 'out')
    assert 3 <= len(made) < 60
    assert all(cv2.imread(str(tmp_path / 'out' / name)).shape == (400, 800, 3) for name in made)
    stamps = {name: (tmp_path / 'out' / name).stat().st_mtime_ns for name in made}
    make('folders', tmp_path / 'photos', tmp_path / 'maps', tmp_path / 'out', '--palette', palette)
    assert len(contents(tmp_path / 'out')) == 60
    assert all((tmp_path / 'out' / n).stat().st_mtime_ns == stamp for n, stamp in stamps.items())
    assert not list((tmp_path / 'out').rglob('*.part'))


def test_what_cannot_be_written_ends_the_run_with_its_reason(tmp_path, palette):
    small, large = maps(1)['train/0'], label_map(400, 400, classes=3)
    labels = {'train/0': small, 'train/1': large}
    write_photos(tmp_path / 'photos', labels)
    for name, values in labels.items():
        save(tmp_path / 'maps' / f'{name}.png', values)
    # No file may grow beyond 64 KiB, as when a disk is full.
    process = start(tmp_path, '--workers', '2', limit='ulimit -f 64; trap "" XFSZ;')
    _, stderr = process.communicate(timeout=60)
    assert process.returncode == 1, stderr
    last = stderr.strip().splitlines()[-1]
    assert 'File too large' in last and 'train/1.png' in last
    assert 'pairs made so far are whole' in last and 'Traceback' not in stderr
    left = [path.name for path in (tmp_path / 'out').rglob('*') if path.is_file()]
    assert sorted(left) in (
        ['.pairs.json', '0.png', 'metainfo.json'],
        ['.pairs.json', 'metainfo.json'],
    )
