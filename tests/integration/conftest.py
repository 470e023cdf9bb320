"""The browser and a training to be changed, which unit tests do without."""

import shutil
from collections.abc import Iterator
from pathlib import Path

import pytest
from helpers.browser import CHROMIUM
from helpers.programs import load_tool
from playwright.sync_api import Browser, sync_playwright


@pytest.fixture(scope='module')
def browser() -> Iterator[Browser]:
    """Chromium, without a window."""
    options = dict(executable_path=CHROMIUM, args=['--no-sandbox'])
    with sync_playwright() as playwright, playwright.chromium.launch(**options) as chromium:
        yield chromium


@pytest.fixture
def predict(tmp_path, capsys):
    """Run ``predict.py`` into ``out`` below ``tmp_path``; returns stdout and stderr."""
    main = load_tool('predict.py').main

    def call(*arguments, status=0, out='out') -> tuple[str, str]:
        capsys.readouterr()
        assert main([*map(str, arguments), '--out', str(tmp_path / out)]) == status
        captured = capsys.readouterr()
        return captured.out, captured.err

    return call


@pytest.fixture
def trained_copy(trained, tmp_path) -> Path:
    """Copy of the training, to be changed."""
    return Path(shutil.copytree(trained, tmp_path / 'copy'))
