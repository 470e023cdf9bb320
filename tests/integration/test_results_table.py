"""Kept logs of runs, and the page and the index that are written from them."""

import dataclasses
import json
import re
import shutil

import cv2
import pytest
import yaml
from helpers.pairs import ROOT

from benchmarks import results_table
from benchmarks.curves import draw_class_bars, draw_curves
from benchmarks.results_page import render
from benchmarks.run_results import RULES, CollectedRun, collect, load_runs
from pspnet_plugin.engine.hooks.run_record_hook import RECORD


def made_run(label: str, *, seed: int, miou: float, minutes: float = 25, **changes) -> CollectedRun:
    """A run whose values can be known."""
    part = dict(
        seed=seed, seconds=60 * minutes, first_iteration=0, last_iteration=100, batch_size=8,
        processes=2, gpu='', processor='A', cores=2, threads=2, python='3.11', torch='2',
        mmseg='1', mmengine='2', mmcv='3',
    )  # fmt: skip
    scores = [
        dict(
            decode=decode, loop='val', iteration=100, split='val', pairs=500,
            metrics={
                'mIoU': miou + shift, 'aAcc': 90.0, 'mDice': 50.0, 'IoU.road': 95.0,
                'IoU.pole': miou, 'coverage': 96.04,
            },
        )
        for shift, decode in ((0, RULES['t40']), (1.5, RULES['edge-aware']))
    ]  # fmt: skip
    values = dict(
        group='clock', label=label, config='psp_demo.py', command='python', parameters=2_345_678,
        multiply_adds=10**9, parts=[part], scores=scores, curves={'loss': [[1, 2], [2.0, 1.0]]},
    )  # fmt: skip
    return CollectedRun(**{**values, **changes})


def cells(table: str) -> list[list[str]]:
    return [[cell.strip() for cell in line.split('|')[1:-1]] for line in table.splitlines()]


def test_a_table_of_scores_has_a_line_a_network_over_its_seeds():
    runs = [made_run('small', seed=0, miou=30), made_run('large', seed=0, miou=40)]
    runs.append(made_run('large', seed=1, miou=42, minutes=24))
    head, _, first, second = cells(render("{{ scores('clock') }}", runs))
    by_name = dict(zip(head, first, strict=True))
    assert by_name['network'] == 'large'
    assert by_name['mIoU, t40'] == '41.0 (40.0 to 42.0)'
    assert by_name['mIoU, edge-aware'] == '42.5 (41.5 to 43.5)'
    assert by_name['minutes'] == '24.5 (24.0 to 25.0)'
    assert by_name['M parameters'] == '2.35'
    assert by_name['G multiply-adds'] == '1.00'
    assert by_name['pairs seen'] == '1,600 (1,600 to 1,600)'
    assert by_name['seeds'] == '0, 1'
    assert dict(zip(head, second, strict=True))['mIoU, t40'] == '30.0'


def test_costs_have_a_line_a_training():
    runs = [made_run('small', seed=0, miou=30, minutes=1), made_run('large', seed=0, miou=40)]
    tests = [{**score, 'loop': 'test'} for score in runs[0].scores]
    flipped = dict(label='small, flipped', tested=True, scores=runs[0].scores + tests)
    runs.append(dataclasses.replace(runs[0], **flipped))
    for run, memory in zip(runs, (5 * 10**8, 2 * 10**9), strict=False):
        run.parts[0]['peak_bytes'] = memory
    head, _, *rows = cells(render("{{ costs('clock') }}", runs))
    assert head == ['network', 'training pairs a second', 'memory, GB']
    assert rows == [['small', '26.7', '0.5'], ['large', '1.1', '2.0']]


def test_choices_are_compared_with_the_one_they_change():
    runs = [made_run('base', seed=s, miou=30 + s) for s in (0, 1)]
    runs += [made_run('wider', seed=0, miou=32), made_run('no flips', seed=0, miou=28)]
    head, _, *rows = cells(render("{{ choices('clock', 't40', 'base') }}", runs))
    seen = [row[head.index('pairs seen')] for row in rows]
    assert seen == ['1,600 (1,600 to 1,600)', '1,600', '1,600']
    assert [row[:3] for row in rows] == [
        ['base', '30.5 (30.0 to 31.0)', ''],
        ['wider', '32.0', '+1.5'],
        ['no flips', '28.0', '-2.5'],
    ]


def test_growth_has_a_line_a_number_of_pairs():
    runs = [made_run('few', seed=0, miou=30), made_run('all', seed=0, miou=40)]
    runs[0].parts[0]['train_pairs'], runs[1].parts[0]['train_pairs'] = 300, 2678
    table = cells(render("{{ growth('t40', [('clock', 'few'), ('clock', 'all')]) }}", runs))
    assert table[0] == ['pairs', 'pairs seen', 'mIoU', 'pixel accuracy', 'mean Dice']
    assert table[2:] == [
        ['300', '1,600', '30.0', '90.0', '50.0'],
        ['2,678', '1,600', '40.0', '90.0', '50.0'],
    ]


def test_classes_coverage_and_machines():
    runs = [made_run('a', seed=0, miou=30), made_run('b', seed=0, miou=20)]
    runs[0].parts[0]['commit'], runs[1].parts[0]['commit'] = 'abcd', '0123'
    table = cells(render("{{ classes('clock', 't40', ['b', 'a']) }}", runs))
    assert table[0] == ['class', 'b', 'a']
    assert table[2:] == [['road', '95.0', '95.0'], ['pole', '20.0', '30.0']]
    assert render("{{ coverage('clock', 't40') }}", runs) == '96.0'
    assert render("{{ machines('clock') }}", runs) == (
        '- A, CPU cores: 2, threads: 2; Python 3.11, torch 2, mmseg 1, mmengine 2, mmcv 3; '
        'commit 0123, abcd'
    )
    assert render("{{ steps('clock', 'b') }}", runs) == '100'


@pytest.mark.parametrize(
    ('template', 'message'),
    [
        ("{{ scores('none') }}", "no run was collected into 'none'; there are \\['clock'\\]"),
        ("{{ choices('clock', 't40', 'b') }}", "no run is called 'b'; there are \\['a'\\]"),
        ("{{ growth('t40', [('clock', 'b')]) }}", "no run is called 'b'; there are \\['a'\\]"),
        ("{{ classes('clock', 't40', ['b']) }}", "no run is called 'b'; there are \\['a'\\]"),
        ("{{ classes('clock', 't40', []) }}", 'classes: expected labels of runs'),
        (
            "{{ classes('clock', 't4', ['a']) }}",
            "no rule is called 't4'; there are t40, edge-aware",
        ),
        ("{{ choices('clock') }}", 'the template: .* missing 2 required'),
        ('{{ score() }}', "the template: 'score' is undefined"),
        ('\n{{ scores(', 'the template, line 2: '),
    ],
)
def test_a_template_that_asks_for_what_is_not_there(template, message):
    with pytest.raises(ValueError, match=message):
        render(template, [made_run('a', seed=0, miou=30)])


def test_a_row_is_scored_after_its_last_step_or_by_its_test():
    run = made_run('a', seed=0, miou=30)
    early = {**run.scores[0], 'iteration': 50, 'metrics': {'mIoU': 99.0}}
    test = {**run.scores[0], 'loop': 'test', 'iteration': 0, 'metrics': {'mIoU': 31.0}}
    run = made_run('a', seed=0, miou=30, scores=[early, *run.scores, test, early])
    assert run.score('t40')['mIoU'] == 30
    assert dataclasses.replace(run, tested=True).score('t40')['mIoU'] == 31
    with pytest.raises(ValueError, match='clock/a_seed0.json holds no test under edge-aware'):
        dataclasses.replace(run, tested=True).score('edge-aware')


def test_rows_that_do_not_compare_are_refused():
    other = made_run('a', seed=1, miou=30, recipe='two')
    runs = [made_run('a', seed=0, miou=30, recipe='one'), other]
    with pytest.raises(ValueError, match="clock, 'a': its seeds were trained with different"):
        render("{{ scores('clock') }}", runs)
    held_out = [{**score, 'split': 'train', 'pairs': 297} for score in other.scores]
    runs[1] = made_run('b', seed=0, miou=30, scores=held_out)
    with pytest.raises(ValueError, match='different sets: 297 pairs of train, 500 pairs of val'):
        render("{{ scores('clock') }}", runs)
    for run, group in zip(runs, ('one', 'two'), strict=True):
        run.parts[0]['train_pairs'] = 300
        runs[runs.index(run)] = dataclasses.replace(run, group=group)
    with pytest.raises(ValueError, match='growth: its runs were scored on different sets'):
        render("{{ growth('t40', [('one', 'a'), ('two', 'b')]) }}", runs)


def test_what_was_trained_before_in_a_folder_does_not_count(trained, tmp_path):
    work_dir = shutil.copytree(trained, tmp_path / 'run')
    record = json.loads((work_dir / RECORD).read_text())
    (part,) = record['parts']
    before = {**part, 'last_iteration': 7, 'seconds': 600, 'started': '2020-01-01T00:00:00+00:00'}
    record['parts'].insert(0, before)
    (work_dir / RECORD).write_text(json.dumps(record))
    run = collect(work_dir, group='g', label='l', command='c')
    assert run.minutes < 5 and run.pairs_seen == 4
    scores = len(run.scores)
    old = {**record['scores'][-1], 'ended': '2020-01-01T00:01:00+00:00', 'loop': 'test'}
    record['scores'].append(old)
    (work_dir / RECORD).write_text(json.dumps(record))
    assert len(collect(work_dir, group='g', label='l', command='c').scores) == scores > 0
    record['parts'].append({**part, 'first_iteration': 2, 'last_iteration': 3, 'seconds': 60})
    (work_dir / RECORD).write_text(json.dumps(record))
    run = collect(work_dir, group='g', label='l', command='c')
    assert run.minutes < 6 and run.pairs_seen == 6


def test_from_work_dirs_to_page_pictures_and_index(trained, tmp_path):
    tool = results_table
    results = tmp_path / 'results'
    options = ['--group', 'quick', '--command', 'python tools/train.py configs/psp_demo.py']
    for seed in (0, 5):
        work_dir = shutil.copytree(trained, tmp_path / f'run{seed}')
        record = json.loads((work_dir / RECORD).read_text())
        record['parts'][-1]['seed'] = seed
        last = record['scores'][-1]
        record['scores'].append({**last, 'decode': RULES['t40']})
        (work_dir / RECORD).write_text(json.dumps(record))
        arguments = ['--results', str(results), 'collect', str(work_dir), '--label', 'The demo']
        assert tool.main([*arguments, *options]) == 0
    assert sorted(path.name for path in results.rglob('*')) == [
        'quick', 'the-demo_seed0.json', 'the-demo_seed5.json',
    ]  # fmt: skip
    first, second = load_runs(results)
    assert (first.seed, second.seed) == (0, 5)
    assert 100_000 < first.parameters < 1_000_000
    assert 10**8 < first.multiply_adds < 10**10
    assert first.curves['loss'][0] and first.curves['loss'][0] == sorted(first.curves['loss'][0])
    assert first.score('t40') == last['metrics']
    assert max(map(len, (results / first.path).read_text().splitlines())) < 3000

    (results / 'results.md.j2').write_text("# Results\n\n{{ scores('quick') }}\n")
    index = tmp_path / 'index.yml'
    shutil.copy(ROOT / 'model-index.yml', index)
    page = tmp_path / 'results.md'
    arguments = ['--results', str(results), 'write', '--page', str(page), '--index', str(index)]
    assert tool.main([*arguments, '--index-groups', 'quick']) == 0
    assert re.search(r'\| The demo \| `psp_demo.py` \| 0\.\d\d \|', page.read_text())
    assert cv2.imread(str(results / 'quick' / 'curves.png')).shape[1] > 900
    assert cv2.imread(str(results / 'quick' / 'classes.png')).shape[1] > 700
    before = yaml.safe_load((ROOT / 'model-index.yml').read_text())['Models']
    after = yaml.safe_load(index.read_text())['Models']
    assert [model['Config'] for model in after] == [model['Config'] for model in before]
    (demo,) = (model for model in after if model['Name'] == 'psp_demo')
    assert demo['Results'][0]['Metrics']['mIoU'] == round(last['metrics']['mIoU'], 2)
    resources = demo['Metadata'].pop('Training Resources')
    assert re.fullmatch(r'\d+ minutes; CPU cores: \d+ \(.+\)', resources)
    assert demo['Metadata'] == dict(Parameters=first.parameters, Seeds=[0, 5])


def test_work_dirs_that_cannot_be_collected_are_named(trained, tmp_path, capsys):
    tool = results_table
    options = ['--group', 'g', '--label', 'l', '--command', 'c']
    assert tool.main(['collect', str(tmp_path), *options]) == 2
    assert f'{RECORD} is missing; expected a work dir' in capsys.readouterr().err
    work_dir = shutil.copytree(trained, tmp_path / 'run')
    record = json.loads((work_dir / RECORD).read_text())
    record['parts'][-1]['ended'] = False
    (work_dir / RECORD).write_text(json.dumps(record))
    assert tool.main(['collect', str(work_dir), *options]) == 2
    assert 'the training did not come to its end' in capsys.readouterr().err
    shutil.copy(trained / RECORD, work_dir)
    (work_dir / 'psp_demo.py').unlink()
    assert tool.main(['collect', str(work_dir), *options]) == 2
    assert 'psp_demo.py is missing; expected the config' in capsys.readouterr().err


def test_a_kept_run_is_not_replaced_by_one_of_another_label(tmp_path):
    made_run('a b', seed=0, miou=30).write(tmp_path)
    made_run('a b', seed=0, miou=31).write(tmp_path)
    with pytest.raises(ValueError, match="a-b_seed0.json holds the run 'a b'; give 'a-b' another"):
        made_run('a-b', seed=0, miou=32).write(tmp_path)
    (kept,) = load_runs(tmp_path)
    assert kept.score('t40')['mIoU'] == 31


def test_the_pictures_show_the_logs():
    runs = [made_run('small', seed=0, miou=30, minutes=24), made_run('large', seed=0, miou=40)]
    runs.append(made_run('large', seed=1, miou=44))
    runs.append(dataclasses.replace(runs[-1], label='large, flipped', tested=True, scores=[]))
    lines = draw_curves(runs).axes[0].lines
    assert len(lines) == 3, 'the same training is drawn once'
    for line in lines:
        assert line.get_xdata().tolist() == [16, 32] and line.get_ydata().tolist() == [2, 1]
    assert lines[1].get_color() == lines[2].get_color() != lines[0].get_color()
    axes = draw_class_bars(runs[:3]).axes[0]
    assert [label.get_text() for label in axes.get_yticklabels()] == ['road', 'pole']
    widths = {bars.get_label(): [bar.get_width() for bar in bars] for bars in axes.containers}
    assert widths == dict(large=[95, 42], small=[95, 30])
