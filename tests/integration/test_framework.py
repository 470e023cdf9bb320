"""What importing the package says where the framework is missing, too old, or there twice."""

import subprocess
import sys
from importlib import metadata, util

import pytest

from pspnet_plugin import framework

UPSTREAM = dict(mmsegmentation='1.2.2', mmengine='0.10.7', mmcv='2.1.0')
ONEDL = {'onedl-mmsegmentation': '1.4.2', 'onedl-mmengine': '0.10.12', 'onedl-mmcv': '2.3.6'}


@pytest.fixture
def installed(monkeypatch):
    """Makes it look as if just the given distributions were installed."""

    def pretend(versions, importable=True):
        def version(name):
            if name not in versions:
                raise metadata.PackageNotFoundError(name)
            return versions[name]

        monkeypatch.setattr(metadata, 'version', version)
        if not importable:
            monkeypatch.setattr(util, 'find_spec', lambda name: None)

    return pretend


@pytest.mark.parametrize('versions', [UPSTREAM, ONEDL], ids=['openmmlab', 'onedl'])
def test_each_family_is_accepted(installed, versions):
    installed(versions)
    framework.check_framework()
    installed(
        {**versions, 'mmsegmentation': '1.1'}
        if versions is UPSTREAM
        else {**versions, 'onedl-mmsegmentation': '1.1'}
    )
    with pytest.raises(ImportError, match='1.2 or newer'):
        framework.check_framework()


def test_none_installed(installed):
    installed({}, importable=False)
    with pytest.raises(ImportError, match=r'not installed: install one family.*plugin\[onedl\]'):
        framework.check_framework()


@pytest.mark.parametrize('name', ['mmsegmentation', 'onedl-mmsegmentation'])
def test_too_old(installed, name):
    installed({name: '0.30.0'})
    with pytest.raises(ImportError, match=f'mmseg 1.2 or newer, but {name} 0.30.0 is installed'):
        framework.check_framework()


@pytest.mark.parametrize('second', ['mmengine', 'mmcv', 'mmsegmentation'])
def test_both_families(installed, second):
    installed({**ONEDL, second: UPSTREAM[second]})
    with pytest.raises(
        ImportError, match=f'both families .*onedl-mmengine 0.10.12.*{second} .*Uninstall'
    ):
        framework.check_framework()


def test_a_source_tree_counts_by_its_own_version(installed, monkeypatch):
    import mmseg

    installed({})
    framework.check_framework()
    monkeypatch.setattr(mmseg, '__version__', '0.30.0')
    with pytest.raises(ImportError, match='mmseg 1.2 or newer'):
        framework.check_framework()


def test_import_without_the_framework_ends_in_that_error():
    """For real, in a process that finds no mmseg."""
    code = (
        'import importlib.metadata as m, importlib.util as u\n'
        'real = u.find_spec\n'
        'u.find_spec = lambda n, *a: None if n == "mmseg" else real(n, *a)\n'
        'def version(name): raise m.PackageNotFoundError(name)\n'
        'm.version = version\n'
        'import pspnet_plugin\n'
    )
    done = subprocess.run([sys.executable, '-c', code], capture_output=True, text=True)
    last = done.stderr.strip().splitlines()[-1]
    assert last.startswith('ImportError: pspnet_plugin needs MMSegmentation'), done.stderr
