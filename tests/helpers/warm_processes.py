"""Python programs in processes of their own that start with the framework imported.

Importing it takes seconds, and the suite starts a hundred processes. Here a server imports it once
and forks; each process imports this package itself. They end as workers of ``multiprocessing`` do,
without the interpreter's last steps: a failure there shows in new interpreters only.
"""

import gc
import multiprocessing
import os
import runpy
import signal
import subprocess
import sys
import tempfile
from collections.abc import Sequence
from multiprocessing.process import BaseProcess
from pathlib import Path

import torch

_CONTEXT = multiprocessing.get_context('forkserver')
_CONTEXT.set_forkserver_preload(['torch._dynamo', 'mmengine.runner', 'mmseg.apis'])
_HERE = os.path.dirname(__file__)


class WarmProcess:
    """Process with the methods of ``subprocess.Popen`` that the tests need."""

    def __init__(self, process: BaseProcess) -> None:
        self._process = process
        self.pid: int = process.pid

    def poll(self) -> int | None:
        """Return the exit status, negative for a signal; None while it runs."""
        return self._process.exitcode

    def wait(self, timeout: float | None = None) -> int:
        """Return the exit status, when it has ended within the timeout."""
        self._process.join(timeout)
        if self.poll() is None:
            raise subprocess.TimeoutExpired(self._process.name, timeout)
        return self.poll()


def start_warm(
    program: Sequence, *, cwd: Path | None, env: dict, stdout: Path, stderr: Path | None = None
) -> WarmProcess:
    """Start a Python file with its arguments, in a process group of its own.

    Variables of ``env`` that are read when an interpreter starts or the framework is imported have
    no effect, but for ``PYTHONPATH`` and ``OMP_NUM_THREADS``. Output is appended to the files.
    """
    words = [str(word) for word in program]
    arguments = (words, str(cwd or os.getcwd()), env, str(stdout), str(stderr or stdout))
    process = _CONTEXT.Process(target=_become, args=arguments, name=' '.join(words))
    process.start()
    return WarmProcess(process)


def run_warm(program: Sequence, *, cwd: Path | None, env: dict) -> tuple[int, str]:
    """Return the exit status of a program, and its output: stdout, then stderr."""
    with tempfile.TemporaryDirectory() as folder:
        files = [Path(folder, name) for name in ('stdout', 'stderr')]
        process = start_warm(program, cwd=cwd, env=env, stdout=files[0], stderr=files[1])
        try:
            status = process.wait(timeout=600)
        except BaseException:
            os.killpg(process.pid, signal.SIGKILL)
            raise
        return status, ''.join(file.read_text() for file in files)


def _become(words: list[str], cwd: str, env: dict[str, str], stdout: str, stderr: str) -> None:
    os.setsid()
    gc.freeze()  # the framework stays: collections leave it out
    multiprocessing.set_start_method(None, force=True)  # the default, not this server's
    os.chdir(cwd)
    os.environ.clear()
    os.environ.update(env)
    for number, path in ((1, stdout), (2, stderr)):
        with open(path, 'ab') as file:
            os.dup2(file.fileno(), number)
    more = filter(None, env.get('PYTHONPATH', '').split(os.pathsep))
    others = [path for path in sys.path if path != _HERE]  # the tests' own modules
    sys.path[:] = [os.path.dirname(words[0]), *more, *others]
    sys.argv = words
    if threads := env.get('OMP_NUM_THREADS'):
        torch.set_num_threads(int(threads))
    runpy.run_path(words[0], run_name='__main__')
