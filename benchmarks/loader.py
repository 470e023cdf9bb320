"""Time to load a record, photo and label map of a pair, beside the bare decoding of its bytes."""

import time
from functools import partial

import cv2
import numpy as np
from mmcv.transforms import LoadImageFromFile
from mmengine.fileio import get
from mmseg.datasets.transforms import LoadAnnotations

from pspnet_plugin.datasets import CityscapesPairsDataset
from pspnet_plugin.datasets.pair_backends import label_cache, parse_photo_uri
from pspnet_plugin.labels.decoder import RULES

_TURN = 50  # pairs that one way loads before the next has its turn


def time_loader(data_root: str, split: str, *, pairs: int, rounds: int) -> dict[str, np.ndarray]:
    """Milliseconds of each record in each round, (rounds, pairs) float64, for each way.

    The way ``imdecode`` is the bare decoding.

    Args:
        data_root: Root of a set of pairs in the colours of Cityscapes.
        split: Folder in it.
        pairs: Number of pairs, at most.
        rounds: How often all are loaded; one more goes first, uncounted.

    Raises:
        FileNotFoundError: the set is not there.
        ValueError: it holds a single pair, which would stay decoded.
    """
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
            f'{data_root}/{split}: {len(contents)} pair to load; give at least two, as one alone '
            'would stay decoded'
        )
    load_photo, load_labels = LoadImageFromFile(), LoadAnnotations()

    def bare(i: int) -> None:
        if cv2.imdecode(np.frombuffer(contents[i], np.uint8), cv2.IMREAD_COLOR) is None:
            raise ValueError(f'{records[RULES[0]][i]["img_path"]}: no whole picture')

    def files(i: int, *, rule: str) -> None:
        get(records[rule][i]['img_path'])
        get(records[rule][i]['seg_map_path'])

    def transforms(i: int, *, rule: str) -> None:
        load_labels(load_photo({**records[rule][i], 'seg_fields': []}))

    ways = {'imdecode': bare}
    for rule in RULES:
        ways[f'{rule}, virtual files'] = partial(files, rule=rule)
        ways[f'{rule}, stock transforms'] = partial(transforms, rule=rule)
    # The ways take turns on some pairs, so that whatever else the machine does meets them alike. In
    # turns on one pair, the second way would find it decoded.
    turns = np.array_split(range(len(contents)), -(-len(contents) // _TURN))
    times = {name: np.empty((rounds, len(contents))) for name in ways}
    for round_ in (0, *range(rounds)):  # the first round overwrites the warm-up
        for turn in turns:
            for name, way in ways.items():
                label_cache.clear()  # decoding is measured, as in the first epoch
                for i in turn.tolist():
                    start = time.perf_counter()
                    way(i)
                    times[name][round_, i] = (time.perf_counter() - start) * 1e3
    return times
