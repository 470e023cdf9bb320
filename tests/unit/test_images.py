"""Photos are read more generously than pairs; label maps keep their indices."""

import cv2
import numpy as np
import pytest
from helpers.pairs import photo
from PIL import Image

from pspnet_plugin.utils.images import decode_image, open_image, read_rgb

CUT_OFF = cv2.imencode('.jpg', photo(64, 64))[1].tobytes()[:-600]


def decode(path):
    return decode_image(path.read_bytes(), name=str(path), strict=False)


def test_photo_is_turned_upright(tmp_path):
    exif = Image.Exif()
    exif[0x0112] = 6  # turn right
    Image.fromarray(photo(8, 12)[..., ::-1]).save(tmp_path / '1.png', exif=exif)
    expected = np.rot90(photo(8, 12), -1)
    np.testing.assert_array_equal(decode(tmp_path / '1.png'), expected)
    np.testing.assert_array_equal(read_rgb(tmp_path / '1.png'), expected[..., ::-1])


def test_only_prediction_takes_16_bits(tmp_path):
    path = tmp_path / '1.png'
    cv2.imwrite(str(path), photo(8, 12).astype(np.uint16) * 257)
    np.testing.assert_array_equal(decode(path), photo(8, 12))
    with pytest.raises(ValueError, match=r'1\.png.*16'):
        read_rgb(path)


def test_open_image_keeps_indices_and_the_stored_mode(tmp_path):
    indices = np.arange(12, dtype=np.uint8).reshape(3, 4)
    image = Image.fromarray(indices)
    image.putpalette(list(range(36)))
    image.save(tmp_path / '1.png', bits=4)
    with open_image(tmp_path / '1.png') as (opened, stored):
        assert opened.mode == 'P' and stored == 'P;4'
        assert (np.asarray(opened) == indices).all()


@pytest.mark.parametrize('block', [b'Exif\0\0II*\0', b'Exif\0\0MM'], ids=['cut off', 'no header'])
def test_damaged_exif_is_named(tmp_path, block):
    Image.fromarray(photo(8, 12)).save(tmp_path / '1.png', exif=block)
    with pytest.raises(ValueError, match=r'1\.png.*EXIF'):
        read_rgb(tmp_path / '1.png')


@pytest.mark.parametrize('read', [decode, read_rgb])
@pytest.mark.parametrize('content', [b'', b'text', CUT_OFF], ids=['empty', 'text', 'cut off'])
def test_bad_photo_is_named(tmp_path, read, content):
    path = tmp_path / '1.jpg'
    with pytest.raises(FileNotFoundError, match=r'1\.jpg'):
        read(path)
    path.write_bytes(content)
    with pytest.raises(ValueError, match=r'1\.jpg'):
        read(path)
