"""Photos are read more generously than pairs; label maps keep their indices."""

import contextlib

import cv2
import numpy as np
import pytest
from helpers.label_files import write_tiff
from helpers.pairs import photo
from PIL import Image
from PIL.PngImagePlugin import PngInfo

from pspnet_plugin.utils.images import check_bits, decode_image, open_image, read_rgb

CUT_OFF = cv2.imencode('.jpg', photo(64, 64))[1].tobytes()[:-600]


def decode(path, *, bits=None):
    return decode_image(path.read_bytes(), name=str(path), strict=False, bits=bits)


def test_photo_is_turned_upright(tmp_path):
    exif = Image.Exif()
    exif[0x0112] = 6  # turn right
    Image.fromarray(photo(8, 12)[..., ::-1]).save(tmp_path / '1.png', exif=exif)
    expected = np.rot90(photo(8, 12), -1)
    np.testing.assert_array_equal(decode(tmp_path / '1.png'), expected)
    np.testing.assert_array_equal(read_rgb(tmp_path / '1.png'), expected[..., ::-1])


@pytest.mark.parametrize('read', [decode, read_rgb])
@pytest.mark.parametrize('suffix', ['png', 'tif'])
@pytest.mark.parametrize('channels', [1, 3])
def test_16_bits_need_the_bits_of_their_values(tmp_path, read, suffix, channels):
    values = photo(8, 12)[..., :channels].astype(np.uint16)
    path = tmp_path / f'1.{suffix}'
    cv2.imwrite(str(path), values * 16)
    with pytest.raises(ValueError, match=rf'1\.{suffix}.*{values.max() * 16}.*--bits'):
        read(path)
    with pytest.raises(ValueError, match=rf'1\.{suffix}.*{values.max() * 16}.*9 bits'):
        read(path, bits=9)
    expected = np.broadcast_to(values, (8, 12, 3))
    ordered = expected if read is decode else expected[..., ::-1]
    scaled = np.rint(ordered * np.float64(16 * 255 / 4095))
    assert abs(read(path, bits=12).astype(float) - scaled).max() <= 0
    scaled = ((ordered * 16.0 - 200) * 255 / 2800).clip(0, 255)
    assert abs(read(path, bits=(200, 3000)) - scaled).max() <= 0.51


@pytest.mark.parametrize('read', [decode, read_rgb])
def test_photos_of_8_bits_are_not_scaled(tmp_path, read):
    cv2.imwrite(str(tmp_path / '1.png'), photo(8, 12))
    assert (read(tmp_path / '1.png', bits=12) == read(tmp_path / '1.png')).all()


@pytest.mark.parametrize('read', [decode, read_rgb])
def test_bands_that_a_photo_does_not_have_are_named(tmp_path, read):
    path, bands = tmp_path / '1.tif', np.dstack([photo(8, 12)] * 2)
    bands[..., 3] = 255  # opaque, where it is alpha
    for count, tags, good in (
        (1, {}, True), (3, {}, True), (4, {338: 1}, True), (4, {338: 2}, True),
        (2, {}, False), (4, {}, False), (4, {338: 0}, False), (6, {}, False),
    ):  # fmt: skip
        write_tiff(path, np.ascontiguousarray(bands[..., :count]), tags=tags)
        if good:
            expected = bands[..., [0] * 3] if count == 1 else bands[..., :3]
            assert (read(path) == (expected if read is read_rgb else expected[..., ::-1])).all()
            continue
        with pytest.raises(ValueError, match=rf'1\.tif.*{count} bands'):
            read(path)
    for kind, named in ((np.float32, 'float'), (np.int16, 'signed')):
        write_tiff(path, bands[..., :3].astype(kind))
        with pytest.raises(ValueError, match=rf'1\.tif.*{named}'):
            read(path)


@pytest.mark.parametrize('read', [decode, read_rgb])
@pytest.mark.parametrize(
    ('bands', 'kind', 'tags'),
    [(3, np.uint16, {284: 2}), (3, np.uint8, {284: 2}), (1, np.uint16, {262: 0}),
     (2, np.uint16, {338: 2}), (3, np.uint8, {262: 1}), (3, np.uint8, {262: 8}),
     (3, np.uint8, {258: 12})],
)  # fmt: skip
def test_tiffs_that_are_read_wrongly_are_named(tmp_path, read, bands, kind, tags):
    write_tiff(tmp_path / '1.tif', photo(8, 12)[..., :bands].astype(kind), tags=tags)
    with pytest.raises(ValueError, match=r'1\.tif.*Save it again'):
        read(tmp_path / '1.tif', bits=12)


@pytest.mark.parametrize('read', [decode, read_rgb])
@pytest.mark.parametrize('tag', [254, 258, 262, 277])
def test_tags_without_a_value_do_not_matter(tmp_path, read, tag):
    write_tiff(tmp_path / '1.tif', photo(8, 12), tags={tag: []})
    with contextlib.suppress(ValueError):  # one that readers need
        assert read(tmp_path / '1.tif').shape == (8, 12, 3)


@pytest.mark.parametrize('suffix', ['jpg', 'png'])
def test_the_orientation_of_xmp_is_obeyed_by_no_reader(tmp_path, suffix):
    xmp = b'<x:xmpmeta xmlns:x="adobe:ns:meta/"><rdf:Description tiff:Orientation="6"/></x:xmpmeta>'
    path, info = tmp_path / f'1.{suffix}', PngInfo()
    info.add_itxt('XML:com.adobe.xmp', xmp.decode())
    options = dict(xmp=xmp) if suffix == 'jpg' else dict(pnginfo=info)
    Image.fromarray(photo(8, 12)).save(path, **options)
    with Image.open(path) as image:
        assert image.getexif().get(0x0112) == 6  # Pillow would
    assert read_rgb(path).shape == decode(path).shape == (8, 12, 3)


@pytest.mark.parametrize('read', [decode, read_rgb])
def test_deep_tiffs_that_only_pillow_reads_need_bits_too(tmp_path, read, monkeypatch):
    deep = photo(8, 12)[..., 0].astype(np.uint16) * 16
    Image.fromarray(deep).save(tmp_path / '1.tif')
    monkeypatch.setattr(cv2, 'imdecode', lambda *_: None)
    with pytest.raises(ValueError, match=r'1\.tif.*--bits'):
        read(tmp_path / '1.tif')
    expected = np.rint(deep * (255 / 4095))[..., None].repeat(3, 2)
    assert (read(tmp_path / '1.tif', bits=12) == expected).all()
    Image.fromarray(deep.astype(np.int32)).save(tmp_path / '2.tif')
    with pytest.raises(ValueError, match=r'2\.tif'):
        read(tmp_path / '2.tif', bits=12)


@pytest.mark.parametrize('bits', [0, 7, 17, (3000, 200), (5, 5), (0, 65536), '12', 12.5, (1,)])
def test_bits_that_cannot_be_are_named(bits):
    with pytest.raises(ValueError, match='bits='):
        check_bits(bits)
    assert check_bits([200, 3000]) == (200, 3000) and check_bits(12) == 12


@pytest.mark.parametrize('orientation', [3, 6])
def test_avif_is_turned_upright(tmp_path, orientation):
    exif = Image.Exif()
    exif[0x0112] = orientation
    smooth = cv2.resize(photo(2, 3), (48, 32))
    Image.fromarray(smooth[..., ::-1]).save(tmp_path / '1.avif', exif=exif, quality=100)
    expected = np.rot90(smooth, {3: 2, 6: -1}[orientation])
    for read in (decode, read_rgb):
        found = read(tmp_path / '1.avif')[..., :: 1 if read is decode else -1]
        assert abs(found.astype(int) - expected).mean() < 9


@pytest.mark.parametrize('read', [decode, read_rgb])
@pytest.mark.parametrize('suffix', ['gif', 'webp', 'png', 'avif'])
def test_several_frames_are_named(tmp_path, read, suffix):
    frames = [Image.fromarray(photo(8, 12, seed=seed)) for seed in range(2)]
    path = tmp_path / f'1.{suffix}'
    frames[0].save(path, save_all=True, append_images=frames[1:])
    with pytest.raises(ValueError, match=rf'1\.{suffix}.*2 frames'):
        read(path)


@pytest.mark.parametrize('read', [decode, read_rgb])
def test_formats_of_phones_and_browsers(tmp_path, read):
    smooth = cv2.resize(photo(2, 3), (48, 32))
    image = Image.fromarray(smooth[..., ::-1])
    for name, form in (('1.jfif', 'JPEG'), ('1.jp2', 'JPEG2000'), ('1.avif', 'AVIF')):
        image.save(tmp_path / name, form)
        found = read(tmp_path / name)[..., :: 1 if read is decode else -1]
        assert abs(found.astype(int) - smooth).mean() < 9


def test_more_pixels_than_the_limit_are_named(tmp_path, monkeypatch):
    Image.fromarray(photo(32, 48)).save(tmp_path / '1.png')
    monkeypatch.setattr(Image, 'MAX_IMAGE_PIXELS', 500)
    with pytest.raises(ValueError, match=r'1\.png.* 500 pixels'):
        read_rgb(tmp_path / '1.png')


def test_open_image_keeps_indices_and_the_stored_mode(tmp_path):
    indices = np.arange(12, dtype=np.uint8).reshape(3, 4)
    image = Image.fromarray(indices)
    image.putpalette(list(range(36)))
    image.save(tmp_path / '1.png', bits=4)
    with open_image(tmp_path / '1.png') as (opened, stored, lossy):
        assert opened.mode == 'P' and stored == 'P;4' and not lossy
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
