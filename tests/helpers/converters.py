"""Converters run for real in their tests: in processes of their own, killed, or without rights."""

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
    """``split_pairs.py`` in this process; its exit status."""
    return split_main([str(pairs), str(out), '--workers', '1', *options])


def outputs(out: Path, kind='*') -> dict[str, bytes]:
    """Content of every file below ``img_dir`` and ``ann_dir``, hidden ones too."""
    files = (path for path in out.glob(f'{kind}_dir/**/*') if path.is_file())
    return {str(path.relative_to(out)): path.read_bytes() for path in files}


def names(out: Path) -> list[str]:
    """Names of the photos, each of which has its labels."""
    photos, labels = (
        sorted(name.split('_dir/')[1] for name in outputs(out, kind)) for kind in ('img', 'ann')
    )
    assert photos == labels
    return photos


def wait_for(process: subprocess.Popen, ready: Callable[[], bool]) -> None:
    """Returns when ``ready`` does while the process runs."""
    deadline = time.monotonic() + 120
    while not ready():
        assert process.poll() is None and time.monotonic() < deadline
        time.sleep(0.02)


def kill_workers(tool: Path, *arguments, ready: Callable[[], bool]) -> str:
    """Starts a tool and kills its workers once ``ready``; what it says on stderr, its status 1."""
    command = [sys.executable, tool, *arguments, '--workers', '2']
    process = subprocess.Popen(list(map(str, command)), stderr=subprocess.PIPE, text=True)
    wait_for(process, ready)
    children = Path(f'/proc/{process.pid}/task/{process.pid}/children').read_text().split()
    assert children
    for child in map(int, children):
        os.kill(child, signal.SIGKILL)
    _, stderr = process.communicate(timeout=60)
    assert process.returncode == 1, stderr
    return stderr


def run_without_rights(
    tool: str, runs: Sequence[tuple[Sequence, int]], *, rights: dict[Path, int]
) -> str:
    """Runs a tool of ``tools/`` as a user whom rights bind, which they do not bind root.

    Args:
        tool: Its path below ``tools``.
        runs: Arguments and the exit status that they must end in.
        rights: Mode of paths during the runs.

    Returns:
        All that they said.
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
