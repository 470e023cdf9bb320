"""``tools/predict.py``: it writes what the framework computes, and loses nothing."""

import csv
import itertools
import json
import os
import shutil
import signal
import subprocess
import sys

import cv2
import numpy as np
import pytest
import torch
from conftest import CITYSCAPES, DEMO, ROOT, build, coloured, load_tool, on, photo, run_tool
from mmengine.config import Config
from mmseg.apis import inference_model, init_model
from mmseg.registry import DATASETS, MODELS
from tool_runs import wait_for

from pspnet_plugin.deployment.loading import metainfo_of
from pspnet_plugin.files.jobs import lock
from pspnet_plugin.prediction.networks import TorchNetwork
from pspnet_plugin.prediction.sources import BadPicture, find_sources

TOOL = ROOT / 'tools/predict.py'
main = load_tool('predict.py').main


@pytest.fixture(scope='module')
def network(trained) -> list[str]:
    return ['--config', str(trained / 'psp_demo.py'), '--checkpoint', str(trained / 'iter_2.pth')]


@pytest.fixture
def street(tmp_path):
    """Photos of two sizes in folders, turned, grey and broken ones among them."""
    folder = tmp_path / 'street'
    (folder / 'day').mkdir(parents=True)
    for i, size in enumerate([(64, 96), (64, 96), (80, 64)]):
        cv2.imwrite(str(folder / 'day' / f'{i}.png'), photo(*size, seed=i))
    cv2.imwrite(str(folder / 'grey.jpg'), photo(48, 48)[..., 0])
    (folder / 'broken.jpg').write_bytes(b'no picture')
    return folder


def read(path) -> np.ndarray:
    picture = cv2.imread(str(path), cv2.IMREAD_UNCHANGED)
    assert picture is not None, path
    return picture


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


def test_lanes_label_as_one_does(street, network, tmp_path):
    threads = torch.get_num_threads()
    for count in (1, 2):
        torch.set_num_threads(count)
        try:
            arguments = [str(street / 'day'), *network, '--out', str(tmp_path / str(count))]
            assert main(arguments) == 0
        finally:
            torch.set_num_threads(threads)
    for path in (tmp_path / '1/index').iterdir():
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


def test_made_pairs_are_read_by_the_dataset(street, network, tmp_path):
    (street / 'broken.jpg').unlink()
    out = tmp_path / 'out'
    assert main([str(street), *network, '--out', str(out), '--save', 'pairs', 'index']) == 0
    shutil.move(out / 'pairs', tmp_path / 'root' / 'val')
    dataset = build(tmp_path / 'root', 'val', decode=dict(rule='nearest', max_distance=0))
    assert len(dataset) == 4
    labels = dataset[0]['data_samples'].gt_sem_seg.data[0].numpy()
    assert (labels == read(out / 'index' / 'day' / '0.png')).all()


def test_pairs_are_scored_as_by_the_test_tool(demo_root, trained, network, tmp_path, capsys):
    output = run_tool(
        ROOT / 'tools/test.py', trained / 'psp_demo.py', trained / 'iter_2.pth',
        *on(demo_root), '--work-dir', tmp_path / 'test',
    )  # fmt: skip
    arguments = [str(demo_root / 'val'), *network, '--out', str(tmp_path / 'out'), '--pairs']
    assert main(arguments) == 0
    scores = json.loads((tmp_path / 'out' / 'scores.json').read_text())
    for key in ('aAcc', 'mIoU', 'mDice'):
        assert f' {key}: {scores[key]:.2f}' in output  # and not edge-aware/mIoU
    assert f'mIoU {scores["mIoU"]:.2f} aAcc' in capsys.readouterr().out


def test_pairs_are_scored_by_the_rule_of_the_evaluator(demo_root, trained, network, tmp_path):
    rule = 'test_evaluator.decode.rule=nearest'
    options = ['--cfg-options', rule, 'test_evaluator.decode.max_distance=10']
    output = run_tool(
        ROOT / 'tools/test.py', trained / 'psp_demo.py', trained / 'iter_2.pth', '--work-dir',
        tmp_path / 'test', *on(demo_root), *options[1:],
    )  # fmt: skip
    found = []
    for name, more in (('by', options), ('without', [])):
        out = tmp_path / name
        arguments = [str(demo_root / 'val'), *network, '--out', str(out), '--pairs', *more]
        assert main(arguments) == 0
        found.append(json.loads((out / 'scores.json').read_text())['mIoU'])
    assert f' mIoU: {found[0]:.2f}' in output
    assert abs(found[0] - found[1]) > 0.01


def test_some_of_the_classes_are_scored_as_by_the_test_tool(demo_root, tmp_path, monkeypatch):
    config = Config.fromfile(DEMO)
    for loader in (config.train_dataloader, config.val_dataloader, config.test_dataloader):
        loader.dataset.update(data_root=str(demo_root), metainfo=dict(classes=('car', 'road')))
        loader.update(num_workers=0, persistent_workers=False)
    config.model.decode_head.update(num_classes=2, loss_decode=dict(type='CrossEntropyLoss'))
    config.dump(tmp_path / 'two.py')
    weights = MODELS.build(config.model).state_dict()
    torch.save(dict(state_dict=weights, meta={}), tmp_path / 'two.pth')
    monkeypatch.chdir(tmp_path)
    output = run_tool(ROOT / 'tools/test.py', 'two.py', 'two.pth', cwd=tmp_path)
    arguments = ['--config', 'two.py', '--checkpoint', 'two.pth', '--out', 'out', '--pairs']
    assert main([str(demo_root / 'val'), *arguments, '--save', 'index', 'color']) == 0
    metainfo = DATASETS.build(config.test_dataloader.dataset).metainfo
    for path in (tmp_path / 'out/index').iterdir():
        expected = coloured(read(path), metainfo['palette'])
        assert (read(tmp_path / 'out/color' / path.name) == expected).all()
    assert metainfo_of(config)['palette'] == metainfo['palette']
    assert metainfo['palette'] == [[0, 0, 142], [128, 64, 128]]
    scores = json.loads((tmp_path / 'out' / 'scores.json').read_text())
    assert f' mIoU: {scores["mIoU"]:.2f}' in output and 0 < scores['mIoU'] < 100
    assert scores.keys() == {'aAcc', 'mIoU', 'mDice', 'IoU.car', 'IoU.road'}


def test_a_folder_is_of_one_network_and_each_name_of_one_file(
    demo_root, trained, network, tmp_path, capsys
):
    out = ['--out', str(tmp_path / 'out'), '--pairs', '--save', 'shares']
    few = [str(demo_root / 'val' / f'{i}.jpg') for i in (1, 2)]
    assert main([few[0], *network, *out]) == 0
    assert main([few[0], *network[:3], str(trained / 'iter_1.pth'), *out]) == 2
    assert 'iter_2.pth' in capsys.readouterr().err, 'though it holds no picture'
    assert main([str(demo_root / 'train' / '1.jpg'), *network, *out]) == 2
    assert f'holds 1 made of {few[0]}' in capsys.readouterr().err
    one = json.loads((tmp_path / 'out/scores.json').read_text())
    assert main([*few, *network, *out]) == 0
    both = json.loads((tmp_path / 'out/scores.json').read_text())
    assert main([few[0], *network, *out]) == 0
    said = capsys.readouterr().out
    assert '1 of 1 files are labelled already' in said and '1 pictures are labelled' in said
    assert json.loads((tmp_path / 'out/scores.json').read_text()) == one != both
    assert len((tmp_path / 'out/shares.csv').read_text().splitlines()) == 2


def test_a_photo_that_has_changed_is_labelled_again_and_a_torn_journal_read(
    street, network, tmp_path, capsys
):
    out = tmp_path / 'out'
    arguments = [str(street / 'day'), *network, '--out', str(out), '--save', 'index']
    assert main(arguments) == 0
    journal = out / '.labelled.jsonl'
    journal.write_text(journal.read_text()[:-40])
    cv2.imwrite(str(street / 'day' / '0.png'), photo(40, 30))
    for already in (1, 3):
        capsys.readouterr()
        assert main(arguments) == 0
        assert f'{already} of 3 files are labelled already' in capsys.readouterr().out
        assert read(out / 'index' / '0.png').shape == (40, 30)


def test_what_was_made_of_other_content_does_not_count(street, network, tmp_path, capsys):
    out = tmp_path / 'out'
    arguments = [str(street / 'day'), *network, '--out', str(out), '--save', 'index', 'shares']
    assert main(arguments) == 0
    (street / 'day' / '1.png').write_bytes(b'no picture')
    capsys.readouterr()
    assert main(arguments) == 1
    assert '2 pictures are labelled' in capsys.readouterr().out
    assert [path.name for path in sorted((out / 'index').iterdir())] == ['0.png', '2.png']
    assert [row['name'] for row in csv.DictReader((out / 'shares.csv').open())] == ['0', '2']


def test_files_of_somebody_else_are_left_alone(street, network, tmp_path, capsys):
    own = tmp_path / 'out/pairs/train/1.png'
    own.parent.mkdir(parents=True)
    cv2.imwrite(str(own), photo(8, 16))
    arguments = [str(street / 'day'), *network, '--out', str(tmp_path / 'out'), '--save', 'pairs']
    assert main(arguments) == 2
    assert f'{own} was not made by this tool' in capsys.readouterr().err


def test_a_second_run_into_a_folder_in_use_is_refused(street, network, tmp_path, capsys):
    out = tmp_path / 'out'
    arguments = [str(street / 'day'), *network, '--out', str(out)]
    out.mkdir()
    with (out / '.labelled.jsonl').open('a') as journal:
        assert lock(journal)
        assert main(arguments) == 2
    assert 'is written to by another run' in capsys.readouterr().err
    assert main(arguments) == 0


def test_pairs_of_other_classes_are_not_scored(demo_root, network, tmp_path, capsys):
    classes = CITYSCAPES['classes']
    swapped = f'test_dataloader.dataset.metainfo.classes=({classes[1]!r},{classes[0]!r})'
    arguments = [str(demo_root / 'val'), *network, '--out', str(tmp_path / 'out'), '--pairs']
    assert main([*arguments, '--cfg-options', swapped]) == 2
    assert 'knows the classes road, sidewalk, building' in capsys.readouterr().err


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


def test_frames_that_were_left_out_are_made_up_for(network, tmp_path, monkeypatch, capsys):
    path = tmp_path / 'drive.mp4'
    film = cv2.VideoWriter(str(path), cv2.VideoWriter_fourcc(*'mp4v'), 10, (96, 64))
    for i in range(4):
        film.write(cv2.resize(photo(8, 12, seed=i), (96, 64)))
    film.release()
    label, calls = TorchNetwork.label, []

    def fails_once(self, photos):
        calls.append(1)
        if len(calls) == 2:
            raise BadPicture('does not fit')
        return label(self, photos)

    monkeypatch.setattr(TorchNetwork, 'label', fails_once)
    arguments = [str(path), *network, '--out', str(tmp_path / 'out'), '--save', 'index']
    assert main(arguments) == 1
    assert 'drive/000002: does not fit' in capsys.readouterr().err
    assert main(arguments) == 0 and main(arguments) == 0
    said = capsys.readouterr().out
    assert said.count('1 of 1 files are labelled already') == 1
    assert len(list((tmp_path / 'out/index/drive').iterdir())) == 4 and len(calls) == 8


def test_photos_named_as_frames_are_refused(tmp_path):
    for name in ('drive.mp4', 'drive/000001.jpg'):
        (tmp_path / name).parent.mkdir(exist_ok=True)
        (tmp_path / name).write_bytes(b'')
    with pytest.raises(
        ValueError, match=r'000001\.jpg and a frame of .*drive\.mp4 might become one'
    ):
        find_sources([str(tmp_path)])


def test_what_was_made_is_no_input(street):
    (street / 'day' / 'made').mkdir()
    shutil.copy(street / 'day' / '0.png', street / 'day' / 'made' / 'x.png')
    found = find_sources([str(street / 'day')], without=street / 'day' / 'made')
    assert [source.name for source in found] == ['0', '1', '2']
    with pytest.raises(FileNotFoundError, match='lies in'):
        find_sources([str(street / 'day' / 'made' / 'x.png')], without=street / 'day' / 'made')


def test_an_interrupted_run_goes_on(network, tmp_path):
    folder = tmp_path / 'many'
    folder.mkdir()
    for i in range(30):
        cv2.imwrite(str(folder / f'{i}.png'), photo(256, 256, seed=i))
    out = tmp_path / 'out'
    arguments = [str(folder), *network, '--out', str(out), '--save', 'index']
    command = [sys.executable, str(TOOL), *arguments]
    process = subprocess.Popen(command, env={**os.environ, 'OMP_NUM_THREADS': '1'})
    wait_for(process, lambda: len(list(out.glob('index/*.png'))) > 2)
    process.send_signal(signal.SIGKILL)
    process.wait()
    before = {path: path.stat().st_mtime_ns for path in out.glob('index/*.png')}
    assert 2 < len(before) < 30
    assert all(read(path).shape == (256, 256) for path in before)
    output = run_tool(TOOL, *arguments)
    assert 'of 30 files are labelled already' in output
    assert len(list(out.glob('index/*.png'))) == 30
    kept = [path for path, time in before.items() if path.stat().st_mtime_ns == time]
    assert len(kept) >= len(before) - 1  # one may not be in the journal yet


def test_another_network_does_not_mix(street, network, trained, tmp_path, capsys):
    out = ['--out', str(tmp_path / 'out')]
    assert main([str(street / 'day'), *network, *out]) == 0
    assert main([str(street / 'day'), *network[:3], str(trained / 'iter_1.pth'), *out]) == 2
    assert 'iter_2.pth' in capsys.readouterr().err


def test_photos_on_the_right_are_scored_as_by_the_test_tool(demo_root, trained, tmp_path, capsys):
    for path in (demo_root / 'val').iterdir():
        photo_half, labels = np.hsplit(read(path), 2)
        (tmp_path / 'pairs/val').mkdir(parents=True, exist_ok=True)
        name = tmp_path / 'pairs/val' / f'{path.stem}.png'
        cv2.imwrite(str(name), np.hstack([labels, photo_half]))
    known = {key: value for key, value in CITYSCAPES.items() if key != 'label_map'}
    (tmp_path / 'known.json').write_text(json.dumps(known))
    config = Config.fromfile(trained / 'psp_demo.py')
    config.test_dataloader.dataset.update(
        type='PairsDataset', data_root=str(tmp_path / 'pairs'), photo_side='right',
        metainfo=str(tmp_path / 'known.json'),
    )  # fmt: skip
    config.dump(tmp_path / 'right.py')
    weights = str(trained / 'iter_2.pth')
    output = run_tool(
        ROOT / 'tools/test.py', tmp_path / 'right.py', weights, '--work-dir', tmp_path / 'test'
    )
    arguments = ['--config', str(tmp_path / 'right.py'), '--checkpoint', weights, '--pairs']
    assert main([str(tmp_path / 'pairs/val'), *arguments, '--out', str(tmp_path / 'out')]) == 0
    scores = json.loads((tmp_path / 'out' / 'scores.json').read_text())
    for key in ('aAcc', 'mIoU', 'mDice'):
        assert f' {key}: {scores[key]:.2f}' in output


@pytest.mark.parametrize('save', [['index', 'overlay'], ['index']], ids=['film', 'frames'])
def test_a_video_is_labelled_frame_by_frame(network, tmp_path, save, capsys):
    path = tmp_path / 'drive.mp4'
    film = cv2.VideoWriter(str(path), cv2.VideoWriter_fourcc(*'mp4v'), 10, (96, 64))
    for i in range(5):
        film.write(cv2.resize(photo(8, 12, seed=i), (96, 64)))
    film.release()
    arguments = [str(path), *network, '--out', str(tmp_path / 'out'), '--save', *save]
    assert main(arguments) == 0
    frames = sorted((tmp_path / 'out/index/drive').glob('*.png'))
    assert [frame.name for frame in frames] == [f'{i:06}.png' for i in range(1, 6)]
    model = init_model(network[1], network[3], device='cpu')
    video, maps = cv2.VideoCapture(str(path)), [read(frame) for frame in frames]
    for labels in maps:
        expected = inference_model(model, video.read()[1]).pred_sem_seg.data[0].numpy()
        assert (labels == expected).mean() > 0.999
    assert all((one != other).any() for one, other in itertools.combinations(maps, 2))
    if 'overlay' in save:
        made = cv2.VideoCapture(str(tmp_path / 'out/overlay/drive.mp4'))
        assert made.get(cv2.CAP_PROP_FRAME_COUNT) == 5 and made.get(cv2.CAP_PROP_FPS) == 10
        assert made.get(cv2.CAP_PROP_FRAME_HEIGHT) == 64
    capsys.readouterr()
    assert main(arguments) == 0
    assert '1 of 1 files are labelled already' in capsys.readouterr().out


@pytest.mark.parametrize(
    ('arguments', 'message'),
    [
        (['none.jpg'], 'none.jpg does not exist; give photos, videos, folders or patterns'),
        (['*.gif'], '*.gif does not exist'),
        (['day', '--batch', '0'], '--batch 0 --opacity 0.5 --max-side None: give a number'),
        (['day', '--opacity', '2'], '--opacity 2.0'),
        (['day', '--max-side', '0'], '--max-side 0'),
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
    assert 'broken.jpg is no picture that OpenCV reads' in capsys.readouterr().err


def test_patterns_and_names(street):
    found = find_sources([f'{street}/day/*.png', f'{street}/gr*.jpg'])
    assert [source.name for source in found] == ['0', '1', '2', 'grey']
    found = find_sources([str(street)])
    assert [source.name for source in found] == ['broken', 'day/0', 'day/1', 'day/2', 'grey']
