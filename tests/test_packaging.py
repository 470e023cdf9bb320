"""The wheel: configs and tools inside, and a config of ours trains from it alone."""

import subprocess
import sys
import zipfile

import pytest
import yaml
from conftest import ROOT, on, run_tool


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
    assert 'pspnet_plugin/reporting/report.html.j2' in names
    wanted = {
        f'pspnet_plugin/.mim/{path.relative_to(ROOT)}'
        for folder in ('configs', 'tools')
        for path in (ROOT / folder).rglob('*')
        if path.is_file() and '__pycache__' not in path.parts
    }
    assert len(wanted) > 12
    assert wanted <= names
    assert 'pspnet_plugin/.mim/model-index.yml' in names
    modules = {str(p.relative_to(ROOT)) for p in (ROOT / 'pspnet_plugin').rglob('*.py')}
    assert modules <= names
    assert not any('test' in name.split('/')[0] for name in names)


def test_model_index_names_every_config():
    index = yaml.safe_load((ROOT / 'model-index.yml').read_text())
    configs = {str(p.relative_to(ROOT)) for p in (ROOT / 'configs').glob('*.py')}
    assert {model['Config'] for model in index['Models']} == configs
    collections = {collection['Name'] for collection in index['Collections']}
    assert {model['In Collection'] for model in index['Models']} <= collections


def test_a_config_trains_from_the_wheel_alone(wheel, demo_root, tmp_path):
    site = tmp_path / 'site'
    subprocess.run(
        [sys.executable, '-m', 'pip', 'install', '-q', '--no-deps', '--no-index', '--target', site,
         wheel],
        check=True, capture_output=True,
    )  # fmt: skip
    env = dict(PYTHONPATH=str(site))
    where = [sys.executable, '-c', 'import pspnet_plugin; print(pspnet_plugin.__file__)']
    done = subprocess.run(where, cwd=tmp_path, env=env, capture_output=True, text=True)
    assert done.stdout.strip().splitlines()[-1].startswith(str(site)), done.stderr
    mim = site / 'pspnet_plugin' / '.mim'
    options = on(demo_root)
    train = mim / 'tools/train.py'
    run_tool(train, 'configs/psp_demo.py', *options, cwd=tmp_path, env=env, fresh=True)
    assert (tmp_path / 'work_dirs' / 'psp_demo' / 'iter_2.pth').is_file()
