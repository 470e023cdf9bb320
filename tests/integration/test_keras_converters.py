"""Keras files to checkpoints and back: every kind of file, and what is wrong with one."""

import json
import os
import subprocess
import sys
import zipfile

import h5py
import numpy as np
import pytest
import torch
from helpers.pairs import CITYSCAPES, ROOT
from helpers.programs import load_tool, run_tool
from mmengine.config import Config
from mmengine.runner import load_checkpoint
from mmseg.apis import init_model
from mmseg.registry import MODELS

os.environ['KERAS_BACKEND'] = 'torch'

import keras  # noqa: E402

from pspnet_plugin.toolkit.keras.files import read_keras  # noqa: E402
from pspnet_plugin.toolkit.keras.model import build_keras  # noqa: E402

CONFIG = ROOT / 'configs/psp_article-rgb_cityscapes_pairs.py'
TO_MMSEG = ROOT / 'tools/model_converters/keras_to_mmseg.py'
to_mmseg = load_tool('model_converters/keras_to_mmseg.py').main
to_keras = load_tool('model_converters/mmseg_to_keras.py').main
KINDS = ('whole.keras', 'whole.h5', 'some.weights.h5')


@pytest.fixture(scope='module')
def model():
    """The article's Keras model; no two of its arrays are alike."""
    built = build_keras((32, 48))
    rng = np.random.default_rng(0)
    for layer in built.layers:
        layer.set_weights([rng.uniform(0.5, 1.5, w.shape) for w in layer.get_weights()])
    return built


@pytest.fixture(scope='module')
def files(model, tmp_path_factory):
    """The model in each kind of file."""
    folder = tmp_path_factory.mktemp('keras')
    for name in KINDS:
        (model.save_weights if 'weights' in name else model.save)(folder / name)
    return folder


@pytest.mark.parametrize('kind', KINDS)
def test_there_and_back_is_the_same(kind, files, model, tmp_path, capsys):
    checkpoint = tmp_path / 'made' / 'article.pth'
    assert to_mmseg([str(files / kind), str(checkpoint)]) == 0
    said = capsys.readouterr().out
    assert len([line for line in said.splitlines() if ' decode_head.' in line]) == 6
    assert said.endswith('30 layers, 713,839 parameters\n')
    assert 'yellow_1_by_1' in said and 'decode_head.levels.1.conv' in said
    network = MODELS.build(Config.fromfile(CONFIG).model)
    load_checkpoint(network, str(checkpoint), strict=True)
    meta = init_model(str(CONFIG), str(checkpoint), device='cpu').dataset_meta
    assert list(meta['classes']) == list(CITYSCAPES['classes'])
    back = tmp_path / kind
    assert to_keras([str(checkpoint), str(back), '--size', '32x48']) == 0
    other = build_keras((32, 48))
    if kind.startswith('whole'):
        other = keras.models.load_model(back)
    else:
        other.load_weights(back)
    for layer in (layer for layer in model.layers if layer.weights):
        for ours, theirs in zip(
            other.get_layer(layer.name).get_weights(), layer.get_weights(), strict=True
        ):
            np.testing.assert_array_equal(ours, theirs)
    assert sorted(p.name for p in tmp_path.rglob('*') if p.is_file()) == ['article.pth', kind]


@pytest.mark.parametrize('kind', KINDS)
def test_unnamed_layers_are_taken_in_the_order_of_creation(kind, files, tmp_path, capsys):
    """As of a model that was written without the article's names."""
    assert to_mmseg([str(files / kind), str(tmp_path / 'named.pth')]) == 0
    source = build_keras((32, 48))
    source.load_weights(files / 'some.weights.h5')
    unnamed = keras.models.clone_model(source, clone_function=_without_name)
    unnamed.set_weights(source.get_weights())
    assert not {layer.name for layer in unnamed.layers} & {'block_1_a', 'red_1_by_1'}
    path = tmp_path / kind
    (unnamed.save_weights if 'weights' in kind else unnamed.save)(path)
    assert to_mmseg([str(path), str(tmp_path / 'unnamed.pth')]) == 0
    named, other = (
        torch.load(tmp_path / f'{name}.pth', weights_only=False)['state_dict']
        for name in ('named', 'unnamed')
    )
    assert named.keys() == other.keys()
    assert all(torch.equal(named[key], other[key]) for key in named)


def _without_name(layer):
    config = layer.get_config()
    del config['name']
    return type(layer).from_config(config)


def test_files_without_names_of_layers(files, tmp_path):
    """As earlier releases of Keras 3 wrote them."""
    bare = tmp_path / 'bare.weights.h5'
    bare.write_bytes((files / 'some.weights.h5').read_bytes())
    removed = []
    with h5py.File(bare, 'r+') as file:
        file.visititems(
            lambda place, item: (
                removed.append(item.attrs.pop('name', None))
                if place.endswith('vars') and 'name' in item.attrs
                else None
            )
        )
    assert len(removed) > 30
    first, second = read_keras(files / 'some.weights.h5'), read_keras(bare)
    assert [layer.shapes for layer in first] == [layer.shapes for layer in second]
    assert [layer.name for layer in second][:2] == ['batch_normalization', 'batch_normalization_1']
    assert to_mmseg([str(bare), str(tmp_path / 'bare.pth')]) == 0


def test_weights_that_keras_2_saved(model, tmp_path):
    """``save_weights`` of Keras 2: the layers at the top of the file, names as bytes."""
    path = tmp_path / 'weights.h5'
    with h5py.File(path, 'w') as file:
        layers = [layer for layer in model.layers]
        file.attrs['layer_names'] = [layer.name.encode() for layer in layers]
        for layer in layers:
            group = file.create_group(layer.name)
            names = [f'{layer.name}/{w.name}:0' for w in layer.weights]
            group.attrs['weight_names'] = [name.encode() for name in names]
            for name, weight in zip(names, layer.get_weights(), strict=True):
                group[name] = weight
    assert to_mmseg([str(path), str(tmp_path / 'out.pth')]) == 0


def test_reading_needs_neither_keras_nor_tensorflow(files, tmp_path):
    code = (
        'import runpy, sys\n'
        'sys.modules["keras"] = sys.modules["tensorflow"] = None\n'
        f'sys.argv = ["keras_to_mmseg", {str(files / "whole.keras")!r}, '
        f'{str(tmp_path / "out.pth")!r}]\n'
        f'runpy.run_path({str(TO_MMSEG)!r}, run_name="__main__")'
    )
    done = subprocess.run([sys.executable, '-c', code], capture_output=True, text=True)
    assert done.returncode == 0, done.stderr
    assert (tmp_path / 'out.pth').is_file()


def test_the_command_runs(files, tmp_path):
    said = run_tool(TO_MMSEG, files / 'whole.keras', tmp_path / 'out.pth')
    assert '30 layers' in said


def edited(files, tmp_path, change):
    """A copy of the weights after ``change`` of the open file."""
    path = tmp_path / 'edited.weights.h5'
    path.write_bytes((files / 'some.weights.h5').read_bytes())
    with h5py.File(path, 'r+') as file:
        change(file)
    return path


def reshape(file, place, shape):
    del file[place]
    file[place] = np.zeros(shape, np.float32)


BAD = {
    'shape': (
        lambda file: reshape(file, 'layers/conv2d_5/vars/0', (3, 3, 64, 32)),
        ['layer block_2_b', r'(3, 3, 64, 32), (64,)', 'kernel (3, 3, 64, 64)', 'stages.1.0.conv2'],
    ),
    'no bias': (
        lambda file: file.pop('layers/conv2d_12/vars/1'),
        ['layer red_1_by_1', 'arrays of (1, 1, 256, 64),', 'bias (64,)'],
    ),
    'missing': (
        lambda file: file.pop('layers/conv2d_16'),
        ['of another network: it lacks last_conv_3_by_3', '--config'],
    ),
    'left over': (
        lambda file: file.create_group('layers/extra/vars').create_dataset('0', data=np.ones(2.0)),
        ['it also has extra'],
    ),
    'integers': (
        lambda file: (
            file.pop('layers/conv2d/vars/1'),
            file.create_dataset('layers/conv2d/vars/1', data=np.ones(32, int)),
        ),
        ['int64 values, expected floats'],
    ),
    'empty': (lambda file: file.pop('layers'), ['holds no layer with weights']),
}


@pytest.mark.parametrize('what', BAD)
def test_what_does_not_fit_is_named(what, files, tmp_path, capsys):
    change, words = BAD[what]
    if what == 'left over':
        change = lambda file: file.create_dataset('layers/extra/vars/0', data=np.ones(2))  # noqa: E731
    path = edited(files, tmp_path, change)
    assert to_mmseg([str(path), str(tmp_path / 'out.pth')]) == 2
    said = capsys.readouterr().err
    assert said.startswith('keras_to_mmseg: ') and said.count('\n') == 1
    assert str(path) in said
    for word in words:
        assert word in said
    assert not (tmp_path / 'out.pth').exists()


@pytest.mark.parametrize('key', ['epsilon', 'dilation_rate'])
def test_constants_that_differ_are_named(key, files, tmp_path, capsys):
    """A file of a whole model says more than its arrays do."""
    path = tmp_path / 'other.keras'
    layer = dict(epsilon='block_1_batch_norm_b', dilation_rate='block_1_b')[key]
    with zipfile.ZipFile(files / 'whole.keras') as old, zipfile.ZipFile(path, 'w') as new:
        for name in old.namelist():
            content = old.read(name)
            if name == 'config.json':
                config = json.loads(content)
                (found,) = (one for one in config['config']['layers'] if one['name'] == layer)
                found['config'][key] = dict(epsilon=1e-5, dilation_rate=[4, 4])[key]
                content = json.dumps(config)
            new.writestr(name, content)
    assert to_mmseg([str(path), str(tmp_path / 'out.pth')]) == 2
    assert f'layer {layer} has {key}=' in capsys.readouterr().err


@pytest.mark.parametrize('kind', ['cut', 'empty', 'text', 'zip', 'missing', 'folder'])
def test_files_that_are_none_are_named(kind, files, tmp_path, capsys):
    path = tmp_path / 'bad.h5'
    if kind == 'cut':
        path.write_bytes((files / 'whole.h5').read_bytes()[:50_000])
    elif kind == 'empty':
        path.write_bytes(b'')
    elif kind == 'text':
        path.write_text('weights')
    elif kind == 'zip':
        with zipfile.ZipFile(path, 'w') as archive:
            archive.writestr('a', 'b')
    elif kind == 'folder':
        path.mkdir()
    assert to_mmseg([str(path), str(tmp_path / 'out.pth')]) == 2
    said = capsys.readouterr().err
    assert str(path) in said and '.keras' in said or 'does not exist' in said
    assert said.count('\n') == 1


@pytest.mark.parametrize(
    ('arguments', 'words'),
    [
        (['{file}', 'out.h5'], 'ends in .pth'),
        (['{file}', 'out.pth', '--config', 'nope.py'], 'nope.py'),
        (['{file}', 'out.pth', '--config', 'configs/psp_cityscapes_pairs.py'],
         'DilatedResidualNet under a FastPSPHead'),
        (['{file}', 'out.pth', '--config', 'configs/psp_article_cityscapes_pairs.py'],
         'last_conv_3_by_3_batch_norm'),
    ],
    ids=['name', 'config', 'other head', 'other output'],
)  # fmt: skip
def test_bad_arguments_are_named(arguments, words, files, tmp_path, capsys, monkeypatch):
    monkeypatch.chdir(tmp_path)
    whole = str(files / 'whole.keras')
    assert to_mmseg([argument.format(file=whole) for argument in arguments]) == 2
    assert words in capsys.readouterr().err
    assert not list(tmp_path.iterdir())


@pytest.mark.parametrize(
    ('arguments', 'words'),
    [
        (['out.pkl'], 'ends in .weights.h5, .keras, .h5'),
        (['out.keras', '--size', '30x30'], 'windows of [4, 8] do not divide pictures of 30x30'),
        (['out.keras', '--cfg-options', 'model.backbone.dilations=[2,2,4]'], 'stride and dilation'),
        (['out.keras', '--cfg-options', 'model.decode_head.type=WindowPSPHead'], 'cannot be built'),
        (['out.keras', '--cfg-options', 'model.backbone.act_cfg.type=ReLU'], 'LeakyReLU(0.2)'),
        (['out.keras', '--cfg-options', 'model.decode_head.align_corners=True'], 'align_corners'),
        (['out.keras', '--cfg-options', 'model.decode_head.act_cfg.type=ReLU'], 'an activation'),
    ],
    ids=['name', 'size', 'dilation', 'head', 'activation', 'corners', 'levels'],
)
def test_the_way_back_names_what_is_wrong(arguments, words, files, tmp_path, capsys, monkeypatch):
    monkeypatch.chdir(tmp_path)
    assert to_mmseg([str(files / 'whole.keras'), 'a.pth']) == 0
    assert to_keras(['a.pth', *arguments]) == 2
    assert words in capsys.readouterr().err
    assert [path.name for path in tmp_path.iterdir()] == ['a.pth']
