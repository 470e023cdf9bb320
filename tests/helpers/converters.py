"""Processes of converters, and the files that they write."""

import signal
import subprocess
import sys
import time
from collections.abc import Callable
from pathlib import Path


def outputs(out: Path, kind: str = '*') -> dict[str, bytes]:
    """Read every file below ``img_dir`` and ``ann_dir``, hidden ones too."""
    files = (path for path in out.glob(f'{kind}_dir/**/*') if path.is_file())
    return {str(path.relative_to(out)): path.read_bytes() for path in files}


def names(out: Path) -> list[str]:
    """Return the names of the photos; each must have its labels."""
    photos, labels = (
        sorted(name.split('_dir/')[1] for name in outputs(out, kind)) for kind in ('img', 'ann')
    )
    assert photos == labels
    return photos


def wait_for(process: subprocess.Popen, ready: Callable[[], bool]) -> None:
    """Wait until ``ready`` while the process runs."""
    deadline = time.monotonic() + 120
    while not ready():
        assert process.poll() is None and time.monotonic() < deadline
        time.sleep(0.02)


def start(*command) -> subprocess.Popen:
    """Start a Python program in a process group of its own, with a pipe for stderr."""
    return subprocess.Popen(
        [sys.executable, *map(str, command)],
        stderr=subprocess.PIPE,
        text=True,
        start_new_session=True,
        # A shell's background job starts with SIGINT ignored; a person's terminal does not.
        preexec_fn=lambda: signal.signal(signal.SIGINT, signal.default_int_handler),
    )
