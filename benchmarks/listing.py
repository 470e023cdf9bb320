"""Large sets of pairs: opening and shuffling them, and the start of worker processes."""

import argparse
import gc
import multiprocessing
import os
import pickle
import resource
import tempfile
import time
from concurrent.futures import ProcessPoolExecutor
from pathlib import Path

import psutil
from mmcv.transforms import LoadImageFromFile
from mmengine.dataset import InfiniteSampler, pseudo_collate
from mmseg.datasets.transforms import LoadAnnotations
from torch.utils.data import DataLoader

from benchmarks.tables import print_rows
from benchmarks.timing import seconds_of
from pspnet_plugin.datasets import CityscapesPairsDataset
from pspnet_plugin.toolkit.synthetic.pair_directory import Job, draw_scene
from pspnet_plugin.utils.command_line import bounded_int

LINKS = 10_000  # hard links of one file; file systems allow 65,000 and more
BATCH, WORKERS = 16, 2


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Add the options of this benchmark."""
    add = parser.add_argument
    add('--pairs', nargs='+', type=bounded_int(BATCH), default=[100_000, 1_000_000],
        help='sizes of the sets, of hard links of a few generated pairs (100000 1000000)',
    )  # fmt: skip
    add('--folder', type=Path, help='directory for them (one for temporary files)')


def measure(args: argparse.Namespace) -> list[dict]:
    """Measure each set in new processes, and print a table."""
    rows = []
    for count in args.pairs:
        with tempfile.TemporaryDirectory(dir=args.folder) as root:
            _make_set(Path(root, 'train'), count)
            rounds = [_in_new_process(root) for _ in range(args.rounds)]
        rows.append(dict(pairs=count, **{key: min(r[key] for r in rounds) for key in rounds[0]}))
    columns = {
        'pairs': '{pairs:,}', 'listed by scandir, s': '{scan:.2f}', 'opened, s': '{open:.2f}',
        'MB kept': '{kept:.0f}', 'MB at most': '{peak:.0f}', 'bytes a record': '{record:.0f}',
        'shuffled, s': '{shuffle:.2f}', 'first batch of workers, s': '{first:.2f}',
    }  # fmt: skip
    print_rows(rows, columns)
    return rows


def _make_set(folder: Path, count: int) -> None:
    folder.mkdir()
    for first in range(0, count, LINKS):
        source = folder / f'{first}.jpg'
        draw_scene(Job((0, 0, first), source, truth=None))
        for number in range(first + 1, min(first + LINKS, count)):
            os.link(source, folder / f'{number}.jpg')


def _in_new_process(root: str) -> dict[str, float]:
    context = multiprocessing.get_context('spawn')
    with ProcessPoolExecutor(1, mp_context=context) as pool:
        return pool.submit(_open, root).result()


def _open(root: str) -> dict[str, float]:
    """Open a set; return seconds, bytes a record, and MB beyond those before."""
    found = dict(scan=seconds_of(lambda: sum(1 for _ in os.scandir(f'{root}/train'))))
    gc.collect()
    before = psutil.Process().memory_info().rss
    start = time.perf_counter()
    dataset = CityscapesPairsDataset(
        data_root=root, data_prefix=dict(img_path='train'),
        pipeline=[LoadImageFromFile(), LoadAnnotations()],
    )  # fmt: skip
    found['open'] = time.perf_counter() - start
    peak = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss * 1024  # Linux counts kilobytes
    gc.collect()
    found['kept'] = (psutil.Process().memory_info().rss - before) / 1e6
    found['peak'] = (peak - before) / 1e6
    found['record'] = len(pickle.dumps(dataset.data_list)) / len(dataset)
    sampler, other = (InfiniteSampler(dataset, shuffle=True, seed=0) for _ in range(2))
    found['shuffle'] = seconds_of(lambda: next(iter(other)))
    loader: DataLoader = DataLoader(
        dataset, BATCH, sampler=sampler, num_workers=WORKERS, collate_fn=pseudo_collate,
        multiprocessing_context='fork',
    )  # fmt: skip
    found['first'] = seconds_of(lambda: next(iter(loader)))
    return found
