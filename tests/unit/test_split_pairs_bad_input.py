"""Pairs that cannot be split, and unusable directories and options, are named."""

import cv2
import pytest
from helpers.converters import names, outputs, split, split_main
from helpers.pairs import photo, write_pair


def test_bad_pairs_are_named_and_the_rest_is_done(pairs_root, tmp_path, capsys):
    train, out = pairs_root / 'train', tmp_path / 'out'
    write_pair(train / 'cut.jpg', seed=7)
    whole = (train / 'cut.jpg').read_bytes()
    (train / 'cut.jpg').write_bytes(whole[: len(whole) // 2])
    (train / 'text.jpg').write_text('no picture')
    cv2.imwrite(str(train / 'odd.png'), photo(16, 33))
    cv2.imwrite(str(train / 'photos.png'), photo(64, 128))
    write_pair(train / 'swapped.png', photo_side='right')
    assert split(pairs_root, out) == 1
    lines = capsys.readouterr().err.splitlines()
    carried = {
        'cut.jpg': '',
        'text.jpg': '',
        'odd.png': '33 x 16',
        'photos.png': '--min-explained 0',
        'swapped.png': '--photo-side right',
    }
    for name, text in carried.items():
        assert any(str(train / name) in line and text in line for line in lines), name
    assert '5 of 11' in lines[-1]
    made = outputs(out)
    assert len(names(out)) == 6 and len(made) == 12

    (train / 'cut.jpg').write_bytes(whole)
    for name in carried.keys() - {'cut.jpg'}:
        (train / name).unlink()
    assert split(pairs_root, out) == 0
    assert outputs(out).items() > made.items()
    assert 'train/cut.png' in names(out)


def test_two_pairs_that_would_be_one_file_stop_it_at_once(pairs_root, tmp_path, capsys):
    write_pair(pairs_root / 'val' / '1.jpg')
    assert split(pairs_root, tmp_path / 'out') == 2
    message = capsys.readouterr().err
    assert all(f'{pairs_root}/val/1.{suffix}' in message for suffix in ('jpg', 'png'))
    assert not (tmp_path / 'out').exists()


def test_an_output_directory_of_another_run_or_of_others_is_refused(pairs_root, tmp_path, capsys):
    out, foreign = tmp_path / 'out', tmp_path / 'foreign'
    assert split(pairs_root, out) == 0
    before = outputs(out)
    assert split(pairs_root, out, '--max-distance', '7', '--photo-side', 'right') == 2
    message = capsys.readouterr().err
    assert 'photo_side left' in message and 'max_distance 40.0' in message
    other = tmp_path / 'other'
    write_pair(other / 'train' / '1.png')
    assert split(other, out) == 2
    message = capsys.readouterr().err
    assert str(pairs_root) in message and str(other) in message
    (out / '.split_pairs.json').write_text('{')
    assert split(pairs_root, out) == 2
    assert outputs(out) == before

    foreign.mkdir()
    (foreign / 'mine.txt').write_text('')
    assert split(pairs_root, foreign) == 2
    assert str(foreign / 'mine.txt') in capsys.readouterr().err
    assert [path.name for path in foreign.iterdir()] == ['mine.txt']


def test_a_run_that_made_nothing_may_be_repeated_with_other_settings(pairs_root, tmp_path):
    assert split(pairs_root, tmp_path / 'out', '--photo-side', 'right') == 1
    assert split(pairs_root, tmp_path / 'out') == 0
    assert len(names(tmp_path / 'out')) == 6


@pytest.mark.parametrize(
    ('arguments', 'carried'),
    [
        (['{}/none', '{}/out'], '{}/none'),
        (['{}/pairs/train', '{}/out'], '{}/pairs/train/train/1.jpg'),
        (['{}/pairs', '{}/pairs/out'], '{}/pairs/out'),
        (['{}/pairs', '{}/pairs/train/1.png'], '{}/pairs/train/1.png'),
        (['{}/pairs', '{}/file'], '{}/file'),
        (['{}/pairs', '{}/file/out'], '{}/file'),
        (['{}/pairs', '{}/out', '--palette', '{}/none'], '{}/none'),
        (['{}/pairs', '{}/out', '--palette', '{}/bad.yaml'], '{}/bad.yaml'),
        (['{}/pairs', '{}/out', '--max-distance', '-1'], 'max_distance=-1'),
        (['{}/pairs', '{}/out', '--min-explained', '2'], 'min_explained=2'),
        (['{}/pairs', '{}/out', '--min-confidence', '2'], 'min_confidence=2'),
        (['{}/pairs', '{}/out', '--max-distance', 'x'], "'x'"),
    ],
    ids=lambda value: ' '.join(value) if isinstance(value, list) else '',
)
def test_bad_arguments_end_in_one_line(pairs_root, tmp_path, capsys, arguments, carried):
    (tmp_path / 'file').write_text('')
    (tmp_path / 'bad.yaml').write_text('classes: [')
    try:
        status = split_main([text.format(tmp_path) for text in arguments])
    except SystemExit as error:
        status = error.code
    assert status == 2
    *usage, last = capsys.readouterr().err.splitlines()
    assert carried.format(tmp_path) in last and 'Traceback' not in ''.join(usage)
    assert not (tmp_path / 'out').exists()
