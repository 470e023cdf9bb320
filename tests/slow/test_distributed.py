"""Four processes, dead ones, and two nodes."""

import os
import subprocess
import sys
from pathlib import Path

import pytest
from helpers.pairs import ROOT
from helpers.programs import free_port
from helpers.ranks import (
    DEATH_OF_RANK_1,
    assert_close,
    launch,
    scored,
    summary,
    weights,
    write_alike,
)
from helpers.trainings import differences, finish


@pytest.fixture
def config(tmp_path, demo_root) -> Path:
    return write_alike(tmp_path, demo_root)


def test_four_ranks_train_and_score_as_one_process(config, tmp_path):
    finish(config, tmp_path / 'alone')
    launch(config, tmp_path / 'run', 4)
    assert_close(tmp_path / 'run', tmp_path / 'alone')
    assert scored(config, tmp_path / 'alone', 4) == scored(config, tmp_path / 'alone', 1)


@pytest.mark.parametrize('by', ['kill', 'raise'])
def test_dead_rank_stops_the_job_and_restarts_finish_it(by, config, tmp_path):
    launch(config, tmp_path / 'whole', 2)
    death = dict(DEATH_OF_RANK_1, DIE_BY=by)
    dead = launch(config, tmp_path / 'dead', 2, status=1, **death)
    shown = 'Signal 9 (SIGKILL)' if by == 'kill' else 'rank 1 has had enough'
    assert shown in summary(dead)
    output = launch(config, tmp_path / 'run', 2, '--resume', MAX_RESTARTS='3', **death)
    assert 'resumed epoch: 0, iter: 4' in output
    assert (tmp_path / 'run' / 'died').exists()
    assert differences(weights(tmp_path / 'whole'), weights(tmp_path / 'run')) == []


@pytest.mark.parametrize('restarts', ['0', '3'])
def test_two_nodes_train_as_one(restarts, config, tmp_path):
    """Two agents that meet on the loopback device, one process each; with a death on the second."""
    launch(config, tmp_path / 'one node', 2)
    run = tmp_path / 'two nodes'
    env = dict(
        os.environ, NNODES='2', MASTER_ADDR='127.0.0.1', PORT=free_port(), PYTHON=sys.executable,
        OMP_NUM_THREADS='1', PYTHONPATH=str(tmp_path), CUDA_VISIBLE_DEVICES='',
        MAX_RESTARTS=restarts, LOCAL_ADDR='127.0.0.1',
        **(DEATH_OF_RANK_1 if restarts != '0' else {}),
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
    outputs = []
    for node, log in zip(nodes, logs, strict=True):
        code = node.wait(timeout=600)
        log.seek(0)
        outputs.append(log.read())
        assert code == 0, outputs[-1][-4000:]
    assert ('resumed epoch' in ''.join(outputs)) == (restarts != '0')
    assert differences(weights(tmp_path / 'one node'), weights(run)) == []
