"""Several processes train as one does, and a job survives those that die."""

import json
import os
import re
import subprocess
import sys
from pathlib import Path

import pytest
import torch
from helpers.pairs import ROOT
from helpers.programs import free_port, run_tool
from helpers.trainings import differences, finish, write_config

# One process and several compute the same where no norm looks at the batch, and no dropout at
# the process; what a sample goes through follows from its position in any case.
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
custom_imports = dict(imports=['pspnet_plugin', 'deaths'], allow_failed_imports=False)
custom_hooks = [dict(type='NonFiniteLossHook'), dict(type='BadPairsHook'), dict(type='Die')]
train_dataloader.update(batch_size=4, num_workers=1)
"""
# Rank 1 dies at iteration 5, in a way that an environment variable names, if it has not yet.
DEATHS = """
import os, signal
from pathlib import Path
from mmengine.hooks import Hook
from mmseg.registry import HOOKS

@HOOKS.register_module()
class Die(Hook):
    def before_train_iter(self, runner, batch_idx, data_batch=None):
        way, mark = os.environ.get('DIE', ''), Path(runner.work_dir) / 'died'
        if not way or runner.rank != 1 or batch_idx != 5 or mark.exists():
            return
        mark.touch()
        if way == 'kill':
            os.kill(os.getpid(), signal.SIGKILL)
        raise RuntimeError('rank 1 has had enough')
"""


@pytest.fixture
def config(tmp_path, demo_root) -> Path:
    (tmp_path / 'deaths.py').write_text(DEATHS)
    return write_config(tmp_path, demo_root, iters=8, every=2, more=ALIKE)


def launch(config: Path, run: Path, ranks: int, *options: str, status=0, **env: str) -> str:
    """A training by ``dist_train.sh``; the batch of four is shared among the ranks."""
    return run_tool(
        ROOT / 'tools/dist_train.sh', config, ranks, '--work-dir', run, *options,
        '--cfg-options', f'train_dataloader.batch_size={4 // ranks}', status=status,
        env=dict(PORT=free_port(), OMP_NUM_THREADS='1', PYTHONPATH=str(config.parent), **env),
    )  # fmt: skip


def weights(run: Path, iteration=8) -> dict:
    return torch.load(run / f'iter_{iteration}.pth', weights_only=False)['state_dict']


def score(output: str) -> str:
    """The last scores that a tool printed."""
    return re.findall(r'aAcc: [\d.]+  mIoU: [\d.]+  mAcc: [\d.]+', output)[-1]


def scored(config: Path, run: Path, ranks: int) -> str:
    """Scores of the last checkpoint, by that many processes."""
    tool, *launched = ('test.py',) if ranks == 1 else ('dist_test.sh', ranks)
    return score(
        run_tool(
            ROOT / 'tools' / tool, config, run / 'iter_8.pth', *launched,
            '--work-dir', run / 'tested',
            env=dict(PORT=free_port(), OMP_NUM_THREADS='1', PYTHONPATH=str(config.parent)),
        )
    )  # fmt: skip


def assert_close(run: Path, other: Path) -> None:
    ours, theirs = weights(run), weights(other)
    assert ours.keys() == theirs.keys()
    for name in ours:
        torch.testing.assert_close(ours[name], theirs[name], rtol=1e-4, atol=1e-5, msg=name)


@pytest.mark.parametrize('ranks', [2, pytest.param(4, marks=pytest.mark.long)])
def test_ranks_train_and_evaluate_as_one_process(ranks, config, tmp_path):
    finish(config, tmp_path / 'one')
    launch(config, tmp_path / 'many', ranks)
    assert_close(tmp_path / 'many', tmp_path / 'one')
    start = weights(tmp_path / 'one', 6)
    moved = max((start[n] - t).abs().max() for n, t in weights(tmp_path / 'one').items())
    assert moved > 1e-3, 'weights that do not move are equal for nothing'
    assert scored(config, tmp_path / 'one', ranks) == scored(config, tmp_path / 'one', 1)


# Of each of two processes: one step's loss is NaN in the second; clocks that do not agree; a
# pair that the second has lost.
ALONE = """
import json, sys, time
from types import SimpleNamespace
import torch
from torch.utils.data import Dataset
from pspnet_plugin.datasets.bad_pairs import BadPairs
from pspnet_plugin.engine.hooks.bad_pairs_hook import BadPairsHook
from pspnet_plugin.engine.loops.clock_loop import ClockTrainLoop
from test_non_finite_loss import good, train
torch.distributed.init_process_group('gloo')
rank = torch.distributed.get_rank()
first, bad, last = good(3)
bad *= float('nan') if rank else 1
model, said = train([first, bad, last], action='skip')
loop = object.__new__(ClockTrainLoop)
loop._before, loop._began = 0.0, time.monotonic() - 1000 * (rank + 1)
loop._runner = SimpleNamespace(model=model)
loop._read_clock()
bad_pairs = BadPairs()
bad_pairs.lost = torch.tensor([rank, 0, 0, 0], dtype=torch.uint8)
dataset = Dataset()
dataset.bad_pairs, dataset.get_data_info = bad_pairs, lambda i: dict(img_path=f'{i}.jpg')
logger = SimpleNamespace(warning=said.append)
loader = SimpleNamespace(dataset=dataset)
BadPairsHook().after_train(SimpleNamespace(train_dataloader=loader, logger=logger))
state = {key: value.tolist() for key, value in model.state_dict().items()}
json.dump(dict(state=state, said=said, elapsed=loop._elapsed), open(f'{sys.argv[1]}/{rank}', 'w'))
"""


def test_ranks_agree_on_steps_left_out_on_the_clock_and_on_lost_pairs(tmp_path):
    (tmp_path / 'alone.py').write_text(ALONE)
    command = [sys.executable, '-m', 'torch.distributed.run', '--nproc_per_node=2']
    done = subprocess.run(
        [*command, f'--master_port={free_port()}', tmp_path / 'alone.py', tmp_path],
        env=dict(
            os.environ, OMP_NUM_THREADS='1', CUDA_VISIBLE_DEVICES='',
            PYTHONPATH=os.pathsep.join([str(ROOT), str(ROOT / 'tests')]),
        ),
        capture_output=True, text=True, timeout=300,
    )  # fmt: skip
    assert done.returncode == 0, done.stderr[-4000:]
    first, second = (json.loads((tmp_path / str(rank)).read_text()) for rank in range(2))
    assert first['state'] == second['state']
    assert 'is not finite in another process' in first['said'][0]
    assert first['elapsed'] == second['elapsed'] < 1900
    assert '0.jpg can no longer be used, and others take its place' in first['said']


def summary(output: str) -> str:
    """What torchrun says of all ranks; which failed first is known to the second only."""
    before, end, found = output.rpartition(' FAILED\n')
    assert end, output
    return found


def test_a_run_goes_on_with_other_ranks(config, tmp_path):
    """Killed on two, resumed on one process with the whole batch, it is the same training."""
    output = launch(config, tmp_path / 'run', 2, status=1, DIE='raise')
    assert 'rank 1 has had enough' in summary(output)
    assert not (tmp_path / 'run' / 'iter_6.pth').exists()
    said = finish(config, tmp_path / 'run')
    assert 'made by 2 processes with 2 samples each; now there are 1 with 4' in said
    assert 'Training goes on at sample 16' in said
    finish(config, tmp_path / 'one')
    assert_close(tmp_path / 'run', tmp_path / 'one')


@pytest.mark.long
@pytest.mark.parametrize('way', ['kill', 'raise'])
def test_a_dead_rank_stops_the_job_and_restarts_carry_on(way, config, tmp_path):
    launch(config, tmp_path / 'whole', 2)
    dead = launch(config, tmp_path / 'dead', 2, status=1, DIE=way)
    shown = 'Signal 9 (SIGKILL)' if way == 'kill' else 'rank 1 has had enough'
    assert shown in summary(dead)
    carried = launch(config, tmp_path / 'run', 2, '--resume', DIE=way, MAX_RESTARTS='3')
    assert 'resumed epoch: 0, iter: 4' in carried
    assert (tmp_path / 'run' / 'died').exists()
    assert differences(weights(tmp_path / 'whole'), weights(tmp_path / 'run')) == []


@pytest.mark.long
@pytest.mark.parametrize('restarts', ['0', '3'])
def test_two_nodes(restarts, config, tmp_path):
    """Two agents that meet on the loopback device, one process each; with a death on the second."""
    launch(config, tmp_path / 'one node', 2)
    run = tmp_path / 'two nodes'
    env = dict(
        os.environ, NNODES='2', MASTER_ADDR='127.0.0.1', PORT=free_port(), PYTHON=sys.executable,
        OMP_NUM_THREADS='1', PYTHONPATH=str(tmp_path), CUDA_VISIBLE_DEVICES='',
        MAX_RESTARTS=restarts, LOCAL_ADDR='127.0.0.1', DIE='kill' if restarts != '0' else '',
    )  # fmt: skip
    command = [
        ROOT / 'tools/dist_train.sh', config, '1', '--work-dir', run, '--resume',
        '--cfg-options', 'train_dataloader.batch_size=2',
    ]  # fmt: skip
    logs = [(tmp_path / f'node{rank}.log').open('w+') for rank in range(2)]
    nodes = [
        subprocess.Popen(command, env={**env, 'NODE_RANK': str(rank)}, stdout=log, stderr=log)
        for rank, log in enumerate(logs)
    ]
    said = []
    for node, log in zip(nodes, logs, strict=True):
        code = node.wait(timeout=600)
        log.seek(0)
        said.append(log.read())
        assert code == 0, said[-1][-4000:]
    assert ('resumed epoch' in ''.join(said)) == (restarts != '0')
    assert differences(weights(tmp_path / 'one node'), weights(run)) == []


def test_scripts_take_spaces_and_pass_exit_codes_on(tmp_path):
    """A stand-in for python prints what it is given, and ends with a code of its own."""
    python = tmp_path / 'my python'
    python.write_text('#!/bin/sh\nfor word in "$@"; do echo "[$word]"; done\nexit 7\n')
    python.chmod(0o755)
    for tool in ('dist_train.sh', 'dist_test.sh'):
        more = ['my work/iter 1.pth'] if tool == 'dist_test.sh' else []
        output = run_tool(
            ROOT / 'tools' / tool, 'my configs/a b.py', *more, '2', '--work-dir', 'my work',
            env=dict(PYTHON=str(python)), status=7,
        )  # fmt: skip
        found = re.findall(r'\[(.*)\]', output)
        for word in ('my configs/a b.py', 'my work', *more):
            assert word in found
