"""Trainings in processes of their own, killed and resumed, and what they leave behind."""

import json
import os
import re
import signal
import subprocess
import sys
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import torch

from helpers.pairs import ROOT
from helpers.programs import scalars
from helpers.warm_processes import WarmProcess, start_warm
from pspnet_plugin.engine.hooks.run_record_hook import RECORD

TRAIN = ROOT / 'tools' / 'train.py'
# Entries of a checkpoint in which two runs differ that computed the same.
NOT_COMPARED = ('time', 'data_time', 'cfg', 'experiment_name', 'last_ckpt', 'best_ckpt', 'memory')

# Everything random that a training has: order, crops, colours, flips, dropout; also an average of
# weights, and workers that read ahead. A module beside it has the hook ``Die``.
CONFIG = """
_base_ = {demo!r}
data_root = {pairs!r}
custom_imports = dict(imports=['pspnet_plugin', 'death'], allow_failed_imports=False)
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
    dict(type='RunRecordHook'),
    dict(type='EMAHook', momentum=0.1),
    dict(type='Die'),
]
default_hooks = dict(
    logger=dict(interval=1),
    checkpoint=dict(interval={every}, max_keep_ckpts=2, save_best='mIoU'),
)
randomness = dict(seed=3, deterministic=True)
{more}
"""

# Once in a work directory, process DIE_RANK (0) dies before iteration DIE, counted from 0, or
# before the first ``validation``; by DIE_BY, ``kill`` or ``raise``.
DEATH = """
import os, signal
from pathlib import Path
from mmengine.hooks import Hook
from mmseg.registry import HOOKS

@HOOKS.register_module()
class Die(Hook):
    def die(self, runner, at):
        mark = Path(runner.work_dir) / 'died'
        rank = int(os.environ.get('DIE_RANK', 0))
        if os.environ.get('DIE') != at or runner.rank != rank or mark.exists():
            return
        mark.touch()
        if os.environ.get('DIE_BY') == 'raise':
            raise RuntimeError('rank 1 has had enough')
        os.kill(os.getpid(), signal.SIGKILL)

    def before_train_iter(self, runner, batch_idx, data_batch=None):
        self.die(runner, str(runner.iter))

    def before_val_epoch(self, runner):
        self.die(runner, 'validation')
"""


def write_config(
    folder: Path, pairs: Path, *, iters: int = 8, every: int = 2, more: str = ''
) -> Path:
    """Write the config of a short training, saved ``every`` so many iterations."""
    path = folder / 'training.py'
    (folder / 'death.py').write_text(DEATH)
    demo = str(ROOT / 'configs/psp_demo.py')
    path.write_text(CONFIG.format(demo=demo, pairs=str(pairs), iters=iters, every=every, more=more))
    return path


def start(
    config: Path, work_dir: Path, *options: str, env: dict[str, str] | None = None, **kwargs: Any
) -> subprocess.Popen | WarmProcess:
    """Start a training beside its config, in its own process group, logged beside ``work_dir``.

    With arguments of ``Popen``, in a new interpreter.
    """
    log = work_dir.with_suffix('.log')
    program = [TRAIN, config, '--work-dir', work_dir, '--resume', *options]
    paths = os.pathsep.join([str(config.parent), os.environ.get('PYTHONPATH', '')])
    settings = dict(
        OMP_NUM_THREADS='1', CUDA_VISIBLE_DEVICES='', PYTHONPATH=paths.rstrip(os.pathsep)
    )
    env = {**os.environ, **settings, **(env or {})}
    if not kwargs:
        return start_warm(program, cwd=config.parent, env=env, stdout=log)
    kwargs.update(cwd=config.parent, env=env, stderr=subprocess.STDOUT, start_new_session=True)
    with log.open('ab') as file:
        return subprocess.Popen([sys.executable, *program], stdout=file, **kwargs)


def output_of(work_dir: Path) -> str:
    """Return the output of all trainings of a work directory."""
    log = work_dir.with_suffix('.log')
    return log.read_text() if log.exists() else ''


def finish(config: Path, work_dir: Path, *options: str, status: int = 0, **kwargs: Any) -> str:
    """Run a training to its end, check its exit status; return the output so far."""
    code = start(config, work_dir, *options, **kwargs).wait(timeout=600)
    assert code == status, output_of(work_dir)[-4000:]
    return output_of(work_dir)


def die(config: Path, work_dir: Path, *, at: str) -> None:
    """Run a training that kills itself, see ``DEATH``."""
    finish(config, work_dir, status=-signal.SIGKILL, env=dict(DIE=at))


def kill(process: subprocess.Popen | WarmProcess) -> None:
    """Kill the process that trains, as a scheduler would; its workers end by themselves."""
    os.kill(process.pid, signal.SIGKILL)
    process.wait()


def kill_at(process: subprocess.Popen | WarmProcess, work_dir: Path, pattern: str) -> None:
    """Kill a training as soon as its output matches."""
    while not re.search(pattern, output_of(work_dir)):
        assert process.poll() is None, output_of(work_dir)[-4000:]
        time.sleep(0.02)
    kill(process)


def resumed_at(work_dir: Path) -> list[int]:
    """Return the iterations from which the trainings of a work directory resumed."""
    return [int(n) for n in re.findall(r'resumed epoch: 0, iter: (\d+)', output_of(work_dir))]


def losses(work_dir: Path) -> dict[int, float]:
    """Return the loss of each iteration, as last logged."""
    return {entry['step']: entry['loss'] for entry in scalars(work_dir) if 'loss' in entry}


def checkpoint(work_dir: Path, iteration: int) -> dict:
    """Content of a checkpoint that is equal in equal runs."""
    content = torch.load(work_dir / f'iter_{iteration}.pth', weights_only=False)
    del content['meta']
    hub = content['message_hub']
    for part in ('log_scalars', 'runtime_info'):
        hub[part] = {k: v for k, v in hub[part].items() if k.rpartition('/')[2] not in NOT_COMPARED}
    return content


def differences(a: Any, b: Any, path: str = '') -> list[str]:
    """List where two nests of containers, tensors and arrays differ in a single bit."""
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


def assert_same(run: Path, other: Path, iteration: int) -> None:
    """Check that two runs have saved the same at an iteration, bit for bit."""
    assert differences(checkpoint(run, iteration), checkpoint(other, iteration)) == []


def change_record(work_dir: Path, change: Callable[[dict], object]) -> None:
    """Change the ``run_record.json`` of a work dir in place."""
    record = json.loads((work_dir / RECORD).read_text())
    change(record)
    (work_dir / RECORD).write_text(json.dumps(record))
