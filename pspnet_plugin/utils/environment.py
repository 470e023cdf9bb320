"""The machine, this process and this package, as a record of a run or a benchmark tells of them."""

import os
import platform
import subprocess
import sys
import time
from pathlib import Path

import mmcv
import mmengine
import mmseg
import torch

# What a training follows from, beside data: changed or new files elsewhere do not count.
CODE = ['pspnet_plugin', 'configs', 'tools', 'setup.py']


def _age_of_process() -> float:
    """Seconds; 0 where the system does not tell, or this was imported long after the start."""
    stat, uptime = Path('/proc/self/stat'), Path('/proc/uptime')
    if not (stat.is_file() and uptime.is_file()):
        return 0.0
    ticks = int(stat.read_text().rpartition(')')[2].split()[19])  # field 22, from the boot on
    age = float(uptime.read_text().split()[0]) - ticks / os.sysconf('SC_CLK_TCK')
    return age if 0 <= age < 600 else 0.0


# When this process began, by time.monotonic().
BEGUN = time.monotonic() - _age_of_process()


def describe_machine() -> dict[str, str | int]:
    """Hardware, versions and the commit of this package."""
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
    """Of the CPU, as the system calls it."""
    info = Path('/proc/cpuinfo')
    if info.is_file():
        for line in info.read_text().splitlines():
            if line.startswith('model name'):
                return line.partition(':')[2].strip()
    return platform.processor() or platform.machine()


def peak_of_process() -> int:
    """Most bytes of memory that this process has had, without its workers; 0 where unknown."""
    try:
        import resource
    except ImportError:  # Windows
        return 0
    peak = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
    return peak if sys.platform == 'darwin' else peak * 1024


def bytes_in_memory() -> int:
    """Of this process, now; where the system does not tell, the most so far."""
    statm = Path('/proc/self/statm')
    if statm.is_file():
        return int(statm.read_text().split()[1]) * os.sysconf('SC_PAGE_SIZE')
    return peak_of_process()


def _commit() -> str:
    """Of this package's checkout, with ``-dirty`` where files were changed; '' outside of one."""
    here = Path(__file__).resolve()

    def git(*command: str) -> str:
        done = subprocess.run(
            ['git', '-C', str(here.parents[2]), *command],
            capture_output=True,
            text=True,
            check=True,
        )
        return done.stdout.strip()

    try:
        # In an environment below somebody's own checkout, git would speak of that one.
        git('ls-files', '--error-unmatch', str(here))
        commit = git('rev-parse', '--short=12', 'HEAD')
        changed = git('status', '--porcelain', '--', *CODE).splitlines()
    except (OSError, subprocess.CalledProcessError):
        return ''
    own = '?? configs/'  # new configs are their users', and recorded with each run
    return f'{commit}-dirty' if any(not line.startswith(own) for line in changed) else commit
