"""Measure parts of the plugin, as ratios side by side in one run.

    python tools/analysis_tools/benchmark.py loader --data-root data/cityscapes_pairs

``loader``: time to load one record (photo and label map of a pair) by each rule that reads labels,
as the virtual files and by the stock transforms, beside the bare ``cv2.imdecode`` of its bytes.
Files are warm; the ways take turns round by round.
"""

import argparse
import statistics
import sys
import time
from functools import partial

import cv2
import numpy as np
from mmcv.transforms import LoadImageFromFile
from mmengine.fileio import get
from mmseg.datasets.transforms import LoadAnnotations

from pspnet_plugin.datasets import CityscapesPairsDataset
from pspnet_plugin.datasets.label_codec import RULES
from pspnet_plugin.datasets.pair_files import parse_photo_uri


def parse_args() -> argparse.Namespace:
    """Read the command line."""
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parts = parser.add_subparsers(dest='part', required=True)
    loader = parts.add_parser('loader', help='the pair loader against a bare decode')
    loader.add_argument('--data-root', default='data/cityscapes_pairs')
    loader.add_argument('--split', default='val')
    loader.add_argument('--pairs', type=int, default=200, help='at most so many (default 200)')
    loader.add_argument('--rounds', type=int, default=7, help='over all of them (default 7)')
    return parser.parse_args()


def time_loader(data_root: str, split: str, pairs: int, rounds: int) -> dict[str, list[float]]:
    """Milliseconds a record, a list of rounds for each way.

    Args:
        data_root: Root of a set of pairs in the colours of Cityscapes.
        split: Folder in it.
        pairs: Number of pairs, at most.
        rounds: How often all are loaded; one more goes first, uncounted.
    """
    # As in a loader's worker process.
    cv2.setNumThreads(0)
    records = {}
    for rule in RULES:
        dataset = CityscapesPairsDataset(
            data_root=data_root, data_prefix=dict(img_path=split), pipeline=[], indices=pairs,
            decode=dict(rule=rule),
        )  # fmt: skip
        records[rule] = [dataset.get_data_info(i) for i in range(len(dataset))]
    contents = [get(parse_photo_uri(record['img_path'])[0]) for record in records[RULES[0]]]
    load_photo, load_labels = LoadImageFromFile(), LoadAnnotations()

    def bare(i: int) -> None:
        cv2.imdecode(np.frombuffer(contents[i], np.uint8), cv2.IMREAD_COLOR)

    def files(i: int, *, rule: str) -> None:
        get(records[rule][i]['img_path'])
        get(records[rule][i]['seg_map_path'])

    def transforms(i: int, *, rule: str) -> None:
        load_labels(load_photo({**records[rule][i], 'seg_fields': []}))

    ways = {'imdecode': bare}
    for rule in RULES:
        ways[f'{rule}, virtual files'] = partial(files, rule=rule)
        ways[f'{rule}, stock transforms'] = partial(transforms, rule=rule)
    times = {name: [] for name in ways}
    for round_ in range(rounds + 1):
        # Way by way over all pairs: in turns on one pair, the second would find it decoded.
        for name, way in ways.items():
            start = time.perf_counter()
            for i in range(len(contents)):
                way(i)
            if round_:
                times[name].append((time.perf_counter() - start) / len(contents) * 1e3)
    return times


def main() -> int:
    """Measure and print a table."""
    args = parse_args()
    try:
        if args.pairs < 2 or args.rounds < 1:
            raise ValueError(
                f'--pairs {args.pairs} --rounds {args.rounds}: give at least two pairs (one alone '
                'would stay decoded) and one round'
            )
        times = time_loader(args.data_root, args.split, args.pairs, args.rounds)
    except (FileNotFoundError, ValueError) as error:
        print(f'benchmark.py: {error}', file=sys.stderr)
        return 2
    base = times['imdecode']
    print(f'{"":<30}{"ms a record":>12}{"ratio":>8}{"  (lowest to highest of the rounds)"}')
    for name, values in times.items():
        ratios = [value / bare for value, bare in zip(values, base, strict=True)]
        print(
            f'{name:<30}{statistics.median(values):>12.3f}{statistics.median(ratios):>8.2f}'
            f'  ({min(ratios):.2f} to {max(ratios):.2f})'
        )
    return 0


if __name__ == '__main__':
    sys.exit(main())
