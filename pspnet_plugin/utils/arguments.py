"""Arguments that several tools take, and how they are read."""

import argparse
import os
import re
from collections.abc import Callable


def parse_size(text: str) -> tuple[int, int]:
    """``HxW`` as (height, width)."""
    sides = re.fullmatch(r'(\d+)x(\d+)', text)
    if not sides or not all(int(side) for side in sides.groups()):
        raise argparse.ArgumentTypeError(f'{text!r}: expected HEIGHTxWIDTH, such as 512x1024')
    return int(sides[1]), int(sides[2])


def whole_number(least: int, most: int | None = None) -> Callable[[str], int]:
    """What reads a whole number within limits."""

    def whole(text: str) -> int:
        if not text.isdecimal() or int(text) < least or (most and int(text) > most):
            limits = f'from {least} to {most}' if most else f'of {least} or more'
            raise argparse.ArgumentTypeError(f'{text!r} is no whole number {limits}')
        return int(text)

    return whole


def add_workers(parser: argparse.ArgumentParser) -> None:
    """``--workers``, all cores by default."""
    cores = os.cpu_count() or 1
    parser.add_argument(
        '--workers', type=whole_number(1), default=cores, help=f'processes (all cores: {cores})'
    )
