"""Tables and plots of results with known values."""

import json
from dataclasses import replace

import pytest
from helpers.runs import PART, as_test, made_run

from benchmarks.corruptions import CORRUPTIONS
from benchmarks.results_page import render
from benchmarks.results_plots import draw_classes, draw_curves
from benchmarks.run_results import RunResults, load_all_results


def cells(template: str, runs: list[RunResults]) -> list[list[str]]:
    table = render(f'{{{{ {template} }}}}', runs)
    rows = [[cell.strip() for cell in line.split('|')[1:-1]] for line in table.splitlines()]
    return [rows[0], *rows[2:]]


def test_corruptions_have_the_drop_of_the_others():
    scored = {name: dict(mIoU=40.0, aAcc=90.0) for name in CORRUPTIONS}
    scored['blur'] = dict(mIoU=31.0, aAcc=85.0)
    runs = [made_run('small', 40, corrupted=scored), made_run('large', 40)]
    head, row = cells("corruptions([('clock', 'small')])", runs)
    found = dict(zip(head, row, strict=True))
    assert (found['clean'], found['blur'], found['mean drop']) == ('40.0', '31.0', '0.9')
    fewer = {name: scored[name] for name in ('clean', 'blur', 'warm')}
    runs.append(made_run('old', 40, corrupted=fewer))
    head, row, _ = cells("corruptions([('clock', 'small'), ('clock', 'old')])", runs)
    assert head[1:] == ['clean', 'warm', 'blur', 'mean drop'] and row[-1] == '4.5'
    with pytest.raises(ValueError, match='large'):
        render("{{ corruptions([('clock', 'large')]) }}", runs)


def test_scores_have_a_row_for_each_network():
    runs = [made_run('small', 30), made_run('large', 40)]
    runs.append(made_run('large', 42, part=dict(seed=1, seconds=1440)))
    head, first, second = cells("scores('clock')", runs)
    by_name = dict(zip(head, first, strict=True))
    expected = {
        'network': 'large', 'mIoU, t40': '41.0 (40.0 to 42.0)',
        'mIoU, edge-aware': '42.5 (41.5 to 43.5)', 'minutes': '24.5 (24.0 to 25.0)',
        'M parameters': '2.35', 'G multiply-adds': '1.00',
        'pairs seen': '1,600 (1,600 to 1,600)', 'seeds': '0, 1',
    }  # fmt: skip
    assert {key: by_name[key] for key in expected} == expected
    assert dict(zip(head, second, strict=True))['mIoU, t40'] == '30.0'


def test_tables_have_known_values():
    small = made_run('small', 30, part=dict(seconds=60, train_pairs=300, commit='abcd'))
    resumed = [PART | dict(last_iteration=60), PART | dict(first_iteration=60, peak_bytes=2e9)]
    large = made_run('large', 40, parts=resumed)
    test = as_test(small, 'small, flipped')  # of the same training
    for template, rows in (
        ("costs('clock')", [['small', '26.7', '0.5'], ['large', '0.5', '2.0']]),
        ("classes('clock', 't40', ['small', 'large'])",
         [['road', '95.0', '95.0'], ['pole', '30.0', '40.0']]),
    ):  # fmt: skip
        assert cells(template, [small, large, test])[1:] == rows, template
    assert render("{{ coverage('clock', 't40') }}", [small]) == '96.0'
    assert render("{{ steps('clock', 'small') }}", [small]) == '100'
    machine = render("{{ machines('clock') }}", [small, made_run('b', 20, part=dict(commit='01'))])
    assert machine.endswith(' 01, abcd') and 'torch 2, mmseg 1, mmengine 2, mmcv 3' in machine


def test_choices_are_compared_with_their_base():
    runs = [made_run('base', 30 + seed, part=dict(seed=seed)) for seed in (0, 1)]
    runs += [made_run('wider', 32), made_run('no flips', 28)]
    _, *rows = cells("choices('clock', 't40', 'base')", runs)
    assert [row[:3] for row in rows] == [
        ['base', '30.5 (30.0 to 31.0)', ''],
        ['wider', '32.0', '+1.5'],
        ['no flips', '28.0', '-2.5'],
    ]


def test_scores_grow_with_the_pairs():
    scores = {'1,000 pairs, small': 40, '30 pairs, large': 30, '30 pairs, small': 20}
    runs = [made_run(label, score) for label, score in scores.items()]
    with pytest.raises(ValueError, match='1,000 pairs, large'):
        cells("growth('clock', 't40', ['large', 'small'])", runs)
    runs.append(made_run('1,000 pairs, large', 45))
    head, *rows = cells("growth('clock', 't40', ['large', 'small'])", runs)
    assert head[:3] == ['pairs', 'mIoU, large', 'mIoU, small']
    assert rows == [
        ['30', '30.0', '20.0', '90.0', '90.0'], ['1,000', '45.0', '40.0', '90.0', '90.0'],
    ]  # fmt: skip


@pytest.mark.parametrize(
    ('template', 'named'),
    [
        ("{{ scores('none') }}", "'none'"),
        ("{{ choices('clock', 't40', 'b') }}", "'b'"),
        ("{{ classes('clock', 't40', []) }}", 'classes'),
        ("{{ classes('clock', 't4', ['a']) }}", "'t4'"),
        ("{{ choices('clock') }}", 'choices'),
        ('{{ score() }}', "'score'"),
        ('\n{{ scores(', 'line 2'),
    ],
)
def test_wrong_templates_are_named(template, named):
    with pytest.raises(ValueError) as error:
        render(template, [made_run('a', 30)])
    assert named in str(error.value)


def test_score_is_of_the_last_step_or_of_the_test():
    run = made_run('a', 30)
    early = {**run.scores[0], 'iteration': 50, 'metrics': {'mIoU': 99.0}}
    test = {**run.scores[0], 'loop': 'test', 'iteration': 0, 'metrics': {'mIoU': 31.0}}
    run = replace(run, scores=[early, *run.scores, test, early])
    tested = replace(run, tested=True)
    assert (run.score('t40')['mIoU'], tested.score('t40')['mIoU']) == (30, 31)
    with pytest.raises(ValueError) as error:
        tested.score('edge-aware')
    assert 'clock/a_seed0.json' in str(error.value)


def test_rows_that_do_not_compare_are_refused():
    first = made_run('a', 30, recipe='one')
    held_out = [{**score, 'split': 'train', 'pairs': 297} for score in first.scores]
    for template, change, named in (
        ("{{ scores('clock') }}", dict(recipe='two'), "clock, 'a'"),
        ("{{ scores('clock') }}", dict(label='b', scores=held_out), '297'),
    ):  # fmt: skip
        with pytest.raises(ValueError) as error:
            render(template, [first, replace(first, **change)])
        assert named in str(error.value)


def test_results_are_not_replaced_by_those_of_another_label(tmp_path):
    for miou in (30, 31):
        made_run('a b', miou).write(tmp_path)
    with pytest.raises(ValueError) as error:
        made_run('a-b', 32).write(tmp_path)
    assert 'a-b_seed0.json' in str(error.value) and "'a b'" in str(error.value)
    (kept,) = load_all_results(tmp_path)
    assert kept.score('t40')['mIoU'] == 31


def test_plots_show_the_results():
    runs = [made_run('small', 30, part=dict(seconds=9)), made_run('large', 40)]
    runs.append(made_run('large', 44, part=dict(seed=1)))
    lines = draw_curves([*runs, as_test(runs[2], 'large, flipped')]).axes[0].lines
    assert len(lines) == 3, 'one for each training'
    for line in lines:
        assert line.get_xdata().tolist() == [16, 32] and line.get_ydata().tolist() == [2, 1]
    assert lines[1].get_color() == lines[2].get_color() != lines[0].get_color()
    axes = draw_classes(runs).axes[0]
    assert [label.get_text() for label in axes.get_yticklabels()] == ['road', 'pole']
    widths = {bars.get_label(): [bar.get_width() for bar in bars] for bars in axes.containers}
    assert widths == dict(large=[95, 42], small=[95, 30])


def test_figures_of_a_gpu_become_tables_if_there_are_any(tmp_path):
    assert render('{{ on_gpu() }}', []) == render('{{ on_gpu() }}', [], gpu=tmp_path / 'none')
    row = dict(config='a.py', steps=40, batch=16, pairs=812.34, waiting=0.25)
    about = dict(processor='A GPU', torch='2.13')
    (tmp_path / 'training.json').write_text(json.dumps(dict(about=about, rows=[row])))
    form = dict(form='ours', seconds=0.5, speedup=[2, 1.5, 2.5], equal=1.0, multiply_adds=3e9)
    (tmp_path / 'networks.json').write_text(json.dumps(dict(about=about, rows=[form])))
    page = render('{{ on_gpu() }}', [], gpu=tmp_path)
    assert '`training`, A GPU, torch 2.13' in page
    assert '| a.py | 40 | 16 | 812.3 | 0.25 |' in page
    assert '| ours | 0.500 | 2.00 (1.50 to 2.50) | 100.0000% | 3.0 |  |' in page
