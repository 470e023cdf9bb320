"""Small seeded pairs, written to files."""

from pathlib import Path

import cv2
import numpy as np

from pspnet_plugin.datasets import CityscapesPairsDataset

ROOT = Path(__file__).resolve().parents[2]
CITYSCAPES = CityscapesPairsDataset.METAINFO
# Three classes of far colours, one void.
META = dict(
    classes=['wall', 'window', 'door'],
    palette=[[200, 0, 0], [0, 200, 0], [0, 0, 200]],
    void_palette=[[90, 90, 90]],
)
SEEDS = dict(train=(1, 2, 3, 4), val=(11, 12))  # of the pairs in ``pairs_root``
LOAD = [dict(type='LoadImageFromFile'), dict(type='LoadAnnotations'), dict(type='PackSegInputs')]


def label_map(height: int, width: int, *, classes: int = 19, seed: int = 0) -> np.ndarray:
    """(H, W) class indices in blocks of 8 x 8 pixels."""
    rng = np.random.default_rng(seed)
    blocks = rng.integers(0, classes, (-(-height // 8), -(-width // 8)), dtype=np.uint8)
    return np.kron(blocks, np.ones((8, 8), np.uint8))[:height, :width]


def photo(height: int, width: int, *, seed: int = 0) -> np.ndarray:
    """(H, W, 3) BGR noise, far from any palette."""
    rng = np.random.default_rng([seed, 1])
    return rng.integers(0, 256, (height, width, 3), dtype=np.uint8)


def coloured(labels: np.ndarray, palette=CITYSCAPES['palette']) -> np.ndarray:
    """(H, W, 3) BGR image of (H, W) class indices."""
    return np.array(palette, np.uint8)[labels][..., ::-1]


def write_pair(
    path: Path,
    *,
    height=64,
    width=64,
    seed=0,
    photo_side='left',
    labels=None,
    palette=CITYSCAPES['palette'],
) -> dict:
    """Write a pair; return its photo and its labels."""
    labels = label_map(height, width, seed=seed) if labels is None else labels
    image = photo(*labels.shape, seed=seed)
    halves = [image, coloured(labels, palette)]
    if photo_side == 'right':
        halves.reverse()
    path.parent.mkdir(parents=True, exist_ok=True)
    content = cv2.imencode(path.suffix.lower(), np.hstack(halves))[1]
    path.write_bytes(content.tobytes())
    return dict(photo=image, labels=labels)


def build(root, split='train', **kwargs) -> CityscapesPairsDataset:
    """The dataset of a split, loading images and labels by default."""
    kwargs = {'pipeline': LOAD, **kwargs}
    return CityscapesPairsDataset(data_root=str(root), data_prefix=dict(img_path=split), **kwargs)
