"""The wheel: configs and tools inside, and a config of ours trains from it alone."""

import os
import shutil
import subprocess
import sys
import zipfile
from pathlib import Path

import cv2
import pytest
import yaml
from helpers.pairs import ROOT, photo
from helpers.programs import load_tool, on, run_tool

from pspnet_plugin.engine import trained_networks


@pytest.fixture(scope='module')
def wheel(tmp_path_factory):
    out = tmp_path_factory.mktemp('wheel')
    # From a copy, so that a build folder left in the checkout cannot help or harm.
    source = out / 'source'
    files = subprocess.run(
        ['git', 'ls-files', '--cached', '--others', '--exclude-standard', '-z'],
        cwd=ROOT, capture_output=True, text=True, check=True,
    ).stdout.split('\0')  # fmt: skip
    for name in filter(None, files):
        if (ROOT / name).is_file():
            (source / name).parent.mkdir(parents=True, exist_ok=True)
            (source / name).write_bytes((ROOT / name).read_bytes())
    subprocess.run(
        [sys.executable, '-m', 'pip', 'wheel', '-q', '--no-deps', '--no-build-isolation',
         '--no-index', '-w', out, source],
        check=True, capture_output=True,
    )  # fmt: skip
    (path,) = out.glob('*.whl')
    return path


def test_wheel_carries_configs_tools_and_index(wheel):
    names = set(zipfile.ZipFile(wheel).namelist())
    wanted = {
        f'pspnet_plugin/.mim/{path.relative_to(ROOT)}'
        for folder in ('configs', 'tools', 'weights')
        for path in (ROOT / folder).rglob('*')
        if path.is_file() and '__pycache__' not in path.parts
    }
    assert len(wanted) > 12
    assert wanted <= names
    assert 'pspnet_plugin/.mim/model-index.yml' in names
    files = [path for path in (ROOT / 'pspnet_plugin').rglob('*.*') if path.suffix != '.pyc']
    assert {'.py', '.j2', '.yml'} < {path.suffix for path in files}
    assert {str(path.relative_to(ROOT)) for path in files} <= names
    assert not any('test' in name.split('/')[0] for name in names)


# Takes down what it is given, and makes what the real programs would.
STAND_IN = """#!/bin/sh
[ "$1" = -c ] && echo /photos/china.jpg && exit
echo "$@" >> calls
case "$1" in
    *predict.py) mkdir -p work_dirs/street/overlay; touch work_dirs/street/overlay/china.jpg;;
    *train.py) mkdir -p work_dirs/psp_demo
        echo /elsewhere/iter_600.pth > work_dirs/psp_demo/last_checkpoint;;
    *report.py) touch work_dirs/psp_demo/report.html;;
    *make_pairs.py) mkdir -p data/demo_pairs;;
esac
"""


def test_make_demo_calls_programs_that_exist_as_they_are_called(tmp_path):
    for name in ('Makefile', 'pyproject.toml', 'setup.py', 'constraints.txt'):
        shutil.copy(ROOT / name, tmp_path)
    (tmp_path / 'weights').mkdir()
    shutil.copy(ROOT / 'weights/SHA256SUMS', tmp_path / 'weights')
    (tmp_path / 'venv/bin').mkdir(parents=True)
    python = tmp_path / 'venv/bin/python'
    python.write_text(STAND_IN)
    python.chmod(0o755)
    (tmp_path / 'venv/.ready').touch()  # everything is installed
    make = ['make', '-C', str(tmp_path), 'demo', 'VENV=venv']
    said = subprocess.run(make, check=True, capture_output=True, text=True).stdout
    assert 'open work_dirs/psp_demo/report.html in a browser' in said
    assert 'work_dirs/street/overlay/china.jpg' in said
    calls = [line.split() for line in (tmp_path / 'calls').read_text().splitlines()]
    assert [Path(program).name for program, *_ in calls] == [
        'make_pairs.py', 'train.py', 'test.py', 'report.py', 'predict.py',
    ]  # fmt: skip
    for program, *arguments in calls:
        assert (ROOT / program).is_file()
        if Path(program).name in ('make_pairs.py', 'report.py', 'predict.py'):
            load_tool(Path(program).relative_to('tools')).parse_args(arguments)
        else:
            assert (ROOT / arguments[0]).is_file()
            assert arguments[arguments.index('--work-dir') + 1] == 'work_dirs/psp_demo'
    assert '--resume' in calls[1] and 'work_dirs/psp_demo/iter_600.pth' in calls[2]
    subprocess.run(make, check=True, capture_output=True)
    assert len((tmp_path / 'calls').read_text().splitlines()) == len(calls), 'all is there'


def test_model_index_names_every_config():
    index = yaml.safe_load((ROOT / 'model-index.yml').read_text())
    configs = {str(p.relative_to(ROOT)) for p in (ROOT / 'configs').glob('*.py')}
    assert {model['Config'] for model in index['Models']} == configs
    collections = {collection['Name'] for collection in index['Collections']}
    assert {model['In Collection'] for model in index['Models']} <= collections


@pytest.fixture(scope='module')
def site(wheel, tmp_path_factory) -> Path:
    """A directory with nothing but the installed wheel."""
    site = tmp_path_factory.mktemp('site')
    subprocess.run(
        [sys.executable, '-m', 'pip', 'install', '-q', '--no-deps', '--no-index', '--target', site,
         wheel],
        check=True, capture_output=True,
    )  # fmt: skip
    return site


OFFLINE = """
import socket, sys
def refuse(*_, **__):
    raise RuntimeError('offline')
socket.socket.connect = socket.getaddrinfo = refuse
import cv2, pspnet_plugin
assert pspnet_plugin.__file__.startswith(sys.argv[1]), pspnet_plugin.__file__
cv2.imwrite('overlay.png', pspnet_plugin.Predictor(sys.argv[2])('photo.png').overlay())
"""


@pytest.mark.parametrize('name', trained_networks())
def test_the_wheel_alone_labels_a_photo_offline(site, tmp_path, name):
    cv2.imwrite(str(tmp_path / 'photo.png'), photo(64, 96))
    subprocess.run(
        [sys.executable, '-c', OFFLINE, site, name],
        cwd=tmp_path, env={**os.environ, 'PYTHONPATH': str(site)}, check=True,
    )  # fmt: skip
    overlay = cv2.imread(str(tmp_path / 'overlay.png'))
    assert overlay.shape[0] >= 64 and overlay.shape[1] > 96  # with the legend


def test_a_config_trains_from_the_wheel_alone(site, demo_root, tmp_path):
    env = dict(PYTHONPATH=str(site))
    where = [sys.executable, '-c', 'import pspnet_plugin; print(pspnet_plugin.__file__)']
    done = subprocess.run(where, cwd=tmp_path, env=env, capture_output=True, text=True)
    assert done.stdout.strip().splitlines()[-1].startswith(str(site)), done.stderr
    mim = site / 'pspnet_plugin' / '.mim'
    options = on(demo_root)
    train = mim / 'tools/train.py'
    run_tool(train, 'configs/psp_demo.py', *options, cwd=tmp_path, env=env, fresh=True)
    assert (tmp_path / 'work_dirs' / 'psp_demo' / 'iter_2.pth').is_file()
