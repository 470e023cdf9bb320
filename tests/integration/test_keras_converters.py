"""Keras files become checkpoints and back, in every format; what does not fit is named."""

import json
import os
import shutil
import subprocess
import sys
import zipfile
from collections.abc import Callable
from pathlib import Path

import h5py
import numpy as np
import pytest
import torch
from helpers.pairs import CITYSCAPES, ROOT
from helpers.programs import load_tool
from mmengine.config import Config
from mmengine.runner import load_checkpoint
from mmseg.apis import init_model
from mmseg.registry import MODELS

os.environ['KERAS_BACKEND'] = 'torch'

import keras  # noqa: E402

from pspnet_plugin.toolkit.keras.files import read_keras  # noqa: E402
from pspnet_plugin.toolkit.keras.model import build_keras  # noqa: E402

CONFIG = ROOT / 'configs/psp_article-rgb_cityscapes_pairs.py'
TO_MMSEG = 'model_converters/keras_to_mmseg.py'
to_mmseg = load_tool(TO_MMSEG).main
to_keras = load_tool('model_converters/mmseg_to_keras.py').main
FORMATS = ('model.keras', 'model.h5', 'model.weights.h5')


@pytest.fixture(scope='module')
def model() -> keras.Model:
    """The article's Keras model; all of its arrays differ."""
    built = build_keras((32, 48))
    rng = np.random.default_rng(0)
    for layer in built.layers:
        layer.set_weights([rng.uniform(0.5, 1.5, w.shape) for w in layer.get_weights()])
    return built


@pytest.fixture(scope='module')
def files(model: keras.Model, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A directory with the model in each format."""
    folder = tmp_path_factory.mktemp('keras')
    for name in FORMATS:
        save(model, folder / name)
    return folder


@pytest.fixture(scope='module')
def checkpoint(files: Path) -> Path:
    """The model as a checkpoint."""
    assert to_mmseg([str(files / 'model.keras'), str(files / 'article.pth')]) == 0
    return files / 'article.pth'


@pytest.fixture
def refused(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys):
    """Run a program that must write a line to stderr, no file and exit with 2; return the line."""
    monkeypatch.chdir(tmp_path)

    def run(program: Callable, *arguments: object) -> str:
        before = [*tmp_path.iterdir()]
        assert program([str(argument) for argument in arguments]) == 2
        assert [*tmp_path.iterdir()] == before
        output = capsys.readouterr().err
        assert output.count('\n') == 1
        return output

    return run


def save(model: keras.Model, path: Path) -> None:
    (model.save_weights if 'weights' in path.name else model.save)(path)


@pytest.mark.parametrize('name', FORMATS)
def test_a_round_trip_changes_nothing(name, files, model, tmp_path, capsys):
    checkpoint = tmp_path / 'made' / 'article.pth'
    assert to_mmseg([str(files / name), str(checkpoint)]) == 0
    output = capsys.readouterr().out
    assert len([line for line in output.splitlines() if ' decode_head.' in line]) == 6
    assert '30 layers' in output and '713,839' in output
    assert 'yellow_1_by_1' in output and 'decode_head.levels.1.conv' in output
    network = MODELS.build(Config.fromfile(CONFIG).model)
    load_checkpoint(network, str(checkpoint), strict=True)
    meta = init_model(str(CONFIG), str(checkpoint), device='cpu').dataset_meta
    assert list(meta['classes']) == list(CITYSCAPES['classes'])
    back = tmp_path / name
    assert to_keras([str(checkpoint), str(back), '--size', '32x48']) == 0
    if 'weights' in name:
        other = build_keras((32, 48))
        other.load_weights(back)
    else:
        other = keras.models.load_model(back)
    found, expected = (
        {layer.name: layer.get_weights() for layer in m.layers if layer.weights}
        for m in (other, model)
    )
    assert len(expected) == 30
    np.testing.assert_equal(found, expected)
    assert sorted(p.name for p in tmp_path.rglob('*') if p.is_file()) == ['article.pth', name]


@pytest.mark.parametrize('name', FORMATS)
def test_layers_without_names_match_in_the_order_of_creation(name, model, checkpoint, tmp_path):
    def without_name(layer: keras.Layer) -> keras.Layer:
        return type(layer).from_config({k: v for k, v in layer.get_config().items() if k != 'name'})

    unnamed = keras.models.clone_model(model, clone_function=without_name)
    unnamed.set_weights(model.get_weights())
    assert not {layer.name for layer in unnamed.layers} & {'block_1_a', 'red_1_by_1'}
    save(unnamed, tmp_path / name)
    if 'weights' in name:  # early Keras 3 wrote no names at all
        with h5py.File(tmp_path / name, 'r+') as file:
            file.visititems(lambda _, item: item.attrs.pop('name', None) and None)
        names = [layer.name for layer in read_keras(tmp_path / name)]
        assert names[:2] == ['batch_normalization', 'batch_normalization_1']
    assert to_mmseg([str(tmp_path / name), str(tmp_path / 'out.pth')]) == 0
    found, expected = (
        torch.load(path, weights_only=False)['state_dict']
        for path in (tmp_path / 'out.pth', checkpoint)
    )
    assert found.keys() == expected.keys()
    assert all(torch.equal(found[key], expected[key]) for key in found)


def test_weights_that_keras_2_saved_are_read(model, tmp_path):
    """``save_weights`` of Keras 2 puts the layers at the top of the file, with names as bytes."""
    path = tmp_path / 'weights.h5'
    with h5py.File(path, 'w') as file:
        file.attrs['layer_names'] = [layer.name.encode() for layer in model.layers]
        for layer in model.layers:
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
        'sys.argv = sys.argv[1:]\n'
        'runpy.run_path(sys.argv[0], run_name="__main__")'
    )
    words = [ROOT / 'tools' / TO_MMSEG, files / 'model.keras', tmp_path / 'out.pth']
    subprocess.run([sys.executable, '-c', code, *words], check=True)
    assert (tmp_path / 'out.pth').is_file()


def replace(file: h5py.File, place: str, array: np.ndarray) -> None:
    file.pop(place, None)
    file[place] = array


@pytest.mark.parametrize(
    ('change', 'words'),
    [
        (lambda file: replace(file, 'layers/conv2d_5/vars/0', np.zeros((3, 3, 64, 32))),
         ['block_2_b', '(3, 3, 64, 32), (64,)', '(3, 3, 64, 64), (64,)', 'stages.1.0.conv2']),
        (lambda file: file.pop('layers/conv2d_16'), ['last_conv_3_by_3', '--config']),
        (lambda file: replace(file, 'layers/extra/vars/0', np.ones(2)), ['extra']),
        (lambda file: replace(file, 'layers/conv2d/vars/1', np.ones(32, int)),
         ['conv2d/vars/1', 'int64']),
        (lambda file: file.pop('layers'), []),
    ],
    ids=['shape', 'missing', 'superfluous', 'integers', 'empty'],
)  # fmt: skip
def test_a_layer_that_does_not_fit_is_named(change, words, files, tmp_path, refused):
    path = tmp_path / 'edited.weights.h5'
    shutil.copy(files / 'model.weights.h5', path)
    with h5py.File(path, 'r+') as file:
        change(file)
    output = refused(to_mmseg, path, 'out.pth')
    assert [word for word in [str(path), *words] if word not in output] == []


@pytest.mark.parametrize(
    ('layer', 'key', 'value'),
    [('block_1_batch_norm_b', 'epsilon', 1e-5), ('block_1_b', 'dilation_rate', [4, 4])],
)
def test_an_argument_that_differs_is_named(layer, key, value, files, tmp_path, refused):
    path = tmp_path / 'other.keras'
    with zipfile.ZipFile(files / 'model.keras') as old, zipfile.ZipFile(path, 'w') as new:
        for name in old.namelist():
            content = old.read(name)
            if name == 'config.json':
                config = json.loads(content)
                (found,) = (one for one in config['config']['layers'] if one['name'] == layer)
                found['config'][key] = value
                content = json.dumps(config).encode()
            new.writestr(name, content)
    output = refused(to_mmseg, path, 'out.pth')
    assert f'{layer} ' in output and f'{key}={value}' in output


@pytest.mark.parametrize('kind', ['cut', 'text', 'zip', 'missing', 'folder'])
def test_a_file_in_another_format_is_named(kind, files, tmp_path, refused):
    path = tmp_path / 'bad.h5'
    cut, empty_zip = (files / 'model.h5').read_bytes()[:50_000], b'PK\5\6' + bytes(18)
    contents = dict(cut=cut, text=b'weights', zip=empty_zip)
    if kind == 'folder':
        path.mkdir()
    elif kind in contents:
        path.write_bytes(contents[kind])
    assert str(path) in refused(to_mmseg, path, 'out.pth')


@pytest.mark.parametrize(
    ('program', 'arguments', 'words'),
    [
        (to_mmseg, 'out.h5', ['out.h5', '.pth']),
        (to_mmseg, 'out.pth --config nope.py', ['nope.py']),
        (to_mmseg, 'out.pth --config configs/psp_small_cityscapes_pairs.py', ['FastPSPHead']),
        (to_mmseg, 'out.pth --config configs/psp_article_cityscapes_pairs.py',
         ['last_conv_3_by_3_batch_norm']),
        (to_keras, 'out.pkl', ['out.pkl', '.weights.h5', '.keras']),
        (to_keras, 'out.keras --size 30x30', ['[4, 8]', '30x30']),
        (to_keras, 'out.keras --cfg-options model.backbone.dilations=[2,2,4]',
         ['block_3_b', 'dilation_rate', '(4, 4)']),
        (to_keras, 'out.keras --cfg-options model.decode_head.type=WindowPSPHead', [str(CONFIG)]),
        (to_keras, 'out.keras --cfg-options model.backbone.act_cfg.type=ReLU', ['LeakyReLU(0.2)']),
        (to_keras, 'out.keras --cfg-options model.decode_head.align_corners=True',
         ['align_corners']),
        (to_keras, 'out.keras --cfg-options model.decode_head.act_cfg.type=ReLU', ['act_cfg']),
    ],
)  # fmt: skip
def test_an_unusable_argument_is_named(program, arguments, words, files, checkpoint, refused):
    source = files / 'model.keras' if program is to_mmseg else checkpoint
    output = refused(program, source, *arguments.split())
    assert [word for word in words if word not in output] == []
