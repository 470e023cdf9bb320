"""What tests share: small seeded pictures, programs in processes of their own, a training."""

import importlib.util
import json
import os
import shutil
import socket
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path
from types import ModuleType

import cv2
import numpy as np
import pytest
import torch
from mmengine.logging import MMLogger
from mmengine.registry import init_default_scope
from mmengine.utils import digit_version
from playwright.sync_api import Browser, sync_playwright
from warm_processes import run_warm

from pspnet_plugin.datasets import CityscapesPairsDataset

ROOT = Path(__file__).resolve().parents[1]
CITYSCAPES = CityscapesPairsDataset.METAINFO
MAKE_PAIRS = ROOT / 'tools' / 'dataset_converters' / 'make_pairs.py'
DEMO = ROOT / 'configs' / 'psp_demo.py'
# float16 on CPUs came with torch 2.4.
HALVES = [torch.bfloat16, torch.float16]
CPU_AUTOCAST = HALVES if digit_version(torch.__version__) >= digit_version('2.4') else HALVES[:1]
BROWSERS = ('chromium', 'chromium-browser', 'google-chrome', 'google-chrome-stable')
CHROMIUM = next(filter(None, map(shutil.which, BROWSERS)), None)
# Three classes of far colours, one void.
META = dict(
    classes=['wall', 'window', 'door'],
    palette=[[200, 0, 0], [0, 200, 0], [0, 0, 200]],
    void_palette=[[90, 90, 90]],
)
LOAD = [dict(type='LoadImageFromFile'), dict(type='LoadAnnotations'), dict(type='PackSegInputs')]


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


def label_map(height: int, width: int, *, classes: int = 19, seed: int = 0) -> np.ndarray:
    """(H, W) class indices in blocks of 8 x 8 pixels."""
    rng = np.random.default_rng(seed)
    blocks = rng.integers(0, classes, (-(-height // 8), -(-width // 8)), dtype=np.uint8)
    return np.kron(blocks, np.ones((8, 8), np.uint8))[:height, :width]


def photo(height: int, width: int, *, seed: int = 0) -> np.ndarray:
    """(H, W, 3) BGR noise, far from any palette."""
    rng = np.random.default_rng([seed, 1])
    return rng.integers(0, 256, (height, width, 3), dtype=np.uint8)


def coloured(labels: np.ndarray, palette=CITYSCAPES['palette']) -> np.ndarray:
    """(H, W, 3) BGR picture of (H, W) class indices."""
    return np.array(palette, np.uint8)[labels][..., ::-1]


def write_pair(path: Path, *, height=64, width=64, seed=0, photo_side='left', labels=None) -> dict:
    """Write a pair; returns its photo and its labels."""
    labels = label_map(height, width, seed=seed) if labels is None else labels
    picture = photo(*labels.shape, seed=seed)
    halves = [picture, coloured(labels)]
    if photo_side == 'right':
        halves.reverse()
    path.parent.mkdir(parents=True, exist_ok=True)
    content = cv2.imencode(path.suffix.lower(), np.hstack(halves))[1]
    path.write_bytes(content.tobytes())
    return dict(photo=picture, labels=labels)


def build(root, split='train', **kwargs) -> CityscapesPairsDataset:
    """The dataset of a split, loading pictures and labels unless told otherwise."""
    kwargs = {'pipeline': LOAD, **kwargs}
    return CityscapesPairsDataset(data_root=str(root), data_prefix=dict(img_path=split), **kwargs)


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


def free_port() -> str:
    """Of this machine, for a server that a test starts."""
    with socket.socket() as free:
        free.bind(('127.0.0.1', 0))
        return str(free.getsockname()[1])


def load_tool(name: str) -> ModuleType:
    """A program of ``tools/`` as a module, to call its ``main`` in this process."""
    path = ROOT / 'tools' / name
    spec = importlib.util.spec_from_file_location(path.stem, path)
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


def run_tool(
    tool: Path,
    *arguments,
    cwd: Path | None = None,
    env: dict | None = None,
    status: int = 0,
    fresh: bool = False,
) -> str:
    """Runs a program in a process of its own, checks its exit status and returns what it said.

    Python programs begin with the framework imported, unless ``fresh``.
    """
    command = [str(part) for part in (tool, *arguments)]
    env = {**os.environ, 'PYTHON': sys.executable, 'CUDA_VISIBLE_DEVICES': '', **(env or {})}
    if Path(tool).suffix == '.py':
        if not fresh:
            found, output = run_warm(command, cwd=cwd, env=env)
            assert found == status, f'{command} ended with {found}\n{output[-6000:]}'
            return output
        command.insert(0, sys.executable)
    done = subprocess.run(command, cwd=cwd, env=env, capture_output=True, text=True, timeout=600)
    output = done.stdout + done.stderr
    assert done.returncode == status, f'{command} ended with {done.returncode}\n{output[-6000:]}'
    return output


# Two iterations of two pictures.
SHORT = [
    'train_cfg.max_iters=2',
    'train_cfg.val_interval=2',
    'train_dataloader.batch_size=2',
    'train_dataloader.num_workers=0',
    'train_dataloader.persistent_workers=False',
    'val_dataloader.num_workers=0',
    'val_dataloader.persistent_workers=False',
    'test_dataloader.num_workers=0',
    'test_dataloader.persistent_workers=False',
    'default_hooks.logger.interval=1',
    'default_hooks.checkpoint.interval=1',
]


def on(root: Path, *more: str) -> list[str]:
    """``--cfg-options`` of a short run on the pairs of ``root``."""
    roots = [f'{split}_dataloader.dataset.data_root={root}' for split in ('train', 'val', 'test')]
    return ['--cfg-options', *SHORT, *roots, *more]


def scalars(work_dir: Path) -> list[dict]:
    """What a run logged, in order."""
    logs = sorted(work_dir.glob('*/vis_data/scalars.json'))
    return [json.loads(line) for log in logs for line in log.read_text().splitlines()]


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


@pytest.fixture(scope='module')
def browser() -> Iterator[Browser]:
    """Chromium, without a window."""
    options = dict(executable_path=CHROMIUM, args=['--no-sandbox'])
    with sync_playwright() as playwright, playwright.chromium.launch(**options) as chromium:
        yield chromium


def pytest_collection_modifyitems(items):
    """Tests that need a GPU or a browser are skipped, and said to be, where there is none."""
    there = {'gpu': torch.cuda.is_available(), 'browser': CHROMIUM is not None}
    reasons = {'gpu': 'needs a CUDA device', 'browser': 'needs Chromium: apt-get install chromium'}
    for item in items:
        for name, reason in reasons.items():
            if item.get_closest_marker(name) and not there[name]:
                item.add_marker(pytest.mark.skip(reason=reason))
