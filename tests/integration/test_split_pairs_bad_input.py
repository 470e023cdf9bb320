"""Pairs that cannot be split, and folders and options that are unusable: each is named."""

import sys

import cv2
import pytest
from helpers.converters import SPLIT_PAIRS, names, outputs, run_without_rights, split, split_main
from helpers.pairs import photo, write_pair
from helpers.programs import run_tool


def test_bad_pairs_are_named_and_the_rest_is_done(pairs_root, tmp_path, capsys):
    train, out = pairs_root / 'train', tmp_path / 'out'
    write_pair(train / 'cut.jpg', seed=7)
    whole = (train / 'cut.jpg').read_bytes()
    (train / 'cut.jpg').write_bytes(whole[: len(whole) // 2])
    (train / 'text.jpg').write_text('no picture')
    cv2.imwrite(str(train / 'odd.png'), photo(16, 33))
    cv2.imwrite(str(train / 'photos.png'), photo(64, 128))
    write_pair(train / 'swapped.png', photo_side='right')
    assert split_main([str(pairs_root), str(out), '--workers', '2']) == 1
    lines = capsys.readouterr().err.splitlines()
    reasons = {
        'cut.jpg': 'cut off',
        'text.jpg': '10 bytes',
        'odd.png': 'odd width',
        'photos.png': 'no labels in its right half',
        'swapped.png': '--photo-side right',
    }
    for name, reason in reasons.items():
        assert any(f'{train / name}: ' in line and reason in line for line in lines), name
    assert 'named above: 5;' in lines[-1]
    made = outputs(out)
    assert len(names(out)) == 6 and len(made) == 12

    (train / 'cut.jpg').write_bytes(whole)
    for name in reasons.keys() - {'cut.jpg'}:
        (train / name).unlink()
    assert split(pairs_root, out) == 0
    assert outputs(out).items() > made.items()
    assert 'train/cut.png' in names(out)


def test_two_pairs_that_would_be_one_file_stop_it_at_once(pairs_root, tmp_path, capsys):
    write_pair(pairs_root / 'val' / '1.jpg')
    assert split(pairs_root, tmp_path / 'out') == 2
    message = capsys.readouterr().err
    assert f'{pairs_root}/val/1.jpg and {pairs_root}/val/1.png would both become' in message
    assert not (tmp_path / 'out').exists()


def test_a_folder_made_otherwise_or_by_others_is_refused(pairs_root, tmp_path, capsys):
    out, foreign = tmp_path / 'out', tmp_path / 'foreign'
    assert split(pairs_root, out) == 0
    before = outputs(out)
    assert split(pairs_root, out, '--max-distance', '7', '--photo-side', 'right') == 2
    message = capsys.readouterr().err
    assert 'photo_side left, not right; max_distance 40.0, not 7.0. Give another folder' in message
    other = tmp_path / 'other'
    write_pair(other / 'train' / '1.png')
    assert split(other, out) == 2
    assert f'pairs {pairs_root}, not {other}' in capsys.readouterr().err
    (out / '.split_pairs.json').write_text('{')
    assert split(pairs_root, out) == 2
    assert outputs(out) == before

    foreign.mkdir()
    (foreign / 'mine.txt').write_text('')
    assert split(pairs_root, foreign) == 2
    assert 'mine.txt was not made by this tool' in capsys.readouterr().err
    assert [path.name for path in foreign.iterdir()] == ['mine.txt']


def test_a_run_that_made_nothing_may_be_repeated_with_other_settings(pairs_root, tmp_path):
    assert split(pairs_root, tmp_path / 'out', '--photo-side', 'right') == 1
    assert split(pairs_root, tmp_path / 'out') == 0
    assert len(names(tmp_path / 'out')) == 6


@pytest.mark.parametrize(
    ('arguments', 'message'),
    [
        (['{}/none', '{}/out'], 'none: no such folder'),
        (['{}/pairs/train', '{}/out'], 'has no sub-folder with pairs'),
        (['{}/pairs', '{}/pairs/out'], 'lies in the folder of the pairs'),
        (['{}/pairs', '{}/pairs/train/1.png'], 'lies in the folder of the pairs'),
        (['{}/pairs', '{}/file'], 'file is a file'),
        (['{}/pairs', '{}/file/out'], 'Not a directory'),
        (['{}/pairs', '{}/out', '--palette', '{}/none'], 'none: no such file'),
        (['{}/pairs', '{}/out', '--palette', '{}/bad.yaml'], 'bad.yaml: while parsing'),
        (['{}/pairs', '{}/out', '--max-distance', '-1'], 'max_distance=-1'),
        (['{}/pairs', '{}/out', '--min-explained', '2'], 'min_explained=2'),
        (['{}/pairs', '{}/out', '--min-confidence', '2'], 'min_confidence=2'),
    ],
    ids=[
        'missing',
        'no split',
        'inside',
        'a pair',
        'file',
        'below file',
        'no palette',
        'bad palette',
        'far',
        'share',
        'confidence',
    ],
)
def test_bad_arguments_end_in_one_line(pairs_root, tmp_path, capsys, arguments, message):
    (tmp_path / 'file').write_text('')
    (tmp_path / 'bad.yaml').write_text('classes: [')
    arguments = [text.format(tmp_path) for text in arguments]
    assert split_main(arguments) == 2
    (line,) = capsys.readouterr().err.splitlines()
    assert line.startswith('split_pairs: ') and message in line
    assert not (tmp_path / 'out').exists()


@pytest.mark.parametrize('text', ['x', ''])
def test_a_distance_that_is_no_number_is_named(tmp_path, capsys, text):
    with pytest.raises(SystemExit, match='2'):
        split(tmp_path, tmp_path / 'out', '--max-distance', text)
    assert f'{text!r} is no number, nor none' in capsys.readouterr().err


def test_a_full_disk_stops_it_and_the_same_command_goes_on(tmp_path):
    """A limit on the size of files stands for the disk: the second photo does not fit."""
    pairs, out = tmp_path / 'pairs', tmp_path / 'out'
    for i, size in enumerate((16, 64, 16)):
        write_pair(pairs / 'train' / f'{i}.png', height=size, width=size, seed=i)
    limited = ('-c', 'ulimit -f 4; exec "$@"', 'bash', sys.executable)
    output = run_tool('bash', *limited, SPLIT_PAIRS, pairs, out, '--workers', 1, status=1)
    last = output.strip().splitlines()[-1]
    assert 'File too large' in last and '1 of 3 pairs are done and kept in' in last
    assert 'the same command goes on from here' in last and 'Traceback' not in output
    assert names(out) == ['train/0.png']
    assert split(pairs, out) == 0
    assert names(out) == ['train/0.png', 'train/1.png', 'train/2.png']


def test_folders_without_rights_are_named(pairs_root, tmp_path):
    closed, locked = tmp_path / 'closed', tmp_path / 'locked'
    write_pair(closed / 'train' / '1.png')
    locked.mkdir()
    output = run_without_rights(
        'dataset_converters/split_pairs.py',
        [([pairs_root, locked / 'out'], 2), ([closed, tmp_path / 'out'], 2)],
        rights={locked: 0o555, closed / 'train': 0},
    )
    for folder in (locked / 'out', closed / 'train'):
        assert f'split_pairs: no right to use {folder};' in output
    assert not list(locked.iterdir()) and not (tmp_path / 'out').exists()
