"""Arguments that several tools take, and how they are read."""

import argparse
import os
import re
from collections.abc import Callable

from pspnet_plugin.datasets.label_codec import RULES
from pspnet_plugin.datasets.pair_files import SIDES


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


def add_label_options(parser: argparse.ArgumentParser) -> None:
    """Which half of a pair is the photo, and how the other is read, as ``LabelCodec`` has it."""
    add = parser.add_argument
    add('--photo-side', choices=SIDES, default='left', help='half that holds the photo (left)')
    add('--rule', choices=RULES, default='edge_aware', help='of decoding labels (edge_aware)')
    add(
        '--max-distance', type=_distance, default=40.0, metavar='D',
        help='nearest: RGB distance from all colours at which a pixel is ignored, or none (40)',
    )  # fmt: skip
    add(
        '--min-confidence', type=float, default=0.8, metavar='SHARE',
        help='edge_aware: confidence that an unsure pixel must reach, 0 to 1 (0.8)',
    )  # fmt: skip
    add(
        '--min-explained', type=float, default=0.5, metavar='SHARE',
        help='share of pixels near a known colour that makes a label picture, 0 to 1 (0.5)',
    )  # fmt: skip


def _distance(text: str) -> float | None:
    try:
        return None if text == 'none' else float(text)
    except ValueError:
        raise argparse.ArgumentTypeError(f'{text!r} is no number, nor none') from None
