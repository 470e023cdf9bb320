"""Results in the repository: their page, index and README show what the files hold."""

import shutil
from collections import defaultdict
from pathlib import Path

import pytest
import yaml
from helpers.pairs import ROOT
from mmengine.config import Config
from mmseg.registry import METRICS
from PIL import Image

from benchmarks import results_table, run_group
from benchmarks.results_page import render, spread
from benchmarks.results_plots import digest
from benchmarks.run_plans import read_plans
from benchmarks.run_results import DECODINGS, load_all_results
from pspnet_plugin.engine.hooks.run_record_hook import _decoding
from pspnet_plugin.labels.decoder import LabelDecoder

RESULTS = ROOT / 'benchmarks/results'


@pytest.fixture(scope='module')
def runs():
    found = load_all_results(RESULTS)
    assert len(found) > 50
    return found


@pytest.fixture
def results(tmp_path) -> Path:
    """Copy of the results, to be changed."""
    return Path(shutil.copytree(RESULTS, tmp_path / 'results'))


@pytest.fixture
def write(results, tmp_path, capsys):
    """Runs ``write`` on the copy, beside it; checks its exit status and returns what it said."""
    index = shutil.copy(ROOT / 'model-index.yml', tmp_path)
    arguments = ['--results', results, 'write', '--page', tmp_path / 'page.md', '--index', index]

    def run(*more, status=0) -> str:
        assert results_table.main([*map(str, (*arguments, *more))]) == status
        return capsys.readouterr().err

    return run


def test_page_and_plots_are_up_to_date(runs):
    page = render((RESULTS / 'results.md.j2').read_text(), runs)
    assert page == (ROOT / 'docs/results.md').read_text(), 'run results_table.py write'
    for group in {run.group for run in runs}:
        expected = digest([run for run in runs if run.group == group])
        for name in ('curves', 'classes'):
            path = ROOT / f'docs/results/{group}/{name}.png'
            assert Image.open(path).text['Description'] == expected, f'{path}: write it again'
            assert path.stat().st_size < 200_000


def test_index_is_up_to_date(write, tmp_path):
    write()
    assert (tmp_path / 'model-index.yml').read_text() == (ROOT / 'model-index.yml').read_text()


def test_readme_has_the_scores(runs):
    table = (ROOT / 'README.md').read_text().partition('| network | mIoU |')[2].partition('\n\n')[0]
    _, _, *lines = table.splitlines()
    assert len(lines) == 7
    for line in lines:
        rows = defaultdict(list)
        for run in runs:
            if run.config in line and run.group in ('long', 'distilled', 'pretrained', 'cpu25'):
                rows[run.group, run.label].append(run.score('t40'))
        cells = {
            ' | '.join(spread([score[key] for score in scores]) for key in ('mIoU', 'aAcc'))
            for scores in rows.values()
        }
        assert any(f'| {cell} |' in line for cell in cells), line


def test_decodings_are_those_that_configs_score_by():
    config = Config.fromfile(ROOT / 'configs/psp_cityscapes_pairs.py')
    rules = METRICS.build(config.val_evaluator).rules
    for key, name in (('', 't40'), ('edge-aware', 'edge-aware')):
        decoder = LabelDecoder([(0, 0, 0)], **rules[key])
        assert _decoding([decoder]) == DECODINGS[name]


def test_results_are_of_the_planned_recipes(runs):
    path = RESULTS / 'runs.yml'
    plans = [plan for group in yaml.safe_load(path.read_text()) for plan in read_plans(path, group)]
    planned = {plan.path: plan for plan in plans}
    for run in runs:
        plan = planned[run.path]
        assert (run.recipe, run.command) == (plan.recipe(ROOT), plan.command), run.path


@pytest.mark.parametrize('content', ['', '{"group": "cpu25"', '[]', '{"group": "cpu25"}'])
def test_broken_files_are_named(content, results, write, capsys):
    path = results / 'cpu25/recommended_seed1.json'
    path.write_text(content)
    assert str(path) in write(status=2)
    assert run_group.main(['cpu25', '--results', str(results), '--dry-run']) == 2
    assert str(path) in capsys.readouterr().err


def test_nothing_is_written_by_a_run_that_fails(results, write, tmp_path):
    assert "'cpu52'" in write('--index-groups', 'cpu52', status=2)
    other = tmp_path / 'other.yml'
    other.write_text('models: []')
    assert str(other) in write('--index', other, status=2)
    kept = results / 'cpu25/recommended_seed1.json'
    copied = shutil.copy(kept, kept.with_name('recommended_seed1 (copy).json'))
    assert str(copied) in write(status=2)
    shutil.rmtree(results)
    assert str(results) in write(status=2)
    assert not (tmp_path / 'page.md').exists()
    assert (tmp_path / 'model-index.yml').read_text() == (ROOT / 'model-index.yml').read_text()
