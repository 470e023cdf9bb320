"""``predict_onnx.py``, and that ``Predictor`` gives the same for the same files and photos."""

import io
import json

import cv2
import numpy as np
import pytest
from helpers.label_files import write_tiff
from helpers.onnx_files import logits_of, small_onnx
from helpers.pairs import META, photo
from helpers.programs import load_tool
from PIL import Image

from pspnet_plugin import Predictor
from pspnet_plugin.apis import BadImage
from pspnet_plugin.utils.tiff_tags import tiff_pages

tool = load_tool('deployment/predict_onnx.py')
EXTREMES = dict(normalization='outside', scaling='min_max')
MEAN_STD = dict(normalization='outside', mean='[120, 110, 100]', std='[60, 55, 50]')
# Metadata, size of the input and --max-side; None: not given.
VARIANTS = {
    'rgb': ({}, None, None),
    'bgr': (dict(channel_order='BGR'), None, None),
    'mean and std': (MEAN_STD, None, None),
    'min and max': (EXTREMES, None, None),
    'trained side': (dict(trained_side='32'), None, None),
    'max side': (dict(trained_side='32'), None, 25),
    'no max side': (dict(trained_side='32'), None, 0),
    '12 bits': (dict(bits='12'), None, None),
    'black and white': (dict(bits='[200, 3000]'), None, None),
    'too few bits': (dict(bits='9'), None, None),
    'unknown trained side': (dict(trained_side='null'), None, None),
    'fixed size': (dict(trained_side='20'), (30, 44), None),
    'fixed size, max side': (dict(channel_order='BGR', **EXTREMES), (48, 32), 33),
}


@pytest.fixture(scope='module')
def photos(tmp_path_factory):
    """Photos of several sizes and formats, among them some that cannot be read."""
    folder = tmp_path_factory.mktemp('photos')
    for name, image in (
        ('plain.png', photo(40, 60)),
        ('tall.png', photo(77, 30, seed=1)),
        ('pixel.png', photo(1, 1)),
        ('grey.png', photo(20, 30)[..., 0]),
        ('constant.png', np.full((24, 36, 3), 99, np.uint8)),
        ('deep.png', photo(20, 30).astype(np.uint16) * 16),
    ):
        cv2.imwrite(str(folder / name), image)
    exif = Image.Exif()
    exif[0x0112] = 6
    exif[0x010E] = 'a thumbnail has an end of its own: \xff\xd9'
    jpeg = io.BytesIO()
    Image.fromarray(cv2.resize(photo(8, 12), (96, 64))).save(jpeg, 'JPEG', exif=exif)
    content = jpeg.getvalue()
    (folder / 'turned.jpg').write_bytes(content)
    for kept in (2, 60, len(content) // 2, len(content) - 2, len(content) - 1):
        (folder / f'cut{kept}.jpg').write_bytes(content[:kept])
    (folder / 'trailing.jpg').write_bytes(content + b'\0' * 9)
    (folder / 'text.png').write_bytes(b'no image')
    for bands, tags in ((1, {}), (3, {}), (4, {}), (4, {338: 1}), (5, {}), (3, {258: 12})):
        write_tiff(
            folder / f'bands{bands}{tags}.tif',
            np.dstack([photo(8, 12)] * 2)[..., :bands],
            tags=tags,
        )
    write_tiff(folder / 'floats.tif', photo(8, 12) / np.float32(255))
    frames = [Image.fromarray(photo(8, 12, seed=seed)) for seed in range(2)]
    for suffix in ('gif', 'webp', 'png'):
        frames[0].save(folder / f'animated.{suffix}', save_all=True, append_images=frames[1:])
    frames[0].save(folder / 'one.gif')
    frames[0].save(folder / 'photo.jfif', 'JPEG')
    (folder / 'empty.png').touch()
    return sorted([*folder.iterdir(), folder / 'missing.jpg'])


@pytest.mark.parametrize('variant', VARIANTS)
def test_the_predictor_gives_the_same(variant, photos, tmp_path):
    metadata, size, max_side = VARIANTS[variant]
    path = small_onnx(tmp_path / 'net.onnx', size=size or ('height', 'width'), **metadata)
    network = tool.Network(path)
    predictor = Predictor(path)
    if max_side is not None:
        network.max_side = max_side
        predictor = Predictor(path, max_side=max_side)
    assert predictor.classes == network.classes == META['classes']
    assert (predictor.palette == network.palette).all() and len(network.palette) == 3
    assert predictor.max_side == (network.max_side or None)
    assert predictor.network.size == network.size == size
    read = set()
    for file in photos:
        try:
            image = tool.read_photo(file, network.bits)
        except tool.BadPhoto as error:
            assert str(file) in str(error)
            with pytest.raises(BadImage) as other:
                predictor(file)
            assert str(file) in str(other.value)
            continue
        prediction = predictor(file)
        assert (prediction.photo == image).all()
        labels = network.label(image)
        assert labels.shape == prediction.labels.shape == image.shape[:2]
        assert (labels == prediction.labels).all(), file.name
        read |= {file.name, *np.unique(labels)}
    assert predictor.bits == network.bits
    deep = variant in ('12 bits', 'black and white')
    assert ('deep.png' in read) == deep
    assert len(read & {file.name for file in photos}) == 12 + deep
    assert read >= {0, 2}, 'labels are not all alike'


@pytest.mark.parametrize(
    'changes',
    [dict(mean=None), dict(channel_order=None), dict(classes='[')],
    ids=['mean', 'order', 'no JSON'],
)
def test_files_without_their_metadata_are_refused_alike(changes, tmp_path):
    path = small_onnx(tmp_path / 'net.onnx', **changes)
    assert refusals(path, ValueError) == 1


def test_files_that_are_no_networks_are_refused_alike(tmp_path):
    (tmp_path / 'net.pt2').write_bytes(b'no network')
    assert refusals(tmp_path / 'net.pt2', ValueError) == 1
    assert refusals(tmp_path / 'none.onnx', FileNotFoundError) == 1


def refusals(path, kind) -> int:
    """The number of different messages by which both refuse a file, which they name."""
    messages = set()
    for open_ in (tool.Network, Predictor):
        with pytest.raises(kind, match=path.name) as error:
            open_(path)
        messages.add(str(error.value))
    return len(messages)


@pytest.mark.parametrize('order', ['RGB', 'BGR'])
def test_labels_and_confidence_are_those_of_the_logits(order, tmp_path):
    image = photo(40, 60)
    predictor = Predictor(small_onnx(tmp_path / 'net.onnx', channel_order=order))
    prediction = predictor(image)
    channels = image.transpose(2, 0, 1)
    logits = logits_of(channels[::-1] if order == 'RGB' else channels).astype(np.float64)
    assert (prediction.labels == logits.argmax(0)).all()
    probabilities = np.exp(logits - logits.max(0))
    expected = (probabilities / probabilities.sum(0)).max(0)
    assert prediction.confidence.dtype == np.float32 and np.ptp(expected) > 0.1
    np.testing.assert_allclose(prediction.confidence, expected, atol=1e-5)


def test_confidence_has_the_size_of_the_photo(tmp_path):
    path = small_onnx(tmp_path / 'net.onnx', size=(20, 30))
    prediction = Predictor(path)(photo(40, 60))
    shrunk = cv2.resize(photo(40, 60), (30, 20), interpolation=cv2.INTER_AREA)
    expected = logits_of(shrunk[..., ::-1].transpose(2, 0, 1)).argmax(0)
    np.testing.assert_array_equal(prediction.labels, np.kron(expected, np.ones((2, 2), np.uint8)))
    assert prediction.confidence.shape == (40, 60)


def test_a_file_without_logits_has_labels_but_no_confidence(tmp_path):
    prediction = Predictor(small_onnx(tmp_path / 'net.onnx', logits=False))(photo(8, 8))
    assert len(np.unique(prediction.labels)) > 1
    with pytest.raises(ValueError, match='net.onnx'):
        prediction.confidence  # noqa: B018


def run(capsys, *arguments, status=2) -> str:
    """The last line on stderr."""
    capsys.readouterr()
    assert tool.main([str(argument) for argument in arguments]) == status
    stderr = capsys.readouterr().err
    assert 'Traceback' not in stderr
    return stderr.strip().rpartition('\n')[2]


@pytest.fixture
def image(tmp_path):
    """A photo of 40 x 60."""
    (tmp_path / 'in').mkdir()
    cv2.imwrite(str(tmp_path / 'in/a.png'), photo(40, 60))
    return tmp_path / 'in/a.png'


def test_label_maps_and_colours_are_written(tmp_path, image, capsys):
    network = small_onnx(tmp_path / 'net.onnx')
    (tmp_path / 'in/bad.jpg').write_bytes(b'no image')
    arguments = network, image.parent, image, '--out', tmp_path / 'out', '--color'
    assert run(capsys, *arguments, status=1).endswith(' 1')
    labels = cv2.imread(str(tmp_path / 'out/a.png'), cv2.IMREAD_UNCHANGED)
    colors = cv2.imread(str(tmp_path / 'out/a_color.png'))
    assert (labels == logits_of(photo(40, 60)[..., ::-1].transpose(2, 0, 1)).argmax(0)).all()
    assert (colors == np.array(META['palette'], np.uint8)[labels][..., ::-1]).all()
    assert {path.name for path in (tmp_path / 'out').iterdir()} == {'a.png', 'a_color.png'}


def test_arguments_that_cannot_be_used_are_named(tmp_path, image, capsys):
    network, out = small_onnx(tmp_path / 'net.onnx'), tmp_path / 'out'
    plain = small_onnx(tmp_path / 'plain.onnx', palette=json.dumps([]))
    (tmp_path / 'empty').mkdir()
    same_name = image.with_suffix('.jpg')
    cv2.imwrite(str(same_name), photo(8, 8))
    (tmp_path / 'file').touch()
    for arguments, value in (
        ((tmp_path / 'no.onnx', image), 'no.onnx'),
        ((image, image), str(image)),
        ((network, tmp_path / 'b.jpg'), 'b.jpg'),
        ((network, tmp_path / 'empty'), str(tmp_path / 'empty')),
        ((plain, image, '--color'), 'plain.onnx'),
        ((network, image, same_name), str(same_name)),
        ((network, image, '--max-side', '-1'), '-1'),
        ((network, image, '--out', image.parent), str(image.parent)),
        ((network, image, '--out', tmp_path / 'file'), str(tmp_path / 'file')),
    ):
        assert value in run(capsys, '--out', out, *arguments), arguments
    assert not out.exists() and (cv2.imread(str(image)) == photo(40, 60)).all()


def test_tags_of_tiffs_are_read_alike(photos):
    files = [file for file in photos if file.suffix == '.tif']
    assert len(files) == 7
    for content in (file.read_bytes() for file in files):
        assert tool.tiff_pages(content) == tiff_pages(content) != []
