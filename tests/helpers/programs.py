"""Programs of ``tools/``, as modules or in processes of their own, and short trainings."""

import importlib
import importlib.util
import json
import os
import socket
import subprocess
import sys
from pathlib import Path
from types import ModuleType

from helpers.pairs import ROOT
from helpers.warm_processes import run_warm

MAKE_PAIRS = ROOT / 'tools' / 'dataset_converters' / 'make_pairs.py'
DEMO = ROOT / 'configs' / 'psp_demo.py'


def free_port() -> str:
    """Return a free port of this machine, for a server that a test starts."""
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


# Two iterations of two images.
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
    """Return the logged values of a run, in order."""
    logs = sorted(work_dir.glob('*/vis_data/scalars.json'))
    return [json.loads(line) for log in logs for line in log.read_text().splitlines()]
