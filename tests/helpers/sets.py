"""Sets of photos and label maps, as arguments of ``make_pairs.py folders``."""

import json
from pathlib import Path

import numpy as np

from helpers.label_files import read_back, save, write_photos
from helpers.pairs import label_map

EMPTY = np.zeros((24, 40), np.uint8)
LABELS = label_map(24, 40, classes=3)


BINARY = dict(classes=['background', 'building'], palette=[[0, 0, 0], [255, 255, 255]])


CARS = dict(classes=['road', 'car'], palette=[[255, 0, 0], [0, 255, 0]])


def write_set(folder: Path, stored: dict, metainfo: dict | str, write=save) -> list:
    """Write photos, label maps and a palette; return arguments of ``folders``."""
    write_photos(
        folder / 'photos',
        {
            name: values[..., :1][..., 0] if values.ndim == 3 else values
            for name, values in stored.items()
        },
    )
    for name, values in stored.items():
        write(folder / 'maps' / f'{name}.png', values)
    if isinstance(metainfo, dict):
        (folder / 'palette.json').write_text(json.dumps(metainfo))
        metainfo = folder / 'palette.json'
    return ['folders', folder / 'photos', folder / 'maps', folder / 'out', '--palette', metainfo]


def labels_of(folder: Path, name: str = 'train/0') -> np.ndarray:
    return read_back(folder / 'out', name.split('/')[0])[name][1]
