"""``tools/predict.py --pairs``: scores are those of ``test.py``."""

import json

import cv2
import numpy as np
import pytest
from helpers.label_files import read
from helpers.pairs import CITYSCAPES, ROOT, coloured
from helpers.predictors import write_random
from helpers.programs import DEMO, load_tool, on, run_tool
from mmengine.config import Config
from mmseg.registry import DATASETS

from pspnet_plugin.apis.loading import metainfo_of

main = load_tool('predict.py').main


def test_pairs_are_scored_as_by_the_test_tool(
    demo_root, trained, network, demo_onnx, tmp_path, capsys
):
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
    arguments = [str(demo_root / 'val'), *network[:2], '--onnx', str(demo_onnx), '--pairs']
    assert main([*arguments, '--out', str(tmp_path / 'onnx'), '--save', 'shares']) == 0
    by_onnx = json.loads((tmp_path / 'onnx' / 'scores.json').read_text())
    assert by_onnx['aAcc'] == pytest.approx(scores['aAcc'], abs=0.1) and scores['aAcc'] > 1


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


def test_pairs_with_few_known_colours_are_scored_as_by_the_test_tool(
    demo_root, trained, network, tmp_path, capsys
):
    pair = read(demo_root / 'val/1.jpg')
    half = pair.shape[1] // 2
    pair[: len(pair) * 2 // 3, half:] = (60, 90, 30)  # mostly unlabelled
    (tmp_path / 'pairs/val').mkdir(parents=True)
    cv2.imwrite(str(tmp_path / 'pairs/val/1.png'), pair)
    options = on(tmp_path / 'pairs', 'test_evaluator.decode.rule=nearest')
    options += ['test_evaluator.decode.max_distance=40']
    takes = 'test_dataloader.dataset.decode.min_explained=0'
    output = run_tool(
        ROOT / 'tools/test.py', trained / 'psp_demo.py', trained / 'iter_2.pth', '--work-dir',
        tmp_path / 'test', *options, takes,
    )  # fmt: skip
    arguments = [str(tmp_path / 'pairs/val'), *network, '--out', str(tmp_path / 'out'), '--pairs']
    assert main([*arguments, *options]) == 1
    assert '1.png' in capsys.readouterr().err
    assert main([*arguments[:-3], '--out', str(tmp_path / 'more'), '--pairs', *options, takes]) == 0
    scores = json.loads((tmp_path / 'more/scores.json').read_text())
    assert f' mIoU: {scores["mIoU"]:.2f}' in output


def test_some_of_the_classes_are_scored_as_by_the_test_tool(demo_root, tmp_path, monkeypatch):
    config = Config.fromfile(DEMO)
    for loader in (config.train_dataloader, config.val_dataloader, config.test_dataloader):
        loader.dataset.update(data_root=str(demo_root), metainfo=dict(classes=('car', 'road')))
        loader.update(num_workers=0, persistent_workers=False)
    config.model.decode_head.update(num_classes=2, loss_decode=dict(type='CrossEntropyLoss'))
    write_random(config, tmp_path / 'two')
    monkeypatch.chdir(tmp_path)
    output = run_tool(ROOT / 'tools/test.py', 'two.py', 'two.pth', cwd=tmp_path)
    arguments = ['--config', 'two.py', '--checkpoint', 'two.pth', '--out', 'out', '--pairs']
    assert main([str(demo_root / 'val'), *arguments, '--save', 'index', 'color']) == 0
    metainfo = DATASETS.build(config.test_dataloader.dataset).metainfo
    maps = sorted((tmp_path / 'out/index').iterdir())
    assert maps
    for path in maps:
        expected = coloured(read(path), metainfo['palette'])
        assert (read(tmp_path / 'out/color' / path.name) == expected).all()
    assert metainfo_of(config)['palette'] == metainfo['palette']
    assert metainfo['palette'] == [[0, 0, 142], [128, 64, 128]]
    scores = json.loads((tmp_path / 'out' / 'scores.json').read_text())
    assert f' mIoU: {scores["mIoU"]:.2f}' in output and 0 < scores['mIoU'] < 100
    assert scores.keys() == {'aAcc', 'mIoU', 'mDice', 'IoU.car', 'IoU.road'}


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


def test_pairs_of_other_classes_are_not_scored(demo_root, network, tmp_path, capsys):
    classes = CITYSCAPES['classes']
    swapped = f'test_dataloader.dataset.metainfo.classes=({classes[1]!r},{classes[0]!r})'
    arguments = [str(demo_root / 'val'), *network, '--out', str(tmp_path / 'out'), '--pairs']
    assert main([*arguments, '--cfg-options', swapped]) == 2
    assert 'road, sidewalk, building' in capsys.readouterr().err
