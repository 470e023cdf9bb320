"""``tools/predict.py`` resumes in a directory that holds something: nothing is lost or mixed."""

import csv
import json
import os
import re
import shutil
import signal
import subprocess
import sys

import cv2
import pytest
from helpers.converters import wait_for
from helpers.label_files import read
from helpers.pairs import ROOT, photo
from helpers.programs import load_tool, run_tool

from pspnet_plugin.utils.files import lock

TOOL = ROOT / 'tools/predict.py'


def test_a_directory_is_of_one_network_and_each_name_of_one_file(
    demo_root, trained, network, tmp_path, predict
):
    save = ['--pairs', '--save', 'shares']
    few = [str(demo_root / 'val' / f'{i}.jpg') for i in (1, 2)]
    predict(few[0], *network, *save)
    _, stderr = predict(few[0], *network[:3], trained / 'iter_1.pth', *save, status=2)
    assert 'iter_2.pth' in stderr, 'though it holds no image'
    assert few[0] in predict(demo_root / 'train/1.jpg', *network, *save, status=2)[1]
    one = json.loads((tmp_path / 'out/scores.json').read_text())
    predict(*few, *network, *save)
    both = json.loads((tmp_path / 'out/scores.json').read_text())
    assert count(predict(few[0], *network, *save)) == [1, 1]
    assert json.loads((tmp_path / 'out/scores.json').read_text()) == one != both
    assert len((tmp_path / 'out/shares.csv').read_text().splitlines()) == 2


def test_a_photo_that_has_changed_is_labelled_again_and_a_torn_journal_read(
    street, network, tmp_path, predict
):
    out = tmp_path / 'out'
    arguments = street / 'day', *network, '--save', 'index'
    predict(*arguments)
    journal = out / '.labelled.jsonl'
    journal.write_text(journal.read_text()[:-40])
    cv2.imwrite(str(street / 'day' / '0.png'), photo(40, 30))
    for already in (1, 3):
        assert count(predict(*arguments)) == [already, 3]
        assert read(out / 'index' / '0.png').shape == (40, 30)


def test_outputs_of_former_content_do_not_count(street, network, tmp_path, predict):
    out = tmp_path / 'out'
    arguments = street / 'day', *network, '--save', 'index', 'shares'
    predict(*arguments)
    (street / 'day' / '1.png').write_bytes(b'no picture')
    assert count(predict(*arguments, status=1))[-1] == 2
    assert [path.name for path in sorted((out / 'index').iterdir())] == ['0.png', '2.png']
    assert [row['name'] for row in csv.DictReader((out / 'shares.csv').open())] == ['0', '2']


def count(captured: tuple[str, str]) -> list[int]:
    """The numbers in the lines on files that were labelled already, and on images that are."""
    return [int(n) for n in re.findall(r'^(\d+) (?:of \d+ files|images)', captured[0], re.M)]


@pytest.mark.parametrize(
    'name', ['pairs/train/1.png', 'overlay/holiday.webm', 'shares.csv', 'scores.json']
)
def test_foreign_files_are_left_alone(name, demo_root, network, tmp_path, predict):
    own = tmp_path / 'out' / name
    own.parent.mkdir(parents=True)
    own.write_bytes(b'mine')
    save = ['--pairs', '--save', 'pairs', 'overlay', 'shares']
    assert str(own) in predict(demo_root / 'val', *network, *save, status=2)[1]
    assert own.read_bytes() == b'mine'


@pytest.mark.parametrize('lost', ['[!.]*', 'overlay', 'index/1.png'])
def test_removed_outputs_are_written_again(lost, street, network, tmp_path, predict):
    out = tmp_path / 'out'
    predict(street / 'day', *network, '--save', 'index', 'overlay')
    made = {path: path.read_bytes() for path in out.glob('*/*')}
    assert len(made) == 6
    for path in out.glob(lost):
        shutil.rmtree(path) if path.is_dir() else path.write_bytes(b'')
    again = predict(street / 'day', *network, '--save', 'overlay', 'index', 'index')  # any order
    assert {path: path.read_bytes() for path in out.glob('*/*')} == made
    assert count(again) == ([2, 3] if lost.endswith('.png') else [3])


def test_scores_of_former_content_are_removed(demo_root, network, tmp_path, predict):
    pair, scores = shutil.copy(demo_root / 'val/1.jpg', tmp_path), tmp_path / 'out/scores.json'
    predict(pair, *network, '--pairs', '--save', 'shares')
    assert scores.is_file()
    (tmp_path / '1.jpg').write_bytes(b'no pair')
    predict(pair, *network, '--pairs', '--save', 'shares', status=1)
    assert not scores.exists()


def test_outputs_stay_while_their_file_is_missing(street, network, tmp_path, predict):
    out = tmp_path / 'out'
    link = tmp_path / 'links/0.png'
    link.parent.mkdir()
    link.symlink_to(street / 'day/0.png')
    arguments = link.parent, *network, '--save', 'index'
    predict(*arguments)
    before = read(out / 'index/0.png')
    (street / 'day').rename(street / 'away')
    assert str(link) in predict(*arguments, status=1)[1]
    assert (read(out / 'index/0.png') == before).all()


def test_a_second_run_into_a_directory_in_use_is_refused(street, network, tmp_path, predict):
    out = tmp_path / 'out'
    out.mkdir()
    with (out / '.labelled.jsonl').open('a') as journal:
        assert lock(journal)
        assert str(out) in predict(street / 'day', *network, status=2)[1]
    predict(street / 'day', *network)


def test_a_run_that_another_one_overtook_changes_nothing(
    street, network, trained, tmp_path, monkeypatch, capsys
):
    out = tmp_path / 'out'
    tool = load_tool('predict.py')
    other = [*network[:3], str(trained / 'iter_1.pth')]

    class Late(tool.Outputs):
        def __init__(self, *args, **kwargs):
            monkeypatch.setattr(tool, 'Outputs', Late.__base__)
            assert tool.main([str(street / 'day'), *other, '--out', str(out)]) == 0
            super().__init__(*args, **kwargs)

    monkeypatch.setattr(tool, 'Outputs', Late)
    assert tool.main([str(street / 'day'), *network, '--out', str(out)]) == 2
    assert 'iter_1.pth' in capsys.readouterr().err
    assert 'iter_1.pth' in (out / '.labelled.json').read_text()


def test_journal_lines_that_are_no_entries_do_not_count(street, network, tmp_path, predict):
    arguments = street / 'day', *network, '--save', 'index'
    predict(*arguments)
    with (tmp_path / 'out/.labelled.jsonl').open('a') as journal:
        journal.write('5\n{}\n[]\n')
    assert count(predict(*arguments)) == [3, 3]


@pytest.mark.parametrize(
    ('sent', 'status'), [(signal.SIGKILL, -signal.SIGKILL), (signal.SIGINT, 130)]
)
def test_an_interrupted_run_resumes(sent, status, network, tmp_path):
    folder = tmp_path / 'many'
    folder.mkdir()
    for i in range(30):
        cv2.imwrite(str(folder / f'{i}.png'), photo(256, 256, seed=i))
    out = tmp_path / 'out'
    arguments = [str(folder), *network, '--out', str(out), '--save', 'index']
    command = [sys.executable, str(TOOL), *arguments]
    process = subprocess.Popen(
        command,
        env={**os.environ, 'OMP_NUM_THREADS': '1'},
        # A shell's background job starts with SIGINT ignored; a person's terminal does not.
        preexec_fn=lambda: signal.signal(signal.SIGINT, signal.default_int_handler),
    )
    wait_for(process, lambda: len(list(out.glob('index/*.png'))) > 2)
    process.send_signal(sent)
    assert process.wait() == status
    before = {path: path.stat().st_mtime_ns for path in out.glob('index/*.png')}
    assert 2 < len(before) < 30
    assert all(read(path).shape == (256, 256) for path in before)
    labelled = count((run_tool(TOOL, *arguments), ''))
    assert 0 < labelled[0] < 30 == labelled[1]
    assert len(list(out.glob('index/*.png'))) == 30
    kept = [path for path, time in before.items() if path.stat().st_mtime_ns == time]
    assert len(kept) >= len(before) - 1  # one may not be in the journal yet
