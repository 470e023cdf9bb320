"""The machine, this process and the version of this package, for the records of runs."""

import os
import platform
import re
import subprocess
import sys
import time
from pathlib import Path

import mmcv
import mmengine
import mmseg
import psutil
import torch

# Changed or new files elsewhere have no influence on a training.
CODE = ['pspnet_plugin', 'configs', 'tools', 'setup.py']

# Start of this process on the scale of time.monotonic(); the import of this module where that comes
# late, as in a notebook.
_age = time.time() - psutil.Process().create_time()
PROCESS_STARTED = time.monotonic() - (_age if 0 <= _age < 600 else 0)


def describe_machine() -> dict[str, str | int | None]:
    """Return hardware, versions and the commit of this package."""
    return dict(
        processor=processor_name(),
        cores=len(os.sched_getaffinity(0)) if hasattr(os, 'sched_getaffinity') else os.cpu_count(),
        threads=torch.get_num_threads(),
        gpu=torch.cuda.get_device_name() if torch.cuda.is_available() else '',
        python=platform.python_version(),
        torch=torch.__version__,
        mmseg=mmseg.__version__,
        mmengine=mmengine.__version__,
        mmcv=mmcv.__version__,
        commit=_commit(),
    )


def processor_name() -> str:
    """Return the model name of the CPU."""
    info = Path('/proc/cpuinfo')
    model = re.search(r'^model name\s*: *(.+)', info.read_text(), re.M) if info.is_file() else None
    return model[1].strip() if model else platform.processor() or platform.machine()


def peak_memory() -> int:
    """Return the peak memory of this process in bytes, without its workers; 0 where unknown."""
    try:
        import resource
    except ImportError:  # Windows
        return 0
    peak = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
    return peak if sys.platform == 'darwin' else peak * 1024


def _commit() -> str:
    """Return the commit of this checkout, ``-dirty`` if files were changed; '' without one."""
    module = Path(__file__).resolve()

    def git(*command: str) -> str:
        words = ['git', '-C', str(module.parents[2]), *command]
        return subprocess.run(words, capture_output=True, text=True, check=True).stdout.strip()

    try:
        # An environment may lie below a checkout of something else.
        git('ls-files', '--error-unmatch', str(module))
        commit = git('rev-parse', '--short=12', 'HEAD')
        changed = git('status', '--porcelain', '--', *CODE).splitlines()
    except (OSError, subprocess.CalledProcessError):
        return ''
    new_config = '?? configs/'  # a user's own, which is recorded with each run
    return f'{commit}-dirty' if any(not line.startswith(new_config) for line in changed) else commit
