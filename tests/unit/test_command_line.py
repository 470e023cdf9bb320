"""How tools end, and what each of them says of itself."""

import argparse
import re

import numpy as np
import pytest
from helpers.pairs import ROOT
from helpers.programs import load_tool

from pspnet_plugin.labels import LabelDecoder
from pspnet_plugin.utils.command_line import run_command

TOOLS = sorted(
    str(path.relative_to(ROOT / 'tools'))
    for path in (ROOT / 'tools').rglob('*.py')
    if path.name not in ('train.py', 'test.py')  # stock ones speak for themselves
)

COMMANDS = {
    'make_pairs.py': [['synthetic'], ['cityscapes'], ['folders']],
    'benchmark.py': [['heads'], ['networks'], ['keras'], ['loader'], ['predict']],
    'results_table.py': [['collect'], ['write']],
}


def run(error=None, *, debug=False, result=None, **kwargs) -> int:
    def function(args):
        if error:
            raise error
        return result

    return run_command('tool', function, argparse.Namespace(debug=debug), **kwargs)


def test_a_tool_that_ends_well_says_nothing(capsys):
    assert (run(), run(result=1)) == (0, 1)
    assert capsys.readouterr().err == ''


@pytest.mark.parametrize(
    ('error', 'status', 'message'),
    [
        (FileNotFoundError(2, 'gone', 'a.py'), 2, "tool: [Errno 2] gone: 'a.py'\n"),
        (KeyboardInterrupt(), 130, 'tool: interrupted; all is whole\n'),
        (PermissionError('no'), 1, 'tool: not yours: no\n'),
    ],
)
def test_errors_are_one_line_and_a_status(error, status, message, capsys):
    endings = {PermissionError: lambda error: (1, f'not yours: {error}')}
    assert run(error, interrupted='all is whole', endings=endings) == status
    assert capsys.readouterr().err == message


def test_faults_and_debugging_have_their_traceback():
    with pytest.raises(ZeroDivisionError):
        run(ZeroDivisionError())
    with pytest.raises(ValueError, match='seven'):
        run(ValueError('seven'), debug=True)


def test_messages_of_this_package_are_enough(capsys):
    def function(args):
        LabelDecoder([(0, 0, 0)], rule='none')

    assert run_command('tool', function, argparse.Namespace(debug=False)) == 2
    said = capsys.readouterr().err
    assert said.startswith('tool: ') and "'none'" in said and '--debug' not in said


def test_messages_of_others_say_how_to_see_more(capsys):
    def function(args):
        np.broadcast_shapes((3,), (4,))

    assert run_command('tool', function, argparse.Namespace(debug=False)) == 2
    assert capsys.readouterr().err.endswith('(--debug shows where)\n')


@pytest.mark.parametrize('tool', TOOLS)
def test_help_has_an_example_and_the_common_options(tool, capsys):
    if tool.endswith('predict_onnx.py'):
        pytest.importorskip('onnxruntime')
    main = load_tool(tool).main

    def help_of(*command):
        with pytest.raises(SystemExit) as stopped:
            main([*command, '--help'])
        assert stopped.value.code == 0
        return capsys.readouterr().out

    said = help_of()
    assert re.search('examples?:', said, re.I) and f'python tools/{tool}' in said
    commands = COMMANDS.get(tool.rpartition('/')[2], [()])
    for command in commands:
        assert '--debug' in help_of(*command)


def test_there_are_tools():
    assert len(TOOLS) > 10
