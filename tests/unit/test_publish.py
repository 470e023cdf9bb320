"""Publishing a network: rounded weights, results that do not belong together, and the card."""

from dataclasses import replace

import pytest
import torch
from helpers.pairs import ROOT
from helpers.runs import as_test, made_run

from benchmarks import publish
from benchmarks.corruptions import CORRUPTIONS

CONFIG = ROOT / 'configs/psp_demo.py'
PROVENANCE = dict(commit='abc123', precision='bfloat16')
SCORED = {name: dict(mIoU=30.0 + i, aAcc=90.0) for i, name in enumerate(CORRUPTIONS)}


def trained(label='net', miou=33.0, **changes):
    return made_run(label, miou, part=PROVENANCE, corrupted=SCORED, **changes)


def test_weights_are_rounded_but_for_those_that_would_overflow():
    state = dict(weight=torch.tensor([0.1, -2.0]), large=torch.tensor([1e5]), count=torch.tensor(7))
    found = publish.to_float16(state)
    assert found['weight'].dtype == torch.float16 and found['count'].dtype == torch.int64
    assert torch.equal(found['large'], state['large'])


def test_results_that_do_not_belong_together_are_refused():
    run = trained()
    test = as_test(run, 'net, flips')
    publish.check_runs([run], [test], CONFIG)
    other = as_test(replace(run, parts=[{**run.parts[0], 'commit': 'other'}]), 'net, flips')
    for runs, tests, named in (
        ([test], [], 'test of its own'),
        ([run], [run], 'no test'),
        ([run], [other], 'no test'),
        ([replace(run, config='psp_other.py')], [], 'psp_other.py'),
        ([replace(run, corrupted={})], [], 'corruptions'),
    ):
        with pytest.raises(ValueError, match=named):
            publish.check_runs(runs, tests, CONFIG)


def test_a_card_has_all_trainings_and_the_scores_of_the_last(tmp_path):
    first, last = trained('first', command='train A'), trained('last', 44.0, command='train B')
    path = tmp_path / 'net.md'
    publish.write_card(
        path, 'net', [first, last], [as_test(last, 'last, flips')], size=9_900_000,
        speeds={'256x256': 12.34}, machine=dict(processor='A CPU', threads=2),
    )  # fmt: skip
    text = path.read_text()
    assert text.index('train A') < text.index('train B') < text.index('| each photo once | 44.0 |')
    assert '| flips |' in text and '9.9 MB' in text and ' 12.3 of 256x256.' in text
    assert '| widened to 512x256, as the camera took them | 39.0 |' in text
    assert text.count('(commit abc123)') == 2 and 'non-commercial' in text
    assert '| pole | 44.0 |' in text and 'below 40 IoU' not in text
    assert 'but for one: that the training went on.' in text and 'pseudo-labels' not in text
