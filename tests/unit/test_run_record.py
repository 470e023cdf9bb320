"""Entries of the record of a run."""

import re
import subprocess

import torch
from helpers.pairs import build, write_pair
from mmengine.dataset import ConcatDataset
from mmengine.optim import build_optim_wrapper

from pspnet_plugin.engine.hooks.run_record_hook import _decoders_of, _decoding, _named, _precision
from pspnet_plugin.engine.loops.sampling import SeededDataset
from pspnet_plugin.utils import environment


def test_commit_is_dirty_only_where_code_has_changed(tmp_path, monkeypatch):
    def git(*words):
        subprocess.run(['git', '-C', tmp_path, *words], check=True, capture_output=True)

    module = tmp_path / 'pspnet_plugin' / 'utils' / 'environment.py'
    module.parent.mkdir(parents=True)
    module.write_text('')
    (tmp_path / 'notes.md').write_text('')
    monkeypatch.setattr(environment, '__file__', str(module))
    git('init', '-q')
    git('add', '.')
    git('-c', 'user.name=a', '-c', 'user.email=a@b', 'commit', '-qm', 'x')
    clean = environment._commit()
    assert re.fullmatch('[0-9a-f]{12}', clean)
    (tmp_path / 'notes.md').write_text('more')
    assert environment._commit() == clean
    module.write_text('more')
    assert environment._commit() == f'{clean}-dirty'


def test_precision_is_that_of_the_wrapper():
    optimizer = dict(optimizer=dict(type='SGD', lr=0.1))
    for precision, wrapper in (
        ('float32', dict(type='OptimWrapper')),
        ('bfloat16', dict(type='AutocastOptimWrapper', precision='bfloat16')),
    ):
        built = build_optim_wrapper(torch.nn.Linear(1, 1), {**wrapper, **optimizer})
        assert _precision(built) == precision


def test_rules_of_wrapped_datasets_are_found(tmp_path):
    write_pair(tmp_path / 'val/1.png')
    strict, same, other = (
        build(tmp_path, 'val', decode=dict(rule='nearest', max_distance=distance))
        for distance in (10, 10, 20)
    )
    joined = SeededDataset(ConcatDataset([strict, same]))
    assert _decoding(_decoders_of(joined)) == dict(rule='nearest', max_distance=10)
    assert _decoding(_decoders_of(ConcatDataset([strict, other]))) == dict(rule='several')
    assert _decoding([]) is None, 'index maps'


def test_names_of_classes_may_have_a_slash():
    metrics = {'mIoU': 1, 'IoU.car/van': 2, 'edge-aware/mIoU': 3, 'edge-aware/IoU.car/van': 4}
    assert _named(metrics, '', ['edge-aware']) == {'mIoU': 1, 'IoU.car/van': 2}
    assert _named(metrics, 'edge-aware', ['']) == {'mIoU': 3, 'IoU.car/van': 4}
