"""Command lines are completed before a stock tool gets them."""

import sys
from importlib import util
from types import SimpleNamespace

import pytest
from helpers.pairs import ROOT
from helpers.programs import DEMO

from pspnet_plugin.engine.stock_tools import (
    add_cfg_options,
    find_config,
    find_missing,
    find_stock_tool,
    launched_by_torchrun,
    run_stock_tool,
)


def test_config_is_found_here_first_and_then_under_the_root(tmp_path, monkeypatch):
    root = tmp_path / 'root'
    (root / 'configs').mkdir(parents=True)
    (root / 'configs' / 'a.py').write_text('')
    (root / 'b.pth').write_text('')
    monkeypatch.chdir(tmp_path)
    assert find_config('configs/a.py', root=root) == str(root / 'configs' / 'a.py')
    (tmp_path / 'configs').mkdir()
    (tmp_path / 'configs' / 'a.py').write_text('')
    assert find_config('configs/a.py', root=root) == 'configs/a.py'
    for other in ('configs/none.py', 'b.pth', '--resume', 'key=a.py'):
        assert find_config(other, root=root) == other


@pytest.mark.parametrize(
    ('given', 'expected'),
    [
        ('c.py', 'c.py --cfg-options x=1'),
        ('c.py --cfg-options=x=2', 'c.py --cfg-options x=1 --cfg-options=x=2'),
        ('c.py --cfg-options x=2 --resume', 'c.py --cfg-options x=1 x=2 --resume'),
    ],
)
def test_settings_of_the_user_come_last(given, expected):
    assert add_cfg_options(given.split(), ['x=1']) == expected.split()


def test_launcher_is_found_on_the_command_line():
    assert launched_by_torchrun(['c.py', '--launcher', 'pytorch'])
    assert launched_by_torchrun(['c.py', '--launcher=pytorch', '--amp'])
    assert not launched_by_torchrun(['pytorch.py', '--launcher', 'slurm'])


def test_tools_of_a_source_checkout_are_found_beside_the_package(tmp_path, monkeypatch):
    (tmp_path / 'tools').mkdir()
    (tmp_path / 'tools' / 'train.py').write_text('')
    origin = SimpleNamespace(origin=str(tmp_path / 'mmseg' / '__init__.py'))
    monkeypatch.setattr(util, 'find_spec', lambda name: origin)
    assert find_stock_tool('train.py') == tmp_path / 'tools' / 'train.py'
    with pytest.raises(FileNotFoundError, match=str(tmp_path / 'tools' / 'test.py')):
        find_stock_tool('test.py')


@pytest.mark.parametrize(
    ('tool', 'arguments', 'missing'),
    [
        ('train.py', ['configs/none.py', '--work-dir', 'run'], 'configs/none.py'),
        ('test.py', [str(DEMO), 'none.pth'], 'none.pth'),
    ],
)
def test_missing_config_or_checkpoint_is_named(tool, arguments, missing, monkeypatch, capsys):
    monkeypatch.setattr(sys, 'argv', [tool, *arguments])
    with pytest.raises(SystemExit, match='2'):
        run_stock_tool(tool, root=ROOT)
    assert capsys.readouterr().err.startswith(f'{tool}: {missing} ')


def test_values_of_options_need_not_exist():
    assert find_missing(['--work-dir', 'new.py', '--cfg-options', 'load_from=a.pth']) is None
    assert find_missing([str(DEMO), 'https://a.org/b.pth']) is None
