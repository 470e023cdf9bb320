"""What the deployment tools say when something is wrong: one line that helps, and no half file."""

import json

import cv2
import numpy as np
import onnx
import pytest
import torch
from helpers.pairs import CITYSCAPES, photo
from helpers.programs import DEMO, load_tool
from mmengine.config import Config
from mmseg.registry import MODELS
from onnx import TensorProto, helper

export_tool = load_tool('deployment/export_onnx.py')
predict_tool = load_tool('deployment/predict_onnx.py')


def run(tool, capsys, *arguments, status=2) -> str:
    """The last line that a tool says on stderr."""
    capsys.readouterr()
    try:
        found = tool.main([str(argument) for argument in arguments])
    except SystemExit as stopped:
        found = stopped.code
    said = capsys.readouterr().err
    assert found == status, said
    assert 'Traceback' not in said
    return said.strip().splitlines()[-1] if said.strip() else ''


@pytest.fixture
def state():
    """Weights of the demo's network."""
    return MODELS.build(Config.fromfile(DEMO).model).state_dict()


@pytest.fixture
def checkpoint(tmp_path, state):
    """Fits the demo's config."""
    torch.save(dict(state_dict=state, meta={}), tmp_path / 'demo.pth')
    return tmp_path / 'demo.pth'


def test_checkpoint_that_does_not_fit_is_named_with_its_keys(tmp_path, capsys, state):
    out, path = tmp_path / 'net.onnx', tmp_path / 'other.pth'
    some = {key: value for key, value in state.items() if 'bottleneck' not in key}
    torch.save(dict(state_dict={**some, 'head.extra': torch.zeros(1)}), path)
    said = run(export_tool, capsys, DEMO, path, out)
    assert str(path) in said and 'psp_demo.py' in said
    assert 'missing: decode_head.bottleneck' in said and 'and 1 more' in said
    assert 'unexpected: head.extra' in said
    torch.save({**state, 'decode_head.conv_seg.bias': torch.zeros(3)}, path)
    said = run(export_tool, capsys, DEMO, path, out)
    assert 'decode_head.conv_seg.bias (3,), not (19,)' in said
    for content in (dict(epoch=3), [1, 2]):
        torch.save(content, path)
        assert 'holds no weights' in run(export_tool, capsys, DEMO, path, out)
    path.write_text('nothing of torch')
    assert f'{path} cannot be read' in run(export_tool, capsys, DEMO, path, out)
    path.unlink()
    assert f'{path} does not exist' in run(export_tool, capsys, DEMO, path, out)
    assert not list(tmp_path.iterdir())


CONFIGS = {
    'syntax': ('model = dict(', 'cannot be read'),
    'fails': ('model = dict(size=1 / 0)', 'cannot be read'),
    'no model': ('x = 1', 'no model'),
    'unknown part': (
        "model = dict(type='EncoderDecoder', backbone=dict(type='Nothing'), decode_head=dict())",
        'cannot be built',
    ),
    'slide': (
        "model = dict(decode_head=dict(), test_cfg=dict(mode='slide'))",
        '--cfg-options model.test_cfg.mode=whole',
    ),
}


@pytest.mark.parametrize('name', CONFIGS)
def test_unusable_config(name, tmp_path, capsys, checkpoint):
    text, wanted = CONFIGS[name]
    path = tmp_path / 'net.py'
    path.write_text(text)
    said = run(export_tool, capsys, path, checkpoint, tmp_path / 'net.onnx')
    assert str(path) in said and wanted in said
    assert not (tmp_path / 'net.onnx').exists()


def test_missing_config(tmp_path, capsys, checkpoint):
    said = run(export_tool, capsys, 'configs/no.py', checkpoint, tmp_path / 'net.onnx')
    assert 'configs/no.py does not exist' in said


OPTIONS = {
    'size': (['--size', '64'], 'expected HEIGHTxWIDTH'),
    'size 0': (['--size', '0x64'], 'expected HEIGHTxWIDTH'),
    'opset': (['--opset', '9'], 'expected 18 to'),
    'suffix': (['--format', 'torch_export'], 'ends in .pt2'),
    'no size': (
        ['--cfg-options', 'model.data_preprocessor.size=None', 'data_preprocessor.size=None',
         'crop_size=None'],
        'give one by --size',
    ),
    'padding': (
        ['--size', '65x64', '--cfg-options', 'model.data_preprocessor.test_cfg.size_divisor=32'],
        'needs no padding',
    ),
}  # fmt: skip


@pytest.mark.parametrize('name', OPTIONS)
def test_unusable_option(name, tmp_path, capsys, checkpoint):
    options, wanted = OPTIONS[name]
    said = run(export_tool, capsys, DEMO, checkpoint, tmp_path / 'net.onnx', *options)
    assert wanted in said
    assert not (tmp_path / 'net.onnx').exists()


def test_a_file_that_fails_the_check_is_not_kept(tmp_path, capsys, checkpoint, monkeypatch):
    """Neither under its name nor as a part; what was there before stays."""
    out = tmp_path / 'net.pt'
    out.write_text('an older one')
    monkeypatch.setattr(
        export_tool,
        'open_exported',
        lambda *_, **__: lambda x: (x[:, 0], x[:, :1].repeat(1, 19, 1, 1)),
    )
    said = run(
        export_tool, capsys, DEMO, checkpoint, out, '--format', 'torchscript', '--size', '64x64',
        status=1,
    )  # fmt: skip
    assert 'another result' in said and 'was not written' in said
    assert out.read_text() == 'an older one'
    assert sorted(path.name for path in tmp_path.iterdir()) == ['demo.pth', 'net.pt']


def small_onnx(path, *, size=('height', 'width'), **changes):
    """A network whose index map is its first channel over 100; no exporter needed."""
    about = dict(
        mean='[0, 0, 0]', std='[1, 1, 1]', classes=json.dumps(list(CITYSCAPES['classes'])),
        palette=json.dumps([list(colour) for colour in CITYSCAPES['palette']]),
        channel_order='RGB', normalization='inside',
    )  # fmt: skip
    nodes = [
        helper.make_node('Gather', ['picture', 'first'], ['channel'], axis=1),
        helper.make_node('Div', ['channel', 'by'], ['index_map']),
    ]
    constants = [
        helper.make_tensor('first', TensorProto.INT64, [], [0]),
        helper.make_tensor('by', TensorProto.UINT8, [], [100]),
    ]
    graph = helper.make_graph(
        nodes, 'small',
        [helper.make_tensor_value_info('picture', TensorProto.UINT8, ['batch', 3, *size])],
        [helper.make_tensor_value_info('index_map', TensorProto.UINT8, ['batch', *size])],
        constants,
    )  # fmt: skip
    model = helper.make_model(graph, opset_imports=[helper.make_opsetid('', 20)], ir_version=9)
    helper.set_model_props(model, {k: v for k, v in {**about, **changes}.items() if v is not None})
    onnx.save(model, path)
    return path


@pytest.fixture
def picture(tmp_path):
    """Of 40 x 60."""
    (tmp_path / 'in').mkdir()
    cv2.imwrite(str(tmp_path / 'in' / 'a.png'), photo(40, 60))
    return tmp_path / 'in' / 'a.png'


@pytest.mark.parametrize('order', ['RGB', 'BGR'])
def test_channel_order_of_the_metadata(order, tmp_path, picture, capsys):
    network = small_onnx(tmp_path / 'net.onnx', channel_order=order)
    run(predict_tool, capsys, network, picture, '--out', tmp_path / 'out', status=0)
    labels = cv2.imread(str(tmp_path / 'out' / 'a.png'), cv2.IMREAD_UNCHANGED)
    channel = photo(40, 60)[..., 2 if order == 'RGB' else 0]
    np.testing.assert_array_equal(labels, channel // 100)


def test_fixed_size_labels_come_back_in_the_photos_size(tmp_path, picture, capsys):
    network = small_onnx(tmp_path / 'net.onnx', size=(20, 30))
    assert predict_tool.main([str(network), str(picture), '--out', str(tmp_path / 'out')]) == 0
    assert '20x30 only' in capsys.readouterr().out
    labels = cv2.imread(str(tmp_path / 'out' / 'a.png'), cv2.IMREAD_UNCHANGED)
    shrunk = cv2.resize(photo(40, 60), (30, 20), interpolation=cv2.INTER_AREA)[..., 2] // 100
    np.testing.assert_array_equal(labels, np.kron(shrunk, np.ones((2, 2), np.uint8)))


def test_predict_names_what_is_wrong(tmp_path, picture, capsys):
    network, out = small_onnx(tmp_path / 'net.onnx'), tmp_path / 'out'

    def said(*arguments):
        return run(predict_tool, capsys, *arguments, '--out', out)

    assert f'{tmp_path / "no.onnx"} does not exist' in said(tmp_path / 'no.onnx', picture)
    assert 'cannot be loaded' in said(picture, picture)
    foreign = small_onnx(tmp_path / 'foreign.onnx', mean=None)
    assert "metadata ('mean')" in said(foreign, picture)
    assert f'{tmp_path / "b.jpg"} does not exist' in said(network, tmp_path / 'b.jpg')
    (tmp_path / 'empty').mkdir()
    assert 'holds no picture' in said(network, tmp_path / 'empty')
    plain = small_onnx(tmp_path / 'plain.onnx', palette='[]')
    assert 'names no colours' in said(plain, picture, '--color')
    twin = picture.with_suffix('.jpg')
    cv2.imwrite(str(twin), photo(8, 8))
    assert 'different folders' in said(network, picture, twin)
    before = picture.read_bytes()
    words = run(predict_tool, capsys, network, picture, '--out', picture.parent)
    assert 'would replace a photo' in words and picture.read_bytes() == before
    assert not out.exists()


def test_out_that_is_a_file(tmp_path, picture, capsys):
    network = small_onnx(tmp_path / 'net.onnx')
    (tmp_path / 'out').write_text('')
    words = run(predict_tool, capsys, network, picture, '--out', tmp_path / 'out')
    assert f'{tmp_path / "out"} is a file' in words
