"""Command lines of the tools: arguments that several take, and errors as one line on stderr.

Exit statuses: 2 for what the user can fix at the start, 1 for trouble later, 130 for Ctrl-C.
"""

import argparse
import inspect
import os
import re
import sys
from collections.abc import Callable, Mapping
from pathlib import Path

DEBUG = '--debug'
# Raised by this package on purpose, and by files and directories.
USER_ERRORS = (ImportError, OSError, ValueError)
PACKAGE = Path(__file__).resolve().parents[1]


def parse_size(text: str) -> tuple[int, int]:
    """Parse ``HxW`` into (height, width)."""
    sides = re.fullmatch(r'(\d+)x(\d+)', text)
    if not sides or not all(int(side) for side in sides.groups()):
        raise argparse.ArgumentTypeError(f'{text!r}: expected HEIGHTxWIDTH, such as 512x1024')
    return int(sides[1]), int(sides[2])


def bounded_int(least: int, most: int | None = None) -> Callable[[str], int]:
    """Return an argument type: integers from ``least`` to ``most``."""

    def integer(text: str) -> int:
        if not text.isdecimal() or int(text) < least or (most and int(text) > most):
            limits = f'from {least} to {most}' if most else f'of {least} or more'
            raise argparse.ArgumentTypeError(f'{text!r} is no integer {limits}')
        return int(text)

    return integer


def parse_bits(text: str) -> int | tuple[int, int]:
    """Parse ``12``, bits, or ``200:3000``, the values that become black and white."""
    values = re.fullmatch(r'(\d+)(?::(\d+))?', text)
    if values and values[2] and int(values[1]) < int(values[2]) < 2**16:
        return int(values[1]), int(values[2])
    if not values or values[2] or not 8 <= int(values[1]) <= 16:
        raise argparse.ArgumentTypeError(
            f'{text!r}: expected 8 to 16 bits, or the values of black and white such as 200:3000'
        )
    return int(values[1])


def format_bits(bits: int | tuple[int, int]) -> str:
    """Return the text that ``parse_bits`` parses."""
    return str(bits) if isinstance(bits, int) else '{}:{}'.format(*bits)


def add_bits(parser: argparse.ArgumentParser) -> None:
    """Add ``--bits``, of photos of 16 bits a channel."""
    parser.add_argument(
        '--bits', type=parse_bits, metavar='N|LOW:HIGH',
        help='bits that the values of 16-bit photos have, such as 12, or the values that become '
        'black and white',
    )  # fmt: skip


def add_workers(parser: argparse.ArgumentParser) -> None:
    """Add ``--workers``, by default all cores."""
    cores = os.cpu_count() or 1
    help_text = f'processes (all cores: {cores})'
    parser.add_argument('--workers', type=bounded_int(1), default=cores, help=help_text)


def add_debug(parser: argparse.ArgumentParser) -> None:
    """Add ``--debug``, which ``run_command`` obeys."""
    parser.add_argument(DEBUG, action='store_true', help='show the traceback of an error')


def complain(tool: str, text: str) -> None:
    """Print one line on stderr."""
    print(f'{tool}: {text}', file=sys.stderr)


def run_command(
    tool: str,
    function: Callable[[argparse.Namespace], int | None],
    args: argparse.Namespace,
    *,
    interrupted: str = '',
    endings: Mapping[type[Exception], Callable[[Exception], tuple[int, str]]] | None = None,
) -> int:
    """Run a tool on its arguments, and return its exit status.

    Args:
        tool: Name of the tool, without ``.py``.
        function: The tool; it may return an exit status.
        args: Parsed arguments, with that of ``add_debug``.
        interrupted: Message after Ctrl-C, on what it leaves behind.
        endings: Exit status and message, made from the error, by its type.
    """
    endings = endings or {}
    expected: tuple[type[Exception], ...] = (*endings, *USER_ERRORS)
    try:
        return function(args) or 0
    except KeyboardInterrupt:
        complain(tool, f'interrupted; {interrupted}' if interrupted else 'interrupted')
        return 130
    except expected as error:
        if args.debug:
            raise
        folders = (PACKAGE, Path(inspect.getfile(function)).parent)
        clear = isinstance(error, OSError) or raised_within(error, *folders)
        status, text = 2, str(error) if clear else f'{error} ({DEBUG} shows where)'
        if kind := next((kind for kind in endings if isinstance(error, kind)), None):
            status, text = endings[kind](error)
        complain(tool, text)
        return status


def raised_within(error: BaseException, *folders: Path) -> bool:
    """Return whether the code that raised an error lies in one of the folders, links resolved."""
    trace = error.__traceback__
    while trace and trace.tb_next:
        trace = trace.tb_next
    raiser = Path(trace.tb_frame.f_code.co_filename).resolve() if trace else Path()
    return any(folder.resolve() in raiser.parents for folder in folders)
