"""``tools/predict.py`` on photos and folders as people have them."""

import io
import os

import cv2
import numpy as np
import pytest
from helpers.label_files import read
from helpers.pairs import photo
from helpers.programs import load_tool
from mmseg.apis import inference_model, init_model
from PIL import Image

from pspnet_plugin.apis.sources import find_sources

main = load_tool('predict.py').main
EXIF_TURNED = Image.Exif()
EXIF_TURNED[0x0112] = 6


def saved(path, **options) -> None:
    smooth = cv2.resize(photo(8, 12), (96, 64))[..., ::-1]
    Image.fromarray(smooth).save(path, **options)


def sixteen_bits(path) -> None:
    cv2.imwrite(str(path), cv2.resize(photo(8, 12), (96, 64)).astype(np.uint16) * 257)


def with_alpha(path) -> None:
    cv2.imwrite(str(path), np.dstack([photo(64, 96), photo(64, 96, seed=1)[..., 0]]))


def cmyk(path) -> None:
    Image.fromarray(cv2.resize(photo(8, 12), (96, 64))).convert('CMYK').save(path)


@pytest.mark.parametrize(
    ('name', 'write', 'size'),
    [
        ('sixteen.png', sixteen_bits, (64, 96)),
        ('alpha.png', with_alpha, (64, 96)),
        ('cmyk.jpg', cmyk, (64, 96)),
        ('turned.jpg', lambda path: saved(path, exif=EXIF_TURNED), (96, 64)),
        ('grey.png', lambda path: cv2.imwrite(str(path), photo(64, 96)[..., 0]), (64, 96)),
        ('pixel.png', lambda path: cv2.imwrite(str(path), photo(1, 1)), (1, 1)),
        ('scan.tiff', saved, (64, 96)),
        ('UPPER.JPG', saved, (64, 96)),
        ('100 % %s {0} straße 日本.jpg', saved, (64, 96)),
    ],
    ids=lambda value: value if isinstance(value, str) else '',
)
def test_it_is_labelled_as_by_the_framework(name, write, size, network, tmp_path, capsys):
    write(tmp_path / name)
    assert main([str(tmp_path), *network, '--out', str(tmp_path / 'out')]) == 0
    labels = read(tmp_path / 'out/index' / f'{(tmp_path / name).stem}.png')
    model = init_model(network[1], network[3], device='cpu')
    expected = inference_model(model, str(tmp_path / name)).pred_sem_seg.data[0].numpy()
    assert labels.shape == size and (labels == expected).mean() > 0.999


def test_a_photo_that_is_cut_off_is_named(network, tmp_path, capsys):
    whole = io.BytesIO()
    exif = Image.Exif()
    exif[0x010E] = 'a thumbnail has an end of its own: \xff\xd9'
    saved(whole, format='JPEG', exif=exif)
    content = whole.getvalue()
    (tmp_path / 'whole.jpg').write_bytes(content)
    (tmp_path / 'cut.jpg').write_bytes(content[: len(content) * 2 // 3])
    arguments = [str(tmp_path), *network, '--out', str(tmp_path / 'out'), '--save', 'index']
    assert main(arguments) == 1
    assert 'cut.jpg is cut off: its JPEG data has no end' in capsys.readouterr().err
    assert [path.name for path in (tmp_path / 'out/index').iterdir()] == ['whole.png']


def test_a_picture_that_jpeg_cannot_hold_is_named(network, tmp_path, capsys):
    cv2.imwrite(str(tmp_path / 'strip.png'), photo(65_600, 2))
    cv2.imwrite(str(tmp_path / 'plain.png'), photo(64, 64))
    arguments = [str(tmp_path), *network, '--save', 'index', 'overlay', '--max-side', '512']
    assert main([*arguments, '--out', str(tmp_path / 'out')]) == 1
    said = capsys.readouterr().err
    assert 'strip: ' in said and 'x65600 pixels cannot be written as a .jpg file' in said
    assert [path.name for path in (tmp_path / 'out/index').iterdir()] == ['plain.png']


def test_patterns_and_names(street):
    found = find_sources([f'{street}/day/*.png', f'{street}/gr*.jpg'])
    assert [source.name for source in found] == ['0', '1', '2', 'grey']
    found = find_sources([str(street)])
    assert [source.name for source in found] == ['broken', 'day/0', 'day/1', 'day/2', 'grey']


def test_folders_are_searched_through_links_but_once_and_not_where_they_are_hidden(tmp_path):
    root = tmp_path / 'root'
    for name in ('root/a', 'root/.thumbnails', 'root/frames.mp4', 'other'):
        (tmp_path / name).mkdir(parents=True)
        (tmp_path / name / 'x.png').touch()
    (root / '.hidden.png').touch()
    (root / 'linked').symlink_to(tmp_path / 'other')
    (root / 'a/round').symlink_to(root)
    found = [source.name for source in find_sources([str(root)])]
    assert found == ['a/x', 'frames.mp4/x', 'linked/x']


@pytest.mark.parametrize('name', ['pipe.jpg', 'pipe.mp4'])
def test_a_pipe_is_left_out(name, network, tmp_path, capsys):
    os.mkfifo(tmp_path / name)
    cv2.imwrite(str(tmp_path / 'plain.png'), photo(64, 64))
    arguments = [str(tmp_path), *network, '--out', str(tmp_path / 'out'), '--save', 'index']
    assert main(arguments) == 1
    assert f'{name} is a pipe or a device; expected a file' in capsys.readouterr().err
    assert (tmp_path / 'out/index/plain.png').is_file()


def test_options_that_are_none_are_said_in_a_line(network, tmp_path, capsys):
    with pytest.raises(SystemExit) as ended:
        main([str(tmp_path), *network, '--out', str(tmp_path / 'out'), '--cfg-options', 'a'])
    assert ended.value.code == 2
    assert 'expected KEY=VALUE' in capsys.readouterr().err
