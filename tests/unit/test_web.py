"""The page without a browser: uploads, views and examples."""

import base64
import re
import zlib

import cv2
import numpy as np
import pytest
from helpers.pairs import coloured, photo
from helpers.predictors import EchoNetwork, predictor_of

from pspnet_plugin.apis import BadImage, ImageTooLarge
from pspnet_plugin.toolkit.synthetic import street_scene
from pspnet_plugin.toolkit.web import uploads
from pspnet_plugin.toolkit.web.examples import read_examples, street_scenes
from pspnet_plugin.toolkit.web.uploads import Upload, open_upload
from pspnet_plugin.toolkit.web.views import label_photo, problem, view


def encode(image: np.ndarray, suffix: str = '.png') -> bytes:
    return cv2.imencode(suffix, image)[1].tobytes()


def shown(kind: str, page: str) -> np.ndarray:
    """The image in an attribute of the page, the first of its kind."""
    content = re.search(rf'{kind}="data:image/\w+;base64,([^"]+)"', page)[1]
    return cv2.imdecode(np.frombuffer(base64.b64decode(content), np.uint8), cv2.IMREAD_UNCHANGED)


def predict(labels: np.ndarray):
    """A prediction of these labels; its photo has them as its blue channel."""
    image = photo(*labels.shape) // 16 * 16
    image[..., 0] = labels
    return predictor_of(EchoNetwork())(image)


@pytest.mark.parametrize('suffix', ['.png', '.jpg', '.bmp', '.webp', '.tiff'])
def test_small_photos_are_taken_as_they_are(suffix):
    image = cv2.resize(photo(6, 9), (90, 60))
    upload = open_upload(encode(image, suffix), max_side=90)
    assert upload.original == (90, 60) and not upload.is_shrunk
    assert np.abs(upload.photo.astype(int) - image).mean() < 12


def test_grey_and_transparent_photos_become_three_channels():
    for image in (photo(40, 30)[..., 0], np.dstack([photo(40, 30), photo(40, 30)[..., 0]])):
        assert open_upload(encode(image), max_side=99).photo.shape == (40, 30, 3)


@pytest.mark.parametrize(('size', 'expected'), [((300, 40), (100, 13)), ((1, 900), (1, 100))])
def test_long_sides_are_shrunk(size, expected):
    upload = open_upload(encode(photo(*size[::-1])), max_side=100)
    assert upload.photo.shape[1::-1] == expected
    assert upload.original == size and upload.is_shrunk


def test_photos_are_turned_upright():
    exif = b'Exif\0\0II*\0\x08\0\0\0\x01\0\x12\x01\x03\0\x01\0\0\0\x06\0\0\0\0\0\0\0'
    jpeg = encode(np.zeros((20, 40, 3), np.uint8), '.jpg')
    turned = jpeg[:2] + b'\xff\xe1' + (len(exif) + 2).to_bytes(2, 'big') + exif + jpeg[2:]
    upload = open_upload(turned, max_side=99)
    assert upload.original == (20, 40) and upload.photo.shape == (40, 20, 3)


@pytest.mark.parametrize(
    ('content', 'known'),
    [
        (b'', False),
        (b'not an image, though it is called one.jpg', False),
        (encode(photo(9, 9))[:60], True),
        (encode(photo(64, 64), '.jpg')[:3000], True),
        (b'GIF89a' + b'\0' * 3, False),
        (b'\0\0\0\x18ftypheic\0\0\0\0mif1heic' + b'\0' * 99, False),
    ],
    ids=['empty', 'text', 'torn', 'cut', 'stub', 'heic'],
)
def test_files_that_are_no_photos_are_explained(content, known):
    with pytest.raises(BadImage) as error:
        open_upload(content, max_side=99)
    assert 'JPEG' in str(error.value)
    assert (str(error.value) == uploads.NOT_AN_IMAGE) == (not known and bool(content))


def test_files_that_are_too_large_are_not_decoded(monkeypatch):
    monkeypatch.setattr(uploads, 'decode_image', pytest.fail)
    small = encode(np.zeros((1, 1), np.uint8))

    def claiming(side: int) -> bytes:
        header = b'IHDR' + side.to_bytes(4, 'big') * 2 + small[24:29]
        return small[:12] + header + zlib.crc32(header).to_bytes(4, 'big') + small[33:]

    for content, value in ((claiming(11_000), '11000 x 11000'), (claiming(20_000), '110')):
        with pytest.raises(BadImage, match=value):
            open_upload(content, max_side=99)
    monkeypatch.setattr(uploads, 'MAX_BYTES', 2**20)
    with pytest.raises(BadImage, match='2 MB'):
        open_upload(b'0' * 2**21, max_side=99)


def test_a_view_holds_photo_colours_legend_and_downloads():
    labels = np.zeros((30, 40), np.uint8)
    labels[:10], labels[29] = 18, 7
    prediction = predict(labels)
    page = view('a<b/c', prediction, note='40 x 30')
    assert (shown('index.png" href', page) == labels).all() and '40 x 30, ' not in page
    drawn = shown('overlay.jpg" href', page)
    expected = prediction.overlay()
    assert drawn.shape == expected.shape
    assert np.abs(drawn[:, :40].astype(int) - expected[:, :40]).mean() < 30
    assert (shown('class="classes" src', page) == coloured(labels)).all()
    assert shown('class="photo" src', page).shape == (30, 40, 3)
    assert '<b>a&lt;b/<wbr>c</b> <span>40 x 30</span>' in page
    entries = re.findall(r'background:(#\w+)"></i>([\w ]+) <b>([\d.]+) %', page)
    assert entries == [
        ('#804080', 'road', '63.3'),
        ('#770b20', 'bicycle', '33.3'),
        ('#dcdc00', 'traffic sign', '3.3'),
    ]


def test_a_class_that_occurs_never_has_a_share_of_zero():
    labels = np.zeros((50, 40), np.uint8)
    labels[0, 0] = 1  # 0.05 %
    for more, expected in ((0, '0.1 %'), (1, '&lt; 0.1 %')):
        page = view('a', predict(np.pad(labels, ((0, more), (0, 0)))))
        assert f'sidewalk <b>{expected}</b>' in page


def test_the_size_of_a_label_map_is_shown_if_it_is_not_that_of_the_file():
    predictors = dict(demo=predictor_of(EchoNetwork()))
    for original in ((40, 30), (80, 60)):
        (page,) = label_photo(predictors, Upload(np.zeros((30, 40, 3), np.uint8), original))
        assert ('40 x 30, ' in page) == ('80 x 60' in page) == (original == (80, 60))


def test_messages_are_no_markup():
    assert '&lt;script&gt;' in problem('<script>') and '<script>' not in problem('<script>')


def test_scenes_are_in_the_channel_order_of_photos():
    (example,) = street_scenes(1)
    scene, _ = street_scene(np.random.default_rng([2024, 0]))
    small = cv2.resize(scene, (512, 256), interpolation=cv2.INTER_AREA)
    assert (example.photo[..., ::-1] == small).all() and (example.photo != small).any()
    assert not example.is_shrunk


def test_examples_are_the_first_eight_photos_shrunk(tmp_path, capsys):
    for folder, count in (('a', 3), ('b', 7)):
        (tmp_path / folder).mkdir()
        for i in range(count):
            cv2.imwrite(str(tmp_path / folder / f'{i}.png'), photo(20 + i, 40))
    more = str(tmp_path / 'b')
    examples = read_examples([str(tmp_path / 'a/2.png'), more], max_side=100)
    assert [one.photo.shape[0] for one in examples] == [22, *range(20, 27)]
    assert not capsys.readouterr().err
    examples = read_examples([str(tmp_path / 'a'), more], max_side=20)
    assert [one.original for one in examples] == [(40, 20 + i) for i in (0, 1, 2, 0, 1, 2, 3, 4)]
    assert all(one.photo.shape[1] == 20 for one in examples)
    assert '8 of the 10' in capsys.readouterr().err


@pytest.mark.parametrize(
    ('error', 'same'), [(ImageTooLarge, 'too large'), (BadImage, 'another size')]
)
def test_a_photo_that_a_network_does_not_take_is_explained(error, same, capsys):
    class Refusing(EchoNetwork):
        def run(self, photos):
            raise error('its own <words>')

    (page,) = label_photo(dict(demo=predictor_of(Refusing())), Upload(photo(8, 8), (8, 8)))
    assert 'demo' in page and same in page and 'words' not in page
    assert 'demo: its own <words>' in capsys.readouterr().err
