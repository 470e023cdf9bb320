"""Trainings in processes of their own, killed and resumed, and what they leave behind."""

import os
import re
import signal
import subprocess
import sys
import time
from pathlib import Path

import numpy as np
import pytest
import torch

from helpers.pairs import ROOT
from helpers.programs import scalars
from helpers.warm_processes import WarmProcess, start_warm

TRAIN = ROOT / 'tools' / 'train.py'
# What differs between two runs that computed the same.
OWN = ('time', 'data_time', 'cfg', 'experiment_name', 'last_ckpt', 'best_ckpt', 'memory')

# Everything random that a training has: order, crops, colours, flips, dropout; also an average of
# weights, and workers that read ahead.
CONFIG = """
_base_ = {demo!r}
data_root = {pairs!r}
train_pipeline = [
    dict(type='LoadImageFromFile'),
    dict(type='LoadAnnotations'),
    dict(type='RandomResize', scale=(256, 256), ratio_range=(0.5, 2.0), keep_ratio=True),
    dict(type='RandomCrop', crop_size=(64, 64), cat_max_ratio=0.75),
    dict(type='RandomFlip', prob=0.5),
    dict(type='PhotoMetricDistortion'),
    dict(type='PackSegInputs'),
]
train_dataloader = dict(
    batch_size=2, num_workers=2, dataset=dict(data_root=data_root, pipeline=train_pipeline)
)
val_dataloader = dict(num_workers=0, persistent_workers=False, dataset=dict(data_root=data_root))
test_dataloader = val_dataloader
model = dict(
    data_preprocessor=dict(size=(64, 64)), decode_head=dict(dropout_ratio=0.3, norm_cfg=None)
)
train_cfg = dict(max_iters={iters}, val_interval={iters} // 2)
param_scheduler = [
    dict(type='OneCycleLR', eta_max=0.006, total_steps={iters}, by_epoch=False, _scope_='mmseg')
]
custom_hooks = [
    dict(type='NonFiniteLossHook'),
    dict(type='BadPairsHook'),
    dict(type='EMAHook', momentum=0.1),
]
default_hooks = dict(
    logger=dict(interval=1),
    checkpoint=dict(interval={every}, max_keep_ckpts=2, save_best='mIoU'),
)
randomness = dict(seed=3, deterministic=True)
{more}
"""

# A module beside each config: the process dies before an iteration, counted from 0, or its first
# validation, as an environment variable says.
DEATH = """
import os, signal
from mmengine.hooks import Hook
from mmseg.registry import HOOKS

@HOOKS.register_module()
class Die(Hook):
    def before_train_iter(self, runner, batch_idx, data_batch=None):
        if os.environ.get('DIE') == str(runner.iter):
            os.kill(os.getpid(), signal.SIGKILL)

    def before_val_epoch(self, runner):
        if os.environ.get('DIE') == 'validation':
            os.kill(os.getpid(), signal.SIGKILL)
"""
IMPORT_DEATH = """
custom_imports = dict(imports=['pspnet_plugin', 'death'], allow_failed_imports=False)
"""


def write_config(folder: Path, pairs: Path, *, iters=8, every=2, more='') -> Path:
    """A config of a short training with all that is random in one."""
    path = folder / 'training.py'
    (folder / 'death.py').write_text(DEATH)
    demo = str(ROOT / 'configs/psp_demo.py')
    text = CONFIG.format(demo=demo, pairs=str(pairs), iters=iters, every=every, more=more)
    path.write_text(text)
    return path


def start(config: Path, work_dir: Path, *options: str, **kwargs) -> subprocess.Popen | WarmProcess:
    """A training in a process group of its own; its words go to ``work_dir``'s neighbour.

    Modules beside the config can be imported. With arguments of ``Popen``, in a new interpreter.
    """
    log = work_dir.with_suffix('.log')
    program = [TRAIN, config, '--work-dir', work_dir, '--resume', *options]
    paths = [str(config.parent), os.environ.get('PYTHONPATH', '')]
    env = {
        **os.environ,
        'OMP_NUM_THREADS': '1',
        'CUDA_VISIBLE_DEVICES': '',
        'PYTHONPATH': os.pathsep.join(paths).rstrip(os.pathsep),
    }
    if not kwargs:
        return start_warm(program, cwd=config.parent, env=env, stdout=log)
    with log.open('ab') as file:
        return subprocess.Popen(
            [sys.executable, *program],
            cwd=config.parent,
            env=env,
            stdout=file,
            stderr=subprocess.STDOUT,
            start_new_session=True,
            **kwargs,
        )


def words(work_dir: Path) -> str:
    """What the trainings of a work dir have said."""
    log = work_dir.with_suffix('.log')
    return log.read_text() if log.exists() else ''


def finish(config: Path, work_dir: Path, *options: str, status=0, **kwargs) -> str:
    """A training that runs to its end; returns its words."""
    assert start(config, work_dir, *options, **kwargs).wait(timeout=600) == status, words(work_dir)[
        -4000:
    ]
    return words(work_dir)


def kill(process: subprocess.Popen | WarmProcess) -> None:
    """Kills the process that trains, as a scheduler would; its workers end by themselves."""
    os.kill(process.pid, signal.SIGKILL)
    process.wait()


def die(config: Path, work_dir: Path, monkeypatch: pytest.MonkeyPatch, *, at: str) -> None:
    """A training with the hook ``Die`` that kills itself where ``at`` says, see ``DEATH``."""
    monkeypatch.setenv('DIE', at)
    assert start(config, work_dir).wait(timeout=600) == -signal.SIGKILL, words(work_dir)[-4000:]
    monkeypatch.delenv('DIE')


def kill_at(process: subprocess.Popen | WarmProcess, work_dir: Path, text: str) -> None:
    """Kills a training as soon as it says something."""
    while not re.search(text, words(work_dir)):
        assert process.poll() is None, words(work_dir)[-4000:]
        time.sleep(0.02)
    kill(process)


def losses(work_dir: Path) -> dict[int, float]:
    """The loss of each iteration, as last logged."""
    return {entry['step']: entry['loss'] for entry in scalars(work_dir) if 'loss' in entry}


def checkpoint(work_dir: Path, iteration: int) -> dict:
    """What a checkpoint holds, without what differs between equal runs."""
    content = torch.load(work_dir / f'iter_{iteration}.pth', weights_only=False)
    del content['meta']
    hub = content['message_hub']
    for part in ('log_scalars', 'runtime_info'):
        hub[part] = {k: v for k, v in hub[part].items() if k.rpartition('/')[2] not in OWN}
    return content


def differences(a, b, path='') -> list[str]:
    """Where two nests of containers, tensors and arrays differ in a single bit."""
    if type(a) is not type(b):
        return [f'{path}: {type(a)} and {type(b)}']
    if isinstance(a, dict):
        if a.keys() != b.keys():
            return [f'{path}: {sorted(map(str, a.keys() ^ b.keys()))}']
        return [line for key in a for line in differences(a[key], b[key], f'{path}/{key}')]
    if isinstance(a, list | tuple):
        if len(a) != len(b):
            return [f'{path}: {len(a)} and {len(b)} entries']
        pairs = enumerate(zip(a, b, strict=True))
        return [line for i, (x, y) in pairs for line in differences(x, y, f'{path}/{i}')]
    if isinstance(a, torch.Tensor):
        return [] if torch.equal(a, b) else [f'{path}: {(a.double() - b.double()).abs().max()}']
    if hasattr(a, '__dict__') and not callable(a):
        return differences(vars(a), vars(b), path)
    return [] if np.array_equal(a, b) or a is b else [f'{path}: {a!r:.80} and {b!r:.80}']
