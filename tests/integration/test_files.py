"""Parts of files that killed processes leave behind."""

import os
import platform
import subprocess
import sys

from pspnet_plugin.utils.files import lock, remove_stale_parts

KILLED_WRITER = """
import os, sys
from pathlib import Path
from pspnet_plugin.utils import files
files.os.replace = lambda *_: os.kill(os.getpid(), 9)
files.write_atomic(Path(sys.argv[1]), b'')
"""


def test_parts_of_killed_processes_are_removed_and_those_in_use_stay(tmp_path):
    folder = tmp_path / 'train'
    folder.mkdir()
    done = subprocess.run([sys.executable, '-c', KILLED_WRITER, folder / '1.png'])
    assert done.returncode == -9
    (stale,) = os.listdir(folder)
    assert stale.startswith('.') and stale.endswith('.part')
    in_use, elsewhere = (f'.00000000@{name}.part' for name in (platform.node(), 'another'))
    kept = sorted([in_use, elsewhere, '.mine.part'])
    for name in kept:
        (folder / name).write_bytes(b'')
    with open(folder / in_use, 'wb') as file:
        assert lock(file)
        remove_stale_parts(tmp_path)
        assert sorted(os.listdir(folder)) == kept
    remove_stale_parts(tmp_path)
    assert sorted(os.listdir(folder)) == sorted([elsewhere, '.mine.part'])
