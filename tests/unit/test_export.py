"""The check of exported networks, and arguments of ``export_onnx.py``; nothing is exported."""

import cv2
import pytest
import torch
from helpers.exports import NETWORKS, PSP, SMALL, build, config_of
from helpers.pairs import photo
from helpers.programs import DEMO, load_tool
from mmengine.config import Config
from mmseg.registry import MODELS

from pspnet_plugin.apis.export.comparison import Difference, compare
from pspnet_plugin.apis.export.deployed_network import DeployedNetwork

tool = load_tool('deployment/export_onnx.py')


def test_a_network_that_would_pad_other_sizes_passes_at_one_that_it_does_not():
    config = config_of(SMALL, dict(PSP, in_channels=24, in_index=1))
    config['data_preprocessor']['test_cfg'] = dict(size_divisor=32)
    model = build(config)
    network = DeployedNetwork(model, normalize=True)
    assert compare(network, model, (1, 64, 96), normalize=True, order='RGB').passes()


def test_another_channel_order_or_normalisation_does_not_pass():
    model = build(NETWORKS['ours'])
    run = DeployedNetwork(model, normalize=True)
    wanted = dict(shape=(1, 64, 96), normalize=True)
    assert compare(run, model, order='RGB', **wanted).passes()
    assert not compare(run, model, order='BGR', **wanted).passes()
    assert not compare(run, model, order='RGB', shape=(1, 64, 96), normalize=False).passes()
    assert not Difference((1, 3, 8, 8), float('nan'), 1.0, 1.0).passes()
    assert not Difference((1, 3, 8, 8), 0.0, 1.0, 0.998).passes()


def test_more_classes_than_a_label_map_holds_are_refused():
    with pytest.raises(ValueError, match='300'):
        DeployedNetwork(build(config_of(head=dict(PSP, num_classes=300))), normalize=True)


OPTIONS = {
    'size': (['--size', '64'], 'HEIGHTxWIDTH'),
    'size 0': (['--size', '0x64'], 'HEIGHTxWIDTH'),
    'opset': (['--opset', '9'], '18'),
    'suffix': (['--format', 'torch_export'], '.pt2'),
    'dynamic trace': (['--format', 'torchscript', '--dynamic'], '--dynamic'),
    'half a trace': (['--format', 'torchscript', '--half'], '--half'),
    'quantised trace': (['--format', 'torchscript', '--quantize', '.'], '--quantize'),
    'halves of int8': (['--quantize', '.', '--half'], '--half'),
    'pairs of nothing': (['--pairs'], '--quantize'),
    'no directory': (['--quantize', 'missing'], 'missing does not exist'),
    'no size': (
        ['--cfg-options', 'model.data_preprocessor.size=None', 'data_preprocessor.size=None',
         'crop_size=None'],
        '--size',
    ),
    'padding': (
        ['--size', '65x64', '--cfg-options', 'model.data_preprocessor.test_cfg.size_divisor=32'],
        'size_divisor',
    ),
    'window': (['--cfg-options', 'model.test_cfg.mode=slide'], 'model.test_cfg.mode=whole'),
}  # fmt: skip


@pytest.mark.parametrize('name', OPTIONS)
def test_an_option_that_cannot_be_used_is_named(name, tmp_path, capsys, checkpoint):
    options, value = OPTIONS[name]
    out = tmp_path / ('net.pt' if 'torchscript' in options else 'net.onnx')
    try:
        status = tool.main([str(DEMO), str(checkpoint), str(out), *options])
    except SystemExit as ended:
        status = ended.code
    assert status == 2 and value in capsys.readouterr().err.splitlines()[-1]
    assert not out.exists()


def test_a_calibration_takes_twenty_photos_and_more(tmp_path, capsys, checkpoint):
    arguments = [str(DEMO), str(checkpoint), str(tmp_path / 'net.onnx'), '--quantize']
    (tmp_path / 'photos').mkdir()
    assert tool.main([*arguments, str(tmp_path / 'photos')]) == 2
    assert 'holds no photo' in capsys.readouterr().err.splitlines()[-1]
    for index in range(19):
        cv2.imwrite(str(tmp_path / f'photos/{index}.png'), photo(64, 64, seed=index))
    assert tool.main([*arguments, str(tmp_path / 'photos')]) == 2
    assert 'holds 19 photos; give 20' in capsys.readouterr().err.splitlines()[-1]
    assert not (tmp_path / 'net.onnx').exists()


@pytest.fixture(scope='module')
def checkpoint(tmp_path_factory):
    """Weights that fit the demo's config."""
    path = tmp_path_factory.mktemp('weights') / 'demo.pth'
    torch.save(dict(state_dict=MODELS.build(Config.fromfile(DEMO).model).state_dict()), path)
    return path
