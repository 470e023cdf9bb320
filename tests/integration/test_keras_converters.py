"""Keras files become checkpoints and back, in every format; what does not fit is named."""

import json
import os
import subprocess
import sys
import zipfile
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


@pytest.fixture
def work_dir(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """The current directory, empty."""
    monkeypatch.chdir(tmp_path)
    return tmp_path


def save(model: keras.Model, path: Path) -> None:
    (model.save_weights if 'weights' in path.name else model.save)(path)


@pytest.mark.parametrize('name', FORMATS)
def test_the_way_there_and_back_changes_nothing(name, files, model, tmp_path, capsys):
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
    other = build_keras((32, 48))
    if 'weights' in name:
        other.load_weights(back)
    else:
        other = keras.models.load_model(back)
    compared = 0
    for layer in (layer for layer in model.layers if layer.weights):
        found = other.get_layer(layer.name).get_weights()
        for ours, theirs in zip(found, layer.get_weights(), strict=True):
            np.testing.assert_array_equal(ours, theirs)
            compared += 1
    assert compared > 80
    assert sorted(p.name for p in tmp_path.rglob('*') if p.is_file()) == ['article.pth', name]


@pytest.mark.parametrize('name', FORMATS)
def test_layers_without_the_article_s_names_match_in_the_order_of_creation(name, files, tmp_path):
    def without_name(layer: keras.Layer) -> keras.Layer:
        return type(layer).from_config({k: v for k, v in layer.get_config().items() if k != 'name'})

    source = build_keras((32, 48))
    source.load_weights(files / 'model.weights.h5')
    unnamed = keras.models.clone_model(source, clone_function=without_name)
    unnamed.set_weights(source.get_weights())
    assert not {layer.name for layer in unnamed.layers} & {'block_1_a', 'red_1_by_1'}
    save(unnamed, tmp_path / name)
    if 'weights' in name:  # early Keras 3 wrote no names at all
        with h5py.File(tmp_path / name, 'r+') as file:
            file.visititems(lambda _, item: item.attrs.pop('name', None) and None)
        names = [layer.name for layer in read_keras(tmp_path / name)]
        assert names[:2] == ['batch_normalization', 'batch_normalization_1']
    states = []
    for path in (files / name, tmp_path / name):
        assert to_mmseg([str(path), str(tmp_path / 'out.pth')]) == 0
        states.append(torch.load(tmp_path / 'out.pth', weights_only=False)['state_dict'])
    assert states[0].keys() == states[1].keys()
    assert all(torch.equal(states[0][key], states[1][key]) for key in states[0])


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
    arguments = ['keras_to_mmseg', str(files / 'model.keras'), str(tmp_path / 'out.pth')]
    code = (
        'import runpy, sys\n'
        'sys.modules["keras"] = sys.modules["tensorflow"] = None\n'
        f'sys.argv = {arguments}\n'
        f'runpy.run_path({str(ROOT / "tools" / TO_MMSEG)!r}, run_name="__main__")'
    )
    done = subprocess.run([sys.executable, '-c', code], capture_output=True, text=True)
    assert done.returncode == 0, done.stderr
    assert (tmp_path / 'out.pth').is_file()


def replace(file: h5py.File, place: str, array: np.ndarray) -> None:
    file.pop(place, None)
    file[place] = array


MISFITS = {
    'shape': (
        lambda file: replace(file, 'layers/conv2d_5/vars/0', np.zeros((3, 3, 64, 32))),
        ['block_2_b', '(3, 3, 64, 32), (64,)', '(3, 3, 64, 64), (64,)', 'stages.1.0.conv2'],
    ),
    'missing': (lambda file: file.pop('layers/conv2d_16'), ['last_conv_3_by_3', '--config']),
    'superfluous': (lambda file: replace(file, 'layers/extra/vars/0', np.ones(2)), ['extra']),
    'integers': (
        lambda file: replace(file, 'layers/conv2d/vars/1', np.ones(32, int)),
        ['conv2d/vars/1', 'int64'],
    ),
    'empty': (lambda file: file.pop('layers'), []),
}


@pytest.mark.parametrize('what', MISFITS)
def test_a_layer_that_does_not_fit_is_named(what, files, tmp_path, capsys):
    change, words = MISFITS[what]
    path = tmp_path / 'edited.weights.h5'
    path.write_bytes((files / 'model.weights.h5').read_bytes())
    with h5py.File(path, 'r+') as file:
        change(file)
    assert to_mmseg([str(path), str(tmp_path / 'out.pth')]) == 2
    output = capsys.readouterr().err
    assert output.count('\n') == 1
    assert [word for word in [str(path), *words] if word not in output] == []
    assert not (tmp_path / 'out.pth').exists()


@pytest.mark.parametrize(
    ('layer', 'key', 'value'),
    [('block_1_batch_norm_b', 'epsilon', 1e-5), ('block_1_b', 'dilation_rate', [4, 4])],
)
def test_an_argument_that_differs_is_named(layer, key, value, files, tmp_path, capsys):
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
    assert to_mmseg([str(path), str(tmp_path / 'out.pth')]) == 2
    output = capsys.readouterr().err
    assert f'{layer} ' in output and f'{key}={value}' in output


@pytest.mark.parametrize('kind', ['cut', 'text', 'zip', 'missing', 'folder'])
def test_a_file_in_another_format_is_named(kind, files, tmp_path, capsys):
    path = tmp_path / 'bad.h5'
    if kind == 'folder':
        path.mkdir()
    elif kind == 'zip':
        with zipfile.ZipFile(path, 'w') as archive:
            archive.writestr('a', 'b')
    elif kind != 'missing':
        cut = (files / 'model.h5').read_bytes()[:50_000]
        path.write_bytes(cut if kind == 'cut' else b'weights')
    assert to_mmseg([str(path), str(tmp_path / 'out.pth')]) == 2
    output = capsys.readouterr().err
    assert str(path) in output and output.count('\n') == 1


IN, OUT = '{}/model.keras', 'out.keras'
OPTION = [OUT, '--cfg-options']


@pytest.mark.parametrize(
    ('program', 'arguments', 'words'),
    [
        (to_mmseg, [IN, 'out.h5'], ['out.h5', '.pth']),
        (to_mmseg, [IN, 'out.pth', '--config', 'nope.py'], ['nope.py']),
        (to_mmseg, [IN, 'out.pth', '--config', 'configs/psp_small_cityscapes_pairs.py'],
         ['FastPSPHead']),
        (to_mmseg, [IN, 'out.pth', '--config', 'configs/psp_article_cityscapes_pairs.py'],
         ['last_conv_3_by_3_batch_norm']),
        (to_keras, ['out.pkl'], ['out.pkl', '.weights.h5', '.keras']),
        (to_keras, [OUT, '--size', '30x30'], ['[4, 8]', '30x30']),
        (to_keras, [*OPTION, 'model.backbone.dilations=[2,2,4]'],
         ['block_3_b', 'dilation_rate', '(4, 4)']),
        (to_keras, [*OPTION, 'model.decode_head.type=WindowPSPHead'], [str(CONFIG)]),
        (to_keras, [*OPTION, 'model.backbone.act_cfg.type=ReLU'], ['LeakyReLU(0.2)']),
        (to_keras, [*OPTION, 'model.decode_head.align_corners=True'], ['align_corners']),
        (to_keras, [*OPTION, 'model.decode_head.act_cfg.type=ReLU'], ['act_cfg']),
    ],
    ids=['name', 'config', 'head', 'output', 'name back', 'size', 'dilation', 'head back',
         'activation', 'corners', 'levels'],
)  # fmt: skip
def test_an_unusable_argument_is_named(program, arguments, words, files, work_dir, capsys):
    if program is to_keras:
        assert to_mmseg([str(files / 'model.keras'), 'a.pth']) == 0
        arguments = ['a.pth', *arguments]
    before = [*work_dir.iterdir()]
    assert program([argument.format(files) for argument in arguments]) == 2
    output = capsys.readouterr().err
    assert [word for word in words if word not in output] == []
    assert [*work_dir.iterdir()] == before
