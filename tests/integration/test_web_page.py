"""The page of ``web_demo.py`` in a real browser."""

import contextlib
import os
import re
import shutil
import signal
import subprocess
import sys
from collections.abc import Iterator, Sequence
from pathlib import Path

import cv2
import numpy as np
import pytest
from helpers.pairs import CITYSCAPES, ROOT, photo
from helpers.programs import free_port
from helpers.web_pages import (
    SECONDS,
    VIEW,
    expect_views,
    shoot,
    upload,
    uploaded_at_once,
    write_photo,
)
from mmseg.apis import inference_model, init_model
from playwright.sync_api import Page, expect

from pspnet_plugin.apis.drawing import overlay
from pspnet_plugin.toolkit.web import uploads

pytestmark = pytest.mark.browser
PALETTE = np.array(CITYSCAPES['palette'], np.uint8)


@contextlib.contextmanager
def served(trained: Path, iterations: Sequence[int], temporary: Path, *more: str) -> Iterator[str]:
    """Address of a page with these checkpoints; afterwards no upload is left."""
    configs = [str(trained / 'psp_demo.py')] * len(iterations)
    weights = [str(trained / f'iter_{i}.pth') for i in iterations]
    command = [sys.executable, str(ROOT / 'tools/web_demo.py'), '--config', *configs]
    command += ['--checkpoint', *weights, '--port', free_port(), '--max-side', '512', *more]
    server = subprocess.Popen(
        command, stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True,
        env={**os.environ, 'CUDA_VISIBLE_DEVICES': '', 'TMPDIR': str(temporary)},
    )  # fmt: skip
    lines = []
    for line in server.stdout:
        lines.append(line)
        if found := re.search(r'Open (http://127\.0\.0\.1:\d+)', line):
            break
    else:
        pytest.fail(''.join(lines))
    try:
        yield found[1]
        assert list(temporary.rglob('*.png')), 'where uploads are kept'
    finally:
        server.terminate()
        assert server.wait(timeout=20) == 128 + signal.SIGTERM
        assert not list(temporary.iterdir())


@pytest.fixture(scope='module')
def url(trained, tmp_path_factory) -> Iterator[str]:
    """Address of a page with two checkpoints."""
    with served(trained, (1, 2), tmp_path_factory.mktemp('temporary')) as address:
        yield address


@pytest.fixture
def page(browser, url) -> Iterator[Page]:
    """The page, and a check that it requested nothing from other machines."""
    context = browser.new_context(viewport=dict(width=1280, height=800), accept_downloads=True)
    one = context.new_page()
    one.set_default_timeout(60 * SECONDS)
    requested = []
    one.on('request', lambda request: requested.append(request.url))
    one.goto(url)
    yield one
    context.close()
    elsewhere = [a for a in requested if not a.startswith((url, 'data:', 'blob:'))]
    assert requested and not elsewhere


@pytest.fixture
def street(tmp_path) -> Path:
    return write_photo(tmp_path / 'street.png')


def expect_problem(page: Page, text: str) -> None:
    message = page.locator(f'{VIEW} .problem')
    expect(message).to_contain_text(text, timeout=60 * SECONDS)


def test_upload_slider_and_download(page, street, trained, tmp_path):
    shoot(page, 'start')
    upload(page, street)
    expect_views(page)
    expect(page.locator(f'{VIEW} .legend li').first).to_contain_text('%')
    expect(page.locator(f'{VIEW} figcaption')).to_contain_text('240 x 160 pixels')
    shoot(page, 'labelled')

    colours = page.locator(f'{VIEW} img.classes')
    assert colours.evaluate('e => getComputedStyle(e).opacity') == '0.5'
    page.locator('input[type=range]').first.evaluate(
        "e => {e.value = 80; e.dispatchEvent(new Event('input', {bubbles: true}))}"
    )
    expect(colours).to_have_css('opacity', '0.8')

    config = str(trained / 'psp_demo.py')
    for number, view in ((1, '#view-0'), (2, '#view-1')):
        expect(page.locator(f'{view} .downloads')).not_to_contain_text('240 x 160')
        with page.expect_download() as download:
            page.locator(f'{view} a.index').click()
        assert download.value.suggested_filename == 'index.png'
        kept = tmp_path / f'{number}.png'
        download.value.save_as(kept)
        model = init_model(config, str(trained / f'iter_{number}.pth'), device='cpu')
        expected = inference_model(model, str(street)).pred_sem_seg.data[0].numpy()
        labels = cv2.imread(str(kept), cv2.IMREAD_UNCHANGED)
        assert labels.shape == (160, 240) and (labels == expected).mean() > 0.999
        with page.expect_download() as download:
            page.locator(f'{view} a.overlay').click()
        assert download.value.suggested_filename == 'overlay.jpg'
        download.value.save_as(kept)
        drawn = cv2.imread(str(kept), cv2.IMREAD_UNCHANGED)
        mixed = overlay(cv2.imread(str(street)), labels, PALETTE, CITYSCAPES['classes'])
        assert drawn.shape == mixed.shape
        assert np.abs(drawn[:, :240].astype(int) - mixed[:, :240]).mean() < 12


def test_a_generated_scene_is_labelled(page):
    expect(page).to_have_title('Street scenes by class')
    page.locator('#examples .thumbnail-item').nth(1).click()
    expect_views(page)
    expect(page.locator(f'{VIEW} figcaption')).to_contain_text('512 x 256 pixels')


def test_bad_files_are_explained_and_the_next_is_labelled(page, street, tmp_path):
    text = tmp_path / 'letter.jpg'
    text.write_text('Dear Sir or Madam, this is a letter. ' * 50)
    upload(page, text)
    expect_problem(page, uploads.NOT_AN_IMAGE)
    shoot(page, 'problem')
    huge = tmp_path / 'huge.png'
    cv2.imwrite(str(huge), np.zeros((12_000, 12_000), np.uint8))
    upload(page, huge)
    expect_problem(page, '12000 x 12000')
    empty = tmp_path / 'empty.png'
    empty.touch()
    upload(page, empty)
    expect_problem(page, 'empty')
    wide = tmp_path / 'wide.jpg'
    cv2.imwrite(str(wide), np.zeros((300, 2000, 3), np.uint8))
    upload(page, wide)
    expect(page.locator(f'{VIEW} figcaption')).to_contain_text(
        '512 x 77 pixels', timeout=60 * SECONDS
    )
    expect(page.locator(f'{VIEW} figcaption')).to_contain_text('2000 x 300')
    expect(page.locator(f'{VIEW} .downloads')).to_contain_text('512 x 77')


def test_names_of_uploads_do_nothing(page, street, tmp_path):
    dialogs = []
    page.on('dialog', lambda dialog: (dialogs.append(dialog.message), dialog.dismiss()))
    hostile = tmp_path / '..%2f; touch hacked <img src=x onerror=alert(1)>.png'
    shutil.copy(street, hostile)
    upload(page, hostile)
    expect_views(page)
    assert not dialogs and page.locator('img[src=x]').count() == 0
    assert not list(ROOT.glob('hacked*')) and not list(tmp_path.rglob('hacked'))


def test_title_and_examples_can_be_given(browser, trained, street, tmp_path, tmp_path_factory):
    mine = tmp_path / 'mine'
    mine.mkdir()
    cv2.imwrite(str(mine / '1.jpg'), photo(60, 90))
    cv2.imwrite(str(mine / '2.jpg'), photo(600, 1024))
    sizes = '90 x 60 pixels', '512 x 300 pixels'
    more = '--title', 'Mine & <b>yours</b>', '--examples', str(mine)
    with served(trained, (2,), tmp_path_factory.mktemp('temporary'), *more) as address:
        page = browser.new_page()
        page.goto(address)
        expect(page).to_have_title('Mine & <b>yours</b>')
        expect(page.locator('h1')).to_have_text('Mine & <b>yours</b>')
        expect(page.locator('#examples .thumbnail-item')).to_have_count(2)
        upload(page, street)
        expect(page.locator(f'{VIEW} img.classes')).to_be_visible(timeout=60 * SECONDS)
        for number in (0, 1, 0):
            page.locator('#examples .thumbnail-item').nth(number).click()
            caption = page.locator(f'{VIEW} figcaption')
            expect(caption).to_contain_text(sizes[number], timeout=60 * SECONDS)
        assert page.locator('.view').count() == 1
        page.close()


def test_uploads_at_once_are_all_labelled(browser, url, street):
    with uploaded_at_once(browser, url, street, count=5) as pages:
        for one in pages:
            expect_views(one)
