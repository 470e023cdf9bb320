"""Fixtures: generated sets of pairs, a short training, tools called in this process."""

import json
from pathlib import Path

import cv2
import pytest
import torch
from helpers.browser import CHROMIUM
from helpers.pairs import META, photo, write_pair
from helpers.programs import MAKE_PAIRS, ROOT, load_tool, on, run_tool
from mmengine.logging import MMLogger
from mmengine.registry import init_default_scope


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
    """A root of four train and two val pairs, 64 x 64, lossless."""
    for split, count in (('train', 4), ('val', 2)):
        for i in range(1, count + 1):
            write_pair(tmp_path / 'pairs' / split / f'{i}.png', seed=i)
    return tmp_path / 'pairs'


@pytest.fixture(scope='session')
def demo_root(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A root of generated street scenes: eight train, three val pairs, 256 x 256."""
    root = tmp_path_factory.mktemp('scenes') / 'pairs'
    run_tool(MAKE_PAIRS, 'synthetic', root, '--train', 8, '--val', 3)
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
    path = tmp_path_factory.mktemp('exported') / 'demo.onnx'
    arguments = [str(trained / 'psp_demo.py'), str(trained / 'iter_2.pth'), str(path), '--dynamic']
    assert load_tool('deployment/export_onnx.py').main(arguments) == 0
    return path


@pytest.fixture(scope='session')
def make_pairs_tool():
    """``make_pairs.py`` as a module."""
    return load_tool('dataset_converters/make_pairs.py')


@pytest.fixture
def make(make_pairs_tool, capsys):
    """Runs ``make_pairs.py`` in this process; checks its exit status and returns what it said."""

    def run(*arguments, status=0):
        capsys.readouterr()
        words = [str(part) for part in arguments]
        try:
            found = make_pairs_tool.main([*words, '--workers', '1'])
        except SystemExit as stopped:
            found = stopped.code
        output = ''.join(capsys.readouterr())
        assert found == status, output
        return output

    return run


@pytest.fixture(scope='session')
def inspect_tool():
    """``inspect_pairs.py`` as a module."""
    return load_tool('analysis_tools/inspect_pairs.py')


@pytest.fixture
def inspect(inspect_tool, capsys, tmp_path):
    """Runs the tool in this process, checks its exit status; returns its words and its JSON."""

    def run(root, *arguments, status=0):
        out = tmp_path / 'findings.json'
        out.unlink(missing_ok=True)
        capsys.readouterr()
        words = [str(root), '--workers', '1', '--json', str(out), *map(str, arguments)]
        try:
            found = inspect_tool.main(words)
        except SystemExit as stopped:
            found = stopped.code
        output = ''.join(capsys.readouterr())
        assert found == status, output
        return output, json.loads(out.read_text()) if out.exists() else None

    return run


@pytest.fixture
def palette(tmp_path: Path) -> Path:
    """The file of ``META``."""
    path = tmp_path / 'palette.json'
    path.write_text(json.dumps(META))
    return path


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
