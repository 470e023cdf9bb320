"""No checkpoint runs code, by whatever door it comes in; and what is none is named."""

import functools
import http.server
import os
import pickle
import threading
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
from pspnet_plugin.engine import checkpoint_loading as safe_loading
from pspnet_plugin.engine.checkpoint_loading import TRUST, UnsafeCheckpoint, guard_loaders

EXPORTS = pytest.mark.skipif(find_spec('onnx') is None, reason='without the packages of exports')


class Touch:
    """Unpickled, it makes a file."""

    def __init__(self, path: Path) -> None:
        self.path = path

    def __reduce__(self):
        return os.mkdir, (str(self.path),)


class Attribute:
    """Unpickled, it is an attribute of something."""

    def __init__(self, owner, name: str) -> None:
        self.ask = owner, name

    def __reduce__(self):
        return getattr, self.ask


class HistoryWith:
    """Unpickled, it is a ``HistoryBuffer`` that would call a function of somebody's choice."""

    def __init__(self, function) -> None:
        self.function = function

    def __reduce__(self):
        state = dict(
            statistics_methods=dict(mean=self.function), _log_history=[], _count_history=[]
        )
        return HistoryBuffer, (), state


def load(path) -> dict:
    return CheckpointLoader.load_checkpoint(str(path), map_location='cpu')


@pytest.fixture
def hostile(tmp_path, trained) -> tuple[Path, Path]:
    """A real checkpoint with one thing too many, and what it would make."""
    content = torch.load(trained / 'iter_2.pth', weights_only=False)
    content['meta']['extra'] = Touch(tmp_path / 'ran')
    torch.save(content, tmp_path / 'hostile.pth')
    return tmp_path / 'hostile.pth', tmp_path / 'ran'


def test_the_file_would_run_code_without_us(hostile):
    path, ran = hostile
    torch.load(path, weights_only=False)
    assert ran.is_dir()


def pretrained(path: Path, trained: Path) -> None:
    backbone = Config.fromfile(DEMO).model.backbone
    init_cfg = dict(type='Pretrained', checkpoint=str(path), prefix='backbone.')
    MODELS.build(dict(backbone, init_cfg=init_cfg)).init_weights()


def loaded_by_init_model(path: Path, trained: Path) -> None:
    init_model(str(trained / 'psp_demo.py'), str(path), device='cpu')


def loaded_into_a_model(path: Path, trained: Path) -> None:
    load_checkpoint(torch.nn.Linear(1, 1), str(path))


@pytest.mark.usefixtures('unpickler')
@pytest.mark.parametrize('door', [pretrained, loaded_by_init_model, loaded_into_a_model])
def test_doors_in_this_process(door, hostile, trained):
    path, ran = hostile
    with pytest.raises(UnsafeCheckpoint, match=f'{path} was not loaded: it asks for posix.mkdir'):
        door(path, trained)
    assert not ran.exists()


@pytest.mark.parametrize('option', ['resume', 'load_from', pytest.param('export', marks=EXPORTS)])
def test_doors_of_the_tools(option, hostile, demo_root, tmp_path):
    path, ran = hostile
    if option == 'export':
        output = run_tool(
            ROOT / 'tools/deployment/export_onnx.py', DEMO, path, tmp_path / 'a.onnx', status=2
        )
    else:
        run = tmp_path / 'run'
        run.mkdir()
        (run / 'last_checkpoint').write_text(str(path))
        more = ['--resume'] if option == 'resume' else []
        options = on(demo_root, *([] if more else [f'load_from={path}']))
        output = run_tool(
            ROOT / 'tools/train.py', DEMO, '--work-dir', run, *more, *options, status=1
        )
    assert 'asks for posix.mkdir' in output
    assert not ran.exists()


@pytest.fixture(params=['torch', 'torch before 2.6'])
def unpickler(request, monkeypatch):
    """Torch's unpickler of bare data, or ours for a torch whose own takes no additions."""
    if request.param != 'torch':
        monkeypatch.setattr(safe_loading, 'safe_globals', None)
        monkeypatch.setattr(safe_loading, 'get_unsafe_globals_in_checkpoint', None, raising=False)


@pytest.mark.usefixtures('unpickler')
@pytest.mark.parametrize('zipped', [True, False], ids=['zip', 'before torch 1.6'])
@pytest.mark.parametrize(
    'thing',
    [
        functools.partial(print, 'ran'),
        np.random.default_rng(0),
        Attribute(HistoryBuffer, 'register_statistics'),
        Attribute(ConfigDict, '__init__'),
        Attribute(OneCycleParamScheduler, '__init__'),
        HistoryWith(os.system),
        torch.nn.Linear(1, 1),
    ],
    ids=lambda thing: type(thing).__name__,
)
def test_other_classes_and_functions_are_refused(thing, zipped, tmp_path):
    path = tmp_path / 'a.pth'
    torch.save(dict(state_dict={}, thing=thing), path, _use_new_zipfile_serialization=zipped)
    with pytest.raises(UnsafeCheckpoint, match='asks for'):
        load(path)


@pytest.mark.parametrize('encoding', ['rot13', 'hex', 'none.such'])
def test_codecs_other_than_that_of_bytes_are_refused(encoding):
    """Looking one up may import a module of that name."""
    assert safe_loading._encode('\xff', 'latin1') == b'\xff'
    with pytest.raises(pickle.UnpicklingError, match=f'_codecs.encode to {encoding!r}'):
        safe_loading._encode('a', encoding)


@pytest.mark.usefixtures('unpickler')
def test_what_mmengine_writes_is_loaded(trained, tmp_path):
    """As a whole, and each kind of thing; by the names of the other versions of NumPy too."""
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
    own = names[not np.__version__.startswith('1.')]
    names.remove(own)
    assert own in written
    renamed = written.replace(own, names[0])
    old.write_bytes(renamed)
    assert load(old)['scalars'] == things['scalars']


def test_a_model_that_its_scheme_does_not_know_is_named():
    with pytest.raises(
        ValueError, match="open-mmlab://resnet1v1: open-mmlab has no model 'resnet1v1'"
    ):
        load('open-mmlab://resnet1v1')


def test_trust_is_off_loud_and_for_one_command(hostile, trained, monkeypatch, caplog):
    path, ran = hostile
    for value in ('', '0', 'true'):
        monkeypatch.setenv(TRUST, value)
        with pytest.raises(UnsafeCheckpoint, match=f'{TRUST}=1 in the environment'):
            load(path)
    assert not ran.exists()
    monkeypatch.setenv(TRUST, '1')
    output = run_tool(
        ROOT / 'tools/test.py', DEMO, path, '--work-dir', path.parent / 'run',
        *on(path.parent / 'nowhere'), status=1,
    )  # fmt: skip
    assert 'nowhere' in output  # the data, which come first
    logger = MMLogger.get_current_instance()
    logger.addHandler(caplog.handler)
    try:
        with quiet():  # as in exports
            assert load(path)['state_dict'] and ran.is_dir()
    finally:
        logger.removeHandler(caplog.handler)
    assert f'{path} IS LOADED WITHOUT PROTECTION, AND MAY RUN ANY CODE' in caplog.text
    monkeypatch.delenv(TRUST)
    with pytest.raises(UnsafeCheckpoint):
        load(path)


def test_files_from_the_web_are_guarded(hostile, tmp_path, monkeypatch):
    path, ran = hostile
    monkeypatch.setenv('TORCH_HOME', str(tmp_path / 'cache'))
    handler = functools.partial(http.server.SimpleHTTPRequestHandler, directory=str(path.parent))
    with http.server.ThreadingHTTPServer(('127.0.0.1', 0), handler) as server:
        threading.Thread(target=server.serve_forever, daemon=True).start()
        url = f'http://127.0.0.1:{server.server_port}/{path.name}'
        with pytest.raises(UnsafeCheckpoint, match='asks for posix.mkdir'):
            load(url)
        server.shutdown()
    assert not ran.exists()


def test_every_scheme_is_guarded_once():
    guard_loaders()
    assert len(CheckpointLoader._schemes) >= 8
    for scheme, loader in CheckpointLoader._schemes.items():
        assert hasattr(loader, '__wrapped__') and not hasattr(loader.__wrapped__, '__wrapped__'), (
            scheme
        )


def test_the_guard_leaves_nothing_behind(trained, hostile):
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
def test_what_is_no_checkpoint_is_named(harm, trained, tmp_path):
    content = (trained / 'iter_2.pth').read_bytes()
    path = tmp_path / 'a.pth'
    if harm == 'zip':
        import zipfile

        with zipfile.ZipFile(path, 'w') as archive:
            archive.writestr('readme.txt', 'no checkpoint')
    else:
        middle = len(content) // 2
        flipped = bytes([content[middle] ^ 1])
        path.write_bytes(
            dict(
                cut=content[:middle],
                empty=b'',
                text=b'<html>404</html>',
                changed=content[:middle] + flipped + content[middle + 1 :],
                foreign=pickle.dumps(dict(a=1)),
            )[harm]
        )
    expected = f'{path} \\({path.stat().st_size} bytes\\) is no checkpoint, or cut off or changed'
    with pytest.raises(ValueError, match=expected) as caught:
        load(path)
    assert not isinstance(caught.value, UnsafeCheckpoint)
    assert '\n' not in str(caught.value)


def test_a_missing_file_is_named(tmp_path):
    with pytest.raises(FileNotFoundError, match='nowhere.pth'):
        load(tmp_path / 'nowhere.pth')
