"""``tools/predict.py``: it writes what the framework computes, and names what it skips."""

import csv
import io
import json
import os
import re
import shutil

import cv2
import numpy as np
import pytest
from helpers.label_files import read
from helpers.pairs import CITYSCAPES, build, coloured, photo
from helpers.predictors import write_random
from helpers.programs import DEMO, load_tool
from mmengine.config import Config
from mmseg.apis import inference_model, init_model
from PIL import Image

main = load_tool('predict.py').main
EXIF_TURNED = Image.Exif()
EXIF_TURNED[0x0112] = 6


@pytest.fixture(scope='module')
def model(trained):
    return init_model(str(trained / 'psp_demo.py'), str(trained / 'iter_2.pth'), device='cpu')


def test_photos_are_labelled_as_by_the_framework(street, network, model, predict, tmp_path):
    out = tmp_path / 'out'
    kinds = ['index', 'color', 'overlay', 'pairs', 'shares']
    stdout, stderr = predict(street, *network, '--batch', 2, '--save', *kinds, status=1)
    assert f'{street}/broken.jpg' in stderr and stderr.endswith(': 1\n')
    assert '4 images' in stdout and re.search(r'4/5 \[.*image/s\]', stderr)
    assert 'Traceback' not in stderr

    files = {'day/0': 'day/0.png', 'day/1': 'day/1.png', 'day/2': 'day/2.png', 'grey': 'grey.jpg'}
    table = list(csv.DictReader((out / 'classes.csv').open()))
    assert [row['class'] for row in table] == list(CITYSCAPES['classes'])
    assert [table[18][key] for key in ('number', 'red', 'blue')] == ['18', '119', '32']
    shares = list(csv.DictReader((out / 'shares.csv').open()))
    assert [row['name'] for row in shares] == list(files)
    for (name, file), row in zip(files.items(), shares, strict=True):
        expected = inference_model(model, str(street / file)).pred_sem_seg.data[0].numpy()
        labels = read(out / 'index' / f'{name}.png')
        assert (labels == expected).mean() > 0.999 and len(np.unique(labels)) > 1
        assert (read(out / 'color' / f'{name}.png') == coloured(labels)).all()
        image = cv2.imread(str(street / file))
        assert (read(out / 'pairs' / f'{name}.png') == np.hstack([image, coloured(labels)])).all()
        drawn = read(out / 'overlay' / f'{name}.jpg')
        assert drawn.shape[0] == len(image) and drawn.shape[1] > image.shape[1]
        for index, label in enumerate(CITYSCAPES['classes']):
            assert float(row[label]) == pytest.approx(100 * (labels == index).mean(), abs=1e-3)
    # The pairs are read by the dataset.
    shutil.move(out / 'pairs', tmp_path / 'root' / 'val')
    dataset = build(tmp_path / 'root', 'val', decode=dict(rule='nearest', max_distance=0))
    truth = dataset[0]['data_samples'].gt_sem_seg.data[0].numpy()
    assert len(dataset) == 4 and (truth == read(out / 'index/day/0.png')).all()


def save(path, **options) -> None:
    smooth = cv2.resize(photo(8, 12), (96, 64))[..., ::-1]
    Image.fromarray(smooth).save(path, **options)


def test_photos_of_all_kinds_are_labelled_as_by_the_framework(network, model, predict, tmp_path):
    smooth, folder = cv2.resize(photo(8, 12), (96, 64)), tmp_path / 'photos'
    folder.mkdir()
    alpha = np.dstack([photo(64, 96), photo(64, 96, seed=1)[..., 0]])
    for name, image in (
        ('sixteen.png', smooth.astype(np.uint16) * 257),
        ('alpha.png', alpha),
        ('grey.png', photo(64, 96)[..., 0]),
        ('pixel.png', photo(1, 1)),
    ):
        cv2.imwrite(str(folder / name), image)
    Image.fromarray(smooth).convert('CMYK').save(folder / 'cmyk.jpg')
    save(folder / 'turned.jpg', exif=EXIF_TURNED)
    for name in ('scan.tiff', 'UPPER.JPG', '100 % %s {0} straße 日本.jpg'):
        save(folder / name)
    predict(folder, *network, '--save', 'index', '--bits', 16)
    files = list(folder.iterdir())
    assert len(files) == 9
    for path in files:
        labels = read(tmp_path / 'out/index' / f'{path.stem}.png')
        expected = inference_model(model, str(path)).pred_sem_seg.data[0].numpy()
        size = {'turned': (96, 64), 'pixel': (1, 1)}.get(path.stem, (64, 96))
        assert labels.shape == size and (labels == expected).mean() > 0.999, path.name


@pytest.mark.parametrize('by', ['checkpoint', 'onnx'])
def test_large_photos_are_shrunk_for_the_network(by, network, demo_onnx, model, predict, tmp_path):
    cv2.imwrite(str(tmp_path / 'large.png'), photo(90, 150))
    cv2.imwrite(str(tmp_path / 'small.png'), photo(48, 60))
    options = network if by == 'checkpoint' else ['--onnx', demo_onnx]
    predict(tmp_path, *options, '--save', 'index', 'overlay', '--max-side', 60)
    shrunk = cv2.resize(photo(90, 150), (60, 36), interpolation=cv2.INTER_AREA)
    for name, image, size in (('large', shrunk, (150, 90)), ('small', photo(48, 60), (60, 48))):
        labels = inference_model(model, image).pred_sem_seg.data[0].numpy().astype(np.uint8)
        expected = cv2.resize(labels, size, interpolation=cv2.INTER_NEAREST_EXACT)
        assert len(np.unique(expected)) > 1
        assert (read(tmp_path / 'out/index' / f'{name}.png') == expected).mean() > 0.999
    drawn = read(tmp_path / 'out/overlay/large.jpg')
    assert drawn.shape[0] == 90 and drawn.shape[1] > 150  # with its legend: the file has classes


def test_photos_larger_than_in_the_training_are_shrunk_and_that_is_said(network, predict, tmp_path):
    cv2.imwrite(str(tmp_path / 'large.png'), photo(90, 512))
    config = Config.fromfile(network[1])
    config.train_dataloader.dataset.pipeline.insert(
        2, dict(type='RandomResize', scale=(128, 128), ratio_range=(0.5, 2.0), keep_ratio=True)
    )
    config.dump(tmp_path / 'resized.py')
    arguments = tmp_path / 'large.png', '--config', tmp_path / 'resized.py', *network[2:]
    labels = []
    for more in ([], ['--max-side', 256], ['--max-side', 0]):
        out = f'out{len(labels)}'
        _, stderr = predict(*arguments, *more, '--save', 'index', out=out)
        assert ('256' in stderr and '--max-side' in stderr) == (not more)
        labels.append(read(tmp_path / out / 'index/large.png'))
        marker = json.loads((tmp_path / out / '.labelled.json').read_text())
        assert marker['max_side'] == (more[1] if more else 256)
    assert (labels[0] == labels[1]).all() and (labels[0] != labels[2]).any()


def test_pairs_have_their_photo_where_the_config_has_it(network, predict, tmp_path):
    cv2.imwrite(str(tmp_path / 'plain.png'), photo(64, 64))
    side = ['--cfg-options', 'test_dataloader.dataset.photo_side=right']
    predict(tmp_path / 'plain.png', *network, '--save', 'pairs', 'color', *side)
    colors = read(tmp_path / 'out/color/plain.png')
    expected = np.hstack([colors, photo(64, 64)])
    assert (read(tmp_path / 'out/pairs/plain.png') == expected).all()


def test_photos_that_cannot_be_labelled_are_named_and_the_others_are(network, predict, tmp_path):
    config = Config.fromfile(DEMO)
    config.model.decode_head = dict(
        type='WindowPSPHead', in_channels=128, in_index=3, num_classes=19, windows=('global', 8)
    )
    windows = write_random(config, tmp_path / 'windows')
    content = io.BytesIO()
    save(content, format='JPEG')
    folder = tmp_path / 'photos'
    folder.mkdir()
    (folder / 'cut.jpg').write_bytes(content.getvalue()[: len(content.getvalue()) * 2 // 3])
    cv2.imwrite(str(folder / 'low.png'), photo(8, 200))  # too low for that head
    cv2.imwrite(str(folder / 'strip.png'), photo(65_600, 2))  # too long for a JPEG
    cv2.imwrite(str(folder / 'plain.png'), photo(96, 96))
    for pipe, options, labelled, named in (
        ('pipe.jpg', windows, {'plain.png'}, ['low: 200x8', 'strip: ']),
        ('pipe.mp4', network, {'plain.png', 'low.png'}, ['strip: ', 'x65600']),
    ):
        os.mkfifo(folder / pipe)
        _, stderr = predict(folder, *options, '--max-side', 512, status=1, out=pipe)
        (folder / pipe).unlink()
        for value in (f'{folder}/cut.jpg', f'{folder}/{pipe}', *named):
            assert value in stderr
        assert {path.name for path in (tmp_path / pipe / 'index').iterdir()} == labelled


@pytest.mark.parametrize(
    ('arguments', 'value'),
    [
        (['none.jpg'], 'none.jpg'),
        (['day', '--batch', '0'], '--batch 0'),
        (['day', '--opacity', '2'], '--opacity 2.0'),
        (['day', '--max-side', '-1'], '--max-side -1'),
        (['day', '.'], 'day/0.png'),
        (['day', '--device', 'cuda:7'], 'cuda:7'),
        (['day', '--cfg-options', 'model.decode_head.num_classes=3'], 'iter_2.pth'),
        (['day', '--cfg-options', 'a'], 'KEY=VALUE'),
    ],
    ids=lambda value: ' '.join(value) if isinstance(value, list) else '',
)
def test_unusable_arguments_are_named_before_anything_is_written(
    arguments, value, street, network, tmp_path, monkeypatch, capsys
):
    monkeypatch.chdir(street)
    shutil.copy('day/0.png', '0.png')
    try:
        status = main([*arguments, *network, '--out', str(tmp_path / 'out')])
    except SystemExit as ended:
        status = ended.code
    assert status == 2 and value in capsys.readouterr().err
    assert not (tmp_path / 'out').exists()


def test_unusable_exported_files_are_named(demo_onnx, street, predict, tmp_path):
    broken = tmp_path / 'broken.onnx'
    broken.write_bytes(demo_onnx.read_bytes()[:100])
    for arguments, value in (
        (['--onnx', broken], 'broken.onnx'),
        (['--onnx', tmp_path / 'none.onnx'], 'none.onnx'),
        (['--onnx', demo_onnx, '--pairs'], '--config'),
    ):
        assert value in predict(street, *arguments, status=2)[1]
    assert not (tmp_path / 'out').exists()


def test_strict_ends_at_the_first_bad_image_and_debug_shows_why(street, network, predict, tmp_path):
    _, stderr = predict(street, *network, '--strict', status=1)
    assert 'broken.jpg' in stderr.splitlines()[-1]
    assert not list((tmp_path / 'out').rglob('*.png')), 'it is the first of them'
    assert 'Traceback' in predict(street, *network, '--debug', status=1)[1]
