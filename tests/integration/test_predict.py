"""``tools/predict.py``: it writes what the framework computes, and loses nothing."""

import csv
import re
import shutil
from pathlib import Path

import cv2
import numpy as np
import pytest
import torch
from helpers.label_files import read
from helpers.pairs import CITYSCAPES, build, coloured, photo
from helpers.programs import DEMO, load_tool
from mmengine.config import Config
from mmseg.apis import inference_model, init_model
from mmseg.registry import MODELS

from pspnet_plugin.apis.loading import load_config
from pspnet_plugin.apis.networks import ShrinkingNetwork, TorchNetwork, open_torch_network

main = load_tool('predict.py').main


def test_photos_are_labelled_as_by_the_framework(street, network, trained, tmp_path, capsys):
    out = tmp_path / 'out'
    kinds = ['index', 'color', 'overlay', 'pairs', 'shares']
    arguments = [str(street), *network, '--out', str(out), '--batch', '2', '--save', *kinds]
    assert main(arguments) == 1
    said = capsys.readouterr()
    assert f'predict: {street}/broken.jpg is no picture that OpenCV reads' in said.err
    assert 'left out, each named above: 1' in said.err and '4 pictures are labelled' in said.out

    model = init_model(str(trained / 'psp_demo.py'), str(trained / 'iter_2.pth'), device='cpu')
    names = ['day/0', 'day/1', 'day/2', 'grey']
    files = ['day/0.png', 'day/1.png', 'day/2.png', 'grey.jpg']
    table = list(csv.DictReader((out / 'classes.csv').open()))
    assert [row['class'] for row in table] == list(CITYSCAPES['classes'])
    assert [table[18][key] for key in ('number', 'red', 'blue')] == ['18', '119', '32']
    shares = list(csv.DictReader((out / 'shares.csv').open()))
    assert [row['name'] for row in shares] == names
    for name, file, row in zip(names, files, shares, strict=True):
        expected = inference_model(model, str(street / file)).pred_sem_seg.data[0].numpy()
        labels = read(out / 'index' / f'{name}.png')
        assert (labels == expected).mean() > 0.999 and len(np.unique(labels)) > 1
        assert (read(out / 'color' / f'{name}.png') == coloured(labels)).all()
        picture = cv2.imread(str(street / file))
        assert (read(out / 'pairs' / f'{name}.png') == np.hstack([picture, coloured(labels)])).all()
        drawn = read(out / 'overlay' / f'{name}.jpg')
        assert drawn.shape[0] == len(picture) and drawn.shape[1] > picture.shape[1]
        for index, label in enumerate(CITYSCAPES['classes']):
            assert float(row[label]) == pytest.approx(100 * (labels == index).mean(), abs=1e-3)


def test_lanes_label_as_one_does(street, network, tmp_path, monkeypatch):
    threads, lanes = torch.get_num_threads(), []
    enter = TorchNetwork.enter_lane
    monkeypatch.setattr(TorchNetwork, 'enter_lane', lambda self: lanes.append(1) or enter(self))
    for count in (1, 2):
        torch.set_num_threads(count)
        try:
            arguments = [str(street / 'day'), *network, '--out', str(tmp_path / str(count))]
            assert main(arguments) == 0
            assert len(lanes) == (0 if count == 1 else 2)
        finally:
            torch.set_num_threads(threads)
    made = sorted((tmp_path / '1/index').iterdir())
    assert len(made) == 3
    for path in made:
        assert (read(path) == read(tmp_path / '2/index' / path.name)).mean() > 0.999


def test_opacity_is_that_of_the_colours(network, tmp_path):
    smooth = cv2.resize(photo(6, 9), (144, 96))
    cv2.imwrite(str(tmp_path / 'smooth.png'), smooth)
    for opacity in ('0', '1'):
        out = tmp_path / opacity
        kinds = ['--save', 'color', 'overlay', '--opacity', opacity]
        assert main([str(tmp_path / 'smooth.png'), *network, '--out', str(out), *kinds]) == 0
        colors = read(out / 'color/smooth.png')
        shown, hidden = (smooth, colors) if opacity == '0' else (colors, smooth)
        drawn = read(out / 'overlay/smooth.jpg')[:, : shown.shape[1]]
        assert cv2.PSNR(drawn, shown) > 20 > 15 > cv2.PSNR(drawn, hidden)  # JPEG has its share


def test_large_photos_are_seen_shrunk(network, trained, tmp_path):
    cv2.imwrite(str(tmp_path / 'large.png'), photo(90, 150))
    cv2.imwrite(str(tmp_path / 'small.png'), photo(48, 60))
    out = tmp_path / 'out'
    inputs = [str(tmp_path / 'large.png'), str(tmp_path / 'small.png')]
    kinds = ['--save', 'index', 'overlay', '--max-side', '60']
    assert main([*inputs, *network, '--out', str(out), *kinds]) == 0
    model = init_model(str(trained / 'psp_demo.py'), str(trained / 'iter_2.pth'), device='cpu')
    seen = cv2.resize(photo(90, 150), (60, 36), interpolation=cv2.INTER_AREA)
    for name, picture, size in (('large', seen, (150, 90)), ('small', photo(48, 60), (60, 48))):
        labels = inference_model(model, picture).pred_sem_seg.data[0].numpy().astype(np.uint8)
        expected = cv2.resize(labels, size, interpolation=cv2.INTER_NEAREST)
        assert (read(out / 'index' / f'{name}.png') == expected).mean() > 0.999
    assert read(out / 'overlay' / 'large.jpg').shape[0] == 90


def test_photos_larger_than_in_the_training_are_shrunk_and_that_is_said(
    network, demo_root, tmp_path, capsys
):
    cv2.imwrite(str(tmp_path / 'large.png'), photo(90, 512))
    config = Config.fromfile(network[1])
    config.train_dataloader.dataset.pipeline.insert(
        2, dict(type='RandomResize', scale=(128, 128), ratio_range=(0.5, 2.0), keep_ratio=True)
    )
    config.dump(tmp_path / 'resized.py')
    network = ['--config', str(tmp_path / 'resized.py'), *network[2:]]
    found = []
    for more in ([], ['--max-side', '256'], ['--max-side', '0']):
        out = tmp_path / f'out{len(found)}'
        arguments = [str(tmp_path / 'large.png'), *network, '--out', str(out), *more]
        assert main([*arguments, '--save', 'index']) == 0
        said = 'photos of more than 256 pixels on a side are shrunk' in capsys.readouterr().err
        assert said == (not more)
        found.append(read(out / 'index/large.png'))
    assert (found[0] == found[1]).all() and (found[0] != found[2]).any()


def test_made_pairs_are_read_by_the_dataset(street, network, tmp_path):
    (street / 'broken.jpg').unlink()
    out = tmp_path / 'out'
    assert main([str(street), *network, '--out', str(out), '--save', 'pairs', 'index']) == 0
    shutil.move(out / 'pairs', tmp_path / 'root' / 'val')
    dataset = build(tmp_path / 'root', 'val', decode=dict(rule='nearest', max_distance=0))
    assert len(dataset) == 4
    labels = dataset[0]['data_samples'].gt_sem_seg.data[0].numpy()
    assert (labels == read(out / 'index' / 'day' / '0.png')).all()


def test_a_photo_that_the_network_does_not_take_is_named(tmp_path, capsys):
    config = Config.fromfile(DEMO)
    config.model.decode_head = dict(
        type='WindowPSPHead', in_channels=128, in_index=3, num_classes=19, windows=('global', 8)
    )
    config.dump(tmp_path / 'windows.py')
    weights = MODELS.build(config.model).state_dict()
    torch.save(dict(state_dict=weights, meta={}), tmp_path / 'windows.pth')
    for name, size in (('low', (8, 200)), ('plain', (96, 96))):
        cv2.imwrite(str(tmp_path / f'{name}.png'), photo(*size))
    network = ['--config', str(tmp_path / 'windows.py')]
    network += ['--checkpoint', str(tmp_path / 'windows.pth'), '--out', str(tmp_path / 'out')]
    assert main([str(tmp_path / 'low.png'), str(tmp_path / 'plain.png'), *network]) == 1
    assert 'low: 200x8 pixels cannot be labelled: WindowPSPHead: a' in capsys.readouterr().err
    assert (tmp_path / 'out/index/plain.png').is_file()


@pytest.mark.parametrize(
    ('arguments', 'message'),
    [
        (['none.jpg'], 'none.jpg does not exist; give photos, videos, folders or patterns'),
        (['*.gif'], '*.gif does not exist'),
        (['day', '--batch', '0'], '--batch 0 --opacity 0.5 --max-side None: give a number'),
        (['day', '--opacity', '2'], '--opacity 2.0'),
        (['day', '--max-side', '-1'], '--max-side -1'),
        (['day', '.'], 'would both become'),
        (['day', '--device', 'cuda:7'], '--device cuda:7'),
        (['day', '--cfg-options', 'model.decode_head.num_classes=3'], 'does not fit'),
    ],
)  # fmt: skip
def test_what_is_wrong_is_said_before_anything_is_made(
    arguments, message, street, network, tmp_path, monkeypatch, capsys
):
    monkeypatch.chdir(street)
    shutil.copy('day/0.png', '0.png')
    assert main([*arguments, *network, '--out', str(tmp_path / 'out')]) == 2
    assert message in capsys.readouterr().err
    assert not (tmp_path / 'out').exists()


def test_strict_ends_at_the_first_bad_picture(street, network, tmp_path, capsys):
    assert main([str(street), *network, '--out', str(tmp_path / 'out'), '--strict']) == 1
    said = capsys.readouterr().err
    assert said.splitlines()[-1].endswith('broken.jpg is no picture that OpenCV reads')
    assert not list((tmp_path / 'out').rglob('*.png')), 'it is the first of them'


def test_a_bar_tells_the_speed_and_debug_the_cause(street, network, tmp_path, capsys):
    arguments = [str(street), *network, '--out', str(tmp_path / 'out')]
    assert main(arguments) == 1
    said = capsys.readouterr().err
    assert re.search(r'4/5 \[.*picture/s\]', said), said
    assert 'Traceback' not in said
    assert main([*arguments, '--debug']) == 1
    assert 'Traceback' in capsys.readouterr().err


def test_what_a_network_sees_is_what_its_pipeline_makes(network):
    config = load_config(Path(network[1]), whole=False)
    steps = config.test_dataloader.dataset.pipeline
    steps.insert(1, dict(type='Resize', scale=(400, 200), keep_ratio=True))
    opened = open_torch_network(config, Path(network[3]), device='cpu')
    assert opened.seen(100, 100) == 200 * 200
    assert ShrinkingNetwork(opened, 50).seen(100, 400) == 96 * 400  # of 12 x 50


def test_a_fault_of_the_pipeline_is_one_of_the_photo(network, tmp_path, capsys):
    cv2.imwrite(str(tmp_path / 'strip.png'), photo(1, 5000))
    cv2.imwrite(str(tmp_path / 'plain.png'), photo(64, 64))
    config = Config.fromfile(network[1])
    config.test_dataloader.dataset.pipeline.insert(
        1, dict(type='Resize', scale=(2048, 1024), keep_ratio=True)
    )
    config.dump(tmp_path / 'resized.py')
    arguments = [str(tmp_path), '--config', str(tmp_path / 'resized.py'), *network[2:]]
    arguments += ['--max-side', '0']
    assert main([*arguments, '--out', str(tmp_path / 'out'), '--save', 'index']) == 1
    assert 'strip: 5000x1 pixels cannot be labelled' in capsys.readouterr().err
    assert (tmp_path / 'out/index/plain.png').is_file()


def test_more_classes_than_index_maps_hold(tmp_path, capsys):
    config = Config.fromfile(DEMO)
    config.model.decode_head.update(num_classes=300, loss_decode=dict(type='CrossEntropyLoss'))
    config.model.auxiliary_head = None
    config.dump(tmp_path / 'many.py')
    weights = MODELS.build(config.model).state_dict()
    torch.save(dict(state_dict=weights, meta={}), tmp_path / 'many.pth')
    cv2.imwrite(str(tmp_path / 'plain.png'), photo(64, 64))
    network = ['--config', str(tmp_path / 'many.py'), '--checkpoint', str(tmp_path / 'many.pth')]
    assert main([str(tmp_path / 'plain.png'), *network, '--out', str(tmp_path / 'out')]) == 2
    assert 'has 300 classes; index maps of 8 bits hold 256' in capsys.readouterr().err


def test_pairs_are_made_as_the_config_reads_them(network, tmp_path):
    cv2.imwrite(str(tmp_path / 'plain.png'), photo(64, 64))
    arguments = [str(tmp_path / 'plain.png'), *network, '--out', str(tmp_path / 'out')]
    side = ['--cfg-options', 'test_dataloader.dataset.photo_side=right']
    assert main([*arguments, '--save', 'pairs', 'color', *side]) == 0
    colors = read(tmp_path / 'out/color/plain.png')
    expected = np.hstack([colors, photo(64, 64)])
    assert (read(tmp_path / 'out/pairs/plain.png') == expected).all()
