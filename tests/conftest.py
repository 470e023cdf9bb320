"""Fixtures: generated sets of pairs, a short training, tools called in this process."""

import gc
import json
from functools import partial
from pathlib import Path

import cv2
import pytest
import torch
from helpers.browser import CHROMIUM
from helpers.pairs import SEEDS, photo, write_pair
from helpers.programs import ROOT, load_tool, on, run_tool
from mmengine.logging import MMLogger
from mmengine.registry import init_default_scope


def pytest_collection_finish():
    """Leave the framework's objects out of garbage collections: each dataset asks for some."""
    gc.freeze()


@pytest.fixture(autouse=True)
def _no_logger_of_an_earlier_test():
    """Loggers outlive a test, but the captured stream that they write to does not."""
    for logger in MMLogger._instance_dict.values():
        for handler in [*logger.handlers]:
            if getattr(getattr(handler, 'stream', None), 'closed', False):
                logger.removeHandler(handler)


@pytest.fixture(autouse=True)
def _mmseg_scope():
    """Registries find mmseg's own modules, as they do under its tools."""
    init_default_scope('mmseg')


@pytest.fixture
def pairs_root(tmp_path: Path) -> Path:
    """A root of four train and two val pairs, 64 x 64, lossless, no two photos alike."""
    for split, seeds in SEEDS.items():
        for i, seed in enumerate(seeds, 1):
            write_pair(tmp_path / 'pairs' / split / f'{i}.png', seed=seed)
    return tmp_path / 'pairs'


@pytest.fixture(scope='session')
def demo_root(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A root of generated street scenes: eight train, three val pairs, 256 x 256."""
    root = tmp_path_factory.mktemp('scenes') / 'pairs'
    command = ['synthetic', str(root), '--train', '8', '--val', '3', '--workers', '1']
    assert load_tool('dataset_converters/make_pairs.py').main(command) == 0
    return root


@pytest.fixture(scope='session')
def split_root(tmp_path_factory: pytest.TempPathFactory, demo_root: Path) -> Path:
    """The pairs of ``demo_root`` as photos and index maps."""
    root = tmp_path_factory.mktemp('split') / 'root'
    assert load_tool('dataset_converters/split_pairs.py').main([str(demo_root), str(root)]) == 0
    return root


@pytest.fixture(scope='session')
def trained(tmp_path_factory, demo_root) -> Path:
    """A work dir of a short run of our ``tools/train.py``, started from another directory."""
    folder = tmp_path_factory.mktemp('trained')
    program = ROOT / 'tools/train.py'
    run_tool(program, 'configs/psp_demo.py', *on(demo_root), cwd=folder, fresh=True)
    return folder / 'work_dirs' / 'psp_demo'


@pytest.fixture(scope='session')
def demo_onnx(tmp_path_factory, trained) -> Path:
    """The network of ``trained``, exported for any size."""
    pytest.importorskip('onnxscript')
    path = tmp_path_factory.mktemp('exported') / 'demo.onnx'
    arguments = [str(trained / 'psp_demo.py'), str(trained / 'iter_2.pth'), str(path), '--dynamic']
    assert load_tool('deployment/export_onnx.py').main(arguments) == 0
    return path


@pytest.fixture
def call(capsys):
    """Runs a tool in this process; checks its exit status and returns its output."""

    def call(tool, *arguments, status=0):
        capsys.readouterr()
        try:
            found = load_tool(tool).main([str(part) for part in arguments])
        except SystemExit as stopped:
            found = stopped.code
        output = ''.join(capsys.readouterr())
        assert found == status, output
        return output

    return call


@pytest.fixture
def make(call):
    """Runs ``make_pairs.py``; see ``call``."""
    tool = 'dataset_converters/make_pairs.py'
    return lambda *arguments, status=0: call(tool, *arguments, '--workers', 1, status=status)


@pytest.fixture
def split(call):
    """Runs ``split_pairs.py``; see ``call``."""
    return partial(call, 'dataset_converters/split_pairs.py', '--workers', 1)


@pytest.fixture
def measure(tmp_path, capsys, monkeypatch):
    """Runs the benchmarks from the root; returns what they print and write."""
    monkeypatch.chdir(ROOT)

    from benchmarks.__main__ import main

    def run(*arguments: str) -> tuple[str, dict]:
        out = tmp_path / 'figures.json'
        assert main([*arguments, '--json', str(out)]) == 0
        return capsys.readouterr().out, json.loads(out.read_text())

    return run


@pytest.fixture
def inspect(call, tmp_path):
    """Runs ``inspect_pairs.py``; returns its output and its JSON."""
    out = tmp_path / 'findings.json'

    def inspect(*arguments, status=0):
        out.unlink(missing_ok=True)
        options = ['--workers', 1, '--json', out]
        output = call('analysis_tools/inspect_pairs.py', *options, *arguments, status=status)
        return output, json.loads(out.read_text()) if out.exists() else None

    return inspect


@pytest.fixture(scope='session')
def network(trained) -> list[str]:
    """Options of the tools that name the trained network."""
    return ['--config', str(trained / 'psp_demo.py'), '--checkpoint', str(trained / 'iter_2.pth')]


@pytest.fixture
def street(tmp_path):
    """Photos of two sizes in folders, a grey and a broken one among them."""
    folder = tmp_path / 'street'
    (folder / 'day').mkdir(parents=True)
    for i, size in enumerate([(64, 96), (64, 96), (80, 64)]):
        cv2.imwrite(str(folder / 'day' / f'{i}.png'), photo(*size, seed=i))
    cv2.imwrite(str(folder / 'grey.jpg'), photo(48, 48)[..., 0])
    (folder / 'broken.jpg').write_bytes(b'no picture')
    return folder


def pytest_collection_modifyitems(items):
    """Tests that need a GPU or a browser are skipped, and said to be, where there is none."""
    there = {'gpu': torch.cuda.is_available(), 'browser': CHROMIUM is not None}
    reasons = {'gpu': 'needs a CUDA device', 'browser': 'needs Chromium: apt-get install chromium'}
    for item in items:
        for name, reason in reasons.items():
            if item.get_closest_marker(name) and not there[name]:
                item.add_marker(pytest.mark.skip(reason=reason))
