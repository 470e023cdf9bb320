"""Run a tool of the installed mmseg as if it lay in our ``tools`` directory.

They run unmodified; only their command line is completed: a config is found from any working
directory, and a distributed run without a GPU gets the settings that it needs. An error of this
package is shown as one line, without a traceback.
"""

import runpy
import sys
from collections.abc import Sequence
from importlib import util
from itertools import pairwise
from pathlib import Path

import torch.distributed as dist
from mmengine.device import get_device
from torch.distributed.elastic.multiprocessing.errors import record

from pspnet_plugin.datasets.bad_pairs import BadPair
from pspnet_plugin.utils.command_line import DEBUG, PACKAGE, USER_ERRORS, complain, raised_within

# DDP names no devices on the CPU. SyncBN across processes needs CUDA: on the CPU each process
# normalises by its own share of the batch.
CPU_OPTIONS = (
    'model_wrapper_cfg.type=MMDistributedDataParallel',
    'model_wrapper_cfg.device_ids=None',
    'sync_bn=None',
)


def find_stock_tool(name: str) -> Path:
    """Return the path of a tool of the installed mmseg, e.g. ``train.py``."""
    spec = util.find_spec('mmseg')
    assert spec and spec.origin, 'importing this package has checked it'
    package = Path(spec.origin).parent
    installed, checkout = package / '.mim' / 'tools' / name, package.parent / 'tools' / name
    for path in (installed, checkout):
        if path.is_file():
            return path
    raise FileNotFoundError(
        f'the installed mmseg carries no tools/{name} (looked for {installed} and {checkout}); '
        "install it as a package: pip install 'pspnet-plugin[onedl]'"
    )


def run_stock_tool(name: str, *, root: Path) -> None:
    """Hand this process's command line over to a stock tool.

    ``--debug``, an option of ours, shows the traceback of every error. A ``.py`` argument that is
    not found from the working directory is looked up under ``root``.
    """
    tool = find_stock_tool(name)
    debug = DEBUG in sys.argv
    arguments = [find_config(a, root=root) for a in sys.argv[1:] if a != DEBUG]
    if missing := find_missing(arguments):
        complain(name, f'{missing} does not exist; give the path of an existing file')
        sys.exit(2)
    if '--amp' in arguments and get_device() == 'cpu':
        complain(name, '--amp needs a GPU; on CPUs, AutocastOptimWrapper trains in bfloat16')
        sys.exit(2)
    on_cpu = launched_by_torchrun(arguments) and init_cpu_group()
    sys.argv[1:] = add_cfg_options(arguments, CPU_OPTIONS) if on_cpu else arguments
    try:
        # Recorded, a failure's cause is in torchrun's summary of all processes.
        record(runpy.run_path)(str(tool), run_name='__main__')
    except (*USER_ERRORS, FloatingPointError) as error:
        # A worker process raises BadPair elsewhere; the last line of its traceback is the message.
        ours = isinstance(error, BadPair | ImportError) or raised_within(error, PACKAGE)
        if debug or not ours:
            raise
        text = str(error).strip()
        text = text.splitlines()[-1].partition('.BadPair: ')[2] or text
        complain(name, f'{text} ({DEBUG} shows where)')
        sys.exit(1)
    finally:
        if on_cpu:  # else gloo's threads may abort the process at its end
            dist.destroy_process_group()


def init_cpu_group() -> bool:
    """Join the gloo group of torchrun where there is no accelerator; return whether it did.

    Without a group, mmengine would start a distributed run by ``torch.cuda.set_device``.
    """
    if get_device() != 'cpu' or dist.is_initialized():
        return False
    dist.init_process_group('gloo')
    return True


def find_config(argument: str, *, root: Path) -> str:
    """Return the argument, or its path under ``root`` if it is a config that is only there."""
    path = Path(argument)
    if path.suffix == '.py' and not path.exists() and (root / path).is_file():
        return str(root / path)
    return argument


def find_missing(arguments: Sequence[str]) -> str | None:
    """Return the first config or checkpoint that does not exist; values of options do not count."""
    for before, word in pairwise(['', *arguments]):
        is_value = before.startswith('-') or '=' in word or '://' in word
        if not is_value and word.endswith(('.py', '.pth')) and not Path(word).exists():
            return word
    return None


def launched_by_torchrun(arguments: Sequence[str]) -> bool:
    """Return whether the command line holds ``--launcher pytorch``."""
    return '--launcher pytorch' in ' '.join(arguments).replace('=', ' ')


def add_cfg_options(arguments: Sequence[str], options: Sequence[str]) -> list[str]:
    """Insert settings before those of ``--cfg-options``, so that the user's come later and win."""
    arguments = list(arguments)
    for at, word in enumerate(arguments):
        if word == '--cfg-options':
            return [*arguments[: at + 1], *options, *arguments[at + 1 :]]
        if word.startswith('--cfg-options='):
            return [*arguments[:at], '--cfg-options', *options, *arguments[at:]]
    return [*arguments, '--cfg-options', *options]
