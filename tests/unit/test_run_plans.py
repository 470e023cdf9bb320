"""Plans of runs: commands, recipes, and what is wrong with a file."""

from dataclasses import replace
from pathlib import Path

import pytest

from benchmarks.run_plans import RunPlan, read_plans


@pytest.fixture
def plans_of(tmp_path):
    """Reads the group ``g`` of a file of this text."""

    def read(text: str) -> list[RunPlan]:
        path = tmp_path / 'runs.yml'
        path.write_text(text)
        return read_plans(path, 'g')

    return read


def test_run_may_be_tested_by_another_config(plans_of):
    split, plain, again = plans_of(
        'g: {options: [x=1], runs: {split: {config: a.py, test_config: b.py, test: [--tta]}, '
        'plain: {config: a.py}, again: {of: split, test: []}}}'
    )
    assert again.test_config == 'b.py' and again.folder == split.folder
    assert split.training[0] == plain.training[0] == 'a.py'
    assert plain.test is None and plain.test_config == 'a.py'
    assert split.testing('c.pth') == ['b.py', 'c.pth', '--tta', '--cfg-options', 'x=1']
    assert 'tools/test.py b.py CHECKPOINT --tta' in split.command
    other = replace(split, test=('--cfg-options', 'y=2'))
    assert (split.test_options, other.test_options) == ({}, {'y': 2})
    assert other.testing('c.pth') == ['b.py', 'c.pth', '--cfg-options', 'x=1', 'y=2']


def test_recipe_follows_from_the_settings(plans_of, tmp_path):
    def recipe(config: str, plan: str = '{config: c.py}') -> str:
        (tmp_path / 'c.py').write_text(config)
        (plan_of_seed,) = plans_of(f'g: {{runs: {{a: {plan}}}}}')
        return plan_of_seed.recipe(tmp_path)

    config = "model = dict(a=1, b=(2, 3))\nval_dataloader = dict(data_root='here')\n"
    expected = recipe(config)
    helpers = "norm = 7\nval_dataloader = dict(data_root='there')\nmodel = dict(b=[2, 3], a=1)\n"
    assert recipe(helpers) == recipe(config, '{config: c.py, seeds: [3]}') == expected
    changed = [recipe(config.replace('a=1', 'a=2')), recipe(config + 'compile = True\n')]
    changed.append(recipe(config, "{config: c.py, options: ['x=1']}"))
    assert len({expected, *changed}) == 4


@pytest.mark.parametrize(
    ('text', 'named'),
    [
        ('g: {runs: {a: [b', 'runs.yml'),
        ('g: {runs: {a: {config: c}, a: {config: d}}}', "'a'"),
        ('g: {runs: {a: {config: c}, b: {of: a}}}', 'g, b'),
        ('g: {runs: {a: {config: c}, b: {of: c, test: []}}}', 'g, b'),
        ('g: {runs: {a: {config: c}, b: {of: a, test: [], seeds: [1]}}}', "'a' has no seed 1"),
        ('g: {runs: {a: {config: c, options: [randomness.seed=1]}}}', 'randomness.seed=1'),
        ('g: {runs: {a: {config: c, option: []}}}', 'g, a: unknown key option'),
        ('on: {}', "'g'"),
        ('g: {runs: }', 'g, runs'),
        ('g: {runs: {}}', 'g'),
        ('g: {runs: {3: {config: c}}}', 'g, 3'),
        ('g: {runs: {a: {config: 7}}}', 'g, a, config'),
        ('g: {runs: {a: {config: c, seeds: [x]}}}', 'g, a, seeds'),
        ('g: {runs: {a: {config: c, seeds: []}}}', 'g, a'),
        ('g: {runs: {a: {config: c, options: [a]}}}', "'a'"),
        ('g: {cores: 0, runs: {a: {config: c}}}', 'g: '),
        ("g: {runs: {'?': {config: c}}}", "'?'"),
        ('g: {runs: {A b: {config: c}, a-b: {config: c}}}', str(Path('g/a-b_seed0.json'))),
    ],
)
def test_unusable_plans_are_named(text, named, plans_of):
    with pytest.raises(ValueError) as error:
        plans_of(text)
    assert named in str(error.value)
