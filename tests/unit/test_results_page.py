"""Tables and plots of results with known values."""

import dataclasses

import pytest

from benchmarks.results_page import render
from benchmarks.results_plots import draw_classes, draw_curves
from benchmarks.run_results import DECODINGS, RunResults, load_all_results


def made_run(label: str, *, miou: float, seed: int = 0, minutes: float = 25, **changes):
    part = dict(
        seed=seed, seconds=60 * minutes, first_iteration=0, last_iteration=100, batch_size=8,
        processes=2, gpu='', processor='A', cores=2, threads=2, python='3.11', torch='2',
        mmseg='1', mmengine='2', mmcv='3', peak_bytes=5 * 10**8, train_pairs=2678,
    )  # fmt: skip
    scores = [
        dict(
            decode=decode, loop='val', iteration=100, split='val', pairs=500,
            metrics={
                'mIoU': miou + shift, 'aAcc': 90.0, 'mDice': 50.0, 'IoU.road': 95.0,
                'IoU.pole': miou, 'coverage': 96.04,
            },
        )
        for shift, decode in ((0, DECODINGS['t40']), (1.5, DECODINGS['edge-aware']))
    ]  # fmt: skip
    values = dict(
        group='clock', label=label, config='psp_demo.py', command='python', parameters=2_345_678,
        multiply_adds=10**9, parts=[part], scores=scores, curves={'loss': [[1, 2], [2.0, 1.0]]},
    )  # fmt: skip
    return RunResults(**{**values, **changes})


def as_test(run: RunResults, label: str) -> RunResults:
    """Copy of a run, tested in another way."""
    tests = [{**score, 'loop': 'test'} for score in run.scores]
    return dataclasses.replace(run, label=label, tested=True, scores=run.scores + tests)


def cells(template: str, runs: list[RunResults]) -> list[list[str]]:
    table = render(f'{{{{ {template} }}}}', runs)
    rows = [[cell.strip() for cell in line.split('|')[1:-1]] for line in table.splitlines()]
    return [rows[0], *rows[2:]]


def test_scores_have_a_row_for_each_network():
    runs = [made_run('small', miou=30), made_run('large', miou=40)]
    runs.append(made_run('large', seed=1, miou=42, minutes=24))
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


def test_costs_have_a_row_for_each_training():
    runs = [made_run('small', miou=30, minutes=1), made_run('large', miou=40)]
    runs[1].parts[0]['peak_bytes'] = 2 * 10**9
    _, *rows = cells("costs('clock')", [*runs, as_test(runs[0], 'small, flipped')])
    assert rows == [['small', '26.7', '0.5'], ['large', '1.1', '2.0']]


def test_choices_are_compared_with_their_base():
    runs = [made_run('base', seed=s, miou=30 + s) for s in (0, 1)]
    runs += [made_run('wider', miou=32), made_run('no flips', miou=28)]
    _, *rows = cells("choices('clock', 't40', 'base')", runs)
    assert [row[4] for row in rows] == ['1,600 (1,600 to 1,600)', '1,600', '1,600']
    assert [row[:3] for row in rows] == [
        ['base', '30.5 (30.0 to 31.0)', ''],
        ['wider', '32.0', '+1.5'],
        ['no flips', '28.0', '-2.5'],
    ]


def test_growth_has_a_row_for_each_number_of_pairs():
    runs = [made_run('few', miou=30), made_run('all', miou=40)]
    runs[0].parts[0]['train_pairs'] = 300
    _, *rows = cells("growth('t40', [('clock', 'few'), ('clock', 'all')])", runs)
    assert rows == [
        ['300', '1,600', '30.0', '90.0', '50.0'],
        ['2,678', '1,600', '40.0', '90.0', '50.0'],
    ]


def test_classes_coverage_machines_and_steps():
    runs = [made_run('a', miou=30), made_run('b', miou=20)]
    runs[0].parts[0]['commit'], runs[1].parts[0]['commit'] = 'abcd', '0123'
    table = cells("classes('clock', 't40', ['b', 'a'])", runs)
    assert table == [['class', 'b', 'a'], ['road', '95.0', '95.0'], ['pole', '20.0', '30.0']]
    assert render("{{ coverage('clock', 't40') }}", runs) == '96.0'
    assert render("{{ steps('clock', 'b') }}", runs) == '100'
    (line,) = render("{{ machines('clock') }}", runs).splitlines()
    assert line.endswith(' 0123, abcd') and 'torch 2, mmseg 1, mmengine 2, mmcv 3' in line


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
        render(template, [made_run('a', miou=30)])
    assert named in str(error.value)


def test_score_is_of_the_last_step_or_of_the_test():
    run = made_run('a', miou=30)
    early = {**run.scores[0], 'iteration': 50, 'metrics': {'mIoU': 99.0}}
    test = {**run.scores[0], 'loop': 'test', 'iteration': 0, 'metrics': {'mIoU': 31.0}}
    run = dataclasses.replace(run, scores=[early, *run.scores, test, early])
    assert run.score('t40')['mIoU'] == 30
    tested = dataclasses.replace(run, tested=True)
    assert tested.score('t40')['mIoU'] == 31
    with pytest.raises(ValueError) as error:
        tested.score('edge-aware')
    assert 'clock/a_seed0.json' in str(error.value)


def test_rows_that_do_not_compare_are_refused():
    first = made_run('a', miou=30, recipe='one')
    with pytest.raises(ValueError) as error:
        render("{{ scores('clock') }}", [first, made_run('a', seed=1, miou=30, recipe='two')])
    assert "clock, 'a'" in str(error.value)
    held_out = [{**score, 'split': 'train', 'pairs': 297} for score in first.scores]
    other = made_run('b', miou=30, scores=held_out)
    with pytest.raises(ValueError) as error:
        render("{{ scores('clock') }}", [first, other])
    assert '297' in str(error.value) and '500' in str(error.value)
    runs = [first, dataclasses.replace(other, group='two')]
    with pytest.raises(ValueError) as error:
        render("{{ growth('t40', [('clock', 'a'), ('two', 'b')]) }}", runs)
    assert '297' in str(error.value)


def test_results_are_not_replaced_by_those_of_another_label(tmp_path):
    made_run('a b', miou=30).write(tmp_path)
    made_run('a b', miou=31).write(tmp_path)
    with pytest.raises(ValueError) as error:
        made_run('a-b', miou=32).write(tmp_path)
    assert 'a-b_seed0.json' in str(error.value) and "'a b'" in str(error.value)
    (kept,) = load_all_results(tmp_path)
    assert kept.score('t40')['mIoU'] == 31


def test_plots_show_the_results():
    runs = [made_run('small', miou=30, minutes=24), made_run('large', miou=40)]
    runs.append(made_run('large', seed=1, miou=44))
    lines = draw_curves([*runs, as_test(runs[2], 'large, flipped')]).axes[0].lines
    assert len(lines) == 3, 'one for each training'
    for line in lines:
        assert line.get_xdata().tolist() == [16, 32] and line.get_ydata().tolist() == [2, 1]
    assert lines[1].get_color() == lines[2].get_color() != lines[0].get_color()
    axes = draw_classes(runs).axes[0]
    assert [label.get_text() for label in axes.get_yticklabels()] == ['road', 'pole']
    widths = {bars.get_label(): [bar.get_width() for bar in bars] for bars in axes.containers}
    assert widths == dict(large=[95, 42], small=[95, 30])
