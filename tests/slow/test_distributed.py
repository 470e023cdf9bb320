"""Four processes, dead ones, and two nodes."""

import os
import re
import subprocess
import sys
from pathlib import Path

import pytest
from helpers import ranks
from helpers.pairs import ROOT
from helpers.programs import free_port
from helpers.trainings import differences, finish


@pytest.fixture
def config(tmp_path, demo_root) -> Path:
    return ranks.write_alike(tmp_path, demo_root)


def test_four_ranks_train_and_score_as_one_process(config, tmp_path):
    finish(config, tmp_path / 'alone')
    ranks.launch(config, tmp_path / 'run', 4)
    ranks.assert_close(tmp_path / 'run', tmp_path / 'alone')
    one, four = (ranks.scored(config, tmp_path / 'alone', number) for number in (1, 4))
    assert one == four


def test_run_of_two_ranks_resumes_on_one(config, tmp_path):
    """One rank raises in iteration 6; one process with the whole batch finishes the training."""
    finish(config, tmp_path / 'alone')
    run = tmp_path / 'run'
    output = ranks.launch(config, run, 2, status=1, DIE_BY='raise', **ranks.DEATH_OF_RANK_1)
    assert 'rank 1 has had enough' in ranks.summary(output)
    assert not (run / 'iter_6.pth').exists()
    output = finish(config, run)
    (warning,) = re.findall('WARNING - (.*batch.*|.* 2 processes .*)', output)
    assert re.findall(r'\d+', warning)[:5] == ['2', '2', '1', '4', '16']
    ranks.assert_close(run, tmp_path / 'alone')


@pytest.mark.parametrize('by', ['kill', 'raise'])
def test_dead_rank_stops_the_job_and_restarts_finish_it(by, config, tmp_path):
    ranks.launch(config, tmp_path / 'whole', 2)
    death = dict(ranks.DEATH_OF_RANK_1, DIE_BY=by)
    dead = ranks.launch(config, tmp_path / 'dead', 2, status=1, **death)
    shown = 'Signal 9 (SIGKILL)' if by == 'kill' else 'rank 1 has had enough'
    assert shown in ranks.summary(dead)
    output = ranks.launch(config, tmp_path / 'run', 2, '--resume', MAX_RESTARTS='3', **death)
    assert 'resumed epoch: 0, iter: 4' in output
    assert (tmp_path / 'run' / 'died').exists()
    assert differences(ranks.weights(tmp_path / 'whole'), ranks.weights(tmp_path / 'run')) == []


@pytest.mark.parametrize('restarts', ['0', '3'])
def test_two_nodes_train_as_one(restarts, config, tmp_path):
    """Two agents that meet on the loopback device, one process each; with a death on the second."""
    ranks.launch(config, tmp_path / 'one node', 2)
    run = tmp_path / 'two nodes'
    env = dict(
        os.environ, NNODES='2', MASTER_ADDR='127.0.0.1', PORT=free_port(), PYTHON=sys.executable,
        OMP_NUM_THREADS='1', PYTHONPATH=str(tmp_path), CUDA_VISIBLE_DEVICES='',
        MAX_RESTARTS=restarts, LOCAL_ADDR='127.0.0.1',
        **(ranks.DEATH_OF_RANK_1 if restarts != '0' else {}),
    )  # fmt: skip
    command = [
        ROOT / 'tools/dist_train.sh', config, '1', '--work-dir', run, '--resume',
        '--cfg-options', 'train_dataloader.batch_size=2',
    ]  # fmt: skip
    nodes = []
    for rank in range(2):
        with (tmp_path / f'node{rank}.log').open('w') as log:
            env['NODE_RANK'] = str(rank)
            nodes.append(subprocess.Popen(command, env=env, stdout=log, stderr=log))
    codes = [node.wait(timeout=600) for node in nodes]
    output = ''.join((tmp_path / f'node{rank}.log').read_text() for rank in range(2))
    assert codes == [0, 0], output[-4000:]
    assert ('resumed epoch' in output) == (restarts != '0')
    assert differences(ranks.weights(tmp_path / 'one node'), ranks.weights(run)) == []
