"""Several processes train, score and fail as one."""

import json
import os
import re
import subprocess
import sys

import pytest
from helpers.pairs import ROOT
from helpers.programs import free_port, run_tool
from helpers.ranks import assert_close, launch, scored, scores, write_alike
from helpers.trainings import finish


def test_two_ranks_train_and_score_as_one_process(demo_root, tmp_path):
    config, alone = write_alike(tmp_path, demo_root), tmp_path / 'alone'
    validated = finish(config, alone)
    launch(config, tmp_path / 'run', 2)
    assert_close(tmp_path / 'run', alone)
    assert scored(config, alone, 2) == scores(validated)


# In each of two processes: a step whose loss is NaN in the second; clocks that differ; a pair that
# the second has lost.
RANK = """
import json, sys, time
from types import SimpleNamespace
import torch
from torch.utils.data import Dataset
from pspnet_plugin.datasets.bad_pairs import BadPairs
from pspnet_plugin.engine.hooks.bad_pairs_hook import BadPairsHook
from pspnet_plugin.engine.loops.clock_loop import ClockTrainLoop
from unit.test_non_finite_loss import good, train
torch.distributed.init_process_group('gloo')
rank = torch.distributed.get_rank()
first, bad, last = good(3)
bad *= float('nan') if rank else 1
model, logged = train([first, bad, last], action='skip')
loop = object.__new__(ClockTrainLoop)
loop._before, loop._started = 0.0, time.monotonic() - 1000 * (rank + 1)
loop._runner = SimpleNamespace(model=model)
loop._read_clock()
bad_pairs = BadPairs()
bad_pairs.lost = torch.tensor([rank, 0, 0, 0], dtype=torch.uint8)
dataset = Dataset()
dataset.bad_pairs, dataset.get_data_info = bad_pairs, lambda i: dict(img_path=f'{i}.jpg')
logger = SimpleNamespace(warning=logged.append)
loader = SimpleNamespace(dataset=dataset)
BadPairsHook().after_train(SimpleNamespace(train_dataloader=loader, logger=logger))
state = {key: value.tolist() for key, value in model.state_dict().items()}
json.dump(dict(state=state, logged=logged, clock=loop._elapsed), open(f'{sys.argv[1]}/{rank}', 'w'))
torch.distributed.destroy_process_group()  # else gloo's threads may abort the process at its end
"""


def test_ranks_agree_on_skipped_steps_the_clock_and_lost_pairs(tmp_path):
    (tmp_path / 'rank.py').write_text(RANK)
    command = [sys.executable, '-m', 'torch.distributed.run', '--nproc_per_node=2']
    paths = os.pathsep.join([str(ROOT), str(ROOT / 'tests')])
    env = dict(os.environ, OMP_NUM_THREADS='1', CUDA_VISIBLE_DEVICES='', PYTHONPATH=paths)
    words = [*command, f'--master_port={free_port()}', tmp_path / 'rank.py', tmp_path]
    done = subprocess.run(words, env=env, capture_output=True, text=True, timeout=300)
    assert done.returncode == 0, done.stderr[-4000:]
    first, second = (json.loads((tmp_path / str(rank)).read_text()) for rank in range(2))
    assert first['state'] == second['state']
    assert first['clock'] == second['clock'] < 1900
    skipped, _, lost, _ = first['logged']
    assert 'iteration 2 ' in skipped and lost.startswith('0.jpg ')


@pytest.mark.parametrize('tool', ['dist_train.sh', 'dist_test.sh'])
def test_scripts_take_spaces_and_return_the_exit_status(tool, tmp_path):
    """A stand-in for python prints its arguments, and ends with a status of its own."""
    python = tmp_path / 'my python'
    python.write_text('#!/bin/sh\nfor word in "$@"; do echo "[$word]"; done\nexit 7\n')
    python.chmod(0o755)
    more = ['my work/iter 1.pth'] if tool == 'dist_test.sh' else []
    output = run_tool(
        ROOT / 'tools' / tool, 'my configs/a b.py', *more, '2', '--work-dir', 'my work',
        env=dict(PYTHON=str(python)), status=7,
    )  # fmt: skip
    assert {'my configs/a b.py', 'my work', *more} <= set(re.findall(r'\[(.*)\]', output))
