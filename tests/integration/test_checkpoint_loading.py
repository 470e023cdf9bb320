"""No checkpoint runs code, by whatever function it is loaded; damaged ones are named."""

import functools
import http.server
import io
import os
import pickle
import threading
import zipfile
from collections import OrderedDict
from importlib.util import find_spec
from pathlib import Path

import numpy as np
import pytest
import torch
from helpers.pairs import ROOT
from helpers.programs import DEMO, on, run_tool
from mmengine.config import Config, ConfigDict
from mmengine.logging import HistoryBuffer, MMLogger
from mmengine.optim.scheduler.param_scheduler import OneCycleParamScheduler
from mmengine.runner import CheckpointLoader, load_checkpoint
from mmseg.apis import init_model
from mmseg.registry import MODELS

from pspnet_plugin.apis.export.exporters import quiet
from pspnet_plugin.engine import checkpoint_loading
from pspnet_plugin.engine.checkpoint_loading import TRUST, UnsafeCheckpoint, guard_loaders

EXPORTS = pytest.mark.skipif(find_spec('onnx') is None, reason='without the packages of exports')


class Reduced:
    """An object whose pickle is what it is told: a function, its arguments, a state."""

    def __init__(self, *reduced) -> None:
        self.reduced = reduced

    def __reduce__(self):
        return self.reduced


def load(path) -> dict:
    return CheckpointLoader.load_checkpoint(str(path), map_location='cpu')


@pytest.fixture
def hostile(tmp_path, trained) -> tuple[Path, Path]:
    """A real checkpoint that makes a directory when it is unpickled, and that directory."""
    path, made = tmp_path / 'hostile.pth', tmp_path / 'ran'
    content = torch.load(trained / 'iter_2.pth', weights_only=False)
    content['meta']['extra'] = Reduced(os.mkdir, (str(made),))
    torch.save(content, path)
    torch.load(path, weights_only=False)
    made.rmdir()  # it was made
    return path, made


@pytest.fixture(params=['torch', 'torch before 2.6'])
def unpickler(request, monkeypatch):
    """Torch's unpickler of bare data, or ours for a torch whose own cannot be extended."""
    if request.param != 'torch':
        name = 'get_unsafe_globals_in_checkpoint'
        monkeypatch.delattr(torch.serialization, name, raising=False)


def load_pretrained(path: Path) -> None:
    backbone = Config.fromfile(DEMO).model.backbone
    init_cfg = dict(type='Pretrained', checkpoint=str(path), prefix='backbone.')
    MODELS.build(dict(backbone, init_cfg=init_cfg)).init_weights()


def load_from_the_web(path: Path) -> None:
    handler = functools.partial(http.server.SimpleHTTPRequestHandler, directory=str(path.parent))
    with http.server.ThreadingHTTPServer(('127.0.0.1', 0), handler) as server:
        threading.Thread(target=server.serve_forever, daemon=True).start()
        try:
            load(f'http://127.0.0.1:{server.server_port}/{path.name}')
        finally:
            server.shutdown()


@pytest.mark.usefixtures('unpickler')
@pytest.mark.parametrize(
    'function',
    [
        load_pretrained,
        load_from_the_web,
        lambda path: init_model(str(DEMO), str(path), device='cpu'),
        lambda path: load_checkpoint(torch.nn.Linear(1, 1), str(path)),
    ],
    ids=['pretrained', 'web', 'init_model', 'load_checkpoint'],
)
def test_loading_in_this_process_is_guarded(function, hostile, tmp_path, monkeypatch):
    monkeypatch.setenv('TORCH_HOME', str(tmp_path / 'cache'))
    path, made = hostile
    with pytest.raises(UnsafeCheckpoint, match=f'{path.name} .* posix.mkdir'):
        function(path)
    assert not made.exists()


@pytest.mark.parametrize('option', ['resume', 'load_from', pytest.param('export', marks=EXPORTS)])
def test_tools_are_guarded(option, hostile, demo_root, tmp_path):
    path, made = hostile
    (tmp_path / 'run').mkdir()
    (tmp_path / 'run' / 'last_checkpoint').write_text(str(path))
    train = ['train.py', DEMO, '--work-dir', tmp_path / 'run']
    tool, *arguments = dict(
        resume=[*train, '--resume', *on(demo_root)],
        load_from=[*train, *on(demo_root), f'load_from={path}'],
        export=['deployment/export_onnx.py', DEMO, path, tmp_path / 'a.onnx'],
    )[option]
    output = run_tool(ROOT / 'tools' / tool, *arguments, status=2 if option == 'export' else 1)
    assert 'posix.mkdir' in output
    assert not made.exists()


@pytest.mark.usefixtures('unpickler')
@pytest.mark.parametrize('zipped', [True, False], ids=['zip', 'before torch 1.6'])
@pytest.mark.parametrize(
    'thing',
    [
        functools.partial(print, 'ran'),
        np.random.default_rng(0),
        Reduced(getattr, (HistoryBuffer, 'register_statistics')),
        Reduced(getattr, (ConfigDict, '__init__')),
        Reduced(getattr, (OneCycleParamScheduler, '__init__')),
        Reduced(HistoryBuffer, (), dict(statistics_methods=dict(mean=os.system))),
        torch.nn.Linear(1, 1),
    ],
    ids=['partial', 'generator', 'method', 'init', 'scheduler', 'history', 'module'],
)
def test_other_classes_and_functions_are_refused(thing, zipped, tmp_path):
    path = tmp_path / 'a.pth'
    torch.save(dict(state_dict={}, thing=thing), path, _use_new_zipfile_serialization=zipped)
    with pytest.raises(UnsafeCheckpoint, match='a.pth'):
        load(path)


@pytest.mark.parametrize('encoding', ['rot13', 'hex', 'none.such'])
def test_codecs_other_than_latin1_are_refused(encoding):
    """Looking one up may import a module of that name."""
    assert checkpoint_loading._encode('\xff', 'latin1') == b'\xff'
    with pytest.raises(pickle.UnpicklingError, match=repr(encoding)):
        checkpoint_loading._encode('a', encoding)


@pytest.mark.usefixtures('unpickler')
def test_content_that_mmengine_writes_is_loaded(trained, tmp_path):
    """By the names of the other versions of NumPy too."""
    content = load(trained / 'iter_2.pth')
    assert content['message_hub']['log_scalars']['train/loss'].mean() > 0
    things = dict(
        history=HistoryBuffer([1.5, 2.5], [1, 1]),
        anneal=OneCycleParamScheduler._annealing_cos,
        linear=OneCycleParamScheduler._annealing_linear,
        section=ConfigDict(a=dict(b=[1, (2, 3)])),
        arrays=[np.arange(2, dtype=code) for code in '?bBhHiIlLqQefd'] + [np.array(['a'])],
        scalars=[np.float64(0.5), np.int64(3), np.float32(1), np.bool_(True)],
        ordered=OrderedDict(a=torch.arange(3, dtype=torch.bfloat16)),
    )
    torch.save(things, tmp_path / 'things.pth')
    loaded = load(tmp_path / 'things.pth')
    assert loaded['history'].mean() == 2 and loaded['section'].a.b == [1, (2, 3)]
    assert loaded['anneal'] is things['anneal'] and loaded['linear'] is things['linear']
    for ours, theirs in zip(loaded['arrays'], things['arrays'], strict=True):
        assert ours.dtype == theirs.dtype and (ours == theirs).all()
    assert loaded['scalars'] == things['scalars']

    old = tmp_path / 'old.pth'
    torch.save(things, old, _use_new_zipfile_serialization=False)
    written = old.read_bytes()
    names = [b'numpy.core.multiarray', b'numpy._core.multiarray']  # before NumPy 2, and since
    ours = names.pop(not np.__version__.startswith('1.'))
    assert ours in written
    old.write_bytes(written.replace(ours, *names))
    assert load(old)['scalars'] == things['scalars']


def test_unknown_model_of_a_scheme_is_named():
    with pytest.raises(ValueError, match="open-mmlab://resnet1v1: .*'resnet1v1'"):
        load('open-mmlab://resnet1v1')


def test_trust_is_off_by_default_and_logged(hostile, monkeypatch, caplog):
    path, made = hostile
    for value in ('', '0', 'true'):
        monkeypatch.setenv(TRUST, value)
        with pytest.raises(UnsafeCheckpoint, match=f'{TRUST}=1'):
            load(path)
    assert not made.exists()
    monkeypatch.setenv(TRUST, '1')
    logger = MMLogger.get_current_instance()
    logger.addHandler(caplog.handler)
    try:
        with quiet():  # as in exports
            assert load(path)['state_dict'] and made.is_dir()
    finally:
        logger.removeHandler(caplog.handler)
    (warning,) = [record.message for record in caplog.records if record.levelname == 'WARNING']
    assert f'{TRUST}=1: {path}' in warning


def test_every_scheme_is_guarded_once():
    guard_loaders()
    assert len(CheckpointLoader._schemes) >= 8
    for loader in CheckpointLoader._schemes.values():
        assert hasattr(loader, '__wrapped__') and not hasattr(loader.__wrapped__, '__wrapped__')


def test_guard_ends_with_the_call(trained, hostile):
    load(trained / 'iter_2.pth')
    with pytest.raises(UnsafeCheckpoint):
        load(hostile[0])
    assert 'TORCH_FORCE_WEIGHTS_ONLY_LOAD' not in os.environ
    if hasattr(torch.serialization, 'get_safe_globals'):  # came with torch 2.5
        assert HistoryBuffer not in torch.serialization.get_safe_globals()
    with pytest.raises(pickle.UnpicklingError):
        torch.load(trained / 'iter_2.pth', weights_only=True)


@pytest.mark.usefixtures('unpickler')
@pytest.mark.parametrize('harm', ['cut', 'empty', 'text', 'changed', 'foreign', 'zip'])
def test_damaged_and_foreign_files_are_named_with_their_size(harm, trained, tmp_path):
    content = (trained / 'iter_2.pth').read_bytes()
    middle = len(content) // 2
    archive, path = io.BytesIO(), tmp_path / 'a.pth'
    with zipfile.ZipFile(archive, 'w') as file:
        file.writestr('readme.txt', 'no checkpoint')
    contents = dict(
        cut=content[:middle],
        empty=b'',
        text=b'<html>404</html>',
        changed=content[:middle] + bytes([content[middle] ^ 1]) + content[middle + 1 :],
        foreign=pickle.dumps(dict(a=1)),
        zip=archive.getvalue(),
    )
    path.write_bytes(contents[harm])
    with pytest.raises(ValueError, match=f'{path} .{path.stat().st_size} bytes') as caught:
        load(path)
    assert not isinstance(caught.value, UnsafeCheckpoint)
    assert '\n' not in str(caught.value)


def test_missing_file_is_named(tmp_path):
    with pytest.raises(FileNotFoundError, match='nowhere.pth'):
        load(tmp_path / 'nowhere.pth')
