"""Converters run in their tests: in this process, or in one that is killed or has no rights."""

import json
import os
import signal
import subprocess
import sys
import time
from collections.abc import Callable, Sequence
from pathlib import Path

from helpers.pairs import ROOT
from helpers.programs import load_tool, run_tool

SPLIT_PAIRS = ROOT / 'tools' / 'dataset_converters' / 'split_pairs.py'
split_main = load_tool('dataset_converters/split_pairs.py').main


def split(pairs: Path, out: Path, *options: str) -> int:
    """Run ``split_pairs.py`` in this process; return its exit status."""
    return split_main([str(pairs), str(out), '--workers', '1', *options])


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


def children(process: subprocess.Popen) -> list[int]:
    """Return the process ids of the workers."""
    found = Path(f'/proc/{process.pid}/task/{process.pid}/children').read_text().split()
    assert found
    return [int(child) for child in found]


def run_without_rights(
    tool: str, runs: Sequence[tuple[Sequence, int]], *, rights: dict[Path, int]
) -> str:
    """Run a tool as a user who is bound by file modes, as root is not.

    Args:
        tool: Its path below ``tools``.
        runs: Arguments and expected exit status of each run.
        rights: Mode of paths during the runs.

    Returns:
        The output of all runs.
    """
    code = (
        'import json, sys\nfrom helpers.programs import load_tool\n'
        'main = load_tool(sys.argv[1]).main\n'
        'for arguments, status in json.loads(sys.argv[2]):\n'
        '    assert main(arguments) == status, arguments\n'
    )
    words = json.dumps([(list(map(str, arguments)), status) for arguments, status in runs])
    command = [sys.executable, '-c', code, tool, words]
    if os.geteuid() == 0:
        less = '-dac_override,-dac_read_search'
        command = ['setpriv', f'--bounding-set={less}', f'--inh-caps={less}', *command]
    before = {path: path.stat().st_mode for path in rights}
    try:
        for path, mode in rights.items():
            path.chmod(mode)
        return run_tool(*command, env=dict(PYTHONPATH=f'{ROOT}/tests:{ROOT}'))
    finally:
        for path, mode in before.items():
            path.chmod(mode)
