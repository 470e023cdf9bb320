"""Tools end with one line and a status; each has help with an example."""

import argparse
import re
import runpy

import numpy as np
import pytest
from helpers.pairs import ROOT
from helpers.programs import load_tool

from pspnet_plugin.labels import LabelDecoder
from pspnet_plugin.utils.command_line import bounded_int, parse_size, raised_within, run_command

TOOLS = sorted(
    str(path.relative_to(ROOT / 'tools'))
    for path in (ROOT / 'tools').rglob('*.py')
    if path.name not in ('train.py', 'test.py')  # stock tools have a help of their own
)
COMMANDS = {'make_pairs.py': [['synthetic'], ['cityscapes'], ['folders']]}


def run(error=None, *, debug=False, result=None, **kwargs) -> int:
    def function(args):
        if error:
            raise error
        return result

    return run_command('tool', function, argparse.Namespace(debug=debug), **kwargs)


@pytest.mark.parametrize(
    ('error', 'status', 'message'),
    [
        (FileNotFoundError(2, 'gone', 'a.py'), 2, "tool: [Errno 2] gone: 'a.py'\n"),
        (KeyboardInterrupt(), 130, 'tool: interrupted; nothing is lost\n'),
        (PermissionError('no'), 1, 'tool: not yours: no\n'),
    ],
)
def test_errors_are_one_line_and_a_status(error, status, message, capsys):
    endings = {PermissionError: lambda error: (1, f'not yours: {error}')}
    assert run(error, interrupted='nothing is lost', endings=endings) == status
    assert capsys.readouterr().err == message
    assert (run(), run(result=1)) == (0, 1)
    assert capsys.readouterr().err == ''


@pytest.mark.parametrize(('error', 'debug'), [(ZeroDivisionError(), False), (ValueError(), True)])
def test_faults_and_debugging_have_their_traceback(error, debug):
    with pytest.raises(type(error)):
        run(error, debug=debug)


def test_errors_of_other_packages_point_to_debug(capsys):
    def fail(args):
        return LabelDecoder([(0, 0, 0)], rule='none') if args.ours else np.broadcast_shapes(3, 4)

    for ours in (True, False):
        assert run_command('tool', fail, argparse.Namespace(debug=False, ours=ours)) == 2
        message = capsys.readouterr().err
        assert message.startswith('tool: ') and ('--debug' in message) != ours


def test_code_behind_a_symbolic_link_is_found(tmp_path):
    (tmp_path / 'code').mkdir()
    (tmp_path / 'code/module.py').write_text('def fail():\n    raise ValueError\n')
    (tmp_path / 'link').symlink_to(tmp_path / 'code')
    with pytest.raises(ValueError) as error:
        runpy.run_path(str(tmp_path / 'link/module.py'))['fail']()
    for folder in ('code', 'link'):
        assert raised_within(error.value, tmp_path / folder)
    assert not raised_within(error.value, tmp_path / 'other')


@pytest.mark.parametrize(
    ('parse', 'good', 'value', 'bad'),
    [
        (parse_size, '512x1024', (512, 1024), ['512', '0x4', '5x-1']),
        (bounded_int(1), '7', 7, ['0', '-1', '1.5']),
        (bounded_int(1, 100), '100', 100, ['101']),
    ],
    ids=['size', 'at least', 'between'],
)
def test_arguments_are_parsed_or_named(parse, good, value, bad):
    assert parse(good) == value
    for text in bad:
        with pytest.raises(argparse.ArgumentTypeError, match=repr(text)):
            parse(text)


assert len(TOOLS) > 9


@pytest.mark.parametrize('tool', TOOLS)
def test_help_has_an_example_and_debug(tool, capsys):
    if tool.endswith('predict_onnx.py'):
        pytest.importorskip('onnxruntime')
    main = load_tool(tool).main

    def help_of(*command):
        with pytest.raises(SystemExit, match='0'):
            main([*command, '--help'])
        return capsys.readouterr().out

    text = help_of()
    assert re.search('examples?:', text, re.I) and f'python tools/{tool}' in text
    for command in COMMANDS.get(tool.rpartition('/')[2], [()]):
        assert '--debug' in help_of(*command)
