"""What strangers upload to the page, and what it shows: no browser is needed for these."""

import base64
import re
import socket
import zlib

import cv2
import numpy as np
import pytest
from conftest import CITYSCAPES, coloured, load_tool, photo

from pspnet_plugin.datasets.scenes import street_scene
from pspnet_plugin.prediction.sources import BadPicture, TooLarge
from pspnet_plugin.web import uploads
from pspnet_plugin.web.page import label_photo, samples
from pspnet_plugin.web.uploads import open_upload
from pspnet_plugin.web.views import problem, view

PALETTE = np.array(CITYSCAPES['palette'], np.uint8)


def coded(picture: np.ndarray, end: str = '.png') -> bytes:
    return cv2.imencode(end, picture)[1].tobytes()


def shown(kind: str, page: str) -> np.ndarray:
    """The picture that an attribute of the page holds."""
    content = re.search(rf'{kind}="data:image/\w+;base64,([^"]+)"', page)[1]
    return cv2.imdecode(np.frombuffer(base64.b64decode(content), np.uint8), cv2.IMREAD_UNCHANGED)


@pytest.mark.parametrize('end', ['.png', '.jpg', '.bmp', '.webp', '.tiff'])
def test_photos_are_taken_as_they_are(end):
    picture = cv2.resize(photo(6, 9), (90, 60))
    upload = open_upload(coded(picture, end), max_side=90)
    assert upload.original == (90, 60) and not upload.was_shrunk
    assert np.abs(upload.photo.astype(int) - picture).mean() < 12


@pytest.mark.parametrize(
    'picture', [photo(40, 30)[..., 0], np.dstack([photo(40, 30), photo(40, 30)[..., 0]])],
    ids=['grey', 'alpha'],
)  # fmt: skip
def test_channels_become_three(picture):
    assert open_upload(coded(picture), max_side=99).photo.shape == (40, 30, 3)


@pytest.mark.parametrize(('size', 'expected'), [((300, 40), (100, 13)), ((1, 900), (1, 100))])
def test_long_sides_are_shrunk(size, expected):
    upload = open_upload(coded(photo(*size[::-1])), max_side=100)
    assert upload.photo.shape[1::-1] == expected
    assert upload.original == size and upload.was_shrunk


def test_a_camera_that_was_turned():
    exif = b'Exif\0\0II*\0\x08\0\0\0\x01\0\x12\x01\x03\0\x01\0\0\0\x06\0\0\0\0\0\0\0'
    jpeg = coded(np.zeros((20, 40, 3), np.uint8), '.jpg')
    turned = jpeg[:2] + b'\xff\xe1' + (len(exif) + 2).to_bytes(2, 'big') + exif + jpeg[2:]
    upload = open_upload(turned, max_side=99)
    assert upload.original == (20, 40) and upload.photo.shape == (40, 20, 3)


@pytest.mark.parametrize(
    ('content', 'message'),
    [
        (b'', 'is empty'),
        (b'not a picture, though it is called one.jpg', 'known here, whatever its name says'),
        (coded(photo(9, 9))[:60], 'cannot be decoded: it is damaged'),
        (coded(photo(64, 64), '.jpg')[:3000], 'cannot be decoded: it is damaged'),
        (b'GIF89a' + b'\0' * 3, 'not a picture'),
        (b'\0\0\0\x18ftypheic\0\0\0\0mif1heic' + b'\0' * 99, "a phone's HEIC photo can be saved"),
    ],
    ids=['empty', 'text', 'torn', 'cut', 'stub', 'heic'],
)
def test_files_that_are_no_photos_are_explained(content, message):
    with pytest.raises(BadPicture, match=message):
        open_upload(content, max_side=99)


def test_pictures_that_are_too_large_are_not_decoded(monkeypatch):
    monkeypatch.setattr(uploads, 'decode_photo', pytest.fail)
    wide = coded(np.zeros((11_000, 11_000), np.uint8))
    with pytest.raises(BadPicture, match='has 11000 x 11000 pixels; at most 110 million'):
        open_upload(wide, max_side=99)
    small = coded(np.zeros((1, 1), np.uint8))
    header = b'IHDR' + (20_000).to_bytes(4, 'big') * 2 + small[24:29]
    bomb = small[:12] + header + zlib.crc32(header).to_bytes(4, 'big') + small[33:]
    with pytest.raises(BadPicture, match='far too large'):
        open_upload(bomb, max_side=99)
    monkeypatch.setattr(uploads, 'MAX_BYTES', 2**20)
    with pytest.raises(BadPicture, match='has 2 MB; at most 1'):
        open_upload(b'0' * 2**21, max_side=99)


def test_a_view_holds_photo_colours_legend_and_index_map():
    picture = cv2.resize(photo(3, 4), (40, 30))
    labels = np.zeros((30, 40), np.uint8)
    labels[:10], labels[29] = 18, 7
    page = view('a<b', picture, labels, PALETTE, CITYSCAPES['classes'], note='40 x 30')
    assert (shown('href', page) == labels).all()
    assert (shown('class="classes" src', page) == coloured(labels)).all()
    assert np.abs(shown('class="photo" src', page).astype(int) - picture).mean() < 12
    assert '<b>a&lt;b</b> 40 x 30' in page
    entries = re.findall(r'background:(#\w+)"></i>([\w ]+) <b>([\d.]+) %', page)
    assert entries == [
        ('#804080', 'road', '63.3'),
        ('#770b20', 'bicycle', '33.3'),
        ('#dcdc00', 'traffic sign', '3.3'),
    ]


def test_messages_are_no_markup():
    assert '&lt;script&gt;' in problem('<script>') and '<script>' not in problem('<script>')


def test_samples_are_in_the_channel_order_of_photos():
    (sample,) = samples(1)
    scene, _ = street_scene(np.random.default_rng([2024, 0]))
    small = cv2.resize(scene, (512, 256), interpolation=cv2.INTER_AREA)
    assert (sample[..., ::-1] == small).all() and (sample != small).any()


def test_a_taken_port_is_named(network, capsys):
    with socket.socket() as taken:
        taken.bind(('127.0.0.1', 0))
        taken.listen()
        port = str(taken.getsockname()[1])
        assert load_tool('web_demo.py').main([*network, '--port', port]) == 2
    assert f'127.0.0.1:{port} cannot be listened on: it is taken' in capsys.readouterr().err


@pytest.mark.parametrize(
    ('arguments', 'message'),
    [
        (['--config', 'a.py', '--checkpoint', 'a', '--port', '99999'], '--port 99999: give a'),
        (['--config', 'a.py', '--checkpoint', 'a.pth', 'b.pth'], '1 --config and 2 --checkpoint'),
        (['--config', 'none.py', '--checkpoint', 'a.pth'], 'none.py does not exist'),
        (['--config', 'configs/psp_demo.py', '--checkpoint', 'a.pth'], 'a.pth does not exist'),
        (['--config', 'a.py', '--checkpoint', 'a', '--max-side', '3'], '--max-side 3: give 32'),
    ],
)
def test_what_is_wrong_is_said_before_a_page_is_served(arguments, message, capsys):
    assert load_tool('web_demo.py').main(arguments) == 2
    assert message in capsys.readouterr().err


@pytest.mark.parametrize(
    ('error', 'expected'),
    [(TooLarge, 'this photo is too large for this machine'), (BadPicture, 'try one of another')],
)
def test_a_photo_that_a_network_does_not_take_is_explained(error, expected, capsys):
    class Refusing:
        def label(self, photos):
            raise error('its own <words>')

    (said,) = label_photo(dict(demo=Refusing()), photo(8, 8))
    assert 'demo: this photo' in said and expected in said
    assert 'words' not in said and 'demo: its own <words>' in capsys.readouterr().err
