"""Pairs split into photos and index maps: the same arrays, whole files, every bad pair named."""

import glob
import json
import os
import signal
import subprocess
import sys
import time

import cv2
import numpy as np
import pytest
from conftest import CITYSCAPES, LOAD, ROOT, build, load_tool, on, photo, run_tool, write_pair
from mmseg.datasets import CityscapesDataset

TOOL = ROOT / 'tools' / 'dataset_converters' / 'split_pairs.py'
main = load_tool('dataset_converters/split_pairs.py').main


def split(pairs, out, *options) -> int:
    return main([str(pairs), str(out), '--workers', '1', *options])


def outputs(out, kind='*') -> dict:
    """Content of every file below ``img_dir`` and ``ann_dir``, hidden ones too."""
    files = (path for path in out.glob(f'{kind}_dir/**/*') if path.is_file())
    return {str(path.relative_to(out)): path.read_bytes() for path in files}


def names(out) -> list[str]:
    """Names of the photos, each of which has its labels."""
    photos, labels = (
        sorted(name.split('_dir/')[1] for name in outputs(out, kind)) for kind in ('img', 'ann')
    )
    assert photos == labels
    return photos


def stock(root, name) -> CityscapesDataset:
    return CityscapesDataset(
        data_root=str(root),
        data_prefix=dict(img_path=f'img_dir/{name}', seg_map_path=f'ann_dir/{name}'),
        img_suffix='.png', seg_map_suffix='.png', pipeline=LOAD,
    )  # fmt: skip


def assert_same_records(pairs, out, name, **kwargs) -> int:
    ours, theirs = build(pairs, name, order='name', **kwargs), stock(out, name)
    assert len(ours) == len(theirs)
    for i in range(len(ours)):
        a, b = ours[i], theirs[i]
        path_a, path_b = (record['data_samples'].img_path for record in (a, b))
        assert os.path.splitext(os.path.basename(path_a))[0] == os.path.basename(path_b)[:-4]
        assert (a['inputs'] == b['inputs']).all()
        labels_a, labels_b = (record['data_samples'].gt_sem_seg.data for record in (a, b))
        assert labels_a.dtype == labels_b.dtype and (labels_a == labels_b).all()
        assert labels_a.unique().numel() > 3
    return len(ours)


def test_stock_dataset_reads_the_arrays_of_the_pairs(demo_root, split_root):
    assert assert_same_records(demo_root, split_root, 'train') == 8
    assert assert_same_records(demo_root, split_root, 'val') == 3


@pytest.mark.parametrize('side', ['left', 'right'])
@pytest.mark.parametrize(
    'decode', [dict(rule='nearest', max_distance=3), dict(max_distance=None)], ids=['3', 'none']
)
def test_options_mean_what_they_mean_to_the_dataset(tmp_path, side, decode):
    suffixes = ('.jpg', '.PNG', '.jpeg', '.bmp', '.webp')
    for i in range(11):  # 10 comes before 2 by name
        write_pair(tmp_path / 'pairs' / 'train' / f'{i}{suffixes[i % 5]}', seed=i, photo_side=side)
    write_pair(tmp_path / 'pairs' / 'train' / 'sub' / '1.jpg', seed=20, photo_side=side)
    options = [f'--{key.replace("_", "-")}={value}'.lower() for key, value in decode.items()]
    out = tmp_path / 'out'
    assert split(tmp_path / 'pairs', out, '--photo-side', side, *options) == 0
    found = dict(photo_side=side, decode=decode)
    assert assert_same_records(tmp_path / 'pairs', out, 'train', **found) == 12


def test_labels_are_indices_in_one_channel_and_metainfo_names_them(tmp_path):
    truth = write_pair(tmp_path / 'pairs' / 'train' / '1.png')
    assert split(tmp_path / 'pairs', tmp_path / 'out') == 0
    labels = cv2.imread(str(tmp_path / 'out/ann_dir/train/1.png'), cv2.IMREAD_UNCHANGED)
    assert labels.dtype == np.uint8 and (labels == truth['labels']).all()
    assert (cv2.imread(str(tmp_path / 'out/img_dir/train/1.png')) == truth['photo']).all()
    metainfo = json.loads((tmp_path / 'out' / 'metainfo.json').read_text())
    assert metainfo == dict(
        classes=list(CITYSCAPES['classes']), palette=list(CITYSCAPES['palette'])
    )


def test_a_palette_of_ones_own(tmp_path):
    mine = dict(classes=['a', 'b'], palette=[[0, 0, 0], [255, 255, 255]])
    (tmp_path / 'mine.json').write_text(json.dumps(mine))
    pair = np.hstack([photo(16, 16), np.full((16, 16, 3), 255, np.uint8)])
    (tmp_path / 'pairs' / 'all').mkdir(parents=True)
    cv2.imwrite(str(tmp_path / 'pairs' / 'all' / '1.png'), pair)
    options = ('--palette', str(tmp_path / 'mine.json'))
    assert split(tmp_path / 'pairs', tmp_path / 'out', *options) == 0
    assert cv2.imread(str(tmp_path / 'out/ann_dir/all/1.png'), 0).min() == 1
    assert json.loads((tmp_path / 'out' / 'metainfo.json').read_text()) == mine


def test_every_folder_with_pairs_is_a_split_below_kaggles_root_too(tmp_path):
    for name in ('train/a/1.png', 'train/b/1.png', 'val/1.png', 'test/1.v2.png', '.bin/1.png'):
        write_pair(tmp_path / 'pairs/cityscapes_data/cityscapes_data' / name)
    write_pair(tmp_path / 'pairs' / 'cityscapes_data' / 'val' / '2.png')  # found first
    (tmp_path / 'pairs' / 'notes').mkdir()
    (tmp_path / 'pairs' / 'notes' / 'readme.txt').write_text('')
    assert split(tmp_path / 'pairs', tmp_path / 'out') == 0
    found = ['test/1.v2.png', 'train/a/1.png', 'train/b/1.png', 'val/2.png']
    assert names(tmp_path / 'out') == found


def test_bad_pairs_are_named_and_the_rest_is_done(pairs_root, tmp_path, capsys):
    train, out = pairs_root / 'train', tmp_path / 'out'
    write_pair(train / 'cut.jpg', seed=7)
    whole = (train / 'cut.jpg').read_bytes()
    (train / 'cut.jpg').write_bytes(whole[: len(whole) // 2])
    (train / 'text.jpg').write_text('no picture')
    cv2.imwrite(str(train / 'odd.png'), photo(16, 33))
    cv2.imwrite(str(train / 'photos.png'), photo(64, 128))
    write_pair(train / 'swapped.png', photo_side='right')
    assert main([str(pairs_root), str(out), '--workers', '2']) == 1
    lines = capsys.readouterr().err.splitlines()
    reasons = {
        'cut.jpg': 'cut off',
        'text.jpg': 'no picture',
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


def test_only_what_has_changed_is_redone(pairs_root, tmp_path, capsys):
    out = tmp_path / 'out'
    assert split(pairs_root, out) == 0
    before = {path: path.stat().st_mtime_ns for path in out.glob('*_dir/*/*')}
    assert len(before) == 12
    os.remove(out / 'ann_dir' / 'val' / '1.png')
    changed = write_pair(pairs_root / 'train' / '2.png', seed=30)['labels']
    (pairs_root / 'train' / '3.png').write_bytes(b'no picture any more')
    os.rename(pairs_root / 'train' / '4.png', pairs_root / 'val' / '4.png')
    capsys.readouterr()
    assert split(pairs_root, out) == 1
    output = capsys.readouterr()
    assert '2 of 6 pairs are done already' in output.out
    assert 'train/3.png: no picture' in output.err
    assert f'whose pair is gone: 1, e.g. {out}/img_dir/train/4.png' in output.err
    assert (cv2.imread(str(out / 'ann_dir/train/2.png'), 0) == changed).all()
    train, val = ([f'{name}/{i}.png' for i in (1, 2, 4)] for name in ('train', 'val'))
    assert names(out) == train + val
    for name in ('train/1.png', 'val/2.png', 'train/4.png'):
        for path in (out / 'img_dir' / name, out / 'ann_dir' / name):
            assert path.stat().st_mtime_ns == before[path]


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
    assert 'photo_side left, not right; max_distance 40.0, not 7.0. Give another OUT' in message
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
    ],
)
def test_bad_arguments_end_in_one_line(pairs_root, tmp_path, capsys, arguments, message):
    (tmp_path / 'file').write_text('')
    (tmp_path / 'bad.yaml').write_text('classes: [')
    arguments = [text.format(tmp_path) for text in arguments]
    assert main(arguments) == 2
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
    output = run_tool('bash', *limited, TOOL, pairs, out, '--workers', 1, status=1)
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
    code = (
        'import sys\nfrom conftest import load_tool\n'
        'main = load_tool("dataset_converters/split_pairs.py").main\n'
        'assert main([sys.argv[1], sys.argv[2] + "/out"]) == 2\n'
        'assert main([sys.argv[3], sys.argv[4]]) == 2\n'
    )
    folders = (pairs_root, locked, closed, tmp_path / 'out')
    command = [sys.executable, '-c', code, *folders]
    if os.geteuid() == 0:  # rights bind root only without these
        less = '-dac_override,-dac_read_search'
        command = ['setpriv', f'--bounding-set={less}', f'--inh-caps={less}', *command]
    locked.chmod(0o555)
    (closed / 'train').chmod(0)
    try:
        output = run_tool(*command, env=dict(PYTHONPATH=f'{ROOT}/tests:{ROOT}'))
    finally:
        (closed / 'train').chmod(0o755)
        locked.chmod(0o755)
    for folder in (locked / 'out', closed / 'train'):
        assert f'split_pairs: no right to use {folder};' in output
    assert not list(locked.iterdir()) and not (tmp_path / 'out').exists()


@pytest.mark.parametrize('stop', [signal.SIGINT, signal.SIGKILL], ids=['ctrl-c', 'kill'])
def test_a_stopped_run_leaves_whole_files_and_goes_on(demo_root, tmp_path, stop):
    pairs, out = tmp_path / 'pairs', tmp_path / 'out'
    (pairs / 'train').mkdir(parents=True)
    for i in range(200):
        os.link(demo_root / 'train' / f'{i % 8 + 1}.jpg', pairs / 'train' / f'{i}.jpg')
    process = subprocess.Popen(
        [sys.executable, TOOL, pairs, out, '--workers', '2'],
        stderr=subprocess.PIPE,
        text=True,
        # A shell's background job starts with SIGINT ignored; a person's terminal does not.
        preexec_fn=lambda: signal.signal(signal.SIGINT, signal.default_int_handler),
    )
    deadline = time.monotonic() + 120
    while len(glob.glob(f'{out}/img_dir/train/*.png')) < 20:
        assert process.poll() is None and time.monotonic() < deadline
        time.sleep(0.02)
    process.send_signal(stop)  # the parent alone: its workers end by themselves
    _, stderr = process.communicate(timeout=30)  # ends when nobody holds the pipe any more
    assert process.returncode == (130 if stop == signal.SIGINT else -stop)
    assert 'Traceback' not in stderr
    if stop == signal.SIGINT:
        assert stderr.strip().splitlines()[-1].endswith('the same command goes on from here')
    photos = {path: path.stat().st_mtime_ns for path in out.glob('img_dir/train/[!.]*')}
    assert 20 <= len(photos) < 200
    for path in photos:
        assert cv2.imread(str(path)).shape == (256, 256, 3)
        assert cv2.imread(str(out / 'ann_dir' / 'train' / path.name), 0).shape == (256, 256)
    assert main([str(pairs), str(out), '--workers', '2']) == 0
    assert len(names(out)) == 200
    assert all(path.stat().st_mtime_ns == time_ for path, time_ in photos.items())


def test_workers_do_not_hang_where_opencv_had_threads_before(pairs_root, tmp_path):
    code = (
        'import cv2, numpy, sys\nfrom conftest import load_tool\n'
        'cv2.setNumThreads(4)\ncv2.GaussianBlur(numpy.zeros((999, 999, 3), "u1"), (9, 9), 3)\n'
        'assert cv2.getNumThreads() == 4\n'
        'main = load_tool("dataset_converters/split_pairs.py").main\n'
        'sys.exit(main([*sys.argv[1:], "--workers", "2"]))\n'
    )
    subprocess.run(
        [sys.executable, '-c', code, pairs_root, tmp_path / 'out'],
        env={**os.environ, 'PYTHONPATH': f'{ROOT}/tests:{ROOT}'},
        timeout=60,
        check=True,
    )
    assert len(names(tmp_path / 'out')) == 6


@pytest.mark.slow
def test_the_config_trains_by_the_stock_dataset(split_root, tmp_path):
    config = 'configs/psp_cityscapes_split.py'
    small = 'train_dataloader.dataset.pipeline.3.crop_size=(128,128)'
    size = 'model.data_preprocessor.size=(128,128)'
    run_tool(ROOT / 'tools/train.py', config, *on(split_root, small, size), cwd=tmp_path)
    assert (tmp_path / 'work_dirs' / 'psp_cityscapes_split' / 'iter_2.pth').is_file()
