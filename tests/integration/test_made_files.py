"""Files of the converters: whole under their name, and nothing of killed runs beside them."""

import os
import platform
import subprocess
import sys

import pytest

from pspnet_plugin.utils import jobs
from pspnet_plugin.utils.files import remove_stale_parts, same_time, write_atomic


def test_a_second_writer_of_the_same_file_does_no_harm(tmp_path, monkeypatch):
    path, replace = tmp_path / '1.png', os.replace
    found = []

    def meanwhile(part, target):
        monkeypatch.setattr(os, 'replace', replace)
        write_atomic(path, b'other')
        found.append(path.read_bytes())
        replace(part, target)

    monkeypatch.setattr(os, 'replace', meanwhile)
    write_atomic(path, b'mine, longer')
    assert found == [b'other']
    assert path.read_bytes() == b'mine, longer'
    assert os.listdir(tmp_path) == ['1.png']


def test_a_file_has_the_rights_of_any_new_file_and_the_date_given(tmp_path):
    mask = os.umask(0o027)
    try:
        write_atomic(tmp_path / 'a', b'', mtime_ns=1_234_567_890_123_456_789)
    finally:
        os.umask(mask)
    status = (tmp_path / 'a').stat()
    assert status.st_mode & 0o777 == 0o640
    assert same_time(status.st_mtime_ns, 1_234_567_890_123_456_789)


@pytest.mark.parametrize('error', [OSError(28, 'No space left'), KeyboardInterrupt()])
def test_what_was_begun_is_removed_on_any_error(tmp_path, monkeypatch, error):
    def fail(*_):
        assert len(os.listdir(tmp_path)) == 1
        raise error

    monkeypatch.setattr(jobs.os, 'fsync', fail)
    with pytest.raises(type(error)) as caught:
        write_atomic(tmp_path / 'a', b'content')
    assert isinstance(error, KeyboardInterrupt) or caught.value.filename == str(tmp_path / 'a')
    assert not os.listdir(tmp_path)


def test_parts_of_ended_processes_go_and_those_in_use_stay(tmp_path):
    (tmp_path / 'train').mkdir()
    code = (
        'import os, sys\nfrom pathlib import Path\nfrom pspnet_plugin.utils import jobs\n'
        'jobs.os.replace = lambda *_: os.kill(os.getpid(), 9)\n'
        'jobs.write_atomic(Path(sys.argv[1]), b"")\n'
    )
    done = subprocess.run([sys.executable, '-c', code, tmp_path / 'train' / '1.png'])
    assert done.returncode == -9
    (stale,) = os.listdir(tmp_path / 'train')
    assert stale.startswith('.') and stale.endswith('.part')
    own = [f'.0000000{i}@{machine}.part' for i, machine in enumerate((platform.node(), 'another'))]
    kept = sorted([*own, '.mine.part'])
    for name in kept:
        (tmp_path / 'train' / name).write_bytes(b'')
    code = (
        'import fcntl, sys\nfile = open(sys.argv[1])\nfcntl.flock(file, fcntl.LOCK_EX)\n'
        'print(flush=True)\nsys.stdin.read()\n'
    )
    pipes = dict(stdin=subprocess.PIPE, stdout=subprocess.PIPE)
    command = [sys.executable, '-c', code, tmp_path / 'train' / own[0]]
    with subprocess.Popen(command, **pipes) as writer:
        writer.stdout.readline()
        remove_stale_parts(tmp_path)
        assert sorted(os.listdir(tmp_path / 'train')) == kept
        writer.kill()
    remove_stale_parts(tmp_path)
    assert sorted(os.listdir(tmp_path / 'train')) == sorted(kept[1:])


@pytest.mark.parametrize(
    ('made', 'source', 'same'),
    [
        (1_700_000_001_123_456_789, 1_700_000_001_123_456_789, True),
        (1_700_000_001_123_456_700, 1_700_000_001_123_456_789, True),
        (1_700_000_001_123_456_000, 1_700_000_001_123_456_789, True),
        (1_700_000_001_000_000_000, 1_700_000_001_123_456_789, True),
        (1_700_000_000_000_000_000, 1_700_000_001_123_456_789, True),
        (1_700_000_001_123_456_790, 1_700_000_001_123_456_789, False),
        (1_700_000_001_123_456_788, 1_700_000_001_123_456_789, False),
        (1_700_000_003_000_000_000, 1_700_000_001_123_456_789, False),
    ],
    ids=['all', '100 ns', 'us', 's', '2 s', 'later', 'earlier', 'other'],
)
def test_a_date_that_the_disk_has_cut_counts_as_the_same(made, source, same):
    assert same_time(made, source) == same
