"""Loading of pairs by each label decoding, beside the bare decoding of their bytes."""

import argparse
import time
from functools import partial

import cv2
import numpy as np
from mmcv.transforms import LoadImageFromFile
from mmengine.fileio import get
from mmseg.datasets.transforms import LoadAnnotations

from benchmarks.tables import print_rows
from benchmarks.timing import ratio
from pspnet_plugin.datasets import CityscapesPairsDataset
from pspnet_plugin.datasets.pair_backends import label_cache, parse_photo_uri
from pspnet_plugin.labels.decoder import RULES
from pspnet_plugin.utils.command_line import bounded_int

BASELINE = 'imdecode'
_TURN = 50  # pairs that a variant loads in its turn


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Add the options of this benchmark."""
    add = parser.add_argument
    add('--data-root', default='data/cityscapes_pairs',
        help='pairs in the colours of Cityscapes (%(default)s)',
    )  # fmt: skip
    add('--split', default='val', help='folder in it (val)')
    add('--pairs', type=bounded_int(1), default=200, help='number of pairs, at most (200)')


def measure(args: argparse.Namespace) -> list[dict]:
    """Time each variant, and print a table."""
    times = time_loader(args.data_root, args.split, pairs=args.pairs, rounds=args.rounds)
    base = times[BASELINE]
    rows = []
    for name, values in times.items():
        least = float(values.min(0).mean())
        slowdown = ratio(values.mean(1).tolist(), base.mean(1).tolist())
        row = dict(way=name, milliseconds=least, slowdown=slowdown)
        rows.append(row | dict(times_imdecode=least / float(base.min(0).mean())))
    columns = {
        'variant': '{way}', 'ms a record': '{milliseconds:.3f}',
        'times imdecode': '{times_imdecode:.2f}',
        'in the median round (lowest to highest)': '{slowdown}',
    }  # fmt: skip
    print_rows(rows, columns)
    return rows


def time_loader(data_root: str, split: str, *, pairs: int, rounds: int) -> dict[str, np.ndarray]:
    """Measure the milliseconds of each record in each round, (rounds, pairs), for each variant."""
    cv2.setNumThreads(0)  # as in a loader's worker process
    records = {}
    for rule in RULES:
        dataset = CityscapesPairsDataset(
            data_root=data_root, data_prefix=dict(img_path=split), pipeline=[], indices=pairs,
            decode=dict(rule=rule),
        )  # fmt: skip
        records[rule] = [dataset.get_data_info(i) for i in range(len(dataset))]
    contents = [get(parse_photo_uri(record['img_path'])[0]) for record in records[RULES[0]]]
    if len(contents) < 2:
        raise ValueError(
            f'{data_root}/{split} holds {len(contents)} pair; give at least two, because a single '
            'one stays decoded'
        )
    load_photo, load_labels = LoadImageFromFile(), LoadAnnotations()

    def bare(i: int) -> None:
        if cv2.imdecode(np.frombuffer(contents[i], np.uint8), cv2.IMREAD_COLOR) is None:
            raise ValueError(f'{records[RULES[0]][i]["img_path"]} cannot be decoded')

    def files(i: int, *, rule: str) -> None:
        get(records[rule][i]['img_path'])
        get(records[rule][i]['seg_map_path'])

    def transforms(i: int, *, rule: str) -> None:
        load_labels(load_photo({**records[rule][i], 'seg_fields': []}))

    variants = {BASELINE: bare}
    for rule in RULES:
        variants[f'{rule}, virtual files'] = partial(files, rule=rule)
        variants[f'{rule}, stock transforms'] = partial(transforms, rule=rule)
    # Turns of several pairs, so that other work on the machine meets all variants alike. With turns
    # of one pair, the second variant would find it decoded.
    turns = np.array_split(range(len(contents)), -(-len(contents) // _TURN))
    times = {name: np.empty((rounds, len(contents))) for name in variants}
    for round_ in (0, *range(rounds)):  # the first round overwrites the warm-up
        for turn in turns:
            for name, variant in variants.items():
                label_cache.clear()  # decoding is measured, as in the first epoch
                for i in turn.tolist():
                    start = time.perf_counter()
                    variant(i)
                    times[name][round_, i] = (time.perf_counter() - start) * 1e3
    return times
