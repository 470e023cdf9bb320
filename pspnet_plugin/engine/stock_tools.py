"""Runs a tool of the installed mmseg as if it lay in our ``tools`` folder.

mmseg ships its tools inside the package (``mmseg/.mim/tools``) or, in a source checkout, beside it.
They are run unmodified; only their command line is completed: a config is found from any working
directory, and a distributed run without a GPU gets the settings that it needs. What this package
finds wrong is said in a line, without a traceback.
"""

import runpy
import sys
from collections.abc import Sequence
from importlib import util
from itertools import pairwise
from pathlib import Path

import torch.distributed as dist
from torch.distributed.elastic.multiprocessing.errors import record

from pspnet_plugin.datasets.bad_pairs import BadPair
from pspnet_plugin.engine.cpu_distributed import CPU_OPTIONS, init_cpu_group
from pspnet_plugin.utils.command_line import DEBUG, FOR_USERS

# What this package raises on purpose.
RAISED = (*FOR_USERS, FloatingPointError)
PACKAGE = __name__.partition('.')[0] + '.'


def find_stock_tool(name: str) -> Path:
    """Path of a tool of the installed mmseg, e.g. ``train.py``.

    Raises:
        FileNotFoundError: this installation of mmseg carries no such tool.
    """
    package = Path(util.find_spec('mmseg').origin).parent
    places = (package / '.mim' / 'tools' / name, package.parent / 'tools' / name)
    for place in places:
        if place.is_file():
            return place
    raise FileNotFoundError(
        f'the installed mmseg carries no tools/{name} (looked for {places[0]} and {places[1]}); '
        "install it as a package: pip install 'pspnet-plugin[onedl]'"
    )


def run_stock_tool(name: str, *, root: Path) -> None:
    """Hand this process's command line over to a stock tool.

    Args:
        name: The tool, e.g. ``train.py``. Among its arguments, ``--debug`` is ours: it shows the
            traceback of every error.
        root: Folder against which a ``.py`` argument is looked up when it is not found from the
            working directory; the one that holds ``configs`` and ``tools``.
    """
    tool = find_stock_tool(name)
    debug = DEBUG in sys.argv
    arguments = [find_config(a, root=root) for a in sys.argv[1:] if a != DEBUG]
    if missing := find_missing(arguments):
        print(f'{name}: {missing} does not exist; give the path of one', file=sys.stderr)
        sys.exit(2)
    on_cpu = launched_by_torchrun(arguments) and init_cpu_group()
    sys.argv[1:] = add_cfg_options(arguments, CPU_OPTIONS) if on_cpu else arguments
    try:
        # Recorded, a failure's cause is in torchrun's summary of all processes.
        record(runpy.run_path)(str(tool), run_name='__main__')
    except Exception as error:
        if debug or not is_ours(error):
            raise
        print(f'{name}: {_last_line(error)} ({DEBUG} shows where)', file=sys.stderr)
        sys.exit(1)
    finally:
        if on_cpu:  # else gloo's threads may abort the process at its end
            dist.destroy_process_group()


def is_ours(error: BaseException) -> bool:
    """Whether an error was raised by this package, whose messages say what to do."""
    if isinstance(error, BadPair):  # by a worker process
        return True
    if not isinstance(error, RAISED):
        return False
    frame = error.__traceback__
    while frame and frame.tb_next:
        frame = frame.tb_next
    return bool(frame) and frame.tb_frame.f_globals.get('__name__', '').startswith(PACKAGE)


def _last_line(error: Exception) -> str:
    """The message; of one that comes from a worker, without that one's traceback."""
    text = str(error).strip()
    return text.splitlines()[-1].partition('.BadPair: ')[2] or text


def find_config(argument: str, *, root: Path) -> str:
    """The argument, or where it lies under ``root`` if it is a config that is not found here."""
    path = Path(argument)
    if path.suffix == '.py' and not path.exists() and (root / path).is_file():
        return str(root / path)
    return argument


def find_missing(arguments: Sequence[str]) -> str | None:
    """The first config or checkpoint that is named and is not there; not the value of an option."""
    for before, word in pairwise(['', *arguments]):
        is_value = before.startswith('-') or '=' in word or '://' in word
        if not is_value and word.endswith(('.py', '.pth')) and not Path(word).exists():
            return word
    return None


def launched_by_torchrun(arguments: Sequence[str]) -> bool:
    """Whether the command line asks for ``--launcher pytorch``."""
    words = ' '.join(arguments).replace('--launcher=', '--launcher ')
    return '--launcher pytorch' in words


def add_cfg_options(arguments: Sequence[str], options: Sequence[str]) -> list[str]:
    """The arguments with settings put first among those of ``--cfg-options``.

    What the user says of the same key comes later and so wins.
    """
    arguments = list(arguments)
    for at, word in enumerate(arguments):
        if word == '--cfg-options':
            return [*arguments[: at + 1], *options, *arguments[at + 1 :]]
        if word.startswith('--cfg-options='):
            return [*arguments[:at], '--cfg-options', *options, *arguments[at:]]
    return [*arguments, '--cfg-options', *options]
