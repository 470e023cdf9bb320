"""What a run leaves for tables of results, by the stock tools."""

import json

from conftest import ROOT, run_tool
from training_runs import finish, kill_at, start, write_config

from pspnet_plugin.engine.run_record_hook import RECORD, _decoding

HOOKS = "custom_hooks = [dict(type='RunRecordHook')]"


def test_parts_and_scores_of_a_resumed_run_are_in_one_record(demo_root, tmp_path):
    config = write_config(tmp_path, demo_root, iters=4, more=HOOKS)
    run = tmp_path / 'run'
    kill_at(start(config, run), run, r'Iter\(train\) \[ *3/4\]')
    finish(config, run)
    run_tool(ROOT / 'tools/test.py', config, run / 'iter_4.pth', '--work-dir', run)
    record = json.loads((run / RECORD).read_text())
    first, second = record['parts']
    for part in (first, second):
        assert part['config'] == 'training.py'
        assert part['seed'] == 3
        assert part['batch_size'] == 2
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


def test_no_rule_is_claimed_for_index_maps():
    assert _decoding(None) is None
