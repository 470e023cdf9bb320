"""Converters and the inspection in processes: several workers, killed, interrupted, without rights.

Whatever ends a run, its files are complete, its last line is for users, and the same command
resumes it.
"""

import os
import re
import signal
import subprocess
import sys
import time
from pathlib import Path

import cv2
import pytest
from helpers.converters import (
    SPLIT_PAIRS,
    children,
    names,
    run_without_rights,
    split,
    start,
    wait_for,
)
from helpers.inspected_sets import TOOL as INSPECT
from helpers.inspected_sets import write_set
from helpers.label_files import contents, maps, save, write_photos
from helpers.pairs import ROOT, label_map, write_pair
from helpers.programs import MAKE_PAIRS, on, run_tool

IMAGES = '*.[pj][np]g'


def write_sources(folder: Path, labels: dict) -> list:
    """Write photos and label maps; return arguments of ``folders``, the third of which is OUT."""
    write_photos(folder / 'photos', labels)
    for name, values in labels.items():
        save(folder / 'maps' / f'{name}.png', values)
    return [
        folder / 'photos',
        folder / 'maps',
        folder / 'out',
        '--palette',
        folder / 'palette.json',
    ]


def link_pairs(root: Path, folder: Path, count: int) -> Path:
    """Hard-link the pairs of ``root`` until there are ``count`` of them."""
    sources = sorted((root / 'train').glob('*.*'))
    (folder / 'train').mkdir(parents=True)
    for i in range(count):
        source = sources[i % len(sources)]
        os.link(source, folder / 'train' / f'{i}{source.suffix}')
    return folder


@pytest.mark.parametrize(
    ('kind', 'stop'),
    [
        ('synthetic', 'ctrl-c'),
        ('folders', 'kill workers'),
        ('split', 'ctrl-c'),
        ('split', 'kill'),
        ('split', 'kill workers'),
    ],
    ids=lambda value: value,
)
def test_a_stopped_run_leaves_complete_files_and_is_resumed(
    tmp_path, palette, demo_root, kind, stop
):
    out, count = tmp_path / 'out', 60
    if kind == 'synthetic':
        command = [MAKE_PAIRS, 'synthetic', out, '--train', count, '--val', 0]
    elif kind == 'folders':
        labels = {f'train/{i}': label_map(400, 400, classes=3) for i in range(count)}
        command = [MAKE_PAIRS, 'folders', *write_sources(tmp_path, labels)]
    else:
        count = 200
        command = [SPLIT_PAIRS, link_pairs(demo_root, tmp_path / 'pairs', count), out]
        out = out / 'img_dir'
    process = start(*command, '--workers', 2)
    wait_for(process, lambda: len([*out.rglob(f'[!.]{IMAGES}')]) >= 5)
    if stop == 'ctrl-c':
        os.killpg(process.pid, signal.SIGINT)
    elif stop == 'kill':
        process.kill()  # the parent alone: its workers end by themselves
    else:
        for child in children(process):
            os.kill(child, signal.SIGKILL)
    _, stderr = process.communicate(timeout=60)  # ends when nobody holds the pipe any more
    assert process.returncode == {'ctrl-c': 130, 'kill': -9, 'kill workers': 1}[stop], stderr
    assert 'Traceback' not in stderr
    if stop != 'kill':
        assert re.match('(make|split)_pairs: ', stderr.strip().splitlines()[-1])
    made = {path: path.stat().st_ctime_ns for path in out.rglob('[!.]*g')}
    assert made and all(cv2.imread(str(path)) is not None for path in made)
    run_tool(*command, '--workers', 2)
    after = {path: path.stat().st_ctime_ns for path in out.rglob(IMAGES)}
    assert len(made) < len(after) == count and made.items() <= after.items()
    assert not [*out.rglob('*.part')]


def test_images_do_not_depend_on_the_workers(tmp_path, demo_root):
    for workers in (1, 2):
        out = tmp_path / f'{workers}'
        options = ['--workers', workers]
        run_tool(MAKE_PAIRS, 'synthetic', out, '--train', 3, '--val', 1, *options)
        run_tool(INSPECT, demo_root, *options, '--json', tmp_path / f'{workers}.json')
    assert contents(tmp_path / '1') == contents(tmp_path / '2')
    assert (tmp_path / '1.json').read_bytes() == (tmp_path / '2.json').read_bytes()


def test_a_full_disk_stops_a_run(tmp_path, palette):
    """A limit on the size of files stands for the disk."""
    labels = {'train/0': maps(1)['train/0'], 'train/1': label_map(400, 400, classes=3)}
    sources = write_sources(tmp_path, labels)
    for i, size in enumerate((16, 64, 16)):
        write_pair(tmp_path / 'pairs/train' / f'{i}.png', height=size, width=size, seed=i)
    for limit, tool, *arguments in (
        (64, MAKE_PAIRS, 'folders', *sources),
        (4, SPLIT_PAIRS, tmp_path / 'pairs', tmp_path / 'split'),
    ):
        limited = ['-c', f'ulimit -f {limit}; trap "" XFSZ; exec "$@"', 'bash', sys.executable]
        output = run_tool('bash', *limited, tool, *arguments, '--workers', 1, status=1)
        last = output.strip().splitlines()[-1]
        assert 'File too large' in last and 'train/1.png' in last and 'Traceback' not in output
    left = {path.name for path in (tmp_path / 'out').rglob('*') if path.is_file()}
    assert left == {'.pairs.json', '0.png', 'metainfo.json'}
    assert names(tmp_path / 'split') == ['train/0.png']
    assert split(tmp_path / 'pairs', tmp_path / 'split') == 0
    assert names(tmp_path / 'split') == ['train/0.png', 'train/1.png', 'train/2.png']


def test_directories_and_files_without_rights_are_named(tmp_path, palette):
    sources, pairs = write_sources(tmp_path, maps(4)), write_set(tmp_path / 'pairs')
    locked, closed, mine = tmp_path / 'locked', tmp_path / 'closed', tmp_path / 'maps/train/1.png'
    write_pair(closed / 'train/1.png')
    locked.mkdir()
    out, rights = locked / 'out', {locked: 0o555, closed / 'train': 0, mine: 0}
    runs = {
        'dataset_converters/make_pairs.py': [
            (['folders', *sources[:2], out, *sources[3:]], 2),
            (['synthetic', out, '--train', 1], 2),
            (['folders', closed, *sources[1:]], 2),
            (['folders', *sources, '--workers', 1], 1),
        ],
        'dataset_converters/split_pairs.py': [([pairs, out], 2), ([closed, tmp_path / 'new'], 2)],
        'analysis_tools/inspect_pairs.py': [
            ([pairs, '--json', locked / 'a.json'], 2),
            ([pairs, '--sheet', locked / 'out.png'], 2),
            ([closed], 2),
        ],
    }
    for tool, arguments in runs.items():
        output = run_without_rights(tool, arguments, rights=rights)
        assert str(out) in output and str(closed / 'train') in output
        assert 'Traceback' not in output
        assert (str(mine) in output) == (tool == 'dataset_converters/make_pairs.py')
    assert not list(locked.iterdir()) and not (tmp_path / 'new').exists()


def test_ctrl_c_ends_an_inspection_at_once(tmp_path):
    root = link_pairs(write_set(tmp_path / 'set'), tmp_path / 'many', 2000)
    process = start(INSPECT, root, '--workers', 2)
    shown = ''
    while '%|' not in shown.replace('  0%|', ''):
        shown += (part := os.read(process.stderr.fileno(), 4096).decode())
        assert part, shown
    begun = time.monotonic()
    os.killpg(process.pid, signal.SIGINT)
    _, rest = process.communicate(timeout=60)
    assert process.returncode == 130, rest
    assert time.monotonic() - begun < 20
    assert rest.strip().splitlines()[-1].startswith('inspect_pairs: ') and 'Traceback' not in rest


def test_workers_do_not_hang_where_opencv_had_threads_before(pairs_root, tmp_path):
    code = (
        'import cv2, numpy, sys\nfrom helpers.programs import load_tool\n'
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


def test_the_stock_dataset_trains_on_split_pairs(split_root, tmp_path):
    config = 'configs/psp_cityscapes_split.py'
    small = 'train_dataloader.dataset.pipeline.3.crop_size=(128,128)'
    size = 'model.data_preprocessor.size=(128,128)'
    run_tool(ROOT / 'tools/train.py', config, *on(split_root, small, size), cwd=tmp_path)
    assert (tmp_path / 'work_dirs' / 'psp_cityscapes_split' / 'iter_2.pth').is_file()


def test_two_commands_train_on_photos_and_label_maps(tmp_path, palette):
    (tmp_path / 'configs').symlink_to(ROOT / 'configs')
    sources = write_sources(tmp_path, maps(3))
    run_tool(MAKE_PAIRS, 'folders', *sources, '--config', 'own.py', cwd=tmp_path)
    options = ['train_cfg.minutes=0.3', 'train_cfg.reserve=3', 'train_dataloader.batch_size=2']
    output = run_tool(ROOT / 'tools/train.py', 'own.py', '--cfg-options', *options, cwd=tmp_path)
    assert re.search(r'mIoU: [\d.]+', output)
