"""Training samples a second that a config's data loader makes, by numbers of worker processes."""

import argparse
import time

from mmengine.config import Config
from mmengine.registry import init_default_scope
from mmengine.runner import Runner

from benchmarks.tables import print_rows
from pspnet_plugin.utils.command_line import bounded_int


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Add the options of this benchmark."""
    add = parser.add_argument
    add('--config', default='configs/psp_cityscapes_pairs.py', help='whose loader (%(default)s)')
    add('--workers', nargs='+', type=bounded_int(1), default=[1, 2, 4],
        help='numbers of processes (1 2 4)',
    )  # fmt: skip
    add('--batches', type=bounded_int(1), default=20, help='of each measurement (20)')


def measure(args: argparse.Namespace) -> list[dict]:
    """Measure each number of workers in turns, and print a table.

    Each round has new processes, so each sample is decoded, as in the first epoch.
    """
    config = Config.fromfile(args.config)
    init_default_scope('mmseg')
    rates: dict[int, list[float]] = {count: [] for count in args.workers}
    for _ in range(args.rounds):
        for count in args.workers:
            rates[count].append(_samples_a_second(config, count, batches=args.batches))
    rows = [dict(workers=count, samples=max(rates[count])) for count in args.workers]
    for row in rows:
        row['times'] = row['samples'] / rows[0]['samples']
    columns = {
        'worker processes': '{workers}', 'samples a second': '{samples:.0f}',
        'times the first': '{times:.2f}',
    }  # fmt: skip
    print_rows(rows, columns)
    return rows


def _samples_a_second(config: Config, workers: int, *, batches: int) -> float:
    options = dict(num_workers=workers, persistent_workers=False)
    loader = Runner.build_dataloader({**config.train_dataloader, **options}, seed=0)
    samples = iter(loader)
    for _ in range(2 * workers):  # made while the first ones were waited for
        next(samples)
    start = time.perf_counter()
    count = sum(len(next(samples)['inputs']) for _ in range(batches))
    return count / (time.perf_counter() - start)
