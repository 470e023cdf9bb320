"""Names and values that users hold on to are those that were written down."""

import json

import pytest
from helpers.surface import KEPT, surface


@pytest.fixture(scope='module')
def now():
    return surface()


@pytest.mark.parametrize('kind', json.loads(KEPT.read_text()) if KEPT.exists() else [])
def test_the_public_surface_is_as_written_down(kind, now, monkeypatch):
    kept = json.loads(KEPT.read_text())
    assert kept.keys() == now.keys()
    assert now[kind] == kept[kind]
    assert kept[kind]
