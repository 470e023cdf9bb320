"""Where things are on the page, on desktops and phones, and what a browser does by itself."""

import contextlib
import time
from collections.abc import Iterator, Mapping
from pathlib import Path

import cv2
import httpx
import numpy as np
import pytest
from helpers.predictors import EchoNetwork, predictor_of
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
from playwright.sync_api import Page, expect

from pspnet_plugin.apis import Predictor
from pspnet_plugin.toolkit.web.examples import street_scenes
from pspnet_plugin.toolkit.web.page import build_page, launch_options
from pspnet_plugin.toolkit.web.uploads import NOT_AN_IMAGE

pytestmark = pytest.mark.browser
# Drops a file of so many bytes on an element.
DROP = """(element, size) => {
  const dataTransfer = new DataTransfer();
  dataTransfer.items.add(new File([new ArrayBuffer(size)], 'large.jpg', {type: 'image/jpeg'}));
  for (const kind of ['dragenter', 'drop'])
    element.dispatchEvent(new DragEvent(kind, {dataTransfer, bubbles: true, cancelable: true}));
}"""


class Stripes(EchoNetwork):
    """A network without weights that finds every class."""

    def run(self, photos):
        rows = [np.arange(len(one), dtype=np.uint8) % 19 for one in photos]
        striped = [np.repeat(row[:, None, None], 8, 1).repeat(3, 2) for row in rows]
        return super().run(
            [
                cv2.resize(one, photo.shape[1::-1], interpolation=cv2.INTER_NEAREST_EXACT)
                for one, photo in zip(striped, photos, strict=True)
            ]
        )


class Slow(Stripes):
    """One that notes how many photos it has at once."""

    now = most = count = 0

    def run(self, photos):
        self.now += 1
        self.most = max(self.most, self.now)
        time.sleep(0.3)
        self.now -= 1
        self.count += 1
        return super().run(photos)


@contextlib.contextmanager
def launched(predictors: Mapping[str, Predictor], **more) -> Iterator[str]:
    """Address of a page with these networks; ``more`` goes to ``build_page``."""
    served = build_page(predictors, max_side=512, **more)
    try:
        yield served.launch(
            server_port=int(free_port()), prevent_thread_lock=True, **launch_options()
        )[1]
    finally:
        served.close()


@pytest.fixture(scope='module')
def url() -> Iterator[str]:
    """Address of a page with two networks of long names and four examples."""
    names = ('recommended_network_before/iter_80000', 'recommended_network_after/iter_160000')
    predictors = {name: predictor_of(Stripes()) for name in names}
    with launched(predictors, title='Two by class', examples=street_scenes(4)) as address:
        yield address


@pytest.fixture
def page(browser, url) -> Iterator[Page]:
    page = browser.new_page(viewport=dict(width=1280, height=800))
    page.goto(url)
    yield page
    page.close()


@pytest.fixture
def street(tmp_path) -> Path:
    return write_photo(tmp_path / 'street.png')


def test_uploads_wait_for_their_turn(browser, street):
    network = Slow()
    with (
        launched(dict(slow=predictor_of(network)), title='Slow') as address,
        uploaded_at_once(browser, address, street, count=4) as pages,
    ):
        for one in pages:
            expect(one.locator(f'{VIEW} img.classes')).to_be_visible(timeout=60 * SECONDS)
        assert network.most == 1 and network.count == 4


def test_without_examples_there_is_no_place_for_them(browser):
    with launched(dict(stripes=predictor_of(Stripes())), title='None') as address:
        page = browser.new_page()
        page.goto(address)
        expect(page.locator(VIEW)).not_to_be_empty()
        assert page.locator('#examples').count() == 0
        page.close()


def boxes(page: Page) -> list[dict]:
    """Boxes of upload, slider, both results and examples."""
    places = '#upload', 'input[type=range]', '#view-0', '#view-1', '#examples'
    return [page.locator(place).first.bounding_box() for place in places]


def assert_examples_are_in(page: Page, *, rows: int) -> None:
    """No example is cut off, and no empty space is below them."""
    frame, *_, last = found = [
        page.locator('#examples').bounding_box(),
        *(one.bounding_box() for one in page.locator('#examples .thumbnail-item').all()),
    ]
    assert len(found) == 5 and len({box['y'] for box in found[1:]}) == rows
    assert all(box['x'] + box['width'] < frame['x'] + frame['width'] for box in found[1:])
    assert 0 < frame['y'] + frame['height'] - last['y'] - last['height'] < 16


@pytest.mark.parametrize('width', [390, 320])
def test_a_phone_shows_one_thing_below_the_other(page, street, width):
    page.set_viewport_size(dict(width=width, height=844))
    page.reload()
    expect(page.locator('#examples .thumbnail-item')).to_have_count(4)
    shoot(page, f'phone_{width}_start')
    upload(page, street)
    expect_views(page)
    shoot(page, f'phone_{width}')
    assert page.evaluate('document.documentElement.scrollWidth <= window.innerWidth')
    order = boxes(page)
    ends = [box['y'] + box['height'] for box in order]
    assert all(end <= box['y'] for end, box in zip(ends, order[1:], strict=False))
    assert order[2]['y'] < 400, 'the result begins on the first screen'
    assert_examples_are_in(page, rows=2)


def test_a_desktop_shows_results_beside_the_upload_and_examples_under_them(page, street):
    upload(page, street)
    expect_views(page)
    shoot(page, 'desktop')
    sent, _, first, second, examples = boxes(page)
    assert sent['x'] + sent['width'] <= first['x'] and first['y'] <= sent['y']
    assert first['x'] + first['width'] <= second['x'] and first['y'] == second['y']
    assert examples['x'] == first['x'] and examples['y'] >= first['y'] + first['height']
    assert_examples_are_in(page, rows=1)


def test_a_chosen_example_brings_its_result_into_sight(page):
    page.set_viewport_size(dict(width=390, height=300))
    page.locator('#examples .thumbnail-item').last.click()
    expect_views(page)
    expect(page.locator(f'{VIEW} figcaption')).to_contain_text('512 x 256 pixels')
    expect(page.locator(f'{VIEW} figcaption')).to_be_in_viewport()


def test_a_file_that_is_too_large_is_explained_for_good_and_not_sent(page, url, street, tmp_path):
    large = tmp_path / 'large.jpg'
    with large.open('wb') as file:
        file.write(street.read_bytes())
        file.truncate(65 * 2**20)
    sent = []
    page.on('request', lambda request: sent.append(request.url) if 'upload' in request.url else 0)
    message = page.locator('#refusal')
    expect(message).to_be_hidden()
    upload(page, large)
    expect(message).to_contain_text('65 MB')
    shoot(page, 'too_large')
    page.locator('#upload button').first.evaluate(DROP, 66 * 2**20)
    expect(message).to_contain_text('66 MB')
    assert not sent and page.get_by_text('Error').count() == 0
    with large.open('rb') as file:  # one that comes past the page's own check
        assert httpx.post(f'{url}gradio_api/upload', files=dict(files=file)).status_code == 413
    upload(page, street)
    expect_views(page)
    expect(message).to_be_hidden()
    page.locator('#upload button').first.evaluate(DROP, 65 * 2**20)
    expect(message).to_be_visible()
    page.locator('#examples .thumbnail-item').first.click()
    expect(message).to_be_hidden()
    expect(page.locator(f'{VIEW} figcaption')).to_contain_text('512 x 256 pixels')


def test_a_file_that_is_no_image_is_explained_for_good(page, street, tmp_path):
    letter = tmp_path / 'letter.txt'
    letter.write_text('Dear Sir or Madam')
    upload(page, letter)
    message = page.locator('#refusal')
    expect(message).to_have_text(NOT_AN_IMAGE)
    assert page.get_by_text('Error').count() == 0
    upload(page, street)
    expect_views(page)
    expect(message).to_be_hidden()
