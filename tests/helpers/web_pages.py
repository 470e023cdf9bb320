"""The page in a real browser: uploads and expectations."""

import contextlib
import os
from collections.abc import Iterator
from pathlib import Path

import cv2
from playwright.sync_api import Page, expect

from helpers.pairs import photo

VIEW = '#view-0'
SECONDS = 1000
# Directory for screenshots, for people to look at.
SHOTS = os.environ.get('SCREENSHOTS')


def write_photo(path: Path) -> Path:
    """Write a photo of 240 x 160 pixels."""
    cv2.imwrite(str(path), cv2.resize(photo(16, 24), (240, 160)))
    return path


def upload(page: Page, path: Path) -> None:
    page.locator('#upload input[type=file]').set_input_files(str(path))


@contextlib.contextmanager
def uploaded_at_once(browser, url: str, path: Path, *, count: int) -> Iterator[list[Page]]:
    """Pages that all send the same photo."""
    pages = [browser.new_page() for _ in range(count)]
    try:
        for one in pages:
            one.goto(url)
        for one in pages:
            upload(one, path)
        yield pages
    finally:
        for one in pages:
            one.close()


def expect_views(page: Page) -> None:
    for view in ('#view-0', '#view-1'):
        expect(page.locator(f'{view} img.classes')).to_be_visible(timeout=60 * SECONDS)


def shoot(page: Page, name: str) -> None:
    if SHOTS:
        page.screenshot(path=f'{SHOTS}/{name}.png', full_page=True)
