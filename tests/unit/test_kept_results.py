"""The results that the repository keeps: its page, index and README say what the logs give."""

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
from benchmarks.curves import digest
from benchmarks.results_page import render, spread
from benchmarks.run_plans import read_runs
from benchmarks.run_results import RULES, load_runs
from pspnet_plugin.engine.hooks.run_record_hook import _decoding
from pspnet_plugin.labels.decoder import LabelDecoder


def test_the_page_of_the_repository_is_what_its_logs_give():
    results = ROOT / 'benchmarks/results'
    runs = load_runs(results)
    assert runs
    page = render((results / 'results.md.j2').read_text(), runs)
    assert page == (ROOT / 'docs/results.md').read_text(), 'results_table.py write'
    for run in runs:
        assert (results / run.path).is_file()
        assert run.score('t40')['mIoU'] > 0
    for group in {run.group for run in runs}:
        own = digest([run for run in runs if run.group == group])
        for name in ('curves', 'classes'):
            picture = Image.open(ROOT / 'docs/results' / group / f'{name}.png')
            assert picture.text['Description'] == own, f'{group}/{name}.png: results_table.py write'


def test_the_rules_of_the_tables_are_those_that_configs_score_by():
    config = Config.fromfile(ROOT / 'configs/psp_cityscapes_pairs.py')
    rules = METRICS.build(config.val_evaluator).rules
    for key, name in (('', 't40'), ('edge-aware', 'edge-aware')):
        decoder = LabelDecoder([(0, 0, 0)], **rules[key])
        assert _decoding([decoder]) == RULES[name]


def test_the_readme_has_the_scores_of_the_results():
    readme = (ROOT / 'README.md').read_text()
    rows = defaultdict(list)
    for run in load_runs(ROOT / 'benchmarks/results'):
        if run.group == 'cpu25':
            rows[run.label, run.config].append(run.score('t40'))
    assert len(rows) == 4
    for (label, config), scores in rows.items():
        cells = ' | '.join(spread([score[key] for score in scores]) for key in ('mIoU', 'aAcc'))
        (line,) = (line for line in readme.splitlines() if f'| {cells} |' in line)
        assert config in line or label.rpartition(', ')[2] in line


def test_the_model_index_has_the_scores_of_the_results(tmp_path):
    index = Path(shutil.copy(ROOT / 'model-index.yml', tmp_path))
    arguments = ['--index', str(index), '--page', str(tmp_path / 'page.md')]
    results = shutil.copytree(ROOT / 'benchmarks/results', tmp_path / 'results')
    assert results_table.main(['--results', str(results), 'write', *arguments]) == 0
    assert index.read_text() == (ROOT / 'model-index.yml').read_text()


def test_kept_rows_are_of_the_recipes_that_are_planned():
    path = ROOT / 'benchmarks/results/runs.yml'
    planned = [run for group in yaml.safe_load(path.read_text()) for run in read_runs(path, group)]
    planned = {(run.group, run.label, run.seed): run for run in planned}
    kept = load_runs(ROOT / 'benchmarks/results')
    assert kept
    for run in kept:
        plan = planned[run.group, run.label, run.seed]
        assert (run.recipe, run.command) == (plan.recipe(ROOT), plan.command), run.path


@pytest.mark.parametrize(
    'content',
    ['', '{"group": "cpu25"', '[]', '{"group": "cpu25"}', '{"more": 1}'],
)
def test_a_file_that_is_no_kept_run_is_named(content, tmp_path, capsys):
    results = Path(shutil.copytree(ROOT / 'benchmarks/results', tmp_path / 'results'))
    path = results / 'cpu25/recommended_seed1.json'
    path.write_text(content)
    page = ['--page', str(tmp_path / 'page.md'), '--index', str(tmp_path / 'index.yml')]
    assert results_table.main(['--results', str(results), 'write', *page]) == 2
    assert f'{path} is no kept run' in capsys.readouterr().err
    arguments = ['cpu25', '--results', str(results), '--dry-run']
    assert run_group.main(arguments) == 2
    assert f'{path} is no kept run' in capsys.readouterr().err


def test_what_would_change_scores_silently_is_refused(tmp_path, capsys):
    results = Path(shutil.copytree(ROOT / 'benchmarks/results', tmp_path / 'results'))
    index = Path(shutil.copy(ROOT / 'model-index.yml', tmp_path))
    write = ['write', '--page', str(tmp_path / 'page.md'), '--index', str(index)]
    main = results_table.main
    assert main(['--results', str(results), *write, '--index-groups', 'cpu52']) == 2
    assert "no run was collected into 'cpu52'; there are choices, cpu25" in capsys.readouterr().err
    kept = results / 'cpu25/recommended_seed1.json'
    shutil.copy(kept, kept.with_name('recommended_seed1 (copy).json'))
    assert main(['--results', str(results), *write]) == 2
    assert 'would count twice' in capsys.readouterr().err
    assert main(['--results', str(tmp_path), *write]) == 2
    kept.with_name('recommended_seed1 (copy).json').unlink()
    other = tmp_path / 'other.yml'
    other.write_text('models: []')
    assert main(['--results', str(results), *write[:3], '--index', str(other)]) == 2
    assert f'{other}: expected Models, each with its Config' in capsys.readouterr().err
    assert not (tmp_path / 'page.md').exists(), 'nothing is written by a run that fails'
    assert index.read_text() == (ROOT / 'model-index.yml').read_text()
