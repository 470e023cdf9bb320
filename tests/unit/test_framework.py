"""Installations of the framework that are missing, too old, or there twice."""

from importlib import metadata, util

import mmseg
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
def test_each_family_is_accepted_if_recent(installed, versions):
    installed(versions)
    framework.check_framework()
    name = [*versions][0]
    installed({**versions, name: '0.30.0'})
    with pytest.raises(ImportError, match=f'1.2 .*{name} 0.30.0'):
        framework.check_framework()


def test_missing_framework_is_an_error_that_names_both_extras(installed):
    installed({}, importable=False)
    with pytest.raises(ImportError, match=r'pspnet-plugin\[onedl\].*pspnet-plugin\[openmmlab\]'):
        framework.check_framework()


@pytest.mark.parametrize('second', ['mmengine', 'mmcv', 'mmsegmentation'])
def test_both_families_are_an_error_that_names_their_packages(installed, second):
    installed({**ONEDL, second: UPSTREAM[second]})
    with pytest.raises(ImportError, match=f'onedl-mmengine 0.10.12.*{second} {UPSTREAM[second]}'):
        framework.check_framework()


def test_source_tree_counts_by_its_own_version(installed, monkeypatch):
    installed({})
    framework.check_framework()
    monkeypatch.setattr(mmseg, '__version__', '0.30.0')
    with pytest.raises(ImportError, match='0.30.0'):
        framework.check_framework()
