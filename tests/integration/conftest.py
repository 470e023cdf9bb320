"""The browser, which unit tests do without."""

from collections.abc import Iterator

import pytest
from helpers.browser import CHROMIUM
from playwright.sync_api import Browser, sync_playwright


@pytest.fixture(scope='module')
def browser() -> Iterator[Browser]:
    """Chromium, without a window."""
    options = dict(executable_path=CHROMIUM, args=['--no-sandbox'])
    with sync_playwright() as playwright, playwright.chromium.launch(**options) as chromium:
        yield chromium
