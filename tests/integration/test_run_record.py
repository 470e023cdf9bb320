"""What a run leaves for tables of results, by the stock tools."""

import json
import re
import subprocess
import sys
from pathlib import Path

import pytest
import torch
from helpers.pairs import ROOT, build, write_pair
from helpers.programs import on, run_tool
from helpers.trainings import IMPORT_DEATH, die, finish, write_config
from mmengine.dataset import ConcatDataset
from mmengine.optim import build_optim_wrapper

from pspnet_plugin.engine.hooks import run_record_hook
from pspnet_plugin.engine.hooks.run_record_hook import RECORD, _decoders_of, _decoding, _named
from pspnet_plugin.engine.loops.sampling import SeededDataset
from pspnet_plugin.utils import environment as machine

HOOKS = "custom_hooks = [dict(type='RunRecordHook'), dict(type='Die')]"


def test_parts_and_scores_of_a_resumed_run_are_in_one_record(demo_root, tmp_path, monkeypatch):
    config = write_config(tmp_path, demo_root, iters=4, more=IMPORT_DEATH + HOOKS)
    run = tmp_path / 'run'
    die(config, run, monkeypatch, at='3')
    finish(config, run)
    run_tool(
        ROOT / 'tools/test.py', config, run / 'iter_4.pth', '--work-dir', run,
        env=dict(PYTHONPATH=str(tmp_path)),
    )  # fmt: skip
    record = json.loads((run / RECORD).read_text())
    first, second = record['parts']
    for part in (first, second):
        assert part['config'] == 'training.py'
        assert part['seed'] == 3
        assert part['batch_size'] == 2 and part['train_pairs'] == 8
        assert part['processor'] and part['cores'] and part['mmseg'] and part['torch']
    assert (first['first_iteration'], second['first_iteration']) == (0, 2)
    assert (first['last_iteration'], second['last_iteration']) == (2, 4)
    assert 0 < second['seconds'] < 600
    assert 1e8 < second['peak_bytes'] < 1e11

    *scores, nearest, edge_aware = record['scores']
    assert [score['iteration'] for score in scores] == [2, 2, 4, 4], 'each is scored by two rules'
    assert {score['loop'] for score in scores} == {'val'}
    for pair in (scores[:2], scores[2:], (nearest, edge_aware)):
        assert pair[0]['decode'] == dict(rule='nearest', max_distance=40)
        assert pair[1]['decode'] == dict(rule='edge_aware', min_confidence=0.8)
        assert pair[0]['metrics'].keys() == pair[1]['metrics'].keys()
        assert pair[0]['metrics']['coverage'] != pair[1]['metrics']['coverage']
    assert nearest['loop'] == 'test' and nearest['checkpoint'] == 'iter_4.pth'
    assert nearest['split'] == 'val' and nearest['pairs'] == scores[1]['pairs'] > 0
    assert 0 <= nearest['metrics']['mIoU'] <= 100
    assert nearest['metrics'] == scores[2]['metrics'], 'the same weights'
    assert nearest['metrics'] != scores[0]['metrics']
    assert all('seconds' in score for score in record['scores'])


def test_the_clock_begins_with_the_process():
    code = """
import time
began = time.monotonic()
time.sleep(1.5)
from pspnet_plugin.utils.environment import PROCESS_STARTED
print(began - PROCESS_STARTED)
"""
    done = subprocess.run([sys.executable, '-c', code], capture_output=True, text=True, check=True)
    before = float(done.stdout.split()[-1])  # what starting the interpreter took
    assert 0 <= before < 30 if Path('/proc/self/stat').is_file() else before < 0


def test_the_commit_is_said_to_be_changed_only_where_code_is(tmp_path, monkeypatch):
    def git(*words):
        subprocess.run(['git', '-C', tmp_path, *words], check=True, capture_output=True)

    module = tmp_path / 'pspnet_plugin' / 'utils' / 'environment.py'
    module.parent.mkdir(parents=True)
    module.write_text('')
    (tmp_path / 'notes.md').write_text('')
    monkeypatch.setattr(machine, '__file__', str(module))
    git('init', '-q')
    git('add', '.')
    git('-c', 'user.name=a', '-c', 'user.email=a@b', 'commit', '-qm', 'x')
    clean = machine._commit()
    assert re.fullmatch('[0-9a-f]{12}', clean)
    (tmp_path / 'notes.md').write_text('more')
    assert machine._commit() == clean
    module.write_text('more')
    assert machine._commit() == f'{clean}-dirty'


@pytest.mark.parametrize(
    ('wrapper', 'said'),
    [
        (dict(type='OptimWrapper'), 'float32'),
        (dict(type='AutocastOptimWrapper', precision='bfloat16'), 'bfloat16'),
        (dict(type='AutocastOptimWrapper', precision='float32'), 'float32'),
    ],
)
def test_the_precision_is_that_of_the_training(wrapper, said):
    net = torch.nn.Linear(1, 1)
    built = build_optim_wrapper(net, dict(wrapper, optimizer=dict(type='SGD', lr=0.1)))
    assert run_record_hook._precision(built) == said


def test_no_rule_is_claimed_for_index_maps():
    assert _decoding([]) is None


def test_rules_of_datasets_within_wrappers(tmp_path):
    write_pair(tmp_path / 'val/1.png')
    strict, same, other = (
        build(tmp_path, 'val', decode=dict(rule='nearest', max_distance=distance))
        for distance in (10, 10, 20)
    )
    joined = SeededDataset(ConcatDataset([strict, same]))
    assert _decoding(_decoders_of(joined)) == dict(rule='nearest', max_distance=10)
    assert _decoding(_decoders_of(ConcatDataset([strict, other]))) == dict(rule='several')


def test_names_of_classes_may_have_a_slash():
    metrics = {
        'mIoU': 1.0,
        'IoU.car/van': 2.0,
        'edge-aware/mIoU': 3.0,
        'edge-aware/IoU.car/van': 4.0,
    }
    assert _named(metrics, '', ['edge-aware']) == {'mIoU': 1.0, 'IoU.car/van': 2.0}
    assert _named(metrics, 'edge-aware', ['']) == {'mIoU': 3.0, 'IoU.car/van': 4.0}


def test_a_test_needs_no_data_of_the_training(demo_root, trained, tmp_path):
    options = on(demo_root, 'train_dataloader.dataset.data_root=nowhere')
    output = run_tool(
        ROOT / 'tools/test.py', trained / 'psp_demo.py', trained / 'iter_2.pth',
        '--work-dir', tmp_path, *options,
    )  # fmt: skip
    assert 'mIoU' in output
    score = json.loads((tmp_path / RECORD).read_text())['scores'][0]
    assert (score['loop'], score['iteration']) == ('test', 0)
