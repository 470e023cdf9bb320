"""Converters and the inspection in processes: several workers, killed, interrupted, without rights.

Whatever ends a run, its files are complete, its last line is for users, and the same command
resumes it.
"""

import json
import os
import re
import signal
import sys
import time
from pathlib import Path

import cv2
import pytest
from helpers.converters import names, start, wait_for
from helpers.label_files import contents, maps, write_sources
from helpers.pairs import ROOT, label_map, write_pair
from helpers.programs import MAKE_PAIRS, run_tool

SPLIT_PAIRS = ROOT / 'tools/dataset_converters/split_pairs.py'
INSPECT = ROOT / 'tools/analysis_tools/inspect_pairs.py'
TESTS = dict(PYTHONPATH=f'{ROOT}/tests:{ROOT}')
IMAGES = '*.[pj][np]g'


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
    [('synthetic', 'ctrl-c'), ('folders', 'kill workers'), ('split', 'kill')],
    ids=lambda value: value,
)
def test_a_stopped_run_leaves_complete_files_and_is_resumed(tmp_path, demo_root, kind, stop):
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
        children = Path(f'/proc/{process.pid}/task/{process.pid}/children').read_text().split()
        assert children
        for child in children:
            os.kill(int(child), signal.SIGKILL)
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


def test_a_full_disk_stops_a_run(tmp_path, split):
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
    split(tmp_path / 'pairs', tmp_path / 'split')
    assert names(tmp_path / 'split') == ['train/0.png', 'train/1.png', 'train/2.png']


RUN_ALL = """
import contextlib, io, json, sys
from helpers.programs import load_tool
for (tool, *arguments), status, path in json.loads(sys.argv[1]):
    with contextlib.redirect_stderr(io.StringIO()) as stderr:
        assert load_tool(tool).main(arguments) == status, arguments
    assert path in stderr.getvalue() and 'Traceback' not in stderr.getvalue(), stderr.getvalue()
"""


def test_directories_and_files_without_rights_are_named(tmp_path, pairs_root):
    """Tools run in one process that is bound by file modes, as root is not."""
    sources = write_sources(tmp_path, maps(4))
    locked, closed, mine = tmp_path / 'locked', tmp_path / 'closed', tmp_path / 'maps/train/1.png'
    write_pair(closed / 'train/1.png')
    locked.mkdir()
    out = locked / 'out'
    make, split, inspect = (str(tool) for tool in (MAKE_PAIRS, SPLIT_PAIRS, INSPECT))
    runs = [
        ([make, 'folders', *sources[:2], out, *sources[3:]], 2, out),
        ([make, 'synthetic', out, '--train', 1], 2, out),
        ([make, 'folders', closed, *sources[1:]], 2, closed / 'train'),
        ([make, 'folders', *sources, '--workers', 1], 1, mine),
        ([split, pairs_root, out], 2, out),
        ([split, closed, tmp_path / 'new'], 2, closed / 'train'),
        ([inspect, pairs_root, '--json', locked / 'a.json'], 2, locked / 'a.json'),
        ([inspect, pairs_root, '--sheet', locked / 'a.png'], 2, locked / 'a.png'),
        ([inspect, closed], 2, closed / 'train'),
    ]
    words = json.dumps([([*map(str, words)], status, str(path)) for words, status, path in runs])
    command = [sys.executable, '-c', RUN_ALL, words]
    if os.geteuid() == 0:
        less = '-dac_override,-dac_read_search'
        command = ['setpriv', f'--bounding-set={less}', f'--inh-caps={less}', *command]
    before = {path: path.stat().st_mode for path in (locked, closed / 'train', mine)}
    try:
        for path, mode in zip(before, (0o555, 0, 0), strict=True):
            path.chmod(mode)
        run_tool(*command, env=TESTS)
    finally:
        for path, mode in before.items():
            path.chmod(mode)
    assert not list(locked.iterdir()) and not (tmp_path / 'new').exists()


def test_ctrl_c_ends_an_inspection_at_once(tmp_path, pairs_root):
    root = link_pairs(pairs_root, tmp_path / 'many', 2000)
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
        'sys.exit(load_tool(sys.argv[1]).main([*sys.argv[2:], "--workers", "2"]))\n'
    )
    run_tool(sys.executable, '-c', code, SPLIT_PAIRS, pairs_root, tmp_path / 'out', env=TESTS)
    assert len(names(tmp_path / 'out')) == 6
