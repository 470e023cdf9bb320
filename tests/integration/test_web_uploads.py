"""What strangers upload to the page, and what it shows: no browser is needed for these."""

import base64
import re
import socket
import zlib
from types import SimpleNamespace

import cv2
import numpy as np
import pytest
from helpers.pairs import CITYSCAPES, coloured, photo
from helpers.programs import load_tool
from mmengine.config import Config

from pspnet_plugin.apis.drawing import overlay
from pspnet_plugin.apis.sources import BadImage, ImageTooLarge
from pspnet_plugin.toolkit.synthetic import street_scene
from pspnet_plugin.toolkit.web import uploads
from pspnet_plugin.toolkit.web.examples import read_examples, street_scenes
from pspnet_plugin.toolkit.web.page import label_photo
from pspnet_plugin.toolkit.web.uploads import Upload, open_upload
from pspnet_plugin.toolkit.web.views import problem, view

PALETTE = np.array(CITYSCAPES['palette'], np.uint8)


def coded(picture: np.ndarray, end: str = '.png') -> bytes:
    return cv2.imencode(end, picture)[1].tobytes()


def shown(kind: str, page: str) -> np.ndarray:
    """The picture that an attribute of the page holds, the first of its kind."""
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
    with pytest.raises(BadImage, match=message):
        open_upload(content, max_side=99)


def test_pictures_that_are_too_large_are_not_decoded(monkeypatch):
    monkeypatch.setattr(uploads, 'decode_photo', pytest.fail)
    wide = coded(np.zeros((11_000, 11_000), np.uint8))
    with pytest.raises(BadImage, match='has 11000 x 11000 pixels; at most 110 million'):
        open_upload(wide, max_side=99)
    small = coded(np.zeros((1, 1), np.uint8))
    header = b'IHDR' + (20_000).to_bytes(4, 'big') * 2 + small[24:29]
    bomb = small[:12] + header + zlib.crc32(header).to_bytes(4, 'big') + small[33:]
    with pytest.raises(BadImage, match='far too large'):
        open_upload(bomb, max_side=99)
    monkeypatch.setattr(uploads, 'MAX_BYTES', 2**20)
    with pytest.raises(BadImage, match='has 2 MB; at most 1'):
        open_upload(b'0' * 2**21, max_side=99)


def test_a_view_holds_photo_colours_legend_and_index_map():
    picture = cv2.resize(photo(3, 4), (40, 30))
    labels = np.zeros((30, 40), np.uint8)
    labels[:10], labels[29] = 18, 7
    page = view('a<b/c', picture, labels, PALETTE, CITYSCAPES['classes'], note='40 x 30')
    assert (shown('index.png" href', page) == labels).all()
    assert '(PNG, its grey values' in page
    drawn = overlay(picture, labels, PALETTE, CITYSCAPES['classes'], opacity=0.5)
    found = shown('overlay.jpg" href', page)
    assert found.shape == drawn.shape
    assert np.abs(found[:, :40].astype(int) - drawn[:, :40]).mean() < 12
    assert (shown('class="classes" src', page) == coloured(labels)).all()
    assert np.abs(shown('class="photo" src', page).astype(int) - picture).mean() < 12
    assert '<b>a&lt;b/<wbr>c</b> <span>40 x 30</span>' in page
    entries = re.findall(r'background:(#\w+)"></i>([\w ]+) <b>([\d.]+) %', page)
    assert entries == [
        ('#804080', 'road', '63.3'),
        ('#770b20', 'bicycle', '33.3'),
        ('#dcdc00', 'traffic sign', '3.3'),
    ]


def test_a_class_that_is_there_never_has_a_share_of_nothing():
    labels = np.zeros((50, 40), np.uint8)
    labels[0, 0] = 1  # 0.05 %
    for more, expected in ((0, '0.1 %'), (1, '&lt; 0.1 %')):
        labels = np.pad(labels, ((0, more), (0, 0)))
        page = view('a', photo(*labels.shape), labels, PALETTE, CITYSCAPES['classes'])
        assert f'sidewalk <b>{expected}</b>' in page


def test_the_size_of_an_index_map_is_said_if_it_is_not_that_of_the_file():
    class Blank:
        classes, palette = CITYSCAPES['classes'], PALETTE

        def label(self, photos):
            return [np.zeros(one.shape[:2], np.uint8) for one in photos]

    for original, said in (((40, 30), '(PNG, its'), ((80, 60), '(PNG, 40 x 30, its')):
        (page,) = label_photo(dict(demo=Blank()), Upload(photo(30, 40), original))
        assert said in page and ('shrunk from 80 x 60' in page) == (original == (80, 60))


def test_messages_are_no_markup():
    assert '&lt;script&gt;' in problem('<script>') and '<script>' not in problem('<script>')


def test_scenes_are_in_the_channel_order_of_photos():
    (example,) = street_scenes(1)
    scene, _ = street_scene(np.random.default_rng([2024, 0]))
    small = cv2.resize(scene, (512, 256), interpolation=cv2.INTER_AREA)
    assert (example.photo[..., ::-1] == small).all() and (example.photo != small).any()
    assert not example.was_shrunk


def test_examples_are_photos_in_their_order_shrunk_and_no_more_than_eight(tmp_path, capsys):
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
    assert '8 of the 10 examples are shown' in capsys.readouterr().err


@pytest.mark.parametrize(
    ('name', 'content', 'message'),
    [
        ('bad.jpg', b'no picture', 'bad.jpg is no picture'),
        ('film.mp4', b'', 'film.mp4 is a video; give photos'),
        ('letter.txt', b'', 'mine holds no picture'),
    ],
)
def test_an_example_that_cannot_be_shown_is_named(
    network, tmp_path, capsys, name, content, message
):
    (tmp_path / 'mine').mkdir()
    (tmp_path / 'mine' / name).write_bytes(content)
    assert load_tool('web_demo.py').main([*network, '--examples', str(tmp_path / 'mine')]) == 2
    assert message in capsys.readouterr().err


@pytest.mark.parametrize(
    ('classes', 'expected'),
    [
        ([CITYSCAPES['classes']] * 2, ('Street scenes by class', 4)),
        ([CITYSCAPES['classes'], ('wall', 'door')], ('Photos by class', 0)),
        ([CITYSCAPES['classes'][::-1]], ('Photos by class', 0)),
    ],
    ids=['streets', 'one of other classes', 'another order'],
)
def test_title_and_examples_are_those_of_streets_if_the_classes_are(monkeypatch, classes, expected):
    tool = load_tool('web_demo.py')
    networks = {str(i): SimpleNamespace(classes=list(names)) for i, names in enumerate(classes)}
    monkeypatch.setattr(tool, 'open_networks', lambda args: networks)

    def build(networks, *, max_side, title, examples):
        raise ValueError(f'{title}, {len(examples)}')

    monkeypatch.setattr('pspnet_plugin.toolkit.web.page.build_page', build)
    args = tool.parse_args(['--config', 'a', '--checkpoint', 'a'])
    with pytest.raises(ValueError, match='^{}, {}$'.format(*expected)):
        tool.serve(args)
    args = tool.parse_args(['--config', 'a', '--checkpoint', 'a', '--title', 'Mine'])
    with pytest.raises(ValueError, match='^Mine, '):
        tool.serve(args)


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
    [(ImageTooLarge, 'this photo is too large for this machine'), (BadImage, 'try one of another')],
)
def test_a_photo_that_a_network_does_not_take_is_explained(error, expected, capsys):
    class Refusing:
        def label(self, photos):
            raise error('its own <words>')

    (said,) = label_photo(dict(demo=Refusing()), Upload(photo(8, 8), (8, 8)))
    assert 'demo: this photo' in said and expected in said
    assert 'words' not in said and 'demo: its own <words>' in capsys.readouterr().err


def test_a_network_of_the_page_sees_photos_no_larger_than_in_its_training(network, tmp_path):
    config = Config.fromfile(network[1])
    config.train_dataloader.dataset.pipeline.insert(2, dict(type='Resize', scale=(64, 64)))
    config.dump(tmp_path / 'resized.py')
    tool = load_tool('web_demo.py')
    arguments = ['--config', str(tmp_path / 'resized.py'), *network[2:], '--device', 'cpu']
    (opened,) = tool.open_networks(tool.parse_args(arguments)).values()
    assert opened.seen(128, 256) == 32 * 64
    (labels,) = opened.label([photo(128, 256)])
    assert labels.shape == (128, 256)
