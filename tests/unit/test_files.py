"""Atomic files."""

import os

import pytest

from pspnet_plugin.utils import files
from pspnet_plugin.utils.files import same_time, write_atomic


def test_later_of_two_writers_of_the_same_file_stays(tmp_path, monkeypatch):
    path, replace = tmp_path / '1.png', os.replace
    meanwhile = []

    def write_in_between(part, target):
        monkeypatch.setattr(os, 'replace', replace)
        write_atomic(path, b'other')
        meanwhile.append(path.read_bytes())
        replace(part, target)

    monkeypatch.setattr(os, 'replace', write_in_between)
    write_atomic(path, b'mine, longer')
    assert meanwhile == [b'other']
    assert path.read_bytes() == b'mine, longer'
    assert os.listdir(tmp_path) == ['1.png']


def test_part_that_another_run_removes_is_written_again(tmp_path, monkeypatch):
    lock = files.lock

    def remove_first(file):
        monkeypatch.setattr(files, 'lock', lock)
        os.remove(file.name)

    monkeypatch.setattr(files, 'lock', remove_first)
    write_atomic(tmp_path / 'a', b'content')
    assert (tmp_path / 'a').read_bytes() == b'content' and os.listdir(tmp_path) == ['a']


def test_file_has_the_mode_of_any_new_file_and_the_date_given(tmp_path):
    mask = os.umask(0o027)
    try:
        write_atomic(tmp_path / 'a', b'', mtime_ns=1_234_567_890_123_456_789)
    finally:
        os.umask(mask)
    status = (tmp_path / 'a').stat()
    assert status.st_mode & 0o777 == 0o640
    assert same_time(status.st_mtime_ns, 1_234_567_890_123_456_789)


@pytest.mark.parametrize('error', [OSError(28, 'No space left'), KeyboardInterrupt()])
def test_any_error_removes_the_part(tmp_path, monkeypatch, error):
    def fail(*_):
        assert len(os.listdir(tmp_path)) == 1
        raise error

    monkeypatch.setattr(os, 'fsync', fail)
    with pytest.raises(type(error)) as caught:
        write_atomic(tmp_path / 'a', b'content')
    assert isinstance(error, KeyboardInterrupt) or caught.value.filename == str(tmp_path / 'a')
    assert not os.listdir(tmp_path)


def test_dates_that_a_file_system_truncated_are_the_same():
    source = 1_700_000_001_123_456_789
    for unit in (1, 100, 1000, 10**9, 2 * 10**9):
        assert same_time(source - source % unit, source), unit
    for written in (source + 1, source - 1, 1_700_000_003_000_000_000):
        assert not same_time(written, source), written
