"""``predict.py`` with an exported file in place of config and checkpoint."""

import json

import cv2
import numpy as np
import pytest
from helpers.pairs import photo
from helpers.programs import load_tool

main = load_tool('predict.py').main


@pytest.fixture
def street(tmp_path):
    folder = tmp_path / 'street'
    folder.mkdir()
    for i, size in enumerate([(64, 96), (96, 80)]):
        cv2.imwrite(str(folder / f'{i}.png'), photo(*size, seed=i))
    return folder


def labels(folder, name) -> np.ndarray:
    return cv2.imread(str(folder / 'index' / f'{name}.png'), cv2.IMREAD_UNCHANGED)


def test_it_labels_as_the_checkpoint_does(demo_onnx, street, trained, tmp_path):
    network = [
        '--config',
        str(trained / 'psp_demo.py'),
        '--checkpoint',
        str(trained / 'iter_2.pth'),
    ]
    one, two = tmp_path / 'torch', tmp_path / 'onnx'
    assert main([str(street), *network, '--out', str(one)]) == 0
    assert main([str(street), '--onnx', str(demo_onnx), '--out', str(two)]) == 0
    for name in '01':
        expected = labels(one, name)
        assert len(np.unique(expected)) > 1
        assert (labels(two, name) == expected).mean() > 0.999
        drawn = cv2.imread(str(two / 'overlay' / f'{name}.jpg'))
        assert drawn.shape[1] > expected.shape[1]  # with its legend: classes are in the file


def test_large_photos_are_seen_shrunk(demo_onnx, street, network, tmp_path):
    one, two = tmp_path / 'torch', tmp_path / 'onnx'
    small = ['--max-side', '48']
    assert main([str(street), *network, *small, '--out', str(one)]) == 0
    assert main([str(street), '--onnx', str(demo_onnx), *small, '--out', str(two)]) == 0
    for name in '01':
        assert (labels(two, name) == labels(one, name)).mean() > 0.999


def test_pairs_are_scored_alike(demo_onnx, demo_root, trained, tmp_path):
    config = ['--config', str(trained / 'psp_demo.py')]
    found = []
    for network in (
        [*config, '--checkpoint', str(trained / 'iter_2.pth')],
        [*config, '--onnx', str(demo_onnx)],
    ):
        out = tmp_path / str(len(found))
        arguments = [str(demo_root / 'val'), '--pairs', *network, '--out', str(out)]
        assert main([*arguments, '--save', 'shares']) == 0
        found.append(json.loads((out / 'scores.json').read_text()))
    assert found[0]['aAcc'] == pytest.approx(found[1]['aAcc'], abs=0.1) and found[0]['aAcc'] > 1


def test_what_is_wrong_is_said(demo_onnx, street, tmp_path, capsys):
    out = ['--out', str(tmp_path / 'out')]
    broken = tmp_path / 'broken.onnx'
    broken.write_bytes(demo_onnx.read_bytes()[:100])
    for arguments, message in (
        (['--onnx', str(broken)], 'broken.onnx'),
        (['--onnx', str(tmp_path / 'none.onnx')], 'none.onnx'),
        (['--onnx', str(demo_onnx), '--pairs'], '--pairs needs --config'),
    ):
        assert main([str(street), *arguments, *out]) == 2
        assert message in capsys.readouterr().err
    assert not (tmp_path / 'out').exists()
