"""How our tools end: a line on stderr and an exit status in place of a traceback.

2: what the user can mend at the start; 1: trouble on the way; 130: Ctrl-C. ``--debug`` shows where
an error comes from.
"""

import argparse
import inspect
import sys
from collections.abc import Callable, Mapping
from pathlib import Path

DEBUG = '--debug'
# What this package raises on purpose, and what files and folders do.
FOR_USERS = (ImportError, OSError, ValueError)
PACKAGE = Path(__file__).resolve().parents[1]
Ending = Callable[[Exception], tuple[int, str]]


def add_debug(parser: argparse.ArgumentParser) -> None:
    """The option that ``run_command`` looks at."""
    parser.add_argument(DEBUG, action='store_true', help='show where an error comes from')


def complain(tool: str, text: str) -> None:
    """One line on stderr."""
    print(f'{tool}: {text}', file=sys.stderr)


def run_command(
    tool: str,
    function: Callable[[argparse.Namespace], int | None],
    args: argparse.Namespace,
    *,
    interrupted: str = '',
    endings: Mapping[type[Exception], Ending] | None = None,
) -> int:
    """Runs a tool on its arguments.

    Args:
        tool: Its name, without ``.py``.
        function: What it does; returns its exit status, None for 0.
        args: Parsed, with ``debug`` of ``add_debug``.
        interrupted: What Ctrl-C leaves behind, for whoever pressed it.
        endings: Of errors that mean something else here: exit status and message, from the error.

    Returns:
        The exit status.
    """
    endings = endings or {}
    expected = (*endings, *FOR_USERS)
    try:
        return function(args) or 0
    except KeyboardInterrupt:
        complain(tool, f'interrupted; {interrupted}' if interrupted else 'interrupted')
        return 130
    except expected as error:
        if args.debug:
            raise
        ending = next((e for kind, e in endings.items() if isinstance(error, kind)), None)
        status, text = ending(error) if ending else (2, str(error))
        complain(
            tool, text if ending or is_told(error, function) else f'{text} ({DEBUG} shows where)'
        )
        return status


def is_told(error: Exception, function: Callable) -> bool:
    """Whether the message is for users: of files, or raised by this package or a tool's program."""
    frame = error.__traceback__
    while frame and frame.tb_next:
        frame = frame.tb_next
    place = Path(frame.tb_frame.f_code.co_filename) if frame else Path()
    program = Path(inspect.getfile(function)).parent
    ours = PACKAGE in place.parents or program in place.parents
    return isinstance(error, OSError) or ours
