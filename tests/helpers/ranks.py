"""Trainings by several processes of ``dist_train.sh``, in which the second may die."""

import re
from pathlib import Path

import torch

from helpers.pairs import ROOT
from helpers.programs import free_port, run_tool
from helpers.trainings import write_config

# One process and several compute the same where no norm looks at the batch, and no dropout at
# the process; augmentation follows from a sample's position in any case.
ALIKE = """
norm_cfg = dict(type='GN', num_groups=8)
model = dict(
    backbone=dict(norm_cfg=dict(_delete_=True, **norm_cfg)),
    decode_head=dict(
        dropout_ratio=0, norm_cfg=dict(type='GN', num_groups=8),
        loss_decode=dict(_delete_=True, type='CrossEntropyLoss'),
    ),
    data_preprocessor=dict(size=(64, 64)),
)
optim_wrapper = dict(
    _delete_=True, type='OptimWrapper', optimizer=dict(type='SGD', lr=0.05, momentum=0.9)
)
param_scheduler = [dict(type='PolyLR', power=0.9, begin=0, end=8, by_epoch=False)]
custom_hooks = [dict(type='NonFiniteLossHook'), dict(type='BadPairsHook'), dict(type='Die')]
train_dataloader.update(batch_size=4, num_workers=1)
"""
# The second process dies before iteration 5; see ``helpers.trainings.DEATH``.
DEATH_OF_RANK_1 = dict(DIE='5', DIE_RANK='1')


def write_alike(folder: Path, pairs: Path) -> Path:
    """Write a config that trains alike on any number of processes."""
    return write_config(folder, pairs, more=ALIKE)


def launch(config: Path, run: Path, ranks: int, *options: str, status=0, **env: str) -> str:
    """Train by ``dist_train.sh``; the batch of four is shared among the ranks."""
    return run_tool(
        ROOT / 'tools/dist_train.sh', config, ranks, '--work-dir', run, *options,
        '--cfg-options', f'train_dataloader.batch_size={4 // ranks}', status=status,
        env=dict(PORT=free_port(), OMP_NUM_THREADS='1', PYTHONPATH=str(config.parent), **env),
    )  # fmt: skip


def weights(run: Path, iteration: int = 8) -> dict[str, torch.Tensor]:
    """Return the weights of a checkpoint."""
    return torch.load(run / f'iter_{iteration}.pth', weights_only=False)['state_dict']


def assert_close(run: Path, other: Path) -> None:
    """Check that two runs end with the same weights, which have moved in the last steps."""
    ours, theirs = weights(run), weights(other)
    assert ours.keys() == theirs.keys()
    for name in ours:
        torch.testing.assert_close(ours[name], theirs[name], rtol=1e-4, atol=1e-5, msg=name)
    before = weights(other, 6)
    assert max((before[name] - theirs[name]).abs().max() for name in theirs) > 1e-3


def scored(config: Path, run: Path, ranks: int) -> str:
    """Score the last checkpoint by so many processes."""
    tool, *number = ('test.py',) if ranks == 1 else ('dist_test.sh', ranks)
    output = run_tool(
        ROOT / 'tools' / tool, config, run / 'iter_8.pth', *number, '--work-dir', run / 'tested',
        env=dict(PORT=free_port(), OMP_NUM_THREADS='1', PYTHONPATH=str(config.parent)),
    )  # fmt: skip
    return scores(output)


def scores(output: str) -> str:
    """Return the last scores that a program has logged."""
    return re.findall(r'aAcc: [\d.]+  mIoU: [\d.]+  mAcc: [\d.]+', output)[-1]


def summary(output: str) -> str:
    """Return what torchrun reports of all ranks; only there is the first failure known."""
    _, end, report = output.rpartition(' FAILED\n')
    assert end, output
    return report
