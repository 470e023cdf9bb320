"""Trained networks by name: their files, what refuses them, and what starts from them."""

import shutil
from pathlib import Path

import cv2
import numpy as np
import pytest
import torch
from helpers.pairs import CITYSCAPES, ROOT
from helpers.programs import load_tool
from mmengine.config import Config
from mmengine.runner import CheckpointLoader
from mmseg.apis import inference_model, init_model
from mmseg.registry import MODELS

from pspnet_plugin import Predictor
from pspnet_plugin.engine import UnsafeCheckpoint, find_network, trained_networks, zoo
from pspnet_plugin.toolkit.synthetic import street_scene
from pspnet_plugin.utils.files import read_checksums, sha256_of

NAMES = list(trained_networks())
NAME = NAMES[0]
FINETUNE = ROOT / 'configs/psp_efficientnet-lite2_finetune_cpu25_cityscapes_pairs.py'


@pytest.fixture
def weights(tmp_path, monkeypatch) -> Path:
    """Weights of a copy of the zoo, to be changed."""
    shutil.copytree(ROOT / 'weights', tmp_path / 'weights')
    shutil.copy(ROOT / 'model-index.yml', tmp_path)
    monkeypatch.setattr(zoo, 'zoo_root', lambda: tmp_path)
    return find_network(NAME).weights


def write_checksum(path: Path) -> None:
    """Write the checksum of a file in place of the others."""
    path.with_name(zoo.CHECKSUMS).write_text(f'{sha256_of(path)}  {path.name}\n')


def test_the_zoo_has_its_files():
    assert zoo.DEFAULT_MODEL in NAMES
    sums = read_checksums(ROOT / 'weights' / zoo.CHECKSUMS)
    assert sums and set(sums) == {
        path.name for path in (ROOT / 'weights').iterdir() if path.suffix in ('.pth', '.onnx')
    }
    for name, digest in sums.items():
        path = ROOT / 'weights' / name
        assert sha256_of(path) == digest and path.stat().st_size <= 10e6
    for config, path in trained_networks().values():
        assert config.is_file()
        state = torch.load(path, weights_only=True)['state_dict']
        for key, tensor in state.items():
            half = tensor.dtype in (torch.float16, torch.int64)  # int64: counts of batches
            assert half or tensor.abs().max() > torch.finfo(torch.float16).max, key


@pytest.mark.parametrize('name', NAMES)
def test_by_name_it_is_the_network_of_its_config_and_file(name):
    config, weights = trained_networks()[name]
    photo = cv2.resize(street_scene(np.random.default_rng(0))[0][..., ::-1], (192, 96))
    reference = init_model(str(config), str(weights), device='cpu')
    expected = inference_model(reference, photo).pred_sem_seg.data[0].numpy()
    predictor = Predictor(name, device='cpu')
    assert (predictor(photo).labels == expected).mean() > 0.999
    assert len(np.unique(expected)) > 1
    assert predictor.classes == list(CITYSCAPES['classes'])


def test_a_changed_byte_is_refused(weights):
    content = bytearray(weights.read_bytes())
    content[len(content) // 2] ^= 1
    weights.write_bytes(content)
    for load in (Predictor, lambda name: CheckpointLoader.load_checkpoint(f'zoo://{name}')):
        with pytest.raises(
            ValueError, match=rf'{weights.name} has the SHA-256 {sha256_of(weights)}'
        ):
            load(NAME)


def test_weights_that_would_run_code_are_refused(weights):
    class Evil:
        def __reduce__(self):
            return exec, ('raise SystemExit',)

    torch.save(dict(state_dict=Evil()), weights)
    write_checksum(weights)
    with pytest.raises(UnsafeCheckpoint):
        CheckpointLoader.load_checkpoint(f'zoo://{NAME}')


def test_unknown_names_and_missing_files_are_named(weights):
    for name in ('psp_unknown', ''):
        with pytest.raises(ValueError, match=f'{name!r}.*{NAME}'):
            find_network(name)
    sums = weights.with_name(zoo.CHECKSUMS)
    text = sums.read_text()
    sums.write_text('\n'.join(line for line in text.splitlines() if weights.name not in line))
    for missing in (lambda: None, sums.unlink):
        missing()
        with pytest.raises(ValueError, match=f'{zoo.CHECKSUMS} has no line for {weights.name}'):
            find_network(NAME)
    sums.write_text(text.replace('  ', ' *') + '\n')  # as sha256sum --binary writes it
    assert find_network(f'zoo://{NAME}') == find_network(NAME)
    weights.unlink()
    with pytest.raises(FileNotFoundError, match=weights.name):
        find_network(NAME)


@pytest.mark.parametrize('content', [b'one', b'a b c', b'\xff\xfe'])
def test_damaged_checksums_are_named(weights, content):
    path = weights.with_name(zoo.CHECKSUMS)
    path.write_bytes(content)
    with pytest.raises(ValueError, match=f'{zoo.CHECKSUMS} has no line.*install the package again'):
        find_network(NAME)


@pytest.mark.parametrize('content', ['Models: [', '[]', 'Models: [{Name: a, Weights: b}]', None])
def test_a_damaged_index_is_named(weights, content):
    path = zoo.zoo_root() / 'model-index.yml'
    path.unlink() if content is None else path.write_text(content)
    with pytest.raises(ValueError, match='model-index.yml cannot be read.*install the package'):
        find_network(NAME)


def test_a_changed_onnx_file_is_refused(weights, tmp_path, capsys):
    path = weights.with_name('psp_efficientnet-lite0.onnx')
    content = bytearray(path.read_bytes())
    content[len(content) // 2] ^= 1
    path.write_bytes(content)
    with pytest.raises(ValueError, match=f'{path} has the SHA-256'):
        Predictor(path)
    photo = tmp_path / 'photo.png'
    cv2.imwrite(str(photo), np.zeros((32, 32, 3), np.uint8))
    tool = load_tool('deployment/predict_onnx.py')
    assert tool.main([str(path), str(photo), '--out', str(tmp_path / 'out')]) == 2
    assert f'{path} is not the file that {path.with_name(zoo.CHECKSUMS)}' in capsys.readouterr().err
    sums = path.with_name(zoo.CHECKSUMS)  # as sha256sum --binary writes it
    sums.write_text(sums.read_text().replace('  ', ' *'))
    assert tool.main([str(path), str(photo), '--out', str(tmp_path / 'out')]) == 2
    shutil.copy(ROOT / 'weights' / path.name, path)
    assert tool.main([str(path), str(photo), '--out', str(tmp_path / 'out')]) == 0
    assert 'non-commercial' in capsys.readouterr().out


def test_weights_without_a_config_are_refused():
    with pytest.raises(ValueError, match='weights alone; give their config first'):
        Predictor('work_dirs/iter_4000.pth')


def test_an_empty_name_is_none(tmp_path, capsys):
    photo = tmp_path / 'photo.png'
    cv2.imwrite(str(photo), np.zeros((32, 32, 3), np.uint8))
    arguments = [str(photo), '--model', '', '--out', str(tmp_path / 'out')]
    assert load_tool('predict.py').main(arguments) == 2
    assert "'' is no trained network" in capsys.readouterr().err


def test_other_classes_start_from_all_but_the_last_layer():
    config = Config.fromfile(FINETUNE)
    config.model.decode_head.update(num_classes=3)
    config.model.decode_head.loss_decode.update(class_weight=None)
    model = MODELS.build(config.model)
    before = {name: tensor.clone() for name, tensor in model.state_dict().items()}
    model.init_weights()
    state = CheckpointLoader.load_checkpoint(f'zoo://{zoo.DEFAULT_MODEL}')['state_dict']
    after = model.state_dict()
    assert after.keys() == state.keys()
    for name, tensor in after.items():
        expected = before[name] if 'conv_seg' in name else state[name].to(tensor.dtype)
        assert torch.equal(tensor, expected), name


def test_tools_take_the_default_or_a_name_and_say_so(tmp_path, capsys):
    cv2.imwrite(str(tmp_path / 'photo.png'), street_scene(np.random.default_rng(0))[0][::4, ::4])
    predict, demo = load_tool('predict.py'), load_tool('web_demo.py')
    photo = [str(tmp_path / 'photo.png'), '--out', str(tmp_path / 'out'), '--save', 'index']
    assert predict.main(photo) == 0 and (tmp_path / 'out/index/photo.png').is_file()
    said = f'{zoo.DEFAULT_MODEL}, trained on'
    assert f'no network is given: {said}' in capsys.readouterr().out
    assert list(demo.open_predictors(demo.parse_args([]))) == [zoo.DEFAULT_MODEL]
    assert f'no network is given: {said}' in capsys.readouterr().out
    named = ['--model', zoo.DEFAULT_MODEL]
    assert predict.main([*photo, *named]) == 0
    assert list(demo.open_predictors(demo.parse_args(named))) == [zoo.DEFAULT_MODEL]
    output = capsys.readouterr().out
    assert output.count(said) == 2 and 'no network' not in output
    for program, words in ((predict, photo), (demo, [])):
        assert program.main([*words, '--model', 'psp_unknown']) == 2
        assert 'psp_unknown' in capsys.readouterr().err


@pytest.mark.parametrize(
    'words', ['--config a.py', '--checkpoint a.pth', '--model A --onnx a.onnx',
              '--model A --config a.py --checkpoint a.pth', '--onnx a.onnx --checkpoint a.pth'],
)  # fmt: skip
def test_half_a_network_is_refused(words, capsys):
    with pytest.raises(SystemExit, match='2'):
        load_tool('predict.py').parse_args(['photo.png', '--out', 'out', *words.split()])
    assert '--config and --checkpoint together' in capsys.readouterr().err
